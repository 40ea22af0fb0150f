"""One policy file: a policy set, or its problems."""

from __future__ import annotations

from collections.abc import Mapping as AnyMapping
from collections.abc import Sequence
from typing import Final, NamedTuple

from comptroller.adapters.policy.form import Form
from comptroller.adapters.policy.language import (
    Fault,
    FaultsError,
    Language,
    LanguageMaker,
    Wanted,
)
from comptroller.adapters.policy.placing import problem_of
from comptroller.adapters.policy.prompts import KEYS, Patterns, PromptReader
from comptroller.core.policy.expression import Expression, ExpressionError
from comptroller.core.policy.rules import (
    EVERYONE,
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
from comptroller.core.policy.schema import NAMES, SELECTABLE
from comptroller.core.problem import Place, Problem, did_you_mean
from comptroller.core.tree import Listing, Mapping, Scalar, Tree

API_VERSION: Final = "comptroller.policy/v1"
KIND: Final = "PolicySet"
LIST_ITEMS_MAX: Final = 1000
_TOP: Final = (
    "apiVersion",
    "kind",
    "metadata",
    "lists",
    "allow",
    "ceilings",
    "environments",
    "rules",
    "prompts",
)
_ALLOW: Final = ("id", "for", "by", "models", "when")
_CEILING: Final = ("id", "for", "max_output_tokens", "on_exceed", "when", "mode")
_ENVIRONMENT: Final = ("id", "models", "mode")
_RULE: Final = ("id", "for", "deny_if", "unless", "message", "mode", "control")
_BY: Final = ("tenant", "unit", "service", "kind")
_MODES: Final = tuple(mode.value for mode in Mode)
_ON_EXCEED: Final = tuple(one.value for one in OnExceed)
_NOWHERE: Final = {
    "deny_if": "it is false for every request: the rule can never match",
    "when": "it is false for every request: this can never hold",
    "unless": "it is true for every request: the rule can never deny",
}


class Source(NamedTuple):
    """A file, read."""

    file: str
    tree: Mapping
    lines: Sequence[str]


def read_set(
    source: Source, make_language: LanguageMaker, patterns: Patterns
) -> tuple[PolicySet, list[Problem]]:
    """Reads one policy file.

    Args:
        source: the file.
        make_language: makes what compiles its expressions; called only if it has any.
        patterns: names what prompts are looked through for; called only if it asks
            for any.

    Returns:
        The set, as far as it could be read, and every problem.
    """
    reader = _Reader(source, make_language, patterns)
    return reader.read(), reader.problems


class _Reader:
    def __init__(
        self, source: Source, make_language: LanguageMaker, patterns: Patterns
    ) -> None:
        self.problems: list[Problem] = []
        self._source = source
        self._make_language = make_language
        self._patterns = patterns
        self._language: Language | None = None
        self._lists: AnyMapping[str, tuple[str, ...]] = {}

    def read(self) -> PolicySet:
        form = Form(self._source.tree, _TOP, "", self.problems)
        self._check_kind(form)
        name, owner, description = self._metadata(form)
        self._lists = self._read_lists(form)
        return PolicySet(
            name=name,
            owner=owner,
            description=description,
            file=self._source.file,
            lists=self._lists,
            allow=tuple(map(self._allow, form.items("allow"))),
            ceilings=tuple(map(self._ceiling, form.items("ceilings"))),
            environments=tuple(map(self._environment, form.items("environments"))),
            rules=tuple(
                rule
                for rule in map(self._rule, form.items("rules"))
                if rule is not None
            ),
            prompts=tuple(map(self._prompt, form.items("prompts"))),
        )

    def _check_kind(self, form: Form) -> None:
        for key, only in (("apiVersion", API_VERSION), ("kind", KIND)):
            tree = form.required(key, f"{key}: {only}")
            if tree is not None and (
                not isinstance(tree, Scalar) or tree.value != only
            ):
                form.report(tree.place, f'{key} must be "{only}"')

    def _metadata(self, form: Form) -> tuple[str, str, str]:
        tree = form.required("metadata", "metadata: {name: …, owner: …}")
        if tree is None:
            return "", "", ""
        inner = Form(tree, ("name", "owner", "description"), "metadata", self.problems)
        inner.required("name", "name: acme-platform")
        inner.required("owner", "owner: ada")
        return inner.text("name"), inner.text("owner"), inner.text("description")

    def _read_lists(self, form: Form) -> dict[str, tuple[str, ...]]:
        lists: dict[str, tuple[str, ...]] = {}
        for name, tree in form.named("lists").items():
            if not form.name(name, tree.place, "a list"):
                continue
            texts = form.texts_in(tree, f"the list {name}")
            if len(texts) > LIST_ITEMS_MAX:
                what = f"the list {name} has more than {LIST_ITEMS_MAX} items"
                form.report(tree.place, what, "use a table, or several lists")
            lists[name] = texts
        return lists

    def _form(self, tree: Tree, known: Sequence[str], noun: str) -> tuple[Form, str]:
        """A form of a part with an id, and the id."""
        entry = tree.entries.get("id") if isinstance(tree, Mapping) else None
        named = entry.value if isinstance(entry, Scalar) else None
        subject = f'{noun} "{named}"' if named is not None else noun
        form = Form(tree, known, subject, self.problems)
        return form, form.id() if isinstance(tree, Mapping) else ""

    def _allow(self, tree: Tree) -> AllowTable:
        form, id_ = self._form(tree, _ALLOW, "allow")
        fact = SELECTABLE[form.choice("by", _BY, "tenant")]
        models: dict[str, frozenset[str]] = {}
        listed = form.required("models", "models: [gpt-5-mini]")
        if isinstance(listed, Mapping):
            models = self._table(form, "models")
            for key in models:
                if key != EVERYONE:
                    self._check_value(form, fact, key, listed.keys[key])
        elif listed is not None:
            models = {EVERYONE: frozenset(form.texts_in(listed, "models"))}
            if form.has("by"):
                form.report(
                    form.place_of("by"),
                    'with a plain list of models "by" means nothing',
                    "take it out, or list the models under each",
                )
        return AllowTable(
            id=id_,
            models=models,
            by=fact,
            selector=self._selector(form),
            when=self._condition(form, "when"),
            place=form.place,
        )

    def _ceiling(self, tree: Tree) -> CeilingRule:
        form, id_ = self._form(tree, _CEILING, "ceiling")
        return CeilingRule(
            id=id_,
            max_output_tokens=form.whole(
                "max_output_tokens", "max_output_tokens: 4096"
            ),
            on_exceed=OnExceed(form.choice("on_exceed", _ON_EXCEED, "deny")),
            selector=self._selector(form),
            when=self._condition(form, "when"),
            mode=Mode(form.choice("mode", _MODES, "enforce")),
            place=form.place,
        )

    def _environment(self, tree: Tree) -> EnvironmentTable:
        form, id_ = self._form(tree, _ENVIRONMENT, "environments")
        form.required("models", "models: {gpt-5-mini: [production]}")
        return EnvironmentTable(
            id=id_,
            models=self._table(form, "models"),
            mode=Mode(form.choice("mode", _MODES, "enforce")),
            place=form.place,
        )

    def _rule(self, tree: Tree) -> Rule | None:
        form, id_ = self._form(tree, _RULE, "rule")
        form.required("deny_if", "deny_if: …")
        deny_if = self._condition(form, "deny_if")
        unless = self._condition(form, "unless")
        message = self._expression(form, "message", Wanted.TEXT)
        mode = Mode(form.choice("mode", _MODES, "enforce"))
        selector = self._selector(form)
        controls = form.texts("control")
        if deny_if is None:
            return None
        return Rule(
            id=id_,
            deny_if=deny_if,
            unless=unless,
            message=message,
            mode=mode,
            selector=selector,
            controls=controls,
            place=form.place,
        )

    def _prompt(self, tree: Tree) -> PromptRestriction:
        form, id_ = self._form(tree, KEYS, "prompt restriction")
        reader = PromptReader(self._lists, self._patterns)
        return reader.read(form, id_, self._selector(form))

    def _table(self, form: Form, key: str) -> dict[str, frozenset[str]]:
        return {
            name: frozenset(form.texts_in(tree, f"{key} of {name}"))
            for name, tree in form.named(key).items()
        }

    def _selector(self, form: Form) -> Selector:
        tree = form.at("for")
        if tree is None:
            return Selector()
        inner = Form(tree, tuple(SELECTABLE), f"{form.subject}: for", self.problems)
        wanted: dict[str, frozenset[str]] = {}
        for short, fact in SELECTABLE.items():
            part = inner.at(short)
            if part is None:
                continue
            items = part.items if isinstance(part, Listing) else [part]
            if not items:
                inner.report(part.place, f"{short} is empty, so this selects nothing")
            wanted[fact] = frozenset(inner.texts_in(part, short))
            for item in items:
                if isinstance(item, Scalar) and isinstance(item.value, str):
                    self._check_value(inner, fact, item.value, item.place)
        return Selector(tuple(sorted(wanted.items())))

    def _check_value(self, form: Form, fact: str, value: str, place: Place) -> None:
        values = NAMES[fact].values
        if values and value not in values:
            hint = did_you_mean(value, values, "it is one of")
            form.report(place, f'{fact} is never "{value}"', hint)

    def _condition(self, form: Form, key: str) -> Expression | None:
        expression = self._expression(form, key, Wanted.CONDITION)
        tree = form.at(key)
        if expression is None or tree is None or self._language is None:
            return expression
        try:
            value = self._language.constant(expression)
        except ExpressionError as error:
            form.report(tree.place, f"{key}: it fails for every request: {error}")
            return expression
        if value is (key == "unless"):
            form.report(
                tree.place, f"{key}: {_NOWHERE[key]}", "correct it, or take it out"
            )
        return expression

    def _expression(self, form: Form, key: str, wanted: Wanted) -> Expression | None:
        tree = form.at(key)
        if tree is None:
            return None
        text = form.text_in(tree, key)
        if text is None:
            return None
        if self._language is None:
            self._language = self._make_language(self._lists)
        try:
            return self._language.compile(text.rstrip("\n"), wanted)
        except FaultsError as error:
            for fault in error.faults:
                self._report_fault(form, key, text, fault)
            return None

    def _report_fault(self, form: Form, key: str, text: str, fault: Fault) -> None:
        tree = form.at(key)
        place = tree.place if tree is not None else form.place
        subject = f"{form.subject}: {key}"
        self.problems.append(
            problem_of(fault, text, place, self._source.lines, subject)
        )
