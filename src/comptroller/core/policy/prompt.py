"""Prompt restrictions: what a prompt may hold, judged without keeping any of it.

The facts name sizes, digests and tools; a match names a rule and roughly where. No
text of a prompt ever gets into a finding, so a finding can be recorded and shown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from typing import Final, NamedTuple


class Action(StrEnum):
    """What follows from a finding."""

    DENY = "deny"
    WARN = "warn"
    AUDIT = "audit"


class Place(StrEnum):
    """Whose words a text of a prompt is."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"
    """What tools were called with, and what they returned."""
    DEFINITIONS = "definitions"
    """The tools themselves: names, descriptions, schemas."""
    OTHER = "other"
    """Every other field: metadata, formats, the user's id."""


class PromptText(NamedTuple):
    """All the text of one place of a prompt; for a scan only, never kept."""

    place: Place
    text: str


class Match(NamedTuple):
    """That a pattern was found, never what was found."""

    rule: str
    """`secret.` or `personal.` and the pattern's name."""
    offset_class: str
    """The place and its third, such as `user/last`."""


class PromptFacts(NamedTuple):
    """What a prompt is like; nothing of its text."""

    prompt_bytes: int
    """Bytes of the body as sent, without images, audio and files within it."""
    system_digest: str | None
    """SHA-256 in hex of the system text in its canonical form; None: it has none."""
    tools: tuple[str, ...]
    """Names of the tools that the client defines."""
    builtin_tools: tuple[str, ...]
    """Types of the tools that the provider defines, most of which it runs itself."""
    other_models: tuple[str, ...]
    """Further models that the request may run."""
    elsewhere: tuple[str, ...]
    """Fields that bring text or tools into the prompt which the body does not hold."""


class PromptRestriction(NamedTuple):
    """One rule on prompts; what is empty or None restricts nothing."""

    id: str
    action: Action = Action.DENY
    max_bytes: int | None = None
    required_system_digests: tuple[str, ...] = ()
    """The system text must be one of these."""
    forbidden_system_digests: tuple[str, ...] = ()
    forbidden_tools: tuple[str, ...] = ()
    """Names; a `*` at the end stands for any rest."""
    forbidden_builtin_tools: tuple[str, ...] = ()
    """Types; a `*` at the end stands for any rest."""
    patterns: tuple[str, ...] = ()
    """Groups such as `secret` and `personal`, or single rules of them."""
    allowed_elsewhere: tuple[str, ...] = ()
    """Fields that may bring in what is not in the body, and so is not judged."""


class Finding(NamedTuple):
    """That a prompt breaks a restriction."""

    rule: str
    """The restriction's id."""
    action: Action
    check: str
    """Which of its conditions: the name of the field, or the pattern's rule."""
    where: str
    """The offset class, the restriction's own word for what it forbids, or ''."""


SYSTEM_JOINT: Final = "\n\n"
"""Between the system texts of one request, in the form that is digested."""


def needs_scan(restrictions: Sequence[PromptRestriction]) -> bool:
    """Whether any of them looks for patterns."""
    return any(one.patterns for one in restrictions)


def judge(
    restrictions: Sequence[PromptRestriction],
    facts: PromptFacts,
    matches: Sequence[Match],
) -> tuple[Finding, ...]:
    """Finds every restriction that a prompt breaks.

    Args:
        restrictions: in any order.
        facts: of the prompt.
        matches: of the patterns that were looked for; all that they ask for must
            have been.

    Returns:
        One finding for every condition and place, in the order of the restrictions.
    """
    return tuple(
        Finding(one.id, one.action, check, where)
        for one in restrictions
        for check, where in dict.fromkeys(_broken(one, facts, matches))
    )


def _broken(
    one: PromptRestriction, facts: PromptFacts, matches: Sequence[Match]
) -> Iterator[tuple[str, str]]:
    if one.max_bytes is not None and facts.prompt_bytes > one.max_bytes:
        yield "max_bytes", ""
    yield from _system(one, facts.system_digest)
    for forbidden in _hit(one.forbidden_tools, facts.tools):
        yield "forbidden_tools", forbidden
    for forbidden in _hit(one.forbidden_builtin_tools, facts.builtin_tools):
        yield "forbidden_builtin_tools", forbidden
    for match in matches:
        if match.rule in one.patterns or match.rule.partition(".")[0] in one.patterns:
            yield match.rule, match.offset_class
    if any(restricts(one) for restricts in _RESTRICTS):
        for field in facts.elsewhere:
            if field not in one.allowed_elsewhere:
                yield "elsewhere", field


def _system(one: PromptRestriction, digest: str | None) -> Iterator[tuple[str, str]]:
    if one.required_system_digests and digest not in one.required_system_digests:
        yield "required_system_digests", ""
    if digest is not None and digest in one.forbidden_system_digests:
        yield "forbidden_system_digests", digest


_RESTRICTS: Final[tuple[Callable[[PromptRestriction], object], ...]] = (
    lambda one: one.max_bytes is not None,
    lambda one: one.required_system_digests,
    lambda one: one.forbidden_system_digests,
    lambda one: one.forbidden_tools,
    lambda one: one.forbidden_builtin_tools,
    lambda one: one.patterns,
)
"""Conditions that what is not in the body could break unseen."""


def _hit(forbidden: tuple[str, ...], names: tuple[str, ...]) -> Iterator[str]:
    for one in forbidden:
        whole = not one.endswith("*")
        if any(n == one if whole else n.startswith(one[:-1]) for n in names):
            yield one
