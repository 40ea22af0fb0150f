"""Settlement: what a reply consumed, what that cost, and where both came from."""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec

from comptroller.core.bound import bound, demand_affordable
from comptroller.core.errors import UnpricedError
from comptroller.core.rates import ModelRates, billed_rates, price
from comptroller.core.usage import (
    GENERATED_CLASSES,
    PROMPT_CLASSES,
    Pass,
    Reading,
    Usage,
    UsageSource,
    merge,
    total,
)
from comptroller.engine import records
from comptroller.engine.desk import Entitlement
from comptroller.engine.recording import raw_usage
from comptroller.engine.verdicts import Admitted
from comptroller.wire.estimate import estimate_usage
from comptroller.wire.references import is_plain_id
from comptroller.wire.repeating import RAN_OUT_OF_TIME
from comptroller.wire.routes import Operation

NOTHING_READ: Final = Reading((), None, None, None, (), None, 0, complete=False)
"""The reading of a reply that never began."""

NAME_CHARACTERS_MAX: Final = 200
PASSES_MAX: Final = 64
"""What a provider says of itself is bounded: a settlement has to fit its record."""

TOKENS_MAX: Final = 10**12
COST_NANO_USD_MAX: Final = 10**15
"""A million dollars. What states more of one request is not believed, but estimated:
a store adds up 64-bit numbers, and one absurd reply must not end the books."""

_GENERATED: Final = frozenset(GENERATED_CLASSES)
_PROMPT: Final = frozenset(PROMPT_CLASSES)


class Reply(msgspec.Struct, frozen=True, gc=False):
    """How the upstream's part of a request went."""

    request_id: str
    outcome: str
    """`completed`, `upstream_error`, `client_left`, `cut`, `upstream_broke`."""
    status: int | None
    """None: no head arrived."""
    reading: Reading
    duration_us: int
    first_byte_us: int | None


class Bill(NamedTuple):
    """A usage with its cost, each with its source."""

    usage: Usage
    usage_source: UsageSource
    cost_nano_usd: int
    cost_source: str
    passes: list[records.Pass]


_NOTHING_OWED: Final = Bill({}, UsageSource.PROVIDER, 0, "none", [])


def settle(admitted: Admitted, reply: Reply) -> records.Settled:
    """Ends an allowed request with the truth, or with a flagged estimate.

    Never a silent zero: nothing is owed only where the provider itself refused
    (an error status without usage, but for a proxy's that ran out of time) or the
    route is free of charge.
    """
    bill = _believable(admitted, reply, _bill(admitted, reply))
    reading = reply.reading
    input_tokens = output_tokens = 0
    for name, count in bill.usage.items():
        if name in _GENERATED:
            output_tokens += count
        elif name in _PROMPT:
            input_tokens += count
    return records.Settled(
        decision_id=reply.request_id,
        outcome=reply.outcome,
        status=reply.status,
        model_answered=_shortened(reading.model_answered),
        response_id=_shortened(reading.response_id),
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        usage=bill.usage,
        usage_source=bill.usage_source,
        usage_raw=raw_usage(reading.raw),
        passes=bill.passes,
        service_tier=_shortened(reading.service_tier),
        rate_card=admitted.entitlement.rate_card,
        cost_nano_usd=bill.cost_nano_usd,
        cost_source=bill.cost_source,
        hold_exceeded=bill.cost_nano_usd > admitted.hold.nano_usd,
        duration_us=reply.duration_us,
        first_byte_us=reply.first_byte_us,
        stored=_stored(admitted, reply),
    )


def _stored(admitted: Admitted, reply: Reply) -> records.Stored | msgspec.UnsetType:
    """What the provider may have stored, where the reply names it."""
    model, route = admitted.entitlement.model, admitted.entitlement.route
    named = reply.reading.response_id
    if route.operation is not Operation.RESPONSES or named is None:
        return msgspec.UNSET
    if not is_plain_id(named) or (reply.status or 400) >= 400:
        return msgspec.UNSET
    items = [one for one in reply.reading.item_ids if is_plain_id(one)]
    return records.Stored(model.provider, model.id, named, items)


def _shortened(name: str | None) -> str | None:
    return name if name is None else name[:NAME_CHARACTERS_MAX]


def _bill(admitted: Admitted, reply: Reply) -> Bill:
    entitlement = admitted.entitlement
    rates = entitlement.rates
    if rates is None:  # a route that is free of charge: nothing else lacks rates
        return _NOTHING_OWED
    reading = reply.reading
    passes = reading.passes
    if not passes and _is_refused(reply):
        return _NOTHING_OWED
    if not passes or not reading.complete:
        return _estimated(admitted, rates, reading, merge(passes))
    if reading.stated_cost_nano_usd is not None:
        cost, source = reading.stated_cost_nano_usd, "provider"
        return Bill(merge(passes), UsageSource.PROVIDER, cost, source, [])
    if len(passes) == 1:
        one = passes[0]
        cost, source = _cost(entitlement, rates, one, reading)
        return Bill(one.usage, UsageSource.PROVIDER, cost, source, [])
    return _summed(entitlement, rates, reading)


