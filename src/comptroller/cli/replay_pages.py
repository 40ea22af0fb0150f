"""What replays found, as people and programs read it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from comptroller.cli.tables import Column, plain, printable
from comptroller.core.money import usd
from comptroller.engine.replay_tally import Kind, Line, Replayed

_COLUMNS: Final = {
    Kind.REFUSED: "REFUSED",
    Kind.ALLOWED: "ALLOWED",
    Kind.CLAMPED: "CLAMPED",
    Kind.WARNED: "WARNED",
    Kind.OTHERWISE: "OTHERWISE",
    Kind.UNDECIDABLE: "UNKNOWN",
}
_MEANING: Final = {
    Kind.REFUSED: "newly refused",
    Kind.ALLOWED: "newly allowed",
    Kind.CLAMPED: "newly clamped",
    Kind.WARNED: "newly warned of",
    Kind.OTHERWISE: "decided otherwise",
    Kind.UNDECIDABLE: "not known",
}


def verification_document(found: Replayed) -> dict[str, Any]:
    """A verification as JSON."""
    return {
        "decided": found.decided,
        "differing": found.differing,
        "differences": [one._asdict() for one in found.differences],
        "without_policy": dict(sorted(found.left_out.items())),
    }


def verification_lines(found: Replayed) -> Iterator[str]:
    """A verification as text."""
    for one in found.differences:
        service = printable(one.service)
        yield f"{printable(one.decision_id)} ({service}): {printable(one.what)}"
    hidden = found.differing - len(found.differences)
    if hidden:
        yield f"… and {hidden:,} more"
    yield (
        f"{_decisions(found.decided, 'was', 'were')} decided again by"
        f" {'its own bundle' if found.decided == 1 else 'their own bundles'}:"
        f" {_differ(found.differing)}."
    )
    yield from _left_out(found)


def what_if_document(found: Replayed) -> dict[str, Any]:
    """What would change, as JSON; amounts are null where they cannot be known."""
    return {
        "decided": found.decided,
        "changed": found.changed,
        "undecidable": found.undecidable,
        "without_policy": dict(sorted(found.left_out.items())),
        "totals": {kind.value: found.total(kind) for kind in Kind},
        "refused_cost_nano_usd": sum(_lines_cost(found)),
        "services": [_line_document(line) for line in _lines(found)],
    }


def what_if_lines(found: Replayed) -> Iterator[str]:
    """What would change, as text."""
    lines = _lines(found)
    if lines:
        yield from plain(*_table(lines))
        for line in lines:
            yield from _examples(line)
    whole = _decisions(found.decided, "", "").rstrip()
    verb = "changes" if found.changed == 1 else "change"
    yield f"{found.changed:,} of {whole} {verb}."
    yield from _notes(found, lines)
    yield from _left_out(found)


def _lines(found: Replayed) -> list[Line]:
    """Lines with anything on them, dearest first."""
    told = [line for line in found.lines.values() if line.examples]
    return sorted(
        told, key=lambda one: (-one.cost_nano_usd, -one.counts.total(), one.service)
    )


def _lines_cost(found: Replayed) -> list[int]:
    return [line.cost_nano_usd for line in found.lines.values()]


def _table(lines: Sequence[Line]) -> tuple[list[Column], list[list[str]]]:
    columns = [
        Column("SERVICE", may_shrink=True),
        Column("POLICY OWNER", may_shrink=True),
        *(Column(name, is_number=True) for name in _COLUMNS.values()),
        Column("USD REFUSED", is_number=True),
    ]
    rows = [[line.service, line.owner or "-", *_figures([line])] for line in lines]
    return columns, [*rows, ["total", "", *_figures(lines)]]


def _figures(lines: Sequence[Line]) -> list[str]:
    counts = [f"{sum(one.counts[kind] for one in lines):,}" for kind in _COLUMNS]
    return [*counts, usd(sum(one.cost_nano_usd for one in lines))]


def _examples(line: Line) -> Iterator[str]:
    for kind, words in _MEANING.items():
        ids = line.examples.get(kind)
        if ids:
            yield f"{printable(line.service)}: {words}: {printable(', '.join(ids))}"


def _notes(found: Replayed, lines: Sequence[Line]) -> Iterator[str]:
    if found.total(Kind.ALLOWED):
        yield (
            "What the newly allowed would have cost is not known: they were never"
            " sent, and limits or budgets may refuse them."
        )
    unpriced = sum(line.unpriced for line in lines)
    if unpriced:
        yield f"{unpriced:,} of the newly refused have not ended: without their cost."
    anyway = found.total(Kind.REFUSED_ANYWAY)
    if anyway:
        yield f"{anyway:,} more would be refused that other controls refused anyway."
    if found.undecidable:
        yield (
            f"{found.undecidable:,} cannot be known: they hang on a prompt that was"
            " not searched for patterns, or on a system prompt that was not recorded."
        )


def _left_out(found: Replayed) -> Iterator[str]:
    if found.left_out:
        reasons = sorted(found.left_out.items())
        told = ", ".join(f"{printable(reason)} {count:,}" for reason, count in reasons)
        total = found.left_out.total()
        yield f"{_decisions(total, 'was', 'were')} made without a policy: {told}."


def _line_document(line: Line) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    for kind in Kind:
        one = {"requests": line.counts[kind], "examples": line.examples.get(kind, [])}
        if kind is Kind.REFUSED:
            one |= {"cost_nano_usd": line.cost_nano_usd, "not_ended": line.unpriced}
        elif kind is Kind.ALLOWED:
            one |= {"cost_nano_usd": None}
        changes[kind.value] = one
    return {"service": line.service, "owner": line.owner, **changes}


def _differ(count: int) -> str:
    if not count:
        return "all say the same"
    return f"{count:,} {'differs' if count == 1 else 'differ'}"


def _decisions(count: int, one: str, many: str) -> str:
    return f"{count:,} decision {one}" if count == 1 else f"{count:,} decisions {many}"
