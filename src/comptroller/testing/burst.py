"""A burst: many requests at the same moment, each on a connection of its own."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

REPLY_S_MAX: Final = 30.0
CHAT: Final = "/v1/chat/completions"
MESSAGES: Final = "/v1/messages"


class Asked(NamedTuple):
    """A request to be sent."""

    key: str
    """A credential's secret."""
    body: Mapping[str, Any]
    tag: str = ""
    """`group/number`, under which the simulated provider books it."""
    simulate: str = ""
    """Of the simulated provider; see its `behaviour`."""
    path: str = CHAT
    headers: tuple[str, ...] = ()
    """More lines of the head."""

    def encoded(self) -> bytes:
        """The bytes to send."""
        body = json.dumps(self.body).encode()
        lines = [
            f"POST {self.path} HTTP/1.1",
            "host: gateway",
            f"authorization: Bearer {self.key}",
            f"content-length: {len(body)}",
            *self.headers,
        ]
        if self.tag:
            lines.append(f"x-tag: {self.tag}")
        if self.simulate:
            lines.append(f"x-simulate: {self.simulate}")
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class Answered(NamedTuple):
    """What came back."""

    status: int
    """0: nothing; see `code`."""
    code: str
    """Of a refusal by the gateway; `hung` when no whole reply came in time, `broken`
    when the connection ended before one did; else empty."""
    headers: dict[str, str]
    body: bytes
    seconds: float
    """From the connection to the end of the reply."""


def counted(answers: Iterable[Answered]) -> Counter[str]:
    """How many of each kind: `200`, or a refusal's status and code."""
    return Counter(f"{one.status} {one.code}".strip() for one in answers)


def fire(port: int, asked: Sequence[Asked]) -> list[Answered]:
    """Sends all requests at once; their answers, in the same order.

    Args:
        port: of the gateway, on the loopback interface.
        asked: what to send.
    """
    return asyncio.run(fire_all(port, asked))


async def fire_all(port: int, asked: Sequence[Asked]) -> list[Answered]:
    """As `fire`, on a running event loop: connects every client, then sends."""
    links = await asyncio.gather(*(_connect(port) for _ in asked))
    return await asyncio.gather(
        *(_one(link, one) for link, one in zip(links, asked, strict=True))
    )


_Link = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _connect(port: int) -> _Link | None:
    try:
        return await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return None


async def _one(link: _Link | None, asked: Asked) -> Answered:
    began_s = asyncio.get_running_loop().time()
    status, code, headers, body = 0, "broken", dict[str, str](), b""
    if link is not None:
        try:
            async with asyncio.timeout(REPLY_S_MAX):
                link[1].write(asked.encoded())
                status, headers, body = await read_reply(link[0])
                code = headers.get("x-comptroller-code", "")
        except TimeoutError:
            code = "hung"
        except (OSError, asyncio.IncompleteReadError):
            pass  # it is broken, as said above
        finally:
            link[1].close()
    seconds = asyncio.get_running_loop().time() - began_s
    return Answered(status, code, headers, body, seconds)


async def read_reply(
    reader: asyncio.StreamReader,
) -> tuple[int, dict[str, str], bytes]:
    """Status, headers in lower case, and the body of one reply.

    Raises:
        IncompleteReadError: the connection ended before the reply did.
        OSError: the connection broke.
    """
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    lines = head.split("\r\n")
    fields = dict(line.partition(": ")[::2] for line in lines[1:] if line)
    headers = {name.lower(): value for name, value in fields.items()}
    if "content-length" in headers:
        body = await reader.readexactly(int(headers["content-length"]))
    else:
        parts = []
        while size := int(await reader.readuntil(b"\r\n"), 16):
            parts.append((await reader.readexactly(size + 2))[:-2])
        await reader.readexactly(2)
        body = b"".join(parts)
    return int(lines[0].split(" ")[1]), headers, body
