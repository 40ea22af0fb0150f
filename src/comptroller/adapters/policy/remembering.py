"""Remembering: a policy whose expressions are not evaluated twice for the same facts.

For deciding many requests one after the other, as a replay does. Everything is
decided by the same code; only what the engine answered before is not asked again.

Which facts an expression depends on is not guessed from its text: the text suggests
some, and the engine has to compile it with no other facts declared. Then its value
cannot depend on any other. Where the engine refuses, it is never remembered.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import replace
from operator import itemgetter
from typing import Final, NamedTuple, TypeAlias

from cel_expr_python import cel

from comptroller.adapters.policy.cel import ENGINE_ERRORS, FACT_TYPES, CelExpression
from comptroller.adapters.policy.tokens import Token, tokens
from comptroller.core.policy.expression import (
    Answer,
    Conditions,
    Expression,
    ExpressionError,
    FlatFacts,
    OneByOne,
)
from comptroller.core.policy.rules import Joiner, Policy, PolicySet
from comptroller.core.policy.schema import NAMES, Kind

REMEMBERED_MAX: Final = 20_000
"""Answers kept for one expression; then it begins anew."""
_ORDERS: Final = frozenset({"<", "<=", ">", ">=", "==", "!="})
_OPENS: Final = frozenset({"(", "[", ",", "&&", "||", "?", ":"})
_CLOSES: Final = frozenset({")", "]", ",", "&&", "||", "?", ":"})
_MANIFOLD: Final = frozenset(
    {
        "principal.credential",
        "principal.person",
        "request.model",
        "request.tools",
        "request.system_digest",
        "ctx.time",
    }
)
"""Facts with so many values that an expression on them is rarely asked the same:
one is evaluated apart, so that it does not spoil the others. Whole numbers, too."""

Key: TypeAlias = "Callable[[FlatFacts], Hashable]"


class Dependence(NamedTuple):
    """What the value of an expression depends on."""

    names: frozenset[str]
    limits: dict[str, tuple[int, ...]]
    """Of whole numbers that are only compared with literals: these literals. Only
    where between them a number lies is of any account."""

    @property
    def is_manifold(self) -> bool:
        """Whether it depends on facts that have a great many values."""
        return any(
            name in _MANIFOLD
            or (NAMES[name].kind is Kind.WHOLE and name not in self.limits)
            for name in self.names
        )


def remembering(sets: Iterable[PolicySet], join: Joiner) -> Policy:
    """The policy of some sets; it decides the same, and remembers.

    Args:
        sets: of one bundle.
        join: how conditions are evaluated together.
    """

    def joined(expressions: Sequence[Expression]) -> Conditions:
        return _conditions(expressions, join)

    return Policy.of([_remembering_set(one) for one in sets], joined)


def dependence(expression: Expression) -> Dependence | None:
    """What an expression depends on, proven by the engine; None: unknown."""
    if not isinstance(expression, CelExpression):
        return None
    words = tokens(expression.inlined)
    paths = [(name, word) for word in words for name in _named(word)]
    names = frozenset(name for name, _ in paths)
    variables = {name: FACT_TYPES[name] for name in names}
    try:
        cel.NewEnv(variables=variables).compile(expression.inlined)
    except ENGINE_ERRORS:
        return None
    limits: dict[str, tuple[int, ...]] = {}
    for name in names:
        if NAMES[name].kind is Kind.WHOLE:
            found = _limits(name, words)
            if found is not None:
                limits[name] = found
    return Dependence(names, limits)


def _named(word: Token) -> list[str]:
    """The fact that a path begins with, if any."""
    if word.kind != "path":
        return []
    head = ".".join(word.text.split(".")[:2])
    return [head] if head in NAMES else []


def _limits(name: str, words: Sequence[Token]) -> tuple[int, ...] | None:
    """The literals that a whole number is compared with, if nothing else is done.

    A comparison must stand between words that bind less than it does: then it is
    compared as a whole, and with the literal alone.
    """
    found: set[int] = set()
    for place, word in enumerate(words):
        if name not in _named(word):
            continue
        literal = _literal_beside(name, words, place)
        if literal is None:
            return None
        found.add(literal)
    return tuple(sorted(found))


def _literal_beside(name: str, words: Sequence[Token], place: int) -> int | None:
    if words[place].text != name:
        return None  # something is called on it
    for step in (1, -1):
        sign, literal = place + step, place + 2 * step
        if not (min(sign, literal) >= 0 and max(sign, literal) < len(words)):
            continue
        is_compared = words[sign].text in _ORDERS and words[literal].text.isdecimal()
        first, last = min(place, literal), max(place, literal)
        opens = first == 0 or words[first - 1].text in _OPENS
        closes = last == len(words) - 1 or words[last + 1].text in _CLOSES
        if is_compared and opens and closes:
            return int(words[literal].text)
    return None


def _key(dependences: Sequence[Dependence]) -> Key:
    """What brings all that expressions depend on into one value.

    The facts are checked, so each has the one type of its field, and equal values
    are the same to the engine; times are moments to it, wherever they are told.
    """
    names = sorted(frozenset().union(*(one.names for one in dependences)))
    limited: dict[str, tuple[int, ...]] = {}
    for name in names:
        using = [one for one in dependences if name in one.names]
        if all(name in one.limits for one in using):
            limited[name] = tuple(
                sorted({limit for one in using for limit in one.limits[name]})
            )
    listed = [name for name in names if NAMES[name].kind is Kind.TEXTS]
    plain = [name for name in names if name not in limited and name not in listed]
    values: Key = itemgetter(*plain) if plain else _nothing
    if not listed and not limited:
        return values

    def key(facts: FlatFacts) -> Hashable:
        parts: list[object] = [values(facts)]
        for name in listed:
            texts = facts[name]
            parts.append(tuple(texts) if isinstance(texts, list) else texts)
        for name, limits in limited.items():
            value = facts[name]
            assert isinstance(value, int)  # noqa: S101  the facts are checked
            place = bisect_left(limits, value)
            parts.append((place, place < len(limits) and limits[place] == value))
        return tuple(parts)

    return key


def _nothing(facts: FlatFacts) -> Hashable:  # noqa: ARG001  a key like any other
    return None


class _Remembered:
    """An expression that is evaluated once for the facts that it depends on."""

    def __init__(self, expression: Expression, key: Key) -> None:
        self._expression = expression
        self._key = key
        self._answers: dict[Hashable, Answer] = {}

    @property
    def source(self) -> str:
        """The expression as it was written."""
        return self._expression.source

    def evaluate(self, facts: FlatFacts) -> object:
        """Its value for these facts.

        Raises:
            ExpressionError: it has none.
        """
        key = self._key(facts)
        try:
            answer = self._answers[key]
        except KeyError:
            try:
                answer = self._expression.evaluate(facts)
            except ExpressionError as error:
                answer = error
            if len(self._answers) >= REMEMBERED_MAX:
                self._answers.clear()
            self._answers[key] = answer
        if isinstance(answer, ExpressionError):
            # Anew, for one that is raised again and again grows with every time.
            raise ExpressionError(answer.message)
        return answer


class _RememberedConditions:
    """Conditions that are evaluated once for the facts that they depend on."""

    def __init__(self, conditions: Conditions, key: Key) -> None:
        self._conditions = conditions
        self._key = key
        self._answers: dict[Hashable, Sequence[Answer]] = {}

    def evaluate(self, facts: FlatFacts) -> Sequence[Answer]:
        """The value of each, or its error, in their order; raises nothing."""
        key = self._key(facts)
        try:
            return self._answers[key]
        except KeyError:
            answers = self._conditions.evaluate(facts)
            if len(self._answers) >= REMEMBERED_MAX:
                self._answers.clear()
            self._answers[key] = answers
            return answers


class _Parted:
    """Conditions in several parts, each evaluated together."""

    def __init__(self, parts: Sequence[tuple[Sequence[int], Conditions]]) -> None:
        self._parts = parts
        self._count = sum(len(places) for places, _ in parts)

    def evaluate(self, facts: FlatFacts) -> Sequence[Answer]:
        """The value of each, or its error, in their order; raises nothing."""
        answers: list[Answer] = [None] * self._count
        for places, conditions in self._parts:
            found = conditions.evaluate(facts)
            for place, answer in zip(places, found, strict=True):
                answers[place] = answer
        return answers


def _conditions(expressions: Sequence[Expression], join: Joiner) -> Conditions:
    """Evaluates together what often has the same answers, the rest apart.

    Of the former each remembers, too: where together they meet a new combination,
    hardly one of them has a new value to find.
    """
    found = [(dependence(one), one) for one in expressions]
    together = [
        place for place, (on, _) in enumerate(found) if on and not on.is_manifold
    ]
    apart = [place for place, (on, _) in enumerate(found) if on and on.is_manifold]
    unknown = [place for place, (on, _) in enumerate(found) if on is None]
    parts: list[tuple[Sequence[int], Conditions]] = [
        ([place], OneByOne([_maybe(expressions[place])])) for place in apart
    ]
    if unknown:
        parts.append((unknown, join([expressions[place] for place in unknown])))
    if together:
        each = OneByOne([_maybe(expressions[place]) for place in together])
        key = _key([on for on, _ in (found[place] for place in together) if on])
        parts.append((together, _RememberedConditions(each, key)))
    return _Parted(parts)


def _remembering_set(declared: PolicySet) -> PolicySet:
    return replace(
        declared,
        allow=tuple(replace(one, when=_optional(one.when)) for one in declared.allow),
        ceilings=tuple(
            replace(one, when=_optional(one.when)) for one in declared.ceilings
        ),
        rules=tuple(
            replace(one, unless=_optional(one.unless), message=_optional(one.message))
            for one in declared.rules
        ),
    )


def _optional(expression: Expression | None) -> Expression | None:
    return None if expression is None else _maybe(expression)


def _maybe(expression: Expression) -> Expression:
    """The expression, remembering where it is known what it depends on."""
    found = dependence(expression)
    return expression if found is None else _Remembered(expression, _key([found]))
