"""Admission: authenticate, decide, hold; a request goes on or is turned away."""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec.structs import replace

from comptroller.core.bound import demand_bound
from comptroller.core.errors import BadRequestError, UnpricedError
from comptroller.engine import isolation, judging, limit_refusals, refusals, safe_names
from comptroller.engine.bounding import (
    Bounded,
    Hold,
    bounded,
    counted,
)
from comptroller.engine.controls import NOTHING_SEEN, Seen
from comptroller.engine.decision_data import Case, DecisionData, Known
from comptroller.engine.desk import Desk, Entitlement
from comptroller.engine.downgrading import Downgrading
from comptroller.engine.hold_path import NO_LIMITS, HoldPath, Need
from comptroller.engine.holding import Holding
from comptroller.engine.judging import Judge, Judgement, Unscanned
from comptroller.engine.leasing import Lack
from comptroller.engine.limit_refusals import Asker
from comptroller.engine.ports import TokenCounter
from comptroller.engine.refusals import Refusal
from comptroller.engine.upstream_buckets import UpstreamBuckets
from comptroller.engine.verdicts import (
    Admitted,
    Ask,
    Candidate,
    Missing,
    NamedObjects,
    Refused,
)
from comptroller.wire.preparing import prepare
from comptroller.wire.references import ObjectKind, Reference, references
from comptroller.wire.request import RequestFacts, read_facts, refuse_other_forms
from comptroller.wire.routes import Route
from comptroller.wire.stored import refuse_other_requests

json = msgspec.json.Encoder().encode

HOLD_NANO_USD_MAX = 10**15
"""A million dollars: whatever adds up holds stays within 64 bits."""
HOLD_TOKENS_MAX: Final = 10**12
"""The same for tokens, which may cost nothing: as settlements believe at the most."""

SLICE_TOKENS: Final = 1024
"""Output that is held at first, and at a time, where a hold grows with its stream."""


