"""Refusals for want of room on a limit: how much, until when, and whom to ask."""

from __future__ import annotations

from datetime import datetime
from math import ceil
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from comptroller.core.account import Account, parse_account
from comptroller.core.budget_owner import budget_owner
from comptroller.core.registry import Registry, Service
from comptroller.engine.leasing import Lack, RateGranted
from comptroller.engine.refusals import Refusal, ask_owner, named

_NANO = 1_000_000_000
_PERIODS = {1: "a second", 60: "a minute", 3600: "an hour", 86400: "a day"}


REQUEST: Final = "this request"
BEGINNING: Final = "the beginning of this stream"
REST: Final = "the rest of this reply"
_CURE: Final = " With a lower maximum of output tokens it may fit."


class Asker(NamedTuple):
    """Whose request was refused."""

    service: Service
    registry: Registry


LEDGER_UNAVAILABLE = Refusal(
    503,
    "ledger_unavailable",
    "The gateway cannot make sure at present that the limits of this request have room"
    " for it, so it was not forwarded. Try again shortly; if that lasts, tell whoever"
    " runs the gateway.",
    retry=True,
)
BUSY = Refusal(
    503,
    "overloaded",
    "As many requests wait for room on their budgets as may wait; try again shortly.",
    retry=True,
)


def run_required(asker: Asker) -> Refusal:
    """A request of a service whose runs have a budget, without a run."""
    return Refusal(
        400,
        "run_required",
        f"Service {asker.service.id} has a budget for each run, and this request"
        " names none: send the header x-comptroller-run with an id of your run."
        + ask_owner(asker.service, asker.registry, "technical"),
    )


def unbounded(asker: Asker, what: str) -> Refusal:
    """A request whose cost has no upper bound, on a path with a budget."""
    return Refusal(
        400,
        "unbounded_request",
        f"What this request may cost has no upper bound, and service"
        f" {asker.service.id} has a budget that must hold: {what}.",
    )


def budget_exhausted(
    asker: Asker,
    need_nano_usd: int,
    lack: Lack,
    free_nano_usd: int,
    what: str = REQUEST,
) -> Refusal:
    """A budget without room for what the request may cost.

    Args:
        asker: whose request it is.
        need_nano_usd: what that may cost.
        lack: the budget, as the centre knows it.
        free_nano_usd: what could be held of it here, leases included.
        what: has no room: REQUEST, BEGINNING or REST.
    """
    account = parse_account(lack.account)
    registry = asker.registry
    held = lack.limit - lack.spent - lack.suspense - free_nano_usd
    left = _usd(free_nano_usd)
    suspense = f", in suspense {_usd(lack.suspense)}" if lack.suspense else ""
    return Refusal(
        400,
        "budget_exhausted",
        f"The budget of {_scope(account)} does not have room for {what}, which"
        f" may cost up to {_usd(need_nano_usd)} USD: limit {_usd(lack.limit)} USD"
        f"{_per(account)}, spent {_usd(lack.spent)}, held or leased"
        f" {_usd(max(0, held))}{suspense}, left {left}; short by"
        f" {_usd(max(0, need_nano_usd - free_nano_usd))} USD."
        f"{_CURE if what == REQUEST else ''}"
        f"{_resets(lack.resets_ns, registry)}{_owner(account, asker)}",
    )


def concurrency(lack: Lack) -> Refusal:
    """As many requests under way as may be."""
    account = parse_account(lack.account)
    return Refusal(
        429,
        "concurrency_limited",
        f"As many requests of {_scope(account)} are under way as may be at once:"
        f" {lack.limit}. Try again when one has ended.",
        retry=True,
    )


def rate_limited(
    rate: RateGranted, period_s: int, units: int, headers: bytes
) -> Refusal:
    """A rate limit without room.

    Args:
        rate: how it stands.
        period_s: of the limit.
        units: what the request may use.
        headers: its state in the caller's dialect.
    """
    scope, _, unit = rate.limit.rpartition("/")
    kind, _, key = scope.partition(":")
    limit = f"{rate.burst:,} {unit} {_PERIODS[period_s]}"
    if rate.retry_after_s < 0:
        return Refusal(
            400,
            "rate_limit_too_small",
            f"This request may use {units:,} {unit}, more than {kind} {key} may use at"
            f" once: its limit is {limit}. Ask for less output, or for a higher"
            " limit.",
        )
    wait_s = max(1, ceil(rate.retry_after_s))
    return Refusal(
        429,
        "rate_limited",
        f"The rate limit of {kind} {key} has no room for this request: {limit},"
        f" {rate.remaining:,} left, and it may use {units:,}."
        f" Try again in {wait_s} s.",
        retry=True,
        retry_after_s=wait_s,
        headers=headers,
    )


def provider_rate_limited(provider: str, wait_s: float) -> Refusal:
    """A provider that refused others for its own rate, and said for how long."""
    seconds = max(1, ceil(wait_s))
    return Refusal(
        429,
        "provider_rate_limited",
        f"Provider {provider} takes no requests for this model at present; it asked"
        f" to be left alone. Try again in {seconds} s.",
        retry=True,
        retry_after_s=seconds,
    )


def _usd(nano_usd: int) -> str:
    """Dollars to the cent, and further as far as an amount is small."""
    whole, rest = divmod(nano_usd, _NANO)
    digits = f"{rest:09d}"
    kept = digits.rstrip("0") if whole == 0 else digits[:4].rstrip("0")
    return f"{whole}.{kept.ljust(2, '0')}"


def _scope(account: Account) -> str:
    return f"{account.scope} {account.key}"


def _per(account: Account) -> str:
    return " in all" if account.window == "total" else f" a {account.window}"


def _resets(resets_ns: int | None, registry: Registry) -> str:
    if resets_ns is None:
        return " It does not reset."
    zone = ZoneInfo(registry.timezone)
    moment = datetime.fromtimestamp(resets_ns // _NANO, zone)
    return f" It resets at {moment:%Y-%m-%d %H:%M} ({registry.timezone})."


def _owner(account: Account, asker: Asker) -> str:
    """Who owns the budget, and is to be asked for more of it."""
    service, registry = asker
    person = budget_owner(registry, account.scope, account.key, lambda _: service.id)
    found = registry.people.get(person)
    return f" {named(found)} owns it; ask them for more." if found else ""
