"""The life of a gateway in which every type of record comes about.

Workers record by the real Recorder; what control processes record is written by
hand. Journals begin and end, a worker dies with requests under way, another one is
lost with its leases: all that a store has to be worked out from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Final, NamedTuple

import msgspec

from comptroller.core.difference import objects
from comptroller.engine import records
from comptroller.engine.access import ACCESS_READ, AccessRead
from comptroller.engine.control_records import Heartbeat
from comptroller.engine.control_records import HeartbeatState as State
from comptroller.engine.deletion_records import JOURNAL_DELETED, JournalDeleted
from comptroller.engine.policy_records import POLICY_REFUSED, PolicyRefused
from comptroller.engine.ports import DurableJournal, JournalReader, Store
from comptroller.engine.privacy_records import PRIVACY_ERASED, PrivacyErased
from comptroller.engine.projection import Projector
from comptroller.engine.recording import Recorder
from comptroller.engine.registry_fold import encode_object, registry_objects
from comptroller.engine.retention_records import (
    LEGAL_HOLD_LIFTED,
    LEGAL_HOLD_PLACED,
    LegalHoldLifted,
    LegalHoldPlaced,
)
from comptroller.testing.administration import small_registry
from comptroller.testing.decisions import BatchedJournal
from comptroller.testing.ledger_script import LedgerScript
from comptroller.testing.projected import ALWAYS, RUN, WHOLE
from comptroller.testing.script import DECIDED
from comptroller.testing.system import FakeClock, SeededEntropy, SequentialIds

LIMIT: Final = 10**15
GRANT: Final = 10**11
PERMITS_MAX: Final = 10**6
ROUND: Final = 2000
"""Requests between two looks of the control process."""
HOLD: Final = 2_000_000
_SERVICES: Final = ("checkout-assistant", "search", "support", "batch-labels")
_MONTHS: Final = tuple(f"service:{name}/month@2025-11" for name in _SERVICES)
_PERMITS: Final = tuple(f"service:{name}/parallel@now" for name in _SERVICES)
MONTH: Final = _MONTHS[0]
PERMITS: Final = _PERMITS[0]
_json = msgspec.json.Encoder().encode


class Content(NamedTuple):
    """What records name that is kept beside them."""

    bundle: str = f"sha256:{'ab' * 32}"
    sets_digest: str = "sha256:00"
    card: str = "card-1"


class Site(NamedTuple):
    """What a life takes place in."""

    open_journal: Callable[[str, str], DurableJournal]
    """A new journal by the worker's name and the boot; closed by `close_journal`."""
    close_journal: Callable[[DurableJournal], None]
    kill_journal: Callable[[DurableJournal], None]
    """Lets go of it without a word, within a record."""
    reader: JournalReader
    store: Store
    sequence: Callable[[], None]
    """Brings some of what is recorded into the trail."""
    content: Content = Content()


class Dice:
    """Choices that are the same every time."""

    def __init__(self, seed: int) -> None:
        self._entropy = SeededEntropy(seed)

    def below(self, most: int) -> int:
        """A number from 0 up to, but not, this one."""
        return int.from_bytes(self._entropy.token(4)) % most


