from __future__ import annotations

from base64 import b64encode
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comptroller.adapters.tlog.keys import TrailKey, verifier
from comptroller.adapters.tlog.proof import (
    RecordProof,
    format_proof,
    parse_proof,
    prove,
    verify_proof,
)
from comptroller.adapters.tlog.writer import TrailWriter
from comptroller.core.checkpoint import parse_vkey
from comptroller.core.errors import ComptrollerError, ProofError, TrailDamagedError

KEY = TrailKey("trail.example/test", bytes(32))
KNOWN = [verifier(parse_vkey(str(KEY.key)))]
ORIGIN = KEY.key.name
SIZE = 700


def record(number: int) -> bytes:
    return b'{"n":%d}' % number


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("log")
    writer = TrailWriter(folder, KEY)
    writer.append([record(one) for one in range(SIZE)], {})
    writer.publish()
    writer.append([b"not published yet"], {})
    writer.close()
    return folder


@pytest.mark.parametrize("index", [0, 1, 255, 256, 511, 512, 699])
def test_a_record_is_proved_by_a_file_alone(log: Path, index: int) -> None:
    """The exact record, the file and a key are enough."""
    found, data = prove(log, index)
    proven = verify_proof(data, found, ORIGIN, KNOWN)

    assert found == record(index)
    assert proven.index == index
    assert proven.checkpoint.head.size == SIZE
    assert proven.signers == [str(KEY.key)]
    assert len(data) < 1100


def test_the_file_has_the_form_of_the_specification(log: Path) -> None:
    """Line by line, with and without extra data."""
    path = parse_proof(prove(log, 5)[1]).path
    hashes = "".join(f"{b64encode(one).decode()}\n" for one in path)
    note = (log / "checkpoint").read_bytes()
    plain = f"c2sp.org/tlog-proof@v1\nindex 5\n{hashes}\n".encode() + note
    extra = plain.replace(b"index", b"extra aGVsbG8=\nindex", 1)

    assert prove(log, 5)[1] == plain
    assert parse_proof(extra).extra == b"hello"
    assert format_proof(RecordProof(5, path, note, b"hello")) == extra
    assert len(path) == 10


def test_the_only_record_needs_no_hashes(tmp_path: Path) -> None:
    """A tree of one leaf: the path is empty, the form is kept."""
    writer = TrailWriter(tmp_path, KEY)
    writer.append([b"alone"], {})
    writer.publish()
    writer.close()
    found, data = prove(tmp_path, 0)

    assert data.startswith(
        b"c2sp.org/tlog-proof@v1\nindex 0\n\ntrail.example/test\n1\n"
    )
    assert verify_proof(data, found, ORIGIN, KNOWN).index == 0


@settings(max_examples=400)
@given(st.data())
def test_no_bit_of_a_proof_or_its_record_can_change(
    log: Path, draw: st.DataObject
) -> None:
    """Whatever bit is flipped, nothing is proved."""
    found, data = prove(log, 300)
    both = bytearray(data + found)
    both[draw.draw(st.integers(0, len(both) - 1))] ^= 1 << draw.draw(st.integers(0, 7))

    with pytest.raises(ComptrollerError):
        verify_proof(bytes(both[: len(data)]), bytes(both[len(data) :]), ORIGIN, KNOWN)


def test_a_proof_proves_nothing_else(log: Path) -> None:
    """Not another record, another log, nor to those who know another key."""
    found, data = prove(log, 300)
    stranger = TrailKey(ORIGIN, bytes(31) + b"x")
    for wrong in (
        (data, record(301), ORIGIN, KNOWN),
        (data, found, "another.example", KNOWN),
        (data, found, ORIGIN, [stranger]),
        (data, found, ORIGIN, []),
        (data.replace(b"index 300", b"index 301"), found, ORIGIN, KNOWN),
        (data.replace(b"index 300", b"index 0300"), found, ORIGIN, KNOWN),
        (data.replace(b"index 300", b"index 700"), found, ORIGIN, KNOWN),
    ):
        with pytest.raises(ComptrollerError):
            verify_proof(*wrong)


@given(st.binary(max_size=200))
def test_what_is_no_proof_is_refused(data: bytes) -> None:
    """Random bytes, also behind a right first line, never break the reader."""
    for one in (data, b"c2sp.org/tlog-proof@v1\n" + data):
        with pytest.raises(ComptrollerError):
            verify_proof(one, b"", ORIGIN, KNOWN)


def test_a_proof_without_bounds_is_refused() -> None:
    """Neither hashes nor bytes without end."""
    line = b64encode(bytes(32)) + b"\n"
    head = b"c2sp.org/tlog-proof@v1\nindex 1\n"

    with pytest.raises(ProofError, match="64 hashes"):
        parse_proof(head + line * 65 + b"\nnote")
    with pytest.raises(ProofError, match="bytes"):
        parse_proof(head + line * 20_000 + b"\nnote")


def test_what_is_not_published_is_not_proved(log: Path, tmp_path: Path) -> None:
    """A record beyond the checkpoint, a log without one."""
    with pytest.raises(ProofError, match="no record 700"):
        prove(log, SIZE)
    with pytest.raises(ProofError, match="no checkpoint"):
        prove(tmp_path, 0)


def test_no_proof_is_made_of_damaged_files(tmp_path: Path) -> None:
    """A changed record or hash gives an error that names it, not a bad proof."""
    writer = TrailWriter(tmp_path, KEY)
    writer.append([record(one) for one in range(300)], {})
    writer.publish()
    writer.close()
    for name in ("tile/entries/000", "tile/0/000", "tile/1/000.p/1"):
        good = (tmp_path / name).read_bytes()
        bad = bytearray(good)
        bad[20] ^= 1
        (tmp_path / name).write_bytes(bad)
        with pytest.raises(TrailDamagedError, match=r"record [0-9]+"):
            prove(tmp_path, 290 if name == "tile/1/000.p/1" else 1)
        (tmp_path / name).write_bytes(good)
