"""`comptroller privacy …`: what is known of persons, and its erasure."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from comptroller.cli import options, readings
from comptroller.cli.tables import Column, json_text, print_page, print_table
from comptroller.core.errors import InvalidArgumentError
from comptroller.core.quantities import QuantityError, since_ns

if TYPE_CHECKING:
    from collections.abc import Iterator

    from comptroller.engine.privacy_life import Selection

_STDIN: Final = "-"


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
        str, typer.Argument(metavar="REQUEST_ID", help="As the reply's header says.")
    ],
    data: options.Data = options.DATA_DEFAULT,
    *,
    by: options.Reader = None,
    as_json: options.Json = False,
) -> None:
    """Show what one request disclosed, verified against its record."""
    from comptroller.bootstrap import open_personal_data

    with open_personal_data(data) as personal_data:
        shown = personal_data.show(request_id)
    readings.record(data, "privacy show", {"request": shown["request_id"]}, by)
    print_page(shown, _shown(shown), as_json=as_json)


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
    data: options.Data = options.DATA_DEFAULT,
    by: options.By = None,
    as_json: options.Json = False,
) -> None:
    """Destroy what discloses persons; records, proofs and costs stay.

    What the requests said of persons is then in no file any more; the records keep
    commitments, which say nothing by themselves.
    """
    from comptroller.bootstrap import open_administrator

    selection = _selection(
        end_user=end_user, address=address, request=request, before=before
    )
    with open_administrator(data, by) as administrator:
        erased = administrator.erase_personal(selection, reason)
    if as_json:
        document = {
            "erasure_id": erased.erasure_id,
            "requests": erased.requests,
            "disclosures": erased.disclosures,
        }
        typer.echo(json_text(document, indent=2))
    elif erased.requests:
        typer.echo(
            f"Erased {_count(erased.disclosures, 'disclosure')} of"
            f" {_count(erased.requests, 'request')}; recorded as {erased.erasure_id}."
        )
    else:
        typer.echo("Nothing here discloses that: nothing was erased or recorded.")


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
    if value == _STDIN:
        value = sys.stdin.readline().rstrip("\n")
    match name:
        case "end_user":
            return Selection("end_user", value)
        case "address":
            return Selection("address", value)
        case "request":
            return Selection("request", value)
        case _:
            return Selection("before", before_ns=_before_ns(value))


def _before_ns(text: str) -> int:
    now_ns = time.time_ns()  # noqa: TID251  a person's "90 days ago" counts from now
    try:
        return since_ns(text, now_ns)
    except QuantityError as error:
        raise InvalidArgumentError(f"--before: {error}") from error


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


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
