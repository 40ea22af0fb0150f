"""Reading: policy files and test files in, a bundle or every problem out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from comptroller.adapters.policy.cases import read_cases
from comptroller.adapters.policy.language import LanguageMaker
from comptroller.adapters.policy.prompts import Patterns
from comptroller.adapters.policy.revision import POLICY_SUFFIX, revision_of
from comptroller.adapters.policy.sets import Source, read_set
from comptroller.adapters.policy.tokens import normal_form
from comptroller.core.policy.bundle import Bundle
from comptroller.core.policy.case import PolicyCase
from comptroller.core.policy.checking import check_sets
from comptroller.core.policy.rules import Joiner, Policy, PolicySet
from comptroller.core.problem import Place, Problem
from comptroller.core.tree import Mapping

CASES_SUFFIX: Final = ".policy_test.yaml"
FILE_BYTES_MAX: Final = 2**20


class TreeReader(Protocol):
    """Reads a YAML file into a tree with places."""

    def __call__(
        self, file: str, content: bytes, *, may_be_blank: bool
    ) -> tuple[Mapping | None, list[Problem]]:
        """The tree, or None; and the problems."""


class Parts(NamedTuple):
    """What reading needs of the outside."""

    read_tree: TreeReader
    make_language: LanguageMaker
    join: Joiner
    patterns: Patterns


class Content(NamedTuple):
    """One file: what it is called in messages, in the bundle, and its bytes."""

    file: str
    name: str
    content: bytes


class Reader:
    """Reads bundles of policy files."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def read(self, paths: Sequence[Path]) -> Bundle:
        """Reads a bundle from files, and from folders of policy and test files.

        A test file that is named by itself brings the policy files of its folder.
        Never raises for what is in the files or for files that are not there: both
        are problems of the bundle.
        """
        return self.read_contents(*gather(paths))

    def read_contents(
        self, contents: Sequence[Content], found: Sequence[Problem] = ()
    ) -> Bundle:
        """Reads a bundle from the bytes of its files.

        Args:
            contents: policy and test files; their names say which is which.
            found: problems that were met before.
        """
        problems = list(found)
        policies = [one for one in contents if one.name.endswith(POLICY_SUFFIX)]
        if not policies and not problems:
            what = f"there is no *{POLICY_SUFFIX} file"
            problems.append(Problem(Place("", 0, 0), what))
        problems += _same_names(policies)
        read = [self._set(one, problems) for one in policies]
        sets = [one for one in read if one is not None]
        if not problems:
            problems += check_sets(sets, normal_form)
        cases = self._cases(contents, problems)
        return Bundle(
            revision=revision_of((one.name, one.content) for one in contents),
            files=tuple(one.file for one in policies),
            policy=Policy.of(sets, self._parts.join) if not problems else None,
            cases=tuple(cases),
            problems=tuple(
                sorted((one.printable() for one in problems), key=lambda one: one.place)
            ),
            join=self._parts.join,
        )

    def _set(self, one: Content, problems: list[Problem]) -> PolicySet | None:
        source = self._source(one, problems, may_be_blank=False)
        if source is None:
            return None
        read, met = read_set(source, self._parts.make_language, self._parts.patterns)
        problems += _elsewhere(met, problems)
        return read

    def _cases(
        self, contents: Sequence[Content], problems: list[Problem]
    ) -> list[PolicyCase]:
        known = {
            Path(one.file).name: one.file
            for one in contents
            if one.name.endswith(POLICY_SUFFIX)
        }
        cases: list[PolicyCase] = []
        for one in contents:
            if not one.name.endswith(CASES_SUFFIX):
                continue
            source = self._source(one, problems, may_be_blank=True)
            if source is not None:
                read, met = read_cases(source, known)
                problems += _elsewhere(met, problems)
                cases += read
        return cases

    def _source(
        self, one: Content, problems: list[Problem], *, may_be_blank: bool
    ) -> Source | None:
        if len(one.content) > FILE_BYTES_MAX:
            what = f"the file is larger than {FILE_BYTES_MAX // 2**20} MiB"
            problems.append(Problem(Place(one.file, 0, 0), what))
            return None
        tree, met = self._parts.read_tree(
            one.file, one.content, may_be_blank=may_be_blank
        )
        problems += met
        if tree is None:
            return None
        text = one.content.decode("utf-8-sig")
        return Source(one.file, tree, text.replace("\r\n", "\n").split("\n"))


def gather(paths: Sequence[Path]) -> tuple[list[Content], list[Problem]]:
    """The bytes of the files that paths stand for, and what cannot be read."""
    problems: list[Problem] = []
    files = [file for path in paths for file in _files(path, problems)]
    contents: list[Content] = []
    for file in dict.fromkeys(files):
        try:
            with file.open("rb") as opened:
                content = opened.read(FILE_BYTES_MAX + 1)
        except OSError as error:
            what = f"the file cannot be read: {error.strerror}"
            problems.append(Problem(Place(str(file), 0, 0), what))
            continue
        contents.append(Content(str(file), file.name, content))
    return contents, problems


def _elsewhere(met: Sequence[Problem], before: Sequence[Problem]) -> list[Problem]:
    """What stands at a place that was complained of is not complained of again."""
    spoiled = {one.place for one in before}
    return [one for one in met if one.place not in spoiled]


def _files(path: Path, problems: list[Problem]) -> list[Path]:
    """The policy and test files that a path stands for."""
    if path.is_dir():
        files = _folder(path, (POLICY_SUFFIX, CASES_SUFFIX), problems)
        if not files:
            what = f"there is no *{POLICY_SUFFIX} file in this folder"
            problems.append(Problem(Place(str(path), 0, 0), what))
        return files
    place = Place(str(path), 0, 0)
    if not path.exists():
        hint = "name policy files, or a folder of them"
        problems.append(Problem(place, "there is no such file", hint))
        return []
    if path.name.endswith(CASES_SUFFIX):
        return [*_folder(path.parent, (POLICY_SUFFIX,), problems), path]
    if not path.name.endswith(POLICY_SUFFIX):
        what = f"this is neither a *{POLICY_SUFFIX} nor a *{CASES_SUFFIX} file"
        problems.append(Problem(place, what))
        return []
    return [path]


def _folder(
    folder: Path, suffixes: tuple[str, ...], problems: list[Problem]
) -> list[Path]:
    try:
        return sorted(
            one
            for one in folder.iterdir()
            if one.name.endswith(suffixes) and not one.name.startswith(".")
        )
    except OSError as error:
        what = f"the folder cannot be read: {error.strerror}"
        problems.append(Problem(Place(str(folder), 0, 0), what))
        return []


def _same_names(policies: Sequence[Content]) -> list[Problem]:
    """Files of one name: the revision and tests could not tell them apart."""
    first: dict[str, Content] = {}
    problems = []
    for one in policies:
        if one.name in first:
            what = f"another file of the bundle is named {one.name}, too"
            hint = f"it is {first[one.name].file}; rename one"
            problems.append(Problem(Place(one.file, 0, 0), what, hint))
        first.setdefault(one.name, one)
    return problems
