from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from comptroller.adapters.tlog.keys import (
    TrailKey,
    open_key,
    read_key,
    verifier,
)
from comptroller.core.checkpoint import COSIGNATURE_ED25519, VerifierKey, parse_vkey
from comptroller.core.errors import NoteError, TrailUnavailableError

NAME = "example.com/trail"


def test_a_key_is_made_once_and_kept(tmp_path: Path) -> None:
    """The second start has the first start's key, name included; only its owner."""
    path = tmp_path / "keys" / "trail.key"
    first = open_key(path, NAME)
    second = open_key(path, "another.example")

    assert str(first.key) == str(second.key)
    assert first.key.name == NAME
    assert path.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in path.parent.iterdir()] == ["trail.key"]


def test_two_keys_are_never_the_same(tmp_path: Path) -> None:
    """Each key is made of new randomness."""
    keys = {str(open_key(tmp_path / str(one), NAME).key) for one in range(3)}

    assert len(keys) == 3


def test_what_a_key_signs_its_vkey_verifies(tmp_path: Path) -> None:
    """The printed key is all that others need."""
    key = open_key(tmp_path / "key", NAME)
    public = verifier(parse_vkey(str(key.key)))
    signature = key.sign(b"text\n")

    assert public.verify(b"text\n", signature)
    assert not public.verify(b"text.\n", signature)
    assert not public.verify(b"text\n", bytes(64))
    assert not public.verify(b"text\n", b"")


def test_a_witness_signs_with_a_time() -> None:
    """The form of tlog-cosignature, type 0x04; the time is signed, too."""
    private = Ed25519PrivateKey.from_private_bytes(bytes(32))
    public = private.public_key().public_bytes_raw()
    witness = verifier(VerifierKey("w.example", COSIGNATURE_ED25519, public))
    signature = private.sign(b"cosignature/v1\ntime 1700000000\nlog\n1\nroot\n")
    stamp = (1_700_000_000).to_bytes(8)

    assert witness.verify(b"log\n1\nroot\n", stamp + signature)
    assert not witness.verify(
        b"log\n1\nroot\n", (1_700_000_001).to_bytes(8) + signature
    )
    assert not witness.verify(b"log\n1\nroot\n", b"")


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    """A key that may have been copied signs nothing."""
    path = tmp_path / "key"
    open_key(path, NAME)
    path.chmod(0o640)

    with pytest.raises(TrailUnavailableError, match="others can read"):
        open_key(path, NAME)


@pytest.mark.parametrize("place", range(0, 80, 7))
def test_a_damaged_key_is_refused(tmp_path: Path, place: int) -> None:
    """A changed byte never becomes another key."""
    path = tmp_path / "key"
    open_key(path, NAME)
    data = bytearray(path.read_bytes())
    data[place] ^= 2
    path.write_bytes(data)

    with pytest.raises(TrailUnavailableError, match="holds no key"):
        read_key(path)


def test_keys_that_cannot_be_are_refused(tmp_path: Path) -> None:
    """No file, no such algorithm, no such name."""
    with pytest.raises(TrailUnavailableError, match="cannot be read"):
        read_key(tmp_path / "none")
    with pytest.raises(NoteError, match="0x06"):
        verifier(VerifierKey("x", 6, bytes(1312)))
    with pytest.raises(NoteError, match="space"):
        TrailKey("a b", bytes(32))
    with pytest.raises(NoteError):
        open_key(tmp_path / "key", "a+b")
    assert list(tmp_path.iterdir()) == []
