from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comptroller.core.errors import BadRequestError
from comptroller.wire import splice

NAMES = st.sampled_from(["model", "stream", "a", "", 'q"uo\\te', "ключ", "😀", "m\n"])
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**40), 2**40)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
    | st.sampled_from(['","model":"x', "}{", '\\"', "\\u006d"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3)
    ),
    max_leaves=8,
)
OBJECTS = st.dictionaries(NAMES, VALUES, max_size=6)
SPACES = st.text(" \t\r\n", max_size=3)


@st.composite
def bodies(draw: st.DrawFn) -> tuple[bytes, dict[str, Any]]:
    """An object, and one of the many ways to write it."""
    document = draw(OBJECTS)
    members = []
    for name, value in document.items():
        key = json.dumps(name, ensure_ascii=draw(st.booleans()))
        if name == "model" and draw(st.booleans()):
            key = '"\\u006dod\\u0065l"'
        space = [draw(SPACES) for _ in range(4)]
        written = json.dumps(
            value, ensure_ascii=draw(st.booleans()), indent=draw(st.none() | st.just(1))
        )
        members.append(f"{space[0]}{key}{space[1]}:{space[2]}{written}{space[3]}")
    text = draw(SPACES) + "{" + ",".join(members) + draw(SPACES) + "}" + draw(SPACES)
    return text.encode(), document


@given(bodies(), NAMES, VALUES)
def test_put_changes_one_field_and_nothing_else(
    written: tuple[bytes, dict[str, Any]], name: str, value: object
) -> None:
    """Any JSON, however written: one field is set, all other bytes stay."""
    body, document = written
    new = json.dumps(value).encode()
    after = splice.put(body, name, new)
    assert json.loads(after) == {**document, name: value}
    if name in document:
        span = splice.spans(body, splice.members(body))[name]
        assert after == body[: span.value] + new + body[span.end :]
    else:
        brace = body.index(b"{") + 1
        assert after.startswith(body[:brace])
        assert after.endswith(body[brace:])


@given(bodies(), NAMES)
def test_remove_takes_one_field_and_nothing_else(
    written: tuple[bytes, dict[str, Any]], name: str
) -> None:
    """Any JSON, however written: one field goes, all others stay in order."""
    body, document = written
    after = splice.remove(body, name)
    rest = {key: value for key, value in document.items() if key != name}
    assert list(json.loads(after).items()) == list(rest.items())
    if name not in document:
        assert after == body


@given(bodies())
def test_spans_are_the_values_as_written(written: tuple[bytes, dict[str, Any]]) -> None:
    """Each span holds exactly its value, and the key starts where it says."""
    body, document = written
    places = splice.spans(body, splice.members(body))
    assert list(places) == list(document)
    for name, span in places.items():
        assert json.loads(body[span.value : span.end]) == document[name]
        assert body[span.key : span.key + 1] == b'"'


@given(bodies(), VALUES, st.booleans(), st.data())
def test_a_field_given_twice_is_refused(
    written: tuple[bytes, dict[str, Any]],
    value: object,
    is_escaped: bool,
    data: st.DataObject,
) -> None:
    """A second member of the same name is found, wherever and however written."""
    body, document = written
    if not document:
        return
    name = data.draw(st.sampled_from(list(document)))
    key = json.dumps(name)
    if is_escaped and name[:1].isalpha():
        key = f'"\\u{ord(name[0]):04x}{key[2:]}' if name[0].isascii() else key
    member = f"{key}:{json.dumps(value)}".encode()
    first = body.index(b"{") + 1
    last = body.rindex(b"}")
    for double in (
        body[:first] + member + b"," + body[first:],
        body[:last] + b"," + member + body[last:],
    ):
        found = splice.members(double)
        assert not splice.is_compact(double, found)
        with pytest.raises(BadRequestError, match="more than once"):
            splice.refuse_repeats(double, found)


@given(OBJECTS)
def test_a_compact_body_is_seen_as_such(document: dict[str, Any]) -> None:
    """What our own encoder writes without escapes in keys is compact."""
    plain = {
        name: v for name, v in document.items() if name.isalnum() and name.isascii()
    }
    body = msgspec.json.encode(plain)
    if plain:
        assert splice.is_compact(body, splice.members(body))
        splice.refuse_repeats(body, splice.members(body))


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b'"x"', b"null", b"{", b'{"a":1}x', b'{"a":01}', b"{'a':1}", b"\xff"],
)
def test_what_is_not_an_object_is_refused(body: bytes) -> None:
    """Only a JSON object is a body; the refusal says what it is instead."""
    with pytest.raises(BadRequestError, match="the body"):
        splice.members(body)


def test_deep_nesting_is_refused() -> None:
    """A body that would exhaust the parser's stack is refused, not crashed on."""
    with pytest.raises(BadRequestError, match="too deeply"):
        splice.members(b'{"a":' + b"[" * 200_000 + b"]" * 200_000 + b"}")


def test_refusals_do_not_repeat_the_prompt() -> None:
    """The message about broken JSON has a position, and no text of the body."""
    with pytest.raises(BadRequestError) as caught:
        splice.members(b'{"messages":"my secret plan" oops}')
    assert "secret" not in caught.value.message
