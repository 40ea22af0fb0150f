"""Tests of the log's side of witnesses, against the judgement of a real one."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Sequence

import pytest

from comptroller.adapters.tlog.keys import TrailKey, WitnessKey
from comptroller.adapters.witness.client import HttpWitness
from comptroller.adapters.witness.desk import ThreadDesk
from comptroller.core.checkpoint import (
    Checkpoint,
    NoteSignature,
    parse_note,
    sign_checkpoint,
)
from comptroller.core.cosignature import (
    Cosignature,
    assurance,
    cosignatures,
)
from comptroller.core.errors import ConfigurationError, WitnessUnavailableError
from comptroller.core.merkle import (
    CompactRange,
    consistency_path,
    leaf_hash,
    subtree_root,
)
from comptroller.engine.cosigning import (
    Asking,
    Away,
    Cosigned,
    Cosigning,
    Outcome,
    Refused,
    WitnessReply,
)
from comptroller.engine.trail_ports import WitnessStatus
from comptroller.engine.trail_records import TrailWitnessRefused
from comptroller.engine.witnessing import Witness
from comptroller.testing.system import FakeClock
from comptroller.testing.trail import ToldDesk

LOG = TrailKey("log.example/trail", bytes(32))
KEY = WitnessKey("witness.example/w1", b"w" * 32)
OTHER_KEY = WitnessKey("witness.example/w1", b"x" * 32)


class Memory(dict[str, bytes]):
    """A witness's memory."""

    def put(self, origin: str, note: bytes) -> None:
        """Keeps it."""
        self[origin] = note

    def keep_evidence(self, origin: str, note: bytes) -> None:
        """Keeps it beside."""
        self[f"{origin} refused"] = note


class Near:
    """The way to a witness in this process; or what a test has it answer."""

    def __init__(self, key: WitnessKey = KEY) -> None:
        told: list[str] = []
        logs = {LOG.key.name: [LOG]}
        self.witness = Witness(key, logs, Memory(), FakeClock(), told.append)
        self.answer: WitnessReply | None = None
        self.asked = 0

    def add_checkpoint(self, data: bytes) -> WitnessReply:
        """Asks it."""
        self.asked += 1
        if self.answer is not None:
            return self.answer
        answer = self.witness.add_checkpoint(data)
        return WitnessReply(answer.status, answer.body)


def note_of(count: int, salt: bytes = b"") -> tuple[bytes, Asker]:
    """A log's checkpoint, and the proofs of its tree."""
    hashes = [leaf_hash(salt + b"%d" % number) for number in range(count)]
    tree = CompactRange()
    for one in hashes:
        tree.append(one)

    def getter(level: int, index: int) -> bytes:
        return subtree_root(hashes[index << level : (index + 1) << level])

    def path(old: int, size: int) -> Sequence[bytes]:
        return consistency_path(old, size, getter)

    return sign_checkpoint(Checkpoint(LOG.key.name, tree.head()), LOG), path


Asker = Callable[[int, int], Sequence[bytes]]


def test_growth_is_signed_whatever_is_remembered_here() -> None:
    """A known size saves a request; a forgotten or a wrong one costs one more."""
    near = Near()
    for count, known, asked in [(10, 0, 1), (20, 10, 1), (30, 0, 2), (40, 35, 2)]:
        note, path = note_of(count)
        near.asked = 0
        outcome = Asking(near, KEY, path, known).ask(note)
        assert isinstance(outcome, Cosigned), outcome
        assert outcome.size == count
        assert near.asked == asked
        signed = cosignatures(parse_note(outcome.checkpoint), [KEY])
        assert [one.size for one in signed] == [count]


def test_what_a_rewrite_means_is_said_in_words() -> None:
    """Truncated, another tree of that size, a fork: each by its name."""
    near = Near()
    note, path = note_of(40)
    Asking(near, KEY, path).ask(note)
    for count, salt, known, said in [
        (30, b"", 40, "it signed 40 records, the trail has 30: truncated"),
        (40, b"x", 40, "it signed another tree of 40 records: rewritten or forked"),
        (50, b"x", None, "the trail does not continue what it signed"),
    ]:
        note, path = note_of(count, salt)
        for remembered in (0, 40):
            outcome = Asking(near, KEY, path, remembered).ask(note)
            assert isinstance(outcome, Refused)
            assert outcome.why.startswith(said)
            assert (outcome.size, outcome.known) == (count, known)


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (WitnessReply(500, b"down"), Away),
        (WitnessReply(503, b"clock"), Away),
        (WitnessReply(302, b""), Away),
        (WitnessReply(429, b""), Away),
        (WitnessReply(404, b"unknown log\x1b[2J"), Refused),
        (WitnessReply(409, b"many"), Refused),
        (WitnessReply(200, b""), Refused),
        (WitnessReply(200, b"yes\n"), Refused),
        (WitnessReply(200, b"\xff\n"), Refused),
    ],
)
def test_answers_of_all_kinds_are_taken_for_what_they_are(
    reply: WitnessReply, kind: type[Outcome]
) -> None:
    """Nothing but a right signature counts as one; control characters are gone."""
    near = Near()
    near.answer = reply
    note, path = note_of(5)
    outcome = Asking(near, KEY, path).ask(note)

    assert isinstance(outcome, kind)
    assert not isinstance(outcome, Cosigned)
    assert outcome.why.isprintable()


