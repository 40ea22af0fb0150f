"""Every LeaseDesk: one answer to an ask, never inside the call, None for no answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Protocol, TypeAlias

import msgspec
import pytest
import uvloop

from comptroller.adapters.control import ControlServer
from comptroller.adapters.control.leasing import LeaseDeskClient
from comptroller.core.errors import StoreUnavailableError
from comptroller.engine import replies
from comptroller.engine.commands import Done, decode_command
from comptroller.engine.leasing import (
    AskLeases,
    AwaitRecall,
    Granted,
    Leased,
    LeaseNeed,
    LeasesReturned,
    Recall,
)
from comptroller.engine.ports import LeaseDesk
from comptroller.testing.journal import InMemoryJournal
from comptroller.testing.leasing import ScriptedCentre, ScriptedDesk
from comptroller.testing.system import FakeClock
from comptroller.testing.timers import FakeTimers

HOLDER = "/node/w0/01A"
ACCOUNT = "service:checkout/month@2026-11"


def an_ask(sequence: int, amount: int = 5) -> AskLeases:
    needs = [LeaseNeed(ACCOUNT, amount, amount)]
    return AskLeases(HOLDER, sequence, "boot", "disk", needs, [], [])


def grant_all(asked: AskLeases) -> Leased:
    grants = [Granted(need.account, need.amount) for need in asked.needs]
    return Leased(asked.sequence, grants, [], [])


class Centre(Protocol):
    """What the other side hears, whichever desk it is."""

    is_silent: bool
    """Whether it says nothing to the next ask."""

    def asked(self) -> list[int]:
        """The numbers of all asks that came."""

    def returns(self) -> int:
        """How often it was told that something was returned."""


class SocketCentre:
    """A control process that grants all."""

    def __init__(self) -> None:
        self.is_silent = False
        self._asked: list[int] = []
        self._returns = 0

    def asked(self) -> list[int]:
        """The numbers of all asks that came."""
        return self._asked

    def returns(self) -> int:
        """How often it was told that something was returned."""
        return self._returns

    async def handle(self, line: bytes, _account: str) -> bytes:
        """Answers a line."""
        match decode_command(line):
            case AskLeases() as asked:
                self._asked.append(asked.sequence)
                if self.is_silent:
                    await asyncio.sleep(60)
                return replies.encode_result(grant_all(asked))
            case AwaitRecall():
                await asyncio.sleep(60)
            case LeasesReturned():
                self._returns += 1
                return replies.encode_result(Done())
            case _:
                pass
        raise AssertionError(line)


class InMemoryCentre:
    """The scripted one of the unit tests."""

    def __init__(self, desk: ScriptedDesk) -> None:
        self._desk = desk

    @property
    def is_silent(self) -> bool:
        """Whether it says nothing to the next ask."""
        return self._desk.lose_answers > 0

    @is_silent.setter
    def is_silent(self, value: bool) -> None:
        self._desk.lose_answers = int(value)

    def asked(self) -> list[int]:
        """The numbers of all asks that came."""
        return [one.sequence for one in self._desk.asked]

    def returns(self) -> int:
        """How often it was told that something was returned."""
        return self._desk.told


class Node:
    """A desk, its centre, and how time passes there."""

    def __init__(
        self, desk: LeaseDesk, centre: Centre, rest: Callable[[], Awaitable[None]]
    ) -> None:
        self.desk = desk
        self.centre = centre
        self._rest = rest
        self.answers: list[Leased | None] = []

    def ask(self, asked: AskLeases) -> None:
        """Asks, and keeps the answer."""
        before = len(self.answers)
        self.desk.ask(asked, self.answers.append)
        assert len(self.answers) == before, "answered inside the call"

    async def until(self, is_done: Callable[[], bool]) -> None:
        """Lets time pass."""
        deadline_s = time.monotonic() + 10
        while not is_done():
            assert time.monotonic() < deadline_s
            await self._rest()


Opening: TypeAlias = AbstractAsyncContextManager[Node]
Opener: TypeAlias = Callable[[bool], Opening]


@asynccontextmanager
async def scripted(is_there: bool) -> AsyncIterator[Node]:
    clock = FakeClock()
    timers = FakeTimers(clock)
    granting = ScriptedCentre(clock)
    granting.limits[ACCOUNT] = 1_000_000
    desk = ScriptedDesk(granting, timers, InMemoryJournal(HOLDER))
    desk.is_down = not is_there

    async def rest() -> None:
        timers.advance(0.1)

    yield Node(desk, InMemoryCentre(desk), rest)


@asynccontextmanager
async def connected(path: Path, is_there: bool) -> AsyncIterator[Node]:
    centre = SocketCentre()
    server = ControlServer(path, centre.handle)
    if is_there:
        await server.start()
    client = LeaseDeskClient(path, HOLDER, lambda _: None)
    client.start()
    try:
        yield Node(client, centre, lambda: asyncio.sleep(0.005))
    finally:
        await client.close()
        await server.close()


@pytest.fixture(params=["socket", "uvloop", "scripted"])
def opener(request: pytest.FixtureRequest, tmp_path: Path) -> Opener:
    if request.param == "scripted":
        return scripted
    if request.param == "uvloop":  # on which workers run
        request.getfixturevalue("uvloops")
    return lambda is_there: connected(tmp_path / "control.sock", is_there)


@pytest.fixture
def uvloops() -> Iterator[None]:
    before = asyncio.get_event_loop_policy()
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    yield
    asyncio.set_event_loop_policy(before)


def run(scenario: Callable[[Node], Awaitable[None]], opening: Opening) -> None:
    async def whole() -> None:
        async with opening as node:
            await scenario(node)

    asyncio.run(whole())


def test_each_ask_has_its_own_answer(opener: Opener) -> None:
    """What was asked first is answered first, each once."""

    async def scenario(node: Node) -> None:
        for sequence in range(1, 6):
            node.ask(an_ask(sequence, sequence))
        await node.until(lambda: len(node.answers) == 5)
        assert node.answers == [grant_all(an_ask(n, n)) for n in range(1, 6)]

    run(scenario, opener(True))


def test_an_ask_may_be_sent_again(opener: Opener) -> None:
    """The same number is told to the centre as often as it is sent."""

    async def scenario(node: Node) -> None:
        node.ask(an_ask(7))
        node.ask(an_ask(7))
        await node.until(lambda: len(node.answers) == 2)
        assert node.centre.asked() == [7, 7]

    run(scenario, opener(True))


def test_nobody_there_is_no_answer(opener: Opener) -> None:
    """Where no control process is, an ask is answered None, soon."""

    async def scenario(node: Node) -> None:
        node.ask(an_ask(1))
        await node.until(lambda: node.answers == [None])
        node.desk.returned()

    run(scenario, opener(False))


def test_a_centre_that_says_nothing_is_no_answer(opener: Opener) -> None:
    """After two seconds the ask is answered None, and the next one is asked anew."""

    async def scenario(node: Node) -> None:
        node.centre.is_silent = True
        node.ask(an_ask(1))
        await node.until(lambda: node.answers == [None])
        node.centre.is_silent = False
        node.ask(an_ask(2))
        await node.until(lambda: len(node.answers) == 2)
        assert node.answers[1] == grant_all(an_ask(2))

    run(scenario, opener(True))


def test_a_return_is_said(opener: Opener) -> None:
    """The centre hears that something was returned, while an ask waits, too."""

    async def scenario(node: Node) -> None:
        node.centre.is_silent = True
        node.ask(an_ask(1))
        node.desk.returned()
        await node.until(lambda: node.centre.returns() == 1)

    run(scenario, opener(True))


def test_recalls_reach_a_worker_that_also_asks(tmp_path: Path) -> None:
    """A recall comes while an ask waits; afterwards the worker listens again."""
    path = tmp_path / "control.sock"
    recalled: list[list[str]] = []
    said: asyncio.Queue[Recall] = asyncio.Queue()

    async def handle(line: bytes, _account: str) -> bytes:
        if isinstance(decode_command(line), AwaitRecall):
            return replies.encode_result(await said.get())
        await asyncio.sleep(60)
        raise AssertionError

    async def scenario() -> None:
        server = ControlServer(path, handle)
        await server.start()
        client = LeaseDeskClient(path, HOLDER, lambda names: recalled.append([*names]))
        client.start()
        client.ask(an_ask(1), lambda _: None)
        for count in range(1, 4):
            said.put_nowait(Recall([]))
            said.put_nowait(Recall([ACCOUNT] * count))
        async with asyncio.timeout(5):
            while len(recalled) < 3:  # noqa: ASYNC110  a callback has no event
                await asyncio.sleep(0.005)
        await client.close()
        await server.close()

    asyncio.run(scenario())
    assert recalled == [[ACCOUNT] * count for count in range(1, 4)]


def test_a_control_process_that_starts_anew_is_found_again(tmp_path: Path) -> None:
    """Asks and recalls go to the next one on the same path, without a restart here."""
    path = tmp_path / "control.sock"
    listened: list[str] = []

    def handler(name: str) -> Callable[[bytes, str], Awaitable[bytes]]:
        async def handle(line: bytes, _account: str) -> bytes:
            command = decode_command(line)
            if isinstance(command, AwaitRecall):
                listened.append(name)
                await asyncio.sleep(60)
            if isinstance(command, AskLeases):
                return replies.encode_result(grant_all(command))
            return replies.encode_error(StoreUnavailableError("not now"))

        return handle

    async def scenario() -> list[Leased | None]:
        answers: list[Leased | None] = []
        server = ControlServer(path, handler("first"))
        await server.start()
        client = LeaseDeskClient(path, HOLDER, lambda _: None)
        client.start()
        async with asyncio.timeout(10):
            for sequence, name in enumerate(("first", "second"), start=1):
                client.ask(an_ask(sequence), answers.append)
                while len(answers) < sequence or name not in listened:  # noqa: ASYNC110
                    await asyncio.sleep(0.005)
                await server.close()
                if name == "first":
                    server = ControlServer(path, handler("second"))
                    await server.start()
        await client.close()
        return answers

    assert asyncio.run(scenario()) == [grant_all(an_ask(n)) for n in (1, 2)]


def test_an_error_is_no_answer(tmp_path: Path) -> None:
    """A centre that cannot write says so; the worker may ask again."""
    path = tmp_path / "control.sock"

    async def handle(line: bytes, _account: str) -> bytes:
        assert msgspec.json.decode(line)["holder"] == HOLDER
        return replies.encode_error(StoreUnavailableError("the disk is full"))

    async def scenario() -> list[Leased | None]:
        answers: list[Leased | None] = []
        server = ControlServer(path, handle)
        await server.start()
        client = LeaseDeskClient(path, HOLDER, lambda _: None)
        client.ask(an_ask(1), answers.append)
        async with asyncio.timeout(5):
            while not answers:  # noqa: ASYNC110  a callback has no event
                await asyncio.sleep(0.005)
        await client.close()
        await server.close()
        return answers

    assert asyncio.run(scenario()) == [None]
