"""What reading a policy asks of a language of expressions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple, Protocol

from comptroller.core.policy.expression import Expression


class Wanted(StrEnum):
    """The type that an expression must have."""

    CONDITION = "true or false"
    TEXT = "a text"


class Fault(NamedTuple):
    """What is wrong with an expression; line and column count from 1."""

    line: int
    column: int
    what: str
    hint: str | None = None


class FaultsError(Exception):
    """An expression is not one that could ever be evaluated."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("; ".join(fault.what for fault in faults))
        self.faults = tuple(faults)


class Language(Protocol):
    """Compiles the expressions of one file."""

    def compile(self, source: str, wanted: Wanted) -> Expression:
        """Checks an expression and makes it ready.

        Raises:
            FaultsError: it has faults; all that were found.
        """

    def constant(self, expression: Expression) -> object:
        """The value that it has for all facts, or None when it depends on them.

        Raises:
            ExpressionError: it fails for all facts.
        """


class LanguageMaker(Protocol):
    """Makes the language of one file; loads its engine, so only where one is used."""

    def __call__(self, lists: Mapping[str, tuple[str, ...]]) -> Language:
        """A language in which `lists.NAME` names these lists."""
