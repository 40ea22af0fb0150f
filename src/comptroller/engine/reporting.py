"""Reporting: what was spent, which requests there were, and why each was as it was."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

import msgspec

from comptroller.core.errors import (
    InvalidArgumentError,
    NotFoundError,
    RecordError,
    TrailPrunedError,
)
from comptroller.core.registry import Registry
from comptroller.core.timestamps import rfc3339
from comptroller.engine import explanation, records
from comptroller.engine.attempts import EARLIER_MAX, Earlier
from comptroller.engine.explanation import Case, Document, Standing
from comptroller.engine.ports import (
    Clock,
    JournalPosition,
    JournalReader,
    RateCards,
    Reports,
    RequestQuery,
    RequestRow,
)
from comptroller.engine.proving import proof_of
from comptroller.engine.registry_fold import fold
from comptroller.engine.said_times import said_ns
from comptroller.engine.trail_ports import TrailLookup

SPEND_BY: Final = ("owner", "unit", "service", "model", "credential")
DECISIONS: Final = ("allow", "deny")


class ReportingParts(NamedTuple):
    """What is read."""

    reports: Reports
    journals: JournalReader
    cards: RateCards
    clock: Clock
    people: Callable[[], Mapping[str, str]]
    """What is disclosed of people, by commitment."""
    trail: TrailLookup | None = None
    why_pruned: Callable[[RequestRow], str | None] | None = None
    """Says what became of a request's record that is nowhere any more."""


class Reporting:
    """Answers questions from the store, the journals and the kept rate cards."""

    def __init__(self, parts: ReportingParts) -> None:
        self._reports = parts.reports
        self._trail = parts.trail
        self._journals = parts.journals
        self._cards = parts.cards
        self._clock = parts.clock
        self._people = parts.people
        self._why_pruned = parts.why_pruned

    def since_ns(self, text: str | None) -> int | None:
        """Reads the beginning of a span: `24h`, `7d`, or a day of the organization.

        Raises:
            InvalidArgumentError: it is none of these.
        """
        if text is None:
            return None
        return said_ns("--since", text, self._reports, self._clock)

    def spend(self, by: str, since_ns: int | None) -> list[Document]:
        """Spend by one of SPEND_BY, dearest first (`spend --json`).

        Raises:
            InvalidArgumentError: it cannot be asked so.
        """
        _expect_one_of("--by", by, SPEND_BY)
        registry = self._registry() if by == "owner" else None
        spent = []
        for row in self._reports.spend(by, since_ns):
            document = row._asdict()
            if by == "owner":
                who = explanation.named(registry, row.key)
                document |= {"name": who["name"], "email": who["email"]}
            spent.append(document)
        return spent

    def requests(self, query: RequestQuery) -> list[Document]:
        """The requests that match, newest first (`requests --json`).

        Raises:
            InvalidArgumentError: it cannot be asked so.
        """
        if query.decision is not None:
            _expect_one_of("--decision", query.decision, DECISIONS)
        return [_request(row) for row in self._reports.requests(query)]

    def explain(self, request_id: str) -> Document:
        """One request with its people, controls, cost and records.

        Raises:
            NotFoundError: there is no such request.
            RecordError: its record is not where the store says, or unreadable.
            TrailPrunedError: nobody has its record any more.
        """
        row = self._reports.request(request_id.strip().upper())
        if row is None:
            raise NotFoundError(
                f"there is no request {request_id!r}; the id is in the reply's header "
                "x-comptroller-request-id, and `comptroller requests` lists them "
                "(one without a known credential is only counted)"
            )
        try:
            ended = None if row.ended_at is None else self._standing(row.ended_at)
            decided = self._standing(row.decided_at)
        except RecordError as error:
            told = self._why_pruned(row) if self._why_pruned is not None else None
            if told is None:
                raise
            raise TrailPrunedError(told) from error
        try:
            case = Case(
                row,
                decided,
                ended,
                self._registry(),
                self._reports.revision(),
                self._cards.card,
                self._earlier(decided),
            )
            proof = proof_of(self._trail, {"decision": decided, "end": ended})
            return _request(row) | explanation.explain(case) | {"proof": proof}
        except msgspec.DecodeError as error:
            raise RecordError(f"a record of {row.request_id}: {error}") from error

    def _earlier(self, standing: Standing) -> list[Earlier]:
        """The attempts before this one, first to last, as far as they are known."""
        found: list[Earlier] = []
        decided = msgspec.json.decode(standing.envelope.data, type=records.Decided)
        while decided.attempt_after is not None and len(found) < EARLIER_MAX:
            row = self._reports.request(decided.attempt_after)
            if row is None:
                break
            envelope = self._standing(row.decided_at).envelope
            decided = msgspec.json.decode(envelope.data, type=records.Decided)
            ended_at = row.ended_at
            end = None if ended_at is None else self._standing(ended_at).envelope
            found.append(Earlier(decided, end))
        return found[::-1]

    def _standing(self, position: JournalPosition) -> Standing:
        return standing_at(self._journals, position)

    def _registry(self) -> Registry | None:
        return fold(self._reports.registry_objects(), self._people())


def standing_at(journals: JournalReader, position: JournalPosition) -> Standing:
    """The record that begins there.

    Raises:
        RecordError: none does, or it is unreadable.
    """
    try:
        line = journals.record_at(position)
        envelope = msgspec.json.decode(line, type=records.Envelope)
    except (LookupError, OSError, msgspec.DecodeError) as error:
        place = f"{position.source} at {position.offset}"
        raise RecordError(f"no record begins in {place}: {error}") from error
    return Standing(position.source, position.offset, line, envelope)


def _request(row: RequestRow) -> Document:
    """A row as `requests --json` shows it."""
    document = row._asdict()
    for internal in ("time_ns", "decided_at", "ended_at"):
        del document[internal]
    return {"request_id": row.request_id, "time": rfc3339(row.time_ns)} | document


def _expect_one_of(option: str, given: str, known: tuple[str, ...]) -> None:
    if given not in known:
        choices = ", ".join(known)
        raise InvalidArgumentError(f"{option}: {given!r} is not one of {choices}")