def test_a_signature_by_another_key_is_none() -> None:
    """The same name under a key that was not given: refused, and said why."""
    note, path = note_of(5)
    outcome = Asking(Near(OTHER_KEY), KEY, path).ask(note)

    assert isinstance(outcome, Refused)
    assert "is not signed by witness.example/w1+" in outcome.why


class Log:
    """Takes signatures."""

    def __init__(self) -> None:
        self.signed = 0

    def cosign(self, _body: bytes, _signature: NoteSignature) -> bool:
        """Counts them."""
        self.signed += 1
        return True


def test_a_refusal_is_recorded_once_and_told_until_it_ends() -> None:
    """One record for one rewrite; away and back are lines, not records."""
    desk, log = ToldDesk(), Log()
    shown: list[Sequence[WitnessStatus]] = []
    told: list[str] = []
    recorded: list[TrailWitnessRefused] = []
    cosigning = Cosigning([desk], shown.append, told.append)

    def hear(*outcomes: Outcome) -> str:
        desk.heard = list(outcomes)
        cosigning.hear(log, lambda _subject, data: recorded.append(data))
        return cosigning.problem

    signed = Cosigned(b"", b"", NoteSignature("w", b"", b""), 7, 1_700_000_000)
    assert not hear(signed)
    assert shown[-1][0] == WitnessStatus(
        "w", "http://w", 7, "2023-11-14T22:13:20.000000Z"
    )
    assert not hear(Away("gone"))
    assert hear(Refused(409, 8, 8, "another"), Refused(422, 9, None, "rewritten"))
    assert cosigning.problem == "the witness w refuses: rewritten"
    assert hear(Refused(422, 9, None, "rewritten"))
    assert [one.status for one in recorded] == [409]
    assert not hear(signed)
    assert hear(Refused(422, 10, None, "rewritten"))
    assert [one.status for one in recorded] == [409, 422]
    assert log.signed == 2
    assert [line.split(" w ")[1][:12] for line in told] == [
        "at http://w ",
        "at http://w ",
        "signs again",
        "at http://w ",
    ]
    count = len(shown)
    hear(Refused(422, 10, None, "rewritten"))
    assert len(shown) == count


def test_a_desk_never_keeps_its_caller_waiting() -> None:
    """A witness that hangs: offers return at once, and the newest one is next."""
    asked: list[bytes] = []
    going = threading.Event()

    def ask(note: bytes) -> Outcome:
        asked.append(note)
        going.wait(10)
        return Cosigned(note, b"", NoteSignature("w", b"", b""), len(asked), 0)

    kept: list[bytes] = []
    desk = ThreadDesk("w", "http://w", ask, kept.append)
    begun_s = time.monotonic()
    for number in range(1000):
        desk.offer(b"%d" % number)
    assert time.monotonic() - begun_s < 1
    assert desk.is_asking
    going.set()
    deadline_s = time.monotonic() + 10
    while desk.is_asking and time.monotonic() < deadline_s:
        time.sleep(0.01)
    assert asked[-1] == b"999"
    assert len(asked) <= 3
    assert kept == asked
    assert len(desk.take()) == len(asked)
    desk.close()


def test_a_witness_that_drips_is_hung_up_on() -> None:
    """One byte now and then keeps no timeout of a read, but the whole has a limit."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        stopped = threading.Event()

        def drip() -> None:
            connected, _ = server.accept()
            with connected:
                connected.recv(100)
                while not stopped.wait(0.05):
                    try:
                        connected.send(b"H")
                    except OSError:
                        return

        thread = threading.Thread(target=drip)
        thread.start()
        port = server.getsockname()[1]
        begun_s = time.monotonic()
        with pytest.raises(WitnessUnavailableError):
            HttpWitness(f"http://127.0.0.1:{port}", 0.5).add_checkpoint(b"x")
        assert time.monotonic() - begun_s < 5
        stopped.set()
        thread.join()


@pytest.mark.parametrize(
    "url",
    ["", "w.example", "ftp://w", "http://", "http://w?x", "http://w:x", "http://u@w"],
)
def test_what_is_no_url_is_refused(url: str) -> None:
    """Before anything is asked."""
    with pytest.raises(ConfigurationError):
        HttpWitness(url)


def test_the_sentence_says_how_far_witnesses_reach() -> None:
    """Nobody, names alone, all, a part: four sentences that do not overlap."""
    seen = [Cosignature("w1", 70, 1_700_000_000), Cosignature("w2", 50, 1_600_000_000)]

    assert assurance([], 100, []).startswith(
        "tamper-evident against outsiders only: no"
    )
    assert "w3 signed it, too, which was not verified" in assurance([], 100, ["w3"])
    whole = assurance(seen, 70, [])
    assert "for the first 70 records" in whole
    assert "outsiders" not in whole
    part = assurance(seen, 100, [])
    assert "w1, w2 signed" not in part
    assert part.endswith("of the 30 records since, against outsiders")


def test_names_in_a_checkpoint_are_only_names() -> None:
    """A line that anybody could have written is a stranger's, not a witness's."""
    note, _ = note_of(3)
    forged = note + "— witness.example/w1 AAAAAAAA\n".encode()

    assert cosignatures(parse_note(forged), [KEY]) == []
