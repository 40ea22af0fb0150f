"""What is wrong with policy sets that are well-formed: duplicates, dead parts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TypeAlias

from comptroller.core.policy.expression import Expression
from comptroller.core.policy.rules import (
    RESERVED_IDS,
    AllowTable,
    CeilingRule,
    Mode,
    OnExceed,
    Part,
    PolicySet,
    PromptRestriction,
    Rule,
    Selector,
)
from comptroller.core.problem import Place, Problem

Normal: TypeAlias = Callable[[str], str]
"""Brings an expression into a form in which equal texts mean the same."""


class _Meaning(NamedTuple):
    """All that decides when a rule matches; two rules with the same are one."""

    selector: Selector
    deny_if: str
    unless: str | None
    lists: str


def check_sets(sets: Sequence[PolicySet], normal: Normal) -> list[Problem]:
    """Finds what can never matter, or is there twice.

    Args:
        sets: every set of a bundle; they hold together.
        normal: makes the same expressions the same texts.
    """
    return [
        *_names(sets),
        *_ids(sets),
        *_nothing_allowed(sets),
        *_empty_tables(sets),
        *_same_rules(sets, normal),
        *_same_allows(sets, normal),
        *_dead_ceilings(sets),
        *_dead_prompts(sets),
    ]


def _names(sets: Sequence[PolicySet]) -> Iterator[Problem]:
    first: dict[str, PolicySet] = {}
    for one in sets:
        if one.name in first:
            what = f'the policy set "{one.name}" is there twice'
            hint = f"the other is {first[one.name].file}; give one another name"
            yield Problem(Place(one.file, 0, 0), what, hint)
        first.setdefault(one.name, one)


def _ids(sets: Sequence[PolicySet]) -> Iterator[Problem]:
    first: dict[str, Part] = {}
    for part in (part for one in sets for part in one.parts() if part.id):
        if part.id in RESERVED_IDS:
            what = f'the id "{part.id}" is the name of a reason that is built in'
            yield Problem(part.place, what, "choose another")
        elif part.id in first:
            what = f'the id "{part.id}" is there twice'
            where = _line(first[part.id])
            yield Problem(part.place, what, f"the first is at {where}; rename one")
        first.setdefault(part.id, part)


def _nothing_allowed(sets: Sequence[PolicySet]) -> Iterator[Problem]:
    if sets and not any(one.allow for one in sets):
        what = "nothing is allowed, so every request is denied"
        hint = "add allow: [{id: …, models: […]}]"
        yield Problem(Place(sets[0].file, 0, 0), what, hint)


def _empty_tables(sets: Sequence[PolicySet]) -> Iterator[Problem]:
    for table in (table for one in sets for table in one.allow):
        if not any(table.models.values()):
            what = f'allow "{table.id}" names no model, so it can never allow'
            yield Problem(table.place, what, "name models, or take it out")
    for environments in (table for one in sets for table in one.environments):
        if not environments.models:
            what = f'environments "{environments.id}" denies every request'
            yield Problem(environments.place, what, "name models, or take it out")


def _same_rules(sets: Sequence[PolicySet], normal: Normal) -> Iterator[Problem]:
    first: dict[_Meaning, Rule] = {}
    for one in sets:
        for rule in one.rules:
            deny_if = normal(rule.deny_if.source)
            unless = _text(rule.unless, normal)
            # Lists of the same name may differ from file to file.
            named = f"{deny_if} {unless}"
            lists = repr(one.lists) if "lists." in named else ""
            meaning = _Meaning(rule.selector, deny_if, unless, lists)
            if meaning in first:
                what = f'rule "{rule.id}" matches what "{first[meaning].id}" matches'
                where = _line(first[meaning])
                yield Problem(rule.place, what, f"that is at {where}; keep one")
            first.setdefault(meaning, rule)


def _same_allows(sets: Sequence[PolicySet], normal: Normal) -> Iterator[Problem]:
    seen: list[AllowTable] = []
    for table in (table for one in sets for table in one.allow):
        for other in seen:
            if _allows_no_more(table, other, normal):
                what = f'allow "{table.id}" allows nothing that "{other.id}" does not'
                where = _line(other)
                yield Problem(table.place, what, f"that is at {where}; keep one")
                break
        seen.append(table)


def _allows_no_more(table: AllowTable, other: AllowTable, normal: Normal) -> bool:
    return (
        table.by == other.by
        and set(table.models) == set(other.models)
        and all(models <= other.models[key] for key, models in table.models.items())
        and other.selector.covers(table.selector)
        and (
            other.when is None or _text(other.when, normal) == _text(table.when, normal)
        )
    )


def _dead_ceilings(sets: Sequence[PolicySet]) -> Iterator[Problem]:
    """Ceilings that never govern: a stricter one holds wherever they would."""
    enforced = [
        ceiling
        for one in sets
        for ceiling in one.ceilings
        if ceiling.mode is Mode.ENFORCE and ceiling.max_output_tokens
    ]
    for place, ceiling in enumerate(enforced):
        for other_place, other in enumerate(enforced):
            if other is not ceiling and _governs(
                other, ceiling, is_first=other_place < place
            ):
                what = f'ceiling "{ceiling.id}" never governs: "{other.id}" always does'
                where = _line(other)
                yield Problem(ceiling.place, what, f"that is at {where}; keep one")
                break


def _governs(other: CeilingRule, ceiling: CeilingRule, *, is_first: bool) -> bool:
    """Whether another ceiling governs wherever this one holds."""
    if other.when is not None or not other.selector.covers(ceiling.selector):
        return False
    if other.max_output_tokens != ceiling.max_output_tokens:
        return other.max_output_tokens < ceiling.max_output_tokens
    if other.on_exceed is not ceiling.on_exceed:
        return other.on_exceed is OnExceed.DENY
    # Of two that are the same the second is the one too many.
    return is_first or other.selector != ceiling.selector


def _dead_prompts(sets: Sequence[PolicySet]) -> Iterator[Problem]:
    """Restrictions that another one makes needless, and such as nothing can meet."""
    prompts = [restriction for one in sets for restriction in one.prompts]
    for place, restriction in enumerate(prompts):
        for other_place, other in enumerate(prompts):
            if other is restriction or not _restricts_no_more(restriction, other):
                continue
            # Of two that are the same the second is the one too many.
            if other_place < place or not _restricts_no_more(other, restriction):
                what = (
                    f'prompt restriction "{restriction.id}" denies nothing that'
                    f' "{other.id}" does not'
                )
                where = _line(other)
                yield Problem(restriction.place, what, f"that is at {where}; keep one")
                break
        required = set(restriction.required_system_digests)
        if required and required <= set(restriction.forbidden_system_digests):
            what = f'prompt restriction "{restriction.id}" denies every prompt'
            hint = "what it requires as a system text it forbids"
            yield Problem(restriction.place, what, hint)


def _restricts_no_more(one: PromptRestriction, other: PromptRestriction) -> bool:
    """Whether all that breaks one restriction breaks another, with what follows."""
    return (
        other.mode in (one.mode, Mode.ENFORCE)
        and other.selector.covers(one.selector)
        and (
            one.max_bytes is None
            or (other.max_bytes is not None and other.max_bytes <= one.max_bytes)
        )
        and _is_within(other.required_system_digests, one.required_system_digests)
        and _is_within(other.models, one.models)
        and set(one.forbidden_system_digests) <= set(other.forbidden_system_digests)
        and _are_met(one.forbidden_tools, other.forbidden_tools)
        and _are_met(one.forbidden_builtin_tools, other.forbidden_builtin_tools)
        and all(
            pattern in other.patterns or pattern.partition(".")[0] in other.patterns
            for pattern in one.patterns
        )
        and set(other.allowed_elsewhere) <= set(one.allowed_elsewhere)
    )


def _is_within(stricter: Sequence[str], allowed: Sequence[str]) -> bool:
    """Whether a list of all that may be is as strict as another; empty: it is none."""
    return not allowed or (bool(stricter) and set(stricter) <= set(allowed))


def _are_met(words: Sequence[str], others: Sequence[str]) -> bool:
    """Whether whatever some words forbid is forbidden by others."""
    return all(
        any(
            word.startswith(one[:-1]) if one.endswith("*") else word == one
            for one in others
        )
        for word in words
    )


def _text(expression: Expression | None, normal: Normal) -> str | None:
    return None if expression is None else normal(expression.source)


def _line(part: Part) -> str:
    return f"{part.place.file}:{part.place.line}"
