"""How the simulated provider behaves: latency, lengths and failures on demand.

A request asks for its own with `x-simulate: fail=reset, after=3, chunk_ms=5`;
`PUT /__behaviour` with the same names as JSON changes the default for all, and
with `"next": 2` only for the next two requests.
"""

from __future__ import annotations

from collections import deque
from typing import Final

import msgspec

FAILURES: Final = (
    "",  # none
    "status",  # answer `status` in the dialect's error shape
    "stall",  # go silent, after `after` parts of a stream or at once
    "reset",  # TCP reset, likewise
    "close",  # orderly close before the reply's end, likewise
    "garbage",  # bytes that are not HTTP; in a stream, not a chunk
    "no_usage",  # a good reply that states no usage
)

HEADER: Final = "x-simulate"


class Behaviour(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a reply shall be like."""

    fail: str = ""
    """One of FAILURES."""
    after: int = 0
    """Parts of the reply's body that are sent before the failure."""
    status: int = 500
    retry_after_s: int | None = None
    first_ms: float = 0.0
    """Until the reply's first byte."""
    chunk_ms: float = 0.0
    """Between two parts of a stream."""
    jitter: float = 0.0
    """Spread of the two: sigma of a lognormal factor around 1."""
    output: int | None = None
    """Visible output tokens; None: drawn from the distribution."""
    input: int | None = None
    """Prompt tokens that are billed; None: counted from the body's bytes."""
    answered_as: str | None = None
    """The model that the reply names; None: the one that was asked for."""

    def __post_init__(self) -> None:
        if self.fail not in FAILURES:
            raise ValueError(f"fail is one of {', '.join(FAILURES[1:])}")


class BehaviourError(Exception):
    """A behaviour that cannot be understood."""


class Behaviours:
    """The default behaviour, and those queued for the next requests."""

    def __init__(self, default: Behaviour) -> None:
        self._default = default
        self._queued: deque[Behaviour] = deque(maxlen=10_000)

    def take(self, header: str | None) -> Behaviour:
        """The behaviour for the request that has just come.

        Args:
            header: the request's own `x-simulate`, which wins.

        Raises:
            BehaviourError: the header does not parse.
        """
        queued = self._queued.popleft() if self._queued else self._default
        if header is None:
            return queued
        pairs = [part.partition("=") for part in header.split(",")]
        return convert({name.strip(): value.strip() for name, _, value in pairs})

    def change(self, body: bytes) -> None:
        """Takes the JSON of `PUT /__behaviour`.

        Raises:
            BehaviourError: it is not an object of the known names.
        """
        try:
            wanted = msgspec.json.decode(body, type=dict[str, object])
        except msgspec.DecodeError as error:
            raise BehaviourError(str(error)) from None
        count = wanted.pop("next", None)
        behaviour = convert(wanted)
        if count is None:
            self._default = behaviour
            self._queued.clear()
        elif isinstance(count, int):
            self._queued.extend([behaviour] * count)
        else:
            raise BehaviourError("next is a number of requests")


def convert(wanted: dict[str, object] | dict[str, str]) -> Behaviour:
    """A behaviour from names and values, numbers as text allowed.

    Raises:
        BehaviourError: a name or a value is unknown.
    """
    try:
        return msgspec.convert(wanted, Behaviour, strict=False)
    except msgspec.ValidationError as error:
        raise BehaviourError(str(error)) from None
