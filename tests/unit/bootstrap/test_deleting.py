"""The deletion of journals over real files: which may go, and which may not."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

import pytest

from comptroller.adapters.journal.files import DirectoryJournalFiles
from comptroller.adapters.journal.naming import from_source, journal_name
from comptroller.adapters.journal.reader import DirectoryJournalReader
from comptroller.adapters.journal.writer import SyncJournal
from comptroller.adapters.system import SystemClock, SystemEntropy, UlidIds
from comptroller.adapters.tlog.cosigned import CHECKPOINT
from comptroller.adapters.tlog.keys import WitnessKey
from comptroller.bootstrap.deleting import deletion_parts
from comptroller.bootstrap.place import Place
from comptroller.bootstrap.recorded import open_recorded
from comptroller.bootstrap.site import Site
from comptroller.bootstrap.trail import TrailOptions, open_trail
from comptroller.core.checkpoint import (
    Note,
    NoteSignature,
    format_note,
    parse_checkpoint,
    parse_note,
)
from comptroller.core.errors import ConfigurationError, JournalUnavailableError
from comptroller.engine.batch import Batch
from comptroller.engine.deleting import JournalDeletion
from comptroller.engine.deletion_ports import DeletedJournal, SegmentMark
from comptroller.engine.deletion_records import JOURNAL_DELETED, JournalDeleted
from comptroller.engine.ports import JournalPosition, JournalRecord
from comptroller.engine.records import Actor
from comptroller.engine.retention_records import LEGAL_HOLD_PLACED, LegalHoldPlaced
from comptroller.engine.sequencing import sequence_all
from comptroller.engine.trail_ports import Pruning
from comptroller.testing.script import Script

DAY_NS: Final = 24 * 3600 * 10**9
KEEP_S: Final = 7 * 24 * 3600


class Gateway:
    """A data directory, its one writer, and a worker that died."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.ids = UlidIds(SystemClock(), SystemEntropy())

    def worker(
        self, *, ends: bool = True, torn: bytes = b"", decisions: int = 2
    ) -> str:
        """A worker lives, decides twice, and dies; its source."""
        name = journal_name("host", "w0", self.ids.new())
        journal = SyncJournal(self.place.journal, name, SystemClock(), self.ids)
        script = Script(journal, SystemClock(), self.ids)
        decided = [self.ids.new() for _ in range(decisions)]
        for one in decided:
            script.decided(one)
        for one in decided[: None if ends else 1]:
            script.settled(one, 7, {"input": 1})
        journal.failed = True
        journal.close()
        with (self.place.journal / name.file(0)).open("ab") as file:
            file.write(torn)
        return name.source

    def sequence(self) -> None:
        """Brings all into the trail."""
        told = TrailOptions(str(self.place.data), None, "log.example/t")
        with open_trail(self.place, told) as (sequencer, writer):
            sequence_all(sequencer, writer)

    def age(self, source: str, days: int = 8) -> None:
        """Lets a journal have been written to that long ago."""
        for mark in DirectoryJournalFiles(self.place.journal).list()[source]:
            at_ns = mark.written_ns - days * DAY_NS
            os.utime(self.place.journal / mark.name, ns=(at_ns, at_ns))

    def file(self, source: str) -> Path:
        """The first file of a journal."""
        return self.place.journal / from_source(source).file(0)

    def deletions(self) -> int:
        """How many records there are that say so."""
        mark = f'"{JOURNAL_DELETED}"'.encode()
        return sum(one.read_bytes().count(mark) for one in self.place.journal.iterdir())

    def covered(self, torn: bytes = b"") -> str:
        """A worker's journal that may go."""
        source = self.worker(torn=torn)
        with self.site() as site:
            site.sync()
        self.sequence()
        self.age(source)
        return source

    def sign(self, checkpoint: bytes, witness: WitnessKey) -> None:
        """Keeps a checkpoint with a witness's signature, as the sequencer does."""
        shown = parse_note(checkpoint)
        signature = witness.cosign(shown.body, 1_700_000_000)
        line = NoteSignature(witness.key.name, witness.key.key_id, signature)
        folder = self.place.trail_witnessed / witness.key.name.replace("/", "-")
        folder.mkdir(parents=True, exist_ok=True)
        kept = format_note(Note(shown.body, (*shown.signatures, line)))
        (folder / CHECKPOINT).write_bytes(kept)

    @contextmanager
    def site(self) -> Iterator[Site]:
        """The process that may write the store."""
        with Site.open(self.place, "control") as site:
            yield site

    def passes(self, site: Site, *witnesses: str) -> str | None:
        """One pass; what was deleted, if anything."""
        told = [("http://127.0.0.1:1", one) for one in witnesses]
        parts = deletion_parts(site, self.place, told)
        return asyncio.run(JournalDeletion(parts, KEEP_S).step())


