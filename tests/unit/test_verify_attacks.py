"""What somebody may try on the verifier who has the folder, but not the key."""

from __future__ import annotations

import json
import os
import shutil
from base64 import b64encode
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path

import pytest

from comptroller import verify
from comptroller.adapters.tlog.keys import TrailKey
from comptroller.adapters.tlog.tiles import decode_bundle, encode_bundle
from comptroller.adapters.tlog.writer import TrailWriter

KEY = TrailKey("trail.example/attacked", bytes(32))
A, B = "/host/w0/01A", "/host/w1/01B"
SIZE = 300

Run = Callable[..., tuple[int, str]]


def record(source: str, sequence: int, **members: object) -> bytes:
    """A journal's record; its parts may be anything."""
    made = {
        "specversion": "1.0",
        "id": f"{sequence}-settled",
        "source": source,
        "type": "x.v1",
        "time": "2026-11-22T10:00:00.000000Z",
        "subject": "x",
        "sequence": str(sequence),
        "data": {},
    }
    return json.dumps(made | members, separators=(",", ":")).encode()


def gap(sequence: int, reason: str, expected: object, found: object) -> bytes:
    """The log's own word on a journal of A."""
    data = {"source": A, "reason": reason, "expected": expected, "found": found}
    kind = "comptroller.trail.gap.v1"
    return record("/trail", sequence, type=kind, data=data)


def write(folder: Path, records: Sequence[bytes], key: TrailKey = KEY) -> Path:
    writer = TrailWriter(folder, key)
    writer.append(records, {})
    writer.publish()
    writer.close()
    return folder


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    records = [record(A, number) for number in range(SIZE)]
    return write(tmp_path_factory.mktemp("honest") / "trail", records)


@pytest.fixture
def trail(built: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(built, tmp_path / "trail"))


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the verifier with the log's key; returns exit code and output."""

    def runs(folder: Path, *more: object) -> tuple[int, str]:
        code = verify.main([str(folder), "--vkey", str(KEY.key), *map(str, more)])
        return code, capsys.readouterr().out

    return runs


def sealed_to(sequence: int, *lines: bytes) -> bytes:
    """The seal of a journal of A that is edited before it comes into the log."""
    text = b"".join(one + b"\n" for one in lines)
    data = {"from": 0, "sha256": sha256(text).hexdigest()}
    return record(A, sequence, type="comptroller.journal.sealed.v1", data=data)


@pytest.mark.parametrize("kind", ["comptroller.trail.gap.v1", "x.v1"])
def test_no_journal_tells_of_a_gap_under_the_name_of_the_log(
    tmp_path: Path, run: Run, kind: str
) -> None:
    """A line whose members come twice: ours to the sequencer, the log's to a regex.

    It would excuse the seal that the edit breaks, and the sequence that it skips.
    """
    data = {"source": A, "reason": "sequence", "expected": 1, "found": 2}
    told = record("/trail", 0, type=kind, data=data)
    forged = told[:-1] + b"," + record(A, 1, data=data)[1:]
    first = record(A, 0)
    seal = sealed_to(2, first, record(A, 1))
    code, said = run(write(tmp_path, [first, forged, seal]))
    assert code == 1, said
    if kind != "x.v1":
        assert "WRONG record 1 is no record of a journal" in said


@pytest.mark.parametrize("reason", ["torn", "shrunk", "missing"])
def test_a_gap_after_which_nothing_comes_excuses_nothing(
    tmp_path: Path, run: Run, reason: str
) -> None:
    """What comes next is of another journal, and answers for itself."""
    told = gap(0, reason, 1, "7 bytes without an end")
    code, said = run(write(tmp_path, [record(A, 0), told, record(B, 5)]))
    assert code == 1
    assert f"WRONG record 2: 5 of {B} leaves a gap: 0 is next" in said


