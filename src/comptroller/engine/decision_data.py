"""Decision data: the members of a decision record (engine/records.py, Decided).

What is the same for many requests is encoded once; see engine/recording.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, TypeAlias

import msgspec

from comptroller.core.credential import Credential
from comptroller.core.registry import Service
from comptroller.engine import safe_names
from comptroller.engine.bounding import NO_HOLD, Hold
from comptroller.engine.controls import (
    CONTROL_OF,
    NOTHING_SEEN,
    Bearing,
    Seen,
    controls,
)
from comptroller.engine.desk import Desk, Entitlement, refused_data
from comptroller.engine.judging import Judgement
from comptroller.engine.refusals import Refusal
from comptroller.engine.verdicts import Ask, Candidate
from comptroller.wire.request import RequestFacts
from comptroller.wire.routes import Route

json = msgspec.json.Encoder().encode


class Known(NamedTuple):
    """Whom a valid credential stands for."""

    credential: Credential
    service: Service


class Case(NamedTuple):
    """A request for a declared model, before its limits are asked."""

    entitlement: Entitlement
    facts: RequestFacts
    ask: Ask
    judgement: Judgement | None
    """What the active policy says; None: it was not asked."""


class _Verdict(NamedTuple):
    """How a decision record says what was decided."""

    result: bytes
    reason: bytes
    controls: bytes
    """Of what passed, a form for the values that differ between requests."""
    has_ceiling: bool = False
    has_budget: bool = False


_Passing: TypeAlias = tuple[
    bool, bool, bool, bool, bool, str | None, frozenset[str] | None, Seen, bool
]
"""All that the controls of a request that passes depend on, but for values."""


class DecisionData:
    """Writes the members of decision records by one desk."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._passed: dict[_Passing, _Verdict] = {}

    def allowed(self, candidate: Candidate) -> bytes:
        """Of a request that goes on."""
        return self._of_candidate(candidate, self._passes(candidate))

    def denied(self, candidate: Candidate, refusal: Refusal, seen: Seen) -> bytes:
        """Of a request whose limits have no room."""
        declared = _declared(candidate)
        model = _model_seen(candidate.entitlement)
        denials = _denials(refusal, seen)
        would_deny = _would_deny(candidate)
        limit = _output_limit(candidate)
        bearing = self._bearing(declared, would_deny, candidate.judgement, limit)
        return self._of_candidate(candidate, _denies(refusal, bearing, denials, model))

    def turned_away(
        self, case: Case, refusal: Refusal, seen: Seen = NOTHING_SEEN
    ) -> bytes:
        """Of a request that is refused before its limits are asked."""
        entitlement, facts, ask, judgement = case
        denials: Mapping[str, Seen] = _denials(refusal, seen)
        would_deny: frozenset[str] | None = None
        if judgement is not None:
            denials = judgement.denied or denials
            would_deny = judgement.would_deny
        model = _model_seen(entitlement)
        declared = () if ask.owned is None else ("tenant_isolation",)
        bearing = self._bearing(declared, would_deny, judgement)
        verdict = _denies(refusal, bearing, denials, model)
        shared = _shared(entitlement, judgement, ask)
        return self._members(shared, facts, verdict, (NO_HOLD, len(ask.body)))

    def refused(
        self,
        known: Known,
        route: Route,
        refusal: Refusal,
        read: tuple[RequestFacts | None, int],
        seen: Seen = NOTHING_SEEN,
    ) -> bytes:
        """Of a request for which no declared model was found.

        Args:
            known: who asks.
            route: what they ask.
            refusal: why it goes no further.
            read: what the body says, as far as it could be read; its size in bytes.
            seen: what the control saw that denies.
        """
        facts, body_bytes = read
        shared = refused_data(known.credential, known.service, self._desk, route)
        bearing = self._bearing((), frozenset())
        verdict = _denies(refusal, bearing, _denials(refusal, seen))
        return self._members(shared, facts, verdict, (NO_HOLD, body_bytes))

    def _passes(self, candidate: Candidate) -> _Verdict:
        path, clamped_by = candidate.path, candidate.bounded.clamped_by
        would_deny = _would_deny(candidate)
        has_budget = bool(path.money) or bool(path.progressive)
        has_ceiling = candidate.entitlement.output.is_always
        model = _model_seen(candidate.entitlement)
        limit = _output_limit(candidate)
        key = (
            candidate.ask.owned is not None,
            has_ceiling,
            bool(path.rates),
            bool(path.permits),
            has_budget,
            clamped_by,
            would_deny,
            model,
            _is_policys(candidate.judgement, limit),
        )
        passed = self._passed.get(key)
        if passed is None:
            # No model's id has a percent sign, which would be one of the form.
            seen = {"model_selection": model}
            if has_ceiling:
                seen["token_ceiling"] = Seen("%d", "%d")
            if has_budget:
                seen["budget"] = Seen("%d")
            declared, judgement = _declared(candidate), candidate.judgement
            bearing = self._bearing(declared, would_deny, judgement, limit)
            bearing = bearing._replace(clamped_by=clamped_by)
            listed = controls(bearing, seen=seen).replace(b'"%d"', b"%d")
            passed = _Verdict(b"allow", b"allowed", listed, has_ceiling, has_budget)
            self._passed[key] = passed
        values: tuple[int, ...] = ()
        if has_ceiling:
            asked = candidate.facts.max_output_tokens
            values = (-1 if asked is None else asked, limit)
        if has_budget:
            values = (*values, candidate.hold.nano_usd)
        if not values:
            return passed
        return passed._replace(controls=passed.controls % values)

    def _bearing(
        self,
        declared: tuple[str, ...],
        would_deny: frozenset[str] | None,
        judgement: Judgement | None = None,
        limit: int | None = None,
    ) -> Bearing:
        """How the controls bear; would_deny None: the policy was not asked."""
        desk = self._desk
        judge = desk.judge
        applying = frozenset(declared)
        if judge is not None and would_deny is not None:
            applying |= judge.applying
        return Bearing(
            revision=desk.snapshot.revision,
            policy=judge.revision if judge is not None else None,
            applying=applying,
            would_deny=would_deny or frozenset(),
            is_policys_ceiling=_is_policys(judgement, limit),
        )

    def _of_candidate(self, candidate: Candidate, verdict: _Verdict) -> bytes:
        """Of a request that came as far as its limits."""
        ask = candidate.ask
        shared = _shared(candidate.entitlement, candidate.judgement, ask)
        sizes = (candidate.hold, len(ask.body))
        data = self._members(shared, candidate.facts, verdict, sizes)
        run = b"null" if candidate.run is None else json(candidate.run)
        return b'%b,"comptroller.run":%b' % (data, run)

    def _members(
        self,
        shared: bytes,
        facts: RequestFacts | None,
        verdict: _Verdict,
        sizes: tuple[Hold, int],
    ) -> bytes:
        hold, body_bytes = sizes
        ceiling = facts.max_output_tokens if facts else None
        return (
            b'"result":"%b","reason":"%b","gen_ai.request.model":%b,'
            b'"gen_ai.request.max_tokens":%b,"gen_ai.request.stream":%b,%b,'
            b'"comptroller.controls":%b,"comptroller.hold.nano_usd":%d,'
            b'"comptroller.hold.input_tokens":%d,"comptroller.hold.output_tokens":%d,'
            b'"http.request.body.size":%d'
            % (
                verdict.result,
                verdict.reason,
                json(safe_names.model(facts, self._desk.names)),
                b"null" if ceiling is None else b"%d" % ceiling,
                b"true" if facts and facts.stream else b"false",
                shared,
                verdict.controls,
                hold.nano_usd,
                hold.input_tokens,
                hold.output_tokens,
                body_bytes,
            )
        )


