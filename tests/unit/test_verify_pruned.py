"""The verifier on logs that were pruned, and on journals that were sealed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path

import pytest

from comptroller import verify
from comptroller.adapters.tlog.keys import TrailKey
from comptroller.adapters.tlog.tiles import decode_bundle, encode_bundle
from comptroller.adapters.tlog.writer import TrailWriter
from comptroller.engine.trail_ports import Pruning

KEY = TrailKey("trail.example/pruned", bytes(32))
A, CONTROL = "/host/w0/01A", "/host/control/01C"
SEALED, CLOSED = "comptroller.journal.sealed.v1", "comptroller.journal.closed.v1"
PRUNED, GAP = "comptroller.trail.pruned.v1", "comptroller.trail.gap.v1"

Run = Callable[[Path], tuple[int, str]]


def record(source: str, sequence: int, kind: str = "x.v1", /, **data: object) -> bytes:
    made = {
        "specversion": "1.0",
        "id": f"{source}-{sequence}",
        "source": source,
        "type": kind,
        "time": "2026-11-22T10:00:00.000000Z",
        "subject": "x",
        "sequence": str(sequence),
        "data": data,
    }
    return json.dumps(made, separators=(",", ":")).encode()


def pruning(below: object) -> bytes:
    return record(CONTROL, 0, PRUNED, below=below, before=0)


def write(
    folder: Path, records: Sequence[bytes], below: int | None = None, at: int = 0
) -> Path:
    """A log; with `below`, pruned as the record at that index says."""
    writer = TrailWriter(folder, KEY)
    prunings = [] if below is None else [Pruning(at, below)]
    writer.append(records, {}, prunings)
    writer.publish()
    writer.prune(len(records))
    writer.close()
    return folder


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the verifier with the log's key; returns exit code and output."""

    def runs(folder: Path) -> tuple[int, str]:
        code = verify.main([str(folder), "--vkey", str(KEY.key)])
        return code, capsys.readouterr().out

    return runs


# -- pruned logs -------------------------------------------------------------------

LINES = [record(A, number) for number in range(900)]
LINES[800:800] = [pruning(512)]


@pytest.fixture
def pruned(tmp_path: Path) -> Path:
    """901 records, of which the first 512 are pruned by record 800."""
    return write(tmp_path / "trail", LINES, 512, 800)


def test_a_pruned_log_verifies_and_says_so(pruned: Path, run: Run) -> None:
    """How many records are gone, and which record says that they may be."""
    assert not (pruned / "tile/entries/001").exists()
    code, said = run(pruned)
    assert (code, said) == (
        0,
        "NOTE 512 records are pruned, as record 800 says\n901 records, 0 wrong\n",
    )


def test_a_bundle_that_no_record_prunes_is_missing(pruned: Path, run: Run) -> None:
    """Somebody removed one more, and it is named."""
    (pruned / "tile/entries/002").unlink()
    code, said = run(pruned)
    assert code == 1
    assert "WRONG tile/entries/002: missing; no signed record prunes it\n" in said
    assert "tile/entries/001" not in said


def test_nothing_may_be_missing_where_nothing_was_pruned(
    tmp_path: Path, run: Run
) -> None:
    """The record is what makes the difference; one of another type is none."""
    log = write(tmp_path, [record(A, number) for number in range(900)])
    (log / "tile/entries/000").unlink()
    code, said = run(log)
    assert code == 1
    assert "WRONG tile/entries/000: missing; no signed record prunes it\n" in said


def test_a_forged_record_prunes_nothing(tmp_path: Path, run: Run) -> None:
    """An outsider writes one into the entries and removes what it covers."""
    log = write(tmp_path, [record(A, number) for number in range(900)])
    last = log / "tile/entries/003.p/132"
    entries = decode_bundle(last.read_bytes(), 132, "x")
    entries[100] = pruning(512)
    last.write_bytes(encode_bundle(entries))
    for name in ("000", "001"):
        (log / "tile/entries" / name).unlink()
    code, said = run(log)
    assert code == 1
    assert "WRONG record 868 of tile/entries/003.p/132 is not the one of tile/0" in said
    assert "WRONG tile/entries/000: missing; no signed record prunes it\n" in said


