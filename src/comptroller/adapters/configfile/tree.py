"""A YAML file as a tree in which every key and value knows its place.

Plain YAML is read so that no two readers can differ: values that YAML 1.1 and
1.2 understand differently (`no`, `010`, `1:30`) are problems, not guesses.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, Final, NamedTuple

import yaml

from comptroller.adapters.configfile.secrets import secret_kind
from comptroller.core.problem import Place, Problem
from comptroller.core.tree import Listing, Mapping, Scalar, Tree

FILE_BYTES_MAX: Final = 4 * 2**20
NODES_MAX: Final = 200_000
"""Values in one file, counting what every alias repeats."""
DEPTH_MAX: Final = 24

_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_STR: Final = "tag:yaml.org,2002:str"
_TAG_PREFIX: Final = "tag:yaml.org,2002:"
_DECIMAL_INT: Final = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})")
_DECIMAL_FLOAT: Final = re.compile(r"[-+]?[0-9]{0,18}\.?[0-9]{0,18}")
_REDACTED: Final = "(secret)"
_NOWHERE: Final = Place("", 0, 0)


class Strictness(NamedTuple):
    """How one kind of file is read."""

    when_empty: str
    """What to do about a file that holds nothing."""
    may_be_blank: bool = False
    """Whether a value may be null; else a forgotten one is a problem."""


CONFIGURATION: Final = Strictness("`comptroller init` writes one to start from")


def read_tree(
    file: str, content: bytes, strictness: Strictness = CONFIGURATION
) -> tuple[Mapping | None, list[Problem]]:
    """Reads one YAML file.

    Args:
        file: its name, for places.
        content: its bytes.
        strictness: of which kind it is.

    Returns:
        Its top-level mapping, as far as it could be read, and the problems.
        None when it cannot be read at all; then there is a problem.
    """
    reader = _Reader(file, strictness)
    try:
        tree = reader.read(_text(file, content))
    except _StopError as stop:
        return None, [*reader.problems, stop.problem]
    if isinstance(tree, Mapping):
        return tree, reader.problems
    hint = strictness.when_empty
    place = Place(file, 0, 0) if tree is None else tree.place
    what = "the file is empty" if tree is None else "the file is not keys with values"
    return None, [*reader.problems, Problem(place, what, hint)]


def _text(file: str, content: bytes) -> str:
    if len(content) > FILE_BYTES_MAX:
        size = f"{FILE_BYTES_MAX // 2**20} MiB"
        what = f"the file is larger than {size}"
        raise _StopError(Problem(Place(file, 0, 0), what))
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        place = Place(file, line, 1)
        what = "the file is not UTF-8"
        raise _StopError(Problem(place, what, "save it as UTF-8")) from error


def _syntax_problem(file: str, text: str, error: yaml.MarkedYAMLError) -> Problem:
    mark = error.problem_mark or error.context_mark
    place = Place(file, mark.line + 1, mark.column + 1) if mark else _NOWHERE
    said = error.problem or "it cannot be read"
    lines = text.split("\n")
    line = lines[place.line - 1] if 0 < place.line <= len(lines) else ""
    # The two that people meet most, in our words: parsers word them differently.
    if "\t" in line:
        said, hint = "a tab is in this line", "indent with spaces, not tabs"
    elif "mapping values are not allowed" in said:
        said = "no key can stand here"
        hint = "check the indentation, or put a text that contains ': ' in quotes"
    elif "cannot start any token" in said:
        hint = "put the text in quotes"
    else:
        hint = "check indentation, brackets and quotes just before this place"
    return Problem(place, f"this is not YAML: {said}", hint)


def _character_problem(file: str, text: str, error: yaml.reader.ReaderError) -> Problem:
    before = text[: error.position] if isinstance(error.position, int) else ""
    place = Place(file, before.count("\n") + 1, len(before) - before.rfind("\n"))
    what = "there is a character here that YAML does not allow"
    return Problem(place, what, "delete it; it may be invisible")


class _StopError(Exception):
    """Reading cannot go on."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.what)
        self.problem = problem


