"""A request whose path has limits: it waits, shrinks, grows, or is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from tests.unit.gateway.place import LeasingPlace, chat, on_a_loop, snapshot

from comptroller.core.gcra import Bucket
from comptroller.core.registry import Budget, Limits, Rate, Service, Window
from comptroller.engine import refusals
from comptroller.engine.ports import ReplySink
from comptroller.gateway.exchange import Exchange, Stage
from comptroller.testing.answered import acme
from comptroller.testing.both_ends import Listening
from comptroller.testing.deployed import CREDENTIAL, SERVICE
from comptroller.testing.system import Wall
from comptroller.testing.upstream import CHAT

ACCOUNT = "service:checkout-assistant/total@all"
PERMITS = "service:checkout-assistant/parallel@now"
USD = 10**9
OUTPUT_NANO_USD = 2000
"""Of a generated token; a token of the prompt costs an eighth."""


class Place(LeasingPlace):
    """A worker whose service has limits."""

    def __init__(self, service: Service) -> None:
        super().__init__(snapshot(CREDENTIAL, service))

    def ask(
        self, body: dict[str, object], run: bytes = b""
    ) -> tuple[Exchange, Listening]:
        """Begins a request."""
        return self.begin(chat(body, run))

    def pass_time(self, seconds: float = 1.0) -> None:
        """Lets everything happen that is due."""
        self.timers.advance(seconds)

    def sent(self, index: int = 0) -> dict[str, Any]:
        """The body that the provider got."""
        body: dict[str, Any] = json.loads(self.upstreams.calls[index][0].body)
        return body

    def held(self, account: str) -> int:
        """What is held of an account."""
        return self.holding.book.balance(account).held


def service(**said: Any) -> Service:  # noqa: ANN401  fields of many types
    return replace(acme().services[SERVICE], **said)


def budget(usd: float, on_shortfall: str = "refuse", hold: str = "full") -> Budget:
    windows = (Window(int(usd * USD), "total"),)
    return Budget(windows, on_shortfall=on_shortfall, hold=hold)


def played(play: Callable[[Place], None], one: Service) -> Place:
    return on_a_loop(play, lambda: Place(one))


def outcome_of(control: str, decided: dict[str, Any]) -> object:
    """What a control said of a request."""
    (found,) = [one for one in decided["comptroller.controls"] if one["id"] == control]
    return found["outcome"]


def test_a_request_waits_for_its_lease_and_then_goes_on() -> None:
    """No lease at hand: nothing is decided before the centre has granted one."""

    def play(place: Place) -> None:
        place.centre.limits[ACCOUNT] = USD
        place.ask({"max_tokens": 100})
        assert place.records("decided") == []
        assert place.upstreams.calls == []
        place.pass_time(0.1)
        (decided,) = place.records("decided")
        assert decided["comptroller.hold.accounts"] == [ACCOUNT]
        assert decided["comptroller.hold.nano_usd"] >= 100 * OUTPUT_NANO_USD
        place.answer(0)
        assert place.sent()["max_tokens"] == 100

    place = played(play, service(budget=budget(1)))

    assert place.floor.waiting == set()
    assert place.held(ACCOUNT) == 0


def test_without_room_the_refusal_says_limit_spent_left_and_whom_to_ask() -> None:
    """400, no retry, the figures, the owner, the request id; recorded as denied."""

    def play(place: Place) -> None:
        place.centre.limits[ACCOUNT] = USD
        place.centre.spent[ACCOUNT] = USD - 5000
        _, client = place.ask({"max_tokens": 100})
        place.pass_time()
        said = client.said.decode()
        assert client.code == "budget_exhausted"
        assert " 400 " in said.partition("\r\n")[0]
        assert "x-should-retry: false" in said
        for figure in ("limit 1.00 USD", "spent 0.999995", "left 0.000005", "short by"):
            assert figure in said
        assert "owns it; ask them for more" in said
        assert "Request 0000" in said

    place = played(play, service(budget=budget(1)))

    (decided,) = place.records("decided")
    assert decided["result"] == "deny"
    controls = {one["id"]: one for one in decided["comptroller.controls"]}
    assert controls["budget"]["limit"] == 5000
    assert outcome_of("budget", decided) == "deny"
    assert outcome_of("concurrency", decided) == "not_applicable"
    assert place.upstreams.calls == []


def test_where_the_budget_allows_it_the_output_is_lowered_to_what_fits() -> None:
    """`on_shortfall: clamp`: the provider gets a ceiling that the rest pays for."""

    def play(place: Place) -> None:
        place.centre.limits[ACCOUNT] = 3_000_000
        place.ask({})
        place.pass_time()
        (decided,) = place.records("decided")
        assert decided["result"] == "allow"
        held = decided["comptroller.hold.nano_usd"]
        assert held <= 3_000_000
        ceiling = place.sent()["max_completion_tokens"]
        assert held + OUTPUT_NANO_USD > 3_000_000
        assert outcome_of("budget", decided) == "clamp"
        assert ceiling == decided["comptroller.hold.output_tokens"]

    played(play, service(budget=budget(0.003, on_shortfall="clamp")))


def test_without_a_maximum_of_its_own_a_ceiling_is_put_into_the_request() -> None:
    """The hold is a bound only because the provider enforces it."""

    def play(place: Place) -> None:
        place.centre.limits[ACCOUNT] = 1000 * USD
        place.ask({})
        place.pass_time()
        (decided,) = place.records("decided")
        field = (
            "max_tokens" if "max_tokens" in place.sent() else "max_completion_tokens"
        )
        assert place.sent()[field] == decided["comptroller.hold.output_tokens"]

    played(play, service(budget=budget(1000)))


def test_a_higher_maximum_than_the_services_is_lowered_to_it() -> None:
    """limits.output_tokens: enforced upstream, with and without a budget; recorded."""

    def play(place: Place) -> None:
        place.ask({"max_tokens": 5000})
        place.ask({"max_tokens": 20})
        assert place.sent(0)["max_tokens"] == 64
        assert place.sent(1)["max_tokens"] == 20
        first, second = place.records("decided")
        assert outcome_of("token_ceiling", first) == "clamp"
        assert outcome_of("token_ceiling", second) == "pass"

    played(play, service(limits=Limits(output_tokens=64)))


def test_a_client_that_leaves_while_it_waits_leaves_nothing_behind() -> None:
    """Nothing was decided: nothing is held, recorded or sent."""

    def play(place: Place) -> None:
        place.centre.limits[ACCOUNT] = USD
        exchange, _ = place.ask({"max_tokens": 100})
        exchange.client_left()
        place.pass_time(0.2)
        assert exchange.stage is Stage.ENDED

    place = played(play, service(budget=budget(1)))

    assert place.records("decided") == []
    assert place.upstreams.calls == []
    assert place.floor.waiting == set()
    assert place.held(ACCOUNT) == 0


def test_a_decision_that_cannot_be_recorded_holds_nothing() -> None:
    """The disk does not keep up for a moment: 503, and all its room is free again."""

    def play(place: Place) -> None:
        place.centre.limits[ACCOUNT] = USD
        place.ask({"max_tokens": 100})
        place.pass_time(0.1)
        place.answer(0)
        place.journal.failed = True
        _, client = place.ask({"max_tokens": 100})
        assert client.code == "journal_unavailable"
        place.journal.failed = False
        assert len(place.upstreams.calls) == 1

    place = played(play, service(budget=budget(1)))

    assert place.floor.exchanges == set()
    assert place.held(ACCOUNT) == 0


def test_one_too_many_at_once_is_told_429() -> None:
    """limits.concurrency: the second waits shortly, then 429 with Retry-After."""

    def play(place: Place) -> None:
        place.centre.limits[PERMITS] = 1
        place.ask({"max_tokens": 5})
        place.pass_time(0.1)
        _, client = place.ask({"max_tokens": 5})
        place.pass_time()
        assert client.code == "concurrency_limited"
        assert b" 429 " in client.said
        assert b"retry-after: 1" in client.said
        assert len(place.upstreams.calls) == 1

    played(play, service(limits=Limits(concurrency=1)))


def test_a_rate_without_room_is_told_when_to_come_again() -> None:
    """429, a truthful Retry-After, and the limit's state in the caller's dialect."""

    def play(place: Place) -> None:
        place.centre.buckets["service:checkout-assistant/requests"] = Bucket(2, 60)
        for _ in range(2):
            place.ask({"max_tokens": 5})
            place.pass_time(0.01)
        _, client = place.ask({"max_tokens": 5})
        place.pass_time(0.01)
        assert client.code == "rate_limited"
        assert b"retry-after: 30\r\n" in client.said
        assert b"x-ratelimit-limit-requests: 2\r\n" in client.said
        assert b"x-ratelimit-remaining-requests: 0\r\n" in client.said
        assert b"2 requests a minute, 0 left, and it may use 1." in client.said
        assert len(place.upstreams.calls) == 2

    played(play, service(limits=Limits(requests=Rate(2, 60))))


def test_replies_show_our_rate_limits_and_not_the_providers() -> None:
    """The caller's limit is ours: the provider's would mislead it."""

    def play(place: Place) -> None:
        place.centre.buckets["service:checkout-assistant/requests"] = Bucket(2, 60)
        _, client = place.ask({"max_tokens": 5})
        place.pass_time(0.01)
        sink = place.sink(0)
        theirs = (b"X-RateLimit-Remaining-Requests", b"9999")
        sink.on_head(200, [(b"content-type", b"application/json"), theirs])
        sink.on_data(CHAT)
        sink.on_end()
        assert b"x-ratelimit-remaining-requests: 1\r\n" in client.said
        assert b"9999" not in client.said

    played(play, service(limits=Limits(requests=Rate(2, 60))))


def test_a_provider_that_says_429_is_left_alone_for_as_long_as_it_says() -> None:
    """Its own limit fills its own bucket: others are told without asking it."""

    def play(place: Place) -> None:
        _, first = place.ask({"max_tokens": 5})
        sink = place.sink(0)
        sink.on_head(429, [(b"Retry-After", b"7")])
        sink.on_end()
        assert b" 429 " in first.said
        _, second = place.ask({"max_tokens": 5})
        assert second.code == "provider_rate_limited"
        assert b"retry-after: 7\r\n" in second.said
        place.clock.advance(7.1)
        place.ask({"max_tokens": 5})
        assert len(place.upstreams.calls) == 2

    played(play, service())


def test_a_service_with_a_run_budget_needs_a_run() -> None:
    """Refused without one; with one its account is on the path."""

    def play(place: Place) -> None:
        _, client = place.ask({"max_tokens": 5})
        assert client.code == "run_required"
        run = "run:checkout-assistant/job-7/total@all"
        place.centre.limits[run] = USD
        place.ask({"max_tokens": 5}, b"job-7")
        place.pass_time(0.1)
        decided = place.records("decided")[-1]
        assert decided["comptroller.run"] == "job-7"
        assert decided["comptroller.hold.accounts"] == [run]

    played(play, service(run_budget=Window(USD, "total")))


def test_what_a_client_calls_its_run_is_hashed_unless_it_is_a_plain_id() -> None:
    """A prompt or a secret in the header does not get into a record."""

    def play(place: Place) -> None:
        place.ask({"max_tokens": 5}, b"please summarise: the merger")
        place.ask({"max_tokens": 5}, b"sk-live-0123456789")

    place = played(play, service())

    for decided in place.records("decided"):
        assert decided["comptroller.run"].startswith("sha256-")


def chunk(text: str) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    event = {"object": "chat.completion.chunk", "model": "m", "choices": [choice]}
    return b"data: " + json.dumps(event).encode() + b"\n\n"


def streaming(place: Place, limit: int) -> tuple[Listening, ReplySink]:
    place.centre.limits[ACCOUNT] = limit
    _, client = place.ask({"stream": True, "max_tokens": 8000})
    place.pass_time(0.1)
    sink = place.sink(0)
    sink.on_head(200, [(b"content-type", b"text/event-stream")])
    return client, sink


def test_a_progressive_hold_grows_with_its_stream() -> None:
    """First a slice of output is held, then more; each step is recorded."""

    def play(place: Place) -> None:
        _, sink = streaming(place, USD)
        (decided,) = place.records("decided")
        assert decided["comptroller.hold.accounts"] == []
        assert decided["comptroller.hold.progressive"] == [ACCOUNT]
        first = decided["comptroller.hold.slice_nano_usd"]
        assert first < decided["comptroller.hold.nano_usd"]
        for _ in range(4):
            sink.on_data(chunk("x" * 400))
            place.pass_time(0.01)
        sizes = [
            one["comptroller.hold.slice_nano_usd"] for one in place.records("extended")
        ]
        assert sizes == sorted({*sizes})
        assert sizes[0] == first + 1024 * OUTPUT_NANO_USD
        assert place.held(ACCOUNT) == sizes[-1]

    place = played(play, service(budget=budget(1, hold="progressive")))

    assert not place.upstreams.is_paused


def test_a_stream_whose_hold_cannot_grow_is_ended_in_its_dialect() -> None:
    """The budget has two slices: the stream is cut at their end, and settled."""

    def play(place: Place) -> None:
        client, sink = streaming(place, 5_000_000)
        for _ in range(12):
            if not place.upstreams.aborted:
                sink.on_data(chunk("x" * 400))
            place.pass_time(0.5)
        assert place.upstreams.aborted
        for said in (b"budget_exhausted", b"rest of this reply", b" Request "):
            assert said in client.said
        (settled,) = place.records("settled")
        assert settled["outcome"] == "cut"
        assert settled["comptroller.cost.nano_usd"] <= 5_000_000
        assert settled["comptroller.usage"]["output"] * OUTPUT_NANO_USD <= 5_000_000
        _, second = place.ask({"stream": True, "max_tokens": 8000})
        place.pass_time(0.5)
        assert b"the beginning of this stream, which may cost up to 0.00" in second.said

    played(play, service(budget=budget(0.005, hold="progressive")))


def test_a_credential_that_is_revoked_while_its_request_waits_is_refused() -> None:
    """What was held after the change is decided anew, by what is applied then."""

    def play(place: Place) -> None:
        place.centre.limits[ACCOUNT] = USD
        _, client = place.ask({"max_tokens": 100})
        gone = replace(CREDENTIAL, secrets=(), revoked_ns=1)
        place.take(snapshot(gone, service(budget=budget(1))))
        place.pass_time(0.1)
        assert client.code == "unknown_credential"
        assert place.upstreams.calls == []
        assert place.held(ACCOUNT) == 0

    played(play, service(budget=budget(1)))


@pytest.mark.parametrize("is_stopping", [True, False])
def test_a_worker_that_stops_lets_nobody_wait(is_stopping: bool) -> None:
    """A waiting request is cut like one under way; it says so once."""

    def play(place: Place) -> None:
        place.centre.limits[ACCOUNT] = USD
        exchange, client = place.ask({"max_tokens": 100})
        exchange.cut(refusals.STOPPING if is_stopping else refusals.CUT_REVOKED)
        place.pass_time(0.5)
        assert client.said.count(b"HTTP/1.1") == 1
        assert place.upstreams.calls == []

    played(play, service(budget=budget(1)))


@pytest.mark.parametrize(("offset_s", "hour"), [(-1, 15), (3600, 17)])
def test_a_request_is_held_in_the_window_of_its_decision(
    offset_s: int, hour: int
) -> None:
    """Whatever the clock does while it waits: books and window say the same."""
    account = "service:checkout-assistant/hour@2025-11-24T{}Z"
    before, after = account.format(16), account.format(hour)

    def play(place: Place) -> None:
        wall = place.floor.clock = Wall(place.clock)
        place.centre.limits.update({before: USD, after: USD})
        place.ask({"max_tokens": 100})
        wall.offset_ns = offset_s * 10**9
        place.pass_time()

    place = played(play, service(budget=Budget((Window(USD, "hour"),))))

    (decided,) = place.records("decided")
    assert decided["comptroller.hold.accounts"] == [after]
    assert place.held(before) == 0


def test_nobody_is_refused_for_a_window_that_is_over() -> None:
    """A lack that was told when the window had ended is none of the next one."""
    account = "service:checkout-assistant/hour@2025-11-24T{}Z"

    def play(place: Place) -> None:
        wall = place.floor.clock = Wall(place.clock)
        place.centre.limits[account.format(17)] = USD
        place.ask({"max_tokens": 100})
        wall.offset_ns = 3600 * 10**9
        place.pass_time()

    place = played(play, service(budget=Budget((Window(USD, "hour"),))))

    (decided,) = place.records("decided")
    assert decided["result"] == "allow"
    assert decided["comptroller.hold.accounts"] == [account.format(17)]
