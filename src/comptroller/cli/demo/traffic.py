"""The demo's clients: they call as their services' habits say, and keep score."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Mapping
from typing import Final, NamedTuple

from comptroller.cli.demo.organization import HABITS, Call, Habit, gap_s, headers
from comptroller.testing.provider.tokens import Draw

IN_FLIGHT_MAX: Final = 100
LATENCIES_MAX: Final = 2000
REPLY_TIMEOUT_S: Final = 60.0


class Outcome(NamedTuple):
    """How one call went."""

    status: int
    """0: the connection broke."""
    request_id: str
    first_byte_s: float
    body: bytes


class Score:
    """What the clients of one service saw."""

    def __init__(self) -> None:
        self.statuses: Counter[int] = Counter()
        self.first_byte_s: deque[float] = deque(maxlen=LATENCIES_MAX)
        self.last_allowed = ""
        """Id of the last request that was answered."""
        self.last_refused: Outcome | None = None

    def take(self, outcome: Outcome) -> None:
        """Adds one call."""
        self.statuses[outcome.status] += 1
        if outcome.status == 200:
            self.first_byte_s.append(outcome.first_byte_s)
            self.last_allowed = outcome.request_id
        else:
            self.last_refused = outcome

    @property
    def answered(self) -> int:
        """Calls that were answered."""
        return self.statuses[200]

    @property
    def refused(self) -> int:
        """Calls that were turned away or broke."""
        return self.statuses.total() - self.answered


def quantile(values: list[float], share: float) -> float:
    """The value below which so large a share of them lies; 0 of none."""
    if not values:
        return 0.0
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


async def call(address: tuple[str, int], head: bytes, body: bytes) -> Outcome:
    """One request on a connection of its own, as most small scripts do it."""
    start = time.perf_counter()
    reader, writer = await asyncio.open_connection(*address)
    try:
        writer.write(head + body)
        answer = await reader.readuntil(b"\r\n\r\n")
        first_byte_s = time.perf_counter() - start
        rest = await reader.read()
    finally:
        writer.close()
    lines = answer.decode("latin-1").split("\r\n")
    fields = {
        name.lower(): value.strip()
        for name, _, value in (line.partition(":") for line in lines[1:])
    }
    status = int(lines[0].split(" ")[1])
    request_id = fields.get("x-comptroller-request-id", "")
    return Outcome(status, request_id, first_byte_s, rest)


def request_head(path: str, fields: Mapping[str, str], size: int) -> bytes:
    """The bytes before a request's body."""
    lines = [f"POST {path} HTTP/1.1", "host: gateway", "connection: close"]
    lines += [f"{name}: {value}" for name, value in fields.items()]
    lines.append(f"content-length: {size}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


class Traffic:
    """All clients at once, against one gateway."""

    def __init__(
        self, address: tuple[str, int], secrets: Mapping[str, str], seed: int = 1
    ) -> None:
        self._address = address
        self._secrets = secrets
        """By service."""
        self._draw = Draw(seed, b"traffic")
        self._room = asyncio.Semaphore(IN_FLIGHT_MAX)
        self.scores = {habit.service: Score() for habit in HABITS}

    async def play(self, seconds: float) -> None:
        """Calls for so long, then waits for the replies under way."""
        async with asyncio.TaskGroup() as group:
            for habit in HABITS:
                group.create_task(self._service(habit, seconds, group))

    async def _service(
        self, habit: Habit, seconds: float, group: asyncio.TaskGroup
    ) -> None:
        start = time.perf_counter()
        number = 0
        while True:
            elapsed_s = time.perf_counter() - start
            wait_s = gap_s(habit, self._draw, number, elapsed_s)
            if elapsed_s + wait_s >= seconds:
                return
            await asyncio.sleep(wait_s)
            await self._room.acquire()
            group.create_task(self._one(habit, number))
            number += 1

    async def _one(self, habit: Habit, number: int) -> None:
        try:
            outcome = await self.once(habit, number)
        finally:
            self._room.release()
        self.scores[habit.service].take(outcome)

    async def once(self, habit: Habit, number: int) -> Outcome:
        """One call of a service, as its habit has it."""
        what = habit.compose(self._draw, f"{habit.service} {number}")
        return await self.send(habit.service, what)

    async def send(self, service: str, what: Call) -> Outcome:
        """One call; a broken connection is an outcome, too."""
        fields = headers(what, self._secrets[service])
        head = request_head(what.path, fields, len(what.body))
        try:
            async with asyncio.timeout(REPLY_TIMEOUT_S):
                return await call(self._address, head, what.body)
        except (OSError, TimeoutError, EOFError, ValueError) as error:
            return Outcome(0, "", 0.0, str(error).encode())
