from __future__ import annotations

import base64
import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comptroller.core.disclosure import (
    Disclosed,
    commitment,
    disclosure,
    read_disclosure,
    trace,
)
from comptroller.core.errors import RecordError

SALT = bytes(range(16))


def decoded(text: str) -> object:
    """What RFC 9901 says of a disclosure, without our code."""
    padding = "=" * ((4 - len(text) % 4) % 4)
    return json.loads(base64.urlsafe_b64decode(text + padding).decode("utf-8"))


def test_the_example_of_the_rfc_has_the_digest_of_the_rfc() -> None:
    """RFC 9901 §4.2.3: the disclosure of family_name gives the digest printed there."""
    example = "WyJfMjZiYzRMVC1hYzZxMktJNmNCVzVlcyIsICJmYW1pbHlfbmFtZSIsICJNw7ZiaXVzIl0"

    assert commitment(example) == "X9yH0Ajrdm1Oij4tWso9UzzKJvPoDxwmuEcO3XAdRC0"
    assert read_disclosure(example) == Disclosed(
        "_26bc4LT-ac6q2KI6cBW5es", "family_name", "Möbius"
    )


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=200))
def test_any_value_is_disclosed_as_it_is(value: str) -> None:
    """A disclosure is base64url of a JSON array of three, and ours reads it, too."""
    text = disclosure(SALT, "enduser.id", value)

    salt = base64.urlsafe_b64encode(SALT).rstrip(b"=").decode()
    assert decoded(text) == [salt, "enduser.id", value]
    assert trace("enduser.id", value) in text.encode()
    assert read_disclosure(text) == Disclosed(salt, "enduser.id", value)
    digest = hashlib.sha256(text.encode()).digest()
    assert commitment(text) == base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def test_another_salt_gives_another_commitment() -> None:
    """The same person in two requests has two commitments that nobody can match."""
    both = {commitment(disclosure(salt, "a", "b")) for salt in (SALT, SALT[::-1])}

    assert len(both) == 2


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b'["a","b"]', b'["a","b",3]', b'{"a":1}', b"[" * 100_000, b"\xff"],
    ids=["nothing", "empty", "two", "number", "object", "nested", "no-text"],
)
def test_what_is_no_disclosure_is_refused_and_not_repeated(content: bytes) -> None:
    """Neither its form nor its content gets into the message."""
    with pytest.raises(RecordError) as refused:
        read_disclosure(base64.urlsafe_b64encode(content).rstrip(b"=").decode())

    assert len(refused.value.message) < 80


def test_bytes_that_are_not_base64_are_refused() -> None:
    """Characters outside the alphabet are not skipped."""
    with pytest.raises(RecordError):
        read_disclosure("WyJ!hIiwiYiIsImMiXQ")


def test_a_trace_tells_values_apart() -> None:
    """It is long enough to find one person's lines without reading all of them."""
    ada = trace("enduser.id", "ada@example.org")

    assert len(ada) > 24
    assert ada != trace("enduser.id", "bob@example.org")
    assert ada not in disclosure(SALT, "enduser.id", "bob@example.org").encode()
