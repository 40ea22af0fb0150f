"""The witness: sees everything, and knows at once when a promise is broken.

What can only be said
when everything has come to rest is in verdict.py; refusals are in honesty.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from comptroller.core.leasebook import Balance
from comptroller.engine.hold_path import HoldPath
from comptroller.engine.waiting import Shortfall
from comptroller.testing.simulation.honesty import Honesty
from comptroller.testing.simulation.invariants import BrokenError
from comptroller.testing.simulation.plan import Asked
from comptroller.testing.simulation.scene import Scene, SeenExchange, SeenWorker

HELD: Final = "held"
SENT: Final = "sent"
SETTLED: Final = "settled"
RELEASED: Final = "released"
UNRECORDED: Final = "unrecorded"
LOST: Final = "lost"
"""Its worker died."""


@dataclass(slots=True)
class Case:
    """One allowed request."""

    exchange: SeenExchange
    decided_ns: int
    money: tuple[str, ...]
    permits: tuple[str, ...]
    rates: tuple[tuple[str, int], ...]
    bound: int
    cost: int
    state: str = HELD
    is_sent: bool = False
    ended_ns: int = 0
    """When it was settled or released; 0: not by its worker."""
    tokens_used: int = 0


class Witness:
    """Told of everything that happens to requests."""

    def __init__(self, world: Scene) -> None:
        self._world = world
        self.cases: dict[str, Case] = {}
        self.exposed: dict[str, int] = {}
        """By account: what is billed, or held by processes that live."""
        self.unanswered: dict[SeenExchange, None] = {}
        self.refusals: dict[str, int] = {}
        self.denied: dict[str, int] = {}
        """By account: how often it was what lacked."""
        self.unready_count = 0
        self.excess: dict[str, int] = {}
        """By account: what requests cost beyond what was held for them."""
        self.honesty = Honesty(world)
        self._projections = 0

    # -- requests --------------------------------------------------------------

    def unready(self, asked: Asked) -> None:
        """A worker that knows nothing yet refuses."""
        self._say(f"w{asked.worker}", "is not ready for a request")
        self.unready_count += 1

    def arrived(self, exchange: SeenExchange) -> None:
        """A request is to be decided on."""
        self.unanswered[exchange] = None

    def hold(self, exchange: SeenExchange, path: HoldPath, now_ns: int) -> bool:
        """Holds, and looks whether a refusal left everything as it was."""
        balances = _balances(path)
        before = [(one.available, one.held) for one in balances]
        holding = exchange.worker.holding
        if holding.hold(path, exchange.need, now_ns):
            return True
        after = [(one.available, one.held) for one in balances]
        if before != after:
            raise BrokenError(6, f"{exchange.id}: {before} became {after}")
        return False

    def held(self, exchange: SeenExchange, now_ns: int) -> None:
        """A request goes on; its decision is about to be recorded."""
        path, need = exchange.path, exchange.need
        assert path is not None  # noqa: S101
        tokens = exchange.asked.tokens[0]
        case = Case(
            exchange,
            now_ns,
            tuple(one.account for one in path.money),
            tuple(one.account for one in path.permits),
            tuple((one.id, one.units_of(tokens)) for one in path.rates),
            exchange.bound,
            exchange.cost,
        )
        held = {balance.account: amount for balance, amount in need.held or ()}
        if not path.is_empty and list(held) != [*case.money, *case.permits]:
            raise BrokenError(6, f"{exchange.id} is held on {sorted(held)} only")
        self.cases[exchange.id] = case
        self._say(exchange.worker.process.name, f"holds {case.bound} for {exchange.id}")
        for account in case.money:
            self._expose(account, case.bound, 3)
        for account in case.permits:
            self._expose(account, 1, 11)

    def sent(self, exchange: SeenExchange) -> None:
        """The provider has it: it will be billed, whatever happens here."""
        case = self.cases[exchange.id]
        case.state, case.is_sent = SENT, True
        if case.cost > case.bound:
            for account in case.money:
                more = case.cost - case.bound
                self.excess[account] = self.excess.get(account, 0) + more
        self._say(exchange.worker.process.name, f"sends {exchange.id}")

    def settled(self, exchange: SeenExchange) -> None:
        """What it cost is recorded, if that survives."""
        case = self.cases[exchange.id]
        case.state = SETTLED
        case.ended_ns = self._world.agenda.now_ns()
        case.tokens_used = exchange.asked.tokens[1]
        self._say(exchange.worker.process.name, f"settles {exchange.id} at {case.cost}")
        self._free(case, max(0, case.bound - case.cost))
        self.unanswered.pop(exchange, None)

    def released(self, exchange: SeenExchange) -> None:
        """Nothing was sent."""
        case = self.cases[exchange.id]
        case.state = RELEASED
        case.ended_ns = self._world.agenda.now_ns()
        self._say(exchange.worker.process.name, f"releases {exchange.id}")
        self._free(case, case.bound)
        self.unanswered.pop(exchange, None)

    def unrecorded(self, exchange: SeenExchange) -> None:
        """The journal failed: it is refused, and stays held until the worker dies."""
        self.cases[exchange.id].state = UNRECORDED
        self.unanswered.pop(exchange, None)

    def refused(self, exchange: SeenExchange, shortfall: Shortfall) -> None:
        """A limit had no room."""
        self.unanswered.pop(exchange, None)
        kind, lack = shortfall.kind, shortfall.lack
        self.refusals[kind] = self.refusals.get(kind, 0) + 1
        self._say(exchange.worker.process.name, f"refuses {exchange.id}: {shortfall}")
        if lack is not None:
            self.denied[lack.account] = self.denied.get(lack.account, 0) + 1
        if self._world.plan.is_calm:
            self.honesty.judge(exchange, shortfall)

    # -- processes ---------------------------------------------------------------

    def worker_died(self, worker: SeenWorker) -> None:
        """What it had under way is billed if it was sent, and holds nothing."""
        for case in self.cases.values():
            if case.exchange.worker is not worker:
                continue
            if case.state in {HELD, SENT, UNRECORDED}:
                left = case.bound if not case.is_sent else case.bound - case.cost
                case.state = LOST
                self._free(case, max(0, left))
        for exchange in list(self.unanswered):
            if exchange.worker is worker:
                del self.unanswered[exchange]

    def projected(self) -> None:
        """The store was written."""
        store = self._world.store
        for state in store.states():
            over = state.committed - state.unheld - state.effective
            if over > 0 or state.effective < state.limit:
                raise BrokenError(1, f"{state}")
        for worker in self._world.workers.values():
            if worker is None or not worker.process.is_alive:
                continue
            row = store.holder(worker.source)
            if row is not None and row.state != "live":
                raise BrokenError(8, f"{worker.source} lives, and is {row.state}")
        self._projections += 1
        if self._projections % 4 == 0:
            self.compare_leases(is_exact=False)

    def compare_leases(self, *, is_exact: bool) -> None:
        """What holders have, and what the centre thinks they have."""
        store = self._world.store
        for worker in self._world.workers.values():
            if worker is None or worker.holding.is_fenced:
                continue
            balances = worker.holding.book._balances  # noqa: SLF001  sees everything
            for balance in balances.values():
                lease = store.lease_state(worker.source, balance.account)
                left = 0 if lease is None else lease.left
                has = balance.available + balance.held
                is_wrong = has != left if is_exact else has > left
                if is_wrong or balance.available < 0 or balance.held < 0:
                    raise BrokenError(
                        2,
                        f"{worker.source} has {balance.available} and holds"
                        f" {balance.held} of {balance.account}; left by the books:"
                        f" {left}",
                    )

    # ----------------------------------------------------------------------------

    def _expose(self, account: str, amount: int, number: int) -> None:
        exposed = self.exposed.get(account, 0) + amount
        self.exposed[account] = exposed
        state = self._world.store.state(account)
        if state is None:
            raise BrokenError(number, f"{account} is held on, and is in no books")
        if exposed > state.effective:
            raise BrokenError(number, f"{exposed} billed and held of {state}")

    def _free(self, case: Case, amount: int) -> None:
        for account in case.money:
            self.exposed[account] -= amount
        for account in case.permits:
            self.exposed[account] -= 1

    def _say(self, who: str, what: str) -> None:
        if self._world.trace.is_read:
            self._world.trace.say(who, what)


def _balances(path: HoldPath) -> tuple[Balance, ...]:
    return path.money + path.progressive + path.permits
