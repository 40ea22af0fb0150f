"""A request's body, read strictly and whole, where a policy asks what is in it.

Two parsers may read one body differently, one of them the provider's. So whatever
could be read in two ways is refused: a name given twice at any depth, a name that
differs from a deciding one in nothing but case, numbers that JSON does not have.
"""

from __future__ import annotations

import json
from typing import Final, TypeAlias

from comptroller.core.errors import BadRequestError
from comptroller.wire import splice

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"
JsonObject: TypeAlias = dict[str, Json]

DEPTH_MAX: Final = 64
"""No recorded prompt is nested deeper than 23; schemas of tools are the deepest."""

NODES_MAX: Final = 50_000
"""Objects, lists and strings that are looked at; recorded prompts have 1,339."""

BRACKETS_MAX: Final = 200_000
"""In texts too: each may be an object, at a microsecond or two."""


def read_document(body: bytes) -> JsonObject:
    """Reads a body.

    Raises:
        BadRequestError: it is not a JSON object in UTF-8, gives a name twice, has a
            number that is none, or is nested too deeply to be read.
    """
    is_crowded = body.count(b"[") + body.count(b"{") > BRACKETS_MAX
    if is_crowded or body.count(b",") > splice.COMMAS_MAX:
        raise BadRequestError("the body has too many parts to be read")
    try:
        found: Json = json.loads(
            body.decode(), object_pairs_hook=_object, parse_constant=_refuse_constant
        )
    except UnicodeDecodeError:
        raise BadRequestError("the body is not in UTF-8") from None
    except RecursionError:
        raise BadRequestError("the body is nested too deeply") from None
    except ValueError:
        # Of broken syntax, and of numbers too long to be read.
        raise BadRequestError("the body is not valid JSON") from None
    if not isinstance(found, dict):
        raise BadRequestError("the body must be a JSON object")
    return found


def object_in(value: Json, what: str, names: frozenset[str]) -> JsonObject:
    """An object whose members decide.

    Args:
        value: what is in its place.
        what: how to call it in the message.
        names: those that decide here.

    Raises:
        BadRequestError: it is something else, or has a name too much like one of them.
    """
    if not isinstance(value, dict):
        raise BadRequestError(f"{what} must be an object")
    if not value.keys() <= names:
        folded = {name.casefold() for name in names}
        for name in value:
            if name not in names and name.casefold() in folded:
                raise BadRequestError(
                    f"a field of {what} differs from {name.casefold()!r} in case alone"
                )
    return value


def list_in(found: JsonObject, name: str) -> list[Json]:
    """A member that is a list; empty where it is absent or null.

    Raises:
        BadRequestError: it is something else.
    """
    value = found.get(name)
    if value is None:
        return []
    if not isinstance(value, list):
        raise BadRequestError(f"the field {name!r} must be a list")
    return value


def text_in(found: JsonObject, name: str, what: str) -> str:
    """A member that is a string.

    Raises:
        BadRequestError: it is something else, or missing.
    """
    value = found.get(name)
    if not isinstance(value, str):
        raise BadRequestError(f"the field {name!r} of {what} must be a string")
    return value


def _object(pairs: list[tuple[str, Json]]) -> JsonObject:
    found = dict(pairs)
    if len(found) != len(pairs):
        names: set[str] = set()
        for name, _ in pairs:
            if name in names:
                raise BadRequestError(
                    f"the field {name[:64]!r} is given more than once"
                )
            names.add(name)
    return found


def _refuse_constant(name: str) -> Json:
    raise BadRequestError(f"the body is not valid JSON: {name} is not a number")