@pytest.mark.parametrize(
    ("told", "after"),
    [
        (gap(0, "sequence", 1, 4), record(B, 4)),
        (gap(0, "sequence", 1, 4), record(A, 5)),
        (gap(0, "sequence", 3, 4), record(A, 4)),
        (gap(0, "duplicate", 1, "0-settled"), record(A, 1, id="other")),
        (gap(0, "duplicate", 1, "0-settled"), record(A, 2, id="0-settled")),
        (gap(0, "broken", 1, "3 bytes, not a record"), b"not json"),
        (record(A, 1, type="comptroller.trail.gap.v1"), record(A, 3)),
        (gap(0, "sequence", [1], {}), record(A, 3)),
    ],
)
def test_a_gap_excuses_only_what_it_names(
    tmp_path: Path, run: Run, told: bytes, after: bytes
) -> None:
    """Source, expected and found; and only the log itself tells of gaps."""
    code, said = run(write(tmp_path, [record(A, 0), told, after]))
    is_harmless = b'"other"' in after
    assert code == (0 if is_harmless else 1)
    assert ("WRONG record 2" in said) != is_harmless


@pytest.mark.parametrize(
    ("told", "after", "then"),
    [
        (gap(0, "sequence", 1, 4), record(A, 4), record(A, 5)),
        (gap(0, "sequence", 1, 0), record(A, 0), record(A, 1)),
        (
            gap(0, "duplicate", 1, "0-settled"),
            record(A, 1, id="0-settled"),
            record(A, 2),
        ),
        (gap(0, "broken", 1, "8 bytes, not a record"), b"not json", record(A, 1)),
        (
            gap(0, "broken", 1, f"{len(record(B, 99))} bytes of {B}"),
            record(B, 99),
            record(B, 0),
        ),
    ],
)
def test_what_a_gap_names_is_noted_and_the_rest_goes_on(
    tmp_path: Path, run: Run, told: bytes, after: bytes, then: bytes
) -> None:
    """The sequencer's honest words about a journal that somebody spoiled."""
    code, said = run(write(tmp_path, [record(A, 0), told, after, then]))
    assert (code, said.count("NOTE")) == (0, 1), said


@pytest.mark.parametrize(
    "time", ["2026-11-22T09:00:00", "2026", "", "0001-01-01T00:00:00+23:59"]
)
def test_a_time_that_is_none_is_named(tmp_path: Path, run: Run, time: str) -> None:
    """Also one that cannot be compared with the others: no traceback."""
    code, said = run(write(tmp_path, [record(A, 0), record(A, 1, time=time)]))
    assert "record 1" in said
    assert code == ("+23:59" not in time)


@pytest.mark.parametrize("text", ["\x1b[2J", "\n600 records, 0 wrong", "\ud800", "é"])
def test_no_record_writes_the_verdict(tmp_path: Path, run: Run, text: str) -> None:
    """Control characters, lines and broken characters are printed as escapes."""
    code, said = run(write(tmp_path, [record(A + text, 1)]))
    assert code == 1
    assert said.isascii()
    assert "\x1b" not in said
    assert said.count("\n") == 2


@pytest.mark.parametrize("name", ["tile/0/000", "tile/entries/000", "tile/1/000.p/1"])
@pytest.mark.parametrize("what", ["pipe", "endless", "huge", "folder"])
def test_what_is_no_file_of_a_log_ends(
    trail: Path, run: Run, name: str, what: str
) -> None:
    """No pipe is waited for, and no device or huge file fills the memory."""
    path = trail / name
    path.unlink()
    if what == "pipe":
        os.mkfifo(path)
    elif what == "endless":
        path.symlink_to("/dev/zero")
    elif what == "huge":
        with path.open("wb") as file:
            file.truncate(1 << 40)
    else:
        path.mkdir()
    code, said = run(trail)
    assert code == 1
    assert "WRONG " in said


@pytest.mark.parametrize("what", ["pipe", "endless"])
def test_a_checkpoint_that_never_ends_is_not_read(
    trail: Path, run: Run, what: str
) -> None:
    """Nor waited for: it is not what anybody signed."""
    path = trail / "checkpoint"
    path.unlink()
    if what == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    code, said = run(trail)
    assert code == 1
    assert f"WRONG {path}: changed, or" in said


