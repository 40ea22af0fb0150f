"""Tests of what witnesses have signed of a log, as it is kept beside it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest

from comptroller.adapters.tlog.cosigned import (
    CHECKPOINT,
    VKEY,
    CosignedNote,
    compared,
    cosigned_notes,
    kept_witnesses,
    newest_of_each,
    newest_over,
    read_notes,
    signed_by_log,
)
from comptroller.adapters.tlog.exporting import export_log
from comptroller.adapters.tlog.finding import TrailFinder
from comptroller.adapters.tlog.keys import TrailKey, WitnessKey
from comptroller.adapters.tlog.proof import parse_proof, prove, verify_proof
from comptroller.adapters.tlog.witnessed import Witnessed
from comptroller.adapters.tlog.writer import TrailWriter
from comptroller.core.checkpoint import Note, NoteSignature, format_note, parse_note
from comptroller.core.errors import TrailDamagedError

KEY = TrailKey("log.example/t", bytes(32))
OTHER = TrailKey("log.example/other", bytes(31) + b"1")
W1 = WitnessKey("witness.example/w1", b"1" * 32)
W2 = WitnessKey("witness.example/w2", b"2" * 32)
TIME_S = 1_700_000_000


class Span(NamedTuple):
    """Everything."""

    since: str | None = None
    until: str | None = None


class Kept:
    """A log, and what witnesses have signed of it."""

    def __init__(self, folder: Path) -> None:
        self.trail = folder / "trail"
        self.witnessed = folder / "trail-witnessed"
        self.size = 0

    def grow(self, count: int, salt: bytes = b"") -> bytes:
        """Appends records and publishes; the note."""
        records = [b"record %d%b" % (self.size + one, salt) for one in range(count)]
        writer = TrailWriter(self.trail, KEY)
        try:
            writer.append(records, {})
            self.size += count
            return writer.publish()
        finally:
            writer.close()

    def sign(self, note: bytes, witness: WitnessKey, time_s: int = TIME_S) -> None:
        """Keeps a checkpoint with a witness's signature, as the sequencer does."""
        shown = parse_note(note)
        signature = witness.cosign(shown.body, time_s)
        line = NoteSignature(witness.key.name, witness.key.key_id, signature)
        folder = self.witnessed / witness.key.name.replace("/", "-")
        folder.mkdir(parents=True, exist_ok=True)
        kept = format_note(Note(shown.body, (*shown.signatures, line)))
        (folder / CHECKPOINT).write_bytes(kept)
        (folder / VKEY).write_text(f"{witness.key}\n")

    def notes(self) -> list[CosignedNote]:
        """What is kept, by the keys that are kept."""
        paths = [self.trail / CHECKPOINT, *self.witnessed.glob(f"*/{CHECKPOINT}")]
        return cosigned_notes(read_notes(paths), kept_witnesses(self.witnessed))

    def finder(self) -> TrailFinder:
        """What answers look in."""
        places = self.trail.parent / "places"
        return TrailFinder(self.trail, places, self.witnessed)


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path)


def test_the_newest_that_most_witnesses_signed_proves(kept: Kept) -> None:
    """Both before one, one before none; only over the record; else there is none."""
    first = kept.grow(300)
    kept.sign(first, W1)
    kept.sign(first, W2)
    best = newest_over(kept.notes(), 299)
    assert best is not None
    assert [one.witness for one in best.by] == [W1.key.name, W2.key.name]
    second = kept.grow(300)
    kept.sign(second, W1, TIME_S + 9)
    kept.grow(10)

    notes = kept.notes()
    over = {index: newest_over(notes, index) for index in (0, 299, 300, 599, 600)}

    sizes = {i: one and one.checkpoint.head.size for i, one in over.items()}
    assert sizes == {0: 600, 299: 600, 300: 600, 599: 600, 600: None}
    assert newest_over(cosigned_notes(read_notes([]), [W1]), 0) is None


def test_a_proof_carries_the_witness(kept: Kept) -> None:
    """The record is proved by the older, cosigned checkpoint, to both keys."""
    kept.sign(kept.grow(300), W1)
    kept.grow(300)
    best = newest_over(kept.notes(), 7)
    assert best is not None

    record, content = prove(kept.trail, 7, best.note)

    assert record == b"record 7"
    for keys in ([KEY], [W1], [KEY, W1]):
        proven = verify_proof(content, record, KEY.key.name, keys)
        assert proven.checkpoint.head.size == 300
        assert len(proven.signers) == len(keys)
    assert parse_proof(content).checkpoint == best.note
    last = verify_proof(prove(kept.trail, 7)[1], record, KEY.key.name, [KEY])
    assert last.checkpoint.head.size == 600


