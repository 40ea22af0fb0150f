"""Plans: what one seed simulates, drawn before it begins."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, NamedTuple

from comptroller.testing.simulation.draw import Draw
from comptroller.testing.simulation.organization import (
    Client,
    Demand,
    Organization,
    changed,
    draw_organization,
)

KINDS: Final = ("calm", "crashes", "network", "ruin")
"""Nothing fails; processes die and are paused; messages are late or lost, and the
store is away; the power goes, and disks with journals are lost."""

_S: Final = 1_000_000_000
_ENDS: Final = (
    datetime(2026, 11, 21, 13, tzinfo=UTC),
    datetime(2026, 11, 22, tzinfo=UTC),
    datetime(2026, 11, 21, 23, tzinfo=UTC),
    datetime(2026, 11, 1, tzinfo=UTC),
    datetime(2026, 10, 25, 1, tzinfo=UTC),
    datetime(2026, 11, 30, tzinfo=UTC),
    datetime(2026, 12, 31, 23, tzinfo=UTC),
    datetime(2026, 11, 21, 18, 30, tzinfo=UTC),
)
"""Moments at which windows end, in one zone or another."""


class Asked(NamedTuple):
    """A request of a client."""

    at_s: float
    worker: int
    client: Client
    model: str
    run: str | None
    bound: int
    """The most that it should cost, in nano-USD."""
    cost: int
    """What it will be billed."""
    tokens: tuple[int, int]
    """Held for it, and used in the end."""
    seconds: float
    """Until its reply is whole."""
    is_reachable: bool
    """Whether its provider can be reached; else nothing is sent."""


class Fault(NamedTuple):
    """Something that goes wrong."""

    at_s: float
    kind: str
    """`kill`, `pause`, `power`, `node`, `disk`, `centre`, `outage` or `skip`."""
    target: int
    """Of which worker, where it is one's."""
    seconds: float
    """How long it lasts, or until it is started anew."""
    steps: int
    """In how many steps a process dies."""


class Weather(NamedTuple):
    """How messages fare."""

    delay_s: float
    """A mean."""
    loss: float
    repeat: float


class Change(NamedTuple):
    """Another configuration is applied."""

    at_s: float
    to: Organization


@dataclass(slots=True)
class Plan:
    """One seed."""

    seed: int
    kind: str
    start_ns: int
    seconds: float
    """How long clients ask."""
    workers: int
    durability: str
    organization: Organization
    demand: Demand
    requests: list[Asked]
    faults: list[Fault]
    changes: list[Change]
    weather: Weather
    is_exceeded: bool
    """Whether some requests cost more than was held for them."""

    @property
    def is_calm(self) -> bool:
        """Whether nothing fails, so that more can be asked of the engine."""
        return self.kind == "calm"


def draw_plan(seed: int) -> Plan:
    """What a seed simulates."""
    draw = Draw(f"plan {seed}")
    kind = KINDS[seed % len(KINDS)]
    requests = draw.whole(20, 90)
    unit = draw.one((1, 1_000, 1_000_000))
    seconds = draw.real(1.0, 8.0)
    mean = unit * 100
    demand = Demand(
        nano_usd=mean * requests,
        requests=requests,
        tokens=requests * 100,
        seconds=seconds,
        has_rates=draw.chance(0.4),
        is_tight=draw.chance(0.5),
    )
    organization = draw_organization(draw, demand)
    workers = draw.whole(1, 4)
    changes = []
    if draw.chance(0.4):
        to = organization
        for at_s in sorted(draw.real(0, seconds) for _ in range(draw.whole(1, 3))):
            to = changed(to, draw, demand)
            changes.append(Change(at_s, to))
    is_exceeded = draw.chance(0.15)
    asked = _draw_requests(draw, demand, organization, (workers, is_exceeded, unit))
    return Plan(
        seed=seed,
        kind=kind,
        start_ns=_draw_start(draw, seconds),
        seconds=seconds,
        workers=workers,
        durability="process" if kind == "ruin" and draw.chance(0.3) else "disk",
        organization=organization,
        demand=demand,
        requests=asked,
        faults=_draw_faults(draw, kind, seconds, workers),
        changes=changes,
        weather=_draw_weather(draw, kind),
        is_exceeded=is_exceeded,
    )


def _draw_start(draw: Draw, seconds: float) -> int:
    """Often so that a window ends while clients ask."""
    end_ns = int(draw.one(_ENDS).timestamp()) * _S
    if draw.chance(0.6):
        return end_ns - int(draw.real(0, seconds) * _S)
    return end_ns + draw.whole(0, 3_000) * _S + draw.whole(0, _S)


def _draw_weather(draw: Draw, kind: str) -> Weather:
    if kind == "calm":
        return Weather(draw.one((0.0, 0.0005, 0.003)), 0.0, 0.0)
    if kind == "network":
        loss = draw.one((0.0, 0.02, 0.2))
        return Weather(draw.one((0.001, 0.02, 0.2)), loss, draw.one((0.02, 0.3)))
    return Weather(0.001, 0.0, draw.one((0.0, 0.02)))


def _draw_requests(
    draw: Draw,
    demand: Demand,
    organization: Organization,
    of: tuple[int, bool, int],
) -> list[Asked]:
    workers, is_exceeded, unit = of
    clients = organization.clients()
    favourites = draw.some(clients, 1, len(clients))
    share = draw.one((0.1, 0.27, 0.6, 1.0))
    mean_s = draw.one((0.01, 0.2, 1.0))
    is_even = draw.chance(0.3)
    found = []
    bursts = [draw.real(0, demand.seconds) for _ in range(draw.whole(1, 4))]
    for _ in range(demand.requests):
        client = draw.one(favourites)
        bound = max(
            1, int(unit * draw.one((20, 50, 100, 100, 200)) * draw.real(0.5, 1.5))
        )
        if is_even:
            bound = unit * 100
        cost = min(bound, int(bound * share * draw.real(0.3, 1.7)))
        if draw.chance(0.05):
            cost = draw.one((0, bound))
        if is_exceeded and draw.chance(0.1):
            cost = bound + 1 + int(bound * draw.real(0, 0.5))
        at_s = draw.one(bursts) + draw.about(0.05) if draw.chance(0.5) else -1.0
        tokens = draw.whole(20, 180)
        found.append(
            Asked(
                at_s=at_s if at_s >= 0 else draw.real(0, demand.seconds),
                worker=draw.whole(0, workers - 1),
                client=client,
                model=draw.one(client.models),
                run=f"run{draw.whole(0, 2)}" if client.has_runs else None,
                bound=bound,
                cost=cost,
                tokens=(tokens, draw.whole(1, tokens)),
                seconds=draw.about(mean_s),
                is_reachable=not draw.chance(0.03),
            )
        )
    return found


def _draw_faults(draw: Draw, kind: str, seconds: float, workers: int) -> list[Fault]:
    kinds: tuple[str, ...] = {
        "calm": (),
        "crashes": ("kill", "kill", "kill", "pause", "pause", "centre", "skip"),
        "network": ("kill", "pause", "centre", "outage", "outage"),
        "ruin": ("kill", "power", "node", "disk", "pause", "centre"),
    }[kind]
    if not kinds:
        return []
    return [
        Fault(
            at_s=draw.real(0, seconds),
            kind=draw.one(kinds),
            target=draw.whole(0, workers - 1),
            seconds=draw.one((0.05, 0.5, 2.0, 6.0)) * draw.real(0.5, 1.5),
            steps=draw.whole(1, 25),
        )
        for _ in range(draw.whole(1, 5))
    ]
