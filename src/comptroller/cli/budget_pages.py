"""The pages that people read about budgets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import typer

from comptroller.cli.tables import Column, plain, printable
from comptroller.core.money import usd
from comptroller.engine.budgeting import NANO_USD, Document

Table = tuple[list[Column], list[list[str]]]

_LABEL_WIDTH: Final = 18
_KNOWN_PLACES: Final = 6
_CENT: Final = 10**7
_PLAIN_FROM: Final = 10 * 10**9
"""From 10 USD on, a part of a cent is noise."""
_UNKNOWN: Final = "unknown"


def budget_rows(found: Sequence[Document]) -> Table:
    """Columns and rows of `budget list`; suspense only where there is some."""
    columns = [
        Column("BUDGET", may_shrink=True),
        Column("LIMIT", is_number=True),
        Column("SPENT", is_number=True),
        Column("HELD", is_number=True, may_give_way=True),
        Column("SUSPENSE", is_number=True),
        Column("LEFT", is_number=True),
        Column("USED", is_number=True),
        Column("FORECAST", is_number=True, may_give_way=True),
        Column("EMPTY (UTC)", may_give_way=True),
    ]
    rows = [
        [
            row["budget_id"],
            _shown(row, "limit"),
            _shown(row, "spent"),
            _shown(row, "held"),
            _shown(row, "suspense"),
            _shown(row, "left"),
            f"{row['percent']}%",
            _at_end(row),
            _empty(row),
        ]
        for row in found
    ]
    if any(_amount(row, "suspense") for row in found):
        return columns, rows
    return columns[:4] + columns[5:], [row[:4] + row[5:] for row in rows]


def budget_notes(found: Sequence[Document]) -> Iterator[str]:
    """What the table has no column for, in a line each."""
    if any(row["unit"] == NANO_USD for row in found):
        yield "Amounts are in USD; the forecast is for the end of the window."
    for row in found:
        yield from (f"{row['budget_id']}: {note}." for note in _notes(row))


def budget_lines(row: Document) -> Iterator[str]:
    """The page of one budget."""
    is_money = row["unit"] == NANO_USD
    unit = " USD" if is_money else " at the same time"
    yield typer.style(row["account"], bold=True)
    yield _fact("owner", _owner(row))
    yield _fact("window", _window(row))
    yield _fact("limit", f"{_shown(row, 'limit')}{unit}")
    if is_money:
        yield _fact("spent", f"{_shown(row, 'spent')}{unit}  ({row['percent']}%)")
    yield _fact("held", f"{_shown(row, 'held')}{unit}, by requests under way")
    yield _fact("in suspense", f"{_shown(row, 'suspense')}{unit}")
    yield _fact("left", f"{_shown(row, 'left')}{unit}")
    yield _fact("leased", f"{_shown(row, 'leased')}{unit}, holds included")
    if is_money:
        yield from _money(row)
    for note in _notes(row):
        yield _fact("note", note)
    for alert in row["alerts"]:
        yield _fact(f"{alert['percent']}% crossed", _minute(alert["time"]))
    for one in row["settlements"]:
        who = f"{one['person']}: {one['reason']}"
        spent = f"{usd(one['spent_nano_usd'], _KNOWN_PLACES)} USD"
        yield _fact("settled", f"{spent} of {one['holder']}, by {who}")
    if row["leases"]:
        yield from (f"  {line}" for line in plain(*_leases(row)))


def _money(row: Document) -> Iterator[str]:
    yield _fact("forecast", _told(row))
    if row["is_declared"]:
        alerts = ", ".join(f"{share}%" for share in row["alert_at"]) or "none"
        yield _fact("alerts at", alerts)
        yield _fact("near the limit", f"{row['on_shortfall']}; {row['hold']} hold")
        for step in row["on_threshold"]:
            reached = ", as it does now" if step["is_reached"] else ""
            yield _fact(f"at {step['percent']}%", f"uses {step['use']}{reached}")


def suspense_rows(found: Sequence[Document]) -> Table:
    """Columns and rows of `budget suspense list`."""
    columns = [Column("HOLDER"), Column("ACCOUNT"), Column("SUSPENSE", is_number=True)]
    return columns, [
        [row["holder"], row["account"], _shown(row, "suspense")] for row in found
    ]


def _leases(row: Document) -> Table:
    columns = [
        Column("lease of"),
        Column("state"),
        *(
            Column(name, is_number=True)
            for name in ("granted", "consumed", "returned", "left", "suspense")
        ),
    ]
    rows = [
        [
            lease["holder"],
            lease["state"] or "-",
            *(
                _in_unit(row, lease[name])
                for name in ("granted", "consumed", "returned", "left", "suspense")
            ),
        ]
        for lease in row["leases"]
    ]
    return columns, rows


def _notes(row: Document) -> Iterator[str]:
    over, limit = _amount(row, "over"), _amount(row, "limit")
    if over:
        yield f"over by {_in_unit(row, over)}: nothing more is let through"
    if not row["is_declared"]:
        yield "not limited any more"
    elif _amount(row, "effective_limit") > limit:
        in_force = _shown(row, "effective_limit")
        yield (
            f"lowered to {_in_unit(row, limit)}, in force as soon as it fits;"
            f" {in_force} until then"
        )


def _owner(row: Document) -> str:
    owner = row["owner"]
    if owner["name"] is None:
        return f"{owner['id']} (no longer declared)"
    return f"{owner['name']} <{owner['email']}>  ({owner['id']})"


def _window(row: Document) -> str:
    if row["ends"] is None:
        return "in all" if row["unit"] == NANO_USD else "at any moment"
    return (
        f"{row['window']} {row['label']}: {_minute(row['starts'])} to"
        f" {_minute(row['ends'])}"
    )


def _told(row: Document) -> str:
    basis_s = row["forecast_basis_s"]
    empty = row["exhausted_at"]
    if basis_s is None and empty is None:
        return "unknown: its history is too short"
    said = []
    if row["forecast_nano_usd"] is not None:
        said.append(f"{_at_end(row)} USD at the window's end")
    if empty is not None:
        said.append(f"empty {_minute(empty)}")
    elif not said:
        said.append("never empty")
    pace = f", at the pace of the last {_span(basis_s)}" if basis_s else ""
    return f"{', '.join(said)}{pace}"


def _span(seconds: int) -> str:
    for unit, size in (("days", 86400), ("hours", 3600)):
        if seconds >= 2 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 60:.3g} minutes"


def _at_end(row: Document) -> str:
    if row["ends"] is None or row["unit"] != NANO_USD:
        return "-"
    told = row["forecast_nano_usd"]
    return _UNKNOWN if told is None else _usd(told)


def _empty(row: Document) -> str:
    if row["exhausted_at"] is None:
        return "-"
    return "now" if not _amount(row, "left") else _minute(row["exhausted_at"])[:-1]


def _shown(row: Document, name: str) -> str:
    return _in_unit(row, _amount(row, name))


def _amount(row: Document, name: str) -> int:
    amount: int = row[f"{name}_nano_usd"] if row["unit"] == NANO_USD else row[name]
    return amount


def _in_unit(row: Document, amount: int) -> str:
    return _usd(amount) if row["unit"] == NANO_USD else f"{amount:,}"


def _usd(amount: int) -> str:
    """To the cent, or to the micro-dollar where cents would hide what there is."""
    is_plain = amount >= _PLAIN_FROM or not amount % _CENT
    return usd(amount, 2 if is_plain else _KNOWN_PLACES)


def _minute(time: str) -> str:
    return time[:16].replace("T", " ") + "Z"


def _fact(label: str, value: str) -> str:
    return f"  {label:<{_LABEL_WIDTH}}{printable(value)}"
