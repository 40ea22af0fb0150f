"""`comptroller audit prune` and `audit legal-hold`: what is kept, and until when."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeAlias

import typer

from comptroller.cli import options
from comptroller.cli.tables import Column, json_text, print_page, print_table, printable
from comptroller.cli.times import before_ns
from comptroller.core.errors import InvalidArgumentError
from comptroller.core.timestamps import rfc3339

if TYPE_CHECKING:
    from collections.abc import Sequence

    from comptroller.engine.retention import Going
    from comptroller.engine.retention_ports import LegalHoldRow

_EVERYTHING: Final = "everything"
_END_USER: Final = "end_user"

Reason: TypeAlias = Annotated[
    str, typer.Option("--reason", metavar="TEXT", help="Why, for the records.")
]
Person: TypeAlias = Annotated[
    str,
    typer.Option("--by", metavar="PERSON", help="The declared person who does this."),
]
Asker: TypeAlias = Annotated[
    str,
    typer.Option("--by", metavar="PERSON", help="The declared person who asks for it."),
]
Approver: TypeAlias = Annotated[
    str,
    typer.Option(
        "--approved-by",
        metavar="PERSON",
        help="The declared person who approves it; another one, where duties are"
        " separated.",
    ),
]


def add_to(audit: typer.Typer) -> None:
    """Adds the commands to the group `audit`."""
    audit.command("prune")(prune)
    group = typer.Typer(
        help="Keep what may be evidence from being deleted.",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    group.command("place")(place)
    group.command("lift")(lift)
    group.command("list")(list_holds)
    audit.add_typer(group, name="legal-hold")


def prune(
    reason: Reason,
    by: Asker,
    approved_by: Approver,
    before: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="What is older than 400d, or from before 2027-01-31 (UTC).",
        ),
    ] = None,
    below: Annotated[
        int | None,
        typer.Option(
            metavar="INDEX", help="What has a smaller index; a multiple of 256."
        ),
    ] = None,
    data: options.Data = options.DATA_DEFAULT,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: options.Json = False,
) -> None:
    """Remove the oldest entries of the trail, for good; their hashes stay.

    Says what will go, and asks. The sequencer removes it once a checkpoint covers
    the record of this act; every proof of what stays still verifies.
    """
    from comptroller.bootstrap import open_administrator
    from comptroller.bootstrap.retention import plan_pruning

    if (before is None) == (below is None):
        raise InvalidArgumentError(
            "say how much goes, by exactly one of --before and --below"
        )
    time_ns = 0 if before is None else before_ns(before)
    planned = plan_pruning(data, below, time_ns)
    going = planned.going
    if not going.records:
        oldest = planned.oldest_ns
        line = "Nothing goes: no full bundle of 256 records has only older ones"
        line += "." if oldest is None else f"; the oldest is of {rfc3339(oldest)}."
        print_page(_document(going, is_recorded=False), [line], as_json=as_json)
        return
    typer.echo(_going_line(going), err=as_json)
    if not yes:
        _confirm()
    with open_administrator(data) as administrator:
        administrator.prune_trail(going.below, reason, approved_by, by)
    line = (
        "Recorded. The sequencer removes them once a checkpoint covers that record:"
        " comptroller serve runs it."
    )
    print_page(_document(going, is_recorded=True), [line], as_json=as_json)


def place(
    reason: Reason,
    by: Person,
    end_user: Annotated[
        str | None,
        typer.Option(
            metavar="VALUE", help="On what is of this end user; - reads it from stdin."
        ),
    ] = None,
    data: options.Data = options.DATA_DEFAULT,
    *,
    everything: Annotated[
        bool, typer.Option("--everything", help="On everything.")
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Forbid deletion: of everything, or of what is of one end user.

    While any is in force, nothing of the trail is pruned and no journal is deleted;
    what it is on is not erased. Whom it is on is recorded as a salted hash.
    """
    from comptroller.bootstrap import open_administrator

    if everything == (end_user is not None):
        raise InvalidArgumentError(
            "say on what, by exactly one of --everything and --end-user"
        )
    if end_user is not None:
        end_user = options.said_or_read(end_user)
    with open_administrator(data) as administrator:
        placed = administrator.place_legal_hold(end_user, reason, by)
    name = placed.legal_hold_id
    if placed.is_on_everything:
        scope, on = _EVERYTHING, "everything: until it is lifted nothing is pruned,"
        on += " deleted or erased."
    else:
        scope, on = _END_USER, "an end user: until it is lifted what is of them is not"
        on += " erased, nothing is pruned and no journal is deleted."
    line = f"Placed legal hold {name} on {on}"
    print_page({"legal_hold_id": name, "scope": scope}, [line], as_json=as_json)


