"""Load for tests: clients whose every request can be told from all others.

A request has a number of its own. It is the `max_tokens` of its body, which the
gateway writes into the decision's record, and its `x-tag`, which the gateway passes
on and the simulated provider writes into its books.
"""

from __future__ import annotations

import asyncio
import itertools
import random  # noqa: TID251  the seed is the caller's
from collections import Counter
from typing import Final

FIRST: Final = 1000
"""The first number; longer answers than this are not asked for."""
RETRY_S: Final = 0.02
REPLY_S_MAX: Final = 20.0


class Load:
    """Clients that ask one after another, as their seed says.

    Args:
        port: of the gateway.
        key: a credential's secret.
        chance: what they draw from.
    """

    def __init__(self, port: int, key: str, chance: random.Random) -> None:
        self._port = port
        self._key = key
        self._chance = chance
        self._numbers = itertools.count(FIRST)
        self._stopped = False
        self.asked: set[int] = set()
        self.ids: dict[int, str] = {}
        """Number to the request id in the reply's head, where the status is 200."""
        self.counts: Counter[str] = Counter()
        """Statuses, and `broken` for connections that ended early."""

    def stop(self) -> None:
        """Asks `run` to return when every client has its last answer."""
        self._stopped = True

    async def run(self, clients: int) -> None:
        """Asks until stopped."""
        await asyncio.gather(*(self._client() for _ in range(clients)))

    async def _client(self) -> None:
        """Whatever breaks, it connects again and asks with a new number."""
        while not self._stopped:
            try:
                link = await asyncio.open_connection("127.0.0.1", self._port)
            except OSError:
                self.counts["unconnected"] += 1
                await asyncio.sleep(RETRY_S)
                continue
            try:
                while not self._stopped:
                    async with asyncio.timeout(REPLY_S_MAX):
                        await self._ask(*link)
            except (OSError, asyncio.IncompleteReadError):
                self.counts["broken"] += 1
            finally:
                link[1].close()

    async def _ask(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        number = next(self._numbers)
        self.asked.add(number)
        writer.write(self._request(number))
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        fields = dict(
            line.partition(": ")[::2] for line in head.split("\r\n")[1:] if line
        )
        status = head[9:12]
        if status == "200":
            self.ids[number] = fields["x-comptroller-request-id"].upper()
        if "content-length" in fields:
            await reader.readexactly(int(fields["content-length"]))
        elif self._chance.random() < 0.03:
            raise ConnectionAbortedError  # this client does not wait for the end
        else:
            while size := int(await reader.readuntil(b"\r\n"), 16):
                await reader.readexactly(size + 2)
            await reader.readexactly(2)
        self.counts[status] += 1

    def _request(self, number: int) -> bytes:
        chance = self._chance
        model, path = chance.choice(
            [("chat", "/v1/chat/completions"), ("claude", "/v1/messages")]
        )
        stream = chance.random() < 0.4
        body = (
            b'{"model":"%b","max_tokens":%d,"stream":%b,'
            b'"messages":[{"role":"user","content":"%b"}]}'
        ) % (
            model.encode(),
            number,
            b"true" if stream else b"false",
            b"word " * chance.randrange(1, 200),
        )
        wish = f"output={chance.randrange(1, 30)}"
        if stream and chance.random() < 0.03:
            wish += ", fail=reset, after=3"
        head = (
            f"POST {path} HTTP/1.1\r\nhost: gateway\r\nx-api-key: {self._key}\r\n"
            f"x-tag: {number}\r\nx-simulate: first_ms=10, chunk_ms=4, {wish}\r\n"
            f"content-length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body
