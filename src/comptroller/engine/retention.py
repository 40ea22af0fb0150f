"""Retention: pruning the trail, and the legal holds that forbid it.

A pruning is only recorded here; the sequencer carries it out once a checkpoint
covers the record itself.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import takewhile
from typing import Final, NamedTuple

import msgspec

from comptroller.core.errors import ConflictError, InvalidArgumentError
from comptroller.core.timestamps import nanoseconds
from comptroller.engine.arguments import one_line, require
from comptroller.engine.legal_holds import (
    LegalHoldParts,
    LegalHolds,
    check_no_legal_hold,
)
from comptroller.engine.pruning import BUNDLE_RECORDS
from comptroller.engine.records import Actor
from comptroller.engine.retention_ports import RetentionReports
from comptroller.engine.retention_records import TrailPruned
from comptroller.engine.separation import check_separation
from comptroller.engine.trail_ports import Published
from comptroller.engine.trail_records import TRAIL_PRUNED

KEPT: Final = "nothing of the trail is pruned"


class Pruned(msgspec.Struct, frozen=True):
    """Which entries of the trail are to go."""

    below: int
    """Index of the first one that stays."""
    before: int
    """The same as of the pruning before this one."""


class Retention:
    """The acts on what is kept, for the one process that holds the control lock."""

    def __init__(
        self, parts: LegalHoldParts, published: Callable[[], Published | None]
    ) -> None:
        """Takes what it works with.

        Args:
            parts: as legal holds have them.
            published: the last checkpoint of the trail; None: none is published yet.
        """
        self._parts = parts
        self._published = published
        self.legal_holds = LegalHolds(parts)

    def prune(self, below: int, reason: str, actor: Actor, approved_by: str) -> Pruned:
        """Records that the first entries of the trail go, for good.

        Args:
            below: index of the first entry that stays.
            reason: why, for the records.
            actor: who asks for it.
            approved_by: who approves it; another person, where duties are separated.

        Raises:
            InvalidArgumentError: nobody or no reason is named, or a bundle would be
                cut in two.
            NotFoundError: one of the two people is not declared.
            ConflictError: another person has to approve it, it was pruned as far
                before, or it is more than the last checkpoint covers.
            LegalHoldError: a legal hold is in force.
            NoteError: the last checkpoint is damaged.
            TrailUnavailableError: the last checkpoint cannot be read.
            JournalUnavailableError: it was not recorded.
        """
        registry = self._parts.registry()
        if actor.person is None:
            raise InvalidArgumentError("say who asks for this: --by PERSON")
        for person in (actor.person, approved_by):
            require(person, registry.people, "person")
        why = one_line(reason, "--reason TEXT")
        what, option = "asks for it", "--approved-by"
        check_separation(registry, actor.person, approved_by, what, option)
        check_no_legal_hold(self._parts.store, KEPT)
        before = minimum_index(self._parts.store)
        published = self._published()
        check_range(below, before, 0 if published is None else published.size)
        pruned = TrailPruned(
            below=below,
            before=before,
            reason=why,
            actor=actor,
            approved_by=approved_by,
        )
        batch = self._parts.batch()
        batch.add(TRAIL_PRUNED, "trail", pruned)
        self._parts.record(batch)
        return Pruned(below, before)


def minimum_index(reports: RetentionReports) -> int:
    """Index of the first entry of the trail that is to stay; 0: all of them.

    Raises:
        StoreUnavailableError: it is not known.
    """
    prunings = reports.prunings()
    return prunings[-1].below if prunings else 0


def check_range(below: int, before: int, size: int) -> None:
    """Refuses to prune what cannot be, or is already.

    Args:
        below: index of the first entry that stays.
        before: the same as of the pruning before this one.
        size: of the tree of the last checkpoint; 0: none is published.

    Raises:
        InvalidArgumentError: a bundle would be cut in two.
        ConflictError: it was pruned as far before, or it is more than is published.
    """
    if below < 0 or below % BUNDLE_RECORDS:
        down = max(0, below) // BUNDLE_RECORDS * BUNDLE_RECORDS
        raise InvalidArgumentError(
            f"--below {below}: entries go in bundles of {BUNDLE_RECORDS}, so say"
            f" {down} or {down + BUNDLE_RECORDS}"
        )
    if below <= before:
        raise ConflictError(
            f"the trail is pruned below {before} already: what stays only becomes less"
        )
    if below > size:
        most = size // BUNDLE_RECORDS * BUNDLE_RECORDS
        raise ConflictError(
            f"the last published checkpoint covers {size} records, and nothing is"
            f" pruned that is in none: at most --below {most}"
        )


class Span(NamedTuple):
    """When records were recorded, as they say."""

    oldest_ns: int
    newest_ns: int


class Going(NamedTuple):
    """What of the trail would go."""

    below: int
    """Index of the first entry that stays; `before`: nothing would go."""
    before: int
    """Index of the first entry that is left now."""
    span: Span | None
    """None: nothing that would go says when it was recorded."""

    @property
    def records(self) -> int:
        """How many would go."""
        return self.below - self.before


class _Timed(msgspec.Struct, frozen=True):
    time: str


_timed: Final = msgspec.json.Decoder(_Timed).decode


class Left:
    """The entries of the trail that are left, seen by whoever would prune it.

    Args:
        bundle: the entries of a full bundle, by its number.
        before: index of the first entry that is left.
        size: of the tree of the last checkpoint.
    """

    def __init__(
        self, bundle: Callable[[int], Sequence[bytes]], before: int, size: int
    ) -> None:
        self._bundle = bundle
        self._before = before
        self._size = size

    def below(self, index: int) -> Going:
        """What would go below an index.

        Raises:
            InvalidArgumentError: a bundle would be cut in two.
            ConflictError: it was pruned as far before, or is more than is published.
        """
        check_range(index, self._before, self._size)
        return self._going(self._spans(index))

    def older_than(self, before_ns: int) -> Going:
        """What would go so that everything that goes is older than a time.

        A single younger record keeps its bundle and all that follow.
        """

        def is_older(span: Span | None) -> bool:
            return span is not None and span.newest_ns < before_ns

        return self._going(takewhile(is_older, self._spans(self._size)))

    def oldest_ns(self) -> int | None:
        """The earliest time in the first full bundle; None: it says none."""
        span = next(self._spans(self._size), None)
        return None if span is None else span.oldest_ns

    def _spans(self, end: int) -> Iterator[Span | None]:
        """The times of each full bundle before an index."""
        for number in range(self._before // BUNDLE_RECORDS, end // BUNDLE_RECORDS):
            yield _span(self._bundle(number))

    def _going(self, spans: Iterable[Span | None]) -> Going:
        count = 0
        whole: Span | None = None
        for span in spans:
            count += 1
            if whole is None or span is None:
                whole = whole or span
            else:
                oldest_ns = min(whole.oldest_ns, span.oldest_ns)
                whole = Span(oldest_ns, max(whole.newest_ns, span.newest_ns))
        below = self._before + count * BUNDLE_RECORDS
        return Going(below, self._before, whole)


def _span(entries: Sequence[bytes]) -> Span | None:
    """The times of entries; None: not one of them says when it was recorded."""
    times = []
    for entry in entries:
        # What was broken in its journal is an entry, too.
        with contextlib.suppress(msgspec.DecodeError, ValueError, RecursionError):
            times.append(nanoseconds(_timed(entry).time))
    return Span(min(times), max(times)) if times else None
