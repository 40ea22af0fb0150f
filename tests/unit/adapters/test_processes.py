from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from comptroller.adapters.processes import HOPELESS, ChildSpec, Supervisor

CHILD = """
import asyncio, os, signal, sys
from pathlib import Path
from comptroller.adapters.processes import Lifeline

async def main():
    lifeline = Lifeline(int(sys.argv[1]))
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    if sys.argv[3] != "stubborn":
        loop.add_signal_handler(signal.SIGTERM, stop.set)
    else:
        loop.add_signal_handler(signal.SIGTERM, lambda: None)
    lifeline.watch()
    with Path(sys.argv[2]).open("a") as file:
        file.write(f"start {os.getpid()}\\n")
    if sys.argv[3] == "hopeless":
        sys.exit(78)
    if sys.argv[3] == "failing":
        sys.exit(1)
    lifeline.ready()
    if sys.argv[3] == "telling":
        with Path(sys.argv[2]).open("a") as file:
            file.write(f"ready {os.getpid()}\\n")
    await stop.wait()
    with Path(sys.argv[2]).open("a") as file:
        file.write(f"stop {os.getpid()}\\n")

asyncio.run(main())
"""

SUPERVISOR = """
import asyncio, sys
from comptroller.adapters.processes import ChildSpec, Supervisor

def command(lifeline):
    return [sys.executable, "-c", sys.argv[1], str(lifeline), sys.argv[2], "polite"]

async def main():
    supervisor = Supervisor([ChildSpec("child", command, 0)], print, 5.0)
    await supervisor.start()
    print("ready", flush=True)
    await supervisor.run()

asyncio.run(main())
"""


def command(log: Path, manner: str) -> Callable[[int], Sequence[str]]:
    return lambda lifeline: [
        sys.executable,
        "-c",
        CHILD,
        str(lifeline),
        str(log),
        manner,
    ]


def events(log: Path) -> list[tuple[str, int]]:
    if not log.exists():
        return []
    words = [line.split() for line in log.read_text().splitlines()]
    return [(word, int(process)) for word, process in words]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110  what processes do has no event
            await asyncio.sleep(0.01)


def is_alive(process: int) -> bool:
    try:
        return f"{process} (" in Path(f"/proc/{process}/stat").read_text() and (
            ") Z" not in Path(f"/proc/{process}/stat").read_text()
        )
    except FileNotFoundError:
        return False


def test_a_child_that_dies_is_started_again(tmp_path: Path) -> None:
    """A killed child has a successor, and people are told what happened."""
    log, said = tmp_path / "log", list[str]()

    async def scenario() -> None:
        specs = [ChildSpec("child", command(log, "polite"), 0)]
        supervisor = Supervisor(specs, said.append, 5.0)
        await supervisor.start()
        os.kill(events(log)[0][1], signal.SIGKILL)
        await until(lambda: len(events(log)) == 2)
        supervisor.stop()
        await supervisor.run()

    asyncio.run(scenario())
    assert said == ["child was ended by SIGKILL; starting it again"]
    (_, first), (_, second), *stopped = events(log)
    assert first != second
    assert stopped in ([("stop", second)], [])
    assert not is_alive(second)


def test_children_stop_in_their_order(tmp_path: Path) -> None:
    """Those of a higher order are asked to stop only when the others have ended."""
    logs = [tmp_path / "low", tmp_path / "high"]

    async def scenario() -> None:
        specs = [
            ChildSpec(log.name, command(log, "polite"), order)
            for order, log in enumerate(logs)
        ]
        supervisor = Supervisor(specs, print, 5.0)
        await supervisor.start()
        supervisor.stop()
        await supervisor.run()

    asyncio.run(scenario())
    low, high = (log.stat().st_mtime_ns for log in logs)
    assert [events(log)[-1][0] for log in logs] == ["stop", "stop"]
    assert low < high


def test_a_second_stop_is_immediate(tmp_path: Path) -> None:
    """Who will not wait for a child that takes its time need not."""
    log = tmp_path / "log"

    async def scenario() -> float:
        specs = [ChildSpec("child", command(log, "stubborn"), 0)]
        supervisor = Supervisor(specs, print, 60.0)
        await supervisor.start()
        started_s = time.monotonic()
        supervisor.stop()
        running = asyncio.create_task(supervisor.run())
        await asyncio.sleep(0.3)
        assert not running.done()
        supervisor.stop()
        await running
        return time.monotonic() - started_s

    assert asyncio.run(scenario()) < 10
    assert not is_alive(events(log)[0][1])


