from __future__ import annotations

import contextlib
import re
from datetime import UTC, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comptroller.core import quantities
from comptroller.core.quantities import QuantityError
from comptroller.core.registry import Rate, Window

NOW_NS = 1_795_000_000 * 10**9
HOUR_NS = 3600 * 10**9


@given(
    micros=st.integers(1, 10**15),
    window=st.sampled_from(["", "/hour", "/day", "/week", "/month"]),
)
def test_every_amount_is_read_to_the_nano_dollar(micros: int, window: str) -> None:
    """What is written as a decimal comes back exactly, in its window."""
    written = f"{micros // 10**6}.{micros % 10**6:06d} USD{window}"

    expected = Window(micros * 1000, window.removeprefix("/") or "total")
    assert quantities.window(written) == expected
    assert re.fullmatch(quantities.LIMIT_PATTERN, written)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("1,200 USD/month", "1200 USD/month"),
        ("1_200 USD", "1200 USD"),
        ("$500", "500 USD"),
        ("500$", "500 USD"),
        ("500 usd/day", "500 USD/day"),
        ("500USD", "500 USD"),
        ("500", "500 USD"),
        ("500/month", "500 USD/month"),
        ("-5 USD", "5 USD"),
        ("5 USD per day", "5 USD/day"),
        ("5 USD a week", "5 USD/week"),
        ("5 USD/monthly", "5 USD/month"),
        ("5 USD/total", "5 USD"),
    ],
)
def test_a_sloppy_amount_says_what_was_meant(written: str, meant: str) -> None:
    """An amount that people often write gets the right spelling as its hint."""
    with pytest.raises(QuantityError) as raised:
        quantities.window(written)

    assert raised.value.hint == f'did you mean "{meant}"?'
    assert quantities.window(meant).limit_nano_usd > 0


@pytest.mark.parametrize(
    "written",
    ["", "USD", "5 EUR", "€5", "5 USD/year", "0 USD", "0.00 USD/day", "5k USD",
     "1e3 USD", "0.0000000001 USD", "1000000001 USD", "5 USD/month/day", "NaN USD"],
)  # fmt: skip
def test_what_is_no_amount_is_refused(written: str) -> None:
    """Other currencies, other windows, nothing, and too much are refused."""
    with pytest.raises(QuantityError) as raised:
        quantities.window(written)

    assert raised.value.what
    assert raised.value.hint


def test_a_total_has_no_window() -> None:
    """A fixed total that names a window would renew itself."""
    assert quantities.total("2.50 USD") == Window(2_500_000_000, "total")
    with pytest.raises(QuantityError, match="renews itself"):
        quantities.total("2.50 USD/day")


@pytest.mark.parametrize(
    ("written", "nano"),
    [("1.25 USD", 1_250_000_000), ("1.25", 1_250_000_000), ("0", 0), ("0.00 USD", 0)],
)
def test_what_was_spent_may_be_nothing(written: str, nano: int) -> None:
    """Unlike a budget, what was spent may be 0; on a command line USD goes unsaid."""
    assert quantities.spent_usd(written) == nano


@pytest.mark.parametrize("written", ["", "-1", "1 EUR", "1 USD/day", "much", "1e3"])
def test_what_was_spent_is_an_amount(written: str) -> None:
    """Anything else is refused with what to write."""
    with pytest.raises(quantities.QuantityError):
        quantities.spent_usd(written)


@pytest.mark.parametrize(
    ("written", "rate"),
    [
        ("600/minute", Rate(600, 60)),
        ("10/second", Rate(10, 1)),
        ("5/hour", Rate(5, 3600)),
        ("1/day", Rate(1, 86400)),
    ],
)
def test_rates_are_a_count_in_a_period(written: str, rate: Rate) -> None:
    """A rate is so many in a second, minute, hour or day."""
    assert quantities.rate(written) == rate
    assert re.fullmatch(quantities.RATE_PATTERN, written)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("600/min", "600/minute"),
        ("600 rpm", "600/minute"),
        ("1,000 per hour", "1000/hour"),
        ("10/s", "10/second"),
        ("10 / minutes", None),
        ("600", None),
        ("-1/minute", None),
        ("0/minute", None),
        ("1/fortnight", None),
    ],
)
def test_what_is_no_rate_is_refused(written: str, meant: str | None) -> None:
    """A rate is refused, with the right spelling where it can be told."""
    with pytest.raises(QuantityError) as raised:
        quantities.rate(written)

    if meant is not None:
        assert raised.value.hint == f'did you mean "{meant}"?'


