from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from comptroller import verify
from comptroller.adapters.tlog.keys import TrailKey
from comptroller.adapters.tlog.tiles import decode_bundle, encode_bundle
from comptroller.adapters.tlog.writer import TrailWriter
from comptroller.core.checkpoint import (
    COSIGNATURE_ED25519,
    NoteSignature,
    VerifierKey,
    format_note,
    parse_note,
)

KEY = TrailKey("trail.example/test", bytes(32))
SIZE = 600
SOURCES = ("/host/w0/01A", "/host/w1/01B")


def record(number: int, *, sequence: int | None = None, time: str = "") -> bytes:
    """One of two sources' records, as the request path writes them."""
    place = number // 2 if sequence is None else sequence
    time = time or f"2026-11-22T10:{number // 60:02d}:{number % 60:02d}.000000Z"
    return (
        b'{"specversion":"1.0","id":"%d-settled","source":"%b","type":"x.v1",'
        b'"time":"%b","subject":"x/%d","sequence":"%d","data":{"n":%d}}'
    ) % (
        number,
        SOURCES[number % 2].encode(),
        time.encode(),
        number,
        place,
        number,
    )


def write(folder: Path, records: Sequence[bytes], key: TrailKey = KEY) -> Path:
    writer = TrailWriter(folder, key)
    writer.append(records, {})
    writer.publish()
    writer.close()
    return folder


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log of 600 records, and beside it its checkpoint at 300."""
    base = tmp_path_factory.mktemp("built")
    write(base / "trail", [record(number) for number in range(300)])
    shutil.copy(base / "trail/checkpoint", base / "earlier")
    write(base / "trail", [record(number) for number in range(300, SIZE)])
    return base


@pytest.fixture
def trail(built: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(built / "trail", tmp_path / "trail"))


Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the verifier with the log's key; returns exit code and output."""

    def runs(folder: Path, *more: object, vkey: str = str(KEY.key)) -> tuple[int, str]:
        code = verify.main([str(folder), "--vkey", vkey, *map(str, more)])
        return code, capsys.readouterr().out

    return runs


def flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def test_what_was_written_verifies(built: Path, run: Run) -> None:
    """The honest log is fine, also since the earlier checkpoint."""
    assert run(built / "trail") == (0, "600 records, 0 wrong\n")
    assert run(built / "trail", "--since", built / "earlier")[0] == 0


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 65_537])
def test_a_log_of_any_size_verifies(tmp_path: Path, run: Run, size: int) -> None:
    """Around full tiles, and with a tile of the third level."""
    write(tmp_path, [record(number, time="2026") for number in range(size)])

    assert run(tmp_path) == (0, f"{size} records, 0 wrong\n")


@pytest.mark.parametrize("index", [0, 255, 256, 299, 511, 512, 599])
def test_a_flipped_byte_of_an_entry_is_found(trail: Path, run: Run, index: int) -> None:
    """The record's index and its file are named."""
    name = "002.p/88" if index >= 512 else f"{index // 256:03d}"
    path = trail / "tile/entries" / name
    place = path.read_bytes().index(b'"n":%d}' % index) + 4
    flip(path, place)

    code, said = run(trail)
    assert code == 1
    assert f"WRONG record {index} of tile/entries/{name} is not the one of" in said
    assert "1 wrong" in said


@pytest.mark.parametrize("index", [0, 17, 255, 256, 511, 512, 599])
def test_a_flipped_byte_of_a_tile_is_found(trail: Path, run: Run, index: int) -> None:
    """The hash's index and its tile are named, and what no longer fits it."""
    name = "002.p/88" if index >= 512 else f"{index // 256:03d}"
    flip(trail / "tile/0" / name, index % 256 * 32 + 31)

    code, said = run(trail)
    assert code == 1
    assert f"record {index} of tile/entries/{name} is not the one of tile/0/" in said
    if index < 512:
        assert "WRONG tile/1/000.p/2 is not that of tile/0\n" in said
    else:
        assert "checkpoint: its tree is not that of the tiles" in said


def test_a_flipped_byte_of_an_upper_tile_is_found(trail: Path, run: Run) -> None:
    """Only that tile is named: the records and their hashes agree."""
    flip(trail / "tile/1/000.p/2", 40)

    code, said = run(trail)
    assert code == 1
    assert "WRONG tile/1/000.p/2 is not that of tile/0\n" in said
    assert "1 wrong" in said


def test_a_flipped_byte_of_the_checkpoint_is_found(trail: Path, run: Run) -> None:
    """Wherever it is, the checkpoint is what is named."""
    good = (trail / "checkpoint").read_bytes()
    for place in range(len(good)):
        (trail / "checkpoint").write_bytes(good)
        flip(trail / "checkpoint", place)
        code, said = run(trail)
        assert code == 1, place
        assert f"WRONG {trail / 'checkpoint'}: " in said
        assert "1 wrong" in said


