"""Bundles in files, as commands name and read them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeAlias

import typer

from comptroller.cli.tables import json_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from comptroller.core.policy.bundle import Bundle
    from comptroller.core.problem import Problem

PATH_DEFAULT: Final = Path("policy")

Paths: TypeAlias = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="PATH",
        help="Files *.policy.yaml and *.policy_test.yaml, or folders of them."
        " [default: policy]",
        show_default=False,
    ),
]


def read(paths: list[Path] | None) -> Bundle:
    """The bundle in files, with its problems."""
    from comptroller.bootstrap.policies import read_bundle

    return read_bundle(paths or [PATH_DEFAULT])


def valid(bundle: Bundle, *, as_json: bool) -> Bundle:
    """The bundle, if it has no problems; else says them and exits."""
    if bundle.policy is not None:
        return bundle
    if as_json:
        message = "\n".join(str(one) for one in bundle.problems)
        problems = described(bundle)["problems"]
        error = {"code": "policy_invalid", "message": message, "problems": problems}
        typer.echo(json_text({"error": error}), err=True)
    else:
        print_problems(bundle, err=True)
    raise typer.Exit(1)


def print_problems(bundle: Bundle, *, err: bool) -> None:
    """Prints what is wrong with a bundle."""
    for problem in bundle.problems:
        typer.echo(str(problem), err=err)
    count = len(bundle.problems)
    typer.echo(f"{count} problem{'s' if count != 1 else ''}.", err=err)


def described(bundle: Bundle) -> dict[str, Any]:
    """A bundle as JSON: whether it is valid, and why not."""
    return {
        "valid": bundle.policy is not None,
        "files": list(bundle.files),
        "revision": bundle.revision,
        "problems": problem_documents(bundle.problems),
    }


def problem_documents(problems: Sequence[Problem]) -> list[dict[str, Any]]:
    """Problems as JSON."""
    return [
        {**one.as_dict(), "excerpt": one.excerpt[0] if one.excerpt else None}
        for one in problems
    ]
