import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from comptroller.core.credential import Credential, CredentialId, Secret, hash_secret
from comptroller.core.leasebook import Balance
from comptroller.core.rates import ModelRates, Step, rate_card
from comptroller.core.registry import ServiceId
from comptroller.core.usage import Pass, Reading
from comptroller.engine import records
from comptroller.engine.admission import Admission
from comptroller.engine.bounding import bounded
from comptroller.engine.desk import Desk
from comptroller.engine.hold_path import HoldPath, Need
from comptroller.engine.settlement import (
    COST_NANO_USD_MAX,
    NOTHING_READ,
    Reply,
    settle,
)
from comptroller.engine.snapshot import Snapshot
from comptroller.engine.verdicts import Admitted, Ask
from comptroller.testing.answered import CARD, acme
from comptroller.testing.system import FixedSecrets
from comptroller.wire.request import read_facts
from comptroller.wire.routes import match

OUTCOMES = ("completed", "upstream_error", "client_left", "cut", "upstream_broke")
a_name = st.none() | st.text(max_size=20_000) | st.just("gpt-5-mini")
a_usage = st.dictionaries(
    st.sampled_from(["input", "output", "cache_read", "reasoning"]),
    st.integers(0, 1 << 40),
)
readings = st.builds(
    Reading,
    st.lists(st.builds(Pass, a_name, a_usage), max_size=3).map(tuple),
    a_name,
    a_name,
    st.none() | st.sampled_from(["priority", "flex", "x" * 9999]),
    st.lists(st.just(b'{"a":\n1}'), max_size=600).map(tuple),
    st.none() | st.integers(0, 1 << 40),
    st.integers(0, 1 << 30),
    complete=st.booleans(),
)


def admitted() -> Admitted:
    route = match(b"POST", b"/v1/chat/completions")
    assert route is not None
    secret = Secret(hash_secret("good"), 0)
    credential = Credential(
        CredentialId("c1"), ServiceId("checkout-assistant"), "ada", 0, (secret,)
    )
    desk = Desk(Snapshot(1, 1, acme(), [credential], CARD), FixedSecrets({}))
    body = b'{"model":"gpt-5-mini","messages":[]}'
    verdict = Admission(desk).admit(Ask(route, b"good", body, b""), 1)
    assert isinstance(verdict, Admitted)
    return verdict


ADMITTED = admitted()


@settings(max_examples=300, deadline=None)
@given(readings, st.sampled_from(OUTCOMES), st.sampled_from([None, 200, 206]))
def test_a_settlement_is_one_bounded_record(
    reading: Reading, outcome: str, status: int | None
) -> None:
    """Whatever a provider says, its record has its shape and fits a journal."""
    settled = settle(ADMITTED, Reply("R", outcome, status, reading, 1, None))

    line = msgspec.json.encode(settled)

    assert len(line) < records.RECORD_BYTES_MAX // 2
    assert b"\n" not in line
    back = msgspec.json.decode(line, type=records.Settled)
    assert (back.usage, back.cost_nano_usd) == (settled.usage, settled.cost_nano_usd)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(OUTCOMES), st.integers(0, 1 << 20), st.booleans())
