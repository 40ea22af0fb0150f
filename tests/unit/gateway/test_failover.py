"""Failover: an attempt that fails leads to another deployment, or to its own answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from tests.unit.gateway.place import JSON_HEAD, LeasingPlace, chat, on_a_loop

from comptroller.core.registry import Budget, Window
from comptroller.engine.ports import UpstreamFailure
from comptroller.gateway.exchange import Exchange, Stage
from comptroller.testing.both_ends import Listening
from comptroller.testing.deployed import CREDENTIAL, HOUSE, Places, story
from comptroller.testing.upstream import CHAT

ACCOUNT = "service:checkout-assistant/total@all"
NOT_SENT = UpstreamFailure("connect", "the provider cannot be reached", sent=False)
SORRY = b'{"error":{"message":"over capacity"}}'


class Place(LeasingPlace):
    """A worker whose service may use `house`, and the providers that it calls."""

    def __init__(self, places: Places) -> None:
        super().__init__(places.snapshot(CREDENTIAL))

    def ask(self, **said: object) -> tuple[Exchange, Listening]:
        """Begins a request."""
        return self.begin(chat({"model": HOUSE, "max_tokens": 10, **said}))

    def asked(self) -> list[str]:
        """The providers that were called, in order."""
        return [call.target.host[0] for call, _ in self.upstreams.calls]

    def say(self, status: int) -> None:
        """The provider that was called last answers."""
        self.answer(status=status, body=CHAT if status == 200 else SORRY)

    def story(self) -> Sequence[tuple[str, str, object]]:
        """The records in short."""
        return story(self.journal)


def two() -> Place:
    return Place(Places("ab"))


def id_in(client: Listening) -> str:
    return client.said.split(b"x-comptroller-request-id: ")[1][:26].decode()


@pytest.mark.parametrize("status", [429, 500, 503])
def test_an_error_leads_to_the_other_deployment(status: int) -> None:
    """Both attempts are decisions with ends; the client sees the second alone."""

    def script(place: Place) -> None:
        _, client = place.ask()
        place.say(status)
        assert client.said == b""
        assert place.asked() == ["a", "b"]
        place.say(200)
        assert client.said.startswith(b"HTTP/1.1 200 ")
        assert client.said.endswith(CHAT)
        assert client.ends == 1
        assert b"x-comptroller-attempts: 2\r\n" in client.said
        first, second = place.records("decided")
        assert id_in(client) == second["decision_id"] != first["decision_id"]
        assert place.story() == [
            ("decided", first["decision_id"], "allow"),
            ("settled", first["decision_id"], "upstream_error"),
            ("decided", second["decision_id"], "allow"),
            ("settled", second["decision_id"], "completed"),
        ]
        assert second["comptroller.attempt.of"] == first["decision_id"]
        assert second["gen_ai.provider.name"] == "b"
        assert "comptroller.attempt.of" not in first

    place = on_a_loop(script, two)

    assert place.floor.exchanges == set()


def test_a_refused_connection_releases_and_leads_elsewhere() -> None:
    """Nothing was sent, nothing is owed, and whatever is asked may be asked again."""

    def script(place: Place) -> None:
        _, client = place.ask(tools=[{"type": "mcp"}])
        place.sink().on_failed(NOT_SENT)
        place.say(200)
        kinds = [(kind, said) for kind, _, said in place.story()]
        assert kinds == [
            ("decided", "allow"),
            ("released", "upstream_connect"),
            ("decided", "allow"),
            ("settled", "completed"),
        ]
        assert client.said.endswith(CHAT)

    on_a_loop(script, two)


def test_the_first_answer_has_no_header_of_attempts() -> None:
    """A request that went well at once says nothing of attempts."""

    def script(place: Place) -> None:
        _, client = place.ask()
        place.say(200)
        assert b"attempts" not in client.said

    on_a_loop(script, two)


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (400, {}),
        (504, {}),
        (500, {"tools": [{"type": "mcp"}]}),
        (503, {"messages": [{"role": "assistant", "audio": {"id": "audio_1"}}]}),
    ],
)
def test_what_may_not_be_asked_again_is_answered_as_it_is(
    status: int, said: dict[str, object]
) -> None:
    """An answer, a timeout, a tool that acts, an object that one provider has."""

    def script(place: Place) -> None:
        _, client = place.ask(**said)
        place.say(status)
        assert b" %d " % status in client.said.partition(b"\r\n")[0]
        assert client.said.endswith(SORRY)

    place = on_a_loop(script, two)

    assert place.asked() == ["a"]


@pytest.mark.parametrize("code", ["timeout", "reset", "garbage"])
def test_what_was_sent_and_not_answered_is_not_repeated(code: str) -> None:
    """It may be generated, and billed: settled, and told as it is."""

    def script(place: Place) -> None:
        _, client = place.ask()
        place.sink().on_failed(UpstreamFailure(code, "it broke", sent=True))
        assert client.code == f"upstream_{code}"

    place = on_a_loop(script, two)

    assert place.asked() == ["a"]
    assert place.story()[-1][0] == "settled"


def test_an_error_that_breaks_off_is_told_as_broken() -> None:
    """Its head promised another attempt; its end never came, which nobody can read."""

    def script(place: Place) -> None:
        _, client = place.ask()
        place.sink().on_head(503, JSON_HEAD)
        place.sink().on_failed(UpstreamFailure("reset", "it broke", sent=True))
        assert client.code == "upstream_reset"

    place = on_a_loop(script, two)

    assert place.asked() == ["a"]
    assert place.floor.kept_bytes == 0


def test_a_stream_that_has_begun_is_not_begun_again() -> None:
    """The client has its head: it breaks off."""

    def script(place: Place) -> None:
        _, client = place.ask(stream=True)
        place.sink().on_head(200, [(b"content-type", b"text/event-stream")])
        place.sink().on_failed(UpstreamFailure("reset", "it broke", sent=True))
        assert client.said.startswith(b"HTTP/1.1 200 ")
        assert client.ends == 1

    place = on_a_loop(script, two)

    assert place.asked() == ["a"]


def test_a_stream_that_is_refused_begins_elsewhere() -> None:
    """Its head did not go out: an error in the form of events is held back, too."""

    def script(place: Place) -> None:
        _, client = place.ask(stream=True)
        place.sink().on_head(503, [(b"content-type", b"text/event-stream")])
        place.sink().on_data(b"data: {}\n\n")
        place.sink().on_end()
        assert client.said == b""
        place.sink().on_head(200, [(b"content-type", b"text/event-stream")])
        assert b"x-comptroller-attempts: 2\r\n" in client.said

    place = on_a_loop(script, two)

    assert place.asked() == ["a", "b"]


def test_at_most_three_attempts() -> None:
    """Four deployments, three of them asked; the third's error is told."""

    def script(place: Place) -> None:
        _, client = place.ask()
        for status in (500, 502, 503):
            place.say(status)
        assert b" 503 " in client.said.partition(b"\r\n")[0]
        assert b"x-comptroller-attempts: 3\r\n" in client.said
        decided = place.records("decided")
        ids = [data["decision_id"] for data in decided]
        third = decided[2]
        assert third["comptroller.attempt.of"] == ids[0]
        assert third["comptroller.attempt.after"] == ids[1]
        assert id_in(client) == ids[2]

    place = on_a_loop(script, lambda: Place(Places("abcd")))

    assert place.asked() == ["a", "b", "c"]


