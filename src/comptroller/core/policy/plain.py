"""Policy sets as plain values and back, to hand a checked bundle to a worker.

A worker then needs neither YAML nor the checks again: expressions go as they were
written, and are compiled where they are used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol, TypeAlias

from comptroller.core.policy.expression import Expression
from comptroller.core.policy.rules import (
    AllowTable,
    CeilingRule,
    EnvironmentTable,
    Mode,
    OnExceed,
    PolicySet,
    PromptRestriction,
    Rule,
    Selector,
)
from comptroller.core.problem import Place

Lists: TypeAlias = Mapping[str, tuple[str, ...]]
PlainSet: TypeAlias = dict[str, Any]
"""JSON: texts, numbers, lists and objects only."""


class Compiler(Protocol):
    """Compiles an expression of a set that was checked before."""

    def __call__(self, source: str, lists: Lists, *, is_text: bool) -> Expression:
        """The expression; a condition unless it is a text."""


def plain_set(declared: PolicySet) -> PlainSet:
    """A set as plain values; the same for the same set."""
    return {
        "name": declared.name,
        "owner": declared.owner,
        "description": declared.description,
        "file": declared.file,
        "lists": {name: list(texts) for name, texts in declared.lists.items()},
        "allow": [
            {
                **_head(one.id, one.place),
                "models": _plain_table(one.models),
                "by": one.by,
                "for": _plain_selector(one.selector),
                "when": _source(one.when),
            }
            for one in declared.allow
        ],
        "ceilings": [
            {
                **_head(one.id, one.place),
                "max_output_tokens": one.max_output_tokens,
                "on_exceed": one.on_exceed.value,
                "for": _plain_selector(one.selector),
                "when": _source(one.when),
                "mode": one.mode.value,
            }
            for one in declared.ceilings
        ],
        "environments": [
            {
                **_head(one.id, one.place),
                "models": _plain_table(one.models),
                "mode": one.mode.value,
            }
            for one in declared.environments
        ],
        "rules": [_plain_rule(one) for one in declared.rules],
        "prompts": [_plain_prompt(one) for one in declared.prompts],
    }


def set_of(plain: PlainSet, compiler: Compiler) -> PolicySet:
    """The set that plain values are of.

    Args:
        plain: what `plain_set` made, perhaps through JSON.
        compiler: what compiles its expressions; called only if it has any.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: they are of no set, and
            nothing may be decided by them.
    """
    lists = {name: tuple(texts) for name, texts in plain["lists"].items()}
    build = _Builder(lists, compiler)
    return PolicySet(
        name=plain["name"],
        owner=plain["owner"],
        description=plain["description"],
        file=plain["file"],
        lists=lists,
        allow=tuple(map(build.allow, plain["allow"])),
        ceilings=tuple(map(build.ceiling, plain["ceilings"])),
        environments=tuple(map(build.environment, plain["environments"])),
        rules=tuple(map(build.rule, plain["rules"])),
        prompts=tuple(map(_prompt, plain["prompts"])),
    )


class _Builder:
    """Builds the parts of one set."""

    def __init__(self, lists: Lists, compiler: Compiler) -> None:
        self._lists = lists
        self._compiler = compiler

    def allow(self, plain: PlainSet) -> AllowTable:
        return AllowTable(
            id=plain["id"],
            models=_table(plain["models"]),
            by=plain["by"],
            selector=_selector(plain["for"]),
            when=self._condition(plain["when"]),
            place=_place(plain),
        )

    def ceiling(self, plain: PlainSet) -> CeilingRule:
        return CeilingRule(
            id=plain["id"],
            max_output_tokens=plain["max_output_tokens"],
            on_exceed=OnExceed(plain["on_exceed"]),
            selector=_selector(plain["for"]),
            when=self._condition(plain["when"]),
            mode=Mode(plain["mode"]),
            place=_place(plain),
        )

    def environment(self, plain: PlainSet) -> EnvironmentTable:
        return EnvironmentTable(
            id=plain["id"],
            models=_table(plain["models"]),
            mode=Mode(plain["mode"]),
            place=_place(plain),
        )

    def rule(self, plain: PlainSet) -> Rule:
        message = plain["message"]
        return Rule(
            id=plain["id"],
            deny_if=self._compiler(plain["deny_if"], self._lists, is_text=False),
            unless=self._condition(plain["unless"]),
            message=(
                None
                if message is None
                else self._compiler(message, self._lists, is_text=True)
            ),
            mode=Mode(plain["mode"]),
            selector=_selector(plain["for"]),
            controls=tuple(plain["control"]),
            place=_place(plain),
        )

    def _condition(self, source: str | None) -> Expression | None:
        if source is None:
            return None
        return self._compiler(source, self._lists, is_text=False)


def _plain_rule(rule: Rule) -> PlainSet:
    return {
        **_head(rule.id, rule.place),
        "deny_if": rule.deny_if.source,
        "unless": _source(rule.unless),
        "message": _source(rule.message),
        "mode": rule.mode.value,
        "for": _plain_selector(rule.selector),
        "control": list(rule.controls),
    }


def _plain_prompt(one: PromptRestriction) -> PlainSet:
    return {
        **_head(one.id, one.place),
        "max_bytes": one.max_bytes,
        **{key: list(getattr(one, key)) for key in _PROMPT_LISTS},
        "message": one.message,
        "for": _plain_selector(one.selector),
        "mode": one.mode.value,
    }


def _prompt(plain: PlainSet) -> PromptRestriction:
    return PromptRestriction(
        id=plain["id"],
        max_bytes=plain["max_bytes"],
        **{key: tuple(plain[key]) for key in _PROMPT_LISTS},
        message=plain["message"],
        selector=_selector(plain["for"]),
        mode=Mode(plain["mode"]),
        place=_place(plain),
    )


_PROMPT_LISTS: Final = (
    "required_system_digests",
    "forbidden_system_digests",
    "forbidden_tools",
    "forbidden_builtin_tools",
    "patterns",
    "models",
    "allowed_elsewhere",
)


def _head(id_: str, place: Place) -> PlainSet:
    return {"id": id_, "place": list(place)}


def _place(plain: PlainSet) -> Place:
    return Place(*plain["place"])


def _source(expression: Expression | None) -> str | None:
    return None if expression is None else expression.source


def _plain_table(table: Mapping[str, frozenset[str]]) -> dict[str, list[str]]:
    return {key: sorted(values) for key, values in table.items()}


def _table(plain: Mapping[str, Sequence[str]]) -> dict[str, frozenset[str]]:
    return {key: frozenset(values) for key, values in plain.items()}


def _plain_selector(selector: Selector) -> list[list[Any]]:
    return [[name, sorted(values)] for name, values in selector.wanted]


def _selector(plain: Sequence[Sequence[Any]]) -> Selector:
    return Selector(tuple((name, frozenset(values)) for name, values in plain))
