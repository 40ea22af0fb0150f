"""Policy facts: what a policy decides on, normalised, and as it is recorded.

A decision is made on these values and no others, and its record holds them as they
are: who replays it needs nothing else. They hold no text of a prompt.
"""

from __future__ import annotations

import re
from collections.abc import Container, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

import msgspec

from comptroller.core.credential import Credential
from comptroller.core.errors import BadRequestError
from comptroller.core.policy.prompt import Match, PromptFacts
from comptroller.core.policy.schema import NO_MAXIMUM
from comptroller.core.registry import Model, PolicyException, Provider, Service
from comptroller.engine import safe_names
from comptroller.wire.request import RequestFacts
from comptroller.wire.routes import Route

NAMES_MAX: Final = 512
"""Tools of one request; agents with many servers have about 200."""
NAME_CHARACTERS_MAX: Final = 12_000
"""Of all of them together: a record has room for no more (65,535 bytes)."""

MATCHES_MAX: Final = 256
"""Patterns found that are told place by place; of more, each rule's first place."""

_ALGORITHM: Final = "sha256:"
UNLISTED_DIGEST: Final = _ALGORITHM + "0" * 64
"""In place of a system prompt's digest that the policy does not speak of: whoever
reads the record could else try prompts until one fits."""
_DIGEST: Final = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")

Sections = dict[str, dict[str, Any]]
json = msgspec.json.Encoder().encode


class Standing(NamedTuple):
    """The facts that are the same for every request of an entitlement."""

    sections: Sections
    """`principal`, `model`, `data` and `agent`."""
    encoded: bytes
    """Those as JSON members, without braces."""
    environment: str
    exceptions: tuple[PolicyException, ...]
    timezone: str


class Asked(NamedTuple):
    """One request, as far as it was read."""

    route: Route
    facts: RequestFacts
    prompt: PromptFacts
    matches: Sequence[Match] | None
    """Of patterns in it; None: they were not looked for."""


def standing(
    credential: Credential,
    service: Service,
    model: Model,
    provider: Provider,
    timezone: str,
) -> Standing:
    """The facts that do not depend on the request.

    Args:
        credential: that asks.
        service: of the credential.
        model: that would answer, as it is deployed at the provider.
        provider: of the model.
        timezone: of the organization; exceptions end by it.
    """
    sections: Sections = {
        "principal": {
            "id": service.id,
            "kind": service.kind,
            "tenant": service.tenant,
            "unit": f"{service.tenant}/{service.unit}",
            "service": service.id,
            "credential": credential.id,
            "person": credential.person,
        },
        "model": {
            "id": model.id,
            "provider": provider.id,
            "upstream": model.upstream,
            "tier": model.tier or "",
            "region": model.region or provider.region or "",
            "self_hosted": provider.self_hosted,
            "envs": list(model.environments),
        },
        "data": {"classification": service.classification},
        "agent": {
            "operator": service.operator or "",
            "sponsor": service.sponsor or "",
        },
    }
    return Standing(
        sections,
        json(sections)[1:-1],
        service.environment,
        service.exceptions,
        timezone,
    )


def sections_of(
    standing_: Standing,
    asked: Asked,
    listed: Container[str],
    time: str,
) -> tuple[Sections, bytes]:
    """All facts of a request, and the same as JSON for its record.

    Args:
        standing_: the facts that do not depend on the request.
        asked: the request.
        listed: digests of system prompts that the policy speaks of.
        time: of the decision, RFC 3339 in UTC.

    Raises:
        BadRequestError: the names of its tools cannot be recorded.
    """
    route, facts, prompt, matches = asked
    _refuse_odd_names(prompt)
    digest = ""
    if prompt.system_digest is not None:
        digest = _ALGORITHM + prompt.system_digest
        if digest not in listed:
            digest = UNLISTED_DIGEST
    maximum = facts.max_output_tokens
    own: Sections = {
        "request": {
            "model": facts.model,
            "max_tokens": NO_MAXIMUM if maximum is None else maximum,
            "stream": facts.stream,
            "tools": list(prompt.tools),
            "builtin_tools": list(prompt.builtin_tools),
            "prompt_bytes": prompt.prompt_bytes,
            "system_digest": digest,
            "choices": facts.choices,
            "operation": str(route.operation),
            "dialect": str(route.dialect),
        },
        "ctx": {
            "env": standing_.environment,
            "time": time,
            "exceptions": _running(standing_, time) if standing_.exceptions else [],
        },
        "prompt": {
            "matches": None if matches is None else _few_enough(matches),
        },
    }
    if prompt.other_models:
        own["prompt"]["other_models"] = list(prompt.other_models)
    if prompt.elsewhere:
        own["prompt"]["elsewhere"] = list(prompt.elsewhere)
    encoded = b"{%b,%b" % (standing_.encoded, json(own)[1:])
    return restored(standing_.sections | own), encoded


def restored(recorded: Sections) -> Sections:
    """All facts of a request, from those that its record holds.

    A record does not repeat in `prompt` what `request` says already.

    Args:
        recorded: `comptroller.policy.input`; not changed. Where it is not of the
            right form, the result is not either, and is denied.
    """
    request, prompt = recorded.get("request"), recorded.get("prompt")
    if not isinstance(request, dict) or not isinstance(prompt, dict):
        return recorded
    digest = request.get("system_digest")
    if isinstance(digest, str):
        digest = digest.removeprefix(_ALGORITHM) or None
    told: dict[str, Any] = {
        "bytes": request.get("prompt_bytes"),
        "system_digest": digest,
        "tools": request.get("tools"),
        "builtin_tools": request.get("builtin_tools"),
        "other_models": [],
        "elsewhere": [],
    }
    return recorded | {"prompt": told | prompt}


def digests_in(document: object) -> frozenset[str]:
    """Every digest of a system prompt that a policy names, wherever it does.

    Conditions name digests with `sha256:`, restrictions hold them without it.
    """
    found = _DIGEST.findall(json(document).decode())
    return frozenset(_ALGORITHM + one for one in found)


def _running(standing_: Standing, time: str) -> list[str]:
    """Ids of the exceptions that have not ended."""
    moment = datetime.fromisoformat(time).astimezone(UTC)
    today = moment.astimezone(ZoneInfo(standing_.timezone)).date()
    return [one.id for one in standing_.exceptions if one.until >= today]


def _few_enough(matches: Sequence[Match]) -> list[list[str]]:
    """Matches as they are decided on: a prompt full of secrets has thousands.

    A record has no room for so many. Each rule that was found stays, so whatever
    denied by all of them denies by these.
    """
    kept = matches
    if len(matches) > MATCHES_MAX:
        first: dict[str, Match] = {}
        for one in matches:
            first.setdefault(one.rule, one)
        kept = list(first.values())
    return [list(one) for one in kept]


def _refuse_odd_names(prompt: PromptFacts) -> None:
    """A client may put a prompt or a secret into a name, and a record holds names."""
    for what, names in (
        ("tools", prompt.tools),
        ("tools of the provider", prompt.builtin_tools),
    ):
        if not names:
            continue
        if len(names) > NAMES_MAX or sum(map(len, names)) > NAME_CHARACTERS_MAX:
            raise BadRequestError(
                f"the request has more {what} than a decision can record: at most "
                f"{NAMES_MAX}, whose names have {NAME_CHARACTERS_MAX} characters"
            )
        for place, name in enumerate(names, 1):
            if not safe_names.is_plain(name):
                raise BadRequestError(
                    f"the name of number {place} of the {what} cannot be recorded: it "
                    "may have 128 letters, digits and any of . _ : / @ + - and must "
                    "not look like a secret"
                )
