"""Following references in a tree: finding what is named, saying what is not there."""

from __future__ import annotations

from collections.abc import Iterator

from comptroller.adapters.configfile.shape import Path, subject_at
from comptroller.core.problem import Place, Problem, did_you_mean
from comptroller.core.tree import Listing, Mapping, Scalar, Tree, key_place_at


class Follower:
    """A tree, and the problems that were found by following its references.

    Whatever has the wrong shape is passed over: `shape.py` tells of it.
    """

    def __init__(self, tree: Mapping) -> None:
        self.tree = tree
        self.problems: list[Problem] = []
        self.people = self._names("people")
        self.providers = self._names("providers")
        self.models = self._names("models")
        self.aliases = self._aliases()
        """Every alias, with its first model."""

    def at(self, path: Path) -> Tree | None:
        """What stands at a path of keys; None: nothing."""
        tree: Tree | None = self.tree
        for part in path:
            if isinstance(tree, Listing) and part in range(len(tree.items)):
                tree = tree.items[int(part)]
            else:
                entries = tree.entries if isinstance(tree, Mapping) else {}
                tree = entries.get(str(part))
        return tree

    def text(self, path: Path) -> str | None:
        """The text at a path; None: there is none."""
        return text_of(self.at(path))

    def children(self, path: Path) -> Iterator[Path]:
        """The paths of what stands under the keys of a mapping."""
        tree = self.at(path)
        for name in tree.entries if isinstance(tree, Mapping) else ():
            yield (*path, name)

    def items(self, path: Path) -> Iterator[Path]:
        """The paths of the items of a list."""
        tree = self.at(path)
        for number in range(len(tree.items) if isinstance(tree, Listing) else 0):
            yield (*path, number)

    def key_place(self, path: Path) -> Place:
        """Where the key at a path stands."""
        return key_place_at(self.tree, path)

    def say(self, place: Place, what: str, hint: str | None) -> None:
        """Adds a problem."""
        self.problems.append(Problem(place, what, hint))

    def person(self, path: Path, role: str) -> None:
        """Checks that a person who is named at a path is declared.

        Args:
            path: where the name stands, or may stand.
            role: what that person is there.
        """
        tree = self.at(path)
        name = text_of(tree)
        if tree is None or name is None or self.people is None or name in self.people:
            return
        self.say(
            tree.place,
            f'{subject_at(path)}: {role} "{name}" is not declared under people',
            self._person_hint(name, self.people),
        )

    def provider(self, path: Path) -> None:
        """Checks that a provider that is named at a path is declared."""
        tree = self.at(path)
        name = text_of(tree)
        if tree is not None and name is not None:
            self.provider_named(name, tree.place, path)

    def provider_named(self, name: str, place: Place, path: Path) -> None:
        """Checks that a provider is declared, which is named at a place."""
        if self.providers is not None and name not in self.providers:
            self.say(
                place,
                f'{subject_at(path)}: provider "{name}" is not declared',
                did_you_mean(name, self.providers, "providers"),
            )

    def model_named(self, name: str, place: Place, path: Path) -> bool:
        """Checks that a model is declared by this id, and says whether it is."""
        if self.models is None or name in self.models:
            return True
        model = self.aliases.get(name)
        subject = subject_at(path) or "the organization"
        if model is not None:
            what = f'{subject}: "{name}" is an alias of "{model}"'
            self.say(place, what, f'write "{model}": callers may use either name')
        else:
            self.say(
                place,
                f'{subject}: model "{name}" is not declared under models',
                did_you_mean(name, self.models, "models"),
            )
        return False

    def each_once(self, path: Path) -> list[Path]:
        """Checks that a list holds each name once.

        Returns:
            The path of each item that is the first of its name.
        """
        seen: set[str] = set()
        firsts = []
        for item in self.items(path):
            tree, name = self.at(item), self.text(item)
            if tree is None or name is None:
                continue
            if name in seen:
                what = f'{subject_at(path)}: "{name}" is twice under {path[-1]}'
                self.say(tree.place, what, "name it once")
            else:
                firsts.append(item)
            seen.add(name)
        return firsts

    def _names(self, section: str) -> dict[str, Tree] | None:
        """What a section declares; None when it is not to be read at all."""
        tree = self.at((section,))
        if tree is None:
            return {}
        return tree.entries if isinstance(tree, Mapping) else None

    def _aliases(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for model in self.children(("models",)):
            for item in self.items((*model, "aliases")):
                alias = self.text(item)
                if alias is not None:
                    found.setdefault(alias, str(model[-1]))
        return found

    def _person_hint(self, written: str, people: dict[str, Tree]) -> str:
        # Whoever writes a name or an address means the id of that person.
        for key in people:
            for detail in ("name", "email"):
                known = self.text(("people", key, detail))
                if known is not None and known.casefold() == written.casefold():
                    return f'did you mean "{key}"?'
        return did_you_mean(written, people, "people")


def text_of(tree: Tree | None) -> str | None:
    """The text of a scalar; None: it is none, or has another value."""
    value = tree.value if isinstance(tree, Scalar) else None
    return value.strip() if isinstance(value, str) else None
