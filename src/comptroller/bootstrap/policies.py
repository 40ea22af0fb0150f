"""Wiring of policy bundles: which files, which language."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from comptroller.adapters.configfile.tree import Strictness, read_tree
from comptroller.adapters.policy.corpus import read_facts as recorded_facts
from comptroller.adapters.policy.reading import Parts, Reader, gather
from comptroller.adapters.scanner import RE2Scanner
from comptroller.bootstrap.policy_language import join, make_language
from comptroller.core.errors import ConflictError
from comptroller.core.policy.bundle import Bundle
from comptroller.core.problem import Place, Problem
from comptroller.core.tree import Mapping as TreeMapping
from comptroller.core.tree import place_at
from comptroller.engine.policy_ports import BundleFile
from comptroller.engine.policy_testing import Asked

_EMPTY = "the reference of policies shows one to start from"


def read_bundle(paths: Sequence[Path]) -> Bundle:
    """Reads policy and test files, or folders of them, as one bundle."""
    return policy_reader().read(paths)


def read_facts(path: Path) -> list[Asked]:
    """Reads recorded facts, one JSON document a line.

    Raises:
        InvalidArgumentError: the file cannot be read, or a line holds no facts.
    """
    return [Asked(name, facts) for name, facts in recorded_facts(path)]


def policy_reader() -> Reader:
    """What reads bundles."""
    return Reader(Parts(_read_tree, make_language, join, _patterns))


def gather_files(paths: Sequence[Path]) -> tuple[list[BundleFile], list[Problem]]:
    """The files of a bundle that is to be published, and what cannot be read."""
    contents, problems = gather(paths)
    return [BundleFile(one.file, one.name, one.content) for one in contents], problems


def policy_tree(file: str, content: bytes) -> TreeMapping:
    """A policy file with the place of every value.

    Raises:
        ConflictError: it cannot be read; of a bundle without problems every file can.
    """
    tree, problems = _read_tree(file, content, may_be_blank=False)
    if tree is None:
        raise ConflictError("\n".join(map(str, problems)))
    return tree


def owner_place(file: str, content: bytes) -> Place:
    """Where a policy file that was read before says who owns it."""
    tree, _ = _read_tree(file, content, may_be_blank=False)
    return Place(file, 0, 0) if tree is None else place_at(tree, ("metadata", "owner"))


def _patterns() -> Sequence[str]:
    return RE2Scanner().rules


def _read_tree(
    file: str, content: bytes, *, may_be_blank: bool
) -> tuple[TreeMapping | None, list[Problem]]:
    return read_tree(file, content, Strictness(_EMPTY, may_be_blank))
