"""Test cases of a policy: facts, what is expected of the decision, what it missed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from comptroller.core.policy.decide import PolicyDecision
from comptroller.core.problem import Place


@dataclass(frozen=True, slots=True)
class Expectation:
    """What a case says of its decision; what is None is not looked at."""

    effect: str | None = None
    by: tuple[str, ...] | None = None
    would_deny: tuple[str, ...] | None = None
    warnings: tuple[str, ...] | None = None
    max_output_tokens: int | None = None
    is_clamped: bool | None = None
    ceiling: str | None = None
    message_contains: str | None = None
    error_contains: str | None = None

    def missed(self, decision: PolicyDecision) -> tuple[str, ...]:
        """How a decision is not as expected, in words; empty when it is."""
        found: list[str] = []
        self._compare(found, "decision", self.effect, decision.effect.value)
        self._compare(found, "by", self.by, decision.by)
        self._compare(found, "would_deny", self.would_deny, decision.would_deny)
        self._compare(found, "warnings", self.warnings, decision.warnings)
        self._compare(
            found,
            "max_output_tokens",
            self.max_output_tokens,
            decision.max_output_tokens,
        )
        self._compare(found, "clamped", self.is_clamped, decision.is_clamped)
        self._compare(found, "ceiling", self.ceiling, decision.ceiling)
        said = "; ".join(text for _, text in decision.messages)
        self._contains(found, "message", self.message_contains, said)
        errors = "; ".join(decision.errors)
        self._contains(found, "errors", self.error_contains, errors)
        return tuple(found)

    @staticmethod
    def _compare(found: list[str], what: str, wanted: object, is_so: object) -> None:
        if isinstance(wanted, tuple):
            wanted = tuple(sorted(wanted))
        if wanted is not None and wanted != is_so:
            found.append(f"{what} is {_shown(is_so)}, expected {_shown(wanted)}")

    @staticmethod
    def _contains(found: list[str], what: str, part: str | None, text: str) -> None:
        if part is not None and part not in text:
            found.append(f'{what} is "{text}", expected "{part}" in it')


@dataclass(frozen=True, slots=True)
class PolicyCase:
    """One test case."""

    name: str
    facts: Mapping[str, object]
    expect: Expectation
    files: tuple[str, ...] = ()
    """The policy files that it is about; none: the whole bundle."""
    place: Place = field(default=Place("", 0, 0), compare=False)


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(str, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    return "none" if value is None else str(value)
