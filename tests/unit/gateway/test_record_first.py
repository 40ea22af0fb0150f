from collections.abc import Callable
from dataclasses import replace

import pytest
from tests.unit.gateway.place import Place, chat, on_a_loop, snapshot

from comptroller.core.errors import JournalUnavailableError
from comptroller.engine.ports import UpstreamFailure
from comptroller.gateway.exchange import Exchange
from comptroller.testing.both_ends import Listening
from comptroller.testing.deployed import CREDENTIAL
from comptroller.testing.upstream import CHAT


class Stage(Place):
    """A worker with a held journal, and one request of it."""

    def __init__(self, model: str = "gpt-5-mini") -> None:
        super().__init__(snapshot())
        self.client = Listening()
        self.exchange = Exchange(self.floor, self.client, chat({"model": model}))

    def revoke(self) -> None:
        """Revokes the credential of the request."""
        self.take(snapshot(replace(CREDENTIAL, revoked_ns=1)))


def played(play: Callable[[Stage], None], model: str = "gpt-5-mini") -> Stage:
    def begun(stage: Stage) -> None:
        stage.journal.hold()
        stage.exchange.begin()
        play(stage)

    return on_a_loop(begun, lambda: Stage(model))


def test_the_provider_is_called_after_the_record_and_not_before() -> None:
    """G3: no upstream call exists until the decision is durable."""

    def play(stage: Stage) -> None:
        assert stage.kinds == ["decided"]
        assert stage.upstreams.calls == []
        assert stage.client.said == b""
        stage.journal.release()
        assert len(stage.upstreams.calls) == 1
        stage.answer()

    stage = played(play)

    assert stage.kinds == ["decided", "settled"]
    assert stage.client.said.endswith(CHAT)
    assert stage.client.ends == 1
    assert stage.floor.exchanges == set()


def test_a_record_that_does_not_become_durable_calls_nobody() -> None:
    """The disk fails under the decision: 503, no call."""
    stage = played(lambda stage: stage.journal.release(is_durable=False))

    assert stage.upstreams.calls == []
    assert b" 503 " in stage.client.said
    assert b"journal_unavailable" in stage.client.said
    assert stage.floor.exchanges == set()
    assert stage.floor.recorder.is_failed


def test_a_client_that_leaves_while_it_is_recorded_is_released() -> None:
    """Nothing is sent for nobody, and nothing is owed."""

    def play(stage: Stage) -> None:
        stage.exchange.client_left()
        stage.journal.release()

    stage = played(play)

    assert stage.upstreams.calls == []
    assert stage.kinds == ["decided", "released"]


def test_a_revocation_while_it_is_recorded_releases() -> None:
    """Revoked between decision and call: not sent, not owed, told."""

    def play(stage: Stage) -> None:
        stage.revoke()
        stage.journal.release()

    stage = played(play)

    assert stage.upstreams.calls == []
    assert stage.kinds == ["decided", "released"]
    assert b" 401 " in stage.client.said


@pytest.mark.parametrize(("was_sent", "end"), [(True, "settled"), (False, "released")])
def test_what_was_never_sent_is_never_owed(was_sent: bool, end: str) -> None:
    """A call that is left while its connection opens is released, not settled."""

    def play(stage: Stage) -> None:
        stage.upstreams.was_sent = was_sent
        stage.journal.release()
        stage.revoke()

    stage = played(play)

    assert stage.upstreams.aborted == 1
    assert stage.kinds == ["decided", end]
    assert stage.client.ends == 1


@pytest.mark.parametrize(("sent", "end"), [(True, "settled"), (False, "released")])
def test_a_failure_settles_only_what_was_sent(sent: bool, end: str) -> None:
    """A provider that fails is owed an estimate if it may have heard of us."""

    def play(stage: Stage) -> None:
        stage.journal.release()
        stage.sink().on_failed(UpstreamFailure("reset", "it broke", sent=sent))

    stage = played(play)

    assert stage.kinds == ["decided", end]
    assert b" 502 " in stage.client.said


def test_a_journal_that_fails_later_does_not_cost_the_client_its_reply() -> None:
    """The reply goes out without its cost; recovery ends the request."""

    def play(stage: Stage) -> None:
        stage.journal.release()
        stage.journal.failed = True
        stage.answer()

    stage = played(play)

    assert stage.kinds == ["decided"]
    assert stage.client.said.endswith(CHAT)
    assert b"x-comptroller-cost-nano-usd" not in stage.client.said
    assert stage.floor.exchanges == set()


def test_a_refusal_is_recorded_and_answered_at_once() -> None:
    """A denial waits for no disk: nothing depends on it."""
    stage = played(lambda _: None, "no-such-model")

    assert stage.kinds == ["decided"]
    assert b" 400 " in stage.client.said
    assert stage.floor.exchanges == set()


def test_a_failed_journal_refuses_at_the_door() -> None:
    """Neither allowed nor denied: what cannot be recorded is not decided."""

    def play(stage: Stage) -> None:
        stage.journal.failed = True
        stage.exchange.begin()

    stage = on_a_loop(play, Stage)

    assert stage.kinds == []
    assert b"journal_unavailable" in stage.client.said
    with pytest.raises(JournalUnavailableError):
        stage.journal.append(b"{}")


def test_bodies_that_no_provider_takes_count_as_held() -> None:
    """A large body more is refused then; small ones still pass, within the limit."""
    full = []

    def play(stage: Stage) -> None:
        floor = stage.floor
        floor.body_bytes_all_max = 1_000_000
        floor.body_bytes = 100_000
        for unsent in (800_000, 950_000):
            stage.upstreams.unsent_bytes = unsent
            full.extend([floor.is_full(100_000), floor.is_full(1_000)])
        floor.body_bytes = 1_000_001
        full.append(floor.is_full(1_000))
        stage.journal.release(is_durable=True)

    played(play)

    assert full == [False, False, True, False, True]
