"""Splicing: change top-level fields of a JSON object, byte-exact elsewhere.

The JSON is read once by msgspec, which gives every top-level value as a slice of
the body; the walk then finds where each of them stands. So no value is parsed
twice, none is written again, and a field that is given twice is found out: two
parsers could read such a body differently, one of them the provider's.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

import msgspec

from comptroller.core.errors import BadRequestError

_MEMBERS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_KEY: Final = re.compile(
    rb'[ \t\n\r]*[{,][ \t\n\r]*("[^"\\]*(?:\\.[^"\\]*)*")[ \t\n\r]*:[ \t\n\r]*'
)


class Span(NamedTuple):
    """Where one top-level member stands in a body."""

    start: int
    """Of the separator before it: the brace or the comma, with white space."""
    key: int
    """Of the key's opening quote."""
    value: int
    end: int


COMMAS_MAX: Final = 1_000_000
"""In texts too. A body of 31 MB that is all small parts would keep the event loop for
seconds; a book has a comma every 60 characters."""


def members(body: bytes, what: str = "the body") -> dict[str, msgspec.Raw]:
    """Reads a JSON object's members, each value as it is written.

    Args:
        body: the JSON text.
        what: how to call it in the message.

    Raises:
        BadRequestError: it is not a JSON object, is nested too deeply, or has too
            many parts.
    """
    if len(body) > COMMAS_MAX and body.count(b",") > COMMAS_MAX:
        raise BadRequestError(f"{what} has too many parts to be read")
    try:
        return _MEMBERS.decode(body)
    except msgspec.ValidationError:
        raise BadRequestError(f"{what} must be a JSON object") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRequestError(f"{what} is not valid JSON: {error}") from None
    except RecursionError:
        raise BadRequestError(f"{what} is nested too deeply") from None


def spans(body: bytes, found: dict[str, msgspec.Raw]) -> dict[str, Span]:
    """Finds where every member stands.

    Args:
        body: a JSON object.
        found: its `members`.

    Raises:
        BadRequestError: a field is given more than once.
    """
    position = 0
    places: dict[str, Span] = {}
    for name, raw in found.items():
        key = _KEY.match(body, position)
        value = bytes(raw)
        if (
            key is None
            or (key[1] != b'"%b"' % name.encode() and _text(key[1]) != name)
            or not body.startswith(value, key.end())
        ):
            raise BadRequestError(_given_twice(key, name))
        end = key.end() + len(value)
        places[name] = Span(position, key.start(1), key.end(), end)
        position = end
    rest = _KEY.match(body, position) if places else None
    if rest is not None:
        raise BadRequestError(_given_twice(rest, ""))
    return places


def refuse_repeats(body: bytes, found: dict[str, msgspec.Raw]) -> None:
    """Makes sure that no field is given more than once.

    Args:
        body: a JSON object.
        found: its `members`.

    Raises:
        BadRequestError: a field is given more than once; the message names it.
    """
    spans(body, found)


def put(body: bytes, name: str, value: bytes) -> bytes:
    """Sets one field to a JSON value; a new one comes first.

    Raises:
        BadRequestError: the body is not a JSON object, or gives a field twice.
    """
    found = members(body)
    span = spans(body, found).get(name)
    if span is not None:
        return body[: span.value] + value + body[span.end :]
    return insert(body, name, value, is_empty=not found)


def insert(body: bytes, name: str, value: bytes, *, is_empty: bool) -> bytes:
    """Adds a field that is not there, as the first."""
    brace = body.index(b"{") + 1
    comma = b"" if is_empty else b","
    key = msgspec.json.encode(name)
    return b"".join((body[:brace], key, b":", value, comma, body[brace:]))


def remove(body: bytes, name: str) -> bytes:
    """Takes one field out, with the comma that belongs to it.

    Raises:
        BadRequestError: the body is not a JSON object, or gives a field twice.
    """
    found = members(body)
    places = spans(body, found)
    span = places.get(name)
    if span is None:
        return body
    if next(iter(places)) != name:
        return body[: span.start] + body[span.end :]
    brace = body.index(b"{", span.start) + 1
    if len(places) == 1:
        return body[:brace] + body[span.end :]
    comma = body.index(b",", span.end) + 1
    return body[:brace] + body[comma:]


def is_compact(body: bytes, found: dict[str, msgspec.Raw]) -> bool:
    """Whether the members' own bytes fill the body to the last one.

    Then nothing else is in it: no white space, and no member that was given
    twice, of which `found` holds only the last.
    """
    count = len(found)
    filled = sum(map(len, found)) + sum(map(len, found.values()))
    # Two braces, two quotes and a colon a member, a comma between members.
    return len(body) == filled + 4 * count + 1


def _text(key: bytes) -> str:
    if b"\\" in key:
        return msgspec.json.decode(key, type=str)
    return key[1:-1].decode()


def _given_twice(key: re.Match[bytes] | None, expected: str) -> str:
    name = _text(key[1]) if key is not None else expected
    return f"the field {name[:64]!r} is given more than once"
