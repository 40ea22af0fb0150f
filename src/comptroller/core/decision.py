"""Decisions: allow or deny, with one outcome a control."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Outcome(StrEnum):
    """What a control said of a request."""

    PASS = "pass"  # noqa: S105  an outcome, not a password
    DENY = "deny"
    CLAMP = "clamp"
    WOULD_DENY = "would_deny"
    NOT_APPLICABLE = "not_applicable"
    DISABLED = "disabled"


class ControlOutcome(NamedTuple):
    """One control's outcome, as the decision record lists it."""

    id: str
    version: str
    is_applied: bool
    outcome: Outcome
    observed: str | int | None = None
    limit: str | int | None = None
