"""A file that people write, as a tree in which every key and value knows its place."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import TypeAlias

from comptroller.core.problem import Place

Plain: TypeAlias = "str | int | Decimal | bool | list[Plain] | dict[str, Plain] | None"
"""A value without places, as the document model takes it."""


@dataclass(frozen=True, slots=True)
class Scalar:
    """A single value."""

    value: str | int | Decimal | bool | None
    place: Place


@dataclass(slots=True)
class Listing:
    """A list of values."""

    place: Place
    items: list[Tree] = field(default_factory=list)
    size: int = 1


@dataclass(slots=True)
class Mapping:
    """Keys with their values; `keys` has the place of each key."""

    place: Place
    entries: dict[str, Tree] = field(default_factory=dict)
    keys: dict[str, Place] = field(default_factory=dict)
    size: int = 1


Tree: TypeAlias = "Scalar | Listing | Mapping"


def plain(tree: Tree) -> Plain:
    """The values alone."""
    match tree:
        case Scalar():
            return tree.value
        case Listing():
            return [plain(item) for item in tree.items]
        case Mapping():
            return {key: plain(value) for key, value in tree.entries.items()}


def place_at(tree: Tree, path: tuple[str | int, ...]) -> Place:
    """Where the value at a path stands, or the nearest thing above it."""
    return _walk(tree, path)[0].place


def key_place_at(tree: Tree, path: tuple[str | int, ...]) -> Place:
    """Where the key at a path stands; for a list's item or nothing, `place_at`."""
    parent, is_there = _walk(tree, path[:-1])
    if path and is_there and isinstance(parent, Mapping) and path[-1] in parent.keys:
        return parent.keys[str(path[-1])]
    return place_at(tree, path)


def _walk(tree: Tree, path: tuple[str | int, ...]) -> tuple[Tree, bool]:
    """The value at a path, or the deepest above it, and whether it is all the way."""
    for part in path:
        if isinstance(tree, Mapping) and part in tree.entries:
            tree = tree.entries[str(part)]
        elif isinstance(tree, Listing) and part in range(len(tree.items)):
            tree = tree.items[int(part)]
        else:
            return tree, False
    return tree, True
