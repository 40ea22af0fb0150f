"""`comptroller policy publish`, `activate`, `deactivate`, `history` and `show`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeAlias

import typer

from comptroller.cli import bundles, options
from comptroller.cli.tables import Column, json_text, print_page, print_table, printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from comptroller.core.problem import Problem
    from comptroller.engine.policy_life import ActivatedPolicy, PublishedPolicy

_DIGITS_SHOWN: Final = 12

Revision: TypeAlias = Annotated[
    str,
    typer.Argument(
        metavar="REVISION",
        help="As history shows it; its first digits suffice where they tell.",
    ),
]
Approver: TypeAlias = Annotated[
    str,
    typer.Option(
        "--approver",
        metavar="PERSON",
        help="The declared person who approves it; not its author, where duties are"
        " separated.",
    ),
]


def register(policy: typer.Typer) -> None:
    """Adds the commands to those of the group."""
    policy.command("publish")(publish)
    policy.command("activate")(activate)
    policy.command("deactivate")(deactivate)
    policy.command("history")(history)
    policy.command("show")(show)


def publish(
    author: Annotated[
        str,
        typer.Option(
            "--author", metavar="PERSON", help="The declared person who wrote it."
        ),
    ],
    paths: bundles.Paths = None,
    note: Annotated[
        str, typer.Option("--note", metavar="TEXT", help="What changes, and why.")
    ] = "",
    data: options.Data = options.DATA_DEFAULT,
    *,
    as_json: options.Json = False,
) -> None:
    """Check, test and keep a bundle; nothing is decided by it yet."""
    from comptroller.bootstrap import open_administrator
    from comptroller.bootstrap.policies import gather_files

    files, problems = gather_files(paths or [bundles.PATH_DEFAULT])
    if problems:
        _print_refusal(problems, [], as_json=as_json)
    with open_administrator(data) as administrator:
        result = administrator.publish_policy(files, note, author)
    if result.state == "refused":
        failed = [
            {"name": one.name, "place": str(one.place), "missed": one.missed}
            for one in result.failed
        ]
        _print_refusal(result.problems, failed, as_json=as_json)
    print_page(_published(result), _publish_lines(result), as_json=as_json)


def activate(
    revision: Revision,
    approver: Approver,
    data: options.Data = options.DATA_DEFAULT,
    *,
    as_json: options.Json = False,
) -> None:
    """Let a published bundle decide from now on.

    An earlier one, too: that is how to go back.
    """
    from comptroller.bootstrap import await_workers, open_administrator

    with open_administrator(data) as administrator:
        result = administrator.activate_policy(revision, approver)
    await_workers(data)
    if result.revision == result.previous:
        line = f"{_short(result.revision)} is active already."
    else:
        line = f"Activated {_short(result.revision)}, approved by {approver}."
        if result.previous is not None:
            line += f" Before: {_short(result.previous)}."
    print_page(_activated(result), [line], as_json=as_json)


def deactivate(
    author: Annotated[
        str,
        typer.Option(
            "--author", metavar="PERSON", help="The declared person who asks for it."
        ),
    ],
    approver: Approver,
    note: Annotated[str, typer.Option("--note", metavar="TEXT", help="Why.")],
    data: options.Data = options.DATA_DEFAULT,
    *,
    as_json: options.Json = False,
) -> None:
    """Let no bundle decide from now on."""
    from comptroller.bootstrap import await_workers, open_administrator

    with open_administrator(data) as administrator:
        result = administrator.deactivate_policy(author, note, approver)
    await_workers(data)
    line = f"No policy is active. Before: {_short(result.previous)}."
    print_page(_activated(result), [line], as_json=as_json)


def history(
    data: options.Data = options.DATA_DEFAULT, *, as_json: options.Json = False
) -> None:
    """List published bundles, and what became of each."""
    from comptroller.bootstrap.policy_archive import told_history

    told = told_history(data)
    if as_json:
        typer.echo(json_text(told))
        return
    if not told["bundles"]:
        typer.echo("No bundle was published: begin with comptroller policy publish.")
        return
    print_table(*_history_rows(told))
    if told["active"] is None:
        typer.echo("No policy is active.")


def show(
    revision: Revision,
    data: options.Data = options.DATA_DEFAULT,
    *,
    as_json: options.Json = False,
) -> None:
    """Print the files of a published bundle."""
    from comptroller.bootstrap.policy_archive import kept_files

    found, files = kept_files(data, revision)
    document = {
        "revision": found,
        "files": [{"name": name, "text": text} for name, text in files],
    }
    print_page(document, _file_lines(found, files), as_json=as_json)


def _print_refusal(
    problems: Sequence[Problem], failed: Sequence[dict[str, Any]], *, as_json: bool
) -> None:
    """Says why a bundle was not published, and exits."""
    lines = [str(one) for one in problems]
    for case in failed:
        lines.append(f"{case['place']}: failed: {printable(case['name'])}")
        lines += [f"  {printable(missed)}" for missed in case["missed"]]
    counts = [
        f"{count} {what}{'s' if count != 1 else ''}"
        for count, what in ((len(problems), "problem"), (len(failed), "failed test"))
        if count
    ]
    lines.append(f"{', '.join(counts)}: nothing was published.")
    if as_json:
        error = {
            "code": "policy_invalid" if problems else "policy_tests_failed",
            "message": "\n".join(lines),
            "problems": bundles.problem_documents(problems),
            "failed": list(failed),
        }
        typer.echo(json_text({"error": error}), err=True)
    else:
        typer.echo("\n".join(lines), err=True)
    raise typer.Exit(1)


def _publish_lines(result: PublishedPolicy) -> Iterator[str]:
    if result.state == "known":
        yield f"{_short(result.revision)} was published before, by {result.author}."
    else:
        yield f"Published {_short(result.revision)} by {result.author}: " + ", ".join(
            f"{count} {what}{'s' if count != 1 else ''}"
            for count, what in (
                (result.files, "file"),
                (result.parts, "part"),
                (result.cases, "passed test"),
            )
        )
        if not result.cases:
            yield "It has no tests: write some in a *.policy_test.yaml file."
    yield (
        "Nothing is decided by it before somebody approves it:"
        f" comptroller policy activate {_digits(result.revision)} --approver PERSON"
    )


def _published(result: PublishedPolicy) -> dict[str, Any]:
    return {
        "revision": result.revision,
        "state": result.state,
        "author": result.author,
        "files": result.files,
        "parts": result.parts,
        "cases": result.cases,
    }


def _activated(result: ActivatedPolicy) -> dict[str, Any]:
    return {
        "revision": result.revision,
        "previous": result.previous,
        "author": result.author,
        "approver": result.approver,
    }


def _history_rows(told: dict[str, Any]) -> tuple[list[Column], list[list[str]]]:
    headings = ("REVISION", "STATE", "AUTHOR", "APPROVER", "ACTIVATED")
    columns = [Column(one) for one in headings]
    columns += [Column("FILES", is_number=True), Column("PARTS", is_number=True)]
    columns += [Column("LOADED BY"), Column("NOTE", may_shrink=True)]
    rows = [
        [
            _digits(one["revision"]),
            one["state"],
            one["author"],
            one["approver"] or "-",
            (one["activated"] or "-")[:16].replace("T", " "),
            str(one["files"]),
            str(one["parts"]),
            f"{len(one['loaded_by'])} of {told['workers']}",
            one["note"],
        ]
        for one in told["bundles"]
    ]
    return columns, rows


def _file_lines(revision: str, files: Sequence[tuple[str, str]]) -> Iterator[str]:
    yield f"# {revision}"
    for name, text in files:
        yield f"# --- {name}"
        yield from map(printable, text.splitlines())


def _digits(revision: str) -> str:
    return revision.removeprefix("sha256:")[:_DIGITS_SHOWN]


def _short(revision: str | None) -> str:
    return "none" if revision is None else f"bundle {_digits(revision)}"
