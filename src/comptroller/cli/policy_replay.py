"""`comptroller policy replay` and `promote`: policies over what is recorded."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, NamedTuple, TypeAlias

import typer

from comptroller.cli import bundles, options, readings
from comptroller.cli.tables import print_page, printable
from comptroller.core.timestamps import rfc3339

if TYPE_CHECKING:
    from collections.abc import Sequence

    from comptroller.bootstrap.promoting import Promotion
    from comptroller.core.policy.rules import Mode, PolicySet
    from comptroller.engine.replay_tally import Replayed
    from comptroller.engine.replaying import Scope

SINCE_DEFAULT: Final = "30d"
_REVISION: Final = re.compile(r"(sha256:)?[0-9a-f]{1,64}")

Since: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--since",
        metavar="WHEN",
        help="From then on: 24h, 7d, 2026-11-01 (a day of the organization);"
        " everything unless given.",
    ),
]
Replay: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--replay",
        metavar="WHEN",
        help="Decide what is recorded since then, instead: 24h, 7d, 2026-11-01.",
    ),
]


class Reader(NamedTuple):
    """Who asks for what is recorded, by which command, and where."""

    data: Path
    command: str
    by: str | None


def register(policy: typer.Typer) -> None:
    """Adds the commands to those of the group."""
    policy.command("replay")(replay)
    policy.command("promote")(promote)


def replay(
    bundle: Annotated[
        str | None,
        typer.Argument(
            metavar="BUNDLE",
            help="A file, a folder, or the revision of a published bundle, which"
            " would decide instead; unless given, each decision is verified by the"
            " bundle that made it.",
            show_default=False,
        ),
    ] = None,
    since: Since = None,
    service: Annotated[
        str | None, typer.Option("--service", help="Only of this service.")
    ] = None,
    data: options.Data = options.DATA_DEFAULT,
    *,
    by: options.Reader = None,
    as_json: options.Json = False,
) -> None:
    """Decide recorded decisions again, by the same or another bundle."""
    from comptroller.bootstrap.replaying import open_replays
    from comptroller.cli import replay_pages as pages
    from comptroller.engine.replaying import Scope

    files = _files(bundle, as_json=as_json)
    with open_replays(data) as replays:
        scope = Scope(replays.since_ns(since), service)
        if bundle is None:
            found = replays.verify(scope)
        else:
            after = replays.sets(bundle) if files is None else files
            found = replays.what_if(scope, after)
    _record(Reader(data, "policy replay", by), scope, found)
    if bundle is not None:
        print_what_if(found, as_json=as_json)
        return
    document = pages.verification_document(found)
    print_page(document, pages.verification_lines(found), as_json=as_json)
    if found.differing:
        raise typer.Exit(1)


def promote(
    rule: Annotated[str, typer.Argument(metavar="RULE", help="The id of a part.")],
    paths: bundles.Paths = None,
    to: Annotated[
        str, typer.Option("--to", metavar="MODE", help="enforce, or warn.")
    ] = "enforce",
    since: Annotated[
        str,
        typer.Option(
            "--since", metavar="WHEN", help="From when on evidence is looked for."
        ),
    ] = SINCE_DEFAULT,
    data: options.Data = options.DATA_DEFAULT,
    *,
    by: options.Reader = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Do not ask, even on a terminal.")
    ] = False,
) -> None:
    """Show what a rule would have refused, then enforce it in its file."""
    from comptroller.bootstrap.promoting import Promotion, promotion

    found = promotion(paths or [bundles.PATH_DEFAULT], rule, _mode(to))
    if not isinstance(found, Promotion):
        bundles.valid(found, as_json=False)
        raise typer.Exit(1)
    _show_evidence(found, since, Reader(data, "policy promote", by))
    _expect_tests_to_pass(found)
    if not yes and not sys.stdin.isatty():
        typer.echo("Nothing was written: say --yes to write it.", err=True)
        raise typer.Exit(1)
    if not yes and not typer.confirm(f"Write mode: {found.mode}?", err=True):
        typer.echo("Nothing was written.")
        raise typer.Exit(1)
    found.write()
    typer.echo(
        f"{printable(found.file)}: {rule} has the mode {found.mode} now, and was"
        f" {found.mode_before}."
    )
    typer.echo(
        "Nothing decides by it yet: have the change reviewed, then run `comptroller"
        " policy publish` and `comptroller policy activate`."
    )


def replayed_diff(
    before: Sequence[PolicySet], after: Sequence[PolicySet], since: str, reader: Reader
) -> Replayed:
    """What one bundle would decide otherwise than another of what is recorded."""
    from comptroller.bootstrap.replaying import open_replays
    from comptroller.engine.replaying import Scope

    with open_replays(reader.data) as replays:
        scope = Scope(replays.since_ns(since))
        found = replays.what_if(scope, after, before)
    _record(reader, scope, found)
    return found


def _record(reader: Reader, scope: Scope, found: Replayed) -> None:
    """Records who is about to be shown decisions of single requests."""
    read: readings.Scope = {
        "service": scope.service,
        "since": rfc3339(scope.since_ns) if scope.since_ns else None,
        "decided": found.decided,
    }
    readings.record(reader.data, reader.command, read, reader.by)


def print_what_if(found: Replayed, *, as_json: bool) -> None:
    """Prints what another bundle would decide otherwise."""
    from comptroller.cli import replay_pages as pages

    document = pages.what_if_document(found)
    print_page(document, pages.what_if_lines(found), as_json=as_json)


def _files(bundle: str | None, *, as_json: bool) -> list[PolicySet] | None:
    """The sets of a bundle in files; None: it is no file or folder."""
    from comptroller.core.errors import NotFoundError

    if bundle is None:
        return None
    if not Path(bundle).exists():
        if _REVISION.fullmatch(bundle):
            return None
        raise NotFoundError(f"there is no file or folder {bundle}")
    policy = bundles.valid(bundles.read([Path(bundle)]), as_json=as_json).policy
    return list(policy.sets) if policy is not None else None


def _mode(to: str) -> Mode:
    from comptroller.core.errors import InvalidArgumentError
    from comptroller.core.policy.rules import Mode

    if to not in {Mode.ENFORCE, Mode.WARN}:
        raise InvalidArgumentError(f"--to: {to!r} is neither enforce nor warn")
    return Mode(to)


def _show_evidence(found: Promotion, since: str, reader: Reader) -> None:
    before, after = found.before.policy, found.after.policy
    assert before is not None  # noqa: S101  a promotion has no problems
    assert after is not None  # noqa: S101
    replayed = replayed_diff(before.sets, after.sets, since, reader)
    typer.echo(f"{found.rule}: {found.mode_before} to {found.mode}, since {since}:")
    print_what_if(replayed, as_json=False)
    if not replayed.decided:
        typer.echo("Nothing is known of what it would do: no policy decided then.")


def _expect_tests_to_pass(found: Promotion) -> None:
    """Ends here where the bundle would not be fit with the new mode."""
    from comptroller.engine.policy_testing import is_fit, run_cases

    if is_fit(found.after):
        return
    for verdict in run_cases(found.after).failed:
        typer.echo(
            f"{verdict.case.place}: would fail: {printable(verdict.case.name)}",
            err=True,
        )
        for missed in verdict.missed:
            typer.echo(f"  {printable(missed)}", err=True)
    typer.echo(
        f"Nothing was written: say in these tests what {found.mode} means, then"
        " promote again.",
        err=True,
    )
    raise typer.Exit(1)
