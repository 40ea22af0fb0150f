"""The parts of a policy: frozen values, as a policy set declares them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, TypeAlias

from comptroller.core.policy.expression import (
    Conditions,
    Expression,
    FlatFacts,
    OneByOne,
)
from comptroller.core.problem import Place

EVERYONE: Final = "*"
"""In a table: whoever, or whatever, has no entry of its own."""
DEFAULT_DENY: Final = "default-deny"
POLICY_ERROR: Final = "policy_error"
RESERVED_IDS: Final = frozenset({DEFAULT_DENY, POLICY_ERROR})


class Mode(StrEnum):
    """What follows when a rule matches."""

    ENFORCE = "enforce"
    WARN = "warn"
    AUDIT = "audit"


class OnExceed(StrEnum):
    """What follows when a request asks for more than a ceiling."""

    CLAMP = "clamp"
    DENY = "deny"


@dataclass(frozen=True, slots=True)
class Selector:
    """Whom something is for: every fact has one of the values; empty: everyone."""

    wanted: tuple[tuple[str, frozenset[str]], ...] = ()
    """Names of text facts with the values that are selected, in order of name."""

    def selects(self, facts: FlatFacts) -> bool:
        """Whether these facts are selected."""
        for name, values in self.wanted:  # noqa: SIM110  half the time of all()
            if facts[name] not in values:
                return False
        return True

    def covers(self, other: Selector) -> bool:
        """Whether everything that another selects is selected by this one, too."""
        narrower = dict(other.wanted)
        return all(
            name in narrower and narrower[name] <= values
            for name, values in self.wanted
        )


@dataclass(frozen=True, slots=True)
class AllowTable:
    """Which models are allowed to whom; several tables are joined with OR."""

    id: str
    models: Mapping[str, frozenset[str]]
    """By the value of the fact `by`; `*` for whoever has no entry of its own."""
    by: str = "principal.tenant"
    selector: Selector = field(default_factory=Selector)
    when: Expression | None = None
    place: Place = field(default=Place("", 0, 0), compare=False)


@dataclass(frozen=True, slots=True)
class CeilingRule:
    """The most output tokens that a request may ask for."""

    id: str
    max_output_tokens: int
    on_exceed: OnExceed
    selector: Selector = field(default_factory=Selector)
    when: Expression | None = None
    mode: Mode = Mode.ENFORCE
    place: Place = field(default=Place("", 0, 0), compare=False)


@dataclass(frozen=True, slots=True)
class EnvironmentTable:
    """In which environments each model may be used; else the request is denied."""

    id: str
    models: Mapping[str, frozenset[str]]
    """By model; `*` for a model without an entry. Neither: approved nowhere."""
    mode: Mode = Mode.ENFORCE
    place: Place = field(default=Place("", 0, 0), compare=False)


@dataclass(frozen=True, slots=True)
class Rule:
    """Denies what its condition is true of."""

    id: str
    deny_if: Expression
    unless: Expression | None = None
    message: Expression | None = None
    mode: Mode = Mode.ENFORCE
    selector: Selector = field(default_factory=Selector)
    controls: tuple[str, ...] = ()
    """Ids of controls of a framework that the rule serves, for reports."""
    place: Place = field(default=Place("", 0, 0), compare=False)


@dataclass(frozen=True, slots=True)
class PromptRestriction:
    """Denies a prompt that is not as it says; what is empty restricts nothing."""

    id: str
    max_bytes: int | None = None
    required_system_digests: tuple[str, ...] = ()
    """The system text must be one of these; 64 hexadecimal digits each."""
    forbidden_system_digests: tuple[str, ...] = ()
    forbidden_tools: tuple[str, ...] = ()
    """Names; a `*` at the end stands for any rest."""
    forbidden_builtin_tools: tuple[str, ...] = ()
    """Types; a `*` at the end stands for any rest."""
    patterns: tuple[str, ...] = ()
    """Groups such as `secret` and `personal`, or single rules of them."""
    models: tuple[str, ...] = ()
    """All that may run: the model asked for, and every one that the body names."""
    allowed_elsewhere: tuple[str, ...] = ()
    """Fields that may bring in what is not in the body, and so is not judged."""
    message: str | None = None
    selector: Selector = field(default_factory=Selector)
    mode: Mode = Mode.ENFORCE
    place: Place = field(default=Place("", 0, 0), compare=False)


Part: TypeAlias = (
    "AllowTable | CeilingRule | EnvironmentTable | Rule | PromptRestriction"
)

CONTROLS: Final[Mapping[type, str]] = {
    AllowTable: "entitlement",
    Rule: "entitlement",
    EnvironmentTable: "environment",
    CeilingRule: "token_ceiling",
    PromptRestriction: "prompt_restriction",
}
"""The control, as decisions record it, that each kind of part belongs to."""


@dataclass(frozen=True, slots=True)
class PolicySet:
    """What one file declares."""

    name: str
    owner: str
    description: str = ""
    file: str = ""
    lists: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    allow: tuple[AllowTable, ...] = ()
    ceilings: tuple[CeilingRule, ...] = ()
    environments: tuple[EnvironmentTable, ...] = ()
    rules: tuple[Rule, ...] = ()
    prompts: tuple[PromptRestriction, ...] = ()

    def parts(self) -> tuple[Part, ...]:
        """Everything that has an id, in the order of the kinds."""
        return (
            *self.allow,
            *self.ceilings,
            *self.environments,
            *self.rules,
            *self.prompts,
        )


@dataclass(frozen=True, slots=True)
class RuleGroup:
    """Rules for the same requests; their conditions are evaluated together."""

    selector: Selector
    rules: tuple[Rule, ...]
    conditions: Conditions


Joiner: TypeAlias = Callable[[Sequence[Expression]], Conditions]
"""Makes one evaluation of several conditions."""


@dataclass(frozen=True, slots=True)
class Policy:
    """Policy sets, ready to decide: allows, denials and ceilings of all together."""

    sets: tuple[PolicySet, ...]
    allow: tuple[AllowTable, ...]
    ceilings: tuple[CeilingRule, ...]
    """Lowest first; of equals, one that denies before one that clamps."""
    environments: tuple[EnvironmentTable, ...]
    groups: tuple[RuleGroup, ...]
    prompts: tuple[PromptRestriction, ...]
    scans: tuple[Selector, ...]
    """Whose prompts are looked through for patterns."""
    controls: Mapping[str, str]
    """By id, of parts and of reasons that are built in."""

    @classmethod
    def of(cls, sets: Sequence[PolicySet], join: Joiner = OneByOne) -> Policy:
        """Puts sets together.

        Args:
            sets: their ids are unique over all of them.
            join: how conditions are evaluated together.
        """
        grouped: dict[Selector, list[Rule]] = {}
        for rule in (rule for one in sets for rule in one.rules):
            grouped.setdefault(rule.selector, []).append(rule)
        prompts = tuple(restriction for one in sets for restriction in one.prompts)
        return cls(
            sets=tuple(sets),
            allow=tuple(table for one in sets for table in one.allow),
            ceilings=tuple(
                sorted(
                    (ceiling for one in sets for ceiling in one.ceilings),
                    key=lambda one: (
                        one.max_output_tokens,
                        one.on_exceed is not OnExceed.DENY,
                        one.id,
                    ),
                )
            ),
            environments=tuple(table for one in sets for table in one.environments),
            groups=tuple(
                RuleGroup(selector, tuple(rules), join([one.deny_if for one in rules]))
                for selector, rules in grouped.items()
            ),
            prompts=prompts,
            scans=tuple(dict.fromkeys(one.selector for one in prompts if one.patterns)),
            controls={
                DEFAULT_DENY: "entitlement",
                POLICY_ERROR: "entitlement",
                **{
                    part.id: CONTROLS[type(part)]
                    for one in sets
                    for part in one.parts()
                },
            },
        )

    def control_of(self, id_: str) -> str:
        """The control that an id of a decision belongs to, such as `environment`.

        Raises:
            KeyError: no decision of this policy has such an id.
        """
        return self.controls[id_]

    def ids(self) -> tuple[str, ...]:
        """The ids of all parts, as declared."""
        return tuple(part.id for one in self.sets for part in one.parts())
