"""The simulated provider's server: one asyncio protocol a connection."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from functools import partial
from typing import Final, NamedTuple, cast

import msgspec

from comptroller.core.usage import GENERATED_CLASSES, Usage
from comptroller.testing.provider.answer import JSON, Answer, Ask, RefusedError
from comptroller.testing.provider.behaviour import (
    HEADER,
    Behaviour,
    BehaviourError,
    Behaviours,
)
from comptroller.testing.provider.books import Books, tag_of
from comptroller.testing.provider.framing import (
    MalformedRequestError,
    Request,
    RequestReader,
    chunk,
    response_head,
)
from comptroller.testing.provider.openai_chat import error as openai_error
from comptroller.testing.provider.routing import Route, credential, decode, match
from comptroller.testing.provider.stored import StoredResponses
from comptroller.testing.provider.tokens import Draw, PrefixCache

STALL_S_MAX: Final = 900.0
# More than this is sent piece by piece, so that a reader who does not read is noticed.
AT_ONCE_BYTES_MAX: Final = 256 * 1024


class ProviderSettings(NamedTuple):
    """How the provider starts."""

    seed: int = 1
    key: str | None = None
    """The only credential it accepts; None: any."""
    behaviour: Behaviour = Behaviour()


class SimulatedProvider:
    """A provider of all three dialects with its own books."""

    def __init__(self, settings: ProviderSettings | None = None) -> None:
        settings = settings or ProviderSettings()
        self.settings = settings
        self.books = Books()
        self.behaviours = Behaviours(settings.behaviour)
        self.prefixes = PrefixCache()
        self.stored = StoredResponses()
        self._server: asyncio.Server | None = None

    async def start(
        self, host: str, port: int, tls: ssl.SSLContext | None = None
    ) -> int:
        """Listens; gives the port, which is a free one when 0 was asked for."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: Connection(self), host, port, ssl=tls, backlog=4096
        )
        address: tuple[str, int] = self._server.sockets[0].getsockname()
        return address[1]

    async def stop(self) -> None:
        """Stops listening; open connections end with their tasks."""
        if self._server is not None:
            self._server.close()

    def ask(self, request: Request) -> Ask:
        """Reads a request into what a dialect needs.

        Raises:
            BehaviourError: its `x-simulate` cannot be understood.
            RefusedError: its body is not an object, or its credential is wrong.
        """
        wanted = self.settings.key
        if wanted is not None and credential(request) != wanted:
            raise RefusedError(401, "Incorrect API key provided.")
        behaviour = self.behaviours.take(request.headers.get(HEADER))
        path, _, query = request.target.partition("?")
        return Ask(
            path,
            query,
            decode(request),
            behaviour,
            Draw(self.settings.seed, request.body),
            self.books.counts["requests"],
            self.prefixes,
            self.stored,
        )


class Reply(NamedTuple):
    """Everything to be sent for one request, and how."""

    head: bytes
    parts: list[bytes]
    """Framed: chunks of the transfer coding where it is used."""
    behaviour: Behaviour
    draw: Draw | None = None
    model: str | None = None
    usage: Usage | None = None
    close: bool = False
    tag: str | None = None

    @property
    def plain(self) -> bool:
        """Whether it can be sent at once: no delay, no failure, no great size."""
        one = self.behaviour
        quick = not (one.fail and one.fail not in {"status", "no_usage"})
        timely = not (one.first_ms or (one.chunk_ms and len(self.parts) > 1))
        return quick and timely and sum(map(len, self.parts)) <= AT_ONCE_BYTES_MAX


def plain_reply(status: int, body: bytes, fields: dict[str, str]) -> Reply:
    """A JSON reply without any behaviour."""
    head = response_head(
        status,
        {"content-type": JSON, "content-length": str(len(body)), **fields},
    )
    return Reply(head, [body], Behaviour())


