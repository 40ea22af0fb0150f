"""Fake of the store port: every answer is worked out anew from the requests.

It keeps no roll-up, so that the contract tests check the real stores' roll-ups
against something simpler.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from comptroller.core.account import Where
from comptroller.core.credential import Credential, Secret, rotated
from comptroller.core.errors import RecordError
from comptroller.engine import fold, records
from comptroller.engine.bookkeeping import Bookkeeping
from comptroller.engine.deletion_records import JournalDeleted
from comptroller.engine.objects import Maker, Owned, made
from comptroller.engine.ports import (
    CredentialRow,
    JournalPosition,
    JournalRecord,
    OpenRequest,
    RegistryObject,
    RequestQuery,
    RequestRow,
    SpendRow,
)
from comptroller.testing.controls import InMemoryControls
from comptroller.testing.deletions import InMemoryDeletions
from comptroller.testing.ledger import Held, InMemoryLedgerReads
from comptroller.testing.policies import InMemoryPolicies
from comptroller.testing.retention import InMemoryRetention
from comptroller.testing.shelf import Ended

SPEND_BY = {
    "owner": "owner_billing",
    "unit": "unit",
    "service": "service",
    "model": "model",
    "credential": "credential_id",
}


class InMemoryStore(
    InMemoryPolicies,
    InMemoryControls,
    InMemoryRetention,
    InMemoryDeletions,
    InMemoryLedgerReads,
):
    """The Store port in memory.

    Satisfies `engine.ports.Store` and `engine.control_ports.ControlReports`.
    """

    def __init__(self) -> None:
        super().__init__()
        self._changes: list[tuple[str, records.ObjectChange]] = []
        self._objects: dict[tuple[str, str], bytes] = {}
        self._revision = 0
        self._credentials: dict[str, Credential] = {}
        self._last_used: dict[str, int] = {}
        self._conflicts = 0
        self._made: dict[tuple[str, str], Owned] = {}

    def is_lost(self) -> bool:
        """Whether another store, or none, is in its place."""
        return False

    # -- writing -------------------------------------------------------------

    def positions(self) -> dict[str, int]:
        """How far each journal was projected."""
        return dict(self._positions)

    def position(self, source: str) -> int:
        """The offset up to which a source has been projected; 0: nothing yet."""
        return self._positions.get(source, 0)

    def project(self, run: Sequence[JournalRecord], end: JournalPosition) -> None:
        """Projects records of one source and moves its position, in one step.

        Raises:
            RecordError: a record cannot be understood, contradicts what was projected
                before or waits for another journal; nothing was changed.
        """
        position = self.position(end.source)
        folded = fold.fold([record for record in run if record.offset >= position])
        self._check_known(folded)
        self._rows.begin()
        self._begin_policies()
        try:
            self._book(end.source, folded)
            self._follow_policies(end.source, folded.policies)
            self._act_all(end.source, folded.acts)
        except RecordError:
            self._rows.roll_back()
            self._restore_policies()
            raise
        if self._moved is not None:
            self._moved.update(self._rows.moved())
        for request_id, a_slice in folded.slices.items():
            self._extend(request_id, a_slice)
        for decision in folded.decisions.values():
            self._decide(end.source, decision, folded.slices)
        for ending in folded.ends.values():
            self._end(end.source, ending)
        self._conflicts += len(folded.conflicts)
        self._keep_evidence(end.source, folded)
        self._positions[end.source] = max(position, end.offset)

    def _check_known(self, folded: fold.Folded) -> None:
        """Raises RecordError when decisions are missing, or there twice."""
        for happened, ids in (("ended", folded.ends), ("was extended", folded.slices)):
            for one in ids:
                if one not in self._requests and one not in folded.decisions:
                    raise RecordError(f"request {one} {happened}, but never decided")
        for one in folded.decisions:
            if one in self._requests:
                raise RecordError(f"request {one} was decided before")

    def _book(self, source: str, folded: fold.Folded) -> None:
        """Books the ends that count, and what happened to the ledger."""
        keeping = Bookkeeping(self._rows, source)
        for end in folded.ends.values():
            decision = folded.decisions.get(end.request_id)
            if decision is None:
                row, held = self._requests[end.request_id], self._held[end.request_id]
            else:
                row, held = _row(source, decision), _held(decision)
            if row.state != "open":
                continue
            a_slice = folded.slices.get(end.request_id, held.slice_nano_usd)
            held = held._replace(slice_nano_usd=a_slice)
            keeping.end(held.ending(row, end.cost_nano_usd))
            self._rows.keep_ended(Ended(held.where, row.time_ns, end.cost_nano_usd))
        keeping.act_all(folded.ledger)
        self._rows.check()

    def _extend(self, request_id: str, a_slice: int) -> None:
        row, held = self._requests.get(request_id), self._held.get(request_id)
        if held is not None and row is not None and row.state == "open":
            self._held[request_id] = held._replace(slice_nano_usd=a_slice)

    def _decide(
        self, source: str, decision: fold.Decision, slices: dict[str, int]
    ) -> None:
        facts = decision.facts
        request_id = facts.decision_id
        self._requests[request_id] = _row(source, decision)
        a_slice = slices.get(request_id, facts.hold_slice_nano_usd)
        self._held[request_id] = _held(decision)._replace(slice_nano_usd=a_slice)
        last = self._last_used.get(facts.credential, 0)
        self._last_used[facts.credential] = max(last, decision.time_ns)

    def _end(self, source: str, ending: fold.End) -> None:
        row = self._requests[ending.request_id]
        if row.state != "open":
            self._conflicts += 1
            return
        if ending.stored is not None:
            maker = Maker(row.tenant, row.service, row.request_id)
            for one in made(ending.stored, maker):
                self._made.setdefault((one.id, one.provider), one)
        self._requests[ending.request_id] = row._replace(
            state=ending.state,
            cost_nano_usd=ending.cost_nano_usd,
            usage=ending.usage,
            usage_source=ending.usage_source,
            rate_card=ending.rate_card or row.rate_card,
            model_answered=ending.model_answered,
            duration_us=ending.duration_us,
            ended_at=JournalPosition(source, ending.offset),
        )

    def _act_all(self, source: str, acts: Sequence[fold.Act]) -> None:
        before = (self._changes, self._objects, self._revision, self._credentials)
        retained, deleted = self._retained(), dict(self._deleted)
        self._changes, self._objects = list(self._changes), dict(self._objects)
        self._credentials = dict(self._credentials)
        try:
            for act in acts:
                self._act(source, act)
        except RecordError:
            self._changes, self._objects, self._revision, self._credentials = before
            self._retain_again(retained)
            self._deleted = deleted
            raise

    def _act(self, source: str, act: fold.Act) -> None:
        match act.data:
            case records.ObjectChange():
                self._changes.append((source, act.data))
            case records.RegistryApplied(revision=revision):
                self._apply(source, revision)
            case records.CredentialIssued() as data:
                self._credentials[data.credential_id] = fold.issued(data, act.time_ns)
            case records.CredentialRotated() as data:
                self._credentials[data.credential_id] = rotated(
                    self._issued(data.credential_id),
                    Secret(data.secret_sha256, data.not_before_ns),
                    data.old_not_after_ns,
                )
            case records.CredentialRevoked() as data:
                self._credentials[data.credential_id] = replace(
                    self._issued(data.credential_id),
                    revoked_ns=data.revoked_ns,
                    revoked_reason=data.reason,
                )
            case JournalDeleted() as data:
                self._delete(data, self.position(data.source), act.time_ns)
            case _:
                self._retain(act)

    def _issued(self, credential_id: str) -> Credential:
        try:
            return self._credentials[credential_id]
        except KeyError:
            raise RecordError(f"credential {credential_id} was never issued") from None

    def _apply(self, source: str, revision: int) -> None:
        if revision != self._revision + 1:
            raise RecordError(f"revision {revision} cannot follow {self._revision}")
        for origin, change in self._changes:
            if origin != source or change.revision != revision:
                continue
            if change.body is None:
                self._objects.pop((change.kind, change.id), None)
            else:
                self._objects[change.kind, change.id] = change.body
        self._changes = [item for item in self._changes if item[1].revision > revision]
        self._revision = revision

    # -- reading -------------------------------------------------------------

    def open_sources(self) -> Sequence[str]:
        """The sources that have allowed decisions without an end."""
        rows = self._requests.values()
        return sorted({row.decided_at.source for row in rows if row.state == "open"})

    def open_requests(self, source: str) -> Sequence[OpenRequest]:
        """The allowed decisions of a source that have no end yet."""
        return [
            OpenRequest(
                row.request_id, held.slice_nano_usd or row.hold_nano_usd, held.usage
            )
            for row in self._requests.values()
            if row.state == "open" and row.decided_at.source == source
            for held in (self._held[row.request_id],)
        ]

    def conflicts(self) -> int:
        """How many ends came for requests that had ended already."""
        return self._conflicts

    def requests(self, query: RequestQuery) -> Sequence[RequestRow]:
        """The requests that match, newest first."""
        rows = [
            row
            for row in self._requests.values()
            if query.service in (None, row.service)
            and query.decision in (None, row.decision)
            and (query.since_ns is None or row.time_ns >= query.since_ns)
        ]
        rows.sort(key=lambda row: (row.time_ns, row.request_id), reverse=True)
        return rows[: query.limit]

    def request(self, request_id: str) -> RequestRow | None:
        """One request."""
        return self._requests.get(request_id)

    def spend(self, by: str, since_ns: int | None) -> Sequence[SpendRow]:
        """Spend by `owner` (billing), `unit`, `service`, `model` or `credential`.

        Raises:
            ValueError: by something else.
        """
        if by not in SPEND_BY:
            raise ValueError(f"spend is told by {', '.join(SPEND_BY)}, not by {by}")
        spent: dict[str, SpendRow] = {}
        for row in self._requests.values():
            if row.ended_at is None or (
                since_ns is not None and row.time_ns < since_ns
            ):
                continue
            key = str(getattr(row, SPEND_BY[by]) or "")
            before = spent.get(key, SpendRow(key, 0, {}, 0))
            usage = dict(before.usage)
            for name, count in row.usage.items():
                if count:
                    usage[name] = usage.get(name, 0) + count
            cost = before.cost_nano_usd + row.cost_nano_usd
            spent[key] = SpendRow(key, before.requests + 1, usage, cost)
        return sorted(spent.values(), key=lambda row: (-row.cost_nano_usd, row.key))

    def objects(self, ids: Sequence[str]) -> Sequence[Owned]:
        """The stored objects with these ids, whoever made them."""
        return [one for one in self._made.values() if one.id in ids]

    def registry_objects(self) -> Sequence[RegistryObject]:
        """Everything applied, at the revision of `revision()`."""
        objects = sorted(self._objects.items())
        return [RegistryObject(kind, id_, body) for (kind, id_), body in objects]

    def revision(self) -> int:
        """The revision of the last applied configuration; 0: none yet."""
        return self._revision

    def credentials(self) -> Sequence[CredentialRow]:
        """Every credential ever issued, oldest first."""
        found = [
            CredentialRow(one, self._last_used.get(one.id))
            for one in self._credentials.values()
        ]
        return sorted(
            found, key=lambda row: (row.credential.issued_ns, row.credential.id)
        )


def _row(source: str, decision: fold.Decision) -> RequestRow:
    facts = decision.facts
    return RequestRow(
        request_id=facts.decision_id,
        time_ns=decision.time_ns,
        tenant=facts.tenant,
        unit=facts.unit,
        service=facts.service,
        credential_id=facts.credential,
        person=facts.person,
        owner_policy=facts.owner_policy,
        owner_billing=facts.owner_billing,
        owner_technical=facts.owner_technical,
        decision=facts.result,
        reason=facts.reason,
        route=facts.path,
        model=facts.model,
        model_answered=None,
        usage={},
        usage_source=None,
        cost_nano_usd=0,
        hold_nano_usd=facts.hold_nano_usd,
        rate_card=facts.rate_card,
        state="open" if facts.is_allowed else "refused",
        duration_us=None,
        decided_at=JournalPosition(source, decision.offset),
        ended_at=None,
    )


def _held(decision: fold.Decision) -> Held:
    facts = decision.facts
    return Held(
        Where("", facts.tenant, facts.unit, facts.service, facts.credential, facts.run),
        decision.path,
        facts.hold_slice_nano_usd,
        fold.hold_usage(facts.hold_input_tokens, facts.hold_output_tokens),
    )
