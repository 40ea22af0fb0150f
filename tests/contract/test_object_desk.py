"""Every ObjectDesk: one answer to an ask, never inside the call, None for no answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import NamedTuple, TypeAlias

import pytest
import uvloop

from comptroller.adapters.control import ControlServer
from comptroller.adapters.control.objects import ObjectDeskClient
from comptroller.engine import replies
from comptroller.engine.commands import decode_command
from comptroller.engine.object_ports import ObjectDesk
from comptroller.engine.objects import AskedObject, Owned, Owners, Whose, owned_of
from comptroller.testing.objects import ScriptedObjectDesk
from comptroller.testing.system import FakeClock
from comptroller.testing.timers import FakeTimers

MINE = Owned("resp_1", "openai", "response", "acme", "checkout", "m", "R1")
THEIRS = Owned("resp_2", "openai", "response", "umbrella", "search", "m", "R2")
ASKED = Whose([AskedObject("acme", one) for one in ("resp_1", "resp_2", "resp_3")])


class Node(NamedTuple):
    """A desk, and how time passes there."""

    desk: ObjectDesk
    rest: Callable[[], Awaitable[None]]


Opener: TypeAlias = Callable[[bool], AbstractAsyncContextManager[Node]]


@asynccontextmanager
async def scripted(is_there: bool) -> AsyncIterator[Node]:
    timers = FakeTimers(FakeClock())
    desk = ScriptedObjectDesk(timers)
    desk.objects = [MINE, THEIRS]
    desk.is_down = not is_there

    async def rest() -> None:
        timers.advance(0.1)

    yield Node(desk, rest)


@asynccontextmanager
async def over_a_socket(path: Path, is_there: bool) -> AsyncIterator[Node]:
    async def handle(line: bytes, _account: str) -> bytes:
        command = decode_command(line)
        assert isinstance(command, Whose)
        return replies.encode_result(Owners(owned_of(command, [MINE, THEIRS])))

    server = ControlServer(path, handle)
    if is_there:
        await server.start()
    desk = ObjectDeskClient(path)

    async def rest() -> None:
        await asyncio.sleep(0.01)

    yield Node(desk, rest)
    await desk.close()
    if is_there:
        await server.close()


@pytest.fixture(params=["socket", "memory"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Opener:
    if request.param == "memory":
        return scripted
    return lambda is_there: over_a_socket(tmp_path / "control.sock", is_there)


async def answer_of(opening: AbstractAsyncContextManager[Node]) -> Owners | None:
    answers: list[Owners | None] = []
    async with opening as node:
        node.desk.whose(ASKED, answers.append)
        assert answers == [], "answered inside the call"
        async with asyncio.timeout(10):
            while not answers:
                await node.rest()
    assert len(answers) == 1
    return answers[0]


def test_only_what_is_ones_own_is_told(opened: Opener) -> None:
    """Another tenant's object and one that nobody made are answered alike."""
    assert uvloop.run(answer_of(opened(True))) == Owners([MINE])


def test_nobody_there_is_no_answer(opened: Opener) -> None:
    """No answer is not an answer that there is none."""
    assert uvloop.run(answer_of(opened(False))) is None