@pytest.fixture
def gateway(tmp_path: Path) -> Gateway:
    place = Place(tmp_path / "data")
    place.prepare()
    return Gateway(place)


@pytest.mark.parametrize("torn", [b"", b'{"specversion":"1.0","id"'])
def test_a_journal_that_the_trail_has_goes(gateway: Gateway, torn: bytes) -> None:
    """A record says so, and each of its records is still read where it was."""
    source = gateway.covered(torn)
    records = lines(gateway, source)
    with gateway.site() as site:
        assert gateway.passes(site) == source
        assert gateway.passes(site) is None
        (row,) = site.store.deleted_journals()
        end = records[-1].offset + len(records[-1].line) + 1
        assert (row.source, row.bytes, row.records) == (source, end, len(records))
        with open_recorded(gateway.place, site.store) as recorded:
            assert source in recorded.sources()
            assert recorded.is_dead(source)
            assert recorded.size(source) == end
            assert list(recorded.read(source, 0, 10**9)) == records
            assert recorded.read(source, end, 10**9) == []
            for one in records:
                assert recorded.record_at(JournalPosition(*one[:2])) == one.line
    assert not gateway.file(source).exists()
    assert gateway.deletions() == 1


def lines(gateway: Gateway, source: str) -> list[JournalRecord]:
    with closing(DirectoryJournalReader(gateway.place.journal)) as reader:
        return list(reader.read(source, 0, 10**9))


def change(gateway: Gateway, source: str) -> None:
    """One byte of a record, after it was sequenced."""
    file = gateway.file(source)
    written = file.stat().st_mtime_ns
    file.write_bytes(file.read_bytes().replace(b'"ada"', b'"eve"', 1))
    os.utime(file, ns=(written, written))


def renew(gateway: Gateway, source: str) -> None:
    """It was written to a moment ago."""
    os.utime(gateway.file(source))


def grow(gateway: Gateway, source: str) -> None:
    """It has a line more than is in the trail."""
    file = gateway.file(source)
    with file.open("ab") as more:
        more.write(file.read_bytes().splitlines(keepends=True)[-1])
    gateway.age(source)


def cut(gateway: Gateway, source: str) -> None:
    """Its last line is gone."""
    file = gateway.file(source)
    file.write_bytes(b"".join(file.read_bytes().splitlines(keepends=True)[:-1]))
    gateway.age(source)


def lose_the_index(gateway: Gateway, source: str) -> None:
    """Where its records are in the log has to be looked for."""
    (gateway.place.trail_places / source.strip("/").replace("/", ".")).unlink()


def lose_the_trail(gateway: Gateway, _: str) -> None:
    """A bundle of entries is not there any more."""
    for one in (gateway.place.trail / "tile" / "entries").iterdir():
        one.rename(one.with_name("gone"))


@pytest.mark.parametrize("spoil", [change, renew, grow, cut, lose_the_trail])
def test_a_journal_that_is_not_as_the_trail_has_it_stays(
    gateway: Gateway, spoil: Callable[[Gateway, str], None]
) -> None:
    """Nothing is recorded, and nothing goes."""
    source = gateway.covered()
    spoil(gateway, source)
    with gateway.site() as site:
        assert gateway.passes(site) is None
        assert site.store.deleted_journals() == []
    assert gateway.file(source).exists()
    assert gateway.deletions() == 0


