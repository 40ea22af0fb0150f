"""The pages that people read about which controls were active."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from comptroller.cli.tables import Column, plain, printable
from comptroller.core.money import usd
from comptroller.engine.explanation import Document

_VERDICTS: Final = {
    "active": "ACTIVE",
    "inactive": "not active",
    "disagreement": "SOURCES DISAGREE",
    "unproven": "NOT PROVEN",
}
_CAUSES: Final = {
    "not_borne_out": "store and records differ",
    "no_worker": "no worker was alive",
    "not_declared": "nothing was declared for it",
    "policy_deactivated": "no policy was active",
    "clock_set_back": "a clock was set back",
    "worker_silent": "a worker was silent",
    "not_loaded": "a worker had not loaded it yet",
    "control_disabled": "a worker did not enforce it",
}
_PERIODS: Final = {1: "second", 60: "minute", 3600: "hour", 86_400: "day"}
_GAPS_MAX: Final = 20
"""Of one control, on a page; JSON has all."""


def moment_lines(found: Document) -> Iterator[str]:
    """The page of one moment."""
    asked = found["request_id"]
    what = f", when request {asked} was decided" if asked else ""
    yield f"Controls of {printable(found['service'])} at {_time(found['at'])}{what}."
    yield ""
    columns = [
        Column("CONTROL"),
        Column("VERDICT"),
        Column("SOURCES"),
        Column("SINCE (UTC)", may_give_way=True),
        Column("APPROVED BY", may_give_way=True),
        Column("LIMIT", may_shrink=True),
    ]
    rows = [
        [
            one["control"],
            _VERDICTS[one["verdict"]],
            _sources(one),
            _since(one),
            _approved(one["approved_by"]),
            "; ".join(map(_limit, one["limits"])),
        ]
        for one in found["controls"]
    ]
    yield from plain(columns, rows)
    for one in found["controls"]:
        yield from _reasons(one)
    yield from _configuration(found)
    yield from _trail(found["trail"])


def coverage_lines(found: Document) -> Iterator[str]:
    """The page of a span."""
    yield (
        f"Controls of {printable(found['service'])} from {_time(found['begin'])}"
        f" to {_time(found['end'])}."
    )
    yield ""
    columns = [
        Column("CONTROL"),
        Column("COVERED", is_number=True),
        Column("GAPS", is_number=True),
    ]
    rows = [
        [one["control"], f"{one['percent']}%", str(len(one["gaps"]))]
        for one in found["controls"]
    ]
    yield from plain(columns, rows)
    told: list[tuple[list[str], list[str]]] = []
    for one in found["controls"]:
        gaps = [_gap(gap) for gap in one["gaps"]]
        same = next((names for names, known in told if known == gaps), None)
        if same is not None:
            same.append(one["control"])
        elif gaps:
            told.append(([one["control"]], gaps))
    for names, gaps in told:
        yield ""
        yield f"Gaps of {', '.join(names)}:"
        for line in gaps[:_GAPS_MAX]:
            yield f"  {line}"
        if len(gaps) > _GAPS_MAX:
            yield f"  and {len(gaps) - _GAPS_MAX} more: --json has them all"
    yield from _findings(found)
    yield ""
    yield f"Workers: {', '.join(one['worker'] for one in found['workers']) or 'none'}."
    yield from _trail(found["trail"])


def _sources(one: Document) -> str:
    """How many of the three kinds of sources agree."""
    kinds: dict[str, set[str]] = {}
    for piece in one["evidence"]:
        kinds.setdefault(piece["source"], set()).add(piece["verdict"])
    agreeing = [
        kind
        for kind, verdicts in kinds.items()
        if verdicts == {"agrees"}
        or (kind == "decision" and "agrees" in verdicts and one["is_complete"])
    ]
    return f"{len(agreeing)} of 3"


def _since(one: Document) -> str:
    since = one["since"]
    if since is None:
        return "-"
    return f"{'' if since['is_exact'] else 'at least '}{_time(since['time'])}"


def _approved(one: Document | None) -> str:
    if one is None:
        return "-"
    if one["approver"] is not None:
        return f"{one['approver']} (author {one['author']})"
    return printable(one["applied_by"] or one["account"] or "-")


def _limit(one: dict[str, Any]) -> str:
    name, value = printable(one["of"]), one["value"]
    if one["unit"] == "nano_usd":
        return f"{name} {usd(value, 2)} USD"
    if one["unit"] == "policy part":
        return name if value in {"allow", "enforce"} else f"{name} ({value} only)"
    if one["unit"] == "models":
        return printable(str(value))
    period = one["period_s"]
    if period is None:
        return f"{name} {value} {one['unit']}"
    return f"{name} {value} per {_PERIODS.get(period, f'{period} s')}"


def _reasons(one: Document) -> Iterator[str]:
    if not one["why"]:
        return
    yield ""
    yield f"{one['control']}: {_VERDICTS[one['verdict']]}"
    for reason in one["why"]:
        yield f"  {printable(reason)}"


def _configuration(found: Document) -> Iterator[str]:
    yield ""
    yield "Evidence"
    for what in ("registry", "policy"):
        one = found[what]
        shown = one["revision"] or "none"
        yield f"  {what}  {shown}{_record(one['record'])}"
    for worker in found["workers"]:
        for which in ("before", "after"):
            beat = worker[which]
            if beat is None:
                yield f"  heartbeat {which}  none of {worker['worker']}"
                continue
            at = _time(beat["time"])
            yield f"  heartbeat {which}  {at}{_record(beat['record'])}"
    for one in found["decisions"]:
        said = f"{one['request_id']} {_time(one['time'])}"
        yield f"  decision  {said}{_record(one['record'])}"


def _record(record: Document | None) -> str:
    if record is None:
        return ""
    index = record["log_index"]
    log = "not in the trail yet" if index is None else f"record {index} of the trail"
    return f"  ({record['source']} {record['sequence']}, {log})"


def _findings(found: Document) -> Iterator[str]:
    """What store and records do not agree upon, in a span."""
    count = found["findings_count"]
    if not count:
        return
    yield ""
    yield f"Findings: the store is not what was recorded, in {count} places."
    for one in found["findings"][:_GAPS_MAX]:
        yield f"  {printable(one['says'])}{_record(one['record'])}"
    if count > _GAPS_MAX:
        yield f"  and {count - _GAPS_MAX} more: --json lists them"


def _trail(trail: Document | None) -> Iterator[str]:
    yield ""
    if trail is None:
        yield "No checkpoint of the trail is published: these records are not sealed."
        return
    if trail["problem"]:
        yield f"The trail is DAMAGED, see audit verify: {trail['problem']}"
    if trail["strength"]:
        yield f"The trail is {trail['strength']}."


def _gap(gap: Document) -> str:
    who = f" ({', '.join(gap['workers'])})" if gap["workers"] else ""
    begin, end = _time(gap["begin"]), _time(gap["end"])
    return f"{begin} to {end}  {gap['seconds']:.3f} s  {_CAUSES[gap['cause']]}{who}"


def _time(text: str) -> str:
    """A time as people read it: to the millisecond, in UTC."""
    return text[:23].replace("T", " ") + "Z"
