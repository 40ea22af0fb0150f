"""Both ends of an exchange for tests without sockets: a client, and a provider."""

from __future__ import annotations

from asyncio import Transport

from comptroller.engine.ports import ReplySink, UpstreamCall, UpstreamRequest


class Listening:
    """A client that notes what it is told."""

    is_blocked = False
    transport: Transport | None = None

    def __init__(self) -> None:
        self.said = b""
        self.ends = 0
        """How often the reply was ended, in whatever way."""

    def write(self, data: bytes) -> None:
        """Notes the bytes."""
        self.said += data

    def done(self, *, keep_alive: bool) -> None:  # noqa: ARG002  the port's
        """Counts the end."""
        self.ends += 1

    def abort(self) -> None:
        """Counts the end."""
        self.ends += 1

    @property
    def code(self) -> str:
        """The code of the refusal that it got."""
        head = self.said.split(b"x-comptroller-code: ")[1]
        return head.partition(b"\r\n")[0].decode()


class Calling:
    """An upstream that notes its calls; the test answers them."""

    unsent_bytes = 0

    def __init__(self) -> None:
        self.calls: list[tuple[UpstreamRequest, ReplySink]] = []
        self.is_paused = False
        self.aborted = 0
        self.was_sent = True

    def call(self, request: UpstreamRequest, sink: ReplySink) -> UpstreamCall:
        """Notes the call."""
        self.calls.append((request, sink))
        return self

    def pause(self) -> None:
        """Notes it."""
        self.is_paused = True

    def resume(self) -> None:
        """Notes it."""
        self.is_paused = False

    def abort(self) -> bool:
        """Counts it; whether it was sent is the test's choice."""
        self.aborted += 1
        return self.was_sent

    async def close(self) -> None:
        """Nothing is open."""
