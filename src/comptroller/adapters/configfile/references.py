"""References between parts of a tree: each must lead to something declared.

This works on the tree and not on the document, so that dangling references are
reported together with everything else that is wrong.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from comptroller.adapters.configfile.shape import Path, subject_at
from comptroller.core.problem import Place, Problem, did_you_mean
from comptroller.core.tree import (
    Listing,
    Mapping,
    Scalar,
    Tree,
    key_place_at,
)

_OWNER_WORDS: Final = {
    "policy": "policy owner",
    "billing": "billing owner",
    "technical": "technical owner",
}
_AGENT_ONLY: Final = ("operator", "sponsor", "run_budget")


def check_references(tree: Mapping) -> list[Problem]:
    """Checks everything that takes more than one place to see."""
    return _Checker(tree).check()


class _Checker:
    def __init__(self, tree: Mapping) -> None:
        self._tree = tree
        self._problems: list[Problem] = []
        self._people = self._names("people")
        self._providers = self._names("providers")
        self._models = self._names("models")

    def check(self) -> list[Problem]:
        self._person(("gateway", "owner"), "owner")
        self._emails()
        for model in self._names("models") or {}:
            self._provider(("models", model, "provider"))
        seen: dict[str, tuple[str, Place]] = {}
        for path in self._children(("tenants",)):
            self._person((*path, "owner"), "owner")
            for unit in self._children((*path, "units")):
                self._person((*unit, "owner"), "owner")
                for service in self._children((*unit, "services")):
                    self._unique_service(service, seen)
                    self._service(service)
        return self._problems

    def _at(self, path: Path) -> Tree | None:
        tree: Tree | None = self._tree
        for part in path:
            tree = tree.entries.get(str(part)) if isinstance(tree, Mapping) else None
        return tree

    def _children(self, path: Path) -> Iterator[Path]:
        tree = self._at(path)
        for name in tree.entries if isinstance(tree, Mapping) else ():
            yield (*path, name)

    def _names(self, section: str) -> dict[str, Tree] | None:
        """What a section declares; None when it is not to be read at all."""
        tree = self._at((section,))
        if tree is None:
            return {}
        return tree.entries if isinstance(tree, Mapping) else None

    def _say(self, place: Place, what: str, hint: str | None) -> None:
        self._problems.append(Problem(place, what, hint))

    def _person(self, path: Path, role: str) -> None:
        self._person_named(self._at(path), path, role)

    def _person_named(self, tree: Tree | None, path: Path, role: str) -> None:
        name = _text(tree)
        if tree is None or name is None or self._people is None:
            return
        if name in self._people:
            return
        self._say(
            tree.place,
            f'{subject_at(path)}: {role} "{name}" is not declared under people',
            self._person_hint(name, self._people),
        )

    def _person_hint(self, written: str, people: dict[str, Tree]) -> str:
        # Whoever writes a name or an address means the id of that person.
        for key in people:
            for detail in ("name", "email"):
                known = _text(self._at(("people", key, detail)))
                if known is not None and known.casefold() == written.casefold():
                    return f'did you mean "{key}"?'
        return did_you_mean(written, people, "people")

    def _provider(self, path: Path) -> None:
        tree = self._at(path)
        name = _text(tree)
        if tree is None or name is None or self._providers is None:
            return
        if name not in self._providers:
            self._say(
                tree.place,
                f'{subject_at(path)}: provider "{name}" is not declared',
                did_you_mean(name, self._providers, "providers"),
            )

    def _emails(self) -> None:
        seen: dict[str, tuple[str, Place]] = {}
        for path in self._children(("people",)):
            tree = self._at((*path, "email"))
            email = _text(tree)
            if tree is None or email is None:
                continue
            first = seen.setdefault(email.casefold(), (str(path[-1]), tree.place))
            if first[1] != tree.place:
                self._say(
                    tree.place,
                    f'{subject_at(path)} has the same address as person "{first[0]}"',
                    f"that one is at {first[1]}; an address is one person's own",
                )

    def _unique_service(self, path: Path, seen: dict[str, tuple[str, Place]]) -> None:
        name, place = str(path[-1]), key_place_at(self._tree, path)
        unit = f"{path[1]}/{path[3]}"
        first_unit, first = seen.setdefault(name, (unit, place))
        if first_unit != unit:
            self._say(
                place,
                f'service "{name}" is declared twice: in {first_unit} and in {unit}',
                f"the first is at {first}; a service's id is unique in the "
                "organization",
            )

    def _service(self, path: Path) -> None:
        for owner, role in _OWNER_WORDS.items():
            self._person((*path, "owners", owner), role)
        for role in ("operator", "sponsor"):
            self._person((*path, role), role)
        self._person((*path, "sandbox", "sponsor"), "sandbox sponsor")
        self._listed(path, "escalation")
        self._listed(path, "models")
        self._agent(path)

    def _listed(self, path: Path, key: str) -> None:
        tree = self._at((*path, key))
        seen: set[str] = set()
        for item in tree.items if isinstance(tree, Listing) else ():
            name = _text(item)
            if name is None:
                continue
            if name in seen:
                what = f'{subject_at(path)}: "{name}" is twice under {key}'
                self._say(item.place, what, "name it once")
            elif key == "escalation":
                self._person_named(item, path, "escalation to")
            else:
                self._model_named(item, name, path)
            seen.add(name)

    def _model_named(self, item: Tree, name: str, path: Path) -> None:
        if self._models is not None and name not in self._models:
            self._say(
                item.place,
                f'{subject_at(path)}: model "{name}" is not declared under models',
                did_you_mean(name, self._models, "models"),
            )

    def _agent(self, path: Path) -> None:
        kind = _text(self._at((*path, "kind")))
        if kind is None:
            return
        if kind == "agent":
            for role in ("operator", "sponsor"):
                if self._at((*path, role)) is None:
                    self._say(
                        key_place_at(self._tree, path),
                        f"{subject_at(path)} is an agent and has no {role}",
                        f'add "{role}: PERSON": {_AGENT_ROLES[role]}',
                    )
            return
        for key in _AGENT_ONLY:
            if self._at((*path, key)) is not None:
                self._say(
                    key_place_at(self._tree, (*path, key)),
                    f'{subject_at(path)}: "{key}" is for agents, and its kind is '
                    f"{kind}",
                    f'write "kind: agent", or take "{key}" out',
                )


_AGENT_ROLES: Final = {
    "operator": "the person who runs it",
    "sponsor": "the person who wants it and pays for it",
}


def _text(tree: Tree | None) -> str | None:
    value = tree.value if isinstance(tree, Scalar) else None
    return value.strip() if isinstance(value, str) else None
