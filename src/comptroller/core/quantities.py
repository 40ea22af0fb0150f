"""Quantities as people write them: amounts, rates, shares, durations, prices."""

from __future__ import annotations

import re
from datetime import UTC, datetime, tzinfo
from decimal import Decimal, InvalidOperation
from typing import Final

from comptroller.core.money import NANO_PER_USD, NanoUsd, PicoUsd
from comptroller.core.registry import BUDGET_WINDOWS, Rate, Window

AMOUNT_PATTERN: Final = r"^[0-9]{1,10}(\.[0-9]{1,9})? USD$"
"""JSON Schema pattern of an amount, such as `500 USD`."""
LIMIT_PATTERN: Final = r"^[0-9]{1,10}(\.[0-9]{1,9})? USD(/(hour|day|week|month))?$"
"""JSON Schema pattern of an amount in a window, such as `1200 USD/month`."""
RATE_PATTERN: Final = r"^[0-9]{1,15}/(second|minute|hour|day)$"
"""JSON Schema pattern of a rate, such as `600/minute`."""
PERCENT_PATTERN: Final = r"^(100|[1-9][0-9]?)%$"
"""JSON Schema pattern of a share, such as `80%`."""
DURATION_PATTERN: Final = r"^[0-9]{1,9}(s|m|h|d|w)$"
"""JSON Schema pattern of a duration, such as `10m`."""
SIZE_PATTERN: Final = r"^[0-9]{1,9}(KiB|MiB|GiB)$"
"""JSON Schema pattern of a size, such as `32MiB`."""

USD_MAX: Final = 1_000_000_000
"""The largest amount; nano-dollars of it and of sums stay within 64 bits."""
PRICE_USD_PER_MILLION_MAX: Final = 100_000
"""Dearer than this per million tokens is a slip, such as a price per token."""
PRICE_USD_PER_UNIT_MAX: Final = 1000

_PICO_PER_USD: Final = 10**12
_TOKENS_PER_PRICE: Final = 10**6
_PERIOD_SECONDS: Final = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}
_DURATION_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_SIZE_BYTES: Final = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_NS: Final = 10**9

_LIMIT: Final = re.compile(
    r"(?P<sign>-?)(?P<before>[$€£¥]?) ?(?P<number>[0-9][0-9,_.']*)"
    r" ?(?P<after>[A-Za-z]+|[$€£¥])??"
    r"(?P<window>(?: ?/ ?| per | an? )[A-Za-z]+)?"
)
_PLAIN_NUMBER: Final = re.compile(r"[0-9]{1,10}(\.[0-9]{1,9})?")
_RATE: Final = re.compile(r"(?P<count>[0-9]{1,15})/(?P<period>[a-z]+)")
_LOOSE_RATE: Final = re.compile(
    r"(?P<count>[0-9][0-9,_]*) ?(?:/|per|an?)? ?(?P<period>[A-Za-z]+)"
)
_WINDOW_SYNONYMS: Final = {
    "h": "hour",
    "hr": "hour",
    "hourly": "hour",
    "d": "day",
    "daily": "day",
    "w": "week",
    "weekly": "week",
    "m": "month",
    "mo": "month",
    "mon": "month",
    "monthly": "month",
}
_PERIOD_SYNONYMS: Final = {
    "s": "second",
    "sec": "second",
    "rps": "second",
    "tps": "second",
    "m": "minute",
    "min": "minute",
    "rpm": "minute",
    "tpm": "minute",
    "h": "hour",
    "hr": "hour",
    "d": "day",
    "rpd": "day",
}


class QuantityError(ValueError):
    """A quantity cannot be read.

    Attributes:
        what: what is wrong.
        hint: what to write instead.
    """

    def __init__(self, what: str, hint: str) -> None:
        super().__init__(f"{what}; {hint}")
        self.what = what
        self.hint = hint


