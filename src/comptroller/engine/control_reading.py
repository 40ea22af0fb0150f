"""Reading records by their places: from the trail where it has them, else journals.

An entry that was pruned has its hash left in the trail, and that is what the line of
its journal is compared with; where the journal was deleted, too, nobody has the record
any more, and the pruning is named.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Final, NamedTuple

import msgspec

from comptroller.core.errors import (
    ComptrollerError,
    JournalUnavailableError,
    RecordError,
    TrailPrunedError,
)
from comptroller.core.timestamps import nanoseconds
from comptroller.engine.control_answers import TrailIndex
from comptroller.engine.control_ports import RecordPlace
from comptroller.engine.ports import JournalReader, JournalRecord
from comptroller.engine.projection import is_administrative
from comptroller.engine.pruning import pruning_of
from comptroller.engine.records import Envelope
from comptroller.engine.trail_ports import KeptRecords, Pruning
from comptroller.engine.trail_records import TRAIL_PRUNED, TRAIL_SOURCE

EVER: Final = 2**62
"""Nanoseconds since the Unix epoch that no clock shows: without end."""
READ_ERRORS: Final = (ComptrollerError, LookupError, OSError, ValueError)
"""Whatever keeps a record from being read."""
READ_BYTES: Final = 64 * 1024
"""Of a journal, at once, while a record is looked for."""
SCAN_BYTES: Final = 1024 * 1024
"""Of a journal, at once, while all of it is gone through."""


class _Head(msgspec.Struct, frozen=True):
    source: str
    sequence: str


_head: Final = msgspec.json.Decoder(_Head).decode
_envelope: Final = msgspec.json.Decoder(Envelope).decode


class Found(NamedTuple):
    """A record that was read."""

    place: RecordPlace
    offset: int | None
    """Of its line in the journal; None: it was read from the trail."""
    record: Envelope

    @property
    def time_ns(self) -> int:
        """When its process said that it was.

        Raises:
            ValueError: that is no time.
        """
        return nanoseconds(self.record.time)


class Reading:
    """The records of journals, wherever they are kept now."""

    def __init__(self, journals: JournalReader, trail: TrailIndex | None) -> None:
        """Reads places when they are asked for.

        Args:
            journals: of the data directory, those that are gone included.
            trail: None: there is none; records are read from their journals alone.
        """
        self.journals = journals
        self._trail = trail
        self.problem: str | None = None
        """What of the trail was found to be wrong; None: nothing that was read."""
        self.pruned_by: set[int] = set()
        """Indices of the records that pruned what was asked for in vain."""
        self._run_of: tuple[str, list[tuple[int, JournalRecord]]] = ("", [])
        """Read last: whose, and its records by sequence."""
        self._cuts: dict[str, KeptRecords | None] = {}
        self._prunings: list[Pruning] | None = None

    def sources(self) -> frozenset[str]:
        """Every journal that is there, or was: those that only the trail has, too."""
        found = set(self.journals.sources())
        if self._trail is not None:
            try:
                found.update(self._trail.sources())
            except ComptrollerError as error:
                self.problem = self.problem or error.message
        return frozenset(found - {TRAIL_SOURCE})

    def record(self, place: RecordPlace) -> Envelope:
        """The record at a place.

        Raises:
            LookupError: there is none.
            ValueError: it is no record.
            ComptrollerError: it cannot be read.
            OSError: it cannot be read.
        """
        return _envelope(self.line(place))

    def line(self, place: RecordPlace) -> bytes:
        """The exact bytes: as the trail has them, else as the journal has them.

        Raises:
            LookupError: there is no such record.
            TrailPrunedError: neither has it any more.
            RecordError: its entry was pruned, and the journal has another record.
            ComptrollerError: it cannot be read.
            OSError: it cannot be read.
        """
        try:
            found = self._in_trail(place)
        except TrailPrunedError as error:
            return self._pruned(place, error)
        return found or self._in_journal(place).line

    def log_index(self, place: RecordPlace) -> int | None:
        """Where a record is in the trail's last tree, proved; None: it is not.

        What is wrong with the trail is in `problem`, with the record in no word here.
        """
        if self._trail is None:
            return None
        try:
            return self._trail.index_at(place.source, place.sequence)
        except TrailPrunedError:
            try:
                return self._hashed(place, self._in_journal(place).line)
            except (ComptrollerError, LookupError, OSError):
                return None
        except ComptrollerError:
            return None

    def why_gone(self, source: str, offset: int) -> str | None:
        """Why a record that began there is nowhere any more; None: it may be.

        Raises:
            ComptrollerError: it is not known whether its journal was deleted.
        """
        cut = self._cut(source)
        if cut is None or offset >= cut.offset:
            return None
        try:
            self.line(RecordPlace(source, cut.first - 1))
        except TrailPrunedError as error:
            return error.message
        return None

    def first(self, source: str) -> Found:
        """The first record of a journal of which anybody has more than the hash.

        Raises:
            LookupError: there is none.
            TrailPrunedError: there is none any more.
            ValueError: it is no record.
            ComptrollerError: it cannot be read.
            OSError: it cannot be read.
        """
        cut = self._cut(source)
        if cut is None:
            place = RecordPlace(source, 0)
            return Found(place, 0, self.record(place))
        place = RecordPlace(source, min(cut.first, cut.last))
        return Found(place, None, self.record(place))

    def last(self, source: str) -> Found | None:
        """The last record of a journal; None: it has none.

        Raises:
            ValueError: it is no record.
            ComptrollerError: it cannot be read.
            OSError: it cannot be read.
        """
        cut = self._cut(source)
        if cut is not None:
            place = RecordPlace(source, cut.last)
            return Found(place, None, self.record(place))
        offset = max(0, self.journals.size(source) - READ_BYTES)
        last: tuple[int, JournalRecord] | None = None
        while True:
            run, offset = self._run(source, offset)
            if not run:
                break
            last = run[-1]
        if last is None:
            return None
        place = RecordPlace(source, last[0])
        return Found(place, last[1].offset, self.record(place))

    def scan(
        self, source: str, after: int, until: int, types: Collection[str]
    ) -> Iterator[Found]:
        """The records of some types in a part of a journal, as far as it is kept.

        Args:
            source: of the journal.
            after: sequence of the last record before that part; -1: none.
            until: byte of the journal's stream where it ends.
            types: of records.

        Raises:
            ValueError: one is no record.
            ComptrollerError: it cannot be read.
            OSError: it cannot be read.
        """
        signs = [f'"type":"{one}"'.encode() for one in types]
        cut = self._cut(source)
        if cut is not None:
            yield from self._scan_entries(source, max(after + 1, cut.first), types)
            return
        offset = 0
        if after >= 0:
            offset = _end(self._in_journal(RecordPlace(source, after)))
        while offset < until:
            lines = self.journals.read(source, offset, SCAN_BYTES)
            if not lines:
                return
            for one in lines:
                if one.offset >= until:
                    return
                if any(sign in one.line for sign in signs):
                    record = _envelope(one.line)
                    if record.type not in types:
                        continue
                    place = RecordPlace(source, int(record.sequence))
                    record = self.record(place)  # as it is proved
                    if record.type in types:
                        yield Found(place, one.offset, record)
            offset = _end(lines[-1])

    def _scan_entries(
        self, source: str, first: int, types: Collection[str]
    ) -> Iterator[Found]:
        """The same of a journal that is deleted, of what the trail has left of it."""
        cut = self._cut(source)
        last = first - 1 if cut is None else cut.last
        for sequence in range(first, last + 1):
            place = RecordPlace(source, sequence)
            record = self.record(place)
            if record.type in types:
                yield Found(place, None, record)

    # -- what was pruned ---------------------------------------------------------

    def pruning(self, index: int) -> int | None:
        """Which record of the trail says first that another is not kept any more.

        Args:
            index: of that other one, in the trail.
        """
        if self._prunings is None:
            self._prunings = []  # of which none may be named while they are read
            self._prunings = sorted(self._read_prunings(), key=lambda one: one.below)
        return next((one.at for one in self._prunings if one.below > index), None)

    def _pruned(self, place: RecordPlace, error: TrailPrunedError) -> bytes:
        """The line of a journal, where the hash that the trail has left is its own."""
        cut = self._cut(place.source)
        if cut is not None:
            raise self._named(error) from error
        line = self._in_journal(place).line
        if self._hashed(place, line) is None:
            raise RecordError(
                f"the journal's record at {place.source} {place.sequence} is not the"
                " one of which the trail has the hash: it was edited after its entry"
                " was pruned"
            )
        return line

    def _hashed(self, place: RecordPlace, line: bytes) -> int | None:
        if self._trail is None:
            return None
        try:
            return self._trail.index_of(place.source, place.sequence, line)
        except ComptrollerError as error:
            self.problem = self.problem or error.message
            raise

    def _cut(self, source: str) -> KeptRecords | None:
        """What is left of a journal that was deleted, and pruned; None: it was not.

        Raises:
            ComptrollerError: it is not there, and no record says that it was deleted.
        """
        if source not in self._cuts:
            self._cuts[source] = self._find_cut(source)
        return self._cuts[source]

    def _find_cut(self, source: str) -> KeptRecords | None:
        if self._trail is None:
            return None
        self.journals.size(source)
        try:
            self.journals.read(source, 0, 1)
        except JournalUnavailableError:
            try:
                kept = self._trail.kept(source)
            except ComptrollerError as error:
                self.problem = self.problem or error.message
                return None
            return kept if kept is not None and kept.first > 0 else None
        return None

    def _named(self, error: TrailPrunedError) -> TrailPrunedError:
        """That a record is nowhere any more, and by which record."""
        by = self.pruning(error.index or 0)
        if by is None:
            return error
        self.pruned_by.add(by)
        named = TrailPrunedError(
            f"it was pruned, as record {by} of the trail says, and its journal is gone"
        )
        named.index = error.index
        return named

    def _read_prunings(self) -> Iterator[Pruning]:
        """The records that prune the trail, as far as they are in it themselves."""
        for source in filter(is_administrative, self.journals.sources()):
            try:
                until = self.journals.size(source)
                for found in self.scan(source, -1, until, (TRAIL_PRUNED,)):
                    at = self.log_index(found.place)
                    if at is not None:
                        said = pruning_of(self.line(found.place), at)
                        if isinstance(said, Pruning):
                            yield said
            except (ComptrollerError, LookupError, OSError, ValueError):
                continue  # who asks for its acts is told why

    # -- looking -----------------------------------------------------------------

    def _in_trail(self, place: RecordPlace) -> bytes | None:
        """A record as the trail has it; None: it has none, or cannot be read.

        Raises:
            TrailPrunedError: it had it.
        """
        if self._trail is None:
            return None
        try:
            return self._trail.entry_at(place.source, place.sequence)
        except TrailPrunedError:
            raise
        except ComptrollerError as error:
            self.problem = self.problem or error.message
            return None

    def _in_journal(self, place: RecordPlace) -> JournalRecord:
        """Bisects: a journal's sequences rise by one from 0."""
        source, wanted = place
        begin, end = 0, self.journals.size(source)
        guess = self._guess(place)
        while begin < end:  # it begins at one of these bytes, if anywhere
            if guess is None or not begin <= guess < end:
                guess = begin if end - begin <= READ_BYTES else (begin + end) // 2
            run, following = self._run(source, guess)
            if not run or wanted < run[0][0]:
                end = guess
            elif wanted > run[-1][0]:
                begin = following
            else:
                line = next((line for number, line in run if number == wanted), None)
                if line is None:
                    break
                return line
            guess = None
        raise LookupError(f"there is no record {wanted} in {source}")

    def _guess(self, place: RecordPlace) -> int | None:
        """A byte to begin at: what follows one record is often asked for next."""
        source, run = self._run_of
        if source != place.source or not run:
            return None
        if place.sequence < run[0][0]:
            return max(0, run[0][1].offset - READ_BYTES // 2)
        is_here = place.sequence <= run[-1][0]
        return run[0][1].offset if is_here else _end(run[-1][1])

    def _run(
        self, source: str, offset: int
    ) -> tuple[list[tuple[int, JournalRecord]], int]:
        """Some records behind an offset, by sequence, and where the next one begins.

        The first line is part of a record, where none begins at the offset; alone
        in a segment it is followed by the next segment's.
        """
        kept, run = self._run_of
        if kept == source and run and run[0][1].offset == offset:
            return run, _end(run[-1][1])
        while True:
            lines = self.journals.read(source, offset, READ_BYTES)
            if not lines:
                return [], offset
            offset = _end(lines[-1])
            read = [(_sequence(one.line), one) for one in lines]
            known = [(number, one) for number, one in read if number is not None]
            if known:
                self._run_of = source, known
                return known, offset


def _end(record: JournalRecord) -> int:
    return record.offset + len(record.line) + 1


def _sequence(line: bytes) -> int | None:
    """Of a record; None: it is none, or only a part of one."""
    try:
        return int(_head(line).sequence)
    except ValueError:  # msgspec's errors are ValueErrors, too
        return None
