"""Controls in words that people read who never saw the configuration."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from comptroller.engine.explanation import Document

ASKED: Final[Mapping[str, str]] = {
    "rate_limit": "Rate limits",
    "tenant_isolation": "Tenant isolation",
    "prompt_restriction": "Prompt restrictions",
    "token_ceiling": "Token ceilings",
}
"""What an event is asked about first, and how people call it."""
CAUSES: Final[Mapping[str, str]] = {
    "not_borne_out": "store and records differ",
    "pruned": "a worker's records were pruned",
    "no_worker": "no worker was alive",
    "not_declared": "nothing was declared for it",
    "policy_deactivated": "no policy was active",
    "clock_set_back": "a clock was set back",
    "worker_silent": "a worker was silent",
    "not_loaded": "a worker had not loaded it yet",
    "control_disabled": "a worker did not enforce it",
}
_SOURCES: Final[Mapping[str, str]] = {
    "activation": "the act that put it into force",
    "heartbeat": "the workers' heartbeats",
    "decision": "the decision's own list",
}
_KINDS: Final = ("activation", "heartbeat", "decision")
_REGISTRY: Final = re.compile(r"\bregistry (?:revision )?(?=[0-9])")
_DIGEST: Final = re.compile(r"(sha256:[0-9a-f]{12})[0-9a-f]{52}")


def shortened(text: str) -> str:
    """A text with digests that people can compare by eye; JSON has them whole.

    A revision of the registry is the configuration of that number.
    """
    return _REGISTRY.sub("configuration ", _DIGEST.sub(r"\1…", text))


def agreeing(one: Document) -> list[str]:
    """Which of the three kinds of sources agree that a control was so."""
    kinds: dict[str, set[str]] = {}
    for piece in one["evidence"]:
        kinds.setdefault(piece["source"], set()).add(piece["verdict"])
    return [
        kind
        for kind in _KINDS
        if kinds.get(kind) == {"agrees"}
        or (
            kind == "decision"
            and "agrees" in kinds.get(kind, ())
            and one["is_complete"]
        )
    ]


def moment_words(controls: Sequence[Document]) -> Iterator[str]:
    """A sentence on each control that is asked about first."""
    known = {one["control"]: one for one in controls}
    for name, called in ASKED.items():
        if name in known:
            yield f"{called}: {_moment(known[name])}"


def coverage_words(found: Document) -> Iterator[str]:
    """A sentence on each control that is asked about first, of a span."""
    known = {one["control"]: one for one in found["controls"]}
    for name, called in ASKED.items():
        if name in known:
            yield f"{called}: {_coverage(known[name])}"


def longest(gaps: Sequence[Document]) -> Document | None:
    """The longest of some gaps; None: there is none."""
    return max(gaps, key=lambda one: float(one["seconds"]), default=None)


def _moment(one: Document) -> str:
    verdict = one["verdict"]
    if verdict == "inactive":
        return "NO, not active: none was declared for this service."
    if verdict == "disagreement":
        return f"DISPUTED. Two records contradict each other: {_first_bad(one)}"
    if verdict == "unproven":
        return f"NOT SHOWN. Evidence is missing: {_first_bad(one)}"
    agree = agreeing(one)
    silent = [_SOURCES[kind] for kind in _KINDS if kind not in agree]
    said = "all three sources agree"
    if silent:
        by = " and ".join(_SOURCES[kind] for kind in agree)
        said = f"by {by}; {' and '.join(silent)} does not show it, see below"
    if one["is_lenient"]:
        return f"THERE, BUT IT DENIED NOTHING, for it only warns or notes: {said}."
    return f"YES, active: {said}."


def _coverage(one: Document) -> str:
    gaps = one["gaps"]
    if not gaps:
        return "YES, active all of the time."
    causes = {gap["cause"] for gap in gaps}
    if causes <= {"not_declared", "policy_deactivated"} and not one["covered_seconds"]:
        return "NO, not active: none was declared for this service."
    worst: Any = longest(gaps)
    why = f"{CAUSES[worst['cause']]}, {worst['seconds']:.3f} s"
    if not one["covered_seconds"]:
        return f"NOT SHOWN at any time. The longest gap: {why}."
    return f"active for {one['percent']}% of the time. The longest gap: {why}."


def _first_bad(one: Document) -> str:
    says = [
        str(piece["says"])
        for piece in one["evidence"]
        if piece["verdict"] in ("contradicts", "missing")
    ]
    return shortened(says[0]) if says else "see below."
