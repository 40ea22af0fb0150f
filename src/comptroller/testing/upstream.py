"""A scripted upstream: answers whatever bytes a test wants, on a real socket."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple, TypeAlias

SILENCE_S_MAX = 20.0


class Received(NamedTuple):
    """One request as it arrived."""

    start: bytes
    """Its first line."""
    headers: list[tuple[bytes, bytes]]
    """As written, in order."""
    body: bytes
    connection: int
    """Which of the connections, from 0."""

    def values(self, name: bytes) -> list[bytes]:
        """The values of a header, in order."""
        return [value for key, value in self.headers if key.lower() == name]


class Talk:
    """The upstream's side of one connection, for a script."""

    def __init__(self, link: socket.socket, number: int) -> None:
        self.number = number
        self.is_open = True
        self._link = link
        self._unread = b""

    def send(self, data: bytes) -> None:
        """Sends bytes."""
        self._link.sendall(data)

    def receive(self) -> Received | None:
        """The next request; None: the other side has closed."""
        while b"\r\n\r\n" not in self._unread:
            if not self._more():
                return None
        head, _, self._unread = self._unread.partition(b"\r\n\r\n")
        start, *lines = head.split(b"\r\n")
        pairs = [line.partition(b": ") for line in lines]
        received = Received(start, [(k, v) for k, _, v in pairs], b"", self.number)
        size = int(b"".join(received.values(b"content-length")) or b"0")
        while len(self._unread) < size:
            if not self._more():
                return None
        body, self._unread = self._unread[:size], self._unread[size:]
        return received._replace(body=body)

    def is_left(self, within_s: float) -> bool:
        """Whether the other side closes within a time."""
        self._link.settimeout(within_s)
        try:
            return not self._link.recv(1)
        except TimeoutError:
            return False
        except OSError:
            return True
        finally:
            self._link.settimeout(SILENCE_S_MAX)

    def close(self) -> None:
        """Closes in order."""
        self.is_open = False
        with contextlib.suppress(OSError):
            self._link.shutdown(socket.SHUT_RDWR)
        self._link.close()

    def reset(self) -> None:
        """Closes with a TCP reset."""
        self.is_open = False
        linger = struct.pack("ii", 1, 0)
        self._link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self._link.close()

    def _more(self) -> bool:
        data = self._link.recv(65536)
        self._unread += data
        return bool(data)


Script: TypeAlias = Callable[[Talk], None]


class ScriptedUpstream:
    """Listens on 127.0.0.1; a thread for every connection.

    Args:
        answer: what to do with a request that nothing was queued for.
        tls: to speak TLS.
    """

    def __init__(self, answer: Script, tls: ssl.SSLContext | None = None) -> None:
        self.answer = answer
        self.received: list[Received] = []
        self.connections = 0
        self._queued: deque[Script] = deque()
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port: int = self._listener.getsockname()[1]
        self._links: list[socket.socket] = []
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    @property
    def origin(self) -> str:
        """As a configuration's `base_url`."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    def queue(self, *scripts: Script) -> None:
        """What to do with the next requests, in order."""
        self._queued.extend(scripts)

    def renew(self, answer: Script) -> None:
        """Forgets what was received and queued."""
        self.answer = answer
        self._queued.clear()
        self.received.clear()

    def close(self) -> None:
        """Closes everything."""
        self._listener.close()
        for link in self._links:
            link.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                link, _ = self._listener.accept()
                number, self.connections = self.connections, self.connections + 1
                self._links.append(link)
                serving = threading.Thread(
                    target=self._serve, args=(link, number), daemon=True
                )
                serving.start()

    def _serve(self, link: socket.socket, number: int) -> None:
        link.settimeout(SILENCE_S_MAX)
        with contextlib.suppress(OSError):
            if self._tls is not None:
                link = self._tls.wrap_socket(link, server_side=True)
            talk = Talk(link, number)
            while talk.is_open:
                received = talk.receive()
                if received is None:
                    talk.close()
                    return
                self.received.append(received)
                script = self._queued.popleft() if self._queued else self.answer
                script(talk)


@contextmanager
def scripted_upstream(
    answer: Script, tls: ssl.SSLContext | None = None
) -> Iterator[ScriptedUpstream]:
    """A scripted upstream while the block lasts."""
    upstream = ScriptedUpstream(answer, tls)
    try:
        yield upstream
    finally:
        upstream.close()


def whole(body: bytes, status: int = 200, headers: bytes = b"") -> bytes:
    """A reply with its length."""
    kind = b"content-type: application/json\r\n"
    if b"content-type" in headers.lower():
        kind = b""
    return b"HTTP/1.1 %d Said\r\n%b%bcontent-length: %d\r\n\r\n%b" % (
        status,
        kind,
        headers,
        len(body),
        body,
    )


def chunk(data: bytes) -> bytes:
    """One chunk of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
    b"transfer-encoding: chunked\r\n\r\n"
)
LAST_CHUNK = b"0\r\n\r\n"


def answering(data: bytes) -> Script:
    """A script that sends bytes and keeps the connection."""

    def script(talk: Talk) -> None:
        talk.send(data)

    return script


CHAT_USAGE = b'{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15}'
CHAT = (
    b'{"id":"c1","object":"chat.completion","model":"m","choices":[{"index":0,'
    b'"message":{"role":"assistant","content":"Hello"},"finish_reason":"stop"}],'
    b'"usage":' + CHAT_USAGE + b"}"
)
MESSAGE = (
    b'{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[{"type":'
    b'"text","text":"Hello"}],"stop_reason":"end_turn","usage":{"input_tokens":10,'
    b'"output_tokens":5}}'
)
CONTENT = (
    b'{"candidates":[{"content":{"parts":[{"text":"Hello"}],"role":"model"},'
    b'"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":10,'
    b'"candidatesTokenCount":5,"totalTokenCount":15},"modelVersion":"m"}'
)
RESPONSE = (
    b'{"id":"resp_1","object":"response","status":"completed","model":"m","output":[{'
    b'"type":"message","content":[{"type":"output_text","text":"Hello"}]}],"usage":{'
    b'"input_tokens":10,"output_tokens":5,"total_tokens":15}}'
)
EMBEDDING = (
    b'{"object":"list","model":"m","data":[{"object":"embedding","index":0,'
    b'"embedding":[0.1]}],"usage":{"prompt_tokens":10,"total_tokens":10}}'
)


def chat_event(text: str) -> bytes:
    """One chunk of a chat stream."""
    return (
        b'data: {"id":"c1","object":"chat.completion.chunk","model":"m","choices":'
        b'[{"index":0,"delta":{"content":"%b"},"finish_reason":null}],"usage":null}\n\n'
    ) % text.encode()


CHAT_END = (
    b'data: {"id":"c1","object":"chat.completion.chunk","model":"m","choices":'
    b'[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":null}\n\n'
)
CHAT_USAGE_EVENT = (
    b'data: {"id":"c1","object":"chat.completion.chunk","model":"m","choices":[],'
    b'"usage":' + CHAT_USAGE + b"}\n\n"
)
DONE = b"data: [DONE]\n\n"
