"""Writing journals: group commit, the limits, and failing for good."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from comptroller.adapters.journal import segments, writer
from comptroller.adapters.journal.naming import from_file, from_source, journal_name
from comptroller.adapters.journal.writer import GroupCommitJournal, SyncJournal
from comptroller.core.errors import JournalUnavailableError
from comptroller.testing.system import FakeClock, SequentialIds

NAME = journal_name("node", "w0", "01BOOT")
FIRST_FILE = "node.w0.01BOOT.jsonl"


def open_group(
    directory: Path, durability: writer.Durability = "disk"
) -> GroupCommitJournal:
    return GroupCommitJournal(directory, NAME, FakeClock(), SequentialIds(), durability)


def open_sync(directory: Path) -> SyncJournal:
    return SyncJournal(directory, NAME, FakeClock(), SequentialIds())


@contextmanager
def files_at_most(size: int) -> Iterator[None]:
    """A full disk, as the kernel tells it: a short write, then an error."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def settle(answers: list[bool], count: int) -> None:
    await until(lambda: len(answers) >= count)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  what happens has no event
            await asyncio.sleep(0.001)


def lines(directory: Path) -> list[bytes]:
    files = sorted(directory.glob("*.jsonl"), key=lambda f: (len(f.name), f.name))
    return b"".join(file.read_bytes() for file in files).splitlines()


def test_the_first_record_says_that_the_journal_started(tmp_path: Path) -> None:
    """A journal begins with `journal.started`, sequence 0, and ends `closed`."""
    journal = open_sync(tmp_path)
    journal.close()
    started, closed = map(json.loads, lines(tmp_path))
    assert started["type"] == "comptroller.journal.started.v1"
    assert started["sequence"] == "0"
    assert started["source"] == journal.source == "/node/w0/01BOOT"
    assert started["time"] == "2025-11-24T16:00:00.000000Z"
    assert started["data"] == {"process": os.getpid()}
    assert closed["type"] == "comptroller.journal.closed.v1"
    assert closed["sequence"] == "1"


@pytest.mark.parametrize("durability", ["disk", "process"])
def test_a_thousand_appends_keep_their_order(
    tmp_path: Path, durability: writer.Durability
) -> None:
    """Records stand in the file in the order of append, each callback once."""

    async def scenario() -> None:
        journal = open_group(tmp_path, durability)
        answers: list[bool] = []
        for number in range(1000):
            waits = number % 3 != 0
            journal.append(b"%d" % number, answers.append if waits else None)
            if number % 7 == 0:
                await asyncio.sleep(0)
        await settle(answers, 666)
        assert answers == [True] * 666
        journal.close()

    asyncio.run(scenario())
    assert lines(tmp_path)[1:-1] == [b"%d" % number for number in range(1000)]


def test_a_callback_comes_only_after_the_record_is_in_the_file(
    tmp_path: Path,
) -> None:
    """When on_durable says True, the record is complete in the file."""

    async def scenario() -> None:
        journal = open_group(tmp_path)
        seen: list[bool] = []
        journal.append(b"first", lambda ok: seen.append(ok and b"first" in file()))
        assert seen == []
        await settle(seen, 1)
        assert seen == [True]
        journal.close()

    def file() -> list[bytes]:
        return lines(tmp_path)

    asyncio.run(scenario())


def test_a_full_disk_fails_the_journal_for_good(tmp_path: Path) -> None:
    """All who wait get False, later appends raise, complete lines stay."""

    async def scenario() -> None:
        journal = open_group(tmp_path)
        answers: list[bool] = []
        journal.append(b"a" * 100, answers.append)
        await settle(answers, 1)
        size = (tmp_path / FIRST_FILE).stat().st_size
        with files_at_most(size + 150):
            journal.append(b"b" * 100, answers.append)
            journal.append(b"c" * 100, answers.append)
            await settle(answers, 3)
        assert answers == [True, False, False]
        assert journal.failed
        with pytest.raises(JournalUnavailableError, match="failed earlier"):
            journal.append(b"d", answers.append)
        journal.close()
        assert answers == [True, False, False]

    asyncio.run(scenario())
    whole = (tmp_path / FIRST_FILE).read_bytes()
    assert whole.endswith(b"a" * 100 + b"\n" + b"b" * 100 + b"\n" + b"c" * 49)


def test_a_failed_sync_answers_false(tmp_path: Path) -> None:
    """When fdatasync fails, nobody is told that a record is durable."""

    async def scenario() -> None:
        journal = open_group(tmp_path)
        answers: list[bool] = []
        journal.append(b"kept", answers.append)
        await settle(answers, 1)
        # A pipe takes writes but cannot be synced: fdatasync says EINVAL.
        read_end, write_end = os.pipe()
        os.dup2(write_end, journal._segments.descriptor)
        journal.append(b"lost", answers.append)
        await settle(answers, 2)
        assert answers == [True, False]
        assert journal.failed
        journal.close()
        os.close(read_end)
        os.close(write_end)

    asyncio.run(scenario())


def test_a_sync_journal_raises_on_a_full_disk(tmp_path: Path) -> None:
    """A blocking append that is not durable raises, and so does every later one."""
    journal = open_sync(tmp_path)
    journal.append(b"kept")
    size = (tmp_path / FIRST_FILE).stat().st_size
    with (
        files_at_most(size + 10),
        pytest.raises(JournalUnavailableError, match="File too large"),
    ):
        journal.append(b"x" * 100)
    with pytest.raises(JournalUnavailableError, match="failed earlier"):
        journal.append(b"later")
    journal.close()
    assert lines(tmp_path)[1] == b"kept"


