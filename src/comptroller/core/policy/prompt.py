"""Prompt restrictions: what a prompt may hold, judged without keeping any of it.

The facts name sizes, digests and tools; a match names a rule and roughly where. No
text of a prompt ever gets into a finding, so a finding can be recorded and shown.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any, Final, NamedTuple, TypeAlias

from comptroller.core.policy.rules import Policy, PromptRestriction


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


class PromptField(NamedTuple):
    """One fact of the section `prompt`."""

    name: str
    kind: str
    about: str


class Finding(NamedTuple):
    """That a prompt breaks a restriction."""

    check: str
    """Which of its conditions: the name of the field, or the pattern's rule."""
    where: str
    """The offset class, the restriction's own word for what it forbids, or ''."""

    def __str__(self) -> str:
        return f"{self.check} ({self.where})" if self.where else self.check


Section: TypeAlias = "dict[str, Any]"
"""The section `prompt` of the facts: JSON, as it is recorded."""

SECTION: Final = "prompt"
SYSTEM_JOINT: Final = "\n\n"
"""Between the system texts of one request, in the form that is digested."""
ELSEWHERE: Final = (
    "prompt",
    "previous_response_id",
    "conversation",
    "item_reference",
    "file",
    "container",
    "tool_addition",
    "cached_content",
    "tokens",
)
"""All fields that bring in what the body does not hold."""
FIELDS: Final = (
    PromptField("prompt.bytes", "whole number", "The size of the body, in bytes."),
    PromptField(
        "prompt.system_digest",
        "text or null",
        "64 hexadecimal digits of the system text's SHA-256; null: it has none.",
    ),
    PromptField("prompt.tools", "list of texts", "Names of the caller's own tools."),
    PromptField(
        "prompt.builtin_tools",
        "list of texts",
        "Types of the tools that the provider defines.",
    ),
    PromptField(
        "prompt.other_models",
        "list of texts",
        "Models that the body names beside its own, as it names them.",
    ),
    PromptField(
        "prompt.elsewhere",
        "list of texts",
        "Fields that bring in what the body does not hold.",
    ),
    PromptField(
        "prompt.matches",
        "list of pairs or null",
        "Each pattern found, with its offset class; null: nobody looked.",
    ),
)
"""What restrictions are judged by; conditions cannot name it."""
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_LISTS: Final = ("tools", "builtin_tools", "other_models", "elsewhere")
_SAID_MAX: Final = 5
"""Findings that one message names."""


class UnreadableError(ValueError):
    """A section is not what it has to be; the message says what of it."""


def neutral_section() -> Section:
    """The section of an ordinary prompt, to begin a test case with."""
    return section_of(PromptFacts(0, None, (), (), (), ()), ())


def section_of(facts: PromptFacts, matches: Sequence[Match] | None) -> Section:
    """The section `prompt` of the facts of a request.

    Args:
        facts: of the prompt.
        matches: what a scan found; None: there was none.
    """
    return {
        "bytes": facts.prompt_bytes,
        "system_digest": facts.system_digest,
        "tools": list(facts.tools),
        "builtin_tools": list(facts.builtin_tools),
        "other_models": list(facts.other_models),
        "elsewhere": list(facts.elsewhere),
        "matches": None if matches is None else [list(one) for one in matches],
    }


def read_section(
    facts: Mapping[str, object],
) -> tuple[PromptFacts, tuple[Match, ...] | None]:
    """Reads the section `prompt` of the facts of a request.

    Raises:
        UnreadableError: it is missing, or not as `FIELDS` says.
    """
    found = facts.get(SECTION)
    if not isinstance(found, dict):
        raise UnreadableError("prompt is missing")
    size = found.get("bytes")
    if type(size) is not int or size < 0:
        raise UnreadableError("prompt.bytes is not a whole number")
    digest = found.get("system_digest", "")
    if digest is not None and not (
        type(digest) is str and _DIGEST.fullmatch(digest) is not None
    ):
        raise UnreadableError("prompt.system_digest is neither null nor a digest")
    tools, builtin, models, elsewhere = [_texts(found, key) for key in _LISTS]
    read = PromptFacts(size, digest, tools, builtin, models, elsewhere)
    return read, _matches(found)


def _texts(found: Section, key: str) -> tuple[str, ...]:
    value = found.get(key)
    if isinstance(value, list | tuple) and all(type(one) is str for one in value):
        return tuple(value)
    raise UnreadableError(f"prompt.{key} is not a list of texts")


def _matches(found: Section) -> tuple[Match, ...] | None:
    value = found.get("matches", "")
    if value is None:
        return None
    if not isinstance(value, list | tuple) or not all(map(_is_pair, value)):
        raise UnreadableError("prompt.matches is neither null nor a list of pairs")
    return tuple(Match(*one) for one in value)


