"""Reading records by their places: from the trail where it has them, else journals."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Final, NamedTuple

import msgspec

from comptroller.core.errors import ComptrollerError
from comptroller.core.timestamps import nanoseconds
from comptroller.engine.control_answers import TrailIndex
from comptroller.engine.control_ports import RecordPlace
from comptroller.engine.ports import JournalReader, JournalRecord
from comptroller.engine.records import Envelope
from comptroller.engine.trail_records import TRAIL_SOURCE

PRUNED: Final = "trail_pruned"
"""Code of the error that says that a record is not kept any more, by a record."""
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
        self._run_of: tuple[str, list[tuple[int, JournalRecord]]] = ("", [])
        """Read last: whose, and its records by sequence."""

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
            ComptrollerError: it cannot be read.
            OSError: it cannot be read.
        """
        return self._in_trail(place) or self._in_journal(place).line

    def last(self, source: str) -> Found | None:
        """The last record in a journal; None: it has none.

        Raises:
            ValueError: it is no record.
            ComptrollerError: it cannot be read.
            OSError: it cannot be read.
        """
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
        line = self._in_trail(place) or last[1].line
        return Found(place, last[1].offset, _envelope(line))

    def scan(
        self, source: str, after: int, until: int, types: Collection[str]
    ) -> Iterator[Found]:
        """The records of some types in a part of a journal.

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
                    if record.type in types:
                        place = RecordPlace(source, int(record.sequence))
                        yield Found(place, one.offset, record)
            offset = _end(lines[-1])

    # -- looking -----------------------------------------------------------------

    def _in_trail(self, place: RecordPlace) -> bytes | None:
        if self._trail is None:
            return None
        try:
            return self._trail.entry_at(place.source, place.sequence)
        except ComptrollerError as error:
            if error.code != PRUNED:  # else its journal may be there
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