def edit(path: Path, change: Callable[[list[bytes]], None]) -> None:
    data = path.read_bytes()
    records = decode_bundle(data, 256, "x")
    change(records)
    path.write_bytes(encode_bundle(records))


def swapped(records: list[bytes]) -> None:
    records[10], records[12] = records[12], records[10]


@pytest.mark.parametrize(
    ("change", "index", "how"),
    [
        (lambda records: records.pop(10), 11, "leaves a gap"),
        (lambda records: records.insert(10, records[8]), 10, "comes again"),
        (swapped, 10, "leaves a gap"),
    ],
    ids=["dropped", "repeated", "swapped"],
)
def test_a_moved_record_is_found_in_the_files(
    trail: Path, run: Run, change: Callable[[list[bytes]], None], index: int, how: str
) -> None:
    """An outsider who edits entries: the first wrong record, and what it does."""
    edit(trail / "tile/entries/000", change)

    code, said = run(trail)
    assert code == 1
    assert "WRONG record 10 of tile/entries/000 is not the one" in said
    assert f"WRONG record {index}: " in said
    assert how in said


@pytest.mark.parametrize("how", ["dropped", "repeated", "swapped"])
def test_a_moved_record_is_found_though_all_was_signed_anew(
    tmp_path: Path, run: Run, how: str
) -> None:
    """Whoever has the key signs what they like; the sequences tell."""
    records = [record(number) for number in range(100)]
    if how == "dropped":
        del records[40]
        said_of = "record 41: 21 of /host/w0/01A leaves a gap: 20 is next"
    elif how == "repeated":
        records.insert(41, records[40])
        said_of = "record 41: 20 of /host/w0/01A comes again, or late: 21 is next"
    else:
        records[40], records[42] = records[42], records[40]
        said_of = "record 42: 20 of /host/w0/01A comes again, or late: 22 is next"
    write(tmp_path, records)

    code, said = run(tmp_path)
    assert code == 1
    assert f"WRONG {said_of}\n" in said
    assert "its tree" not in said


def test_a_truncated_log_is_found_by_an_older_checkpoint(
    built: Path, tmp_path: Path, run: Run
) -> None:
    """Cut below what somebody kept, and signed anew by whoever has the key."""
    write(tmp_path / "cut", [record(number) for number in range(299)])

    assert run(tmp_path / "cut")[0] == 0
    code, said = run(tmp_path / "cut", "--since", built / "earlier")
    assert code == 1
    assert f"truncated since {built / 'earlier'}: 300 records were signed" in said


@pytest.mark.parametrize("size", [300, 301, 700])
def test_a_fork_is_found_by_an_older_checkpoint(
    built: Path, tmp_path: Path, run: Run, size: int
) -> None:
    """Rewritten, signed anew, grown on: it is not what somebody kept."""
    records = [record(number) for number in range(size)]
    records[17] = records[17].replace(b'"n":17', b'"n":18')
    write(tmp_path / "fork", records)

    assert run(tmp_path / "fork")[0] == 0
    code, said = run(tmp_path / "fork", "--since", built / "earlier")
    assert code == 1
    assert f"forked or rewritten since {built / 'earlier'}: 300 records" in said


def test_an_older_checkpoint_of_another_key_tells_nothing(
    built: Path, tmp_path: Path, run: Run
) -> None:
    """What is compared with must be signed, too."""
    other = TrailKey(KEY.key.name, bytes(31) + b"x")
    write(tmp_path, [record(0)], other)

    code, said = run(built / "trail", "--since", tmp_path / "checkpoint")
    assert code == 1
    assert f"WRONG {tmp_path / 'checkpoint'}: changed, or " in said


def test_a_clock_set_back_is_noted(tmp_path: Path, run: Run) -> None:
    """More than a minute back within a source; less is how waiting records come."""
    times = ["10:00:00", "10:05:00", "10:04:30", "10:06:00", "10:04:59", "10:06:00"]
    records = [
        record(2 * place, time=f"2026-11-22T{time}.000000Z")
        for place, time in enumerate(times)
    ]
    write(tmp_path, records)

    code, said = run(tmp_path)
    assert code == 0
    assert said.count("NOTE") == 1
    assert (
        "NOTE record 4: 4 of /host/w0/01A: clock set back to 2026-11-22T10:04" in said
    )