def _is_pair(value: object) -> bool:
    return (
        isinstance(value, list | tuple)
        and len(value) == 2
        and all(type(one) is str for one in value)
    )


def needs_scan(policy: Policy, facts: Mapping[str, object]) -> bool:
    """Whether the policy asks for patterns in the prompt of this request.

    Costs nothing where the policy asks for none of anybody.

    Args:
        policy: what holds.
        facts: sections of facts as `schema.FIELDS` names them; `prompt` need not be
            there. Of facts that are broken nothing is said: they are denied anyway.
    """
    return any(_selects(one.wanted, facts) for one in policy.scans)


def _selects(
    wanted: tuple[tuple[str, frozenset[str]], ...], facts: Mapping[str, object]
) -> bool:
    for name, values in wanted:
        section, _, key = name.partition(".")
        part = facts.get(section)
        value = part.get(key) if isinstance(part, dict) else None
        if not isinstance(value, str) or value not in values:
            return False
    return True


def judge(
    one: PromptRestriction,
    model: object,
    facts: PromptFacts,
    matches: Sequence[Match],
) -> tuple[Finding, ...]:
    """Finds how a prompt breaks a restriction.

    Args:
        one: the restriction.
        model: the declared model that would answer.
        facts: of the prompt.
        matches: of the patterns that were looked for; all that it asks for must
            have been.

    Returns:
        One finding for every condition and place.
    """
    found: list[Finding] = []
    if one.max_bytes is not None and facts.prompt_bytes > one.max_bytes:
        found.append(Finding("max_bytes", ""))
    if one.required_system_digests or one.forbidden_system_digests:
        found += _system(one, facts.system_digest)
    if one.forbidden_tools and facts.tools:
        hits = _hits(one.forbidden_tools, facts.tools)
        found += [Finding("forbidden_tools", hit) for hit in hits]
    if one.forbidden_builtin_tools and facts.builtin_tools:
        hits = _hits(one.forbidden_builtin_tools, facts.builtin_tools)
        found += [Finding("forbidden_builtin_tools", hit) for hit in hits]
    if one.patterns and matches:
        found += _patterns(one.patterns, matches)
    if one.models and not _are_allowed(one.models, model, facts.other_models):
        # The name is the client's own word, so it is not repeated.
        found.append(Finding("models", ""))
    if facts.elsewhere:
        found += _elsewhere(one, facts.elsewhere)
    return tuple(dict.fromkeys(found) if len(found) > 1 else found)


def said(one: PromptRestriction, findings: Sequence[Finding]) -> str:
    """Why a restriction denies, in words; without any text of the prompt."""
    why = one.message or f"denied by the prompt restriction {one.id}"
    named = [str(finding) for finding in findings[:_SAID_MAX]]
    if len(findings) > _SAID_MAX:
        named.append(f"{len(findings) - _SAID_MAX} more")
    return f"{why}: {', '.join(named)}"


def _system(one: PromptRestriction, digest: str | None) -> list[Finding]:
    found = []
    if one.required_system_digests and digest not in one.required_system_digests:
        found.append(Finding("required_system_digests", ""))
    if digest is not None and digest in one.forbidden_system_digests:
        found.append(Finding("forbidden_system_digests", digest))
    return found


def _are_allowed(
    allowed: tuple[str, ...], model: object, others: tuple[str, ...]
) -> bool:
    return model in allowed and (not others or set(others) <= set(allowed))


def _elsewhere(one: PromptRestriction, fields: tuple[str, ...]) -> list[Finding]:
    unseen = [field for field in fields if field not in one.allowed_elsewhere]
    if not unseen or not any(restricts(one) for restricts in RESTRICTS.values()):
        return []
    return [Finding("elsewhere", x if x in ELSEWHERE else "") for x in unseen]


RESTRICTS: Final[Mapping[str, Callable[[PromptRestriction], object]]] = {
    "max_bytes": lambda one: one.max_bytes is not None,
    "required_system_digests": lambda one: one.required_system_digests,
    "forbidden_system_digests": lambda one: one.forbidden_system_digests,
    "forbidden_tools": lambda one: one.forbidden_tools,
    "forbidden_builtin_tools": lambda one: one.forbidden_builtin_tools,
    "patterns": lambda one: one.patterns,
    "models": lambda one: one.models,
}
"""Conditions that what is not in the body could break unseen, by their keys."""


def _patterns(patterns: tuple[str, ...], matches: Sequence[Match]) -> list[Finding]:
    return [
        Finding(rule, offset_class)
        for rule, offset_class in matches
        if rule in patterns or rule.partition(".")[0] in patterns
    ]


def _hits(forbidden: tuple[str, ...], names: tuple[str, ...]) -> list[str]:
    """The words that a name meets, not the names: those are the client's own."""
    return [
        word
        for word in forbidden
        if (
            any(name.startswith(word[:-1]) for name in names)
            if word.endswith("*")
            else word in names
        )
    ]