class Connection(asyncio.Protocol):
    """One client connection; its requests are answered in order."""

    def __init__(self, provider: SimulatedProvider) -> None:
        self._provider = provider
        self._books = provider.books
        self._reader = RequestReader()
        self._transport: asyncio.Transport | None = None
        self._playing: asyncio.Task[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._sent_parts = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begins with a new connection."""
        self._transport = cast("asyncio.Transport", transport)
        self._books.counts["connections"] += 1

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  asyncio
        """Ends the reply that was being played: its reader is gone."""
        self._transport = None
        self._writable.set()
        if self._playing is not None:
            self._playing.cancel()

    def pause_writing(self) -> None:
        """Holds the reply back: the client does not read."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Goes on: the client reads again."""
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        """Takes bytes of requests."""
        self._reader.feed(data)
        self._pump()

    def _pump(self) -> None:
        """Answers every complete request, one after the other."""
        while self._playing is None and self._transport is not None:
            try:
                request = self._reader.next_request()
            except MalformedRequestError as error:
                self._books.counts["malformed"] += 1
                body = openai_error(400, f"malformed request: {error}")
                reply = plain_reply(400, body, {"connection": "close"})
                self._transport.write(reply.head + body)
                self._transport.close()
                return
            if request is None:
                return
            reply = self._reply(request)
            if reply.plain:
                self._transport.write(b"".join((reply.head, *reply.parts)))
                self._books.ended(reply.tag)
                self._finished(reply)
            else:
                task = asyncio.get_running_loop().create_task(self._play(reply))
                self._playing = task
                task.add_done_callback(partial(self._played, reply.tag))

    def _played(self, tag: str | None, task: asyncio.Task[None]) -> None:
        self._playing = None
        self._books.ended(tag)
        if not task.cancelled():
            task.result()
            self._pump()

    def _reply(self, request: Request) -> Reply:
        if request.path.startswith("/__"):
            return self._control(request)
        self._books.received(request)
        headers = request.headers
        serial = str(self._books.counts["requests"])
        fields = {"x-request-id": f"req_{serial}", "request-id": f"req_{serial}"}
        if not request.keep_alive:
            fields["connection"] = "close"
        route = match(request)
        try:
            ask = self._provider.ask(request)
            if ask.behaviour.fail == "status":
                reply = self._failure(ask, route, fields)
            else:
                reply = framed(route.answer(ask), ask, fields)
        except RefusedError as error:
            body = route.error(error.status, str(error))
            reply = plain_reply(error.status, body, fields)
        except BehaviourError as error:
            body = route.error(400, f"{HEADER} {headers.get(HEADER)!r}: {error}")
            reply = plain_reply(400, body, fields)
        return reply._replace(close=not request.keep_alive, tag=tag_of(request))

    def _failure(self, ask: Ask, route: Route, fields: dict[str, str]) -> Reply:
        behaviour = ask.behaviour
        if behaviour.retry_after_s is not None:
            fields = {**fields, "retry-after": str(behaviour.retry_after_s)}
        body = route.error(behaviour.status, "simulated failure")
        self._books.counts["failed"] += 1
        reply = plain_reply(behaviour.status, body, fields)
        return reply._replace(behaviour=behaviour, draw=ask.draw)

    def _control(self, request: Request) -> Reply:
        """The paths for tests: `/__stats`, `/__behaviour`, `/__reset`."""
        provider = self._provider
        match request.method, request.path:
            case "GET", "/__stats":
                return plain_reply(200, msgspec.json.encode(self._books.stats()), {})
            case "PUT", "/__behaviour":
                try:
                    provider.behaviours.change(request.body)
                except BehaviourError as error:
                    return plain_reply(400, openai_error(400, str(error)), {})
                return plain_reply(200, b"{}", {})
            case "POST", "/__reset":
                provider.books = self._books = Books()
                return plain_reply(200, b"{}", {})
            case _:
                return plain_reply(404, openai_error(404, "no such control"), {})

    def _finished(self, reply: Reply) -> None:
        if reply.model is not None and reply.usage is not None:
            self._books.counts["completed"] += 1
            self._books.billed(reply.model, reply.usage, reply.tag)
        if reply.close and self._transport is not None:
            self._transport.close()

    async def _play(self, reply: Reply) -> None:
        """Sends a reply with its delays, up to its failure if it has one."""
        self._sent_parts = 0
        try:
            whole = await self._send(reply)
        except asyncio.CancelledError:
            self._books.counts["aborted"] += 1
            self._broken(reply)
            raise
        if whole:
            self._finished(reply)
        else:
            self._books.counts["failed"] += 1
            self._broken(reply)

    def _broken(self, reply: Reply) -> None:
        if reply.model is None or reply.usage is None or not self._sent_parts:
            return
        share = self._sent_parts / len(reply.parts)
        usage = {
            name: int(count * share) if name in GENERATED_CLASSES else count
            for name, count in reply.usage.items()
        }
        self._books.billed_broken(reply.model, usage, reply.tag)

    async def _send(self, reply: Reply) -> bool:
        behaviour = reply.behaviour
        breaks = behaviour.fail not in {"", "status", "no_usage"}
        await asyncio.sleep(delay_s(reply, "first", behaviour.first_ms))
        if breaks and behaviour.after == 0:
            await self._break(behaviour.fail, begun=False)
            return False
        parts = reply.parts
        if breaks and len(parts) == 1:
            # A body in one piece breaks off in its middle.
            parts = [parts[0][: len(parts[0]) // 2]]
        self._write(reply.head)
        last = min(behaviour.after, len(parts) - 1) if breaks else len(parts)
        for index, part in enumerate(parts[: max(last, 1)]):
            if index and behaviour.chunk_ms:
                await asyncio.sleep(
                    delay_s(reply, f"chunk {index}", behaviour.chunk_ms)
                )
            await self._writable.wait()
            self._write(part)
            self._sent_parts += 1
        if breaks:
            await self._break(behaviour.fail, begun=True)
        return not breaks

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    async def _break(self, fail: str, *, begun: bool) -> None:
        """Does what the failure says; the connection is over with it."""
        transport = self._transport
        if transport is None:
            return
        match fail:
            case "stall":
                await asyncio.sleep(STALL_S_MAX)
                transport.abort()
            case "reset":
                await self._flushed()
                raw = transport.get_extra_info("socket")
                # No lingering makes the kernel send RST instead of FIN.
                raw.setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                )
                transport.abort()
            case "garbage":
                transport.write(
                    b"zz\r\n" if begun else b"\x16\x03\x01 not HTTP\r\n\r\n"
                )
                transport.close()
            case _:
                transport.close()

    async def _flushed(self) -> None:
        """Waits until the kernel has what was written, for an abort drops the rest."""
        if self._transport is None:
            return
        self._transport.set_write_buffer_limits(high=0)
        if self._transport.get_write_buffer_size():
            self._writable.clear()
        await self._writable.wait()


def delay_s(reply: Reply, what: str, milliseconds: float) -> float:
    """A delay, spread around its value by the behaviour's jitter."""
    jitter = reply.behaviour.jitter
    if not milliseconds or not jitter or reply.draw is None:
        return milliseconds / 1000
    return milliseconds / 1000 * reply.draw.lognormal(what, 0.0, jitter)


def framed(answer: Answer, ask: Ask, fields: dict[str, str]) -> Reply:
    """A good answer with its head: chunked when it is a stream."""
    fields = {"content-type": answer.content_type, **fields}
    if len(answer.parts) == 1:
        fields["content-length"] = str(len(answer.parts[0]))
        parts = answer.parts
    else:
        fields |= {"cache-control": "no-cache", "transfer-encoding": "chunked"}
        parts = [chunk(part) for part in answer.parts]
        # The end goes with the last part, so that it is not a packet of its own.
        parts[-1] += b"0\r\n\r\n"
    head = response_head(answer.status, fields)
    return Reply(head, parts, ask.behaviour, ask.draw, answer.model, answer.usage)
