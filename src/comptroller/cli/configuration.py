"""Configuration as code: `comptroller init`, `check`, `schema`, `plan`, `apply`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from comptroller.cli import options
from comptroller.cli.tables import json_text

if TYPE_CHECKING:
    from comptroller.adapters.configfile.reading import Configuration
    from comptroller.core.registry import Registry
    from comptroller.engine.planning import Plan


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command("init")(init)
    app.command("check")(check)
    app.command("schema")(schema)
    app.command("plan")(plan)
    app.command("apply")(apply)


def init(config: options.Config = None, *, as_json: options.Json = False) -> None:
    """Write a commented configuration file to start from."""
    from comptroller.adapters.configfile import starter

    paths = options.config_paths(config)
    for path in paths:
        starter.write_starter(path)
    if as_json:
        _print_json({"written": [str(path) for path in paths]})
        return
    for path in paths:
        typer.echo(f"{path} is written. Replace the example people, then:")
        typer.echo("  comptroller check    is it valid?")
        typer.echo("  comptroller plan     what would it change?")
        typer.echo("  comptroller apply    make it take effect")


def check(config: options.Config = None, *, as_json: options.Json = False) -> None:
    """Check the configuration; report every problem with its place."""
    from comptroller.bootstrap import price_warnings

    found = _read(config)
    warnings = price_warnings(found.registry) if found.registry else []
    if as_json:
        problems = [one.as_dict() for one in found.problems]
        _print_json(
            {
                "valid": found.registry is not None,
                "files": found.files,
                "digest": found.digest,
                "problems": problems,
                "warnings": warnings,
            }
        )
    elif found.registry is not None:
        for warning in warnings:
            typer.echo(f"warning: {warning}")
        typer.echo(f"{', '.join(found.files)}: valid ({_contents(found.registry)})")
    else:
        _print_problems(found, err=False)
    if found.registry is None:
        raise typer.Exit(1)


def schema() -> None:
    """Print the JSON Schema of the configuration file, for editors."""
    from comptroller.adapters.configfile import document

    _print_json(document.json_schema())


def plan(
    config: options.Config = None,
    data: options.Data = options.DATA_DEFAULT,
    *,
    as_json: options.Json = False,
) -> None:
    """Show what the configuration would change, and who answers."""
    _, made = _plan(config, data, as_json=as_json)
    if as_json:
        _print_json({**made.as_dict(), "warnings": _warnings(made, data)})
    else:
        _print_plan(made, data)


def apply(
    config: options.Config = None,
    data: options.Data = options.DATA_DEFAULT,
    by: options.By = None,
    *,
    yes: Annotated[
        bool, typer.Option("--yes", help="Do not ask, even on a terminal.")
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Make the configuration take effect, and record who did it."""
    from comptroller.bootstrap import open_administrator

    found, made = _plan(config, data, as_json=as_json)
    if not as_json:
        _print_plan(made, data)
    if not made.changes:
        if as_json:
            _print_json({"revision": made.revision, "changes": 0})
        return
    if not yes and sys.stdin.isatty() and not typer.confirm("Apply?", err=True):
        typer.echo("Nothing was applied.", err=True)
        raise typer.Exit(1)
    with open_administrator(data, by) as administrator:
        result = administrator.apply(made.after, found.digest, made.revision)
    if as_json:
        _print_json({"revision": result.revision, "changes": result.changes})
    else:
        typer.echo(f"Applied as revision {result.revision}.")


def _plan(
    config: list[Path] | None, data: Path, *, as_json: bool
) -> tuple[Configuration, Plan]:
    """Reads the configuration and compares it with what is applied."""
    from comptroller.bootstrap import applied_registry
    from comptroller.engine.planning import make_plan

    found = _read(config)
    if found.registry is None:
        if as_json:
            _print_refusal(found)
        else:
            _print_problems(found, err=True)
        raise typer.Exit(1)
    applied, revision = applied_registry(data)
    return found, make_plan(applied, revision, found.registry)


def _read(config: list[Path] | None) -> Configuration:
    from comptroller.adapters.configfile import reading

    return reading.read_configuration(options.config_paths(config))


def _warnings(made: Plan, data: Path) -> list[str]:
    from comptroller.bootstrap import (
        budget_warnings,
        credential_warnings,
        price_warnings,
    )

    # Nothing new needs no second look, and the catalogue takes a while to load.
    if not made.changes:
        return []
    return [
        *price_warnings(made.after),
        *credential_warnings(data, made.after),
        *budget_warnings(data, made.after),
    ]


def _print_plan(made: Plan, data: Path) -> None:
    if not made.changes:
        typer.echo(f"Nothing to change: revision {made.revision} says this already.")
        return
    for line in made.in_words():
        typer.echo(line)
    answering = made.answering()
    if answering:
        typer.echo("\nWho answers for what this touches:")
        for line in answering:
            typer.echo(f"  {line}")
    for warning in _warnings(made, data):
        typer.echo(f"\nwarning: {warning}")
    since = f"revision {made.revision}" if made.revision else "nothing applied yet"
    typer.echo(f"\n{made.counts()}, compared with {since}.")


def _print_problems(found: Configuration, *, err: bool) -> None:
    for problem in found.problems:
        typer.echo(str(problem), err=err)
    count = len(found.problems)
    typer.echo(f"{count} problem{'s' if count != 1 else ''}.", err=err)


def _print_refusal(found: Configuration) -> None:
    problems = [one.as_dict() for one in found.problems]
    message = "\n".join(str(one) for one in found.problems)
    error = {"code": "configuration", "message": message, "problems": problems}
    typer.echo(json_text({"error": error}), err=True)


def _print_json(document: dict[str, Any]) -> None:
    typer.echo(json_text(document, indent=2))


def _contents(registry: Registry) -> str:
    counted = {
        "people": len(registry.people),
        "providers": len(registry.providers),
        "models": len(registry.models),
        "units": len(registry.units),
        "services": len(registry.services),
    }
    singular = {"people": "person"}
    return ", ".join(
        f"{count} {name if count != 1 else singular.get(name, name.removesuffix('s'))}"
        for name, count in counted.items()
    )
