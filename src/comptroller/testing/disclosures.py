"""Fakes of the side table of disclosures and of fingerprint keys, in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from comptroller.engine.privacy_ports import DisclosureLine, Held, Span

FILE = "memory"


class InMemoryDisclosures:
    """Satisfies `DisclosureTable` and `DisclosureSink`."""

    def __init__(self) -> None:
        self.content = bytearray()
        self.kept: bytes | None = None
        """The intent."""

    def append(self, line: bytes) -> None:
        """Takes a line."""
        self.content += line

    def close(self) -> None:
        """Nothing is open."""

    def lines(self, trace: bytes = b"") -> Sequence[Held]:
        """Every line that is not blank and has these bytes."""
        found, offset = [], 0
        for text in bytes(self.content).split(b"\n"):
            if trace in text and text.strip():
                line = msgspec.json.decode(text, type=DisclosureLine)
                found.append(Held(line, Span(FILE, offset, len(text))))
            offset += len(text) + 1
        return found

    def broken(self) -> Sequence[Span]:
        """Nothing ever is."""
        return ()

    def blank(self, spans: Sequence[Span]) -> None:
        """Overwrites bytes with blanks."""
        for _, offset, size in spans:
            self.content[offset : offset + size] = b" " * size

    def intend(self, intent: bytes) -> None:
        """Keeps it."""
        self.kept = intent

    def intent(self) -> bytes | None:
        """What is kept."""
        return self.kept

    def forget(self) -> None:
        """Keeps nothing."""
        self.kept = None


class InMemoryPromptKeys:
    """Satisfies `PromptKeys`."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    def prepare(self, tenants: Sequence[str], make: Callable[[], bytes]) -> None:
        """Makes what is not there yet."""
        for tenant in tenants:
            if tenant not in self.kept:
                self.kept[tenant] = make()

    def read(self, tenants: Sequence[str]) -> dict[str, bytes]:
        """Those that there are."""
        return {one: self.kept[one] for one in tenants if one in self.kept}