def test_answers_say_how_far_each_witness_has_signed(kept: Kept) -> None:
    """Verified with the kept keys; a name without its key there says nothing."""
    kept.sign(kept.grow(5), W2)
    kept.sign(kept.grow(5), W1, TIME_S + 1)
    kept.grow(5)
    published = kept.finder().published()
    assert published is not None
    seen = [(one.witness, one.size) for one in published.cosigned]
    assert seen == [(W1.key.name, 10), (W2.key.name, 5)]

    for path in kept.witnessed.glob(f"*/{VKEY}"):
        path.write_text(f"{KEY.key}\n" if "w1" in str(path) else "no key")
    assert kept_witnesses(kept.witnessed) == []
    again = kept.finder().published()
    assert again is not None
    assert not again.cosigned


@pytest.mark.parametrize("how", ["truncated", "rewritten"])
def test_a_log_that_contradicts_a_witness_is_damaged(tmp_path: Path, how: str) -> None:
    """Smaller than what was signed, or with another record: told, and not answered."""
    before, kept = Kept(tmp_path / "before"), Kept(tmp_path)
    kept.grow(20)
    note = before.grow(30) if how == "truncated" else before.grow(20, b"!")
    kept.sign(note, W1)

    fitting, wrong = compared(kept.notes(), kept.trail, kept.size)

    assert [one.checkpoint.head.size for one in fitting] == [20]
    assert len(wrong) == 1
    assert how in wrong[0]
    assert W1.key.name in wrong[0]
    with pytest.raises(TrailDamagedError, match=how):
        kept.finder().published()


def test_the_logs_own_signature_is_evidence_alone(tmp_path: Path) -> None:
    """A kept checkpoint counts whose witness is not known, if the log signed it."""
    before, kept = Kept(tmp_path / "before"), Kept(tmp_path)
    kept.grow(20)
    kept.sign(before.grow(30), W1)
    notes = cosigned_notes(read_notes(kept.witnessed.glob(f"*/{CHECKPOINT}")), [])

    assert signed_by_log(notes, [OTHER]) == []
    _, wrong = compared(signed_by_log(notes, [KEY]), kept.trail, kept.size)
    assert wrong == ["the log itself signed 30 records; 20 are here: truncated"]


def test_what_is_no_checkpoint_is_passed_over(kept: Kept) -> None:
    """Cut, foreign or missing files are not evidence, and stop nothing."""
    kept.sign(kept.grow(5), W1)
    folder = kept.witnessed / "x"
    folder.mkdir()
    (folder / CHECKPOINT).write_bytes(b"nonsense")
    (folder / VKEY).write_bytes(b"\xff")
    assert [one.witness for one in newest_of_each(kept.notes())] == [W1.key.name]


def test_an_export_has_what_witnesses_signed(kept: Kept, tmp_path: Path) -> None:
    """Each one's newest checkpoint and key; the last one with all its signatures."""
    kept.sign(kept.grow(300), W2)
    kept.sign(kept.grow(20), W1)
    witnessed = Witnessed(kept_witnesses(kept.witnessed), kept.notes())
    to = tmp_path / "out"
    to.mkdir()

    export_log(kept.trail, to, str(KEY.key), Span(), witnessed)

    folders = sorted(one.name for one in (to / "witnessed").iterdir())
    assert folders == ["1-witness.example-w1", "2-witness.example-w2"]
    for folder, size in zip(folders, (b"320", b"300"), strict=True):
        note = (to / "witnessed" / folder / "checkpoint").read_bytes()
        assert note.splitlines()[1] == size
    last = (to / "log" / "checkpoint").read_bytes()
    assert last == (to / "witnessed" / folders[0] / "checkpoint").read_bytes()
    page = (to / "README.md").read_text()
    assert f"--since witnessed/{folders[1]}/checkpoint" in page
    assert f"--vkey '{W1.key}'" in page
    assert f"--vkey '{W2.key}'" not in page