def window(text: str) -> Window:
    """Reads a limit on money, such as `1200 USD/month`, or `500 USD` for a total.

    Raises:
        QuantityError: it is no such limit, or not more than 0.
    """
    found = _LIMIT.fullmatch(text.strip())
    if found is None:
        raise QuantityError(
            f'"{text}" is not an amount of money',
            'write it like "1200 USD/month", or "500 USD" for a total',
        )
    currency = found["before"] or found["after"]
    named = re.sub(r"^( ?/ ?| per | an? )", "", found["window"] or "").lower()
    span = _WINDOW_SYNONYMS.get(named, named.removesuffix("s"))
    number = found["number"].replace(",", "").replace("_", "").replace("'", "")
    right = f"{number} USD" + (f"/{span}" if span and span != "total" else "")
    if found["sign"]:
        raise QuantityError(f'"{text}" is less than 0', f'did you mean "{right}"?')
    if not currency:
        raise QuantityError(f'"{text}" names no currency', f'did you mean "{right}"?')
    if currency not in {"USD", "usd", "Usd", "$"}:
        raise QuantityError(
            f'"{text}" is not in USD',
            f'amounts are in US dollars, such as "{right}"',
        )
    if span and span not in BUDGET_WINDOWS:
        raise QuantityError(
            f'"{named}" is not a window for a budget',
            'write "/hour", "/day", "/week" or "/month", or none of them for a total',
        )
    if text != right or not _PLAIN_NUMBER.fullmatch(number):
        raise QuantityError(
            f'"{text}" is not written as an amount',
            f'did you mean "{right}"?'
            if _PLAIN_NUMBER.fullmatch(number)
            else 'write it like "1200 USD/month", with 9 decimals at the most',
        )
    return Window(_positive(text, Decimal(number)), span or "total")


def total(text: str) -> Window:
    """Reads a fixed total, such as `500 USD`.

    Raises:
        QuantityError: it is no amount, or it names a window of time.
    """
    limit = window(text)
    if limit.window != "total":
        raise QuantityError(
            f'"{text}" renews itself, and this budget is a fixed total',
            f'write "{text.partition("/")[0]}"',
        )
    return limit


def spent_usd(text: str) -> NanoUsd:
    """Reads what was spent, such as `1.25 USD`, `1.25` or `0`.

    Raises:
        QuantityError: it is no amount.
    """
    plain = text.strip().removesuffix(" USD")
    if _PLAIN_NUMBER.fullmatch(plain) and not Decimal(plain):
        return NanoUsd(0)
    written = f"{plain} USD" if _PLAIN_NUMBER.fullmatch(plain) else text
    return NanoUsd(total(written).limit_nano_usd)


def rate(text: str) -> Rate:
    """Reads a rate, such as `600/minute`.

    Raises:
        QuantityError: it is no rate, or not more than 0.
    """
    found = _RATE.fullmatch(text)
    if found is None or found["period"] not in _PERIOD_SECONDS:
        loose = _LOOSE_RATE.fullmatch(text.strip())
        hint = 'write it like "600/minute": a whole number a second, minute, hour, day'
        if loose is not None:
            named = loose["period"].lower()
            period = _PERIOD_SYNONYMS.get(named, named.removesuffix("s"))
            if period in _PERIOD_SECONDS:
                count = loose["count"].replace(",", "").replace("_", "")
                hint = f'did you mean "{count}/{period}"?'
        raise QuantityError(f'"{text}" is not a rate', hint)
    count = int(found["count"])
    if count == 0:
        raise QuantityError(
            f'"{text}" would let nothing through',
            "a limit is more than 0; leave it out for no limit",
        )
    return Rate(count, _PERIOD_SECONDS[found["period"]])


def percent(text: str) -> int:
    """Reads a share, such as `80%`.

    Raises:
        QuantityError: it is not a whole percentage from 1% to 100%.
    """
    found = re.fullmatch(r"([0-9]{1,3})( ?%)?", text)
    share = int(found[1]) if found else 0
    if re.fullmatch(PERCENT_PATTERN, text):
        return share
    hint = "write a whole percentage from 1% to 100%"
    if 1 <= share <= 100:
        hint = f'did you mean "{share}%"?'
    raise QuantityError(f'"{text}" is not a percentage of the limit', hint)


def duration_s(text: str) -> int:
    """Reads a duration in seconds from such as `30s`, `10m`, `24h`, `7d`, `2w`.

    Raises:
        QuantityError: it is no duration, or not more than 0.
    """
    if not re.fullmatch(DURATION_PATTERN, text) or int(text[:-1]) == 0:
        raise QuantityError(
            f'"{text}" is not a duration',
            'write a whole number and s, m, h, d or w, such as "30s" or "10m"',
        )
    return int(text[:-1]) * _DURATION_SECONDS[text[-1]]