class _Reader:
    """Builds the tree from parser events, so that nothing recurses or expands."""

    def __init__(self, file: str, strictness: Strictness) -> None:
        self._strictness = strictness
        self.problems: list[Problem] = []
        self._file = file
        self._anchors: dict[str, Tree] = {}
        self._open: list[tuple[Listing | Mapping, str | None]] = []
        self._key: list[tuple[str, Place] | None] = []
        self._nodes = 0
        self._root: Tree | None = None
        self._documents = 0

    def read(self, text: str) -> Tree | None:
        try:
            loader = _LOADER(text)
            for event in self._events(loader):
                self._take(loader, event)
        except yaml.MarkedYAMLError as error:
            raise _StopError(_syntax_problem(self._file, text, error)) from error
        except yaml.reader.ReaderError as error:
            raise _StopError(_character_problem(self._file, text, error)) from error
        return self._root

    @staticmethod
    def _events(loader: Any) -> Iterator[yaml.Event]:  # noqa: ANN401  C or Python
        while loader.check_event():
            yield loader.get_event()

    def _take(self, loader: Any, event: yaml.Event) -> None:  # noqa: ANN401  as above
        mark = event.start_mark
        place = Place(self._file, mark.line + 1, mark.column + 1) if mark else _NOWHERE
        match event:
            case yaml.DocumentStartEvent():
                self._documents += 1
                if self._documents > 1:
                    what = "a second document begins here"
                    raise _StopError(
                        Problem(place, what, 'remove "---", or use a second file')
                    )
            case yaml.ScalarEvent():
                self._add(self._scalar(loader, event, place), place, event.anchor)
            case yaml.AliasEvent():
                self._add(self._aliased(event, place), place, None)
            case yaml.SequenceStartEvent() | yaml.MappingStartEvent():
                self._begin(event, place)
            case yaml.SequenceEndEvent() | yaml.MappingEndEvent():
                done, anchor = self._open.pop()
                self._key.pop()
                self._attach(done, done.place, anchor)
            case _:
                pass

    def _begin(self, event: yaml.CollectionStartEvent, place: Place) -> None:
        if event.tag is not None:
            self.problems.append(_tag_problem(place, event.tag))
        if len(self._open) >= DEPTH_MAX:
            raise _StopError(Problem(place, f"nested deeper than {DEPTH_MAX} levels"))
        self._count(1, place)
        begun = (
            Listing(place)
            if isinstance(event, yaml.SequenceStartEvent)
            else Mapping(place)
        )
        self._open.append((begun, event.anchor))
        self._key.append(None)

    def _add(self, tree: Tree, place: Place, anchor: str | None) -> None:
        self._count(_size(tree), place)
        self._attach(tree, place, anchor)

    def _count(self, nodes: int, place: Place) -> None:
        self._nodes += nodes
        if self._nodes > NODES_MAX:
            what = f"more than {NODES_MAX:,} values, counting what aliases repeat"
            raise _StopError(Problem(place, what))

    def _attach(self, tree: Tree, place: Place, anchor: str | None) -> None:
        if anchor is not None:
            self._anchors[anchor] = tree
        if not self._open:
            self._root = tree
            return
        parent, _ = self._open[-1]
        if isinstance(parent, Listing):
            parent.items.append(tree)
            parent.size += _size(tree)
            self._refuse_null(tree, "this item of the list")
            return
        key = self._key[-1]
        if key is None:
            self._key[-1] = (self._key_text(tree, place), place)
            return
        self._key[-1] = None
        self._put(parent, key, tree)

    def _put(self, parent: Mapping, key: tuple[str, Place], tree: Tree) -> None:
        name, place = key
        if not name:  # a key that was a problem itself
            return
        if name in parent.entries:
            first = parent.keys[name]
            self.problems.append(
                Problem(
                    place,
                    f'the key "{name}" is there twice',
                    f"the first is at line {first.line}; keep one of them",
                )
            )
            return
        if isinstance(tree, Scalar) and tree.value is None:
            tree = Scalar(None, place)  # where nothing stands, only the key is seen
        parent.entries[name] = tree
        parent.keys[name] = place
        parent.size += 1 + _size(tree)
        self._refuse_null(tree, f'"{name}"')

    def _refuse_null(self, tree: Tree, what: str) -> None:
        # Nothing may be left blank: a forgotten budget would read as no budget.
        if self._strictness.may_be_blank:
            return
        if isinstance(tree, Scalar) and tree.value is None:
            hint = "give it a value, or take it out"
            self.problems.append(Problem(tree.place, f"{what} has no value", hint))

    def _key_text(self, tree: Tree, place: Place) -> str:
        if not isinstance(tree, Scalar):
            self.problems.append(Problem(place, "a key must be plain text"))
            return ""
        if tree.value == _REDACTED:
            return ""
        if isinstance(tree.value, str):
            return tree.value
        shown = "true" if tree.value is True else str(tree.value).lower()
        hint = f'put it in quotes: "{shown}"' if tree.value is not None else None
        what = "a key must be text" + ("" if hint is None else f", and {shown} is not")
        self.problems.append(Problem(place, what, hint))
        return ""

    def _aliased(self, event: yaml.AliasEvent, place: Place) -> Tree:
        tree = self._anchors.get(event.anchor or "")
        if tree is None:
            what = f'there is no complete "&{event.anchor}" before this "*" reference'
            raise _StopError(Problem(place, what))
        return tree

    def _scalar(
        self,
        loader: Any,  # noqa: ANN401  C or Python
        event: yaml.ScalarEvent,
        place: Place,
    ) -> Scalar:
        text: str = event.value
        kind = secret_kind(text)
        if kind is not None:
            hint = "use env:NAME or file:PATH, and change the secret: it was exposed"
            what = f"this looks like {kind}, and secrets do not belong in the file"
            self.problems.append(Problem(place, what, hint))
            return Scalar(_REDACTED, place)
        if event.tag is not None and event.tag not in {"!", _STR}:
            self.problems.append(_tag_problem(place, event.tag))
            return Scalar(text, place)
        if event.tag is not None or not event.implicit[0]:
            return Scalar(text, place)
        tag = loader.resolve(yaml.ScalarNode, text, event.implicit)
        return Scalar(self._value(tag.removeprefix(_TAG_PREFIX), text, place), place)

    def _value(
        self, tag: str, text: str, place: Place
    ) -> str | int | Decimal | bool | None:
        if tag == "null":
            return None
        if tag == "bool" and text.lower() in {"true", "false"}:
            return text.lower() == "true"
        if tag == "int" and _DECIMAL_INT.fullmatch(text):
            return int(text)
        if tag == "float" and _DECIMAL_FLOAT.fullmatch(text):
            return Decimal(text)
        if tag in {"bool", "int", "float", "merge"}:
            self.problems.append(_ambiguous(tag, text, place))
        return text


