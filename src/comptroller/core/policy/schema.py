"""The facts that a policy may speak of: their names, types and meaning.

One list for everything: expressions are checked against it when a bundle is loaded,
tables use its names, and every request's facts are checked against it before a
decision. Facts are a plain nested mapping, as they are recorded for replay; what a
decision works on is their flat form, `{"request.max_tokens": 500, …}`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Final, NamedTuple

from comptroller.core.policy.prompt import SECTION, neutral_section
from comptroller.core.registry import DIALECT_PREFIXES, SERVICE_KINDS

NO_MAXIMUM: Final = -1
"""`request.max_tokens` of a request that sets none."""
_INT64_MAX: Final = 2**63 - 1


class Kind(StrEnum):
    """The type of a fact."""

    TEXT = "text"
    WHOLE = "whole number"
    FLAG = "true or false"
    TEXTS = "list of texts"
    TIME = "time"


class Field(NamedTuple):
    """One fact."""

    name: str
    """Its path, such as `request.max_tokens`."""
    kind: Kind
    neutral: str | int
    """What a test case assumes unless it says otherwise; of a flag 0, of texts none."""
    about: str
    values: tuple[str, ...] = ()
    """The only values that there are; empty: any."""


FIELDS: Final = (
    Field("principal.id", Kind.TEXT, "service", "Who asks: the service's id."),
    Field(
        "principal.kind",
        Kind.TEXT,
        "internal",
        "What the service is: internal, external, automation or agent.",
        SERVICE_KINDS,
    ),
    Field("principal.tenant", Kind.TEXT, "acme", "The service's tenant."),
    Field("principal.unit", Kind.TEXT, "acme/unit", "Its unit, as `tenant/unit`."),
    Field("principal.service", Kind.TEXT, "service", "The service's id."),
    Field("principal.credential", Kind.TEXT, "", "The credential's id."),
    Field("principal.person", Kind.TEXT, "", "For whom the credential was issued."),
    Field("request.model", Kind.TEXT, "", "The model's name as the caller wrote it."),
    Field(
        "request.max_tokens",
        Kind.WHOLE,
        NO_MAXIMUM,
        "The most output tokens that the request asks for; -1: it does not say.",
    ),
    Field("request.stream", Kind.FLAG, 0, "Whether the reply is streamed."),
    Field("request.tools", Kind.TEXTS, 0, "Names of the caller's own tools."),
    Field(
        "request.builtin_tools",
        Kind.TEXTS,
        0,
        "Types of tools that the provider runs, such as `web_search`.",
    ),
    Field("request.prompt_bytes", Kind.WHOLE, 0, "The size of the prompt, in bytes."),
    Field(
        "request.system_digest",
        Kind.TEXT,
        "",
        "`sha256:` and hex of the system prompt; empty: there is none.",
    ),
    Field("request.choices", Kind.WHOLE, 1, "How many replies are asked for."),
    Field("request.operation", Kind.TEXT, "chat", "What is asked: `chat`, …"),
    Field(
        "request.dialect",
        Kind.TEXT,
        "openai",
        "The dialect: openai, anthropic or gemini.",
        tuple(DIALECT_PREFIXES),
    ),
    Field("model.id", Kind.TEXT, "", "The declared model that would answer."),
    Field("model.provider", Kind.TEXT, "", "The provider that runs it."),
    Field("model.upstream", Kind.TEXT, "", "The provider's own name of it."),
    Field("model.tier", Kind.TEXT, "", "Its tier, such as `premium`."),
    Field("model.region", Kind.TEXT, "", "Where it runs, such as `eu`."),
    Field("model.self_hosted", Kind.FLAG, 0, "Whether we run it ourselves."),
    Field("model.envs", Kind.TEXTS, 0, "Environments that it is approved for."),
    Field("data.classification", Kind.TEXT, "internal", "How sensitive the data is."),
    Field("ctx.env", Kind.TEXT, "production", "The service's environment."),
    Field(
        "ctx.time", Kind.TIME, "2026-01-01T00:00:00Z", "When the request was decided."
    ),
    Field("ctx.exceptions", Kind.TEXTS, 0, "Approved exceptions now in force."),
    Field("agent.operator", Kind.TEXT, "", "Who runs the agent; empty: nobody."),
    Field("agent.sponsor", Kind.TEXT, "", "Who vouches for the agent; empty: nobody."),
)
NAMES: Final = {field.name: field for field in FIELDS}
SELECTABLE: Final = {
    "tenant": "principal.tenant",
    "unit": "principal.unit",
    "service": "principal.service",
    "kind": "principal.kind",
    "credential": "principal.credential",
    "person": "principal.person",
    "model": "model.id",
    "provider": "model.provider",
    "tier": "model.tier",
    "region": "model.region",
    "classification": "data.classification",
    "environment": "ctx.env",
    "operation": "request.operation",
    "dialect": "request.dialect",
}
"""The short names of facts that `for` and `by` of tables use."""
_MISSING: Final = object()


def _sections() -> dict[str, list[tuple[str, str, Field, bool]]]:
    found: dict[str, list[tuple[str, str, Field, bool]]] = {}
    for field in FIELDS:
        section, _, key = field.name.partition(".")
        is_plain = field.kind is Kind.TEXT and not field.values
        found.setdefault(section, []).append((key, field.name, field, is_plain))
    return found


_SECTIONS: Final = tuple(
    (section, tuple(fields)) for section, fields in _sections().items()
)


def flatten(
    facts: Mapping[str, object],
) -> tuple[dict[str, object], tuple[str, ...]]:
    """Checks facts and brings them into their flat form.

    Args:
        facts: sections of facts, as recorded; more than the schema names is ignored.

    Returns:
        The value of every field by its name, times as `datetime`; and what is wrong.
        With anything wrong the values are not complete and must not be decided on.
    """
    flat: dict[str, object] = {}
    wrong: list[str] = []
    for section, fields in _SECTIONS:
        part = facts.get(section)
        if not isinstance(part, dict):
            wrong += [f"{field.name} is missing" for _, _, field, _ in fields]
            continue
        for key, name, field, is_plain in fields:
            value = part.get(key, _MISSING)
            # Most facts are texts of any value: the short way for them.
            if is_plain and type(value) is str and value.isascii():
                flat[name] = value
                continue
            checked = _CHECKS[field.kind](value)
            if checked is None or (field.values and checked not in field.values):
                wrong.append(_complaint(field, value))
            flat[name] = checked
    return flat, tuple(wrong)


def _complaint(field: Field, value: object) -> str:
    if value is _MISSING:
        return f"{field.name} is missing"
    choices = f" among {', '.join(field.values)}" if field.values else ""
    return f"{field.name} is not a {field.kind}{choices}"


def neutral_facts() -> dict[str, dict[str, object]]:
    """Facts of an ordinary request and its prompt, to begin a test case with."""
    facts: dict[str, dict[str, object]] = {}
    for section, fields in _SECTIONS:
        facts[section] = {key: _neutral(field) for key, _, field, _ in fields}
    facts[SECTION] = neutral_section()
    return facts


def _neutral(field: Field) -> object:
    match field.kind:
        case Kind.TEXTS:
            return []
        case Kind.FLAG:
            return False
        case Kind.TEXT | Kind.WHOLE | Kind.TIME:
            return field.neutral


def _text(value: object) -> str | None:
    return value if type(value) is str and _is_text(value) else None


def _whole(value: object) -> int | None:
    # True is an int to Python; to a rule it must not be 1.
    is_whole = type(value) is int and -_INT64_MAX <= value <= _INT64_MAX
    return value if is_whole and isinstance(value, int) else None


def _flag(value: object) -> bool | None:
    return value if type(value) is bool else None


def _texts(value: object) -> list[str] | tuple[str, ...] | None:
    is_list = isinstance(value, list | tuple) and all(map(_is_text, value))
    return value if is_list and isinstance(value, list | tuple) else None


def _is_text(value: object) -> bool:
    if type(value) is not str:
        return False
    if value.isascii():
        return True
    try:
        value.encode()
    except UnicodeEncodeError:  # half of a pair: no engine agrees what that is
        return False
    return True


def _time(value: object) -> datetime | None:
    if type(value) is not str:
        return None
    try:
        time = datetime.fromisoformat(value)
    except ValueError:
        return None
    return time if time.tzinfo is not None else None


_CHECKS: Final[Mapping[Kind, Callable[[object], object]]] = {
    Kind.TEXT: _text,
    Kind.WHOLE: _whole,
    Kind.FLAG: _flag,
    Kind.TEXTS: _texts,
    Kind.TIME: _time,
}
"""The value in the type of its field; None when it is of another."""
