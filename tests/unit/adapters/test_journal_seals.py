"""Seals: what a journal's process wrote is told by the journal itself."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import selectors
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comptroller.adapters.journal import segments, writer
from comptroller.adapters.journal.marks import SEAL_EVERY_S
from comptroller.adapters.journal.naming import journal_name
from comptroller.adapters.journal.writer import GroupCommitJournal, SyncJournal
from comptroller.core.errors import JournalUnavailableError
from comptroller.engine.recording import Recorder
from comptroller.testing.seals import check_seals
from comptroller.testing.system import FakeClock, SequentialIds

NAME = journal_name("node", "w0", "01BOOT")
FIRST_FILE = "node.w0.01BOOT.jsonl"
HASTE: Final = 25
"""How much faster the loop's time goes; disks and threads keep theirs."""
_Found = TypeVar("_Found")


class HastySelector(selectors.DefaultSelector):
    """Waits a fraction of what it is asked to."""

    def select(
        self, timeout: float | None = None
    ) -> list[tuple[selectors.SelectorKey, int]]:
        """What is ready; waits a fraction of the timeout."""
        return super().select(None if timeout is None else timeout / HASTE)


class HastyLoop(asyncio.SelectorEventLoop):
    """A loop whose seconds are short."""

    def __init__(self) -> None:
        super().__init__(HastySelector())

    def time(self) -> float:
        """Its seconds."""
        return super().time() * HASTE


def run(scenario: Coroutine[Any, Any, _Found]) -> _Found:
    with asyncio.Runner(loop_factory=HastyLoop) as runner:
        return runner.run(scenario)


def open_group(
    directory: Path, durability: writer.Durability = "disk"
) -> GroupCommitJournal:
    return GroupCommitJournal(directory, NAME, FakeClock(), SequentialIds(), durability)


def lines(directory: Path) -> list[bytes]:
    files = sorted(directory.glob("*.jsonl"), key=lambda f: (len(f.name), f.name))
    return b"".join(file.read_bytes() for file in files).splitlines()


def kinds(directory: Path) -> list[str]:
    """The marks among the lines by their type's third word, others as they are."""
    found = []
    for line in lines(directory):
        record = json.loads(line)
        is_mark = isinstance(record, dict) and "journal" in record["type"]
        found.append(record["type"].split(".")[2] if is_mark else line.decode())
    return found


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20 * HASTE):
        while not condition():  # noqa: ASYNC110  what happens has no event
            await asyncio.sleep(0.02 * HASTE)


@pytest.mark.parametrize("durability", ["disk", "process"])
def test_what_is_written_is_sealed_within_a_second(
    tmp_path: Path, durability: writer.Durability
) -> None:
    """A burst has one seal soon after, an idle journal none, the end is sealed."""

    async def scenario() -> None:
        journal = open_group(tmp_path, durability)
        for burst in (1, 2, 3):
            for number in range(5):
                journal.append(b"%d%d" % (burst, number))
            await asyncio.sleep(2 * SEAL_EVERY_S)
            size = sum(len(line) for line in lines(tmp_path))
            await asyncio.sleep(5 * SEAL_EVERY_S)
            assert sum(len(line) for line in lines(tmp_path)) == size
        journal.append(b"99")
        journal.close()

    run(scenario())
    expected = ["started"]
    for burst in (1, 2, 3):
        expected += [*(f"{burst}{number}" for number in range(5)), "sealed"]
    assert kinds(tmp_path) == [*expected, "99", "closed"]
    assert check_seals(lines(tmp_path)) == ([6, 12, 18, 20], [], 0)


def test_a_journal_without_records_is_sealed_too(tmp_path: Path) -> None:
    """That a process started is in a seal before it records anything."""

    async def scenario() -> None:
        journal = open_group(tmp_path)
        await asyncio.sleep(2 * SEAL_EVERY_S)
        journal.close()

    run(scenario())
    assert kinds(tmp_path) == ["started", "sealed", "closed"]
    assert check_seals(lines(tmp_path)) == ([1, 2], [], 0)


def test_under_load_there_is_a_seal_a_second(tmp_path: Path) -> None:
    """Whatever is appended between, no two seals are closer."""
    appended = 0

    async def scenario() -> float:
        nonlocal appended
        journal = open_group(tmp_path)
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        while loop.time() < began_s + 20 * SEAL_EVERY_S:
            journal.append(b'"%d"' % appended)
            appended += 1
            await asyncio.sleep(0.01)
        took_s = loop.time() - began_s
        journal.close()
        return took_s

    took_s = run(scenario())
    found = check_seals(lines(tmp_path))
    assert found.broken == []
    assert found.unsealed == 0
    assert 3 <= len(found.good) <= took_s / SEAL_EVERY_S + 2
    numbers = [kind for kind in kinds(tmp_path) if kind.startswith('"')]
    assert numbers == [f'"{number}"' for number in range(appended)]