def test_one_place_alone_is_asked_once() -> None:
    """A model without deployments: its error is its answer."""

    def script(place: Place) -> None:
        _, client = place.ask()
        place.say(503)
        assert client.said.endswith(SORRY)

    place = on_a_loop(script, lambda: Place(Places("a")))

    assert place.asked() == ["a"]


def test_the_first_failure_is_told_when_no_room_is_left_for_another() -> None:
    """The other place is dearer: refused and recorded; the client is told of the first.

    In the provider's own words, with the id of the attempt that they are of.
    """

    def script(place: Place) -> None:
        place.centre.limits[ACCOUNT] = 2000
        _, client = place.ask()
        place.timers.advance(0.1)
        place.sink().on_head(503, [(b"retry-after", b"9")])
        place.sink().on_data(SORRY)
        place.sink().on_end()
        assert client.said == b""
        place.timers.advance(2.0)
        first, second = place.records("decided")
        assert second["result"] == "deny"
        assert second["comptroller.attempt.of"] == first["decision_id"]
        assert client.said.startswith(b"HTTP/1.1 503 ")
        assert b"retry-after: 9\r\n" in client.said
        assert client.said.endswith(SORRY)
        assert id_in(client) == first["decision_id"]
        assert client.ends == 1

    budget = Budget((Window(2000, "total"),))
    place = on_a_loop(script, lambda: Place(Places("ab", budget, {"b": 1000})))

    assert place.asked() == ["a"]


