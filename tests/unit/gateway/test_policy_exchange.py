import asyncio
from collections.abc import Callable, Iterable
from dataclasses import replace

import pytest
from tests.unit.gateway.place import Place, chat, snapshot

from comptroller.core.policy.plain import plain_set
from comptroller.core.policy.prompt import Match, PromptText
from comptroller.core.policy.rules import (
    AllowTable,
    Mode,
    Policy,
    PolicySet,
    PromptRestriction,
)
from comptroller.engine.judging import SCANNED_BYTES_MAX, Judge
from comptroller.engine.scanning import PromptScanner
from comptroller.engine.snapshot import ActivePolicy
from comptroller.gateway.exchange import Exchange, Stage
from comptroller.gateway.gathering import SCANS_MAX, Scans
from comptroller.testing.both_ends import Listening
from comptroller.testing.scanner import WordScanner
from comptroller.testing.upstream import CHAT

SCAN_BYTES_MAX = 200_000
RESTRICTION = PromptRestriction("p.secrets", patterns=("secret",))
SET = PolicySet(
    "test",
    "ada",
    allow=(AllowTable("allow.all", {"*": frozenset({"*"})}),),
    prompts=(RESTRICTION,),
)


class Judging(Place):
    """A worker with a policy that asks for patterns."""

    def __init__(
        self,
        declared: PolicySet = SET,
        *,
        short: PromptScanner | None = None,
        long: PromptScanner | None = None,
    ) -> None:
        scanner = WordScanner({"secret.word": "hunter2"}, scan_bytes_max=SCAN_BYTES_MAX)
        active = ActivePolicy("sha256:1", [plain_set(declared)])
        judge = Judge(active, Policy.of([declared]), short or scanner)
        super().__init__(snapshot(), judge)
        self.floor.scans = self.scans = Scans(long or scanner)

    def ask(self, text: str) -> tuple[Exchange, Listening]:
        """Begins a request with this prompt."""
        return self.begin(chat({"messages": [{"role": "user", "content": text}]}))


async def until(is_so: Callable[[], bool]) -> None:
    for _ in range(500):
        if is_so():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come to that")


LONG = "word " * (SCANNED_BYTES_MAX // 4)


@pytest.mark.parametrize("filling", ["", LONG])
def test_a_secret_is_refused_and_never_sent(filling: str) -> None:
    """Whether a prompt is scanned at once or in a thread, a match denies it."""

    async def play() -> None:
        place = Judging()
        exchange, client = place.ask(filling + " hunter2")
        await until(lambda: bool(client.said))
        assert b" 400 " in client.said
        assert b"policy_denied" in client.said
        assert exchange.stage is not Stage.WAITING
        assert place.upstreams.calls == []
        assert not place.floor.waiting
        (record,) = [one for one in place.journal.records if b"decided" in one.line]
        assert b"secret.word" in record.line
        assert b"hunter2" not in record.line

    asyncio.run(play())


@pytest.mark.parametrize("filling", ["", LONG])
def test_what_holds_no_secret_goes_on(filling: str) -> None:
    """A scan that finds nothing lets the request go on, once."""

    async def play() -> None:
        place = Judging()
        exchange, client = place.ask(filling + " nothing")
        await until(lambda: bool(place.upstreams.calls))
        assert (exchange in place.floor.waiting, len(place.upstreams.calls)) == (
            False,
            1,
        )
        assert client.said == b""

    asyncio.run(play())


def test_more_than_is_scanned_is_denied() -> None:
    """A prompt beyond the scanner's bound is refused, not passed unscanned."""

    async def play() -> None:
        place = Judging()
        _, client = place.ask("x" * (SCAN_BYTES_MAX + 1))
        await until(lambda: bool(client.said))
        assert b"policy_error" in client.said
        assert place.upstreams.calls == []

    asyncio.run(play())


def test_a_scan_that_takes_long_is_made_in_a_thread() -> None:
    """A short prompt that was made to take long does not hold up the others."""

    async def play() -> None:
        place = Judging(short=WordScanner({"secret.word": "hunter2"}, scan_bytes_max=1))
        exchange, client = place.ask("hunter2")
        assert exchange.stage is Stage.WAITING
        await until(lambda: bool(client.said))
        assert b"policy_denied" in client.said
        _, other = place.ask("nothing")
        await until(lambda: bool(place.upstreams.calls))
        assert other.said == b""

    asyncio.run(play())


class Broken:
    """A scanner that fails as none should."""

    rules = ("secret.word",)

    def scan(self, texts: Iterable[PromptText]) -> list[Match]:
        """Fails, with the text in its words."""
        raise LookupError(next(iter(texts)).text[-20:])


def test_a_scan_that_fails_is_a_denial(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever goes wrong in the thread: refused, and the log has none of the text."""

    async def play() -> None:
        place = Judging(long=Broken())
        _, client = place.ask(LONG + "the merger")
        await until(lambda: bool(client.said))
        assert b"policy_error" in client.said
        assert place.upstreams.calls == []
        assert place.scans.count == 0

    asyncio.run(play())
    assert "LookupError" in caplog.text
    assert "the merger" not in caplog.text


def test_long_prompts_wait_in_a_bounded_queue() -> None:
    """One too many long prompts are refused at once, in words that say so."""

    async def play() -> None:
        place = Judging()
        asked = [place.ask(LONG) for _ in range(SCANS_MAX + 1)]
        _, last = asked[-1]
        assert b"policy_error" in last.said
        assert b"try again" in last.said
        await until(lambda: len(place.upstreams.calls) == SCANS_MAX)

    asyncio.run(play())


def test_a_client_that_leaves_during_a_scan_is_forgotten() -> None:
    """Nothing is decided or sent for nobody."""

    async def play() -> None:
        place = Judging()
        exchange, _ = place.ask(LONG)
        assert exchange.stage is Stage.WAITING
        exchange.client_left()
        assert place.scans.count == 1
        await until(lambda: place.scans.count == 0)
        assert place.upstreams.calls == []
        assert [one for one in place.journal.records if b"decided" in one.line] == []

    asyncio.run(play())


@pytest.mark.parametrize("is_stream", [False, True])
def test_a_warning_stands_in_the_replys_head(is_stream: bool) -> None:
    """A rule in `warn` reaches the client with the reply, whole or streamed."""

    async def play() -> None:
        warned = replace(RESTRICTION, mode=Mode.WARN)
        place = Judging(replace(SET, prompts=(warned,)))
        _, client = place.ask("hunter2")
        sink = place.sink(0)
        kind = b"text/event-stream" if is_stream else b"application/json"
        sink.on_head(200, [(b"content-type", kind)])
        if not is_stream:
            sink.on_data(CHAT)
            sink.on_end()
        head = client.said.partition(b"\r\n\r\n")[0]
        assert b"\r\nx-comptroller-policy-warning: p.secrets: " in head
        assert b"hunter2" not in head

    asyncio.run(play())
