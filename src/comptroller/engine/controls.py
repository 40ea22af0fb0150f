"""Controls: what each decision says of every one of them, applied or not.

This is what later answers "was it active at that moment?" (OCSF's `is_applied`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

import msgspec

from comptroller.core.decision import Outcome

POLICY: Final = ("entitlement", "environment", "prompt_restriction", "token_ceiling")
"""Decided by the policy bundle, all of them together."""

LIMITS: Final = ("token_ceiling", "rate_limit", "concurrency", "budget")
"""Controls that apply only where a limit is declared."""

CONTROLS: Final = (
    "credential",
    "attribution",
    "request_form",
    "model_selection",
    "dialect",
    "price",
    "provider_credential",
    "tenant_isolation",
    *POLICY[:3],
    *LIMITS,
)
"""Controls in the order in which they are asked."""

BUNDLED: Final = frozenset(POLICY[:3])
"""Controls that are off where no policy bundle is active."""

OPTIONAL: Final = frozenset((*LIMITS, *POLICY, "tenant_isolation"))
"""Controls that do not apply to every request."""

CONTROL_OF: Final = {
    "credential_revoked": "credential",
    "credential_expired": "credential",
    "credential_not_valid_yet": "credential",
    "unattributable": "attribution",
    "bad_request": "request_form",
    "background_not_metered": "price",
    "model_not_allowed": "model_selection",
    "dialect_not_spoken": "dialect",
    "unpriced_model": "price",
    "provider_credential_missing": "provider_credential",
    "object_not_found": "tenant_isolation",
    "ownership_unavailable": "tenant_isolation",
    "policy_denied": "entitlement",
    "policy_error": "entitlement",
    "policy_unavailable": "entitlement",
    "unbounded_request": "budget",
    "run_required": "budget",
    "budget_exhausted": "budget",
    "ledger_unavailable": "budget",
    "overloaded": "budget",
    "concurrency_limited": "concurrency",
    "rate_limited": "rate_limit",
    "rate_limit_too_small": "rate_limit",
    "provider_rate_limited": "rate_limit",
}
"""The control that a refusal's code belongs to; docs/reference/refusals.md lists it. A
policy denies by the controls of its rules: `policy_denied` stands for the commonest."""

_PLACE: Final = {name: place for place, name in enumerate(CONTROLS)}

json = msgspec.json.Encoder().encode


class Seen(NamedTuple):
    """What a control saw, and what it allows."""

    observed: str | int | None = None
    limit: str | int | None = None


class Bearing(NamedTuple):
    """How the controls bear on a request; the same for many requests."""

    revision: int
    """Of the registry."""
    policy: str | None
    """Revision of the active bundle; None: there is none."""
    applying: frozenset[str]
    """Which of OPTIONAL apply."""
    clamped_by: str | None = None
    """The control that lowered the request's output; None: none did."""
    would_deny: frozenset[str] = frozenset()
    """Controls with a rule that matched and is not enforced."""
    is_policys_ceiling: bool = False
    """Whether the ceiling is the bundle's, and not the registry's."""


NOTHING_SEEN: Final = Seen()
NO_DENIALS: Final[Mapping[str, Seen]] = {}


def controls(
    bearing: Bearing,
    denials: Mapping[str, Seen] = NO_DENIALS,
    seen: Mapping[str, Seen] = NO_DENIALS,
) -> bytes:
    """The outcome of every control, as JSON, in their order.

    Args:
        bearing: how they bear on the request.
        denials: the controls that deny, with what they saw; empty: none does. What
            comes after them was not asked.
        seen: what others saw.
    """
    last = len(CONTROLS)
    if denials:
        last = max(_PLACE[name] for name in denials)
        if not denials.keys().isdisjoint(POLICY):
            last = max(last, _PLACE[POLICY[-1]])
    return json(
        [
            _said(name, _outcome(name, bearing, denials, place <= last), bearing, one)
            for place, name in enumerate(CONTROLS)
            for one in (denials.get(name) or seen.get(name) or NOTHING_SEEN,)
        ]
    )


def _outcome(
    name: str,
    bearing: Bearing,
    denials: Mapping[str, Seen],
    is_asked: bool,  # noqa: FBT001  one of four facts
) -> Outcome:
    if name in BUNDLED and bearing.policy is None:
        return Outcome.DISABLED
    if not is_asked:
        return Outcome.NOT_APPLICABLE
    if name in denials:
        return Outcome.DENY
    if name in bearing.would_deny or name == bearing.clamped_by:
        is_clamped = name == bearing.clamped_by
        return Outcome.CLAMP if is_clamped else Outcome.WOULD_DENY
    if name in OPTIONAL and name not in bearing.applying:
        return Outcome.NOT_APPLICABLE
    return Outcome.PASS


def _said(
    name: str, outcome: Outcome, bearing: Bearing, seen: Seen
) -> dict[str, str | int | bool]:
    is_of_policy = bearing.policy is not None and (
        name in BUNDLED or (name == "token_ceiling" and bearing.is_policys_ceiling)
    )
    said: dict[str, str | int | bool] = {
        "id": name,
        "version": (bearing.policy or "") if is_of_policy else str(bearing.revision),
        "is_applied": outcome not in (Outcome.NOT_APPLICABLE, Outcome.DISABLED),
        "outcome": outcome.value,
    }
    if seen.observed is not None:
        said["observed"] = seen.observed
    if seen.limit is not None:
        said["limit"] = seen.limit
    return said
