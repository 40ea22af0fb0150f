"""`comptroller audit …`: the trail, verified, proved, exported, brought up to date."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from comptroller.cli import anchors, options, reads, retention, serve_options
from comptroller.cli.rebuild import rebuild
from comptroller.cli.tables import json_text, printable

if TYPE_CHECKING:
    from comptroller.bootstrap.trail import Sequenced

SAID_MAX: Final = 30


def add_commands(audit: typer.Typer) -> None:
    """Adds the trail's commands to the group `audit`."""
    audit.command("verify")(verify)
    audit.command("prove")(prove)
    audit.command("export")(export)
    audit.command("sequence")(sequence)
    audit.command("rebuild")(rebuild)
    anchors.add_to(audit)
    retention.add_to(audit)
    reads.add_to(audit)


def verify(
    data: options.Data = options.DATA_DEFAULT,
    vkey: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY",
            help="A public key that must have signed; may be repeated. [default: the"
            " one in --data]",
        ),
    ] = None,
    since: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="A checkpoint that you kept, with which the trail must begin.",
        ),
    ] = None,
    witness_key: Annotated[
        list[str] | None,
        typer.Option(
            metavar="VKEY",
            help="A witness's public key: says how far it has signed; may be repeated.",
        ),
    ] = None,
    *,
    as_json: options.Json = False,
) -> None:
    """Verify the trail: its signature, journals and store."""
    from comptroller.bootstrap import trail_audit

    trusted = trail_audit.Trusted(vkey or [], since or [], witness_key or [])
    found = trail_audit.verify(data, trusted)
    if as_json:
        typer.echo(json_text(found))
    else:
        for line in _verify_lines(found):
            typer.echo(printable(line))
    if not found["ok"]:
        raise typer.Exit(1)


def _verify_lines(found: dict[str, Any]) -> Iterator[str]:
    yield (
        f"The trail {found['origin']}: {found['size']} records, published"
        f" {found['time']}."
    )
    yield from found["signed"]["said"][-SAID_MAX:]
    compared = found["compared"]
    if compared is None:
        yield f"It cannot be compared with journals and store: {found['problem']}"
    else:
        yield from compared["first_wrong"]
        if compared["pruned"]:
            by = compared["pruned_by"]
            said = "NO record says so" if by is None else f"record {by} says so"
            yield (
                f"The first {compared['pruned']} records were pruned, {said}; only what"
                f" is left is compared, and {compared['pruned_decisions']} decisions of"
                " the store are not."
            )
            yield (
                f"Against the hashes that stayed: {compared['by_hash']} records of"
                " administration compared."
            )
        yield (
            f"Against the journals: {compared['entries']} records compared,"
            f" {compared['waiting']} wait for the next checkpoint,"
            f" {compared['gaps']} tell of gaps."
        )
        yield (
            f"Against the store: {compared['in_store']} decisions there,"
            f" {compared['decisions']} in the trail,"
            f" {compared['waiting_decisions']} wait."
        )
    if found["keys_are_from_here"]:
        yield "The key is the one in the data directory: name one you know with --vkey."
    yield f"Strength: {found['strength']}."
    yield "All is as it was recorded." if found["ok"] else "NOT all is well."


def prove(
    request_id: Annotated[
        str,
        typer.Argument(
            metavar="REQUEST_ID", help="From the header x-comptroller-request-id."
        ),
    ],
    data: options.Data = options.DATA_DEFAULT,
    to: Annotated[
        Path, typer.Option(metavar="DIR", help="Where the files are written.")
    ] = Path(),
    *,
    by: options.Reader = None,
    as_json: options.Json = False,
) -> None:
    """Write a request's exact records and their proofs."""
    from comptroller.bootstrap import trail_audit

    found = trail_audit.prove_request(data, request_id, to, by)
    if as_json:
        typer.echo(json_text(found))
        return
    for role, one in found["proofs"].items():
        typer.echo(
            f"{role}: record {one['index']} of {one['size']} of {found['origin']}"
        )
        typer.echo(f"  {one['record']}")
        typer.echo(f"  {one['proof']}")
        for signed in one["witnessed"]:
            typer.echo(f"  signed by {signed['witness']}, too, at {signed['time']}")
    for role in found["absent"]:
        typer.echo(f"{role}: in no checkpoint yet")
    typer.echo(f"key: {found['vkey']}")
    for vkey in found["witness_vkeys"]:
        typer.echo(f"key of a witness, as kept here: {vkey}")
    typer.echo(f"strength: {found['strength']}")


def export(
    to: Annotated[Path, typer.Option(metavar="DIR", help="A new or empty folder.")],
    data: options.Data = options.DATA_DEFAULT,
    since: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="TIME",
            help="List records from then on: 2026-11-01, or with a time in UTC.",
        ),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="List records before then only."),
    ] = None,
    *,
    by: options.Reader = None,
    as_json: options.Json = False,
) -> None:
    """Write the trail as a folder that others can verify."""
    from comptroller.bootstrap import trail_audit

    selected = trail_audit.Selected(_time(since, "--from"), _time(until, "--until"))
    found = trail_audit.export(data, to, selected, by)
    if as_json:
        typer.echo(json_text(found))
        return
    typer.echo(
        f"Exported {found['size']} records of {found['origin']} to {to},"
        f" {found['listed']} of them listed in records.jsonl."
    )
    for signed in found["witnessed"]:
        typer.echo(
            f"{signed['witness']} signed the first {signed['size']} of them at"
            f" {signed['time']}."
        )
    if found["pruned"]:
        typer.echo(
            f"The first {found['pruned']} records were pruned: of them there are the"
            " hashes, and nothing else."
        )
    typer.echo(f"{to / 'README.md'} says how to verify it.")


def sequence(
    data: options.Data = options.DATA_DEFAULT,
    trail_key: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="As of serve."),
    ] = None,
    trail_origin: Annotated[
        str | None, typer.Option(metavar="NAME", help="As of serve.")
    ] = None,
    *,
    witness: serve_options.Witness = None,
    witness_key: serve_options.WitnessKey = None,
    as_json: options.Json = False,
) -> None:
    """Bring what is recorded into the trail, without serve.

    Each witness is asked once; exits with 1 where one of them does not sign.
    """
    from comptroller.bootstrap import trail
    from comptroller.bootstrap.witnesses import check_witnesses

    told = check_witnesses(witness or [], witness_key or [])
    done = trail.sequence(data, trail_key, trail_origin, told)
    if as_json:
        typer.echo(json_text(_sequenced(done)))
    else:
        typer.echo(f"The trail has {done.size} records.")
        for one in done.witnesses:
            problem = one.problem and f"did not sign it: {one.problem}"
            said = problem or f"signed {one.size} of them at {one.time}"
            typer.echo(printable(f"{one.name} {said}."))
    if any(one.problem or not one.size for one in done.witnesses):
        raise typer.Exit(1)


def _sequenced(done: Sequenced) -> dict[str, Any]:
    witnesses = [
        {
            "witness": one.name,
            "size": one.size,
            "time": one.time,
            "problem": one.problem,
        }
        for one in done.witnesses
    ]
    return {"size": done.size, "witnesses": witnesses}


def _time(text: str | None, option: str) -> str | None:
    """A time as records write it."""
    from datetime import UTC, datetime

    from comptroller.core.timestamps import rfc3339

    if text is None:
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} is no time, such as 2026-11-01 or 2026-11-01T12:00:00Z",
            param_hint=option,
        ) from None
    if time.tzinfo is None:
        time = time.replace(tzinfo=UTC)
    return rfc3339(int(time.timestamp()) * 1_000_000_000)