def size_bytes(text: str) -> int:
    """Reads a size in bytes from such as `512KiB`, `32MiB`, `1GiB`.

    Raises:
        QuantityError: it is no size, or not more than 0.
    """
    if not re.fullmatch(SIZE_PATTERN, text) or int(text[:-3]) == 0:
        raise QuantityError(
            f'"{text}" is not a size',
            'write a whole number and KiB, MiB or GiB, such as "32MiB"',
        )
    return int(text[:-3]) * _SIZE_BYTES[text[-3:]]


def price_per_token(written: str | int | Decimal) -> PicoUsd:
    """Reads USD per million tokens into pico-USD per token, exactly.

    Raises:
        QuantityError: it is no price, or finer than a pico-dollar per token.
    """
    return _price(
        written,
        pico_per_unit=_PICO_PER_USD // _TOKENS_PER_PRICE,
        usd_max=PRICE_USD_PER_MILLION_MAX,
        basis="million tokens",
    )


def price_per_unit(written: str | int | Decimal) -> PicoUsd:
    """Reads USD per unit (such as one web search) into pico-USD, exactly.

    Raises:
        QuantityError: it is no price, or finer than a pico-dollar.
    """
    return _price(
        written,
        pico_per_unit=_PICO_PER_USD,
        usd_max=PRICE_USD_PER_UNIT_MAX,
        basis="unit",
    )


def since_ns(text: str, now_ns: int, zone: tzinfo = UTC) -> int:
    """Reads the beginning of a span of time.

    Args:
        text: how long ago (`24h`, `7d`), a day (`2026-11-01`) or a moment
            (`2026-11-01T09:30`, with or without an offset).
        now_ns: the time, in nanoseconds since the Unix epoch.
        zone: where a day begins, and what a moment without an offset means.

    Returns:
        Nanoseconds since the Unix epoch.

    Raises:
        QuantityError: it is none of these.
    """
    if re.fullmatch(DURATION_PATTERN, text):
        return max(0, now_ns - duration_s(text) * _NS)
    try:
        moment = datetime.fromisoformat(text)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=zone)
        seconds = int(moment.timestamp())
    except (ValueError, OverflowError) as error:
        raise QuantityError(
            f'"{text}" is not a time',
            'write how long ago, such as "24h" or "7d", or a day: "2026-11-01"',
        ) from error
    return max(0, seconds * _NS + moment.microsecond * 1000)


def _positive(text: str, usd: Decimal) -> NanoUsd:
    if usd == 0:
        raise QuantityError(
            f'"{text}" would let nothing through',
            "a budget is more than 0; leave it out for no budget",
        )
    if usd > USD_MAX:
        raise QuantityError(
            f'"{text}" is more than any budget can be', f"at most {USD_MAX} USD"
        )
    return NanoUsd(int(usd * NANO_PER_USD))


def _price(
    written: str | int | Decimal, *, pico_per_unit: int, usd_max: int, basis: str
) -> PicoUsd:
    rule = f'write USD per {basis} as a plain number, such as "0.25"'
    try:
        value = Decimal(written)
    except InvalidOperation as error:
        raise QuantityError(f'"{written}" is not a price', rule) from error
    # Only then is `value * pico_per_unit` within what Decimal keeps exactly.
    if not value.is_finite() or len(value.as_tuple().digits) > 15:
        raise QuantityError(f'"{written}" is not a price', rule)
    if value < 0:
        raise QuantityError(f'"{written}" is less than 0', rule)
    if value > usd_max:
        raise QuantityError(
            f'"{written}" USD per {basis} is dearer than anything sold',
            f"prices are in USD per {basis}, at most {usd_max:,}",
        )
    pico = value * pico_per_unit
    if pico != pico.to_integral_value():
        places = len(str(pico_per_unit)) - 1
        raise QuantityError(
            f'"{written}" is finer than a millionth of a millionth of a dollar',
            f"write USD per {basis} with {places} decimals at the most",
        )
    return PicoUsd(int(pico))