def _is_refused(reply: Reply) -> bool:
    """Whether the provider itself turned the call away, so that it owes nothing.

    A proxy that ran out of time says nothing of what the provider behind it does.
    """
    status = reply.status
    return status is not None and status >= 400 and status not in RAN_OUT_OF_TIME


def _believable(admitted: Admitted, reply: Reply, bill: Bill) -> Bill:
    """The bill, unless no request can have consumed so little, or so much.

    Providers do state zeros beside what they have generated. The usage is booked as
    stated, but its cost is that of an estimate, and flagged: never a silent zero.
    """
    rates = admitted.entitlement.rates
    if rates is None or bill.cost_source == "none":
        return bill
    reading, usage = reply.reading, bill.usage
    asked = total(usage, PROMPT_CLASSES)
    made = total(usage, GENERATED_CLASSES)
    if asked + made > TOKENS_MAX or bill.cost_nano_usd > COST_NANO_USD_MAX:
        return _estimated(admitted, rates, reading, {})
    if bill.cost_source == "provider" or (asked and (made or not reading.output_bytes)):
        return bill
    if bill.usage_source == UsageSource.ESTIMATED:
        return bill
    if not asked and not made and _is_refused(reply):
        return _NOTHING_OWED
    cost = _estimated(admitted, rates, reading, usage).cost_nano_usd
    return bill._replace(
        cost_nano_usd=max(cost, bill.cost_nano_usd), cost_source="estimated"
    )


def _summed(entitlement: Entitlement, rates: ModelRates, reading: Reading) -> Bill:
    """Several models ran inside the reply: each is priced by its own rates."""
    booked = []
    source = "rate_card"
    for one in reading.passes:
        cost, found = _cost(entitlement, rates, one, reading)
        booked.append(records.Pass(_shortened(one.model), one.usage, cost))
        if found != source:
            source = found
    cost = sum(one.cost_nano_usd for one in booked)
    usage = merge(reading.passes)
    listed = booked if len(booked) <= PASSES_MAX else []
    return Bill(usage, UsageSource.PROVIDER, cost, source, listed)


def _cost(
    entitlement: Entitlement, rates: ModelRates, one: Pass, reading: Reading
) -> tuple[int, str]:
    """Prices one pass; flagged `estimated` where a rate is missing."""
    card, model = entitlement.card, entitlement.model
    named = one.model or reading.model_answered
    is_alone = len(reading.passes) == 1
    asked = (model.provider, model.upstream)
    rates = billed_rates(card, asked, named, is_alone=is_alone) or rates
    source = "rate_card"
    if not is_alone and named is not None and card.find(asked[0], named) is None:
        source = "estimated"  # another model ran, and the card does not know it
    try:
        return price(rates, one.usage, reading.service_tier), source
    except UnpricedError:
        return _at_most(rates, one.usage), "estimated"


def _at_most(rates: ModelRates, usage: Usage) -> int:
    prompt = total(usage, PROMPT_CLASSES)
    generated = total(usage, GENERATED_CLASSES)
    try:
        return bound(rates, prompt, generated)
    except UnpricedError:  # an embedding model has no price of what it generated
        return bound(rates, prompt + generated, 0)


def _estimated(
    admitted: Admitted, rates: ModelRates, reading: Reading, seen: Usage
) -> Bill:
    """A reply without its final usage: at least what was seen of it.

    Its bytes may be an image's: no guess exceeds what was held for the request. Where
    a budget rests on the bound, no guess will do: what is not stated may have been
    thought and not said, or generated after its client had left.
    """
    if admitted.path.needs_bound:
        return _held(admitted, seen)
    operation = admitted.entitlement.route.operation
    guess = estimate_usage(operation, admitted.body_bytes, reading.output_bytes)
    usage = dict(seen)
    if not total(usage, PROMPT_CLASSES):
        usage["input"] = min(guess["input"], admitted.hold.input_tokens or 1)
    made = min(guess.get("output", 0), admitted.hold.output_tokens or 1)
    lacking = made - total(usage, GENERATED_CLASSES)
    if lacking > 0:
        usage["output"] = usage.get("output", 0) + lacking
    cost = min(_priced(rates, usage, reading.service_tier), COST_NANO_USD_MAX)
    return Bill(usage, UsageSource.ESTIMATED, cost, "estimated", [])


def _held(admitted: Admitted, seen: Usage) -> Bill:
    """All that is held for a request, as where its worker died.

    A prompt whose tokens the provider has stated counts as stated.
    """
    hold, rates = admitted.hold, admitted.entitlement.rates
    cost, output = hold.nano_usd, hold.output_tokens
    if admitted.path.progressive:
        cost = admitted.need.slice_nano_usd
        if cost < hold.nano_usd:
            demand = admitted.bounded.demand
            covered = demand_affordable(demand, cost) * demand.generations
            output = min(output, max(0, covered))
    usage = {"input": hold.input_tokens, "output": output}
    if rates is not None and total(seen, PROMPT_CLASSES):
        usage = {**seen, "output": output}
        cost = min(cost, _priced(rates, usage, None))
    usage = {name: count for name, count in usage.items() if count}
    return Bill(usage, UsageSource.HOLD, cost, "estimated", [])


def _priced(rates: ModelRates, usage: Usage, tier: str | None) -> int:
    try:
        return price(rates, usage, tier)
    except UnpricedError:
        return _at_most(rates, usage)