def test_no_record_has_the_number_of_a_seal(tmp_path: Path) -> None:
    """Whoever builds records counts on from the seals between them."""

    async def scenario() -> None:
        journal = open_group(tmp_path)
        recorder = Recorder(journal, FakeClock())
        for number in range(300):
            recorder.unauthenticated("unknown", number)
            recorder.extended(f"R{number}", number)
            await asyncio.sleep(0.05)
        journal.close()

    run(scenario())
    numbers = [int(json.loads(line)["sequence"]) for line in lines(tmp_path)]
    assert numbers == [*range(len(numbers))]
    assert "sealed" in kinds(tmp_path)
    assert len(check_seals(lines(tmp_path)).good) > 1


@pytest.mark.parametrize("durability", ["disk", "process"])
def test_seals_go_on_across_segments(
    tmp_path: Path, durability: writer.Durability
) -> None:
    """A seal covers lines of the segment before, too."""

    async def scenario() -> None:
        journal = open_group(tmp_path, durability)
        record = b'"' + b"z" * 65_000 + b'"'
        for number in range(segments.SEGMENT_BYTES_MAX * 9 // 4 // len(record)):
            journal.append(record)
            if number % 40 == 39:
                await until(lambda: journal._waiting_bytes < 1_000_000)
        journal.close()

    run(scenario())
    assert len(list(tmp_path.iterdir())) == 3
    found = check_seals(lines(tmp_path))
    assert found.broken == []
    assert found.unsealed == 0
    if durability == "disk":
        assert len(found.good) > 1


STEPS = st.lists(
    st.tuples(st.integers(0, 6), st.booleans(), st.sampled_from([0, 0.01, 0.4, 1.3])),
    max_size=25,
)


@settings(max_examples=25, deadline=None)
@given(steps=STEPS, durability=st.sampled_from(["disk", "process"]))
def test_every_seal_is_that_of_the_bytes(
    steps: list[tuple[int, bool, float]], durability: writer.Durability
) -> None:
    """Whenever something is appended and whoever waits for it."""
    answers: list[bool] = []

    async def scenario(directory: Path) -> None:
        journal = open_group(directory, durability)
        for count, is_awaited, pause_s in steps:
            for _ in range(count):
                journal.append(b'"x"', answers.append if is_awaited else None)
            await asyncio.sleep(pause_s)
        journal.close()

    with TemporaryDirectory() as folder:
        run(scenario(Path(folder)))
        found, written = check_seals(lines(Path(folder))), lines(Path(folder))
    awaited = sum(count for count, is_awaited, _ in steps if is_awaited)
    assert answers == [True] * awaited
    assert (found.broken, found.unsealed) == ([], 0)
    assert written.count(b'"x"') == sum(count for count, _, _ in steps)


def test_an_edit_on_the_disk_contradicts_the_seal(tmp_path: Path) -> None:
    """The seal is of what was written, not of what stands there now."""

    async def scenario() -> None:
        journal = open_group(tmp_path)
        journal.append(b'{"type":"cost","nano_usd":1900}')
        await asyncio.sleep(0)
        path = tmp_path / FIRST_FILE
        path.write_bytes(path.read_bytes().replace(b":1900}", b":1000}"))
        await asyncio.sleep(2 * SEAL_EVERY_S)
        journal.append(b'{"type":"cost","nano_usd":2000}')
        journal.close()

    run(scenario())
    assert check_seals(lines(tmp_path)) == ([4], [2], 0)


@contextmanager
def nearly_full(path: Path) -> Iterator[None]:
    """A disk that takes ten bytes more of a file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 10, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_failed_journal_writes_no_seal(tmp_path: Path) -> None:
    """After a full disk there is nothing more, however long it lives on."""

    async def scenario() -> None:
        journal = open_group(tmp_path)
        journal.append(b'"kept"')
        await asyncio.sleep(0)
        with nearly_full(tmp_path / FIRST_FILE):
            journal.append(b'"lost lost"')
            await until(lambda: journal.failed)
        await asyncio.sleep(3 * SEAL_EVERY_S)
        journal.close()

    run(scenario())
    whole = (tmp_path / FIRST_FILE).read_bytes()
    assert whole.endswith(b'"kept"\n"lost lost')
    assert b"sealed" not in whole


def test_a_seal_that_cannot_be_written_fails_the_journal(tmp_path: Path) -> None:
    """A full disk is noticed by a seal as by any record."""

    async def scenario() -> None:
        journal = open_group(tmp_path)
        journal.append(b'"kept"')
        await asyncio.sleep(0)
        with nearly_full(tmp_path / FIRST_FILE):
            await until(lambda: journal.failed)
        with pytest.raises(JournalUnavailableError, match="failed earlier"):
            journal.append(b'"late"')
        journal.close()

    run(scenario())


def test_a_seal_that_is_due_keeps_nobody_from_stopping(tmp_path: Path) -> None:
    """Closing is as quick as before, and no timer outlives the journal."""

    async def scenario() -> float:
        journal = open_group(tmp_path)
        journal.append(b'"last"')
        await asyncio.sleep(0)
        began_s = time.monotonic()
        journal.close()
        return began_s

    began_s = asyncio.run(scenario())
    assert time.monotonic() - began_s < SEAL_EVERY_S / 2
    assert kinds(tmp_path) == ["started", '"last"', "closed"]


# -- journals of processes that wait --------------------------------------------


def test_a_waiting_journal_seals_with_the_append_a_second_later(
    tmp_path: Path,
) -> None:
    """At the end of an append when a second has passed; at the end; never twice."""
    clock = FakeClock()
    journal = SyncJournal(tmp_path, NAME, clock, SequentialIds())
    for seconds, record in ((0.2, b"1"), (0.9, b"2"), (0.3, b"3"), (5.0, b"4")):
        clock.advance(seconds)
        journal.append(record)
    journal.append_all([])
    journal.seal()
    clock.advance(5.0)
    for _ in range(2):
        journal.seal()
    journal.append_all([b"5", b"6"])
    journal.append(b"7")
    clock.advance(0.5)
    journal.seal()
    clock.advance(0.6)
    journal.seal()
    journal.close()
    journal.seal()
    expected = ["started", "1", "2", "sealed", "3", "4", "sealed", "5", "6", "sealed"]
    assert kinds(tmp_path) == [*expected, "7", "sealed", "closed"]
    found = check_seals(lines(tmp_path))
    assert (found.broken, found.unsealed) == ([], 0)


def test_what_lies_beyond_a_segment_is_sealed_by_who_waits_too(tmp_path: Path) -> None:
    """The chain does not begin anew with a file."""
    clock = FakeClock()
    journal = SyncJournal(tmp_path, NAME, clock, SequentialIds())
    record = b'"' + b"z" * 65_000 + b'"'
    for _ in range(segments.SEGMENT_BYTES_MAX * 5 // 4 // len(record) // 100):
        journal.append_all([record] * 100)
        clock.advance(0.4)
    journal.close()
    assert len(list(tmp_path.iterdir())) == 2
    found = check_seals(lines(tmp_path))
    assert (found.broken, found.unsealed) == ([], 0)
    assert len(found.good) > 2


# -- a killed process ------------------------------------------------------------

WORKER = """
import asyncio, os, sys
from pathlib import Path
from comptroller.adapters.journal.naming import journal_name
from comptroller.adapters.journal.writer import GroupCommitJournal
from comptroller.adapters.system import SystemClock, SystemEntropy, UlidIds
from comptroller.engine.recording import Recorder

async def main():
    clock = SystemClock()
    name = journal_name("node", "w0", "01BOOT")
    ids = UlidIds(clock, SystemEntropy())
    journal = GroupCommitJournal(Path(sys.argv[1]), name, clock, ids)
    recorder = Recorder(journal, clock)
    print("open", flush=True)
    for number in range(100_000):
        recorder.unauthenticated("unknown", number)
        await asyncio.sleep(0.002)

asyncio.run(main())
"""


def test_a_kill_leaves_about_a_second_unsealed(tmp_path: Path) -> None:
    """What came before is sealed, and the seals are right."""
    process = subprocess.Popen(
        [sys.executable, "-c", WORKER, str(tmp_path)], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"open\n"
    time.sleep(3.0 + int.from_bytes(os.urandom(1), "big") / 256)
    process.kill()
    process.communicate()
    whole, _, _torn = (tmp_path / FIRST_FILE).read_bytes().rpartition(b"\n")
    written = whole.splitlines()
    found = check_seals(written)
    assert found.broken == []
    assert len(found.good) >= 2
    last_seal_s, end_s = (
        datetime.fromisoformat(json.loads(written[number])["time"]).timestamp()
        for number in (found.good[-1], -1)
    )
    assert end_s - last_seal_s < SEAL_EVERY_S + 1.0