def _shared(entitlement: Entitlement, judgement: Judgement | None, ask: Ask) -> bytes:
    """The members that an entitlement, the policy and earlier attempts give."""
    shared = entitlement.data
    if judgement is not None:
        shared = b"%b,%b" % (shared, judgement.data)
    if ask.first_id is not None:
        shared = b'%b,"comptroller.attempt.of":%b,"comptroller.attempt.after":%b' % (
            shared,
            json(ask.first_id),
            json(ask.previous_id or ask.first_id),
        )
    return shared


def _denies(
    refusal: Refusal,
    bearing: Bearing,
    denials: Mapping[str, Seen],
    model: Seen = NOTHING_SEEN,
) -> _Verdict:
    listed = controls(bearing, denials, {"model_selection": model})
    return _Verdict(b"deny", refusal.code.encode(), listed)


def _is_policys(judgement: Judgement | None, limit: int | None) -> bool:
    """Whether the ceiling is the policy's, or a lower one of the registry.

    Args:
        judgement: of the policy.
        limit: what holds of the request; None: its limits were not asked.
    """
    ceiling = judgement.decision.max_output_tokens if judgement is not None else None
    return ceiling is not None and limit in (None, ceiling)


def _output_limit(candidate: Candidate) -> int:
    """The most output that one choice of the request may have."""
    output = candidate.entitlement.output
    return output.cap if output.cap is not None else output.tokens


def _would_deny(candidate: Candidate) -> frozenset[str] | None:
    """The controls that would have denied; None: the policy was not asked."""
    judgement = candidate.judgement
    return None if judgement is None else judgement.would_deny


def _model_seen(entitlement: Entitlement) -> Seen:
    """The model asked for and the one used, where a budget changed it."""
    downgraded = entitlement.downgraded
    if downgraded is None:
        return NOTHING_SEEN
    return Seen(downgraded.asked, downgraded.step.use)


def _denials(refusal: Refusal, seen: Seen = NOTHING_SEEN) -> dict[str, Seen]:
    """The control that a refusal belongs to, if it belongs to one."""
    control = CONTROL_OF.get(refusal.code)
    return {} if control is None else {control: seen}


def _declared(candidate: Candidate) -> tuple[str, ...]:
    """The controls for which a limit is declared."""
    path = candidate.path
    found = {
        "tenant_isolation": candidate.ask.owned is not None,
        "token_ceiling": candidate.entitlement.output.is_always,
        "rate_limit": bool(path.rates),
        "concurrency": bool(path.permits),
        "budget": bool(path.money) or bool(path.progressive),
    }
    return tuple([name for name, applies in found.items() if applies])
