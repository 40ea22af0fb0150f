"""Reading: files in, a registry or every problem out."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from comptroller.adapters.configfile.building import build_registry
from comptroller.adapters.configfile.merging import merge
from comptroller.adapters.configfile.references import check_references
from comptroller.adapters.configfile.shape import check_shape
from comptroller.adapters.configfile.tree import FILE_BYTES_MAX, read_tree
from comptroller.core.errors import ConfigurationError
from comptroller.core.problem import Place, Problem
from comptroller.core.registry import Registry
from comptroller.core.tree import Mapping

_SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True, slots=True)
class Configuration:
    """What was read: a registry, or the problems why there is none."""

    files: tuple[str, ...]
    digest: str
    """`sha256:` of the file's bytes; of several, of what `sha256sum` prints."""
    registry: Registry | None
    problems: tuple[Problem, ...]

    def valid(self) -> Registry:
        """The registry.

        Raises:
            ConfigurationError: there is none; the message lists every problem.
        """
        if self.registry is not None:
            return self.registry
        raise ConfigurationError("\n".join(str(one) for one in self.problems))


def read_configuration(paths: Sequence[Path]) -> Configuration:
    """Reads the configuration from files, and from directories of `*.yaml`.

    Never raises for what is in the files or for files that are not there: both
    are problems. Reads nothing but these files, and resolves no secret.
    """
    problems: list[Problem] = []
    contents: list[tuple[str, bytes]] = []
    for path in paths:
        for file in _files(path, problems):
            try:
                with file.open("rb") as opened:
                    contents.append((str(file), opened.read(FILE_BYTES_MAX + 1)))
            except OSError as error:
                problems.append(_unreadable(file, error))
    return read_contents(contents, problems)


def read_contents(
    contents: Sequence[tuple[str, bytes]], found: Sequence[Problem] = ()
) -> Configuration:
    """Reads the configuration from names and bytes of files.

    Args:
        contents: the name and the bytes of every file.
        found: problems that were met before; with any there is no registry.
    """
    problems = list(found)
    trees: list[Mapping] = []
    for name, content in contents:
        tree, met = read_tree(name, content)
        problems += met
        trees += [tree] if tree is not None else []
    registry = None
    # With a file missing, all that it declares would seem to dangle.
    if trees and len(trees) == len(contents) and not found:
        merged, met = merge(trees)
        problems += met
        registry, met = _understand(merged, {one.place for one in problems})
        problems += met
    return Configuration(
        files=tuple(name for name, _ in contents),
        digest=_digest(contents),
        registry=None if problems else registry,
        problems=tuple(
            sorted((one.printable() for one in problems), key=lambda one: one.place)
        ),
    )


def _understand(
    tree: Mapping, spoiled: set[Place]
) -> tuple[Registry | None, list[Problem]]:
    """Checks a tree; what stands at a place already complained of is left."""
    document, problems = check_shape(tree)
    shape_places = {one.place for one in problems}
    problems += [one for one in check_references(tree) if one.place not in shape_places]
    kept = [one for one in problems if one.place not in spoiled]
    return build_registry(document) if document and not problems else None, kept


def _files(path: Path, problems: list[Problem]) -> list[Path]:
    if not path.is_dir():
        return [path]
    try:
        # Editors keep their own hidden files beside those that they have open.
        files = sorted(
            one
            for one in path.iterdir()
            if one.suffix in _SUFFIXES and not one.name.startswith(".")
        )
    except OSError as error:
        problems.append(_unreadable(path, error))
        return []
    if not files:
        what = "there is no *.yaml file in this directory"
        problems.append(Problem(Place(str(path), 0, 0), what))
    return files


def _unreadable(file: Path, error: OSError) -> Problem:
    place = Place(str(file), 0, 0)
    if isinstance(error, FileNotFoundError):
        hint = "`comptroller init` writes one; --config names another"
        return Problem(place, "there is no such file", hint)
    return Problem(place, f"the file cannot be read: {error.strerror}")


def _digest(contents: Sequence[tuple[str, bytes]]) -> str:
    sums = [(hashlib.sha256(content).hexdigest(), name) for name, content in contents]
    if len(sums) == 1:
        return f"sha256:{sums[0][0]}"
    listing = "".join(f"{digest}  {name}\n" for digest, name in sums)
    return f"sha256:{hashlib.sha256(listing.encode()).hexdigest()}"
