from __future__ import annotations

from base64 import b64encode
from typing import NamedTuple

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from comptroller.core.checkpoint import (
    Checkpoint,
    Note,
    NoteSignature,
    VerifierKey,
    check_name,
    format_note,
    parse_checkpoint,
    parse_note,
    parse_vkey,
    verified,
)
from comptroller.core.errors import NoteError
from comptroller.core.merkle import TreeHead

# Go's golang.org/x/mod/sumdb/note, from its documentation's example.
KNOWN_VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
KNOWN_NOTE = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
    "\n"
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSN"
    "XgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
).encode()
# The example of C2SP tlog-checkpoint.
KNOWN_CHECKPOINT = (
    "example.com/behind-the-sofa\n"
    "20852163\n"
    "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
    "\n"
    "— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4"
    "URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
).encode()


class Ed25519(NamedTuple):
    """The verifier that the core leaves to others."""

    key: VerifierKey

    def verify(self, body: bytes, signature: bytes) -> bool:
        """Whether the key signed it."""
        public = Ed25519PublicKey.from_public_bytes(self.key.public)
        try:
            public.verify(signature, body)
        except InvalidSignature:
            return False
        return True


def test_the_known_note_verifies_with_the_known_key() -> None:
    """Go's published note and key are read as Go reads them."""
    key = parse_vkey(KNOWN_VKEY)
    note, signers = verified(KNOWN_NOTE, [Ed25519(key)])

    assert signers == [KNOWN_VKEY]
    assert str(key) == KNOWN_VKEY
    assert note.body.endswith(b"problem is.\n")
    assert format_note(note) == KNOWN_NOTE


def test_the_known_checkpoint_is_read_and_written_as_it_is() -> None:
    """The specification's example comes back byte for byte."""
    note = parse_note(KNOWN_CHECKPOINT)
    checkpoint = parse_checkpoint(note.body)

    assert checkpoint.origin == "example.com/behind-the-sofa"
    assert checkpoint.head.size == 20852163
    assert checkpoint.body == note.body
    assert format_note(note) == KNOWN_CHECKPOINT


@given(st.integers(0, len(KNOWN_NOTE) - 1), st.integers(0, 7))
def test_no_bit_of_a_note_can_change(place: int, bit: int) -> None:
    """Whatever bit is flipped, the note is refused."""
    changed = bytearray(KNOWN_NOTE)
    changed[place] ^= 1 << bit

    with pytest.raises(NoteError):
        verified(bytes(changed), [Ed25519(parse_vkey(KNOWN_VKEY))])


@given(st.integers(0, len(KNOWN_VKEY) - 1), st.integers(0, 7))
def test_no_bit_of_a_key_can_change(place: int, bit: int) -> None:
    """A key that was copied wrongly is refused, not used."""
    changed = bytearray(KNOWN_VKEY.encode())
    changed[place] ^= 1 << bit

    with pytest.raises(NoteError):
        parse_vkey(changed.decode(errors="replace"))


@given(st.binary(max_size=300))
def test_what_is_no_note_is_refused(data: bytes) -> None:
    """Random bytes never are a note, and never break the reader."""
    with pytest.raises(NoteError):
        parse_note(data)


def test_signatures_of_strangers_are_passed_over() -> None:
    """A stranger's signature, even in a known name, neither helps nor harms."""
    note = parse_note(KNOWN_NOTE)
    stranger = NoteSignature("PeterNeumann", b"abcd", bytes(64))
    both = format_note(Note(note.body, (stranger, *note.signatures)))
    known = [Ed25519(parse_vkey(KNOWN_VKEY))]

    assert verified(both, known)[1] == [KNOWN_VKEY]
    with pytest.raises(NoteError, match="known"):
        verified(format_note(Note(note.body, (stranger,))), known)


def test_a_wrong_signature_of_a_known_key_refuses_the_note() -> None:
    """One good signature does not hide a bad one."""
    note = parse_note(KNOWN_NOTE)
    good = note.signatures[0]
    bad = good._replace(signature=bytes(64))
    data = format_note(Note(note.body, (good, bad)))

    with pytest.raises(NoteError, match="wrong"):
        verified(data, [Ed25519(parse_vkey(KNOWN_VKEY))])


ROOT = b64encode(bytes(32)).decode()


@pytest.mark.parametrize(
    "body",
    [
        "log\n1\n",
        "\n1\n" + ROOT + "\n",
        "log\n01\n" + ROOT + "\n",
        "log\n-1\n" + ROOT + "\n",
        "log\n9223372036854775808\n" + ROOT + "\n",
        "log\n1\n" + ROOT[:-1] + "\n",
        "log\n1\n" + b64encode(bytes(31)).decode() + "\n",
        "log\n1\n" + ROOT,
        "log\n1\n" + ROOT + "\n\nextension\n",
    ],
)
def test_what_is_no_checkpoint_is_refused(body: str) -> None:
    """Each part of a checkpoint has one form."""
    with pytest.raises(NoteError):
        parse_checkpoint(body.encode())


def test_extension_lines_are_passed_over() -> None:
    """Somebody else's extension does not hide size and root."""
    read = parse_checkpoint(f"log\n1\n{ROOT}\nextension\n".encode())

    assert read == Checkpoint("log", TreeHead(1, bytes(32)))


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\u00a0b", "a\nb"])
def test_a_name_that_breaks_notes_is_refused(name: str) -> None:
    """No spaces of any kind and no plus sign, as the format wants."""
    with pytest.raises(NoteError):
        check_name(name)


@pytest.mark.parametrize(
    "change",
    [
        lambda note: note.replace(b"\n\n", b"\n"),
        lambda note: note[:-1],
        lambda note: note.replace("— ".encode(), b"- "),
        lambda note: note + b"\n",
        lambda note: note.replace(b"then", b"th\ten"),
        lambda note: note + "— other AAAA\n".encode(),
        lambda note: note + "— other !\n".encode(),
        lambda note: note + note[note.rindex("—".encode()) :] * 64,
        lambda note: note + b"x" * 300_000,
        lambda note: note.replace(b"then", b"\xff"),
    ],
    ids=map(str, range(10)),
)
def test_a_note_of_another_form_is_refused(change: object) -> None:
    """Each rule of the format, broken alone, is found."""
    assert callable(change)
    with pytest.raises(NoteError):
        parse_note(change(KNOWN_NOTE))
