"""Tests of the witness's judgement; cosignatures are verified by tlog-scales."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

import pytest
from tlog_scales.signing import Vkey, VkeySet
from tlog_scales.tlog import Checkpoint as ForeignCheckpoint

from comptroller.adapters.tlog.keys import TrailKey, WitnessKey
from comptroller.core.checkpoint import Checkpoint, parse_note, sign_checkpoint
from comptroller.core.cosignature import Submission, cosignatures, format_submission
from comptroller.core.errors import TrailDamagedError
from comptroller.core.merkle import (
    EMPTY_ROOT,
    CompactRange,
    TreeHead,
    consistency_path,
    leaf_hash,
    subtree_root,
)
from comptroller.engine.witnessing import CLOCK_SLACK_S, Answer, Witness
from comptroller.testing.system import FakeClock

LOG = TrailKey("log.example/trail", bytes(32))
OTHER = TrailKey("log.example/trail", b"o" * 32)
WITNESS = WitnessKey("witness.example/w1", b"w" * 32)


class Memory:
    """States that survive the witness, not the test."""

    def __init__(self) -> None:
        self.notes: dict[str, bytes] = {}
        self.evidence: dict[str, bytes] = {}
        self.is_full = False

    def get(self, origin: str) -> bytes | None:
        """What was signed last."""
        return self.notes.get(origin)

    def put(self, origin: str, note: bytes) -> None:
        """Keeps it, unless the disk is full."""
        if self.is_full:
            raise OSError(28, "No space left on device")
        self.notes[origin] = note

    def keep_evidence(self, origin: str, note: bytes) -> None:
        """Keeps the first."""
        self.evidence.setdefault(origin, note)


class Log:
    """A log that anybody can grow, rewrite and sign: its operator has the key."""

    def __init__(self, records: Sequence[bytes]) -> None:
        self.hashes = [leaf_hash(one) for one in records]

    def _hash(self, level: int, index: int) -> bytes:
        begin = index << level
        return subtree_root(self.hashes[begin : begin + (1 << level)])

    def signed(self, size: int, key: TrailKey = LOG) -> bytes:
        """Its checkpoint of some size."""
        tree = CompactRange()
        for one in self.hashes[:size]:
            tree.append(one)
        return sign_checkpoint(Checkpoint(key.key.name, tree.head()), key)

    def path(self, old: int, size: int) -> tuple[bytes, ...]:
        """A consistency proof."""
        return tuple(consistency_path(old, size, self._hash))

    def submission(self, old: int, size: int) -> bytes:
        """What its operator sends."""
        path = self.path(old, size) if old <= size else ()
        return format_submission(Submission(old, path, self.signed(size)))


class Desk:
    """A witness and what it remembers."""

    def __init__(self) -> None:
        self.memory = Memory()
        self.clock = FakeClock()
        self.told: list[str] = []
        logs = {LOG.key.name: [LOG]}
        self.witness = Witness(WITNESS, logs, self.memory, self.clock, self.told.append)

    def add(self, log: Log, old: int, size: int) -> Answer:
        """A request, answered."""
        return self.witness.add_checkpoint(log.submission(old, size))


def records(count: int, salt: bytes = b"") -> list[bytes]:
    return [salt + b"%d" % number for number in range(count)]


HONEST = Log(records(700))


def foreign_signers(note: bytes, lines: bytes) -> list[tuple[str, int]]:
    """Whom tlog-scales finds under a checkpoint, with each time."""
    checkpoint = ForeignCheckpoint.from_text((note + lines).decode())
    keys = [Vkey.from_string(str(one.key)) for one in (LOG, WITNESS)]
    found = VkeySet(*keys).verify(checkpoint.signatures, checkpoint)
    return sorted(
        (vkey.name, int.from_bytes(signature.payload[:8]))
        for vkey, signature in found
        if vkey.sig_type == 4
    )


def test_honest_growth_is_cosigned_and_others_can_verify_it() -> None:
    """From nothing over many sizes; each cosignature is right to tlog-scales."""
    desk = Desk()
    sizes = [0, 1, 2, 3, 255, 256, 257, 512, 699, 700, 700]
    for old, size in zip([0, *sizes], sizes, strict=False):
        desk.clock.advance(1)
        answer = desk.add(HONEST, old, size)
        assert answer.status == 200, (old, size, answer)
        signers = foreign_signers(HONEST.signed(size), answer.body)
        assert signers == [(WITNESS.key.name, desk.clock.now_ns() // 10**9)]
        assert desk.witness.latest(LOG.key.name)[0].size == size


def test_every_consistency_proof_of_small_trees_is_accepted() -> None:
    """All pairs of sizes up to 40: no honest log is refused."""
    for size in range(41):
        for old in range(size + 1):
            desk = Desk()
            assert desk.add(HONEST, 0, old).status == 200
            assert desk.add(HONEST, old, size).status == 200, (old, size)


@pytest.mark.parametrize("place", [0, 17, 255, 256, 498, 499])
def test_a_rewrite_by_the_holder_of_the_key_is_refused(place: int) -> None:
    """An edited record, signed by the log's own key: 422 with any honest proof."""
    desk = Desk()
    desk.add(HONEST, 0, 500)
    forged = records(700)
    forged[place] = b"as if it had been otherwise"
    liar = Log(forged)

    assert desk.add(liar, 500, 700).status == 422
    honest_path = format_submission(
        Submission(500, HONEST.path(500, 700), liar.signed(700))
    )
    assert desk.witness.add_checkpoint(honest_path).status == 422
    assert desk.witness.latest(LOG.key.name)[0].size == 500
    assert parse_note(desk.memory.evidence[LOG.key.name]).body.startswith(
        b"log.example/trail\n700\n"
    )
    assert desk.add(HONEST, 500, 700).status == 200


