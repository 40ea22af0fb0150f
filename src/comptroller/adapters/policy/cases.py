"""One test file: cases that begin with an ordinary request and change a little."""

from __future__ import annotations

from collections.abc import Mapping as AnyMapping
from copy import deepcopy
from decimal import Decimal
from typing import Any, Final

from comptroller.adapters.policy.form import Form
from comptroller.adapters.policy.sets import Source
from comptroller.core.policy.case import Expectation, PolicyCase
from comptroller.core.policy.decide import Effect
from comptroller.core.policy.prompt import FIELDS as PROMPT_FIELDS
from comptroller.core.policy.schema import NAMES, neutral_facts
from comptroller.core.problem import Problem, did_you_mean
from comptroller.core.tree import Mapping, Plain, Scalar, Tree, plain

_TOP: Final = ("policy", "defaults", "tests")
_CASE: Final = ("name", "with", "without", "expect")
_EXPECT: Final = (
    "decision",
    "by",
    "would_deny",
    "warnings",
    "max_output_tokens",
    "clamped",
    "ceiling",
    "message_contains",
    "error_contains",
)
_FACTS: Final = (*NAMES, *(field.name for field in PROMPT_FIELDS))
_EFFECTS: Final = tuple(effect.value for effect in Effect)

Facts = dict[str, dict[str, Any]]


def read_cases(
    source: Source, known: AnyMapping[str, str]
) -> tuple[tuple[PolicyCase, ...], list[Problem]]:
    """Reads one test file.

    Args:
        source: the file.
        known: the policy files of the bundle, by their names without folders.

    Returns:
        The cases that could be read, and every problem.
    """
    reader = _Reader(source, known)
    return reader.read(), reader.problems


class _Reader:
    def __init__(self, source: Source, known: AnyMapping[str, str]) -> None:
        self.problems: list[Problem] = []
        self._source = source
        self._known = known

    def read(self) -> tuple[PolicyCase, ...]:
        form = Form(self._source.tree, _TOP, "", self.problems)
        files = self._files(form)
        base = self._defaults(form)
        form.required("tests", "tests: [{name: …, expect: {decision: allow}}]")
        cases = [self._case(tree, base, files) for tree in form.items("tests")]
        seen: dict[str, PolicyCase] = {}
        for case in cases:
            if case.name and case.name in seen:
                line = seen[case.name].place.line
                hint = f"the first is at line {line}; rename one"
                form.report(case.place, f'the test "{case.name}" is there twice', hint)
            seen.setdefault(case.name, case)
        return tuple(cases)

    def _files(self, form: Form) -> tuple[str, ...]:
        files = []
        for name in form.texts("policy"):
            if name in self._known:
                files.append(self._known[name])
                continue
            hint = did_you_mean(name, self._known, "policy files")
            form.report(form.place_of("policy"), f'there is no "{name}" here', hint)
        return tuple(files)

    def _defaults(self, form: Form) -> Facts:
        facts = neutral_facts()
        tree = form.at("defaults")
        if tree is None:
            return facts
        inner = Form(tree, tuple(facts), "defaults", self.problems)
        for section in facts:
            part = inner.at(section)
            if part is None:
                continue
            keys = tuple(facts[section])
            fields = Form(part, keys, f"defaults.{section}", self.problems)
            for key in keys:
                value = fields.at(key)
                if value is not None:
                    facts[section][key] = _native(plain(value))
        return facts

    def _case(self, tree: Tree, base: Facts, files: tuple[str, ...]) -> PolicyCase:
        entry = tree.entries.get("name") if isinstance(tree, Mapping) else None
        named = entry.value if isinstance(entry, Scalar) else None
        subject = f'test "{named}"' if named is not None else "test"
        form = Form(tree, _CASE, subject, self.problems)
        name = form.required("name", "name: what it is about")
        facts = deepcopy(base)
        changes = form.named("with")
        for path, value in changes.items():
            if self._is_fact(form, path, value):
                section, _, key = path.partition(".")
                facts[section][key] = _native(plain(value))
        for path in form.texts("without"):
            if self._is_fact(form, path, form.at("without") or tree):
                section, _, key = path.partition(".")
                facts[section].pop(key, None)
        return PolicyCase(
            name=form.text("name") if name is not None else "",
            facts=facts,
            expect=self._expect(form),
            files=files,
            place=form.place,
        )

    def _is_fact(self, form: Form, path: str, tree: Tree) -> bool:
        if path in _FACTS:
            return True
        hint = did_you_mean(path, _FACTS, "facts")
        form.report(tree.place, f'there is no fact "{path}"', hint)
        return False

    def _expect(self, form: Form) -> Expectation:
        tree = form.required("expect", "expect: {decision: allow}")
        if tree is None:
            return Expectation()
        inner = Form(tree, _EXPECT, f"{form.subject}: expect", self.problems)
        if isinstance(tree, Mapping) and not tree.entries:
            inner.report(tree.place, "this expects nothing", "add decision: allow")
        return Expectation(
            effect=inner.choice("decision", _EFFECTS, "") or None,
            by=_listed(inner, "by"),
            would_deny=_listed(inner, "would_deny"),
            warnings=_listed(inner, "warnings"),
            max_output_tokens=(
                inner.whole("max_output_tokens", "") or None
                if inner.has("max_output_tokens")
                else None
            ),
            is_clamped=_flag(inner, "clamped"),
            ceiling=inner.text("ceiling") or None,
            message_contains=inner.text("message_contains") or None,
            error_contains=inner.text("error_contains") or None,
        )


def _listed(form: Form, key: str) -> tuple[str, ...] | None:
    return form.texts(key) if form.has(key) else None


def _flag(form: Form, key: str) -> bool | None:
    tree = form.at(key)
    if tree is None:
        return None
    if isinstance(tree, Scalar) and isinstance(tree.value, bool):
        return tree.value
    form.report(tree.place, f"{key} must be true or false")
    return None


def _native(value: Plain) -> object:
    """A value as JSON would give it: a number with a point is a float."""
    if isinstance(value, Decimal):
        return float(value)
    return value
