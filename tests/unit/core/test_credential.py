from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comptroller.core.credential import (
    SCANNER_PATTERN,
    Credential,
    CredentialId,
    CredentialState,
    Malformed,
    ParsedSecret,
    Secret,
    compose,
    hash_secret,
    is_in_force,
    matching_secret,
    parse,
    public_id,
    rotated,
    state,
)

ENTROPY = st.binary(min_size=32, max_size=32)
ID = CredentialId("Ab0000000009")


def credential(*secrets: Secret, expires_ns: int | None = None) -> Credential:
    return Credential(ID, "checkout", "ada", 0, secrets, expires_ns=expires_ns)


@given(ENTROPY, ENTROPY)
def test_a_composed_secret_parses_to_its_id_and_hash(a: bytes, b: bytes) -> None:
    """Every secret we make is read back as the credential it belongs to."""
    made = public_id(a)
    text = compose(made, b)
    assert parse(text) == ParsedSecret(made, hash_secret(text))
    assert re.fullmatch(SCANNER_PATTERN, text)


@given(ENTROPY, st.integers(4, 54), st.sampled_from("0aZ"))
def test_one_wrong_character_is_a_typing_error(b: bytes, at: int, char: str) -> None:
    """Any single wrong character is told apart from a secret that we do not know."""
    text = compose(ID, b)
    wrong = text[:at] + char + text[at + 1 :]
    if wrong != text:
        assert parse(wrong) in {Malformed.WRONG_CHECKSUM, Malformed.WRONG_FORM}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("sk-proj-123", Malformed.NOT_OURS),
        ("", Malformed.NOT_OURS),
        ("ctl_", Malformed.WRONG_FORM),
        (compose(ID, b"x" * 32)[:-1], Malformed.WRONG_FORM),
        (compose(ID, b"x" * 32) + "\n", Malformed.WRONG_FORM),
        (compose(ID, b"x" * 32).replace("A", "Ä"), Malformed.WRONG_FORM),
        (compose(ID, b"x" * 32)[:-6] + "000000", Malformed.WRONG_CHECKSUM),
    ],
)
def test_what_is_not_a_secret_is_named(text: str, reason: Malformed) -> None:
    """A foreign key, a cut one and a mistyped one each get their own reason."""
    assert parse(text) == reason


@given(st.text())
def test_any_text_is_parsed_without_an_exception(text: str) -> None:
    """Whatever a client sends as its credential is answered, never a crash."""
    assert isinstance(parse(text), Malformed | ParsedSecret)


def test_too_little_entropy_makes_no_secret() -> None:
    """A secret of fewer than 32 random bytes is refused."""
    with pytest.raises(ValueError, match="entropy"):
        compose(ID, b"short")
    with pytest.raises(ValueError, match="not a credential's id"):
        compose(CredentialId("nope"), b"x" * 32)


def test_the_form_of_a_secret_is_pinned() -> None:
    """The form does not change by accident: scanners and clients hold old ones."""
    assert compose(ID, bytes(range(32))) == (
        "ctl_Ab0000000009_jlCTQj2uNU3MFagCXG9LRKRcwGkBIDlf4e1gG8"
    )


@given(st.integers(0, 20), st.integers(0, 20), st.integers(0, 20))
def test_a_secret_is_valid_from_its_start_to_before_its_end(
    start: int, end: int, now: int
) -> None:
    """The validity of a secret is a half-open span of time."""
    assert is_in_force(Secret("h", start, end), now) == (start <= now < end)
    assert is_in_force(Secret("h", start), now) == (start <= now)


def test_rotation_keeps_the_id_and_overlaps() -> None:
    """Old and new secret both work until the overlap ends, then only the new one."""
    before = credential(Secret("old", 0))
    after = rotated(before, Secret("new", 10), 30)
    assert after.id == before.id
    for now, old, new in [(10, True, True), (29, True, True), (30, False, True)]:
        assert (matching_secret(after, "old", now) is not None) == old
        assert (matching_secret(after, "new", now) is not None) == new


def test_a_second_rotation_never_prolongs_an_old_secret() -> None:
    """A secret that is about to end is not revived by another rotation."""
    once = rotated(credential(Secret("a", 0)), Secret("b", 10), 20)
    twice = rotated(once, Secret("c", 11), 99)
    assert [secret.not_after_ns for secret in twice.secrets] == [20, 99, None]


def test_revoked_wins_over_expired() -> None:
    """A credential that was revoked says so, even after it would have expired."""
    live = credential(Secret("a", 0), expires_ns=5)
    gone = Credential(ID, "s", "p", 0, (), revoked_ns=1, expires_ns=5)
    assert state(live, 4) == CredentialState.ACTIVE
    assert state(live, 5) == CredentialState.EXPIRED
    assert state(gone, 9) == CredentialState.REVOKED


def test_the_documented_pattern_is_the_one_that_holds() -> None:
    """What docs give to secret scanners is the expression that is tested here."""
    page = Path(__file__).parents[3] / "docs" / "how-to" / "credentials.md"
    assert f"\n{SCANNER_PATTERN}\n" in page.read_text()
