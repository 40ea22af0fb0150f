"""A form: strict keys of a mapping, read one by one, every problem with its place."""

from __future__ import annotations

import re
from collections.abc import Mapping as AnyMapping
from collections.abc import Sequence
from typing import Final

from comptroller.core.problem import Place, Problem, did_you_mean
from comptroller.core.tree import Listing, Mapping, Scalar, Tree

_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,99}")
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,99}")


class Form:
    """One mapping of a file, with the keys that it may have."""

    def __init__(
        self, tree: Tree, known: Sequence[str], subject: str, problems: list[Problem]
    ) -> None:
        """Reports every key that is not known.

        Args:
            tree: what stands there; anything but a mapping is a problem.
            known: the keys that it may have.
            subject: what it is, for messages; empty: the file.
            problems: where to put problems.
        """
        self.subject = subject
        self.problems = problems
        self.place = tree.place
        self._entries: AnyMapping[str, Tree] = {}
        self._keys: AnyMapping[str, Place] = {}
        self._is_mapping = isinstance(tree, Mapping)
        if not isinstance(tree, Mapping):
            self.report(tree.place, "this must hold keys with values")
            return
        self._entries, self._keys = tree.entries, tree.keys
        for key in tree.entries:
            if key not in known:
                hint = did_you_mean(key, known, "what may stand here")
                self.report(tree.keys[key], f'unknown key "{key}"', hint)

    def report(self, place: Place, what: str, hint: str | None = None) -> None:
        """Reports a problem with what this form is of."""
        said = f"{self.subject}: {what}" if self.subject else what
        self.problems.append(Problem(place, said, hint))

    def has(self, key: str) -> bool:
        """Whether the key is there."""
        return key in self._entries

    def at(self, key: str) -> Tree | None:
        """What stands under a key."""
        return self._entries.get(key)

    def place_of(self, key: str) -> Place:
        """Where a key stands, or the form where it does not."""
        return self._keys.get(key, self.place)

    def required(self, key: str, example: str) -> Tree | None:
        """What stands under a key that must be there."""
        if key not in self._entries and self._is_mapping:
            self.report(self.place, f"it has no {key}", f'add "{example}"')
        return self.at(key)

    def text(self, key: str, default: str = "") -> str:
        """A text."""
        tree = self.at(key)
        return default if tree is None else self.text_in(tree, key) or default

    def text_in(self, tree: Tree, what: str) -> str | None:
        """The text that a tree is."""
        if isinstance(tree, Scalar) and isinstance(tree.value, str) and tree.value:
            return tree.value
        hint = "put it in quotes" if isinstance(tree, Scalar) else None
        self.report(tree.place, f"{what} must be a text", hint)
        return None

    def id(self) -> str:
        """The id of this form; empty when it has none that can be used."""
        tree = self.required("id", "id: …")
        found = None if tree is None else self.text_in(tree, "id")
        if tree is not None and found is not None and not _ID.fullmatch(found):
            hint = "begin with a letter or digit; then also . _ / and -"
            self.report(tree.place, f'"{found}" is not an id', hint)
            return ""
        return found or ""

    def whole(self, key: str, example: str) -> int:
        """A whole number of at least 1; 0 where there is none."""
        tree = self.required(key, example)
        if tree is None:
            return 0
        value = tree.value if isinstance(tree, Scalar) else None
        if type(value) is int and value >= 1:
            return value
        self.report(tree.place, f"{key} must be a whole number of at least 1")
        return 0

    def choice(self, key: str, choices: Sequence[str], default: str) -> str:
        """One of some words."""
        tree = self.at(key)
        if tree is None:
            return default
        value = tree.value if isinstance(tree, Scalar) else None
        if isinstance(value, str) and value in choices:
            return value
        hint = did_you_mean(str(value), choices, "it is one of")
        self.report(tree.place, f"{key} cannot be {_shown(value)}", hint)
        return default

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts; one text alone stands for itself."""
        tree = self.at(key)
        return () if tree is None else self.texts_in(tree, key)

    def texts_in(self, tree: Tree, what: str) -> tuple[str, ...]:
        """The texts that a tree lists; one text alone stands for itself."""
        if isinstance(tree, Mapping):
            self.report(tree.place, f"{what} must be a list of texts")
            return ()
        items = tree.items if isinstance(tree, Listing) else [tree]
        found: list[str] = []
        for item in items:
            text = self.text_in(item, f"an item of {what}")
            if text in found:
                self.report(item.place, f'"{text}" is twice in {what}')
            elif text is not None:
                found.append(text)
        return tuple(found)

    def items(self, key: str) -> list[Tree]:
        """The items of a list."""
        tree = self.at(key)
        if tree is None:
            return []
        if isinstance(tree, Listing):
            return tree.items
        self.report(tree.place, f"{key} must be a list", "begin each item with a dash")
        return []

    def named(self, key: str) -> dict[str, Tree]:
        """What stands under the keys of a mapping."""
        tree = self.at(key)
        if tree is None:
            return {}
        if isinstance(tree, Mapping):
            return tree.entries
        self.report(tree.place, f"{key} must hold keys with values")
        return {}

    def name(self, name: str, place: Place, what: str) -> bool:
        """Whether a key is a name that expressions can use."""
        if _NAME.fullmatch(name):
            return True
        hint = "use small letters, digits and _, a letter first"
        self.report(place, f'"{name}" is not the name of {what}', hint)
        return False


def _shown(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else "this"
