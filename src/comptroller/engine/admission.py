"""Admission: authenticate, decide, hold; a request goes on or is turned away."""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec
from msgspec.structs import replace

from comptroller.core.bound import demand_bound
from comptroller.core.credential import Credential
from comptroller.core.errors import BadRequestError, UnpricedError
from comptroller.core.registry import Service
from comptroller.engine import limit_refusals, refusals, safe_names
from comptroller.engine.bounding import (
    NO_HOLD,
    Bounded,
    Hold,
    bounded,
    counted,
)
from comptroller.engine.desk import (
    Denial,
    Desk,
    Entitlement,
    controls,
    refused_data,
)
from comptroller.engine.hold_path import NO_LIMITS, HoldPath, Need
from comptroller.engine.holding import Holding
from comptroller.engine.leasing import Lack
from comptroller.engine.limit_refusals import Asker
from comptroller.engine.ports import TokenCounter
from comptroller.engine.refusals import Refusal
from comptroller.engine.upstream_buckets import UpstreamBuckets
from comptroller.wire.preparing import prepare
from comptroller.wire.rate_headers import RateState
from comptroller.wire.request import RequestFacts, read_facts, refuse_other_forms
from comptroller.wire.routes import Route

json = msgspec.json.Encoder().encode

HOLD_NANO_USD_MAX = 10**15
"""A million dollars: whatever adds up holds stays within 64 bits."""
HOLD_TOKENS_MAX: Final = 10**12
"""The same for tokens, which may cost nothing: as settlements believe at the most."""

SLICE_TOKENS: Final = 1024
"""Output that is held at first, and at a time, where a hold grows with its stream."""

CONTROL_OF = {
    "credential_revoked": "credential",
    "credential_expired": "credential",
    "credential_not_valid_yet": "credential",
    "unattributable": "attribution",
    "bad_request": "request_form",
    "background_not_metered": "price",
    "model_not_allowed": "model_selection",
    "dialect_not_spoken": "dialect",
    "unpriced_model": "price",
    "provider_credential_missing": "provider_credential",
    "unbounded_request": "budget",
    "run_required": "budget",
    "budget_exhausted": "budget",
    "ledger_unavailable": "budget",
    "overloaded": "budget",
    "concurrency_limited": "concurrency",
    "rate_limited": "rate_limit",
    "rate_limit_too_small": "rate_limit",
    "provider_rate_limited": "rate_limit",
}
"""The control that a refusal's code belongs to; docs/reference/refusals.md lists it."""


class Ask(msgspec.Struct, frozen=True):
    """What a client asks, as the gateway parsed it."""

    route: Route
    secret: bytes | None
    """The credential's secret, without its scheme."""
    body: bytes
    query: bytes
    """Without a credential."""
    run: bytes = b""
    """The run that it belongs to, as a header names it; empty: none does."""


class Candidate(msgspec.Struct, frozen=True):
    """A request that goes on as soon as its limits have room for it."""

    entitlement: Entitlement
    facts: RequestFacts
    ask: Ask
    run: str | None
    path: HoldPath
    bounded: Bounded
    hold: Hold
    need: Need


class Admitted(msgspec.Struct, frozen=True):
    """A request that goes on."""

    entitlement: Entitlement
    facts: RequestFacts
    body: bytes
    """What is sent upstream; let go of when it was, if it is large."""
    body_bytes: int
    strip_usage: bool
    """Whether the stream's usage chunk was asked for by us alone."""
    hold: Hold
    data: bytes
    """The members of its decision record."""
    bounded: Bounded
    holding: Holding | None
    """Who holds it; None: no limit is on its path."""
    path: HoldPath
    need: Need

    def settle(self, cost_nano_usd: int, tokens: int) -> None:
        """Ends its hold: so much was spent, the rest is free again."""
        if self.holding is not None:
            self.holding.settle(self.path, self.need, cost_nano_usd, tokens)

    def rates(self) -> list[RateState]:
        """How the rate limits on its path stand; none: it has none."""
        if self.holding is None or not self.path.rates:
            return []
        return [
            RateState(
                stand.limit.rpartition("/")[2],
                stand.burst,
                stand.remaining,
                stand.reset_s,
            )
            for stand in self.holding.rates(self.path)
        ]

    def let_go(self) -> None:
        """Ends its hold: nothing was sent."""
        if self.holding is not None:
            self.holding.release(self.path, self.need)


class Refused(msgspec.Struct, frozen=True):
    """A request that goes no further."""

    refusal: Refusal
    data: bytes | None
    """The members of its decision record; None: no known credential."""


class _Verdict(NamedTuple):
    """How a decision record says what was decided."""

    result: bytes
    reason: bytes
    controls: bytes


