"""Policies without a language: expressions that are plain Python functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy

from comptroller.core.policy.expression import ExpressionError, FlatFacts
from comptroller.core.policy.rules import AllowTable
from comptroller.core.policy.schema import neutral_facts

EVERYTHING = AllowTable("allow.all", {"*": frozenset({"*"})})
"""Allows every model to everybody."""


class PythonExpression:
    """An expression that asks a Python function; what that raises is an error."""

    def __init__(
        self, evaluate: Callable[[FlatFacts], object], source: str = "python"
    ) -> None:
        self._evaluate = evaluate
        self._source = source

    @property
    def source(self) -> str:
        """The name that it was given."""
        return self._source

    def evaluate(self, facts: FlatFacts) -> object:
        """What the function returns.

        Raises:
            ExpressionError: it raised.
        """
        try:
            return self._evaluate(facts)
        except (LookupError, TypeError, ValueError, ArithmeticError) as error:
            raise ExpressionError(f"{type(error).__name__}: {error}") from error


def facts_with(
    changes: Mapping[str, object] | None = None, *, without: tuple[str, ...] = ()
) -> dict[str, object]:
    """The facts of an ordinary request with some of them changed.

    Args:
        changes: values by path, such as `{"request.max_tokens": 500}`.
        without: paths to leave out.
    """
    facts = deepcopy(neutral_facts())
    for path, value in (changes or {}).items():
        section, _, key = path.partition(".")
        facts[section][key] = value
    for path in without:
        section, _, key = path.partition(".")
        del facts[section][key]
    return dict(facts)