def lift(
    legal_hold_id: Annotated[
        str, typer.Argument(metavar="HOLD_ID", help="As legal-hold list shows it.")
    ],
    reason: Reason,
    by: Person,
    data: options.Data = options.DATA_DEFAULT,
    *,
    as_json: options.Json = False,
) -> None:
    """Let go of what a legal hold kept; nothing is deleted by that."""
    from comptroller.bootstrap import open_administrator

    with open_administrator(data) as administrator:
        lifted = administrator.lift_legal_hold(legal_hold_id, reason, by)
    document = {"legal_hold_id": lifted.legal_hold_id, "in_force": lifted.in_force}
    left = (
        f"{lifted.in_force} still in force" if lifted.in_force else "none is in force"
    )
    line = f"Lifted legal hold {lifted.legal_hold_id}; {left}."
    print_page(document, [line], as_json=as_json)


def list_holds(
    data: options.Data = options.DATA_DEFAULT, *, as_json: options.Json = False
) -> None:
    """List all legal holds, lifted ones too, oldest first."""
    from comptroller.bootstrap.retention import legal_holds

    found = legal_holds(data)
    if as_json:
        typer.echo(json_text([_told(one) for one in found], indent=2))
    elif found:
        print_table(*_rows(found))
    else:
        typer.echo("No legal hold was ever placed.")


def _confirm() -> None:
    """Asks; what cannot ask must be told.

    Raises:
        InvalidArgumentError: nobody is there to be asked.
    """
    if not sys.stdin.isatty():
        raise InvalidArgumentError(
            "nobody can be asked here, and it cannot be undone: add --yes"
        )
    if not typer.confirm("Remove them for good?", err=True):
        typer.echo("Nothing was pruned.", err=True)
        raise typer.Exit(1)


def _going_line(going: Going) -> str:
    span = ""
    if going.span is not None:
        oldest, newest = (rfc3339(one) for one in going.span)
        span = f", recorded from {oldest} to {newest}"
    return (
        f"{going.records:,} records go: {going.before:,} to {going.below - 1:,}{span}."
    )


def _document(going: Going, *, is_recorded: bool) -> dict[str, Any]:
    oldest, newest = going.span or (None, None)
    return {
        "is_recorded": is_recorded,
        "below": going.below,
        "before": going.before,
        "records": going.records,
        "oldest": None if oldest is None else rfc3339(oldest),
        "newest": None if newest is None else rfc3339(newest),
    }


def _told(row: LegalHoldRow) -> dict[str, Any]:
    return {
        "legal_hold_id": row.id,
        "scope": _EVERYTHING if row.end_user_trace is None else _END_USER,
        "reason": row.reason,
        "placed": rfc3339(row.placed_ns),
        "placed_by": row.placed_by,
        "placed_account": row.placed_account,
        "is_in_force": row.lifted_ns is None,
        "lifted": None if row.lifted_ns is None else rfc3339(row.lifted_ns),
        "lifted_reason": row.lifted_reason,
        "lifted_by": row.lifted_by,
        "lifted_account": row.lifted_account,
    }


def _rows(found: Sequence[LegalHoldRow]) -> tuple[list[Column], list[list[str]]]:
    headings = ("LEGAL HOLD", "ON", "STATE", "PLACED", "BY", "LIFTED", "BY")
    columns = [*(Column(one) for one in headings), Column("REASON", may_shrink=True)]
    rows = [
        [
            one.id,
            "everything" if one.end_user_trace is None else "an end user",
            "in force" if one.lifted_ns is None else "lifted",
            _minute(one.placed_ns),
            one.placed_by or one.placed_account,
            "-" if one.lifted_ns is None else _minute(one.lifted_ns),
            one.lifted_by or one.lifted_account or "-",
            printable(one.reason),
        ]
        for one in found
    ]
    return columns, rows


def _minute(time_ns: int) -> str:
    return rfc3339(time_ns)[:16].replace("T", " ")
