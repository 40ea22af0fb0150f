"""`comptroller key …`: credentials of services."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from comptroller.cli import options
from comptroller.cli.tables import Column, json_text, print_table
from comptroller.core.errors import InvalidArgumentError
from comptroller.core.quantities import QuantityError, duration_s
from comptroller.core.timestamps import rfc3339

if TYPE_CHECKING:
    from comptroller.engine.administration import IssuedSecret
    from comptroller.engine.identity import CredentialLine

_NS = 10**9

CredentialArgument: TypeAlias = Annotated[
    str, typer.Argument(metavar="CREDENTIAL_ID", help="As key list shows it.")
]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    key = typer.Typer(
        help="Issue, rotate, revoke and list credentials.",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    key.command("issue")(issue)
    key.command("rotate")(rotate)
    key.command("revoke")(revoke)
    key.command("list")(list_keys)
    app.add_typer(key, name="key")


def issue(
    service: Annotated[
        str, typer.Argument(metavar="SERVICE", help="The service that will use it.")
    ],
    person: Annotated[
        str,
        typer.Option(
            "--for", metavar="PERSON", help="The declared person who holds it."
        ),
    ],
    expires: Annotated[
        str | None,
        typer.Option(metavar="DURATION", help="When it ends, such as 90d or 12h."),
    ] = None,
    data: options.Data = options.DATA_DEFAULT,
    by: options.By = None,
    *,
    as_json: options.Json = False,
) -> None:
    """Issue a credential of a service to a person; show its secret once."""
    from comptroller.bootstrap import await_workers, open_administrator

    expires_ns = None
    if expires is not None:
        now_ns = time.time_ns()  # noqa: TID251  a person's "in 90 days" counts from now
        expires_ns = now_ns + _duration_ns(expires, "--expires")
    with open_administrator(data, by) as administrator:
        issued = administrator.issue(service, person, expires_ns)
    await_workers(data)
    _print_secret(issued, as_json=as_json)


def rotate(
    credential_id: CredentialArgument,
    overlap: Annotated[
        str,
        typer.Option(
            metavar="DURATION", help="How long the old secret goes on working; 0s: not."
        ),
    ] = "24h",
    data: options.Data = options.DATA_DEFAULT,
    by: options.By = None,
    *,
    as_json: options.Json = False,
) -> None:
    """Give a credential a new secret; the old one overlaps with it."""
    from comptroller.bootstrap import await_workers, open_administrator

    overlap_ns = 0 if overlap in {"0", "0s"} else _duration_ns(overlap, "--overlap")
    with open_administrator(data, by) as administrator:
        issued = administrator.rotate(credential_id, overlap_ns)
    await_workers(data)
    _print_secret(issued, as_json=as_json)


def revoke(
    credential_id: CredentialArgument,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why, for the records.")],
    data: options.Data = options.DATA_DEFAULT,
    by: options.By = None,
    *,
    as_json: options.Json = False,
) -> None:
    """Revoke a credential for good.

    Within a second every worker refuses it, and cuts the streams that it started.
    """
    from comptroller.bootstrap import await_workers, open_administrator

    with open_administrator(data, by) as administrator:
        revoked = administrator.revoke(credential_id, reason)
    await_workers(data)
    if as_json:
        _print_json(
            {
                "credential_id": revoked.credential_id,
                "revoked": rfc3339(revoked.revoked_ns),
                "reason": revoked.reason,
            }
        )
    else:
        typer.echo(f"Revoked {revoked.credential_id}: {revoked.reason}")


def list_keys(
    service: Annotated[
        str | None, typer.Option(help="Only those of this service.")
    ] = None,
    data: options.Data = options.DATA_DEFAULT,
    *,
    as_json: options.Json = False,
) -> None:
    """List credentials with their last use, oldest first; no secrets."""
    from comptroller.bootstrap import credential_list

    lines = [line for line in credential_list(data) if service in (None, line.service)]
    if as_json:
        typer.echo(json_text([_line_document(line) for line in lines], indent=2))
    elif lines:
        columns = ("CREDENTIAL", "SERVICE", "PERSON", "STATE", "EXPIRES", "LAST USED")
        rows = [
            [
                line.credential_id,
                line.service,
                line.person,
                line.state,
                _minute(line.expires_ns),
                _minute(line.last_used_ns),
            ]
            for line in lines
        ]
        print_table([Column(heading) for heading in columns], rows)
    else:
        whose = f"Service {service} has" if service else "There are"
        typer.echo(f"{whose} no credentials: issue one with comptroller key issue.")


def _print_secret(issued: IssuedSecret, *, as_json: bool) -> None:
    if as_json:
        _print_json(
            {
                "credential_id": issued.credential_id,
                "secret": issued.secret,
                "service": issued.service,
                "person": issued.person,
                "expires": _time(issued.expires_ns),
                "old_until": _time(issued.old_until_ns),
            }
        )
        return
    expires = _time(issued.expires_ns)
    until = _time(issued.old_until_ns)
    # The secret alone goes to standard output, so that a pipe gets only that.
    note = [
        f"Credential {issued.credential_id} of {issued.service}, held by"
        f" {issued.person}" + (f", expires {expires}." if expires else "."),
        "This is its secret. It is shown once and cannot be shown again:",
    ]
    if until:
        note.insert(1, f"The old secret works until {until}.")
    typer.echo("\n".join(note), err=True)
    sys.stderr.flush()
    typer.echo(issued.secret)


def _line_document(line: CredentialLine) -> dict[str, Any]:
    return {
        "credential_id": line.credential_id,
        "service": line.service,
        "person": line.person,
        "state": line.state,
        "issued": _time(line.issued_ns),
        "expires": _time(line.expires_ns),
        "last_used": _time(line.last_used_ns),
        "secrets_in_force": line.secrets_in_force,
        "revoked": _time(line.revoked_ns),
        "revoked_reason": line.revoked_reason,
    }


def _print_json(document: dict[str, Any]) -> None:
    typer.echo(json_text(document, indent=2))


def _time(time_ns: int | None) -> str | None:
    return None if time_ns is None else rfc3339(time_ns)


def _minute(time_ns: int | None) -> str:
    return "-" if time_ns is None else rfc3339(time_ns)[:16].replace("T", " ") + "Z"


def _duration_ns(text: str, option: str) -> int:
    try:
        return duration_s(text) * _NS
    except QuantityError as error:
        raise InvalidArgumentError(f"{option}: {error}") from error
