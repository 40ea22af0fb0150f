"""Downgrading: another model for a request whose budget has reached a threshold.

A request goes to the model that the highest reached share names, or the next one
where that cannot be: where the service may not use it, it does not speak the route's
dialect, it has no price or credential, or it is no cheaper. Where none can be, the
request keeps its model, and the budget's limit does its work.
"""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from comptroller.core.rates import ModelRates
from comptroller.engine.desk import Desk, Entitlement
from comptroller.engine.reached import Downgraded, Reached, Step
from comptroller.wire.request import RequestFacts
from comptroller.wire.routes import Operation, Route

KNOWN_MAX: Final = 10_000
_COMPARED: Final = ("input", "output")


class Downgrading:
    """Downgrades requests by the thresholds that one desk's snapshot tells."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._reached = Reached(desk.snapshot)
        self.is_idle: bool = self._reached.is_empty
        """Whether no request is downgraded: nobody needs to ask."""
        self._known: dict[tuple[str, str, str, str, Step], tuple[Entitlement, ...]] = {}

    def apply(
        self, found: tuple[Entitlement, ...], facts: RequestFacts, now_ns: int
    ) -> tuple[Entitlement, ...]:
        """What a request gets instead of what it asked for, or just that.

        Args:
            found: what it asked for, one for each place where the model runs.
            facts: what its body says.
            now_ns: nanoseconds since the epoch.
        """
        asked = next((one for one in found if one.refusal is None), None)
        if asked is None or not _may_change(asked.route):
            return found
        for step in self._reached.steps(asked.where, now_ns):
            if step.use == asked.model.id:
                break
            instead = self._instead(asked, step)
            if any(self._may_run(one, facts.other_models) for one in instead):
                return instead
        return found

    def _instead(self, asked: Entitlement, step: Step) -> tuple[Entitlement, ...]:
        """All the places where a step's model runs; empty: it cannot stand in."""
        route = asked.route
        key = (
            asked.credential.id,
            asked.model.id,
            route.dialect,
            route.operation,
            step,
        )
        known = self._known.get(key)
        if known is None:
            known = self._find(asked, step)
            if len(self._known) >= KNOWN_MAX:
                self._known.clear()
            self._known[key] = known
        return known

    def _find(self, asked: Entitlement, step: Step) -> tuple[Entitlement, ...]:
        listed = self._desk.entitlements(
            asked.credential, asked.service, step.use, asked.route
        )
        if not any(
            one.refusal is None and _is_cheaper(one.rates, asked.rates)
            for one in listed
        ):
            return ()
        downgraded = Downgraded(asked.model.id, step)
        return tuple(
            [
                replace(
                    one,
                    downgraded=downgraded,
                    data=b"%b,%b" % (one.data, downgraded.data()),
                    capped={},
                )
                for one in listed
            ]
        )

    def _may_run(self, one: Entitlement, others: tuple[str, ...]) -> bool:
        """Whether a request, with its further models, can go there."""
        return one.refusal is None and all(
            self._desk.may_run(one.service, one.model, other) for other in others
        )


def _may_change(route: Route) -> bool:
    """Whether another model may answer on a route.

    Embeddings of different models do not compare, and what is free saves nothing.
    """
    return route.metered and route.operation is not Operation.EMBEDDINGS


def _is_cheaper(one: ModelRates | None, other: ModelRates | None) -> bool:
    """Whether a model's text costs less than another's in some class."""
    if one is None or other is None:
        return False
    ours, theirs = one.steps[0].rates, other.steps[0].rates
    return any(ours.get(name, 0) < theirs.get(name, 0) for name in _COMPARED)
