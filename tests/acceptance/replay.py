"""Replaying: recorded replies behind the gateway, recorded requests before it."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import hashlib
import json
import re
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any, Final

from tests.acceptance.exchanges import PATHS, Exchange
from tests.acceptance.gateway_process import PROVIDER_KEY

EXCHANGE: Final = "x-replayed-exchange"
"""Header by which the provider knows which exchange to replay."""
CONNECTIONS: Final = 24
HEAD_BYTES_MAX: Final = 1024 * 1024
REPLY_S_MAX: Final = 30.0
_EVENT: Final = re.compile(rb"(?:\r\n|\n|\r){2}")


@dataclass(frozen=True, slots=True)
class Received:
    """What the provider got of an exchange."""

    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """What the client got of an exchange."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    """Without its transfer and content codings."""

    @property
    def request_id(self) -> str:
        """The gateway's name of the request."""
        return self.headers.get("x-comptroller-request-id", "")


def request_body(exchange: Exchange) -> dict[str, Any]:
    """What the client sends: the recorded body, or the least that is valid."""
    body = dict(exchange.request or _least(exchange))
    if exchange.dialect != "gemini" and not isinstance(body.get("model"), str):
        body["model"] = exchange.model  # of a path that our wire does not have
    return body


def models_of(exchanges: Sequence[Exchange]) -> set[str]:
    """Every model that the exchanges ask for, fallbacks and advisors included."""
    names = {one.model for one in exchanges}
    for body in (one.request or {} for one in exchanges):
        names.update(body.get("models") or ())
        for tool in body.get("tools") or ():
            names.update(_models_of_tool(tool))
    return names


def asks_for_usage(body: Mapping[str, Any]) -> bool:
    """Whether a chat stream's client itself wants the usage."""
    return (body.get("stream_options") or {}).get("include_usage") is True


def is_usage_injected(exchange: Exchange) -> bool:
    """Whether the gateway has to ask for the usage on the client's behalf."""
    sent = request_body(exchange)
    is_stream = exchange.wire == "openai.chat" and bool(sent.get("stream"))
    return is_stream and not asks_for_usage(sent)


def without_usage_events(stream: bytes) -> bytes:
    """A chat stream less the events that state nothing but the usage."""
    kept = []
    start = 0
    for blank in _EVENT.finditer(stream):
        if not _is_usage_event(stream[start : blank.start()]):
            kept.append(stream[start : blank.end()])
        start = blank.end()
    if not _is_usage_event(stream[start:]):
        kept.append(stream[start:])
    return b"".join(kept)


class ReplayedProvider:
    """Answers every request with the reply that was recorded for it."""

    def __init__(self, exchanges: Sequence[Exchange]) -> None:
        self._exchanges = {one.id: one for one in exchanges}
        self._connections: dict[asyncio.StreamWriter, asyncio.Task[None]] = {}
        self.received: dict[str, list[Received]] = {}

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """Serves while the block lasts; gives its origin."""
        server = await asyncio.start_server(
            self._serve, "127.0.0.1", 0, limit=HEAD_BYTES_MAX
        )
        try:
            port = server.sockets[0].getsockname()[1]
            yield f"http://127.0.0.1:{port}"
        finally:
            server.close()
            for connection in self._connections:
                connection.transport.abort()
            await asyncio.gather(*self._connections.values())

    async def _serve(
        self, reader: asyncio.StreamReader, out: asyncio.StreamWriter
    ) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections[out] = task
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                first, headers = _head(head)
                path, _, query = first.split(" ")[1].partition("?")
                body = await reader.readexactly(int(headers["content-length"]))
                name = headers[EXCHANGE]
                heard = Received(path, query, headers, body)
                self.received.setdefault(name, []).append(heard)
                for part in _reply(self._exchanges[name]):
                    out.write(part)
                await out.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the gateway has left
        finally:
            del self._connections[out]
            out.close()


class Client:
    """Sends exchanges one after another on one kept connection."""

    def __init__(self, port: int, secret: str) -> None:
        self._port = port
        self._secret = secret

    async def send_all(
        self, waiting: Iterator[Exchange], answers: dict[str, Answer]
    ) -> None:
        """Takes exchanges until there are none; leaves their answers."""
        reader, out = await asyncio.open_connection(
            "127.0.0.1", self._port, limit=2**20
        )
        for exchange in waiting:
            out.write(self._request(exchange))
            try:
                async with asyncio.timeout(REPLY_S_MAX):
                    answers[exchange.id] = await _answer(reader)
            except (TimeoutError, OSError, EOFError, ValueError) as error:
                error.add_note(f"exchange {exchange.id}")
                raise
        out.close()
        with contextlib.suppress(ConnectionError):
            await out.wait_closed()

    def _request(self, exchange: Exchange) -> bytes:
        path = PATHS[exchange.wire].format(model=exchange.model)
        if exchange.wire == "gemini.streamGenerateContent" and exchange.is_event_stream:
            path += "?alt=sse"
        body = json.dumps(request_body(exchange)).encode()
        name, value = {
            "openai": ("authorization", f"Bearer {self._secret}"),
            "anthropic": ("x-api-key", self._secret),
            "gemini": ("x-goog-api-key", self._secret),
        }[exchange.dialect]
        headers = {
            "content-type": "application/json",
            **{k.lower(): v for k, v in exchange.request_headers.items()},
            "host": f"127.0.0.1:{self._port}",
            "content-length": str(len(body)),
            EXCHANGE: exchange.id,
            name: value,
        }
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return f"POST {path} HTTP/1.1\r\n{lines}\r\n".encode("latin-1") + body


