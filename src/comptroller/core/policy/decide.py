"""The decision: facts and a policy in, what holds for the request out.

Nothing is allowed unless a table allows it, and every error denies. All that
matches is reported, not only the first; the ids are sorted, so that the same facts
under the same policy give the same decision to the letter.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, NamedTuple, assert_never

from comptroller.core.policy.expression import Expression, ExpressionError, FlatFacts
from comptroller.core.policy.prompt import (
    Match,
    PromptFacts,
    UnreadableError,
    judge,
    read_section,
    said,
)
from comptroller.core.policy.rules import (
    DEFAULT_DENY,
    EVERYONE,
    POLICY_ERROR,
    AllowTable,
    CeilingRule,
    Mode,
    OnExceed,
    Policy,
    PromptRestriction,
    Rule,
)
from comptroller.core.policy.schema import flatten


class Effect(StrEnum):
    """Whether the request may go on."""

    ALLOW = "allow"
    DENY = "deny"


class PolicyDecision(NamedTuple):
    """What a policy says of one request."""

    effect: Effect
    by: tuple[str, ...]
    """Of an allow the tables that allow it, of a denial all that denies it; sorted."""
    would_deny: tuple[str, ...] = ()
    """Parts in audit that match or fail; sorted."""
    warnings: tuple[str, ...] = ()
    """Parts in warn that match or fail; sorted."""
    max_output_tokens: int | None = None
    """The ceiling that governs; None: there is none, or the facts are broken."""
    ceiling: str | None = None
    """The id of that ceiling."""
    on_exceed: OnExceed | None = None
    is_clamped: bool = False
    """Whether the request asks for more than the ceiling and is to be lowered."""
    messages: tuple[tuple[str, str], ...] = ()
    """Why, by id: of each in `by` of a denial, and of each warning; sorted."""
    errors: tuple[str, ...] = ()
    """What could not be evaluated, as `id: why`; sorted."""

    @property
    def message(self) -> str:
        """Why it is denied, in words; empty when it is not."""
        if self.effect is Effect.ALLOW:
            return ""
        return "; ".join(text for id_, text in self.messages if id_ in self.by)


_NOT_SCANNED: Final = "nobody looked for patterns in the prompt"
_NOT_BOOLEAN: Final = "its value is neither true nor false"


def decide(policy: Policy, facts: Mapping[str, object]) -> PolicyDecision:
    """Decides on one request.

    Args:
        policy: what holds.
        facts: sections of facts as `schema.FIELDS` names them, as recorded; and
            `prompt` as `prompt.FIELDS` does, where a restriction asks for it.

    Returns:
        The decision. Broken facts and errors are denials with `policy_error`.
    """
    flat, wrong = flatten(facts)
    if wrong:
        # No rule is asked about facts that are not what it was checked against.
        why = "the facts of this request are not complete and well-typed"
        return PolicyDecision(
            Effect.DENY,
            (POLICY_ERROR,),
            messages=((POLICY_ERROR, why),),
            errors=tuple(f"facts: {one}" for one in wrong),
        )
    tally = _Tally(policy, flat)
    tally.weigh_allow()
    tally.weigh_environments()
    tally.weigh_ceilings()
    tally.weigh_rules()
    tally.weigh_prompts(facts)
    return tally.decision()


class _Tally:
    """What has been found of one request so far."""

    def __init__(self, policy: Policy, facts: FlatFacts) -> None:
        self._policy = policy
        self._facts = facts
        self._allowed: list[str] = []
        self._found: dict[Mode, dict[str, str]] = {}
        self._errors: list[str] = []
        self._ceiling: CeilingRule | None = None
        self._is_clamped = False

    def weigh_allow(self) -> None:
        for table in self._policy.allow:
            if self._is_allowed_by(table):
                self._allowed.append(table.id)
        if not self._allowed:
            model, tenant = self._facts["model.id"], self._facts["principal.tenant"]
            self._find(
                DEFAULT_DENY, Mode.ENFORCE, f"nothing allows {model} to {tenant}"
            )

    def weigh_environments(self) -> None:
        environment, model = self._facts["ctx.env"], self._facts["model.id"]
        for table in self._policy.environments:
            approved = _entry(table.models, model)
            if approved is None or not {environment, EVERYONE} & approved:
                why = f"{model} is not approved for {environment}"
                self._find(table.id, table.mode, why)

    def weigh_ceilings(self) -> None:
        asked = self._facts["request.max_tokens"]
        assert isinstance(asked, int)  # noqa: S101  flatten lets nothing else through
        for ceiling in self._policy.ceilings:
            is_shadow = ceiling.mode is not Mode.ENFORCE
            # The lowest governs alone, so the rest of the enforced is not asked.
            if self._ceiling is not None and not is_shadow:
                continue
            if not ceiling.selector.selects(self._facts):
                continue
            if not self._holds(ceiling.when, ceiling.id, ceiling.mode):
                continue
            limit = ceiling.max_output_tokens
            if not is_shadow:
                self._ceiling = ceiling
                self._is_clamped = asked > limit and ceiling.on_exceed is OnExceed.CLAMP
            if asked > limit and (is_shadow or ceiling.on_exceed is OnExceed.DENY):
                why = f"asks for {asked} output tokens, of at most {limit}"
                self._find(ceiling.id, ceiling.mode, why)

    def weigh_rules(self) -> None:
        for group in self._policy.groups:
            if not group.selector.selects(self._facts):
                continue
            answers = group.conditions.evaluate(self._facts)
            for rule, answer in zip(group.rules, answers, strict=True):
                if answer is not False:
                    self._weigh_rule(rule, answer)

    def weigh_prompts(self, facts: Mapping[str, object]) -> None:
        selected = [
            one for one in self._policy.prompts if one.selector.selects(self._facts)
        ]
        if not selected:
            return
        try:
            prompt, matches = read_section(facts)
        except UnreadableError as error:
            for one in selected:
                self._fail(one.id, one.mode, str(error))
            return
        for one in selected:
            self._weigh_prompt(one, prompt, matches)

    def decision(self) -> PolicyDecision:
        denied = self._found.get(Mode.ENFORCE, {})
        warned = self._found.get(Mode.WARN, {})
        ceiling = self._ceiling
        return PolicyDecision(
            effect=Effect.DENY if denied else Effect.ALLOW,
            by=tuple(sorted(denied or self._allowed)),
            would_deny=tuple(sorted(self._found.get(Mode.AUDIT, ()))),
            warnings=tuple(sorted(warned)),
            max_output_tokens=ceiling.max_output_tokens if ceiling else None,
            ceiling=ceiling.id if ceiling else None,
            on_exceed=ceiling.on_exceed if ceiling else None,
            is_clamped=self._is_clamped,
            messages=tuple(sorted((denied | warned).items())),
            errors=tuple(sorted(self._errors)),
        )

    def _is_allowed_by(self, table: AllowTable) -> bool:
        if not table.selector.selects(self._facts):
            return False
        models = _entry(table.models, self._facts[table.by])
        if models is None:
            return False
        if self._facts["model.id"] not in models and EVERYONE not in models:
            return False
        return self._holds(table.when, table.id, Mode.ENFORCE)

    def _weigh_rule(self, rule: Rule, answer: object) -> None:
        if isinstance(answer, ExpressionError):
            self._fail(rule.id, rule.mode, answer.message)
        elif answer is not True:
            self._fail(rule.id, rule.mode, _NOT_BOOLEAN)
        elif rule.unless is None or not self._excused(rule, rule.unless):
            # Nobody is told of what a rule in audit would have done.
            why = "" if rule.mode is Mode.AUDIT else self._said_by(rule)
            self._find(rule.id, rule.mode, why)

    def _weigh_prompt(
        self,
        one: PromptRestriction,
        prompt: PromptFacts,
        matches: tuple[Match, ...] | None,
    ) -> None:
        if one.patterns and matches is None:
            self._fail(one.id, one.mode, _NOT_SCANNED)
            return
        findings = judge(one, self._facts["model.id"], prompt, matches or ())
        if findings:
            why = "" if one.mode is Mode.AUDIT else said(one, findings)
            self._find(one.id, one.mode, why)

    def _excused(self, rule: Rule, unless: Expression) -> bool:
        """Whether the exception of a matching rule holds; a failure is not one.

        After a failure the rule itself is not reported: whether it matches is
        not known, and the failure denies by its own id.
        """
        try:
            value = unless.evaluate(self._facts)
        except ExpressionError as error:
            self._fail(rule.id, rule.mode, f"unless: {error.message}")
            return True
        if not isinstance(value, bool):
            self._fail(rule.id, rule.mode, f"unless: {_NOT_BOOLEAN}")
            return True
        return value

    def _holds(self, when: Expression | None, id_: str, mode: Mode) -> bool:
        """Whether an optional condition is true; a failure is not, and is counted."""
        if when is None:
            return True
        try:
            value = when.evaluate(self._facts)
        except ExpressionError as error:
            self._fail(id_, mode, error.message)
            return False
        if not isinstance(value, bool):
            self._fail(id_, mode, _NOT_BOOLEAN)
            return False
        return value

    def _said_by(self, rule: Rule) -> str:
        if rule.message is None:
            return f"denied by the rule {rule.id}"
        try:
            text = rule.message.evaluate(self._facts)
        except ExpressionError as error:
            # It is denied all the same; only the words are missing.
            self._errors.append(f"{rule.id}: message: {error.message}")
            return f"denied by the rule {rule.id}"
        return str(text)

    def _find(self, id_: str, mode: Mode, why: str) -> None:
        self._found.setdefault(mode, {})[id_] = why

    def _fail(self, id_: str, mode: Mode, why: str) -> None:
        self._errors.append(f"{id_}: {why}")
        match mode:
            case Mode.ENFORCE:
                why = "the policy could not be evaluated for this request"
                self._find(POLICY_ERROR, mode, why)
            case Mode.WARN | Mode.AUDIT:
                self._find(id_, mode, f"could not be evaluated: {why}")
            case _:
                assert_never(mode)


def _entry(table: Mapping[str, frozenset[str]], key: object) -> frozenset[str] | None:
    """The entry of its own, or that of everyone else."""
    found = table.get(key) if isinstance(key, str) else None
    return table.get(EVERYONE) if found is None else found