def test_a_refused_connection_is_told_when_the_other_one_is_closed() -> None:
    """The other deployment said 429 a moment ago: our own words of the first."""

    def script(place: Place) -> None:
        place.ask()
        place.say(200)
        _, other = place.ask()
        place.sink().on_head(429, [(b"retry-after", b"30")])
        place.sink().on_end()
        place.say(200)
        assert place.asked() == ["a", "b", "a"]
        assert other.said.startswith(b"HTTP/1.1 200 ")
        _, client = place.ask()
        place.sink().on_failed(NOT_SENT)
        assert client.code == "upstream_connect"
        assert client.said.count(b"HTTP/1.1") == 1
        denied = place.records("decided")[-1]
        assert denied["reason"] == "provider_rate_limited"

    place = on_a_loop(script, two)

    assert place.asked() == ["a", "b", "a", "a"]


def test_a_client_that_left_is_not_served_elsewhere() -> None:
    """Nobody would read it: the reply is drained, and that is all."""

    def script(place: Place) -> None:
        exchange, client = place.ask()
        exchange.client_left()
        place.say(503)
        assert client.said == b""
        assert exchange.stage is Stage.ENDED

    place = on_a_loop(script, two)

    assert place.asked() == ["a"]
    assert place.story()[-1][2] == "client_left"


def test_a_client_that_leaves_within_the_error_is_not_served_elsewhere() -> None:
    """Between the error's head and its end."""

    def script(place: Place) -> None:
        exchange, _ = place.ask()
        place.sink().on_head(503, JSON_HEAD)
        exchange.client_left()
        place.sink().on_end()

    place = on_a_loop(script, two)

    assert place.asked() == ["a"]
    assert place.floor.draining == 0


def test_a_revoked_credential_is_told_so_and_asks_nowhere_else() -> None:
    """Revoked while the error arrived: 401, and no provider's words."""

    def script(place: Place) -> None:
        _, client = place.ask()
        place.sink().on_head(503, JSON_HEAD)
        place.take(Places("ab").snapshot(replace(CREDENTIAL, revoked_ns=1)))
        assert b" 401 " in client.said.partition(b"\r\n")[0]
        assert client.ends == 1

    place = on_a_loop(script, two)

    assert place.asked() == ["a"]
    assert place.story()[-1][2] == "cut"


def test_a_long_error_is_passed_on_as_it_comes() -> None:
    """More than can be kept for later: there is no later attempt."""

    def script(place: Place) -> None:
        _, client = place.ask()
        place.sink().on_head(503, JSON_HEAD)
        place.sink().on_data(b"x" * 70_000)
        assert client.said.startswith(b"HTTP/1.1 503 ")
        place.sink().on_end()

    place = on_a_loop(script, two)

    assert place.asked() == ["a"]
    assert place.floor.exchanges == set()


LARGE = [{"role": "user", "content": "x" * 20_000}]


def test_a_large_body_is_kept_until_the_reply_has_begun() -> None:
    """It is counted while it is kept, and sent again whole; then it is let go of."""

    def script(place: Place) -> None:
        place.ask(messages=LARGE)
        assert place.floor.kept_bytes > 20_000
        place.say(503)
        first, second = place.upstreams.calls
        assert len(first[0].body) == len(second[0].body) > 20_000
        assert place.floor.kept_bytes == 0  # there is no third place
        place.say(200)
        place.ask(messages=LARGE)
        place.sink().on_head(200, JSON_HEAD)
        assert place.floor.kept_bytes == 0

    on_a_loop(script, two)


def test_a_large_body_without_room_to_keep_it_is_sent_once() -> None:
    """The worker's memory is bounded: the error is told, nothing is asked again."""

    def script(place: Place) -> None:
        place.floor.kept_bytes_all_max = 1000
        _, client = place.ask(messages=LARGE)
        place.say(503)
        assert client.said.endswith(SORRY)

    place = on_a_loop(script, two)

    assert place.asked() == ["a"]
    assert place.floor.kept_bytes == 0


def test_a_journal_that_fails_leaves_the_first_answer() -> None:
    """Nothing can be recorded, so nothing more is sent: the failure is told."""

    def script(place: Place) -> None:
        _, client = place.ask()
        place.journal.close()
        place.say(503)
        assert client.said.endswith(SORRY)
        assert client.ends == 1

    place = on_a_loop(script, two)

    assert place.asked() == ["a"]


def test_requests_take_turns_and_retries_take_none() -> None:
    """Two equal deployments: a failure of one does not turn the order around."""

    def script(place: Place) -> None:
        for _ in range(4):
            place.ask()
            if place.asked()[-1] == "a":
                place.say(503)
            place.say(200)

    place = on_a_loop(script, two)

    assert place.asked() == ["a", "b", "b", "a", "b", "b"]
