"""Expressions: what a policy asks of an engine, and no more.

Every error is an exception. An engine that returns errors as values is wrapped so
that it cannot: a text such as "NOT_FOUND: …" is true to Python, and would allow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, TypeAlias

from comptroller.core.errors import ComptrollerError

FlatFacts: TypeAlias = Mapping[str, object]
"""The value of every field by its name, as `schema.flatten` makes it."""


class ExpressionError(ComptrollerError):
    """An expression has no value for these facts."""

    code = "policy_error"


class Expression(Protocol):
    """A typed expression over facts."""

    @property
    def source(self) -> str:
        """The expression as it was written."""

    def evaluate(self, facts: FlatFacts) -> object:
        """Its value for these facts.

        Raises:
            ExpressionError: it has none, for whatever reason: something is missing,
                null, of another type, too large, too costly or unknown.
        """


Answer: TypeAlias = "object | ExpressionError"


class Conditions(Protocol):
    """Several expressions, evaluated together where that is cheaper."""

    def evaluate(self, facts: FlatFacts) -> Sequence[Answer]:
        """The value of each, or its error, in their order; raises nothing."""


class OneByOne:
    """Conditions that are evaluated one after the other."""

    def __init__(self, expressions: Sequence[Expression]) -> None:
        self._expressions = tuple(expressions)

    def evaluate(self, facts: FlatFacts) -> Sequence[Answer]:
        """The value of each, or its error, in their order; raises nothing."""
        return [_answer(one, facts) for one in self._expressions]


def _answer(expression: Expression, facts: FlatFacts) -> Answer:
    try:
        return expression.evaluate(facts)
    except ExpressionError as error:
        return error