@pytest.mark.parametrize("below", [255, 300, 1024, "512", None, [512], -1, 512.0, 0.5])
def test_a_senseless_record_prunes_no_more_than_it_says(
    tmp_path: Path, run: Run, below: object
) -> None:
    """Half a bundle, itself, or no number: what it does not cover is missing."""
    lines = [*LINES[:800], pruning(below), *LINES[801:]]
    log = write(tmp_path, lines)
    (log / "tile/entries/001").unlink()
    code, said = run(log)
    assert code == 1
    assert "WRONG tile/entries/001: missing; no signed record prunes it\n" in said


def test_after_what_is_pruned_sequences_have_no_gap(tmp_path: Path, run: Run) -> None:
    """A source may begin anywhere there, and goes on as everywhere."""
    lines = [*LINES]
    del lines[700]
    log = write(tmp_path, lines, 512, 799)
    code, said = run(log)
    assert code == 1
    assert "WRONG record 700: 701 of /host/w0/01A leaves a gap: 700 is next\n" in said
    assert "1 wrong" in said


def test_what_is_pruned_still_has_its_hashes(pruned: Path, run: Run) -> None:
    """A changed tile of hashes contradicts the checkpoint, as before."""
    tile = pruned / "tile/0/000"
    tile.write_bytes(bytes(32) + tile.read_bytes()[32:])
    code, said = run(pruned)
    assert code == 1
    assert "checkpoint: its tree is not that of the tiles" in said


# -- seals -------------------------------------------------------------------------


def journal(*seals: int, count: int = 12, closes: bool = True) -> list[bytes]:
    """A journal with seals at these sequences, as its process writes it."""
    lines: list[bytes] = []
    begin = 0
    for sequence in range(count):
        is_last = closes and sequence == count - 1
        if sequence in seals or is_last:
            covered = b"".join(one + b"\n" for one in lines[begin:])
            seal = {"from": begin, "sha256": sha256(covered).hexdigest()}
            lines.append(record(A, sequence, CLOSED if is_last else SEALED, **seal))
            begin = sequence
        else:
            lines.append(record(A, sequence, n=sequence))
    return lines


def edited(lines: list[bytes], place: int) -> list[bytes]:
    """With one line changed; its form and its sequence stay."""
    found = list(lines)
    found[place] = found[place].replace(b'"n":', b'"m":')
    assert found != lines
    return found


@pytest.mark.parametrize("seals", [(), (3,), (3, 4, 9), (1, 10)])
@pytest.mark.parametrize("closes", [True, False])
def test_a_journal_as_it_was_written_has_right_seals(
    tmp_path: Path, run: Run, seals: tuple[int, ...], closes: bool
) -> None:
    """Also without an end, and with other journals' records in between."""
    mixed = []
    for number, line in enumerate(journal(*seals, closes=closes)):
        mixed += [line, record(CONTROL, number)]
    code, said = run(write(tmp_path, mixed))
    assert (code, "wrong" in said, "NOTE" in said) == (0, True, False), said


@pytest.mark.parametrize(
    ("place", "seal", "begin"), [(1, 4, 0), (2, 4, 0), (5, 8, 4), (9, 11, 8)]
)
def test_an_edited_journal_is_named(
    tmp_path: Path, run: Run, place: int, seal: int, begin: int
) -> None:
    """The seal that follows is not that of its records, and says which they are."""
    code, said = run(write(tmp_path, edited(journal(4, 8), place)))
    assert code == 1
    assert said == (
        f"WRONG record {seal}: the seal of {A} is not that of its records {begin} to"
        f" {seal - 1}: the journal was edited before it was sequenced\n"
        "12 records, 1 wrong\n"
    )


@pytest.mark.parametrize(
    "seal",
    [
        {"from": 4, "sha256": "0" * 64},
        {"from": 3},
        {"from": None},
        {},
        {"from": 4, "sha256": None},
        {"sha256": "x"},
    ],
)
def test_a_seal_that_was_edited_too_is_named(
    tmp_path: Path, run: Run, seal: dict[str, object]
) -> None:
    """Whatever it says now, the process's next seal contradicts it."""
    lines = edited(journal(4, 8), 5)
    lines[8] = record(A, 8, SEALED, **seal)
    code, said = run(write(tmp_path, lines))
    assert code == 1
    assert "WRONG record 8: the seal" in said
    assert "WRONG record 11: the seal" in said


