"""Refusals: every way in which a request is turned away, with code and status.

Policy and budget refusals are 400 with `x-should-retry: false`: measured, the only
status on which all real clients stop at once and show the message. 401 is for
credentials, 404 for routes, 5xx for what the gateway or the provider owes.
"""

from __future__ import annotations

from typing import NamedTuple

from comptroller.core.registry import Person, PersonId, Registry, Service


class Refusal(NamedTuple):
    """Why a request goes no further."""

    status: int
    code: str
    """Stable; listed in docs/reference/refusals.md."""
    message: str
    """What is wrong and what to do; no prompt text, no secrets."""
    retry: bool = False
    """Whether the same request may succeed later, unchanged."""
    retry_after_s: int = 1
    """After how long, where it may."""
    headers: bytes = b""
    """Further header lines, each with its line break."""


UNKNOWN_ROUTE = Refusal(
    404,
    "unknown_route",
    "This gateway does not serve this route. It serves POST /v1/chat/completions, "
    "/v1/responses, /v1/embeddings, /v1/messages, /v1/messages/count_tokens, "
    "/v1beta/models/{model}:generateContent, :streamGenerateContent and :countTokens, "
    "GET /v1/models and /v1/models/{id}, GET and DELETE /v1/responses/{id}, its "
    "/input_items and POST /cancel.",
)
MISSING_CREDENTIAL = Refusal(
    401,
    "missing_credential",
    "Send a Comptroller credential as 'Authorization: Bearer', 'x-api-key' or "
    "'x-goog-api-key'. 'comptroller key issue SERVICE --for PERSON' makes one.",
)
CONFLICTING_CREDENTIALS = Refusal(
    401,
    "conflicting_credentials",
    "The request carries two different credentials; send one.",
)
UNKNOWN_CREDENTIAL = Refusal(
    401,
    "unknown_credential",
    "This credential is not known to this gateway. Check that the whole secret was "
    "copied; 'comptroller key list' shows the credentials there are.",
)
NOT_READY = Refusal(
    503,
    "not_ready",
    "The gateway has no applied configuration yet; 'comptroller apply' applies one.",
    retry=True,
)
JOURNAL_FAILED = Refusal(
    503,
    "journal_unavailable",
    "The gateway cannot record requests at present, so it forwards none.",
    retry=True,
)
OVERLOADED = Refusal(
    503,
    "overloaded",
    "The gateway has as many requests under way as it can hold; try again shortly.",
    retry=True,
)
STOPPING = Refusal(
    503, "stopping", "This gateway process is stopping; try again.", retry=True
)
UNKNOWN_CALLERS = frozenset(
    {
        "missing_credential",
        "conflicting_credentials",
        "unknown_credential",
        "credential_revoked",
        "credential_expired",
        "credential_not_valid_yet",
        "unattributable",
    }
)
"""Refusals that are counted where no decision could be recorded: nobody to name."""
BACKGROUND = Refusal(
    400,
    "background_not_metered",
    "A background response answers before its work is done, so its usage could not "
    "be accounted for. Ask without 'background', or with 'stream'.",
)
TOO_DEAR = Refusal(
    400,
    "bad_request",
    "What this request may cost is more than can be held; ask for fewer choices or "
    "output tokens.",
)
CUT_REVOKED = Refusal(
    401,
    "credential_revoked",
    "The credential was revoked, so the reply was cut. Ask the service's owners.",
)


def credential_ended(
    credential: str, how: str, service: Service | None, registry: Registry
) -> Refusal:
    """A credential that is `revoked`, `expired` or `not valid yet`."""
    whom = ask_owner(service, registry, "technical") if service else ""
    code = f"credential_{how.replace(' ', '_')}"
    return Refusal(401, code, f"Credential {credential} is {how}.{whom}")


def model_not_allowed(asked: str, service: Service, registry: Registry) -> Refusal:
    """A model that the service may not use, or that does not exist."""
    may = ", ".join(service.models)
    return Refusal(
        400,
        "model_not_allowed",
        f"Service {service.id} may not use model {asked[:100]!r}; it may use: {may}."
        + ask_owner(service, registry, "policy"),
    )


def dialect_not_spoken(model: str, dialect: str, speaks: tuple[str, ...]) -> Refusal:
    """A model asked for in a dialect that its provider does not speak."""
    works = ", ".join(speaks)
    return Refusal(
        400,
        "dialect_not_spoken",
        f"Model {model!r} is not reachable in the {dialect} dialect; its provider "
        f"speaks: {works}. Nothing is translated between dialects.",
    )


def unpriced(model: str, service: Service, registry: Registry) -> Refusal:
    """A model without a price: its cost could not be accounted for."""
    return Refusal(
        400,
        "unpriced_model",
        f"Model {model!r} has no price, so a request could not be accounted for. "
        "Declare 'price' for it in the configuration."
        + ask_owner(service, registry, "billing"),
    )


def unattributable(service: str, what: str, registry: Registry) -> Refusal:
    """A request that does not resolve to named people."""
    owner = registry.people.get(registry.gateway.owner)
    whom = f" The gateway's owner is {named(owner)}; ask them." if owner else ""
    return Refusal(
        400,
        "unattributable",
        f"Requests of service {service} cannot be attributed: {what}. "
        f"The configuration must name the service and its people.{whom}",
    )


def provider_credential_missing(provider: str, detail: str) -> Refusal:
    """The gateway itself lacks the provider's credential."""
    return Refusal(
        503,
        "provider_credential_missing",
        f"The gateway has no credential for provider {provider}: {detail}.",
    )


def bad_request(message: str) -> Refusal:
    """A request whose body cannot be understood."""
    sentence = message[:1].upper() + message[1:]
    return Refusal(400, "bad_request", sentence.rstrip(".") + ".")


def ask_owner(service: Service | None, registry: Registry, role: str) -> str:
    """A sentence that names an owner of a service; nothing where there is none."""
    if service is None:
        return ""
    person = registry.people.get(PersonId(getattr(service.owners, role)))
    return f" Its {role} owner is {named(person)}; ask them." if person else ""


def named(person: Person) -> str:
    """A person with the address to reach them, as far as they are disclosed."""
    return f"{person.name} <{person.email}>" if person.email else person.name