class Admission:
    """Decides on requests from a desk, which is replaced as a whole.

    Args:
        desk: what is applied.
        holding: the worker's leases; None: whatever has a limit is refused.
        buckets: the providers' own limits, as far as the worker has met them.
        counter: counts a prompt whose bytes do not fit; None: bytes have to do.
    """

    def __init__(
        self,
        desk: Desk,
        holding: Holding | None = None,
        buckets: UpstreamBuckets | None = None,
        counter: TokenCounter | None = None,
    ) -> None:
        self.desk = desk
        self.holding = holding
        self._buckets = buckets if buckets is not None else UpstreamBuckets()
        self._counter = counter
        self._data = DecisionData(desk)
        self._downgrading = Downgrading(desk)
        self._isolates = len(desk.registry.tenants) > 1
        self._is_discreet = desk.registry.gateway.privacy.end_user

    def identify(
        self, secret: bytes | None, now_ns: int, route: Route
    ) -> Known | Refused:
        """Finds whom a secret stands for."""
        if secret is None:
            return Refused(refusals.MISSING_CREDENTIAL, None)
        desk = self.desk
        held = desk.find(secret)
        if held is None:
            return Refused(refusals.UNKNOWN_CREDENTIAL, None)
        credential = held.credential
        service = desk.service(credential)
        validity = desk.validity(held, now_ns)
        if validity != "valid":
            refusal = refusals.credential_ended(
                credential.id, validity, service, desk.registry
            )
            if service is None:
                return Refused(refusal, None)
            return self._refused(Known(credential, service), route, refusal)
        if service is None:
            refusal = refusals.unattributable(
                credential.service, "it is not declared any more", desk.registry
            )
            return Refused(refusal, None)
        return Known(credential, service)

    def admit(self, ask: Ask, now_ns: int) -> Admitted | Refused | Candidate | Missing:
        """Decides on a request that would go to a model."""
        known = self.identify(ask.secret, now_ns, ask.route)
        if isinstance(known, Refused):
            return known
        if ask.route.object_id is not None:
            return self._admit_object(known, ask, now_ns)
        facts = self._read(known, ask)
        if isinstance(facts, Refused):
            return facts
        credential, service = known
        found = self.desk.entitlements(credential, service, facts.model, ask.route)
        if not self._downgrading.is_idle:
            instead = self._downgrading.apply(found, facts, now_ns)
            verdict = self._first(known, instead, facts, ask, now_ns)
            if instead is found or not _is_elsewhere(verdict):
                return verdict
        return self._first(known, found, facts, ask, now_ns)

    def _first(
        self,
        known: Known,
        found: tuple[Entitlement, ...],
        facts: RequestFacts,
        ask: Ask,
        now_ns: int,
    ) -> Admitted | Refused | Candidate | Missing:
        """Decides on a request for the places of one model, in their turn."""
        turned_away: Refused | None = None
        for entitlement in self.desk.in_turn(found):
            if entitlement.deployment in ask.tried:
                continue
            verdict = self._entitled(entitlement, facts, ask, now_ns)
            if not isinstance(verdict, Refused):
                # Who is asked for more comes again, and a later attempt has had it.
                if not ask.tried and not isinstance(verdict, Missing):
                    self.desk.take_turn(found)
                return verdict
            turned_away = turned_away or verdict
        return turned_away or self._not_allowed(known, facts.model, facts, ask)

    def allow(self, candidate: Candidate) -> Admitted:
        """Lets a request go on that is held, or that has no limits."""
        entitlement, facts, ask = candidate.entitlement, candidate.facts, candidate.ask
        bound, hold = candidate.bounded, candidate.hold
        body, strip = b"", False
        if ask.route.object_id is None:
            upstream = entitlement.model.upstream
            body, strip = prepare(ask.route, facts, ask.body, upstream, bound.ceiling)
        path, need, judgement = candidate.path, candidate.need, candidate.judgement
        data = self._data.allowed(candidate)
        holding = None if path.is_empty else self.holding
        if not path.is_empty:
            data = b"%b,%b" % (data, path.data)
        if path.progressive:
            first = need.slice_nano_usd
            data = b'%b,"comptroller.hold.slice_nano_usd":%d' % (data, first)
        return Admitted(
            entitlement,
            facts,
            body,
            len(body),
            strip,
            hold,
            data,
            bound,
            holding,
            path,
            need,
            _notes(entitlement, judgement),
        )

    def deny(
        self,
        candidate: Candidate,
        refusal: Refusal,
        seen: tuple[int, int] | None,
        lack: Lack | None,
    ) -> Refused:
        """Turns a request away whose limits have no room.

        Args:
            candidate: the request.
            refusal: why.
            seen: what was needed, and what was free.
            lack: the account that has no room; None: it is not for want of it.
        """
        found = Seen(*seen) if seen is not None else NOTHING_SEEN
        data = self._data.denied(candidate, refusal, found)
        if lack is not None:
            data = b'%b,"comptroller.limit.lack":%b' % (data, json(lack))
        return Refused(refusal, data)

    def counted(self, candidate: Candidate) -> Candidate | None:
        """The request with its prompt counted; None: that does not make it smaller."""
        try:
            found = counted(
                candidate.entitlement,
                candidate.facts,
                candidate.ask.body,
                candidate.bounded,
                self._counter,
            )
        except UnpricedError:
            return None
        return None if found is None else rebound(candidate, found)

    def _not_allowed(
        self, known: Known, model: str, facts: RequestFacts, ask: Ask
    ) -> Refused:
        refusal = refusals.model_not_allowed(model, known.service, self.desk.registry)
        return self._refused(known, ask.route, refusal, facts, ask.body)

    def _read(self, known: Known, ask: Ask) -> RequestFacts | Refused:
        """What a request asks for, if it can be read for certain."""
        try:
            if ask.query:
                refuse_other_forms(ask.query)
            facts = read_facts(ask.route, ask.body)
        except BadRequestError as error:
            refusal = refusals.bad_request(error.message)
            return self._refused(known, ask.route, refusal, body=ask.body)
        if facts.is_background:
            refusal = refusals.BACKGROUND
            return self._refused(known, ask.route, refusal, facts, ask.body)
        return facts

    def _admit_object(
        self, known: Known, ask: Ask, now_ns: int
    ) -> Admitted | Refused | Candidate | Missing:
        """Decides on a request for a stored object, by the model that made it."""
        route, (credential, service) = ask.route, known
        assert route.object_id is not None  # noqa: S101  who calls has looked
        try:
            refuse_other_requests(route, ask.query, ask.body)
        except BadRequestError as error:
            refusal = refusals.bad_request(error.message)
            return self._refused(known, route, refusal, body=ask.body)
        named = Reference(ObjectKind.RESPONSE, route.object_id, isolation.PATH)
        if ask.is_owner_unknown:
            return self._refused(known, route, isolation.OWNERSHIP_UNAVAILABLE)
        if ask.owned is None:
            return Missing(ask, objects=NamedObjects(service.tenant, (named,)))
        template = route._replace(object_id=None, tail="")
        for one in ask.owned:
            if one.tenant != service.tenant or one.kind != named.kind:
                continue
            for entitlement in self.desk.entitlements(
                credential, service, one.model, template
            ):
                is_there = entitlement.model.provider == one.provider
                if is_there and entitlement.deployment not in ask.tried:
                    facts = RequestFacts(one.model, stream=False)
                    return self._held(Case(entitlement, facts, ask, None), now_ns)
        refusal = isolation.not_found(named)
        read = None, len(ask.body)
        data = self._data.refused(known, route, refusal, read, Seen(1, 0))
        return Refused(refusal, data)

    def _isolated(self, case: Case) -> Refused | Missing | None:
        """Makes sure that a request names no stored object of another tenant."""
        entitlement, _, ask, _ = case
        tenant, provider = entitlement.service.tenant, entitlement.model.provider
        named: tuple[Reference, ...] = ()
        try:
            named = references(ask.route, ask.body)
        except BadRequestError as error:
            if self._isolates:
                return self._turned_away(case, refusals.bad_request(error.message))
        if not named or (ask.is_owner_unknown and not self._isolates):
            return None
        if ask.is_owner_unknown:
            return self._turned_away(case, isolation.OWNERSHIP_UNAVAILABLE)
        if ask.owned is None:
            return Missing(ask, objects=NamedObjects(tenant, named))
        if self._isolates:
            foreign = isolation.not_its_own(tenant, provider, named, ask.owned)
        else:
            foreign = isolation.elsewhere(provider, named, ask.owned)
        refusal = isolation.not_found(foreign[0]) if foreign else None
        seen = Seen(len(foreign), 0)
        return self._turned_away(case, refusal, seen) if refusal else None

    def _entitled(
        self, entitlement: Entitlement, facts: RequestFacts, ask: Ask, now_ns: int
    ) -> Admitted | Refused | Candidate | Missing:
        """Decides on a request for a model that the service may use."""
        service = entitlement.service
        for other in facts.other_models:
            if not self.desk.may_run(service, entitlement.model, other):
                known = Known(entitlement.credential, service)
                return self._not_allowed(known, other, facts, ask)
        case = Case(entitlement, facts, ask, None)
        if entitlement.refusal is not None:
            return self._turned_away(case, entitlement.refusal)
        is_moved = entitlement.downgraded is not None
        if self._isolates or is_moved or self.desk.is_one_of_many(entitlement):
            stopped = self._isolated(case)
            if stopped is not None:
                return stopped
        if self.desk.judge is not None:
            judged = self._judged(self.desk.judge, case, now_ns)
            if not isinstance(judged, Case):
                return judged
            case = judged
        return self._held(case, now_ns)

    def _held(self, case: Case, now_ns: int) -> Admitted | Refused | Candidate:
        """Holds what a request may cost, or says that it has to wait for room."""
        entitlement = case.entitlement
        if entitlement.refusal is not None:
            return self._turned_away(case, entitlement.refusal)
        try:
            candidate = self._candidate(case, now_ns)
        except UnpricedError:
            asker = Asker(entitlement.service, self.desk.registry)
            candidate = refusals.unpriced(entitlement.model.id, *asker)
        if isinstance(candidate, Refusal):
            return self._turned_away(case, candidate)
        path, holding = candidate.path, self.holding
        if path.is_empty or (
            holding is not None and holding.hold(path, candidate.need, now_ns)
        ):
            return self.allow(candidate)
        return candidate

    def _judged(
        self, judge: Judge, case: Case, now_ns: int
    ) -> Case | Refused | Missing:
        """What the active policy makes of a request."""
        entitlement, facts, ask, _ = case
        assert entitlement.standing is not None  # noqa: S101  made for this judge
        body = judging.Body(ask.route, facts, ask.body, ask.matches, ask.unscanned)
        judgement = judge.weigh(entitlement.standing, body, now_ns)
        if isinstance(judgement, Unscanned):
            return Missing(ask, judgement.texts)
        if isinstance(judgement, Refusal):
            return self._turned_away(case, judgement)
        decision = judgement.decision
        if judgement.denied:
            service, registry = entitlement.service, self.desk.registry
            refusal = judging.denied(decision, judge.revision, service, registry)
            return self._turned_away(case._replace(judgement=judgement), refusal)
        if decision.max_output_tokens is not None:
            entitlement = self.desk.capped(entitlement, decision.max_output_tokens)
        return Case(entitlement, facts, ask, judgement)

    def _candidate(self, case: Case, now_ns: int) -> Candidate | Refusal:
        """What has to be held for a request, and where.

        Raises:
            UnpricedError: the service tier that it asks for has no price.
        """
        entitlement, facts, ask, judgement = case
        service, model = entitlement.service, entitlement.model
        if self._buckets.closed:
            wait_s = self._buckets.wait_s((model.provider, model.upstream), now_ns)
            if wait_s > 0:
                return limit_refusals.provider_rate_limited(model.provider, wait_s)
        session = facts.session
        if self._is_discreet:
            session = safe_names.session(session)
        run = safe_names.run(ask.run, session)
        where = entitlement.where
        if service.run_budget is not None:
            if run is None:
                return limit_refusals.run_required(Asker(service, self.desk.registry))
            where = where._replace(run=run)
        path = NO_LIMITS
        if self.holding is not None:
            path = self.holding.path(where, model.id, now_ns)
        elif self.desk.has_limits(where, model.id):
            return limit_refusals.LEDGER_UNAVAILABLE
        bound = bounded(entitlement, facts, ask.body, is_limited=path.needs_bound)
        if bound.unbounded is not None:
            asker = Asker(service, self.desk.registry)
            return limit_refusals.unbounded(asker, bound.unbounded)
        hold = bound.hold()
        tokens = hold.input_tokens + hold.output_tokens
        if hold.nano_usd > HOLD_NANO_USD_MAX or tokens > HOLD_TOKENS_MAX:
            return refusals.TOO_DEAR
        need = _need(path, facts, bound, hold)
        return Candidate(
            entitlement, facts, ask, run, path, bound, hold, need, judgement
        )

    def _refused(
        self,
        known: Known,
        route: Route,
        refusal: Refusal,
        facts: RequestFacts | None = None,
        body: bytes = b"",
    ) -> Refused:
        """Turns a request away for which no declared model was found."""
        data = self._data.refused(known, route, refusal, (facts, len(body)))
        return Refused(refusal, data)

    def _turned_away(
        self, case: Case, refusal: Refusal, seen: Seen = NOTHING_SEEN
    ) -> Refused:
        """Turns a request away before its limits are asked."""
        return Refused(refusal, self._data.turned_away(case, refusal, seen))