@given(st.integers(1, 100))
def test_percentages_are_whole(share: int) -> None:
    """Every whole percentage from 1% to 100% is read; without its sign it is not."""
    assert quantities.percent(f"{share}%") == share
    with pytest.raises(QuantityError, match=f'did you mean "{share}%"'):
        quantities.percent(str(share))


@pytest.mark.parametrize("written", ["0%", "101%", "5.5%", "-5%", "", "%", "half"])
def test_what_is_no_percentage_is_refused(written: str) -> None:
    """Shares that make no alert are refused."""
    with pytest.raises(QuantityError):
        quantities.percent(written)


@pytest.mark.parametrize(
    ("written", "seconds"),
    [("30s", 30), ("10m", 600), ("24h", 86400), ("7d", 604800), ("2w", 1209600)],
)
def test_durations_are_read_in_seconds(written: str, seconds: int) -> None:
    """A duration is a whole number and its unit."""
    assert quantities.duration_s(written) == seconds


@pytest.mark.parametrize("written", ["", "0s", "5", "5 m", "1.5h", "-1h", "1y", "1h1m"])
def test_what_is_no_duration_is_refused(written: str) -> None:
    """A duration that is empty, unitless or mixed is refused."""
    with pytest.raises(QuantityError):
        quantities.duration_s(written)


def test_sizes_are_read_in_bytes() -> None:
    """A size is a whole number and a binary unit."""
    assert quantities.size_bytes("32MiB") == 32 * 2**20
    for written in ("32MB", "32", "0KiB", "1.5GiB"):
        with pytest.raises(QuantityError):
            quantities.size_bytes(written)


@given(st.integers(0, 10**11))
def test_prices_are_exact_to_the_pico_dollar(pico: int) -> None:
    """USD per million tokens with six decimals is a whole number of pico-dollars."""
    written = Decimal(pico).scaleb(-6)

    assert quantities.price_per_token(str(written)) == pico
    assert quantities.price_per_token(written) == pico


@pytest.mark.parametrize(
    "written",
    ["x", "", "NaN", "inf", "-0.1", "0.0000001", "100000.01", "1e-400", "1e400",
     "1e-99999999999999999999", "0." + "1" * 40],
)  # fmt: skip
def test_what_is_no_price_is_refused(written: str) -> None:
    """A price that is no number, too fine or absurd is refused, never rounded."""
    with pytest.raises(QuantityError):
        quantities.price_per_token(written)


def test_unit_prices_are_usd_each() -> None:
    """A counted unit is priced by itself, not by the million."""
    assert quantities.price_per_unit("0.01") == 10**10


@pytest.mark.parametrize(
    ("written", "expected_ns"),
    [
        ("24h", NOW_NS - 24 * HOUR_NS),
        ("7d", NOW_NS - 7 * 24 * HOUR_NS),
        ("99999w", 0),
        ("2026-11-01", int(datetime(2026, 11, 1, tzinfo=UTC).timestamp()) * 10**9),
        (
            "2026-11-01T09:30:00.5+02:00",
            int(datetime(2026, 11, 1, 7, 30, tzinfo=UTC).timestamp()) * 10**9
            + 500_000_000,
        ),
    ],
)
def test_since_is_ago_or_a_day_or_a_moment(written: str, expected_ns: int) -> None:
    """A span begins so long ago, at the begin of a day, or at a moment."""
    assert quantities.since_ns(written, NOW_NS) == expected_ns


def test_a_day_begins_where_the_organization_is() -> None:
    """Without an offset a day begins by the clock of the zone."""
    zone = ZoneInfo("Europe/Amsterdam")

    summer = quantities.since_ns("2026-07-01", NOW_NS, zone)

    assert summer == int(datetime(2026, 6, 30, 22, tzinfo=UTC).timestamp()) * 10**9


@pytest.mark.parametrize("written", ["", "yesterday", "24", "2026-13-01", "1h ago"])
def test_what_is_no_time_is_refused(written: str) -> None:
    """A beginning that cannot be read says how to write one."""
    with pytest.raises(QuantityError, match="24h"):
        quantities.since_ns(written, NOW_NS)


@given(st.text(max_size=20))
def test_any_text_is_a_quantity_or_refused(text: str) -> None:
    """No text makes a reader fail otherwise than by its own error."""
    for read in (
        quantities.window,
        quantities.total,
        quantities.rate,
        quantities.percent,
        quantities.duration_s,
        quantities.size_bytes,
        quantities.price_per_token,
        quantities.price_per_unit,
    ):
        with contextlib.suppress(QuantityError):
            read(text)