class _Worker:
    """A worker that decides and settles."""

    def __init__(self, life: Lifetime, site: Site, name: str, boot: str) -> None:
        self.site = site
        self.durable = site.open_journal(name, boot)
        self.journal = BatchedJournal(self.durable)
        self.recorder = Recorder(self.journal, life.clock)
        self.script = LedgerScript(self.journal, life.clock, life.ids)
        self.source = self.durable.source
        self.grants = 0
        self._clock = life.clock
        self._ids = life.ids
        self._dice = life.dice

    def start(self) -> None:
        """Takes a snapshot, and says what it enforces."""
        self.recorder.policy_loaded(self.site.content.bundle, None)
        self.beat(1)
        self.recorder.unauthenticated("unknown_key", 3)

    def beat(self, revision: int) -> None:
        """Says which controls it enforces."""
        state = State(
            registry_revision=revision,
            policy_revision=self.site.content.bundle,
            policy_is_usable=True,
            durability="disk",
            every_s=30,
            controls=(),
        )
        self.recorder.heartbeat(Heartbeat(why="interval", snapshot=1, state=state))

    def decide(self, *, deny: bool = False) -> str:
        """Decides a request; the clock moves on."""
        self._clock.advance(0.001)
        request_id = self._ids.new()
        number = self._dice.below(len(_SERVICES))
        own: dict[str, object] = {
            "service.name": _SERVICES[number],
            "comptroller.rate_card": self.site.content.card,
            "comptroller.credential.id": f"cred-{number}",
            "result": "deny" if deny else "allow",
            "reason": "budget_exhausted" if deny else "allowed",
        }
        if not deny:
            own |= {
                "comptroller.hold.nano_usd": HOLD,
                "comptroller.hold.accounts": [_MONTHS[number], WHOLE],
                "comptroller.hold.permits": [_PERMITS[number]],
            }
        if not deny and number == 0:
            own |= {
                "comptroller.run": "r1",
                "comptroller.hold.progressive": [RUN],
                "comptroller.hold.slice_nano_usd": HOLD // 4,
            }
        data = _json({**DECIDED, **own})[1:-1]
        self.recorder.decided(request_id, data, None, self._clock.now_ns())
        if not deny and number == 0:
            self.recorder.extended(request_id, HOLD // 2)
        return request_id

    def end(self, request_id: str) -> int:
        """Ends a request in one way or another; what it cost."""
        lot = self._dice.below(50)
        if not lot:
            self.recorder.released(request_id, "upstream_unreachable")
            return 0
        cost = HOLD + 1 if lot == 1 else HOLD // 4 + self._dice.below(HOLD // 4)
        settled = _settled(request_id, cost, self.site.content.card)
        self.recorder.settled(settled)
        return cost

    def close(self) -> None:
        """Ends in order."""
        self.journal.flush()
        self.site.close_journal(self.durable)


class Lifetime:
    """Writes the journals of a life, has them projected and brought into the trail."""

    def __init__(self, site: Site, seed: int = 1) -> None:
        self.clock = FakeClock()
        self.ids = SequentialIds()
        self.dice = Dice(seed)
        self._site = site
        self._projector = Projector(site.reader, site.store)
        self._boots = 0

    def live(self, requests: int, workers: int = 4) -> None:
        """Lives.

        Args:
            requests: about so many; each makes a little more than two records.
            workers: at the same time.
        """
        with self._control("control") as control:
            self._configure(control)
            crew = [self._worker(f"w{number}", control) for number in range(workers)]
            self._lose_one(control)
            for begin in range(0, requests, ROUND):
                self._round(crew, min(ROUND, requests - begin), control)
                self._look(crew)
            self._kill_one(crew.pop(0), control)
        with self._control("cli") as later:
            self._change(later)
            for worker in crew:
                worker.script.returned({MONTH: 1000, PERMITS: 1})
                worker.recorder.policy_loaded(None, self._site.content.bundle)
                worker.beat(2)
                worker.close()
            later.exceeded("1", HOLD, HOLD + 1)
        self._finish()

    def _next_boot(self) -> str:
        self._boots += 1
        return f"01{self._boots:04d}"

    @contextmanager
    def _control(self, name: str) -> Iterator[LedgerScript]:
        durable = self._site.open_journal(name, self._next_boot())
        journal = BatchedJournal(durable)
        with ExitStack() as closing:
            closing.callback(self._site.close_journal, durable)
            closing.callback(journal.flush)
            self._flush = journal.flush
            yield LedgerScript(journal, self.clock, self.ids)

    def _worker(self, name: str, control: LedgerScript) -> _Worker:
        worker = _Worker(self, self._site, name, self._next_boot())
        control.joined(worker.source)
        self._grant(worker, control)
        worker.start()
        return worker

    def _grant(self, worker: _Worker, control: LedgerScript) -> None:
        worker.grants += 1
        amounts = dict.fromkeys((*_MONTHS, WHOLE), GRANT)
        control.granted(worker.source, worker.grants, amounts, LIMIT)
        worker.grants += 1
        control.granted(worker.source, worker.grants, {RUN: GRANT}, LIMIT, ALWAYS)
        worker.grants += 1
        permits = dict.fromkeys(_PERMITS, 1000)
        control.granted(worker.source, worker.grants, permits, PERMITS_MAX, ALWAYS)

    def _configure(self, control: LedgerScript) -> None:
        bodies = registry_objects(small_registry(services=_SERVICES))
        control.applied(1, {one[:2]: msgspec.json.decode(one.body) for one in bodies})
        for number in range(len(_SERVICES)):
            control.issued(f"cred-{number}")
        content = self._site.content
        kept = {"sets_digest": content.sets_digest}
        control.policy_published(content.bundle, kept)
        refused = PolicyRefused(
            revision=f"sha256:{'cd' * 32}",
            author="ada",
            reason="problems",
            problems=1,
            failed_cases=0,
            actor=records.Actor(person="ada", account="ada@host"),
        )
        control.append(POLICY_REFUSED, "policy", msgspec.to_builtins(refused))
        control.policy_activated(content.bundle, None)

    def _lose_one(self, control: LedgerScript) -> None:
        """A worker whose machine stopped before its records were on disk."""
        lost = self._worker("w99", control)
        lost.journal.flush()
        self._site.kill_journal(lost.durable)
        amounts = {MONTH: GRANT, WHOLE: GRANT}
        control.suspended(lost.source, amounts)
        control.suspense_settled(lost.source, MONTH, GRANT // 2)

    def _round(self, crew: list[_Worker], requests: int, control: LedgerScript) -> None:
        """Some requests, several of them under way at a time."""
        under_way: list[tuple[_Worker, str]] = []
        for turn in range(requests):
            worker = crew[turn % len(crew)]
            if self.dice.below(20) == 0:
                worker.decide(deny=True)
                continue
            under_way.append((worker, worker.decide()))
            if len(under_way) > 16:
                chosen, request_id = under_way.pop(self.dice.below(16))
                cost = chosen.end(request_id)
                if cost > HOLD and self.dice.below(10) == 0:
                    control.exceeded(request_id, HOLD, cost)
        for worker, request_id in under_way:
            worker.end(request_id)
        for worker in crew:
            worker.beat(1)
            self._grant(worker, control)
            worker.script.returned({MONTH: 1000, PERMITS: 1})

    def _look(self, crew: list[_Worker]) -> None:
        """The control process projects a part, the sequencer takes a part."""
        for worker in crew:
            if self.dice.below(2):
                worker.journal.flush()
        if self.dice.below(3):
            self._flush()
        self._projector.step(1 + self.dice.below(2_000_000))
        self._site.sequence()

    def _kill_one(self, worker: _Worker, control: LedgerScript) -> None:
        """A worker dies with requests under way, which are ended at their hold."""
        left = [worker.decide() for _ in range(5)]
        worker.journal.flush()
        self._site.kill_journal(worker.durable)
        for request_id in left:
            control.abandoned(request_id, worker.source)
        self._flush()
        self._finish()
        leases = self._site.store.leases(holder=worker.source)
        position = self._site.store.position(worker.source)
        control.closed(
            worker.source,
            position,
            {one.account: one.left for one in leases if one.left > 0},
        )
        deleted = JournalDeleted(
            source=worker.source, bytes=position, records=1, size=1, witnesses=["w"]
        )
        subject = f"journal{worker.source}"
        control.append(JOURNAL_DELETED, subject, msgspec.to_builtins(deleted))

    def _change(self, control: LedgerScript) -> None:
        control.applied(2, {("service", "search"): None})
        changed = small_registry(services=_SERVICES, purpose="Another one")
        support = objects(changed)["service", "support"]
        data = records.ObjectChange(
            revision=3,
            kind="service",
            id="support",
            before=msgspec.Raw(b"{}"),
            after=msgspec.Raw(encode_object(support)),
            actor=records.Actor(person="ada", account="ada@host"),
        )
        members = msgspec.json.decode(_json(data))
        control.append(records.OBJECT_CHANGED, "service/support", members)
        control.applied(3, {})
        control.rotated("cred-1", "cred-1-1", self.clock.now_ns())
        control.revoked("cred-2", self.clock.now_ns())
        control.limit_changed(MONTH, LIMIT - 1, LIMIT)
        control.crossed(MONTH, 80, LIMIT)
        control.policy_activated(None, self._site.content.bundle)
        erased = PrivacyErased(
            erasure_id="1",
            selected_by="before",
            request=None,
            before="2025-11-01T00:00:00Z",
            requests=1,
            disclosures=2,
            reason="retention",
            actor=records.Actor(person="ada", account="ada@host"),
        )
        control.append(PRIVACY_ERASED, "privacy/1", msgspec.to_builtins(erased))
        read = AccessRead(what="explain", scope={"request": "1"}, actor=erased.actor)
        control.append(ACCESS_READ, "reading/explain", msgspec.to_builtins(read))
        self._keep_for_a_court(control)

    def _keep_for_a_court(self, control: LedgerScript) -> None:
        """Two legal holds are placed, and one is lifted."""
        ada = records.Actor(person="ada", account="ada@host")
        for name, trace in (("1", None), ("2", "c29tZWJvZHk")):
            placed = LegalHoldPlaced(
                legal_hold_id=name, reason="Case 7", end_user_trace=trace, actor=ada
            )
            data = msgspec.to_builtins(placed)
            control.append(LEGAL_HOLD_PLACED, f"legal_hold/{name}", data)
        lifted = LegalHoldLifted(legal_hold_id="1", reason="Closed", actor=ada)
        data = msgspec.to_builtins(lifted)
        control.append(LEGAL_HOLD_LIFTED, "legal_hold/1", data)

    def _finish(self) -> None:
        for _ in self._projector.catch_up():
            pass


def _settled(request_id: str, cost: int, card: str) -> records.Settled:
    raw = b'{"prompt_tokens":%d,"completion_tokens":40}' % (cost % 977)
    return records.Settled(
        decision_id=request_id,
        outcome="completed",
        status=200,
        model_answered="gpt-5-mini-2026",
        response_id=f"resp-{request_id}",
        input_tokens=cost % 977,
        output_tokens=40,
        usage={"input": cost % 977, "output": 40},
        usage_source="provider",
        usage_raw=[msgspec.Raw(raw)],
        passes=[],
        service_tier=None,
        rate_card=card,
        cost_nano_usd=cost,
        cost_source="rate_card",
        hold_exceeded=cost > HOLD,
        duration_us=cost % 8999,
        first_byte_us=345,
        stored=records.Stored("openai", "gpt-5-mini", f"resp-{request_id}")
        if cost % 7 == 0
        else msgspec.UNSET,
    )