@pytest.mark.parametrize("spoil", [None, change])
def test_what_is_pruned_is_compared_with_its_hashes(
    gateway: Gateway, spoil: Callable[[Gateway, str], None] | None
) -> None:
    """A process may outlive its first entries; its journal goes, too, if it is true."""
    source = gateway.worker(decisions=200)
    with gateway.site() as site:
        site.sync()
    gateway.sequence()
    gateway.age(source)
    told = TrailOptions(str(gateway.place.data), None, "log.example/t")
    with open_trail(gateway.place, told) as (_, writer):
        assert writer.size > 300
        pruning = [Pruning(writer.size, 256)]
        writer.append([b'{"source":"/trail"}'], writer.positions, pruning)
        writer.publish()
        writer.prune(writer.size)
    assert not (gateway.place.trail / "tile" / "entries" / "000").exists()
    if spoil is not None:
        spoil(gateway, source)
    with gateway.site() as site:
        assert gateway.passes(site) == (None if spoil else source)
    assert gateway.file(source).exists() == bool(spoil)


def test_a_lost_index_costs_only_time(gateway: Gateway) -> None:
    """The log is what counts."""
    source = gateway.covered()
    lose_the_index(gateway, source)
    with gateway.site() as site:
        assert gateway.passes(site) == source


def test_a_journal_whose_requests_have_no_end_stays(gateway: Gateway) -> None:
    """Until they are ended and the end of them is in the trail, too."""
    source = gateway.worker(ends=False)
    gateway.sequence()
    gateway.age(source)
    with gateway.site() as site:
        site.project(source)
        assert site.store.open_sources() == [source]
        assert gateway.passes(site) is None
        site.sync()
        assert gateway.passes(site) == source


def test_a_journal_of_the_living_stays(gateway: Gateway) -> None:
    """However old it is; also one that is not in the trail to its end."""
    name = journal_name("host", "w0", gateway.ids.new())
    living = SyncJournal(gateway.place.journal, name, SystemClock(), gateway.ids)
    gateway.sequence()
    gateway.age(name.source)
    with gateway.site() as site:
        site.sync()
        assert gateway.passes(site) is None
        living.failed = True
        living.close()
        assert gateway.passes(site) is None  # the trail does not know that it ended
        gateway.sequence()
        assert gateway.passes(site) == name.source


def test_nothing_goes_under_a_legal_hold(gateway: Gateway) -> None:
    """On whatever it is: nobody knows of whom a journal is."""
    source = gateway.covered()
    with gateway.site() as site:
        placed = LegalHoldPlaced(
            legal_hold_id="1",
            reason="Case 7",
            end_user_trace=None,
            actor=Actor(person="ada", account="ada@host"),
        )
        batch = Batch(site.journal, site.clock, site.ids)
        batch.add(LEGAL_HOLD_PLACED, "legal_hold/1", placed)
        site.project(batch.commit())
        assert gateway.passes(site) is None
    assert gateway.file(source).exists()


class Stuck(DirectoryJournalFiles):
    """A process that is killed before a file goes."""

    def remove(self, marks: Sequence[SegmentMark]) -> None:
        """Raises JournalUnavailableError."""
        raise JournalUnavailableError(f"{len(marks)} files are still there")


def test_what_a_kill_left_is_finished_once(gateway: Gateway) -> None:
    """The record stands; the next process compares again, and removes the file."""
    source = gateway.covered()
    with gateway.site() as site:
        parts = deletion_parts(site, gateway.place, ())
        stuck = parts._replace(files=Stuck(gateway.place.journal))
        with pytest.raises(JournalUnavailableError):
            asyncio.run(JournalDeletion(stuck, KEEP_S).step())
    assert gateway.file(source).exists()
    with gateway.site() as site:
        assert gateway.passes(site) is None
        assert len(site.store.deleted_journals()) == 1
    assert not gateway.file(source).exists()
    assert gateway.deletions() == 1


def test_what_stands_in_place_of_a_deleted_journal_stays(gateway: Gateway) -> None:
    """Only what the trail has is ever removed; a person is told of the rest."""
    source = gateway.covered()
    with gateway.site() as site:
        content = gateway.file(source).read_bytes()
        assert gateway.passes(site) == source
        gateway.file(source).write_bytes(content.replace(b'"ada"', b'"eve"', 1))
        deletion = JournalDeletion(deletion_parts(site, gateway.place, ()), KEEP_S)
        assert asyncio.run(deletion.step()) is None
        assert deletion.problem is not None
        assert source in deletion.problem
        assert gateway.file(source).exists()
        gateway.file(source).write_bytes(content)
        assert asyncio.run(deletion.step()) is None
        assert not gateway.file(source).exists()
    assert gateway.deletions() == 1


