"""Personal data: what is disclosed of persons, held against what is recorded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec

from comptroller.core.disclosure import commitment, read_disclosure
from comptroller.core.errors import NotFoundError, RecordError
from comptroller.core.timestamps import rfc3339
from comptroller.engine import people, records
from comptroller.engine.control_ports import ChangeRow
from comptroller.engine.explanation import Document
from comptroller.engine.ports import JournalReader, Reports
from comptroller.engine.privacy_life import Selection, disclosed, select
from comptroller.engine.privacy_ports import DisclosureTable
from comptroller.engine.reporting import standing_at


class PersonalParts(NamedTuple):
    """What is read."""

    reports: Reports
    journals: JournalReader
    table: DisclosureTable
    changes: Callable[[Sequence[str]], Sequence[ChangeRow]]
    """See `ControlReports.registry_changes`."""


class PersonalData:
    """Answers what is disclosed, from the store, the journals and the side table."""

    def __init__(self, parts: PersonalParts) -> None:
        self._parts = parts

    def show(self, request_id: str) -> Document:
        """What one request disclosed, each verified (`privacy show --json`).

        Raises:
            NotFoundError: there is no such request.
            RecordError: its record is not where the store says, or unreadable.
        """
        parts = self._parts
        wanted = request_id.strip().upper()
        row = parts.reports.request(wanted)
        if row is None:
            raise NotFoundError(f"there is no request {request_id!r}")
        envelope = standing_at(parts.journals, row.decided_at).envelope
        try:
            decided = msgspec.json.decode(envelope.data, type=records.Decided)
        except msgspec.DecodeError as error:
            raise RecordError(f"the record of {wanted}: {error}") from error
        texts = [
            text
            for held in select(parts.table, Selection("request", wanted))
            for text in held.line.disclosures
        ]
        found = []
        for text in texts:
            said = read_disclosure(text)
            verified = commitment(text) in decided.commitments
            found.append(
                {
                    "name": said.name,
                    "value": said.value,
                    "disclosure": text,
                    "is_verified": verified,
                }
            )
        committed = {commitment(text) for text in texts}
        return {
            "request_id": wanted,
            "time": rfc3339(row.time_ns),
            "disclosed": found,
            "undisclosed": len(set(decided.commitments) - committed),
            "commitments": decided.commitments,
            "prompt_hmac": decided.prompt_hmac,
        }

    def requests(self, selection: Selection) -> list[Document]:
        """The requests that disclose something (`privacy list --json`).

        A request without a row was disclosed and then not decided: its worker died.
        """
        found = []
        for held in select(self._parts.table, selection):
            row = self._parts.reports.request(held.line.id)
            found.append(
                {
                    "request_id": held.line.id,
                    "time": None if row is None else rfc3339(row.time_ns),
                    "tenant": None if row is None else row.tenant,
                    "service": None if row is None else row.service,
                    "model": None if row is None else row.model,
                    "discloses": [said.name for said in disclosed(held)],
                }
            )
        return found

    def person(self, person_id: str) -> Document:
        """What is disclosed of one of the people who were ever declared.

        Each with the revisions that commit to it (`privacy show --person --json`).

        Raises:
            NotFoundError: nobody was ever declared by that id.
        """
        wanted = person_id.strip()
        rows = self._changes(wanted)
        held = select(self._parts.table, Selection("person", wanted))
        if not rows and not held:
            raise NotFoundError(f"nobody was ever declared as {wanted!r}")
        committed: dict[str, list[int]] = {}
        for row in rows:
            for one in people.commitments_of(row.body) if row.body else ():
                committed.setdefault(one, []).append(row.revision)
        texts = [text for one in held for text in one.line.disclosures]
        found = []
        for text in texts:
            said = read_disclosure(text)
            found.append(
                {
                    "name": said.name,
                    "value": said.value,
                    "disclosure": text,
                    "revisions": committed.get(commitment(text), []),
                }
            )
        return {
            "person": wanted,
            "is_declared": bool(rows) and rows[-1].body is not None,
            "disclosed": found,
            "undisclosed": len(committed.keys() - {commitment(one) for one in texts}),
            "plain_revisions": _plain(rows),
        }

    def plain_revisions(self, person_id: str) -> list[int]:
        """The revisions whose records say plainly who a person is.

        Older releases recorded people so, and no erasure changes a record.
        """
        return _plain(self._changes(person_id.strip()))

    def _changes(self, person_id: str) -> list[ChangeRow]:
        changes = self._parts.changes([people.KIND])
        return [one for one in changes if one.id == person_id]


def _plain(rows: Sequence[ChangeRow]) -> list[int]:
    return [
        one.revision
        for one in rows
        if one.body is not None and not people.commitments_of(one.body)
    ]