class Known(NamedTuple):
    """Whom a valid credential stands for."""

    credential: Credential
    service: Service


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
        self._passed: dict[tuple[bool, bool, bool, bool, str | None], _Verdict] = {}

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

    def admit(self, ask: Ask, now_ns: int) -> Admitted | Refused | Candidate:
        """Decides on a request that would go to a model."""
        known = self.identify(ask.secret, now_ns, ask.route)
        if isinstance(known, Refused):
            return known
        service = known.service
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
        entitlement = self.desk.entitlement(
            known.credential, service, facts.model, ask.route
        )
        asked = facts.model
        if facts.other_models and entitlement is not None:
            for other in facts.other_models:
                if not self.desk.may_run(service, entitlement.model, other):
                    asked, entitlement = other, None
                    break
        if entitlement is None:
            registry = self.desk.registry
            refusal = refusals.model_not_allowed(asked, service, registry)
            return self._refused(known, ask.route, refusal, facts, ask.body)
        return self._entitled(entitlement, facts, ask, now_ns)

    def allow(self, candidate: Candidate) -> Admitted:
        """Lets a request go on that is held, or that has no limits."""
        entitlement, facts, ask = candidate.entitlement, candidate.facts, candidate.ask
        bound, hold = candidate.bounded, candidate.hold
        upstream = entitlement.model.upstream
        body, strip = prepare(ask.route, facts, ask.body, upstream, bound.ceiling)
        path, need = candidate.path, candidate.need
        verdict = self._passes(path, entitlement, bound.clamped_by)
        data = self._data(entitlement.data, facts, verdict, (hold, ask.body))
        run = b"null" if candidate.run is None else json(candidate.run)
        data = b'%b,"comptroller.run":%b' % (data, run)
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
        entitlement = candidate.entitlement
        observed, limit = seen if seen is not None else (None, None)
        denial = Denial(CONTROL_OF.get(refusal.code), observed, limit)
        declared = _declared(candidate.path, entitlement)
        verdict = self._denies(refusal, denial, declared)
        sizes = (candidate.hold, candidate.ask.body)
        data = self._data(entitlement.data, candidate.facts, verdict, sizes)
        run = b"null" if candidate.run is None else json(candidate.run)
        data = b'%b,"comptroller.run":%b' % (data, run)
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

    def _entitled(
        self, entitlement: Entitlement, facts: RequestFacts, ask: Ask, now_ns: int
    ) -> Admitted | Refused | Candidate:
        """Decides on a request for a model that the service may use."""
        refusal = entitlement.refusal
        if refusal is None:
            try:
                candidate = self._candidate(entitlement, facts, ask, now_ns)
            except UnpricedError:
                asker = Asker(entitlement.service, self.desk.registry)
                refusal = refusals.unpriced(entitlement.model.id, *asker)
            else:
                if isinstance(candidate, Candidate):
                    holding = self.holding
                    path = candidate.path
                    if path.is_empty or (
                        holding is not None
                        and holding.hold(path, candidate.need, now_ns)
                    ):
                        return self.allow(candidate)
                    return candidate
                refusal = candidate
        verdict = self._denies(refusal, Denial(CONTROL_OF.get(refusal.code)))
        sizes = (NO_HOLD, ask.body)
        return Refused(refusal, self._data(entitlement.data, facts, verdict, sizes))

    def _candidate(
        self, entitlement: Entitlement, facts: RequestFacts, ask: Ask, now_ns: int
    ) -> Candidate | Refusal:
        """What has to be held for a request, and where.

        Raises:
            UnpricedError: the service tier that it asks for has no price.
        """
        service, model = entitlement.service, entitlement.model
        if self._buckets.closed:
            wait_s = self._buckets.wait_s((model.provider, model.upstream), now_ns)
            if wait_s > 0:
                return limit_refusals.provider_rate_limited(model.provider, wait_s)
        run = safe_names.run(ask.run, facts.session)
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
        return Candidate(entitlement, facts, ask, run, path, bound, hold, need)

    def _refused(
        self,
        known: Known,
        route: Route,
        refusal: Refusal,
        facts: RequestFacts | None = None,
        body: bytes = b"",
    ) -> Refused:
        credential, service = known
        shared = refused_data(credential, service, self.desk.snapshot, route)
        verdict = self._denies(refusal, Denial(CONTROL_OF.get(refusal.code)))
        return Refused(refusal, self._data(shared, facts, verdict, (NO_HOLD, body)))

    def _passes(
        self, path: HoldPath, entitlement: Entitlement, clamped_by: str | None
    ) -> _Verdict:
        key = (
            entitlement.output.is_always,
            bool(path.rates),
            bool(path.permits),
            bool(path.money) or bool(path.progressive),
            clamped_by,
        )
        passed = self._passed.get(key)
        if passed is None:
            revision = self.desk.snapshot.revision
            declared = _declared(path, entitlement)
            listed = controls(revision, None, declared, clamped_by)
            passed = self._passed[key] = _Verdict(b"allow", b"allowed", listed)
        return passed

    def _denies(
        self, refusal: Refusal, denial: Denial, declared: tuple[str, ...] = ()
    ) -> _Verdict:
        listed = controls(self.desk.snapshot.revision, denial, declared)
        return _Verdict(b"deny", refusal.code.encode(), listed)

    def _data(
        self,
        shared: bytes,
        facts: RequestFacts | None,
        verdict: _Verdict,
        sizes: tuple[Hold, bytes],
    ) -> bytes:
        """The members of a decision record."""
        hold, body = sizes
        result, reason, listed = verdict
        ceiling = facts.max_output_tokens if facts else None
        return (
            b'"result":"%b","reason":"%b","gen_ai.request.model":%b,'
            b'"gen_ai.request.max_tokens":%b,"gen_ai.request.stream":%b,%b,'
            b'"comptroller.controls":%b,"comptroller.hold.nano_usd":%d,'
            b'"comptroller.hold.input_tokens":%d,"comptroller.hold.output_tokens":%d,'
            b'"http.request.body.size":%d'
            % (
                result,
                reason,
                json(safe_names.model(facts, self.desk.registry.models)),
                b"null" if ceiling is None else b"%d" % ceiling,
                b"true" if facts and facts.stream else b"false",
                shared,
                listed,
                hold.nano_usd,
                hold.input_tokens,
                hold.output_tokens,
                len(body),
            )
        )


def _declared(path: HoldPath, entitlement: Entitlement) -> tuple[str, ...]:
    """The controls for which a limit is declared."""
    found = {
        "token_ceiling": entitlement.output.is_always,
        "rate_limit": bool(path.rates),
        "concurrency": bool(path.permits),
        "budget": bool(path.money) or bool(path.progressive),
    }
    return tuple([name for name, applies in found.items() if applies])


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
