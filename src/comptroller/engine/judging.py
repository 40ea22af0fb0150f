"""Judging: one request by the active policy, and what its record says of that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, TypeAlias

import msgspec

from comptroller.core.errors import BadRequestError, ScanLimitError
from comptroller.core.policy.decide import Effect, PolicyDecision, decide
from comptroller.core.policy.prompt import Match, PromptText, needs_scan
from comptroller.core.policy.rules import POLICY_ERROR, Policy
from comptroller.core.registry import Registry, Service
from comptroller.engine.controls import Seen
from comptroller.engine.policy_facts import Asked, Standing, digests_in, sections_of
from comptroller.engine.recording import Stamp
from comptroller.engine.refusals import Refusal, ask_owner
from comptroller.engine.scanning import PromptScanner
from comptroller.engine.snapshot import ActivePolicy
from comptroller.wire.prompt_facts import read_prompt, read_prompt_and_texts
from comptroller.wire.request import RequestFacts
from comptroller.wire.routes import Route

SCANNED_BYTES_MAX: Final = 64 * 1024
"""A larger body is scanned in a thread; so much takes a fifth of a millisecond
(bench/prompt_scan.py), unless it was made to take long."""
REMEMBERED_MAX: Final = 2_000
"""Decisions whose members are remembered as JSON; nearly all requests share a few."""
RECORDED_BYTES_MAX: Final = 48 * 1024
"""Of a record, which has 65,535 at most, for the facts and what came of them."""
OBSERVED_CHARACTERS_MAX: Final = 600
"""Of the ids by which one control denies; the record lists all of them elsewhere."""
MESSAGE_CHARACTERS_MAX: Final = 600
WARNING_BYTES_MAX: Final = 400
"""Of a header line, which some clients bound at 8 KiB in all."""
WARNING_HEADER: Final = b"x-comptroller-policy-warning"

POLICY_UNAVAILABLE: Final = Refusal(
    503,
    "policy_unavailable",
    "The active policy cannot be read by this gateway process, so it decides nothing. "
    "'comptroller policy history' shows what is active; the log says what is wrong.",
    retry=True,
)

json = msgspec.json.Encoder().encode


class Judgement(NamedTuple):
    """What the active policy says of one request."""

    decision: PolicyDecision
    data: bytes
    """The members of the decision record, from its inputs to its outcome."""
    denied: Mapping[str, Seen]
    """The controls that deny; empty: it is allowed."""
    would_deny: frozenset[str]
    """Controls with a rule that matched and is not enforced."""

    @property
    def notes(self) -> bytes:
        """Header lines that tell the client of warnings."""
        return _warning(self.decision)


class Unscanned(NamedTuple):
    """The policy asks for patterns; these texts have to be scanned first."""

    texts: tuple[PromptText, ...]


class Body(NamedTuple):
    """A request's body, and what is known of patterns in it."""

    route: Route
    facts: RequestFacts
    body: bytes
    matches: Sequence[Match] | None
    """None: they were not looked for."""
    unscanned: str | None
    """Why they could not be looked for; None: they could."""


Weighed: TypeAlias = Judgement | Unscanned | Refusal


