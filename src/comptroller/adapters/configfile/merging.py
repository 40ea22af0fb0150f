"""Several files as one: sections are joined, and nothing may stand twice."""

from __future__ import annotations

from collections.abc import Sequence

from comptroller.core.problem import Place, Problem
from comptroller.core.tree import Mapping, Scalar, Tree

_JOINED = {
    ("people",),
    ("providers",),
    ("models",),
    ("tenants",),
}
"""Sections whose entries may come from several files."""


def merge(trees: Sequence[Mapping]) -> tuple[Mapping, list[Problem]]:
    """Joins the trees of several files.

    `people`, `providers`, `models` and `tenants` are joined entry by entry, and
    a tenant unit by unit. `version` may stand in every file. Whatever else
    stands in two files is a problem that names both places.
    """
    problems: list[Problem] = []
    merged = trees[0]
    for tree in trees[1:]:
        merged = _join(merged, tree, (), problems)
    return merged, problems


def _join(
    first: Mapping, second: Mapping, path: tuple[str, ...], problems: list[Problem]
) -> Mapping:
    joined = Mapping(first.place, dict(first.entries), dict(first.keys), first.size)
    for key, value in second.entries.items():
        here = (*path, key)
        old = joined.entries.get(key)
        if old is None:
            joined.entries[key] = value
            joined.keys[key] = second.keys[key]
        elif isinstance(old, Mapping) and isinstance(value, Mapping) and _joins(here):
            joined.entries[key] = _join(old, value, here, problems)
        elif not _same_version(here, old, value):
            problems.append(_twice(second.keys[key], joined.keys[key], here))
    return joined


def _joins(path: tuple[str, ...]) -> bool:
    """Whether what stands at a path may be put together from several files."""
    if path in _JOINED:
        return True
    return path[0] == "tenants" and (
        len(path) == 2 or (len(path) == 3 and path[2] == "units")
    )


def _same_version(path: tuple[str, ...], first: Tree, second: Tree) -> bool:
    return (
        path == ("version",)
        and isinstance(first, Scalar)
        and isinstance(second, Scalar)
        and first.value == second.value
    )


def _twice(place: Place, first: Place, path: tuple[str, ...]) -> Problem:
    what = f'"{".".join(path)}" is declared in two files'
    return Problem(place, what, f"the first is at {first}; keep one of them")
