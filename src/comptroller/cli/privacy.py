"""`comptroller privacy …`: what is known of persons, and its erasure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from comptroller.cli import options, readings
from comptroller.cli.tables import Column, json_text, print_page, print_table
from comptroller.cli.times import before_ns
from comptroller.core.errors import InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from comptroller.engine.privacy_life import Selection


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    privacy = typer.Typer(
        help="Show, list and erase what records say of persons.",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    privacy.command("show")(show)
    privacy.command("list")(list_requests)
    privacy.command("erase")(erase)
    app.add_typer(privacy, name="privacy")


def show(
    request_id: Annotated[
        str | None,
        typer.Argument(metavar="REQUEST_ID", help="As the reply's header says."),
    ] = None,
    person: Annotated[
        str | None,
        typer.Option(
            metavar="ID", help="A person who is or was declared, not a request."
        ),
    ] = None,
    data: options.Data = options.DATA_DEFAULT,
    *,
    by: options.Reader = None,
    as_json: options.Json = False,
) -> None:
    """Show what a request or a person disclosed, against the records."""
    from comptroller.bootstrap import open_personal_data

    if (request_id is None) == (person is None):
        raise InvalidArgumentError("say which: a REQUEST_ID, or --person ID")
    with open_personal_data(data) as personal_data:
        if person is not None:
            shown = personal_data.person(person)
            scope, page = {"person": shown["person"]}, _shown_person(shown)
        else:
            shown = personal_data.show(request_id or "")
            scope, page = {"request": shown["request_id"]}, _shown(shown)
    readings.record(data, "privacy show", scope, by)
    print_page(shown, page, as_json=as_json)


def list_requests(
    end_user: Annotated[
        str | None,
        typer.Option(metavar="VALUE", help="Of this end user; - reads it from stdin."),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(metavar="VALUE", help="From this address; - reads it from stdin."),
    ] = None,
    data: options.Data = options.DATA_DEFAULT,
    *,
    by: options.Reader = None,
    as_json: options.Json = False,
) -> None:
    """List the requests that disclose one person, oldest first."""
    from comptroller.bootstrap import open_personal_data

    selection = _selection(end_user=end_user, address=address)
    with open_personal_data(data) as personal_data:
        found = personal_data.requests(selection)
    # Who was asked for is a personal value: only how is recorded, and how many.
    scope = {"selected_by": selection.by, "listed": len(found)}
    readings.record(data, "privacy list", scope, by)
    if as_json:
        typer.echo(json_text(found, indent=2))
    elif found:
        columns = ("REQUEST", "TIME", "TENANT", "SERVICE", "MODEL", "DISCLOSES")
        rows = [
            [
                one["request_id"],
                one["time"] or "-",
                one["tenant"] or "-",
                one["service"] or "-",
                one["model"] or "-",
                ", ".join(one["discloses"]),
            ]
            for one in found
        ]
        print_table([Column(heading) for heading in columns], rows)
    else:
        typer.echo("Nothing here discloses that.")


def erase(
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why, for the records.")],
    end_user: Annotated[
        str | None,
        typer.Option(
            metavar="VALUE", help="All of this end user; - reads it from stdin."
        ),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(
            metavar="VALUE", help="All from this address; - reads it from stdin."
        ),
    ] = None,
    *,
    request: Annotated[
        str | None, typer.Option(metavar="REQUEST_ID", help="Of this request.")
    ] = None,
    before: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help="All older than 90d, or before 2027-01-31 (UTC)."
        ),
    ] = None,
    person: Annotated[
        str | None,
        typer.Option(metavar="ID", help="A person who is not declared any more."),
    ] = None,
    data: options.Data = options.DATA_DEFAULT,
    by: options.By = None,
    as_json: options.Json = False,
) -> None:
    """Destroy what discloses persons; records, proofs and costs stay.

    What was said of persons is then in no file any more; the records keep
    commitments, which say nothing by themselves.
    """
    from comptroller.bootstrap import open_administrator

    named = {"request": request, "before": before, "person": person}
    selection = _selection(end_user=end_user, address=address, **named)
    with open_administrator(data, by) as administrator:
        erased = administrator.erase_personal(selection, reason)
    if person is not None:
        _warn_of_plain(data, person)
    if as_json:
        document = {
            "erasure_id": erased.erasure_id,
            "requests": erased.requests,
            "disclosures": erased.disclosures,
        }
        typer.echo(json_text(document, indent=2))
    elif erased.disclosures:
        of = _count(erased.requests, "request") if person is None else person
        typer.echo(
            f"Erased {_count(erased.disclosures, 'disclosure')} of {of};"
            f" recorded as {erased.erasure_id}."
        )
    else:
        typer.echo("Nothing here discloses that: nothing was erased or recorded.")


def _warn_of_plain(data: Path, person: str) -> None:
    """Says which records an erasure of a person leaves as they are."""
    from comptroller.bootstrap import open_personal_data

    with open_personal_data(data) as personal_data:
        plain = personal_data.plain_revisions(person)
    if plain:
        typer.echo(_plain(person, plain), err=True)


def _selection(**given: str | None) -> Selection:
    """The one way in which requests were named.

    Raises:
        InvalidArgumentError: there is none, or more than one.
    """
    from comptroller.engine.privacy_life import Selection

    said = {name: value for name, value in given.items() if value is not None}
    if len(said) != 1:
        names = ", ".join("--" + name.replace("_", "-") for name in given)
        raise InvalidArgumentError(f"say whose, by exactly one of {names}")
    ((name, value),) = said.items()
    value = options.said_or_read(value)
    match name:
        case "end_user":
            return Selection("end_user", value)
        case "address":
            return Selection("address", value)
        case "request":
            return Selection("request", value)
        case "person":
            return Selection("person", value)
        case _:
            return Selection("before", before_ns=before_ns(value))


def _shown(shown: dict[str, Any]) -> Iterator[str]:
    yield f"Request {shown['request_id']} at {shown['time']}"
    for one in shown["disclosed"]:
        mark = "verified" if one["is_verified"] else "NOT WHAT THE RECORD COMMITS TO"
        yield f"  {one['name']}  {one['value']}  ({mark})"
    if shown["undisclosed"]:
        count = _count(shown["undisclosed"], "commitment")
        yield f"  {count} without a disclosure: erased, or never written"
    if not shown["disclosed"] and not shown["undisclosed"]:
        yield "  its record commits to nothing of persons"
    if shown["prompt_hmac"] is not None:
        yield f"  prompt fingerprint  {shown['prompt_hmac']}"


def _shown_person(shown: dict[str, Any]) -> Iterator[str]:
    declared = "declared" if shown["is_declared"] else "not declared any more"
    yield f"Person {shown['person']}, {declared}"
    for one in shown["disclosed"]:
        revisions = ", ".join(str(number) for number in one["revisions"])
        mark = f"verified: revision {revisions}" if revisions else "NOT RECORDED"
        yield f"  {one['name']}  {one['value']}  ({mark})"
    if shown["undisclosed"]:
        count = _count(shown["undisclosed"], "commitment")
        yield f"  {count} without a disclosure: erased, or lost"
    if shown["plain_revisions"]:
        yield f"  {_plain(shown['person'], shown['plain_revisions'])}"


def _plain(person: str, revisions: list[int]) -> str:
    listed = ", ".join(str(number) for number in revisions)
    return (
        f"The records of revision {listed} say plainly who {person} is: an older"
        " release wrote them, and no erasure changes a record."
    )


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
