"""Attempts: the earlier ones of a request that went from deployment to deployment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import msgspec

from comptroller.engine import records

EARLIER_MAX: Final = 8
"""More than are made; what is damaged must not lead in circles."""


class Earlier(NamedTuple):
    """One earlier attempt, as its records tell."""

    decided: records.Decided
    end: records.Envelope | None
    """None: it has not ended, or its end is not known yet."""


def shown(earlier: Sequence[Earlier]) -> list[dict[str, Any]]:
    """The earlier attempts as `explain --json` shows them.

    Args:
        earlier: first to last.
    """
    return [
        {
            "number": number,
            "request_id": one.decided.decision_id,
            "provider": one.decided.provider,
            "upstream": one.decided.model_upstream,
            "failed_with": _failure(one.end),
        }
        for number, one in enumerate(earlier, 1)
    ]


def _failure(end: records.Envelope | None) -> str | None:
    """A status, or why nothing was sent; None: it did not end by itself."""
    if end is None:
        return None
    if end.type == records.SETTLED:
        settled = msgspec.json.decode(end.data, type=records.Settled)
        return settled.outcome if settled.status is None else str(settled.status)
    if end.type == records.RELEASED:
        return msgspec.json.decode(end.data, type=records.Released).reason
    return None