def test_a_child_that_can_never_work_is_not_started_again(tmp_path: Path) -> None:
    """Its own status says so, and the supervisor gives up."""
    log = tmp_path / "log"

    async def scenario() -> bool:
        specs = [ChildSpec("child", command(log, "hopeless"), 0)]
        supervisor = Supervisor(specs, print, 5.0)
        await supervisor.start()
        assert supervisor.is_stopping
        await supervisor.run()
        return supervisor.is_hopeless

    assert asyncio.run(scenario())
    assert len(events(log)) == 1
    assert HOPELESS == 78


def test_a_child_that_never_works_is_started_ever_more_seldom(tmp_path: Path) -> None:
    """No hot loop: each pause is twice as long as the one before."""
    log = tmp_path / "log"

    async def scenario() -> None:
        specs = [ChildSpec("child", command(log, "failing"), 0)]
        supervisor = Supervisor(specs, lambda _: None, 5.0)
        starting = asyncio.create_task(supervisor.start())
        await asyncio.sleep(2.5)
        supervisor.stop()
        await starting
        await supervisor.run()

    asyncio.run(scenario())
    assert 2 <= len(events(log)) <= 6


def test_a_child_that_was_ready_and_killed_is_started_at_once(tmp_path: Path) -> None:
    """However often in a row: its work waits for it."""
    log, told_s = tmp_path / "log", list[float]()
    kills = 7

    async def scenario() -> None:
        specs = [ChildSpec("child", command(log, "telling"), 0)]
        supervisor = Supervisor(specs, lambda _: told_s.append(time.monotonic()), 5.0)
        await supervisor.start()
        for life in range(kills):
            await until(lambda n=life: len(events(log)) == 2 * n + 2)  # type: ignore[misc]
            assert events(log)[-1][0] == "ready"
            await asyncio.sleep(0.05)  # the supervisor hears it, too
            os.kill(events(log)[-1][1], signal.SIGKILL)
        await until(lambda: len(events(log)) > 2 * kills)
        pause_s = time.monotonic() - told_s[-1]
        supervisor.stop()
        await supervisor.run()
        # Had each pause been twice the one before, this one would be 3.2 s.
        assert pause_s < 2.5

    asyncio.run(scenario())
    assert len(told_s) == kills


def test_a_gated_child_waits_and_a_stop_does_not_wait_for_it(tmp_path: Path) -> None:
    """A child behind a closed gate is not started, and does not hold up the end."""
    log = tmp_path / "log"

    async def scenario() -> None:
        gate = asyncio.Event()
        specs = [ChildSpec("child", command(log, "polite"), 0, gate)]
        supervisor = Supervisor(specs, print, 60.0)
        starting = asyncio.create_task(supervisor.start())
        await asyncio.sleep(0.1)
        supervisor.stop()
        await starting
        await asyncio.wait_for(supervisor.run(), 5)

    asyncio.run(scenario())
    assert not events(log)


def test_children_end_when_their_supervisor_is_killed(tmp_path: Path) -> None:
    """After `kill -9` of the supervisor no child is left, and each ended gracefully."""
    log = tmp_path / "log"
    with subprocess.Popen(
        [sys.executable, "-c", SUPERVISOR, CHILD, str(log)], stdout=subprocess.PIPE
    ) as supervisor:
        assert supervisor.stdout is not None
        assert supervisor.stdout.readline() == b"ready\n"
        supervisor.kill()
    child = events(log)[0][1]
    asyncio.run(until(lambda: not is_alive(child)))
    assert events(log)[-1] == ("stop", child)


def test_a_child_that_is_not_vital_stops_nobody(tmp_path: Path) -> None:
    """It says that it cannot work; the others are ready and go on without it."""
    log, other = tmp_path / "log", tmp_path / "other"
    said: list[str] = []
    specs = [
        ChildSpec("child", command(log, "polite"), 0),
        ChildSpec("other", command(other, "hopeless"), 1, is_vital=False),
    ]

    async def lives() -> None:
        supervisor = Supervisor(specs, said.append, 5.0)
        await supervisor.start()
        await until(lambda: "other cannot work; the others go on without it" in said)
        assert not supervisor.is_stopping
        supervisor.stop()
        await supervisor.run()
        assert not supervisor.is_hopeless

    asyncio.run(lives())
    assert [word for word, _ in events(log)] == ["start", "stop"]
    assert [word for word, _ in events(other)] == ["start"]
