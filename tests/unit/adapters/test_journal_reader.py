"""Reading journals: torn tails, segments, many files, the lock of the living."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from comptroller.adapters.journal import reader as reading
from comptroller.adapters.journal import segments
from comptroller.adapters.journal.files import DirectoryJournalFiles
from comptroller.adapters.journal.naming import JournalName, journal_name
from comptroller.adapters.journal.reader import DirectoryJournalReader
from comptroller.adapters.journal.writer import SyncJournal
from comptroller.core.errors import JournalUnavailableError
from comptroller.engine.ports import JournalPosition, JournalRecord
from comptroller.testing.system import FakeClock, SequentialIds

NAME = journal_name("node", "w0", "01A")


def open_journal(directory: Path, name: JournalName = NAME) -> SyncJournal:
    return SyncJournal(directory, name, FakeClock(), SequentialIds())


def test_a_torn_tail_is_not_a_record(tmp_path: Path) -> None:
    """Bytes after the last newline are invisible until their newline comes."""
    journal = open_journal(tmp_path)
    reader = DirectoryJournalReader(tmp_path)
    end = reader.size(NAME.source)
    file = os.open(tmp_path / NAME.file(0), os.O_WRONLY | os.O_APPEND)
    os.write(file, b'{"torn":')
    assert reader.read(NAME.source, end, 1000) == []
    with pytest.raises(LookupError):
        reader.record_at(JournalPosition(NAME.source, end))
    os.write(file, b"1}\n{")
    whole = JournalRecord(NAME.source, end, b'{"torn":1}')
    assert reader.read(NAME.source, end, 1000) == [whole]
    os.close(file)
    journal.close()


def test_reading_crosses_segments(tmp_path: Path) -> None:
    """Every record is read once, across segments that a reader saw being made."""
    journal = open_journal(tmp_path)
    reader = DirectoryJournalReader(tmp_path)
    filler = b"f" * 65_000
    count = segments.SEGMENT_BYTES_MAX // len(filler) + 20
    numbers: list[bytes] = []
    offset = 0
    for begin in range(0, count, 100):
        batch = [b"%d %b" % (n, filler) for n in range(begin, min(begin + 100, count))]
        journal.append_all(batch)
        while part := reader.read(NAME.source, offset, 1 << 20):
            numbers += [record.line.split()[0] for record in part]
            offset = part[-1].offset + len(part[-1].line) + 1
            last = JournalPosition(NAME.source, part[-1].offset)
            assert reader.record_at(last) == part[-1].line
    journal.close()
    assert len(list(tmp_path.iterdir())) == 2
    assert numbers[1:] == [b"%d" % number for number in range(count)]
    assert DirectoryJournalReader(tmp_path).size(NAME.source) > offset


@pytest.mark.parametrize("room", [1000, 1 << 20])
def test_records_behind_an_endless_line_are_not_passed_over(
    tmp_path: Path, room: int
) -> None:
    """It is no torn tail, after which nothing comes: else it would hide them all."""
    journal = open_journal(tmp_path)
    journal.append(b"first")
    path = tmp_path / NAME.file(0)
    before = path.stat().st_size
    with path.open("ab") as file:
        file.write(b"x" * (room + 2 * reading.SCAN_BYTES))
    reader = DirectoryJournalReader(tmp_path)
    assert reader.read(NAME.source, before, room) == [], "torn, for all we know"
    journal.append(b"second")
    with pytest.raises(JournalUnavailableError, match="longer than any record"):
        reader.read(NAME.source, before, room)
    with pytest.raises(LookupError, match="longer than any record"):
        reader.record_at(JournalPosition(NAME.source, before))
    assert reader.read(NAME.source, 0, room), "what is before it can be read"
    journal.close()
    reader.close()


def test_more_journals_than_handles(tmp_path: Path) -> None:
    """The reader keeps a bounded number of files open and reads all the same."""
    count = reading.HANDLES_MAX + 10
    for number in range(count):
        open_journal(tmp_path, journal_name("node", "cli", f"{number:03d}")).close()
    reader = DirectoryJournalReader(tmp_path)
    for _ in range(2):
        for source in reader.sources():
            assert len(reader.read(source, 0, 1 << 20)) == 2
    assert len(reader.sources()) == count
    assert len(reader._handles) == reading.HANDLES_MAX
    reader.close()


def test_a_segment_that_is_gone_is_not_taken_for_another(tmp_path: Path) -> None:
    """Its records are not here, and those of its neighbours are where they were."""
    journal = open_journal(tmp_path)
    filler = b"f" * 65_000
    count = 3 * segments.SEGMENT_BYTES_MAX // len(filler)
    for begin in range(0, count, 200):
        batch = [b"%d %b" % (n, filler) for n in range(begin, min(begin + 200, count))]
        journal.append_all(batch)
    journal.close()
    begins = sorted(int(one.name.split(".")[3]) for one in tmp_path.glob("*.*.*.*.*"))
    reader = DirectoryJournalReader(tmp_path)
    inside = reader.read(NAME.source, begins[0] + 65_000 * 7, 1)[0].offset
    kept = [JournalPosition(NAME.source, one) for one in (0, begins[1])]
    lines = [reader.record_at(one) for one in kept]
    (tmp_path / NAME.file(begins[0])).unlink()
    for again in (reader, DirectoryJournalReader(tmp_path)):
        assert [again.record_at(one) for one in kept] == lines
        again.sources()
        with pytest.raises(JournalUnavailableError, match="is gone"):
            again.read(NAME.source, inside, 1000)
        with pytest.raises(JournalUnavailableError, match="is gone"):
            again.read(NAME.source, begins[0], 1000)
        with pytest.raises(LookupError, match="is gone"):
            again.record_at(JournalPosition(NAME.source, begins[0]))
        assert [again.record_at(one) for one in kept] == lines
        again.close()


def test_a_deleted_journal_is_not_kept_open(tmp_path: Path) -> None:
    """Else its room on the disk would not be free before the reader ends."""
    for boot in ("01A", "01B"):
        open_journal(tmp_path, journal_name("node", "w0", boot)).close()
    reader = DirectoryJournalReader(tmp_path)
    gone, kept = reader.sources()
    for source in (gone, kept):
        assert reader.read(source, 0, 1000)
    (tmp_path / NAME.file(0)).unlink()
    assert reader.sources() == [kept]
    assert not [one for one in _open_files() if str(tmp_path) in one]
    with pytest.raises(JournalUnavailableError):
        reader.read(gone, 0, 1000)
    assert reader.read(kept, 0, 1000)
    reader.close()


def _open_files() -> list[str]:
    """The files that this process has open and that have no name any more."""
    found = []
    for one in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # the one that lists them
            found.append(str(one.readlink()))
    return [one for one in found if one.endswith("(deleted)")]


def test_other_files_are_not_journals(tmp_path: Path) -> None:
    """What is not named as a journal, or not finished being made, is left alone."""
    open_journal(tmp_path).close()
    for name in (".node.w1.01B.jsonl.new", "notes.txt", "node.w2.01C.txt"):
        (tmp_path / name).write_bytes(b"{}\n")
    # Without its first segment, which holds the lock, a stream cannot be read.
    (tmp_path / journal_name("node", "w3", "01D").file(100)).write_bytes(b"{}\n")
    # Whoever opens a pipe waits for ever.
    os.mkfifo(tmp_path / journal_name("node", "w4", "01E").file(0))
    (tmp_path / journal_name("node", "w5", "01F").file(0)).mkdir()
    (tmp_path / journal_name("node", "w6", "01G").file(0)).symlink_to("nowhere")
    assert DirectoryJournalReader(tmp_path).sources() == [NAME.source]
    assert set(DirectoryJournalFiles(tmp_path).list()) == {NAME.source, "/node/w3/01D"}


def test_an_absent_journal_is_an_error(tmp_path: Path) -> None:
    """Asking for a source that has no journal says which and where."""
    reader = DirectoryJournalReader(tmp_path / "nowhere")
    assert reader.sources() == []
    with pytest.raises(JournalUnavailableError, match="no journal of /node/w0/01A"):
        reader.read(NAME.source, 0, 1000)
    with pytest.raises(JournalUnavailableError, match="cannot read"):
        reader.is_dead(NAME.source)


WRITER = """
import sys
from pathlib import Path
from comptroller.adapters.journal.naming import journal_name
from comptroller.adapters.journal.writer import SyncJournal
from comptroller.testing.system import FakeClock, SequentialIds
name = journal_name("node", "w0", "01A")
SyncJournal(Path(sys.argv[1]), name, FakeClock(), SequentialIds())
print("open", flush=True)
sys.stdin.read()
"""


def test_only_death_frees_the_lock_of_another_process(tmp_path: Path) -> None:
    """A living process is never called dead, however often one asks; a killed is."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"open\n"
    reader = DirectoryJournalReader(tmp_path)
    assert not any(reader.is_dead(NAME.source) for _ in range(1000))
    process.kill()
    process.communicate()
    assert reader.is_dead(NAME.source)