def test_what_states_no_usage_is_estimated_and_never_free(
    outcome: str, output_bytes: int, is_complete: bool
) -> None:
    """No usage and no error of the provider: at least a token each way, flagged."""
    reading = NOTHING_READ._replace(output_bytes=output_bytes, complete=is_complete)

    settled = settle(ADMITTED, Reply("R", outcome, 200, reading, 1, None))

    assert settled.usage_source == "estimated"
    assert settled.cost_source == "estimated"
    assert settled.usage["input"] >= 1
    guess = max(output_bytes // 4, 1)
    assert settled.usage["output"] >= min(guess, ADMITTED.hold.output_tokens)
    assert settled.cost_nano_usd <= ADMITTED.hold.nano_usd
    assert settled.cost_nano_usd > 0


def test_an_error_of_the_provider_costs_nothing() -> None:
    """A refusal by the provider without usage is booked at zero, with no source."""
    settled = settle(ADMITTED, Reply("R", "upstream_error", 500, NOTHING_READ, 1, 1))

    assert (settled.cost_nano_usd, settled.cost_source) == (0, "none")


@given(
    st.sampled_from([{}, {"input": 9}, {"output": 3}, {"cache_read": 4}]),
    st.sampled_from([200, 206, None]),
)
def test_a_usage_of_zero_beside_a_reply_is_not_free(
    stated: dict[str, int], status: int | None
) -> None:
    """Zeros that a provider states stay on record; the cost is a flagged estimate."""
    reading = Reading((Pass("m", stated),), "m", "r", None, (), None, 40, complete=True)

    settled = settle(ADMITTED, Reply("R", "completed", status, reading, 1, 1))

    assert (settled.usage, settled.usage_source) == (stated, "provider")
    assert settled.cost_source == "estimated"
    least = NOTHING_READ._replace(output_bytes=40)
    guess = settle(ADMITTED, Reply("R", "completed", status, least, 1, 1))
    assert settled.cost_nano_usd >= guess.cost_nano_usd // 2 > 0


def test_zeros_beside_an_error_are_free() -> None:
    """A provider that refuses and states zeros is owed nothing."""
    reading = Reading((Pass("m", {}),), "m", "r", None, (), None, 0, complete=True)

    settled = settle(ADMITTED, Reply("R", "upstream_error", 400, reading, 1, 1))

    assert (settled.cost_nano_usd, settled.cost_source) == (0, "none")


@given(
    st.lists(st.just(Pass("x", {"input": 10**12, "output": 10**12})), min_size=1),
    st.none() | st.just(10**16),
    st.booleans(),
)
def test_an_absurd_usage_does_not_outgrow_the_store(
    passes: list[Pass], stated: int | None, is_complete: bool
) -> None:
    """What no request can consume is estimated: it stays within 64-bit sums."""
    reading = Reading(tuple(passes), "m", "r", None, (), stated, 8, is_complete)

    settled = settle(ADMITTED, Reply("R", "completed", 200, reading, 1, 1))

    assert 0 < settled.cost_nano_usd <= COST_NANO_USD_MAX
    assert sum(settled.usage.values()) < 10**6
    assert settled.cost_source == "estimated"


def test_an_embedding_that_states_output_is_billed() -> None:
    """A class without a price does not stop the settlement: it is flagged."""
    rates = ModelRates("e", (Step(0, {"input": 5_000}),))
    entitlement = replace(ADMITTED.entitlement, rates=rates, card=rate_card("t", {}))
    usage = {"input": 4, "output": 6}
    reading = Reading((Pass("e", usage),), "e", "r", None, (), None, 0, complete=True)

    settled = settle(
        replace(ADMITTED, entitlement=entitlement),
        Reply("R", "completed", 200, reading, 1, 1),
    )

    assert (settled.cost_nano_usd, settled.cost_source) == (50, "estimated")


def test_a_usage_nested_too_deeply_is_left_out_of_the_record() -> None:
    """What a reader of the journal could not follow does not get into it."""
    deep = b'{"a":' + b"[" * 900 + b"]" * 900 + b"}"
    reading = NOTHING_READ._replace(raw=(deep,))

    settled = settle(ADMITTED, Reply("R", "completed", 200, reading, 1, 1))

    assert settled.usage_raw == []


BUDGET = HoldPath((Balance("service:s/total@all"),), (), (), ())
GROWING = HoldPath((), (Balance("service:s/total@all"),), (), ())


def limited(body: dict[str, object], path: HoldPath = BUDGET) -> Admitted:
    """A request whose budget rests on its bound."""
    entitlement = ADMITTED.entitlement
    data = msgspec.json.encode({"model": "gpt-5-mini", **body})
    facts = read_facts(entitlement.route, data)
    bound = bounded(entitlement, facts, data, is_limited=True)
    hold = bound.hold()
    need = Need(hold.nano_usd, hold.nano_usd // 4, 0)
    return replace(
        ADMITTED,
        facts=facts,
        body=data,
        body_bytes=len(data),
        hold=hold,
        bounded=bound,
        path=path,
        need=need,
    )


@given(
    st.sampled_from(["client_left", "cut", "upstream_broke"]),
    st.booleans(),
    st.integers(0, 1 << 30),
)
def test_an_image_is_not_estimated_by_its_bytes(
    outcome: str, stream: bool, output_bytes: int
) -> None:
    """No guess at a reply that broke off exceeds what was held for the request."""
    url = {"url": "data:image/png;base64," + "A" * 1_000_000}
    parts = [{"type": "image_url", "image_url": url}]
    messages = [{"role": "user", "content": parts}]
    one = limited({"messages": messages, "max_tokens": 100, "stream": stream})
    seen = NOTHING_READ._replace(output_bytes=output_bytes)

    settled = settle(one, Reply("R", outcome, 200, seen, 1, 1))

    assert 0 < settled.cost_nano_usd <= one.hold.nano_usd
    assert not settled.hold_exceeded


@given(
    st.sampled_from([(False, 0), (False, 4000), (True, 0), (True, 4000)]),
    st.sampled_from(["client_left", "cut", "upstream_broke", "completed"]),
    st.sampled_from([None, 200]),
)
def test_under_a_budget_what_no_usage_tells_is_booked_at_its_hold(
    seen: tuple[bool, int], outcome: str, status: int | None
) -> None:
    """A provider bills what it generated, unseen thoughts included."""
    stream, output_bytes = seen
    one = limited({"max_tokens": 100_000, "stream": stream})
    is_whole = outcome == "completed"
    reading = NOTHING_READ._replace(output_bytes=output_bytes, complete=is_whole)

    settled = settle(one, Reply("R", outcome, status, reading, 1, None))

    assert settled.cost_nano_usd == one.hold.nano_usd
    assert settled.usage_source == "hold"
    assert settled.usage["output"] == 100_000


def test_without_a_budget_what_was_seen_is_the_estimate() -> None:
    """Nothing rests on it but the report, which says that it is an estimate."""
    free = replace(limited({"max_tokens": 100_000}), path=HoldPath((), (), (), ()))
    seen = NOTHING_READ._replace(output_bytes=400)

    settled = settle(free, Reply("R", "upstream_broke", 200, seen, 1, 1))

    assert settled.usage["output"] == 100
    assert settled.usage_source == "estimated"


def test_a_prompt_that_the_provider_has_stated_is_not_guessed() -> None:
    """Anthropic's streams begin with it: only the output is booked as held."""
    one = limited({"max_tokens": 1000, "stream": True})
    stated = (Pass(None, {"input": 7, "cache_read": 3}),)
    reading = NOTHING_READ._replace(passes=stated, output_bytes=40)

    settled = settle(one, Reply("R", "client_left", 200, reading, 1, 1))

    assert settled.usage == {"input": 7, "cache_read": 3, "output": 1000}
    assert 0 < settled.cost_nano_usd < one.hold.nano_usd


def test_a_growing_hold_is_booked_as_far_as_it_had_grown() -> None:
    """What was never held cannot have been asked for by a slice: cost and tokens."""
    one = limited({"max_tokens": 100_000, "stream": True}, GROWING)
    assert one.need is not None

    settled = settle(one, Reply("R", "upstream_broke", None, NOTHING_READ, 1, 1))

    assert settled.cost_nano_usd == one.need.slice_nano_usd
    assert 24_000 < settled.usage["output"] < 25_000


@pytest.mark.parametrize(
    ("status", "is_free"), [(400, True), (429, True), (500, True), (504, False)]
)
def test_a_proxy_that_ran_out_of_time_is_not_a_refusal(
    status: int, is_free: bool
) -> None:
    """What the provider behind it may have billed is an estimate, never zero."""
    settled = settle(ADMITTED, Reply("R", "upstream_error", status, NOTHING_READ, 1, 1))

    assert (settled.cost_nano_usd == 0) is is_free
    assert (settled.cost_source == "none") is is_free
    assert (settled.usage_source == "estimated") is not is_free