def _is_elsewhere(verdict: Admitted | Refused | Candidate | Missing) -> bool:
    """Whether what a request names cannot be where it was to go."""
    if not isinstance(verdict, Refused):
        return False
    return verdict.refusal.code == isolation.OBJECT_NOT_FOUND


def _notes(entitlement: Entitlement, judgement: Judgement | None) -> bytes:
    """The header lines that tell the client what was changed or warned of."""
    notes = judgement.notes if judgement is not None else b""
    downgraded = entitlement.downgraded
    return notes if downgraded is None else notes + downgraded.note()


def _need(path: HoldPath, facts: RequestFacts, bound: Bounded, hold: Hold) -> Need:
    """What a request needs of its limits; of a stream's progressive ones a slice."""
    first = hold.nano_usd
    if path.progressive and facts.stream and bound.output_tokens > SLICE_TOKENS:
        first = demand_bound(bound.demand, SLICE_TOKENS)
    return Need(hold.nano_usd, first, hold.input_tokens + hold.output_tokens)


def rebound(candidate: Candidate, bound: Bounded) -> Candidate:
    """The same request with another bound."""
    hold = bound.hold()
    need = _need(candidate.path, candidate.facts, bound, hold)
    return replace(candidate, bounded=bound, hold=hold, need=need)
