"""`comptroller budget …`: what is left of every limit; and `comptroller audit`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, TypeAlias

import typer

from comptroller.cli import audit_controls, options
from comptroller.cli.audit import add_commands
from comptroller.cli.tables import json_text, print_page, print_table
from comptroller.core.errors import InvalidArgumentError
from comptroller.core.money import usd
from comptroller.core.quantities import QuantityError, spent_usd

if TYPE_CHECKING:  # --help must not load the engine: each command loads its own part
    from comptroller.engine.budgeting import Budgeting

OpenBudgeting: TypeAlias = "Callable[[Path], AbstractContextManager[Budgeting]]"
"""Opens a data directory for reading, after everything recorded was projected."""

LIMIT_DEFAULT: Final = 1000


def register(app: typer.Typer, open_budgeting: OpenBudgeting | None = None) -> None:
    """Adds the commands.

    Args:
        app: the command line.
        open_budgeting: None: as bootstrap wires it, loaded when a command runs.
    """
    opener = open_budgeting or _open
    budget = _group("Show what is left of every budget, and settle suspense.")
    budget.command("list")(_list(opener))
    budget.command("show")(_show(opener))
    suspense = _group("What lost processes may have spent, until a person says.")
    suspense.command("list")(_suspense(opener))
    suspense.command("settle")(settle)
    budget.add_typer(suspense, name="suspense")
    app.add_typer(budget, name="budget")
    audit = _group("Check the books against the records, and prove the records.")
    audit.command("books")(_books(opener))
    audit_controls.add_to(audit)
    add_commands(audit)
    app.add_typer(audit, name="audit")


def _group(about: str) -> typer.Typer:
    return typer.Typer(help=about, no_args_is_help=True, rich_markup_mode=None)


def _open(data: Path) -> AbstractContextManager[Budgeting]:
    from comptroller import bootstrap

    return bootstrap.open_budgeting(data)


def _list(opener: OpenBudgeting) -> Callable[..., None]:
    def list_budgets(
        data: options.Data = options.DATA_DEFAULT,
        limit: Annotated[
            int, typer.Option("--limit", min=1, help="At most so many; runs come last.")
        ] = LIMIT_DEFAULT,
        *,
        parallel: Annotated[
            bool,
            typer.Option(
                "--parallel", help="Limits on requests at the same time, too."
            ),
        ] = False,
        as_json: options.Json = False,
    ) -> None:
        """List every budget: limit, spent, held, left, forecast."""
        from comptroller.cli.budget_pages import budget_notes, budget_rows

        with opener(data) as budgeting:
            found = budgeting.budgets(limit, with_parallel=parallel)
        if found.is_cut:
            typer.echo(f"Only {limit} are shown; --limit N shows more.", err=True)
        if as_json:
            typer.echo(json_text(found.rows))
            return
        if not found.rows:
            typer.echo("No budget is declared.")
            return
        print_table(*budget_rows(found.rows))
        for note in budget_notes(found.rows):
            typer.echo(note)

    return list_budgets


def _show(opener: OpenBudgeting) -> Callable[..., None]:
    def show(
        what: Annotated[
            str,
            typer.Argument(
                metavar="BUDGET",
                help="As list shows it (service:checkout/month), a scope"
                " (service:checkout, or just checkout), or one of its accounts"
                " (service:checkout/month@2026-11).",
            ),
        ],
        data: options.Data = options.DATA_DEFAULT,
        *,
        as_json: options.Json = False,
    ) -> None:
        """Show a budget with its leases, alerts and owner."""
        from comptroller.cli.budget_pages import budget_lines

        with opener(data) as budgeting:
            found = budgeting.show(what)
        lines = chain.from_iterable(map(budget_lines, found))
        print_page(found, lines, as_json=as_json)

    return show


def _suspense(opener: OpenBudgeting) -> Callable[..., None]:
    def list_suspense(
        data: options.Data = options.DATA_DEFAULT, *, as_json: options.Json = False
    ) -> None:
        """List what counts as spent because its process is lost."""
        from comptroller.cli.budget_pages import suspense_rows

        with opener(data) as budgeting:
            found = budgeting.suspense()
        if as_json:
            typer.echo(json_text(found))
        elif found:
            print_table(*suspense_rows(found))
        else:
            typer.echo("Nothing is in suspense.")

    return list_suspense


def settle(
    holder: Annotated[
        str, typer.Argument(metavar="HOLDER", help="The lost process, as list shows.")
    ],
    account: Annotated[
        str, typer.Argument(metavar="ACCOUNT", help="Of which it held a lease.")
    ],
    spent: Annotated[
        str,
        typer.Option(
            metavar="AMOUNT", help="What it did spend, such as '1.25 USD' or 0."
        ),
    ],
    by: Annotated[
        str,
        typer.Option(metavar="PERSON", help="The declared person who says so."),
    ],
    reason: Annotated[str, typer.Option(metavar="TEXT", help="How they know.")],
    data: options.Data = options.DATA_DEFAULT,
    *,
    as_json: options.Json = False,
) -> None:
    """Say what a lost process did spend; the rest is free again."""
    from comptroller.bootstrap import open_administrator

    try:
        amount = spent_usd(spent)
    except QuantityError as error:
        raise InvalidArgumentError(f"--spent: {error}") from error
    with open_administrator(data, by) as administrator:
        ended = administrator.settle_suspense(holder, account, amount, reason)
    if as_json:
        document = {
            "holder": ended.holder,
            "account": ended.account,
            "spent_nano_usd": ended.spent_nano_usd,
            "freed_nano_usd": ended.freed_nano_usd,
        }
        typer.echo(json_text(document, indent=2))
    elif ended.account.endswith("/parallel@now"):
        typer.echo(f"Settled: {ended.freed_nano_usd} more may be under way again.")
    else:
        typer.echo(
            f"Settled: {usd(ended.spent_nano_usd, 9)} USD are spent,"
            f" {usd(ended.freed_nano_usd, 9)} USD are free again."
        )


def _books(opener: OpenBudgeting) -> Callable[..., None]:
    def books(
        data: options.Data = options.DATA_DEFAULT, *, as_json: options.Json = False
    ) -> None:
        """Work every account out anew from all requests; fail if one differs."""
        with opener(data) as budgeting:
            found = list(budgeting.contradictions())
        if as_json:
            typer.echo(json_text({"balanced": not found, "contradictions": found}))
        elif found:
            for line in found:
                typer.echo(line)
            typer.echo(f"The books do not balance: {len(found)} contradictions.")
        else:
            typer.echo("The books balance.")
        if found:
            raise typer.Exit(1)

    return books
