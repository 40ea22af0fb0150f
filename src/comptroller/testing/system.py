"""Fakes of time, identifiers and randomness: repeatable, and moved by the test."""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

from comptroller.core.errors import ConfigurationError

START_NS: Final = 1_764_000_000_000_000_000
"""24 November 2025, 16:00:00 UTC."""


class FakeClock:
    """The Clock port: stands still until it is moved."""

    def __init__(self, start_ns: int = START_NS) -> None:
        self._now_ns = start_ns

    def now_ns(self) -> int:
        """Nanoseconds since the Unix epoch, as the test set them."""
        return self._now_ns

    def monotonic_s(self) -> float:
        """Seconds since the Unix epoch, as the test set them."""
        return self._now_ns / 1e9

    def advance(self, seconds: float) -> None:
        """Moves the time on."""
        self._now_ns += int(seconds * 1_000_000_000)

    def advance_to(self, now_ns: int) -> None:
        """Moves the time on to a moment; never back."""
        self._now_ns = max(self._now_ns, now_ns)


class Wall:
    """The Clock port: a wall clock that is set forth and back, over steady seconds."""

    def __init__(self, clock: FakeClock) -> None:
        self.offset_ns = 0
        self._clock = clock

    def now_ns(self) -> int:
        """What the wall says."""
        return self._clock.now_ns() + self.offset_ns

    def monotonic_s(self) -> float:
        """Seconds that nobody sets."""
        return self._clock.monotonic_s()


class SequentialIds:
    """The Ids port: numbers in the form of a ULID."""

    def __init__(self) -> None:
        self._count = 0

    def new(self) -> str:
        """The next number, 26 characters wide."""
        self._count += 1
        return f"{self._count:026d}"


class SeededEntropy:
    """The Entropy port: a repeatable stream of bytes, for tests only."""

    def __init__(self, seed: int = 0) -> None:
        self._state = seed.to_bytes(16, "big")

    def token(self, bytes_count: int) -> bytes:
        """The next bytes of the stream."""
        drawn = b""
        while len(drawn) < bytes_count:
            self._state = blake2b(self._state, digest_size=64).digest()
            drawn += self._state
        return drawn[:bytes_count]


class FixedSecrets:
    """The SecretResolver port: what the test wrote down."""

    def __init__(self, secrets: dict[str, str]) -> None:
        self._secrets = secrets

    def resolve(self, reference: str) -> str:
        """The secret behind a reference."""
        try:
            return self._secrets[reference]
        except KeyError:
            raise ConfigurationError(f"{reference} has no secret") from None