def test_a_rewrite_of_the_same_size_is_refused() -> None:
    """Two trees of one size: 409 with that size, as the protocol has it."""
    desk = Desk()
    desk.add(HONEST, 0, 500)
    answer = desk.add(Log(records(500, b"x")), 500, 500)

    assert answer == Answer(409, b"500\n", "text/x.tlog.size")
    assert "another tree of 500" in desk.told[-1]


def test_a_truncated_log_is_refused_with_the_size_that_is_known() -> None:
    """Dropping records: 409 with the size that was signed; told as such."""
    desk = Desk()
    desk.add(HONEST, 0, 500)
    for old in (0, 400):
        answer = desk.add(HONEST, old, 400)
        assert answer == Answer(409, b"500\n", "text/x.tlog.size")
    assert "truncated" in desk.told[-1]


def test_a_fork_is_refused() -> None:
    """Truncated, then grown otherwise beyond what was signed: 422."""
    desk = Desk()
    desk.add(HONEST, 0, 500)
    fork = Log([*records(400), *records(300, b"fork")])

    assert desk.add(fork, 500, 700).status == 422
    assert desk.add(fork, 500, 500).status == 409


def test_a_stale_size_is_told_and_the_next_request_succeeds() -> None:
    """409 names the size from which the proof has to be."""
    desk = Desk()
    desk.add(HONEST, 0, 300)
    answer = desk.add(HONEST, 100, 700)

    assert (answer.status, answer.body) == (409, b"300\n")
    assert desk.add(HONEST, 300, 700).status == 200


def test_unknown_logs_and_wrong_signatures_are_refused() -> None:
    """404 for a stranger, 403 for a known name under a key that is not."""
    desk = Desk()
    stranger = TrailKey("stranger.example", bytes(32))
    known = [(stranger, 404), (OTHER, 403)]
    for key, status in known:
        note = HONEST.signed(3, key)
        submission = format_submission(Submission(0, (), note))
        assert desk.witness.add_checkpoint(submission).status == status
    forged = HONEST.signed(3).replace(b"\n3\n", b"\n4\n")
    submission = format_submission(Submission(0, (), forged))
    assert desk.witness.add_checkpoint(submission).status == 403
    assert desk.memory.notes == {}


