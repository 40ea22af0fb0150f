"""Cost of a hold and its settlement on the request path, when leased; in process.

A path of four budgets (organization, tenant, unit, service); the same with a limit on
requests at the same time; and with rates of requests and tokens besides. The desk
grants once; what is measured is what every request pays: find its path, hold on all
of it, settle on all of it.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

from comptroller.adapters.system import SystemClock
from comptroller.core.account import Where
from comptroller.core.registry import Budget, Limits, Rate, Registry, Window
from comptroller.engine.holding import Holder, Holding, Need, Ports
from comptroller.engine.leasing import AskLeases, Granted, Leased
from comptroller.testing.answered import acme

GOAL_US = 20.0
TIMES = 20_000
ROUNDS = 5
GRANT = 10**15
WHERE = Where("acme", "acme", "retail", "checkout-assistant", "cr_1", None)
MODEL = "gpt-5-mini"


class Later:
    """Timers that are called when the bench says so."""

    def __init__(self) -> None:
        self._due: list[Callable[[], None]] = []

    def call_later(self, delay_s: float, call: Callable[[], None]) -> Later:  # noqa: ARG002  the port's
        """Keeps the call."""
        self._due.append(call)
        return self

    def cancel(self) -> None:
        """A call too many does no harm here."""

    def run(self) -> None:
        """Calls what is kept."""
        due, self._due = self._due, []
        for call in due:
            call()


class Generous:
    """A desk that grants plenty at once, and a recorder that nothing is returned to."""

    def __init__(self, timers: Later) -> None:
        self._timers = timers

    def ask(self, asked: AskLeases, on_answer: Callable[[Leased | None], None]) -> None:
        """Grants."""
        grants = [Granted(need.account, GRANT) for need in asked.needs]
        answer = Leased(asked.sequence, grants, [], [])
        self._timers.call_later(0.0, lambda: on_answer(answer))

    def returned(
        self,
        returns: Sequence[tuple[str, int]] = (),
        on_durable: Callable[[bool], None] | None = None,
    ) -> None:
        """Never asked for."""


class Cost(NamedTuple):
    """Of one hold with its settlement, in µs."""

    what: str
    p50_us: float
    p99_us: float


def limited(limits: Limits) -> Registry:
    """An organization with a budget on every level, and a service with limits."""
    base = acme()
    budget = Budget((Window(GRANT, "month"),))
    (service,) = base.services.values()
    (tenant,) = base.tenants.values()
    ((unit_key, unit),) = base.units.items()
    return replace(
        base,
        budget=budget,
        tenants={tenant.id: replace(tenant, budget=budget)},
        units={unit_key: replace(unit, budget=budget)},
        services={service.id: replace(service, budget=budget, limits=limits)},
    )


def leased(registry: Registry) -> Holding:
    """A holding with plenty of leases."""
    timers, clock = Later(), SystemClock()
    desk = Generous(timers)
    holder = Holder("/bench/w0/01M7ZYY268B60B55WKWAKYFDS1", "boot", "disk")
    holding = Holding(Ports(desk, desk, clock, timers), holder)
    holding.take(registry, 1)
    path = holding.path(WHERE, MODEL, clock.now_ns())
    holding.wait(path, Need(1, 0, 1), lambda _: None, 1.0)
    for _ in range(20):
        timers.run()
    for number, slot in enumerate(path.rates):
        slot.fill(GRANT, float("inf"), number, 0.0)
    return holding


def one_cost(what: str, registry: Registry) -> Cost:
    """Measures one kind of path."""
    holding, now_ns = leased(registry), SystemClock().now_ns()
    clock = time.perf_counter_ns
    p50, p99 = [], []
    gc.collect()
    gc.freeze()
    for _ in range(ROUNDS):
        taken = []
        for _ in range(TIMES):
            began_ns = clock()
            path = holding.path(WHERE, MODEL, now_ns)
            need = Need(40_000, 0, 150)
            is_held = holding.hold(path, need, now_ns)
            holding.settle(path, need, 10_000, 150)
            taken.append(clock() - began_ns)
            if not is_held:
                raise SystemExit("it was not leased: nothing was measured")
        taken.sort()
        p50.append(taken[TIMES // 2] / 1e3)
        p99.append(taken[TIMES * 99 // 100] / 1e3)
    return Cost(what, sorted(p50)[ROUNDS // 2], sorted(p99)[ROUNDS // 2])


def report() -> None:
    """Prints the cost beside its goal."""
    function = Holding.hold
    how = "plain Python" if hasattr(function, "__code__") else "compiled"
    print(f"| hold + settle when leased, {how} | p50, µs | p99, µs | goal of p50 | |")
    print("|---|---|---|---|---|")
    rate = Rate(10**9, 60)
    for what, limits in (
        ("4 accounts", Limits()),
        ("and a permit", Limits(concurrency=100)),
        ("and two rates", Limits(requests=rate, tokens=rate, concurrency=100)),
    ):
        cost = one_cost(what, limited(limits))
        met = "met" if cost.p50_us <= GOAL_US else "NOT MET"
        print(
            f"| {cost.what} | {cost.p50_us:.1f} | {cost.p99_us:.1f} | ≤ {GOAL_US:g} |"
            f" {met} |"
        )


if __name__ == "__main__":
    report()
