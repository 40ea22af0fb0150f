"""What the gateway answers itself: health, readiness, and the models there are."""

from __future__ import annotations

from typing import Final, NamedTuple

from comptroller.core.deployment import deployments
from comptroller.core.registry import ModelId, Registry, Service
from comptroller.engine import refusals
from comptroller.engine.refusals import Refusal
from comptroller.engine.verdicts import Refused
from comptroller.gateway.floor import Floor
from comptroller.gateway.inbound import Inbound, one_secret
from comptroller.wire import catalogue
from comptroller.wire.routes import Dialect, Operation, Route

JSON: Final = b"application/json"
_CREATED_S: Final = 1_700_000_000
"""Clients want a time of creation; the configuration has none and nothing uses it."""


class Answer(NamedTuple):
    """A whole answer."""

    status: int
    content_type: bytes
    body: bytes


def answer(floor: Floor, route: Route, inbound: Inbound) -> Answer | Refusal:
    """Answers a local route.

    Args:
        floor: the worker.
        route: a route of LOCAL_OPERATIONS.
        inbound: the request; `anthropic-version` tells whose clients ask for models.
    """
    secret = one_secret(inbound.secrets)
    if isinstance(secret, Refusal):
        return secret
    operation = route.operation
    if operation is Operation.ROOT:
        return Answer(200, JSON, b"")
    if operation is Operation.HEALTHZ:
        return Answer(200, JSON, b'{"status":"ok"}')
    if operation is Operation.READYZ:
        if floor.stopping or floor.admission is None or floor.recorder.is_failed:
            return Answer(503, JSON, b'{"status":"not ready"}')
        return Answer(200, JSON, b'{"status":"ready"}')
    return _models(floor, route, secret, inbound.lines)


def _models(
    floor: Floor, route: Route, secret: bytes | None, lines: list[bytes]
) -> Answer | Refusal:
    admission = floor.admission
    if admission is None:
        return refusals.NOT_READY
    known = admission.identify(secret, floor.clock.now_ns(), route)
    if isinstance(known, Refused):
        return known.refusal
    dialect = route.dialect
    if dialect is Dialect.OPENAI and _is_anthropic(lines):
        dialect = Dialect.ANTHROPIC
    cards = _reachable(admission.desk.registry, known.service, dialect)
    if route.operation is Operation.MODELS:
        return Answer(200, JSON, catalogue.model_list_body(route.dialect, cards))
    for card in cards:
        if card.id == route.path_model:
            return Answer(200, JSON, catalogue.model_body(route.dialect, card))
    registry = admission.desk.registry
    return refusals.model_not_allowed(route.path_model or "", known.service, registry)


def _is_anthropic(lines: list[bytes]) -> bool:
    return any(line.lower().startswith(b"anthropic-version:") for line in lines)


def _reachable(
    registry: Registry, service: Service, dialect: str
) -> list[catalogue.ModelCard]:
    """The names that a service may ask for in a dialect, in the file's order.

    Each model's id, then its aliases: a client takes what is not here for unknown.
    """
    cards = []
    for name in service.models:
        model = registry.models[ModelId(name)]
        spoken = [registry.providers[one.provider].speaks for one in deployments(model)]
        if any(dialect in speaks for speaks in spoken):
            cards += [
                catalogue.ModelCard(called, _CREATED_S, model.provider)
                for called in (str(name), *model.aliases)
            ]
    return cards