def test_records_that_cannot_be_one_line_are_refused(tmp_path: Path) -> None:
    """A line break or too many bytes raise, and nothing is written."""

    async def scenario() -> None:
        journal = open_group(tmp_path)
        for record, message in (
            (b"a\nb", "line break"),
            (b"x" * 65_536, "too long"),
        ):
            with pytest.raises(JournalUnavailableError, match=message):
                journal.append(record)
        assert not journal.failed
        journal.append(b"y" * 65_535)
        journal.close()

    asyncio.run(scenario())
    assert len(lines(tmp_path)) == 3


def test_what_waits_for_the_disk_is_bounded(tmp_path: Path) -> None:
    """Past the bound append raises; once the disk caught up it takes records again."""

    async def scenario() -> None:
        journal = open_group(tmp_path)
        answers: list[bool] = []
        record = b"x" * 60_000
        appended = writer.WAITING_BYTES_MAX // (len(record) + 1)
        for _ in range(appended):
            journal.append(record, answers.append)
        with pytest.raises(JournalUnavailableError, match="does not keep up"):
            journal.append(record, answers.append)
        for _ in range(writer.ENDS_WAITING_BYTES_MAX // (len(record) + 1) - appended):
            journal.append(record)  # the end of what was begun still fits
        with pytest.raises(JournalUnavailableError, match="does not keep up"):
            journal.append(record)
        await settle(answers, appended)
        assert all(answers)
        assert not journal.failed
        journal.append(record, answers.append)
        await settle(answers, appended + 1)
        journal.close()

    asyncio.run(scenario())


def test_a_record_nobody_waits_for_is_synced_in_time(tmp_path: Path) -> None:
    """Without callbacks a sync still comes within its second."""

    async def scenario() -> None:
        journal = open_group(tmp_path)
        journal.append(b"alone")
        await asyncio.sleep(0.05)
        assert journal._written_bytes == len(b"alone\n")
        await until(lambda: journal._waiting_bytes == 0)
        journal.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("durability", ["disk", "process"])
def test_rotation_loses_nothing(tmp_path: Path, durability: writer.Durability) -> None:
    """Segments follow one another without a gap, named by their offset."""

    async def scenario() -> int:
        journal = open_group(tmp_path, durability)
        answers: list[bool] = []
        record = b"z" * 65_000
        count = segments.SEGMENT_BYTES_MAX * 9 // 4 // len(record)
        for number in range(count):
            journal.append(b"%d " % number + record, answers.append)
            if number % 40 == 39:
                await settle(answers, number + 1)
        await settle(answers, count)
        assert all(answers)
        journal.close()
        return count

    count = asyncio.run(scenario())
    files = sorted(tmp_path.iterdir(), key=lambda file: (len(file.name), file.name))
    assert len(files) == 3
    begin = 0
    for file in files:
        assert from_file(file.name) == (NAME, begin)
        begin += file.stat().st_size
    whole = lines(tmp_path)[1:-1]
    # Seals come in between where this takes longer than a second.
    numbers = [int(one.split()[0]) for one in whole if one[:1] != b"{"]
    assert numbers == list(range(count))


def test_the_lock_is_held_from_the_first_moment_to_the_last(tmp_path: Path) -> None:
    """Nobody can take the lock of an open journal; anybody that of a closed one."""
    journal = open_sync(tmp_path)
    with (tmp_path / FIRST_FILE).open("rb") as file:
        with pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        journal.close()
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)


def test_a_name_is_used_once(tmp_path: Path) -> None:
    """A second journal of the same name is refused and harms nothing."""
    open_sync(tmp_path).close()
    before = (tmp_path / FIRST_FILE).read_bytes()
    with pytest.raises(JournalUnavailableError, match="File exists"):
        open_sync(tmp_path)
    assert (tmp_path / FIRST_FILE).read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == [FIRST_FILE]


def test_closing_tells_those_who_still_wait(tmp_path: Path) -> None:
    """close() makes everything durable and answers every callback."""

    async def scenario() -> None:
        journal = open_group(tmp_path)
        answers: list[bool] = []
        journal.append(b"written", answers.append)
        await asyncio.sleep(0)
        journal.append(b"not yet written", answers.append)
        journal.close()
        assert answers == [True, True]
        journal.close()
        with pytest.raises(JournalUnavailableError, match="closed"):
            journal.append(b"late")
        await asyncio.sleep(0.01)
        assert answers == [True, True]

    asyncio.run(scenario())
    assert lines(tmp_path)[1:3] == [b"written", b"not yet written"]


def test_a_callback_that_raises_does_not_rob_the_others(tmp_path: Path) -> None:
    """Every other callback of its batch is still called."""

    async def scenario() -> None:
        errors: list[object] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, c: errors.append(c["exception"]))
        journal = open_group(tmp_path)
        answers: list[bool] = []

        def broken(ok: bool) -> None:
            raise ZeroDivisionError

        journal.append(b"1", answers.append)
        journal.append(b"2", broken)
        journal.append(b"3", answers.append)
        await settle(answers, 2)
        assert [type(error) for error in errors] == [ZeroDivisionError]
        journal.close()

    asyncio.run(scenario())


def test_names_come_back_from_files_and_sources() -> None:
    """A name survives the way into a file name and a source, and back."""
    name = journal_name("host.example/a", "w0", "01ABC")
    assert name.node == "host-example-a"
    assert from_source(name.source) == name
    for offset in (0, 1, 2**40):
        assert from_file(name.file(offset)) == (name, offset)
    for stranger in (".a.b.c.jsonl.new", "a.b.jsonl", "a.b.c.txt", "a.b.c.12.jsonl"):
        assert from_file(stranger) is None
    for wrong in ("", "/a/b", "a/b/c/d", "/a/b/c.d"):
        with pytest.raises(ValueError, match="not the source"):
            from_source(wrong)
