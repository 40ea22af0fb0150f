"""A small organization with every kind of limit, and records of what was spent."""

from __future__ import annotations

from dataclasses import replace
from typing import Final
from zoneinfo import ZoneInfo

import msgspec

from comptroller.core.account import Account, parse_account
from comptroller.core.registry import (
    Budget,
    Downgrade,
    Limits,
    ModelId,
    Registry,
    Service,
    Window,
)
from comptroller.core.window import span_at
from comptroller.engine import records
from comptroller.engine.ports import Clock, Ids, Journal
from comptroller.engine.registry_fold import registry_objects
from comptroller.testing.answered import acme
from comptroller.testing.script import Script

USD: Final = 10**9
SERVICE: Final = "checkout-assistant"
CREDENTIAL: Final = "cred-1"
RUN: Final = "nightly-7"


def budgeted() -> Registry:
    """`acme` with a budget at every scope but the tenant."""
    registry = acme()
    units = {
        key: replace(unit, budget=Budget((Window(5000 * USD, "month"),)))
        for key, unit in registry.units.items()
    }
    services = {key: _limited(one) for key, one in registry.services.items()}
    models = {
        key: replace(one, limits=Limits(concurrency=8))
        for key, one in registry.models.items()
    }
    organization = Budget((Window(20_000 * USD, "month"),))
    return replace(
        registry, budget=organization, units=units, services=services, models=models
    )


def _limited(service: Service) -> Service:
    return replace(
        service,
        budget=Budget(
            (Window(1200 * USD, "month"), Window(100 * USD, "day")),
            (50, 80),
            on_shortfall="clamp",
            on_threshold=(
                Downgrade(50, ModelId("gpt-5-nano")),
                Downgrade(90, ModelId("tiny")),
            ),
        ),
        limits=Limits(concurrency=50),
        credential_budget=Budget((Window(10 * USD, "hour"),)),
        run_budget=Window(2 * USD, "total"),
    )


class BudgetedDay:
    """Writes the records of one worker's requests, and of the leases they are from.

    Args:
        control: journal of a process that administers.
        worker: journal of the worker; its source is the holder.
        clock: whose time the records have.
        ids: of the records.
    """

    def __init__(
        self, control: Journal, worker: Journal, clock: Clock, ids: Ids
    ) -> None:
        self.control = Script(control, clock, ids)
        self.worker = Script(worker, clock, ids)
        self.holder = worker.source
        self._clock = clock
        self._asks = 0

    def apply(self, registry: Registry) -> None:
        """Applies a registry as revision 1, and issues its credential."""
        objects = {
            (one.kind, one.id): msgspec.json.decode(one.body)
            for one in registry_objects(registry)
        }
        self.control.applied(1, objects)
        self.control.issued(CREDENTIAL)

    def joined(self) -> None:
        """The worker may be granted leases from now on."""
        self._say(
            records.HOLDER_JOINED,
            records.HolderJoined(holder=self.holder, boot="boot-1", durability="disk"),
        )

    def account(self, name: str) -> Account:
        """The account of a budget (`service:s/month`) in its window now."""
        parts = parse_account(f"{name}@-")
        zone = ZoneInfo(acme().timezone)
        label = span_at(parts.window, zone, self._clock.now_ns()).label
        return parts._replace(label=label)

    def granted(self, name: str, amount: int, limit: int) -> str:
        """A grant from a budget at its window now; returns the account's id."""
        account = self.account(name)
        zone = ZoneInfo(acme().timezone)
        span = span_at(account.window, zone, self._clock.now_ns())
        self._asks += 1
        lease = records.GrantedLease(
            account=account.id,
            amount=amount,
            limit=limit,
            starts_ns=span.starts_ns,
            ends_ns=span.ends_ns,
        )
        granted = records.LeaseGranted(
            holder=self.holder, sequence=self._asks, grants=[lease]
        )
        self._say(records.LEASE_GRANTED, granted)
        return account.id

    def held(self, request_id: str, nano_usd: int, *names: str) -> None:
        """A request that is under way, held on these budgets; the run's among them."""
        accounts = [self.account(name).id for name in names]
        of_run = any(name.startswith("run:") for name in names)
        self.worker.decided(
            request_id,
            {
                "comptroller.hold.nano_usd": nano_usd,
                "comptroller.hold.accounts": [
                    one for one in accounts if not one.endswith("@now")
                ],
                "comptroller.hold.permits": [
                    one for one in accounts if one.endswith("@now")
                ],
                "comptroller.run": RUN if of_run else None,
            },
        )

    def settled(self, request_id: str, cost: int) -> None:
        """Its end."""
        self.worker.settled(request_id, cost, {"input": 10})

    def suspended(self, account: str, amount: int) -> None:
        """The worker is lost, and its journal with it."""
        lease = records.ReturnedLease(account=account, amount=amount)
        lost = records.LeaseSuspended(
            holder=self.holder, reason="its journal is gone", leases=[lease]
        )
        self._say(records.LEASE_SUSPENDED, lost)

    def limit_changed(self, account: str, limit: int, effective: int) -> None:
        """A limit was declared anew."""
        changed = records.LimitChanged(
            account=account, limit=limit, effective=effective
        )
        self._say(records.LIMIT_CHANGED, changed)

    def crossed(self, account: str, percent: int, spent: int, limit: int) -> None:
        """A threshold was crossed."""
        crossing = records.ThresholdCrossed(
            account=account, percent=percent, spent_nano_usd=spent, limit_nano_usd=limit
        )
        self._say(records.THRESHOLD_CROSSED, crossing)

    def _say(self, kind: str, data: msgspec.Struct) -> None:
        self.control.append(kind, "ledger", msgspec.to_builtins(data))