def test_a_seal_made_to_fit_is_found_by_the_next(tmp_path: Path, run: Run) -> None:
    """Seals chain: each covers the one before, as its process wrote it."""
    lines = edited(journal(4, 8), 5)
    covered = b"".join(one + b"\n" for one in lines[4:8])
    fitting = {"from": 4, "sha256": sha256(covered).hexdigest()}
    lines[8] = record(A, 8, SEALED, **fitting)
    code, said = run(write(tmp_path, lines))
    assert code == 1
    assert "WRONG record 11: the seal of /host/w0/01A is not that of its" in said
    assert "1 wrong" in said


@pytest.mark.parametrize("kind", [SEALED, CLOSED])
def test_a_seal_of_no_sense_is_named(tmp_path: Path, run: Run, kind: str) -> None:
    """Its data is no object, or not there: named, and no traceback."""
    for data in (b"[1]", b"3", b'"x"', b'{"from":{}}', b"{", b""):
        line = record(A, 2, kind).replace(b'"data":{}', b'"data":' + data)
        code, said = run(write(tmp_path / data.hex(), [*journal(count=3)[:2], line]))
        assert code == 1
        assert "WRONG record 2" in said


def test_journals_from_before_seals_verify(tmp_path: Path, run: Run) -> None:
    """Their end says nothing of lines; nor does anything else of them."""
    lines = [record(A, 0), record(A, 1), record(A, 2, CLOSED)]
    assert run(write(tmp_path, lines))[0] == 0


def test_a_sealed_journal_does_not_end_without_one(tmp_path: Path, run: Run) -> None:
    """Where there were seals, an end without one was put there."""
    lines = journal(4)
    lines[-1] = record(A, 11, CLOSED)
    code, said = run(write(tmp_path, lines))
    assert code == 1
    assert "WRONG record 11: the seal" in said


@pytest.mark.parametrize(
    ("reason", "found", "after"),
    [
        ("broken", "8 bytes, not a record", b"not json"),
        ("broken", "99999 bytes, not a record", None),
        ("sequence", 3, record(A, 3)),
    ],
)
def test_where_a_gap_is_told_no_seal_is_checked(
    tmp_path: Path, run: Run, reason: str, found: object, after: bytes | None
) -> None:
    """The log has not all lines of it then; from the next seal on it has again."""
    lines = journal(4, 8)
    at = 4 if reason == "sequence" else 2
    gap = {"source": A, "reason": reason, "expected": 2, "found": found, "at": 9}
    told = [record("/trail", 0, GAP, **gap), *([] if after is None else [after])]
    spoilt = [*lines[:2], *told, *lines[at:]]
    assert run(write(tmp_path / "one", spoilt))[0] == 0
    place = next(n for n, one in enumerate(spoilt) if b'"n":5' in one)
    code, said = run(write(tmp_path / "two", edited(spoilt, place)))
    assert code == 1
    assert "is not that of its records 4 to 7" in said


def test_after_what_is_pruned_seals_are_checked_again(tmp_path: Path, run: Run) -> None:
    """The first seal that is left covers what is gone; the second does not."""
    lines = [*journal(200, 600, 700, count=800), pruning(512)]
    log = write(tmp_path / "good", lines, 512, 800)
    assert run(log)[0] == 0
    passed = write(tmp_path / "unseen", edited(lines, 550), 512, 800)
    assert run(passed)[0] == 0, "nobody can tell"
    code, said = run(write(tmp_path / "seen", edited(lines, 650), 512, 800))
    assert code == 1
    assert "is not that of its records 600 to 699" in said


def test_a_journal_begun_after_what_is_pruned_is_checked_from_its_begin(
    tmp_path: Path, run: Run
) -> None:
    """Its first record is there, so its first seal can be checked."""
    before = [record(CONTROL, number) for number in range(300)]
    lines = [*before, *journal(4), record(CONTROL, 300, PRUNED, below=256)]
    assert run(write(tmp_path / "good", lines, 256, 312))[0] == 0
    code, said = run(write(tmp_path / "bad", edited(lines, 301), 256, 312))
    assert code == 1
    assert "is not that of its records 0 to 3" in said


def test_it_copies_like_any_other(pruned: Path, tmp_path: Path, run: Run) -> None:
    """A pruned log needs nothing that is not in its folder."""
    for name in ("state.json", "lock"):
        (pruned / name).unlink()
    assert run(Path(shutil.copytree(pruned, tmp_path / "copy")))[0] == 0
