"""Raw values: parts of a JSON document, read no further than they are asked for.

A value that is not of the kind asked for reads as one that is not there: the provider
judges a request's form, and who needs to know whether it was understood asks first.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import msgspec

from comptroller.wire.request_shapes import TEXT, WHOLE

RawObject: TypeAlias = dict[str, msgspec.Raw]
"""An object, its members as they are written."""

BRACE, BRACKET, QUOTE = b'{["'
"""What values of these kinds begin with."""

_LIST: Final = msgspec.json.Decoder(list[msgspec.Raw])
_OBJECT: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


def first_byte(written: msgspec.Raw | None) -> int:
    """The first byte of a value, which tells its kind; 0: there is none."""
    return 0 if written is None else memoryview(written)[0]


def is_given(found: RawObject, *names: str) -> bool:
    """Whether one of these members is there, and not null."""
    return any(name in found and bytes(found[name]) != b"null" for name in names)


def objects_of(written: msgspec.Raw | None) -> list[RawObject]:
    """The objects of a list, without what else is in it."""
    if written is None or first_byte(written) != BRACKET:
        return []
    listed = _LIST.decode(written)
    return [_OBJECT.decode(one) for one in listed if first_byte(one) == BRACE]


def one_or_more(written: msgspec.Raw | None) -> list[RawObject]:
    """Objects, where one may stand without its list."""
    is_one = first_byte(written) == BRACE
    return [object_of(written)] if is_one else objects_of(written)


def object_of(written: msgspec.Raw | None) -> RawObject:
    """An object's members."""
    if written is None or first_byte(written) != BRACE:
        return {}
    return _OBJECT.decode(written)


def text_of(written: msgspec.Raw | None) -> str | None:
    """A string."""
    if written is None or first_byte(written) != QUOTE:
        return None
    return TEXT.decode(written)


def text_at(found: RawObject, name: str) -> str | None:
    """A member that is a string."""
    return text_of(found.get(name))


def texts_at(found: RawObject, name: str) -> list[str]:
    """The strings of a member that is a list."""
    written = found.get(name)
    if written is None or first_byte(written) != BRACKET:
        return []
    return [text for one in _LIST.decode(written) if (text := text_of(one))]


def whole_at(found: RawObject, name: str) -> int | None:
    """A member that is a number, not a negative one.

    Raises:
        msgspec.MsgspecError: it is something else, and not null.
    """
    written = found.get(name)
    if written is None:
        return None
    value = WHOLE.decode(written)
    return None if value is None or value < 0 else int(value)