def test_a_gap_that_the_log_tells_of_is_noted(tmp_path: Path, run: Run) -> None:
    """The sequencer's own record excuses what comes right after it, and no more."""
    gap = {
        "specversion": "1.0",
        "id": "0-gap",
        "source": "/trail",
        "type": "comptroller.trail.gap.v1",
        "time": "2026-11-22T10:00:00.000000Z",
        "subject": "journal",
        "sequence": "0",
        "data": {
            "source": SOURCES[0],
            "reason": "sequence",
            "expected": 1,
            "found": 2,
        },
    }
    line = json.dumps(gap, separators=(",", ":")).encode()
    told = [record(0), line, record(4), record(6)]
    write(tmp_path / "told", told)
    write(tmp_path / "more", [*told, record(10)])

    code, said = run(tmp_path / "told")
    assert code == 0
    assert "NOTE record 1 tells of a gap: {" in said
    assert "WRONG record 4: 5 of /host/w0/01A leaves a gap" in run(tmp_path / "more")[1]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not json",
        b"[1]",
        b"{}",
        b"\xff",
        b"[" * 9999,
        b" " + record(2),
        record(2).replace(b",", b", ", 1),
        record(2).replace(b'"subject":"x/2",', b""),
    ],
)
def test_what_is_no_record_is_found(tmp_path: Path, run: Run, data: bytes) -> None:
    """An entry that no journal can hold: all of ours begin in one way."""
    write(tmp_path, [record(0), data])

    assert run(tmp_path)[1].startswith("WRONG record 1 is no record of a journal\n")


@pytest.mark.parametrize(
    "name", ["tile/0/001", "tile/entries/002.p/88", "tile/1/000.p/2"]
)
def test_a_lost_file_is_named(trail: Path, run: Run, name: str) -> None:
    """What was signed must be there."""
    (trail / name).unlink()

    code, said = run(trail)
    assert code == 1
    full = name.partition(".")[0]
    assert f"WRONG {full}: 0 bytes for" in said or f" of {full} is not the one" in said


@pytest.mark.parametrize("name", ["tile/0/001", "tile/entries/000", "tile/1/000.p/2"])
@pytest.mark.parametrize("by", [-1, 1])
def test_a_file_of_another_length_is_named(
    trail: Path, run: Run, name: str, by: int
) -> None:
    """Cut by a byte, or longer by one."""
    data = (trail / name).read_bytes()
    (trail / name).write_bytes(data[:by] if by < 0 else data + b"x")

    code, said = run(trail)
    assert code == 1
    assert f"WRONG {name}: " in said or f"record 255 of {name} is not" in said


def test_another_key_is_refused(trail: Path, run: Run) -> None:
    """The log is signed by its key and by no other of its name."""
    for name in (KEY.key.name, "other.example"):
        vkey = str(TrailKey(name, bytes(31) + b"x").key)
        assert run(trail, vkey=vkey)[0] == 1


def test_a_witness_must_have_signed_when_its_key_is_given(
    trail: Path, run: Run
) -> None:
    """Its cosignature counts only if it is right; a stranger's line does not."""
    private = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    public = private.public_key().public_bytes_raw()
    witness = VerifierKey("witness.example", COSIGNATURE_ED25519, public)
    note = parse_note((trail / "checkpoint").read_bytes())
    said = b"cosignature/v1\ntime 1700000000\n" + note.body
    signed = (1_700_000_000).to_bytes(8) + private.sign(said)

    for signature, code in ((None, 1), (signed, 0), (signed[:-1] + b"x", 1)):
        lines = list(note.signatures)
        if signature is not None:
            lines.append(NoteSignature(witness.name, witness.key_id, signature))
        lines.append(NoteSignature("stranger.example", b"abcd", b"x" * 72))
        (trail / "checkpoint").write_bytes(
            format_note(note._replace(signatures=tuple(lines)))
        )
        assert run(trail, "--vkey", witness)[0] == code


def test_without_a_key_nothing_is_proved(
    built: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Files that agree with each other may be anybody's."""
    assert verify.main([str(built / "trail")]) == 2
    assert "NOT PROVED" in capsys.readouterr().out


def test_where_there_is_no_log_nothing_is_right(tmp_path: Path, run: Run) -> None:
    """No checkpoint: wrong. A key that is none: said before anything is read."""
    code, said = run(tmp_path)
    assert code == 1
    assert f"WRONG {tmp_path / 'checkpoint'}: changed, or" in said
    with pytest.raises(SystemExit) as ended:
        verify.main([str(tmp_path), "--vkey", "x+y+z"])
    assert ended.value.code == 2


def test_it_stands_alone(built: Path, tmp_path: Path) -> None:
    """Copied away, it verifies with the standard library and cryptography alone."""
    source = Path(verify.__file__).read_text()
    imported = {
        name.split(".")[0]
        for node in ast.walk(ast.parse(source))
        for name in (
            [one.name for one in node.names]
            if isinstance(node, ast.Import)
            else [node.module or "comptroller"]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    (tmp_path / "check.py").write_text(source)
    arguments = [str(built / "trail"), "--vkey", str(KEY.key)]
    done = subprocess.run(
        [sys.executable, "-I", str(tmp_path / "check.py"), *arguments],
        capture_output=True,
        text=True,
        check=False,
    )

    assert imported - set(sys.stdlib_module_names) == {"cryptography"}
    assert source.count("\n") <= 200
    assert (done.returncode, done.stdout) == (0, "600 records, 0 wrong\n"), done.stderr
