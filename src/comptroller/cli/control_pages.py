"""The pages that people read about which controls were active."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from comptroller.cli.control_words import (
    CAUSES,
    agreeing,
    coverage_words,
    longest,
    moment_words,
    shortened,
)
from comptroller.cli.tables import Column, plain, printable
from comptroller.core.money import usd
from comptroller.engine.explanation import Document

_VERDICTS: Final = {
    "active": "ACTIVE",
    "inactive": "not active",
    "disagreement": "SOURCES DISAGREE",
    "unproven": "NOT PROVEN",
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
    for line in moment_words(found["controls"]):
        yield f"  {printable(line)}"
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
            f"{len(agreeing(one))} of 3",
            _since(one),
            _approved(one["approved_by"]),
            "; ".join(map(_limit, one["limits"])),
        ]
        for one in found["controls"]
    ]
    yield from plain(columns, rows)
    yield from _reasons(found["controls"])
    yield from _evidence(found)
    if not found["discrepancies_count"]:
        yield ""
        yield "Each of these records was read: the store says the same."
    yield from _pruned(found["pruned_by"])
    yield from _trail(found["trail"])


def coverage_lines(found: Document) -> Iterator[str]:
    """The page of a span."""
    yield (
        f"Controls of {printable(found['service'])} from {_time(found['begin'])}"
        f" to {_time(found['end'])}."
    )
    yield ""
    for line in coverage_words(found):
        yield f"  {printable(line)}"
    yield ""
    columns = [
        Column("CONTROL"),
        Column("SHOWN ACTIVE", is_number=True),
        Column("GAPS", is_number=True),
        Column("LONGEST GAP", may_shrink=True),
    ]
    rows = [
        [
            one["control"],
            f"{one['percent']}%",
            str(len(one["gaps"])),
            _longest(one["gaps"]),
        ]
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
    yield from _discrepancies(found)
    yield ""
    yield f"Workers: {', '.join(one['worker'] for one in found['workers']) or 'none'}."
    yield from _pruned(found["pruned_by"])
    yield from _trail(found["trail"])


def _since(one: Document) -> str:
    since = one["since"]
    if since is None:
        return "-"
    return f"{'' if since['is_exact'] else 'at least '}{_time(since['time'])}"


def _longest(gaps: Sequence[Document]) -> str:
    gap = longest(gaps)
    return "-" if gap is None else f"{gap['seconds']:.3f} s: {CAUSES[gap['cause']]}"


def _approved(one: Document | None) -> str:
    if one is None:
        return "-"
    if one["approver"] is not None:
        return printable(f"{one['approver']} (author {one['author']})")
    if one["applied_by"] is not None:
        return printable(one["applied_by"])
    account = one["account"]
    return "-" if account is None else printable(f"account {account}, no person named")


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


def _reasons(controls: Sequence[Document]) -> Iterator[str]:
    """Why a control was not active, or not by three sources; equal reasons once."""
    told: dict[tuple[str, ...], list[str]] = {}
    for one in controls:
        if one["why"]:
            same = _VERDICTS[one["verdict"]], *one["why"]
            told.setdefault(same, []).append(one["control"])
    for (verdict, *why), names in told.items():
        yield ""
        yield f"{', '.join(names)}: {verdict}"
        for reason in why:
            yield f"  {printable(shortened(reason))}"


def _evidence(found: Document) -> Iterator[str]:
    yield ""
    yield "Evidence, each record by its journal, its number there, and its index:"
    registry, policy = found["registry"], found["policy"]
    yield f"  configuration {_act(registry, 'applied')}"
    yield f"  policy {_act(policy, 'activated')}"
    for one in found["declared_by"]:
        name = one["kind"] if one["kind"] == one["id"] else f"{one['kind']} {one['id']}"
        said = f"{name}, as of configuration {one['revision']}"
        yield f"  {printable(said)}{_record(one['record'])}"
    for worker in found["workers"]:
        yield f"  worker {worker['worker']}"
        for which, called in (("before", "last before"), ("after", "next after")):
            beat = worker[which]
            if beat is None:
                yield f"    heartbeat {called}: none"
                continue
            at = _time(beat["time"])
            yield f"    heartbeat {called}: {at}{_record(beat['record'])}"
    if not found["workers"]:
        yield "  no worker lived"
    for one in found["decisions"]:
        said = f"{one['request_id']} {_time(one['time'])}"
        yield f"  decision {said}{_record(one['record'])}"


def _act(one: Document, done: str) -> str:
    if one["revision"] is None:
        if one["time"] is None:
            return "none: none was ever in force before"
        return f"none since {_time(one['time'])}{_record(one['record'])}"
    return f"{one['revision']} {done} {_time(one['time'])}{_record(one['record'])}"


def _record(record: Document | None) -> str:
    if record is None:
        return ""
    index = record["log_index"]
    log = "not in the trail yet" if index is None else f"record {index} of the trail"
    return f"  ({record['source']} {record['sequence']}, {log})"


def _discrepancies(found: Document) -> Iterator[str]:
    """What store and records do not agree upon, in a span."""
    count = found["discrepancies_count"]
    yield ""
    if not count:
        left = " that is left" if found["pruned_by"] else ""
        yield f"Every record of the span{left} was read: the store says the same."
        return
    yield f"Discrepancies: the store is not what was recorded, in {count} places."
    for one in found["discrepancies"][:_GAPS_MAX]:
        yield f"  {printable(one['says'])}{_record(one['record'])}"
    if count > _GAPS_MAX:
        yield f"  and {count - _GAPS_MAX} more: --json lists them"


def _pruned(by: Sequence[int]) -> Iterator[str]:
    """What nobody has any more of what was asked for."""
    if by:
        said = " and ".join(map(str, by))
        yield ""
        yield f"Other records of that time were pruned: see record {said} of the trail."


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
    return f"{begin} to {end}  {gap['seconds']:.3f} s  {CAUSES[gap['cause']]}{who}"


def _time(text: str) -> str:
    """A time as people read it: to the millisecond, in UTC."""
    return text[:23].replace("T", " ") + "Z"
