"""Admission: authenticate, decide, hold; a request goes on or is turned away."""

from __future__ import annotations

import re
from collections.abc import Container
from typing import NamedTuple

import msgspec

from comptroller.core.bound import (
    bound_by,
    ceilings,
    input_tokens_bound,
    output_tokens_bound,
)
from comptroller.core.credential import Credential
from comptroller.core.errors import BadRequestError, UnpricedError
from comptroller.core.registry import Service
from comptroller.engine import refusals
from comptroller.engine.desk import Desk, Entitlement, controls, refused_data
from comptroller.engine.refusals import Refusal
from comptroller.wire.preparing import prepare
from comptroller.wire.request import RequestFacts, read_facts, refuse_other_forms
from comptroller.wire.routes import Route

json = msgspec.json.Encoder().encode

HOLD_NANO_USD_MAX = 10**15
"""A million dollars: whatever adds up holds stays within 64 bits."""

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


class Hold(msgspec.Struct, frozen=True, gc=False):
    """The most that the request can cost, and the tokens that this rests on."""

    nano_usd: int
    input_tokens: int
    output_tokens: int


_NO_HOLD = Hold(0, 0, 0)


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


class Refused(msgspec.Struct, frozen=True):
    """A request that goes no further."""

    refusal: Refusal
    data: bytes | None
    """The members of its decision record; None: no known credential."""


class Known(NamedTuple):
    """Whom a valid credential stands for."""

    credential: Credential
    service: Service


class Admission:
    """Decides on requests from a desk, which is replaced as a whole."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        revision = desk.snapshot.revision
        self._passed = controls(revision, None)

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

    def admit(self, ask: Ask, now_ns: int) -> Admitted | Refused:
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
        return self._entitled(entitlement, facts, ask)

    def _entitled(
        self, entitlement: Entitlement, facts: RequestFacts, ask: Ask
    ) -> Admitted | Refused:
        """Decides on a request for a model that the service may use."""
        refusal = entitlement.refusal
        model = entitlement.model
        if refusal is None:
            output = output_tokens_bound(
                entitlement.output, facts.max_output_tokens, is_limited=False
            )
            ceiling = entitlement.ceiling if output.is_put else None
            body, strip = prepare(ask.route, facts, ask.body, model.upstream, ceiling)
            try:
                hold = _hold(entitlement, facts, len(body), output.tokens)
            except UnpricedError:
                service = entitlement.service
                refusal = refusals.unpriced(model.id, service, self.desk.registry)
            else:
                if hold.nano_usd <= HOLD_NANO_USD_MAX:
                    data = self._data(entitlement.data, facts, None, (hold, ask.body))
                    size = len(body)
                    return Admitted(entitlement, facts, body, size, strip, hold, data)
                refusal = refusals.TOO_DEAR
        sizes = (_NO_HOLD, ask.body)
        return Refused(refusal, self._data(entitlement.data, facts, refusal, sizes))

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
        return Refused(refusal, self._data(shared, facts, refusal, (_NO_HOLD, body)))

    def _data(
        self,
        shared: bytes,
        facts: RequestFacts | None,
        refusal: Refusal | None,
        sizes: tuple[Hold, bytes],
    ) -> bytes:
        """The members of a decision record."""
        hold, body = sizes
        listed = self._passed
        result, reason = b"allow", b"allowed"
        if refusal is not None:
            control = CONTROL_OF.get(refusal.code)
            listed = controls(self.desk.snapshot.revision, control)
            result, reason = b"deny", refusal.code.encode()
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
                json(_recorded(facts, self.desk.registry.models)),
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


_MODEL_CHARACTERS_MAX = 200
_MODEL_NAME = re.compile(r"[A-Za-z0-9._:/@+-]{1,100}")
_SECRET = re.compile(r"ctl_|sk-|AIza|eyJ")
"""What our secrets begin with, and what others' keys and tokens do."""


def _recorded(facts: RequestFacts | None, declared: Container[str]) -> str | None:
    """The model to record: one that is declared, or a name that could be a model's.

    A client may put a prompt or a secret into the field: records hold neither.
    """
    if facts is None:
        return None
    model = facts.model
    if model in declared:
        return model[:_MODEL_CHARACTERS_MAX]
    if _MODEL_NAME.fullmatch(model) is None or _SECRET.search(model) is not None:
        return None
    return model


def _hold(
    entitlement: Entitlement, facts: RequestFacts, body_bytes: int, tokens_out: int
) -> Hold:
    """The most that the request can cost (design.md §4).

    Args:
        entitlement: what the credential gets.
        facts: of the request.
        body_bytes: of the body that is sent.
        tokens_out: bound of one choice's output.

    Raises:
        UnpricedError: the service tier that it asks for has no price.
    """
    rates = entitlement.rates
    if rates is None:
        return _NO_HOLD
    window = entitlement.model.context_window_tokens
    tokens_in = input_tokens_bound(
        body_bytes, window, rates, by_reference=facts.has_context_elsewhere
    )
    tokens_out *= facts.choices
    reachable = entitlement.ceilings
    if facts.service_tier is not None:
        reachable = ceilings(rates, facts.service_tier)
    nano_usd = bound_by(reachable, tokens_in, tokens_out)
    return Hold(nano_usd, tokens_in, tokens_out)