def test_a_witness_that_is_asked_must_have_signed(gateway: Gateway) -> None:
    """All that the trail had of the journal when that had ended, and with its key."""
    source = gateway.covered()
    witness, other = (WitnessKey(f"w.example/{one}", one.encode() * 32) for one in "12")
    checkpoint = (gateway.place.trail / "checkpoint").read_bytes()
    with gateway.site() as site:
        gateway.sign(checkpoint, other)
        assert gateway.passes(site, str(witness.key)) is None
        gateway.sign(checkpoint, witness)
        assert gateway.passes(site, str(witness.key)) == source
        (row,) = site.store.deleted_journals()
    size = parse_checkpoint(parse_note(checkpoint).body).head.size
    assert (row.size, row.witnesses) == (size, [witness.key.name])


def test_a_file_that_was_changed_meanwhile_is_not_removed(gateway: Gateway) -> None:
    """Neither it nor those after it; it is not read either."""
    source = gateway.covered()
    files = DirectoryJournalFiles(gateway.place.journal)
    (mark,) = files.list()[source]
    os.utime(gateway.file(source))
    with pytest.raises(JournalUnavailableError, match="changed meanwhile"):
        files.remove([mark])
    with pytest.raises(JournalUnavailableError, match="changed meanwhile"):
        files.read(mark, 0, 10**6)
    assert gateway.file(source).exists()


def test_a_store_that_lacks_a_deleted_journal_is_refused(gateway: Gateway) -> None:
    """A lost one, an older copy: no books are made of what is left."""
    with gateway.site() as site:
        site.sync()
    older = gateway.place.store.read_bytes()
    source = gateway.covered()
    journal = gateway.file(source).read_bytes()
    part = journal[: journal.index(b"\n") + 1]
    with gateway.site() as site:
        assert gateway.passes(site) == source
    with gateway.site() as site:
        assert site.store.deleted_journals()
    for content, again in ((None, b""), (older, b""), (None, part), (older, part)):
        for one in gateway.place.data.glob("store.sqlite3*"):
            one.unlink()
        if content is not None:
            gateway.place.store.write_bytes(content)
        if again:  # an older copy of the journal was put back, too
            gateway.file(source).write_bytes(again)
        with (
            pytest.raises(ConfigurationError, match="audit rebuild --to"),
            gateway.site(),
        ):
            pass
        assert gateway.place.store.exists() == (content is not None)
    gateway.file(source).write_bytes(journal)  # all of it makes the books whole
    with gateway.site() as site:
        assert site.store.deleted_journals()


def test_a_journal_of_who_administers_stays(gateway: Gateway) -> None:
    """However old it is, and though the trail has all of it; a worker's does not."""
    first = gateway.covered()
    with gateway.site() as site:
        assert gateway.passes(site) == first
        control = site.journal().source
    gateway.sequence()
    gateway.age(control)
    with gateway.site() as site:
        site.sync()
        deletion = JournalDeletion(deletion_parts(site, gateway.place, ()), KEEP_S)
        assert asyncio.run(deletion.step()) is None
        assert deletion.problem is None
    assert gateway.file(control).exists()
    assert {one.source for one in _rows(gateway)} == {first}


def test_deletions_of_deleted_journals_are_known(gateway: Gateway) -> None:
    """The record of the first is gone with its journal, as older releases did it."""
    first = gateway.covered()
    with gateway.site() as site:
        assert gateway.passes(site) == first
        control = site.journal().source
    gateway.sequence()
    with gateway.site() as site:
        gone = JournalDeleted(
            source=control,
            bytes=gateway.file(control).stat().st_size,
            records=len(lines(gateway, control)),
            size=1,
            witnesses=[],
        )
        batch = Batch(site.journal, site.clock, site.ids)
        batch.add(JOURNAL_DELETED, f"journal{control}", gone)
        site.project(batch.commit())
    gateway.sequence()
    gateway.file(control).unlink()
    assert {one.source for one in _rows(gateway)} == {first, control}
    for one in gateway.place.data.glob("store.sqlite3*"):
        one.unlink()
    with pytest.raises(ConfigurationError, match=control), gateway.site():
        pass


def _rows(gateway: Gateway) -> Sequence[DeletedJournal]:
    with gateway.site() as site:
        return site.store.deleted_journals()