async def replay(
    exchanges: Sequence[Exchange], port: int, secret: str
) -> dict[str, Answer]:
    """Sends every exchange through the gateway; gives the answers by exchange."""
    waiting = iter(exchanges)
    answers: dict[str, Answer] = {}
    clients = [Client(port, secret) for _ in range(CONNECTIONS)]
    await asyncio.gather(*(one.send_all(waiting, answers) for one in clients))
    return answers


def _models_of_tool(tool: Any) -> Iterator[str]:  # noqa: ANN401  JSON
    places = [tool, tool.get("parameters")] if isinstance(tool, dict) else []
    if places and tool.get("type") == "function":
        places.pop()  # a schema, not parameters of a provider's own tool
    for place in places:
        if isinstance(place, dict) and isinstance(place.get("model"), str):
            yield place["model"]


def _least(exchange: Exchange) -> dict[str, Any]:
    asked: dict[str, Any] = {"model": exchange.model}
    match exchange.wire:
        case "openai.responses":
            asked |= {"input": "ping", "stream": exchange.stream}
        case "openai.embeddings":
            asked |= {"input": ["ping"]}
        case "gemini.generateContent" | "gemini.streamGenerateContent":
            asked = {"contents": [{"role": "user", "parts": [{"text": "ping"}]}]}
        case _:
            said = [{"role": "user", "content": "ping"}]
            asked |= {"max_tokens": 64, "messages": said, "stream": exchange.stream}
    return asked


def _is_usage_event(event: bytes) -> bool:
    lines = [line for line in event.splitlines() if line.startswith(b"data:")]
    try:
        chunk = json.loads(b"\n".join(line[5:] for line in lines))
    except ValueError:
        return False
    return (
        isinstance(chunk, dict)
        and chunk.get("choices") == []
        and bool(chunk.get("usage"))
    )


def _reply(exchange: Exchange) -> Iterator[bytes]:
    """A recorded reply as it goes over the wire, cut at odd places."""
    headers = dict(exchange.headers)
    body = exchange.reply
    if exchange.body is None:
        headers = {n: v for n, v in headers.items() if n.lower() != "content-type"}
        headers["content-type"] = "application/json"
    for name in [name for name in headers if name.lower() == "content-encoding"]:
        if headers[name].lower() == "gzip":
            body = gzip.compress(body, mtime=0)
        else:
            del headers[name]
    seed = hashlib.sha256(exchange.id.encode()).digest()
    is_chunked = exchange.stream or seed[0] % 2 == 0
    framing = (
        "transfer-encoding: chunked" if is_chunked else f"content-length: {len(body)}"
    )
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    yield f"HTTP/1.1 {exchange.status} Replayed\r\n{lines}{framing}\r\n\r\n".encode(
        "latin-1"
    )
    for piece in _pieces(body, seed):
        yield b"%x\r\n%b\r\n" % (len(piece), piece) if is_chunked else piece
    if is_chunked:
        yield b"0\r\n\r\n"


def _pieces(data: bytes, seed: bytes) -> Iterator[bytes]:
    """Cuts a body at places that mean nothing; larger bodies into larger pieces."""
    sizes = cycle(number * number // 16 + 1 for number in seed)
    scale = 1 + len(data) // 65536
    at = 0
    while at < len(data):
        size = next(sizes) * scale
        yield data[at : at + size]
        at += size


def _head(head: bytes) -> tuple[str, dict[str, str]]:
    first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    pairs = (line.partition(":") for line in lines)
    return first, {name.lower(): value.strip() for name, _, value in pairs}


async def _answer(reader: asyncio.StreamReader) -> Answer:
    first, headers = _head(await reader.readuntil(b"\r\n\r\n"))
    if "content-length" in headers:
        body = await reader.readexactly(int(headers["content-length"]))
    else:
        assert headers["transfer-encoding"] == "chunked", headers
        parts = []
        while size := int(await reader.readuntil(b"\r\n"), 16):
            parts.append(await reader.readexactly(size))
            await reader.readexactly(2)
        await reader.readexactly(2)
        body = b"".join(parts)
    if headers.get("content-encoding") == "gzip" and body:
        body = gzip.decompress(body)
    return Answer(int(first.split(" ")[1]), headers, body)


def provider_credential(received: Received, exchange: Exchange) -> str | None:
    """The credential that the provider got, where its dialect looks for it."""
    name = {
        "openai": "authorization",
        "anthropic": "x-api-key",
        "gemini": "x-goog-api-key",
    }[exchange.dialect]
    value = received.headers.get(name)
    return value.removeprefix("Bearer ") if value else None


def is_unchanged(received: Received, exchange: Exchange) -> bool:
    """Whether the provider got what the client sent, and our credential with it.

    A chat stream is asked to state its usage, and nothing else.
    """
    sent = request_body(exchange)
    got = json.loads(received.body)
    if (
        exchange.wire == "openai.chat"
        and sent.get("stream")
        and not asks_for_usage(sent)
    ):
        asked = {**(sent.get("stream_options") or {}), "include_usage": True}
        sent = {**sent, "stream_options": asked}
    path = PATHS[exchange.wire].format(model=exchange.model)
    is_ours = provider_credential(received, exchange) == PROVIDER_KEY
    return got == sent and received.path == path and is_ours