def test_signatures_of_strangers_do_not_matter() -> None:
    """Beside the log's signature others may stand; they are not passed on."""
    desk = Desk()
    note = HONEST.signed(3) + HONEST.signed(3, OTHER).rpartition(b"\n\n")[2]
    submission = format_submission(Submission(0, (), note))

    assert desk.witness.add_checkpoint(submission).status == 200
    kept = parse_note(desk.memory.notes[LOG.key.name])
    assert [one.key_id for one in kept.signatures] == [
        LOG.key.key_id,
        WITNESS.key.key_id,
    ]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n\n",
        b"old 0",
        b"old 01\n\n" + HONEST.signed(1),
        b"old -1\n\n" + HONEST.signed(1),
        b"old 0\r\n\n" + HONEST.signed(1),
        b"old 0\nAAAA\n\n" + HONEST.signed(1),
        b"old 0\n" + b"A" * 43 + b"B\n\n" + HONEST.signed(1),
        b"old 0\n" + (b"A" * 43 + b"=\n") * 64 + b"\n" + HONEST.signed(1),
        b"old 0\n\n" + HONEST.signed(1)[:-1],
        b"old 0\n\nlog.example/trail\n",
        b"old 2\n\n" + HONEST.signed(1),
        b"old 0\n\n" + b"\xff" * 100,
    ],
)
def test_what_is_no_request_is_refused(data: bytes) -> None:
    """400, and nothing is remembered."""
    desk = Desk()

    assert desk.witness.add_checkpoint(data).status == 400
    assert desk.memory.notes == {}


def test_a_proof_where_none_belongs_is_refused() -> None:
    """From nothing, and of the same tree, a proof is empty: 422."""
    desk = Desk()
    noise = (sha256(b"noise").digest(),)
    first = format_submission(Submission(0, noise, HONEST.signed(5)))
    assert desk.witness.add_checkpoint(first).status == 422
    desk.add(HONEST, 0, 5)
    again = format_submission(Submission(5, noise, HONEST.signed(5)))
    assert desk.witness.add_checkpoint(again).status == 422


def test_an_empty_log_has_one_root_only() -> None:
    """A tree of no records whose root is another's is refused."""
    desk = Desk()
    checkpoint = Checkpoint(LOG.key.name, TreeHead(0, sha256(b"no").digest()))
    lying = format_submission(Submission(0, (), sign_checkpoint(checkpoint, LOG)))

    assert desk.witness.add_checkpoint(lying).status == 409
    assert desk.witness.latest(LOG.key.name)[0] == TreeHead(0, EMPTY_ROOT)


def test_a_clock_set_back_never_signs_an_earlier_time() -> None:
    """By a little: the last time stands. By more: nothing is signed, and told."""
    desk = Desk()
    desk.add(HONEST, 0, 100)
    before_s = desk.clock.now_ns() // 10**9
    desk.clock.advance(-CLOCK_SLACK_S)
    answer = desk.add(HONEST, 100, 200)
    signers = foreign_signers(HONEST.signed(200), answer.body)
    assert signers == [(WITNESS.key.name, before_s)]
    desk.clock.advance(-1)

    assert desk.add(HONEST, 200, 300).status == 503
    assert "clock" in desk.told[-1]
    assert desk.witness.latest(LOG.key.name)[0].size == 200


def test_no_cosignature_leaves_before_it_is_remembered() -> None:
    """Where the disk refuses there is no answer, and the old state stays."""
    desk = Desk()
    desk.add(HONEST, 0, 100)
    desk.memory.is_full = True
    with pytest.raises(OSError, match="No space"):
        desk.add(HONEST, 100, 200)
    desk.memory.is_full = False

    assert desk.witness.latest(LOG.key.name)[0].size == 100


@pytest.mark.parametrize("place", [3, 20, 60, -20, -60])
def test_a_damaged_memory_signs_nothing(place: int) -> None:
    """A flipped bit in the text or its own signature is found by the witness's key."""
    desk = Desk()
    desk.add(HONEST, 0, 100)
    kept = bytearray(desk.memory.notes[LOG.key.name])
    kept[place] ^= 1
    desk.memory.notes[LOG.key.name] = bytes(kept)

    with pytest.raises(TrailDamagedError):
        desk.add(HONEST, 100, 200)
    assert desk.memory.notes[LOG.key.name] == bytes(kept)


def test_what_it_remembers_others_can_read() -> None:
    """The kept file is a checkpoint with both signatures: evidence by itself."""
    desk = Desk()
    desk.add(HONEST, 0, 100)
    note = desk.memory.notes[LOG.key.name]

    assert len(foreign_signers(note, b"")) == 1
    assert [one.size for one in cosignatures(parse_note(note), [WITNESS])] == [100]