class Judge:
    """Decides by one bundle.

    Args:
        active: the bundle.
        policy: the same, compiled; None: it could not be, and nothing is allowed.
        scanner: looks for patterns in short prompts, and gives up soon, for others
            wait meanwhile; None: somebody else does.
    """

    def __init__(
        self,
        active: ActivePolicy,
        policy: Policy | None,
        scanner: PromptScanner | None = None,
    ) -> None:
        self.revision = active.revision
        self.policy = policy
        self._scanner = scanner
        self._applying = frozenset(policy.controls.values()) if policy else frozenset()
        self._listed = digests_in(active.sets)
        self._stamp = Stamp()
        self._remembered: dict[PolicyDecision, bytes] = {}

    @property
    def applying(self) -> frozenset[str]:
        """Which of the policy's controls it has anything for."""
        return self._applying

    @property
    def is_scanning(self) -> bool:
        """Whether it looks for patterns in anybody's prompts."""
        return self.policy is not None and bool(self.policy.scans)

    def weigh(self, standing: Standing, asked: Body, now_ns: int) -> Weighed:
        """Decides on a request.

        Returns:
            What the policy says; or the texts that have to be scanned before; or
            the refusal of a body of which nothing is known for certain.
        """
        policy = self.policy
        if policy is None:
            return POLICY_UNAVAILABLE
        if asked.unscanned is not None:
            return unreadable(asked.unscanned)
        try:
            read = self._read(policy, standing, asked)
            if isinstance(read, Unscanned):
                return read
            time = self._stamp.text(now_ns).decode()
            sections, encoded = sections_of(standing, read, self._listed, time)
        except BadRequestError as error:
            return unreadable(error.message)
        decision = decide(policy, sections)
        outcome = self._remembered.get(decision)
        if outcome is None:
            outcome = json(members_of(decision))[1:-1]
            if len(self._remembered) < REMEMBERED_MAX:
                self._remembered[decision] = outcome
        data = b'"comptroller.policy.input":%b,%b' % (encoded, outcome)
        if len(data) > RECORDED_BYTES_MAX:
            return unreadable("what it decides on is more than a record can hold")
        denied: dict[str, Seen] = {}
        if decision.effect is Effect.DENY:
            denied = _denied(policy, decision)
        softer = (*decision.would_deny, *decision.warnings)
        would_deny = frozenset([policy.control_of(one) for one in softer])
        return Judgement(decision, data, denied, would_deny)

    def _read(
        self, policy: Policy, standing: Standing, asked: Body
    ) -> Asked | Unscanned:
        """What the prompt is like; and patterns in it, where the policy asks.

        Raises:
            BadRequestError: the body cannot be read for certain.
        """
        route, facts, body, matches = asked[:4]
        if matches is None and _scans(policy, standing, asked):
            prompt, texts = read_prompt_and_texts(route, body, facts)
            if self._scanner is None or len(body) > SCANNED_BYTES_MAX:
                return Unscanned(texts)
            try:
                matches = self._scanner.scan(texts)
            except ScanLimitError:
                # Whoever scans the long ones has more time, and says if it is too much.
                return Unscanned(texts)
            return Asked(route, facts, prompt, matches)
        return Asked(route, facts, read_prompt(route, body, facts), matches)


def _scans(policy: Policy, standing: Standing, asked: Body) -> bool:
    """Whether a restriction asks for patterns in this prompt.

    Restrictions are for whom the facts say: of the request itself, only for what
    is asked how.
    """
    if not policy.scans:
        return False
    own = {
        "ctx": {"env": standing.environment},
        "request": {
            "operation": str(asked.route.operation),
            "dialect": str(asked.route.dialect),
        },
    }
    return needs_scan(policy, standing.sections | own)


def denied(
    decision: PolicyDecision, revision: str, service: Service, registry: Registry
) -> Refusal:
    """The refusal of a request that a policy denies."""
    why = decision.message[:MESSAGE_CHARACTERS_MAX].rstrip(".")
    rules = ", ".join(decision.by)[:MESSAGE_CHARACTERS_MAX]
    message = (
        f"The policy does not allow this: {why}. Rules: {rules} (policy revision "
        f"{revision[:19]})." + ask_owner(service, registry, "policy")
    )
    if POLICY_ERROR in decision.by:
        return Refusal(400, "policy_error", message)
    return Refusal(400, "policy_denied", message)


def unreadable(why: str) -> Refusal:
    """The refusal of a request of whose prompt nothing is known for certain."""
    return Refusal(
        400,
        "policy_error",
        f"The policy cannot decide on this request: {why.rstrip('.')}.",
    )


def members_of(decision: PolicyDecision) -> dict[str, object]:
    """What a decision record says of what the policy decided, by member."""
    return {
        "comptroller.policy.effect": decision.effect.value,
        "comptroller.policy.by": decision.by,
        "comptroller.policy.would_deny": decision.would_deny,
        "comptroller.policy.warnings": decision.warnings,
        "comptroller.policy.errors": decision.errors,
        "comptroller.policy.max_output_tokens": decision.max_output_tokens,
        "comptroller.policy.ceiling": decision.ceiling,
    }


def _denied(policy: Policy, decision: PolicyDecision) -> dict[str, Seen]:
    """By control the ids of what denies."""
    found: dict[str, list[str]] = {}
    for one in decision.by:
        found.setdefault(policy.control_of(one), []).append(one)
    return {
        name: Seen(", ".join(ids)[:OBSERVED_CHARACTERS_MAX])
        for name, ids in found.items()
    }


def _warning(decision: PolicyDecision) -> bytes:
    """One header line for all warnings; nothing in it can end the line early."""
    if not decision.warnings:
        return b""
    messages = dict(decision.messages)
    said = "; ".join(f"{one}: {messages.get(one, '')}" for one in decision.warnings)
    plain = said.encode("ascii", "replace")[:WARNING_BYTES_MAX]
    shown = bytes(c if 32 <= c < 127 else 63 for c in plain)
    return b"%b: %b\r\n" % (WARNING_HEADER, shown)
