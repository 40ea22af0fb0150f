"""CEL by cel-expr-python, behind the Expression protocol.

Every fact is a variable of its own with a dotted name, so that types and names are
checked when a bundle is loaded, with the column. The engine returns errors as
values whose text is true to Python: `_value` is the one place that takes values
out, and it looks at their type first.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from cel_expr_python import cel

from comptroller.adapters.policy.language import Fault, FaultsError, Wanted
from comptroller.adapters.policy.tokens import call_of, comparisons, inline, tokens
from comptroller.core.policy.expression import (
    Answer,
    Conditions,
    Expression,
    ExpressionError,
    FlatFacts,
    OneByOne,
)
from comptroller.core.policy.schema import FIELDS, NAMES, Kind
from comptroller.core.problem import did_you_mean, nearest

SOURCE_CHARS_MAX: Final = 4000
_TYPES: Final = {
    Kind.TEXT: cel.Type.STRING,
    Kind.WHOLE: cel.Type.INT,
    Kind.FLAG: cel.Type.BOOL,
    Kind.TEXTS: cel.Type.List(cel.Type.STRING),
    Kind.TIME: cel.Type.TIMESTAMP,
}
FACT_TYPES: Final = {field.name: _TYPES[field.kind] for field in FIELDS}
_OF_FACTS: Final = cel.NewEnv(variables=FACT_TYPES)
_OF_NOTHING: Final = cel.NewEnv(variables={})
_WANTED: Final = {
    Wanted.CONDITION: (cel.Type.BOOL, bool),
    Wanted.TEXT: (cel.Type.STRING, str),
}
_FAULT: Final = re.compile(r"ERROR: <input>:(\d+):(\d+): (.*)")
_UNDECLARED: Final = re.compile(
    r"undeclared reference to '([^']*)' \(in container ''\)"
)
_STATUS: Final = re.compile(r"^[A-Z_]+: |\s*\[[A-Z_]+\]$")
ENGINE_ERRORS: Final = (RuntimeError, ValueError, TypeError, ArithmeticError)
"""What the engine raises where it does not return an error as a value."""


class _Stage:
    """The facts that were asked about last, as the engine takes them.

    One decision asks several programs about the same facts, and bringing them into
    the engine costs as much as the first answer. It is known by its identity, which
    is safe as long as it is kept, and `decide` makes facts anew for every decision.
    """

    __slots__ = ("_activation", "_facts")

    def __init__(self) -> None:
        self._facts: FlatFacts = {}
        self._activation = _OF_FACTS.Activation({})

    def of(self, facts: FlatFacts) -> cel.Activation:
        """The facts for the engine."""
        if facts is not self._facts:
            self._activation = _OF_FACTS.Activation(facts)
            self._facts = facts
        return self._activation


_STAGE: Final = _Stage()


class CelExpression:
    """A checked expression."""

    def __init__(self, source: str, inlined: str, wanted: Wanted) -> None:
        self._source = source
        self.inlined = inlined
        self.wanted = wanted
        self._type, self._class = _WANTED[wanted]
        self._program = _OF_FACTS.compile(inlined)

    @property
    def source(self) -> str:
        """The expression as it was written."""
        return self._source

    def evaluate(self, facts: FlatFacts) -> object:
        """Its value for these facts.

        Raises:
            ExpressionError: it has none.
        """
        return self._value(self._program, facts)

    def constant(self) -> object:
        """The value that it has without any facts; None when it needs some.

        Raises:
            ExpressionError: it fails without needing any.
        """
        try:
            program = _OF_NOTHING.compile(self.inlined)
        except ENGINE_ERRORS:
            return None
        return self._value(program, {})

    def _value(self, program: cel.Expression, facts: FlatFacts) -> object:
        try:
            found = program.eval(_STAGE.of(facts))
            value = found.plain_value()
        except ENGINE_ERRORS as error:
            raise ExpressionError(_said(error)) from error
        if found.type() != self._type:
            raise ExpressionError(_STATUS.sub("", str(value)))
        if type(value) is not self._class:
            raise ExpressionError(f"its value is not {self.wanted}")
        return value


class Fused:
    """Conditions in one program; one by one only where that has no answer."""

    def __init__(
        self, expressions: Sequence[CelExpression], program: cel.Expression
    ) -> None:
        self._program = program
        self._count = len(expressions)
        self._apart = OneByOne(expressions)

    def evaluate(self, facts: FlatFacts) -> Sequence[Answer]:
        """The value of each, or its error, in their order; raises nothing."""
        try:
            values = self._program.eval(_STAGE.of(facts)).plain_value()
        except ENGINE_ERRORS:
            values = None
        # One failure fails the whole list: whose it is shows only apart.
        if type(values) is list and len(values) == self._count:
            for value in values:
                if value is not True and value is not False:
                    break
            else:
                return values
        return self._apart.evaluate(facts)


def join(expressions: Sequence[Expression]) -> Conditions:
    """Makes one evaluation of several conditions, where they are all CEL."""
    ours = [one for one in expressions if isinstance(one, CelExpression)]
    if len(ours) < len(expressions) or len(ours) < 2:
        return OneByOne(expressions)
    # A comment may end an expression, so each ends with a line.
    parts = ",\n".join(f"({one.inlined}\n)" for one in ours)
    try:
        program = _OF_FACTS.compile(f"[{parts}]")
    except ENGINE_ERRORS:  # together they are nested too deep
        return OneByOne(ours)
    return Fused(ours, program)


class CelLanguage:
    """Compiles the expressions of one file."""

    def __init__(self, lists: Mapping[str, tuple[str, ...]]) -> None:
        self._lists = {f"lists.{name}": values for name, values in lists.items()}
        texts = cel.Type.List(cel.Type.STRING)
        self._known = {**FACT_TYPES, **dict.fromkeys(self._lists, texts)}
        self._env = cel.NewEnv(variables=self._known)

    def compile(self, source: str, wanted: Wanted) -> CelExpression:
        """Checks an expression and makes it ready.

        Raises:
            FaultsError: it has faults; all that were found.
        """
        faults = self._faults(source, wanted)
        if faults:
            raise FaultsError(faults)
        return CelExpression(source, inline(source, self._lists), wanted)

    def constant(self, expression: Expression) -> object:
        """The value that it has for all facts, or None when it depends on them.

        Raises:
            ExpressionError: it fails for all facts.
        """
        return expression.constant() if isinstance(expression, CelExpression) else None

    def _faults(self, source: str, wanted: Wanted) -> list[Fault]:
        if len(source) > SOURCE_CHARS_MAX:
            what = f"the expression is longer than {SOURCE_CHARS_MAX} characters"
            return [Fault(1, 1, what, "write several rules, or use a list")]
        called = call_of(source, "has")
        if called is not None:
            hint = "compare it, such as request.system_digest != ''"
            return [
                _fault_at(source, called, "has() is not needed: facts are there", hint)
            ]
        try:
            program = self._env.compile(source)
        except ENGINE_ERRORS as error:
            return self._compile_faults(source, str(error))
        if program.return_type() != _WANTED[wanted][0]:
            found = program.return_type().name().lower()
            return [Fault(1, 1, f"its value is of type {found}, and must be {wanted}")]
        return [*_impossible(source), *_unlisted(source, self._lists)]

    def _compile_faults(self, source: str, said: str) -> list[Fault]:
        found = _FAULT.findall(said)
        if not found:
            return [Fault(1, 1, _STATUS.sub("", said).strip().splitlines()[0])]
        return [
            self._fault(source, int(line), int(column), what)
            for line, column, what in found
        ]

    def _fault(self, source: str, line: int, column: int, what: str) -> Fault:
        what = _STATUS.sub("", what).strip()
        undeclared = _UNDECLARED.fullmatch(what)
        if undeclared is None:
            return Fault(line, column, what[0].lower() + what[1:])
        name = undeclared[1]
        # The engine points at the last dot; people look at the first letter.
        offset = _offset(source, line, column)
        word = next((t for t in tokens(source) if t.start <= offset < t.end), None)
        if word is not None and word.text == name:
            offset = word.start
        what, hint = f'there is no "{name}"', self._meant(name)
        return _fault_at(source, offset, what, hint)

    def _meant(self, name: str) -> str | None:
        section = name.partition(".")[0]
        inside = [one for one in self._known if one.startswith(f"{section}.")]
        if name in {"lists", *(one.partition(".")[0] for one in NAMES)} or inside:
            keys = {one.partition(".")[2]: one for one in inside}
            near = nearest(name.partition(".")[2], keys)
            if near is not None:
                return f'did you mean "{keys[near]}"?'
            return did_you_mean(name, inside, f"what is in {section}")
        near = nearest(name, self._known)
        return f'did you mean "{near}"?' if near is not None else None


def _impossible(source: str) -> list[Fault]:
    """Comparisons that never hold: a fact with choices, and a text that is none."""
    faults = []
    for path, text, start in comparisons(source):
        field = NAMES.get(path)
        if field is not None and field.values and text not in field.values:
            what = f'{path} is never "{text}"'
            hint = did_you_mean(text, field.values, "it is one of")
            faults.append(_fault_at(source, start, what, hint))
    return faults


def _unlisted(source: str, lists: Mapping[str, Sequence[str]]) -> list[Fault]:
    """A list that was written so that it could not be put in."""
    try:
        _OF_FACTS.compile(inline(source, lists))
    except ENGINE_ERRORS as error:
        return [Fault(1, 1, f"its lists cannot be put in: {_said(error)}")]
    return []


def _said(error: Exception) -> str:
    lines = str(error).splitlines()
    return _STATUS.sub("", _STATUS.sub("", lines[0] if lines else "")) or "it fails"


def _offset(source: str, line: int, column: int) -> int:
    before = source.split("\n")[: line - 1]
    return sum(len(one) + 1 for one in before) + column - 1


def _fault_at(source: str, offset: int, what: str, hint: str | None) -> Fault:
    before = source[:offset]
    column = offset - (before.rfind("\n") + 1) + 1
    return Fault(before.count("\n") + 1, column, what, hint)
