"""Wiring of a promotion: one part of a bundle in files gets another mode."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from comptroller.adapters.policy.editing import replace_file, with_mode
from comptroller.adapters.policy.reading import Content, gather
from comptroller.bootstrap.policies import policy_reader, policy_tree
from comptroller.core.errors import ConflictError, NotFoundError
from comptroller.core.policy.bundle import Bundle
from comptroller.core.policy.plain import plain_set
from comptroller.core.policy.rules import AllowTable, Mode, Part, Policy, PolicySet


class Promotion(NamedTuple):
    """A change of one mode that is not written yet."""

    rule: str
    mode_before: Mode
    mode: Mode
    before: Bundle
    after: Bundle
    """Read from the changed file and the others."""
    file: str
    content: bytes
    changed: bytes

    def write(self) -> None:
        """Writes the changed file.

        Raises:
            ConflictError: it cannot be written, or was changed meanwhile.
        """
        replace_file(Path(self.file), self.content, self.changed)


def promotion(paths: Sequence[Path], rule: str, mode: Mode) -> Promotion | Bundle:
    """Prepares to give one part of a bundle another mode.

    Args:
        paths: the bundle's files, or folders of them.
        rule: the id of the part.
        mode: the new one.

    Returns:
        The promotion; or the bundle, where it has problems already.

    Raises:
        NotFoundError: no part has this id.
        ConflictError: it has this mode already, or none that can be changed.
    """
    contents, problems = gather(paths)
    reader = policy_reader()
    before = reader.read_contents(contents, problems)
    if before.policy is None:
        return before
    declared, part = _find(before.policy.sets, rule)
    if isinstance(part, AllowTable):
        raise ConflictError(f'"{rule}" allows: it has no mode')
    if part.mode is mode:
        raise ConflictError(f'"{rule}" has the mode {mode} already')
    old = next(one for one in contents if one.file == declared.file)
    tree = policy_tree(old.file, old.content)
    changed = with_mode(old.content, tree, rule, mode)
    after = reader.read_contents(
        [_changed(one, changed) if one is old else one for one in contents]
    )
    if after.policy is None or not _is_only(before.policy, after.policy, rule):
        raise ConflictError(
            f'{part.place}: changing the mode of "{rule}" would change more than that:'
            " change it by hand"
        )
    return Promotion(
        rule, part.mode, mode, before, after, old.file, old.content, changed
    )


def _changed(one: Content, content: bytes) -> Content:
    return Content(one.file, one.name, content)


def _find(sets: Sequence[PolicySet], rule: str) -> tuple[PolicySet, Part]:
    for declared in sets:
        for part in declared.parts():
            if part.id == rule:
                return declared, part
    raise NotFoundError(f'no part of the bundle has the id "{rule}"')


def _is_only(before: Policy, after: Policy, rule: str) -> bool:
    """Whether two policies differ at most in the mode of one part."""
    return [_without_mode(one, rule) for one in before.sets] == [
        _without_mode(one, rule) for one in after.sets
    ]


def _without_mode(declared: PolicySet, rule: str) -> dict[str, Any]:
    plain = plain_set(declared)
    for parts in plain.values():
        for part in parts if isinstance(parts, list) else ():
            if isinstance(part, dict):
                part.pop("place", None)
                if part.get("id") == rule:
                    del part["mode"]
    return plain
