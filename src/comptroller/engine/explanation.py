"""Explanations: one request with everything that answers for it (design.md §8)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec

from comptroller.core.account import is_money
from comptroller.core.errors import UnpricedError
from comptroller.core.money import nano_from_pico
from comptroller.core.rates import (
    ModelRates,
    RateCard,
    billed_rates,
    price_lines,
)
from comptroller.core.registry import PersonId, Registry
from comptroller.core.timestamps import rfc3339
from comptroller.engine import attempts, records
from comptroller.engine.attempts import Earlier
from comptroller.engine.leasing import Lack
from comptroller.engine.ports import RequestRow

Document: TypeAlias = dict[str, Any]
"""JSON for a person or a program to read."""

_NOTES: Final = {
    "provider": "the provider itself stated this cost",
    "estimated": "estimated: the reply's usage or a rate was missing",
    "none": "nothing was billable",
}
_HELD: Final = "its worker died, so it is booked at its hold"


class Standing(NamedTuple):
    """A record and where it stands."""

    source: str
    offset: int
    line: bytes
    envelope: records.Envelope


class Case(NamedTuple):
    """All that is known of one request."""

    row: RequestRow
    decided: Standing
    ended: Standing | None
    registry: Registry | None
    """As applied now; names and addresses are taken from it."""
    revision: int
    card: Callable[[str], RateCard | None]
    earlier: Sequence[Earlier] = ()
    """Attempts at other deployments, first to last."""


def explain(case: Case) -> Document:
    """Answers for one request: who, which model, why, and what it came to.

    Raises:
        msgspec.DecodeError: a record is not of its type.
    """
    decided = msgspec.json.decode(case.decided.envelope.data, type=records.Decided)
    settled = _settled(case.ended)
    return {
        "people": people(case, decided),
        "model": {
            "asked": decided.model,
            "upstream": decided.model_upstream,
            "answered": case.row.model_answered,
            "provider": decided.provider,
            "dialect": decided.dialect,
            "service_tier": settled.service_tier if settled else None,
            "downgraded": _downgraded(decided),
        },
        "attempts": attempts.shown(case.earlier),
        "run": decided.run,
        "hold": {
            "nano_usd": decided.hold_nano_usd,
            "input_tokens": decided.hold_input_tokens,
            "output_tokens": decided.hold_output_tokens,
            "exceeded": settled.hold_exceeded if settled else False,
            "accounts": _held_on(decided),
        },
        "lack": None if decided.lack is None else _lack(decided, decided.lack),
        "cost": _cost(case, decided, settled),
        "controls": [msgspec.to_builtins(control) for control in decided.controls],
        "bundles": decided.bundles,
        "registry_revision": decided.registry_revision,
        "names_as_of_revision": case.revision,
        "records": {
            "decision": _record(case.decided),
            "end": _record(case.ended) if case.ended else None,
        },
    }


def people(case: Case, decided: records.Decided) -> Document:
    """Everyone who answers for a request, by role, as the decision named them."""
    roles = {
        "person": decided.person,
        "policy_owner": decided.owner_policy,
        "billing_owner": decided.owner_billing,
        "technical_owner": decided.owner_technical,
        "unit_owner": decided.owner_unit,
        "gateway_owner": decided.owner_gateway,
        "operator": decided.operator,
        "sponsor": decided.sponsor,
    }
    return {
        role: None if person is None else named(case.registry, person)
        for role, person in roles.items()
    }


def named(registry: Registry | None, person: str) -> Document:
    """A person with name and address; both None when no longer declared.

    Where they are not disclosed any more, the name is the id.
    """
    known = registry.people.get(PersonId(person)) if registry is not None else None
    return {
        "id": person,
        "name": known.name if known else None,
        "email": (known.email or None) if known else None,
    }


def _downgraded(decided: records.Decided) -> Document | None:
    """How a budget changed the model; None: none did."""
    by = decided.downgraded_by
    if by is None:
        return None
    return {
        "from": decided.downgraded_from,
        "to": by.use,
        "account": by.account,
        "percent": by.percent,
    }


def _held_on(decided: records.Decided) -> list[Document]:
    """Every account that it was held on when it was sent, widest first."""
    held = [
        *((account, decided.hold_nano_usd) for account in decided.hold_accounts),
        *(
            (account, decided.hold_slice_nano_usd)
            for account in decided.hold_progressive
        ),
    ]
    return [
        *({"account": account, "nano_usd": amount} for account, amount in held),
        *({"account": account, "requests": 1} for account in decided.hold_permits),
    ]


def _lack(decided: records.Decided, lack: Lack) -> Document:
    """The account that refused it, as it stood then; amounts in its own unit."""
    of_money = is_money(lack.account)
    needed = _needed(decided) if of_money else 1
    return {
        "account": lack.account,
        "unit": "nano_usd" if of_money else "requests",
        "limit": lack.limit,
        "spent": lack.spent,
        "held": lack.leased,
        "suspense": lack.suspense,
        "left": lack.free,
        "needed": needed,
        "short": max(0, needed - lack.free),
        "resets": None if lack.resets_ns is None else rfc3339(lack.resets_ns),
    }


def _needed(decided: records.Decided) -> int:
    """What its budget had no room for: the hold, or of a growing one a slice."""
    for control in decided.controls:
        if control.id == "budget" and isinstance(control.observed, int):
            return control.observed
    return decided.hold_nano_usd


def _settled(ended: Standing | None) -> records.Settled | None:
    if ended is None or ended.envelope.type != records.SETTLED:
        return None
    return msgspec.json.decode(ended.envelope.data, type=records.Settled)


def _record(standing: Standing) -> Document:
    """The exact bytes as text, and where they are found again."""
    return {
        "type": standing.envelope.type,
        "source": standing.source,
        "offset": standing.offset,
        "line": standing.line.decode(),
        "data": msgspec.json.decode(standing.envelope.data),
    }


def _cost(
    case: Case, decided: records.Decided, settled: records.Settled | None
) -> Document:
    """The cost and how it comes about: class by class, each with its rate."""
    cost: Document = {
        "nano_usd": case.row.cost_nano_usd,
        "source": settled.cost_source if settled else None,
        "rate_card": case.row.rate_card,
        "lines": [],
        "agrees": None,
        "note": None,
    }
    if settled is None:
        cost["note"] = _HELD if case.row.state == "abandoned" else None
        return cost
    cost["note"] = _NOTES.get(settled.cost_source)
    if settled.cost_source == "none":
        return cost
    card = case.card(settled.rate_card) if settled.rate_card else None
    if card is None:
        cost["note"] = f"rate card {settled.rate_card} is not kept here"
        return cost
    try:
        cost["lines"], summed = _calculation(card, decided, settled)
    except UnpricedError as error:
        cost["note"] = f"{cost['note']}; {error.message}"
        return cost
    if settled.cost_source == "rate_card":
        cost["agrees"] = summed == case.row.cost_nano_usd
    return cost


def _calculation(
    card: RateCard, decided: records.Decided, settled: records.Settled
) -> tuple[list[Document], int]:
    """The lines of each model that ran inside the reply, and their sum in nano-USD."""
    passes = [(one.model, one.usage) for one in settled.passes]
    if not passes:
        passes = [(settled.model_answered, settled.usage)]
    lines: list[Document] = []
    total = 0
    for answered, usage in passes:
        name = answered or settled.model_answered
        rates = _rates(card, decided, name, is_alone=len(passes) == 1)
        priced = price_lines(rates, usage, settled.service_tier)
        pico = rates.request_pico_usd + sum(line.amount_pico_usd for line in priced)
        total += nano_from_pico(pico)
        lines += [
            {"model": rates.model, "price": rates.source, **line._asdict()}
            for line in priced
        ]
        if rates.request_pico_usd:
            lines.append(_fee(rates))
    return lines, total


def _rates(
    card: RateCard, decided: records.Decided, answered: str | None, *, is_alone: bool
) -> ModelRates:
    asked = (decided.provider or "", decided.model_upstream or "")
    rates = billed_rates(card, asked, answered, is_alone=is_alone)
    if rates is None:
        raise UnpricedError(f"rate card {card.version} does not list {asked[1]!r}")
    return rates


def _fee(rates: ModelRates) -> Document:
    return {
        "model": rates.model,
        "price": rates.source,
        "usage_class": "request",
        "units": 1,
        "rate_class": "request",
        "rate_pico_usd": rates.request_pico_usd,
        "amount_pico_usd": rates.request_pico_usd,
    }