def _size(tree: Tree) -> int:
    return 1 if isinstance(tree, Scalar) else tree.size


def _tag_problem(place: Place, tag: str) -> Problem:
    shown = tag.replace(_TAG_PREFIX, "!!")[:40]
    return Problem(place, f'the tag "{shown}" is not allowed', "write the plain value")


def _ambiguous(tag: str, text: str, place: Place) -> Problem:
    quoted = f'put it in quotes: "{text}"'
    if tag == "merge":
        hint = "write the keys out, or use an alias for the whole value"
        return Problem(place, 'merging with "<<" is not allowed', hint)
    if tag == "bool":
        what = f"{text} is true or false to some readers of YAML and text to others"
        return Problem(place, what, quoted)
    octal = re.fullmatch(r"[-+]?0([0-7_]+)", text)
    if octal:
        value = int(octal[1].replace("_", "") or "0", 8)
        meant = octal[1].lstrip("0_") or "0"
        what = f"{text} is an octal number to some readers of YAML ({value})"
        return Problem(place, what, f"write {meant}, or {quoted}")
    if ":" in text:
        what = f"{text} is a number in base 60 to some readers of YAML"
        return Problem(place, what, quoted)
    what = f"{text} is a number only to some readers of YAML"
    return Problem(place, what, f"write its decimal digits, or {quoted}")