def test_a_partial_tile_is_of_its_width(trail: Path, run: Run) -> None:
    """One as long as a full one, behind whose signed part anything stands."""
    path = trail / "tile/0/001.p/44"
    path.write_bytes(path.read_bytes().ljust(8192, b"x"))
    code, said = run(trail)
    assert code == 1
    assert "WRONG tile/0/001.p/44: 8192 bytes" in said


def test_the_last_entry_is_as_long_as_it_says(trail: Path, run: Run) -> None:
    """In a full bundle, too, that stands where the partial one was."""
    partial = trail / "tile/entries/001.p/44"
    records = decode_bundle(partial.read_bytes(), 44, "x")
    longer = encode_bundle(records[:-1]) + b"\xff\xff" + records[-1]
    partial.unlink()
    (trail / "tile/entries/001").write_bytes(longer)
    code, said = run(trail)
    assert code == 1
    assert "WRONG tile/entries/001: not exactly" in said


def test_files_that_nobody_signed_change_nothing(trail: Path, run: Run) -> None:
    """Beyond the signed size, of another width, or of another name."""
    for name in ("tile/0/002", "tile/entries/000.p/9", "tile/9/000", "x", "tile/0/1"):
        (trail / name).parent.mkdir(parents=True, exist_ok=True)
        (trail / name).write_bytes(b"anything")
    assert run(trail) == (0, f"{SIZE} records, 0 wrong\n")


def test_two_notes_are_none(trail: Path, built: Path, tmp_path: Path, run: Run) -> None:
    """One after the other, a body with another's signature, the same key's name."""
    path = trail / "checkpoint"
    own = path.read_bytes()
    other = (write(tmp_path / "o", [record(A, 0)]) / "checkpoint").read_bytes()
    twin = TrailKey(KEY.key.name, bytes(31) + b"x")
    forged = (write(tmp_path / "f", [record(A, 0)], twin) / "checkpoint").read_bytes()
    mixed = own.partition(b"\n\n")[0] + b"\n\n" + other.partition(b"\n\n")[2]
    for note in (
        own + own,
        own + other,
        other + b"\n" + own,
        mixed,
        forged,
        b"",
        b"\n",
    ):
        path.write_bytes(note)
        code, said = run(trail)
        assert code == 1, note
        assert f"WRONG {path}" in said
    path.write_bytes(own + forged.rpartition(b"\n\n")[2])
    assert run(trail)[0] == 0, "a stranger's line is nobody's business"


def test_a_witness_alone_does_not_make_a_log(trail: Path) -> None:
    """The log's own key must be among those that are given."""
    kind = b"\x04" + KEY.key.public
    key_id = sha256(KEY.key.name.encode() + b"\n" + kind).hexdigest()[:8]
    encoded = b64encode(kind).decode()
    assert verify.main([str(trail), "--vkey", f"{KEY.key.name}+{key_id}+{encoded}"])


@pytest.mark.parametrize("data", [b"", b"\x01", b"\x02" + bytes(32), b"\x04x"])
def test_a_key_of_no_known_kind_is_refused(trail: Path, data: bytes) -> None:
    """Before anything is read, or as one that has not signed."""
    key_id = sha256(b"x\n" + data).hexdigest()[:8]
    vkey = f"x+{key_id}+{b64encode(data).decode()}"
    if len(data) == 33:
        assert verify.main([str(trail), "--vkey", vkey]) == 1
        return
    with pytest.raises(SystemExit) as ended:
        verify.main([str(trail), "--vkey", vkey])
    assert ended.value.code == 2


def test_a_folder_of_lies_ends_early(tmp_path: Path, run: Run) -> None:
    """Where everything is wrong, neither time nor memory is spent on all of it."""
    long = [record("/x" * 9000 + str(number), 7) for number in range(256)]
    write(tmp_path, [one for _ in range(8) for one in long])
    code, said = run(tmp_path)
    assert code == 1
    assert "so much is wrong that no more is read" in said
    assert len(said) < 100_000
