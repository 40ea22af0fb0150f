"""Decisions by a policy, recorded as a worker records them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from comptroller.core.policy.decide import Effect, PolicyDecision, decide
from comptroller.core.policy.rules import POLICY_ERROR, Policy
from comptroller.engine.judging import members_of
from comptroller.engine.ports import Clock, DurableJournal, Ids, Journal
from comptroller.engine.recording import Recorder
from comptroller.testing.script import DECIDED

BATCH: Final = 1000
_json = msgspec.json.Encoder().encode


def _members(decision: PolicyDecision) -> dict[str, object]:
    reason = "policy_error" if POLICY_ERROR in decision.by else "policy_denied"
    is_allowed = decision.effect is Effect.ALLOW
    return {
        "result": "allow" if is_allowed else "deny",
        "reason": "allowed" if is_allowed else reason,
        **members_of(decision),
    }


class BatchedJournal:
    """The Journal port on a durable one: a thousand records are written at a time."""

    def __init__(self, journal: DurableJournal) -> None:
        self.source = journal.source
        self.failed = False
        self.sequence = 1
        self._journal = journal
        self._batch: list[bytes] = []

    def append(
        self, record: bytes, on_durable: Callable[[bool], None] | None = None
    ) -> None:
        """Appends a record; nobody may wait for it."""
        assert on_durable is None  # noqa: S101  it would wait for the batch
        self._batch.append(record)
        self.sequence += 1
        if len(self._batch) == BATCH:
            self.flush()

    def flush(self) -> None:
        """Writes what is left."""
        self._journal.append_all(self._batch)
        self._batch.clear()
        self.sequence = self._journal.sequence

    def close(self) -> None:
        """Writes what is left; the journal itself stays open."""
        self.flush()


class DecisionScript:
    """Decides requests and records the decisions."""

    def __init__(
        self, journal: Journal, clock: Clock, ids: Ids, policy: Policy, revision: str
    ) -> None:
        self._recorder = Recorder(journal, clock)
        self._clock = clock
        self._ids = ids
        self._policy = policy
        bundles = {"registry": {"revision": "1"}, "policy": {"revision": revision}}
        said = {"result", "reason"}
        members = {key: DECIDED[key] for key in DECIDED if key not in said}
        self._standing = _json({**members, "bundles": bundles})[1:-1]

    def decided(
        self, facts: Mapping[str, object], members: Mapping[str, object] | None = None
    ) -> str:
        """Decides on facts and records it.

        Args:
            facts: sections, as a decision gets them.
            members: what the record is to say otherwise; the last of a name counts.

        Returns:
            The decision's id.
        """
        return self._record(self._own(facts, members))

    def decided_twice(self, facts: Mapping[str, object]) -> None:
        """Decides on facts and records it for two requests that are alike."""
        own = self._own(facts, None)
        self._record(own)
        self._record(own)

    def refused_before(self, reason: str) -> str:
        """Records a refusal that no policy was asked about."""
        return self._record(_json({"result": "deny", "reason": reason}))

    def _own(
        self, facts: Mapping[str, object], members: Mapping[str, object] | None
    ) -> bytes:
        said = _members(decide(self._policy, facts))
        return _json({"comptroller.policy.input": facts, **said, **(members or {})})

    def _record(self, own: bytes) -> str:
        id_ = self._ids.new()
        data = b"%b,%b" % (self._standing, own[1:-1])
        self._recorder.decided(id_, data, None, self._clock.now_ns())
        return id_
