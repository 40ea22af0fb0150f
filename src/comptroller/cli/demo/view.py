"""What the demo shows while it runs: tables on a terminal, lines elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

from rich.columns import Columns
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from comptroller.cli.demo.traffic import Score, quantile


def dollars(nano_usd: int) -> str:
    """An amount for people; never rounded to nothing."""
    return f"${nano_usd / 1e9:,.4f}"


class View:
    """Shows the state of play again and again; a context manager."""

    def __init__(self, console: Console, seconds: float) -> None:
        self._console = console
        self._seconds = seconds
        self._live: Live | None = None
        # A log wants a line now and then, not one a frame.
        self._line_every_s = max(1.0, min(5.0, seconds / 4))
        self._lined_s = self._line_every_s
        if console.is_terminal:
            self._live = Live(console=console, auto_refresh=False, transient=False)

    def __enter__(self) -> Self:
        """Begins."""
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Leaves the last state standing."""
        if self._live is not None:
            self._live.stop()

    def note(self, text: str) -> None:
        """Says something that stays above the tables."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def show(
        self,
        elapsed_s: float,
        scores: Mapping[str, Score],
        spend: Sequence[Mapping[str, Any]],
        *,
        is_last: bool = False,
    ) -> None:
        """Shows the scores of the clients, and the gateway's own books."""
        if self._live is not None:
            left = max(0.0, self._seconds - elapsed_s)
            title = Text(f"\n{left:3.0f} s to go", style="bold")
            tables = Columns([services_table(scores), spend_table(spend)], padding=3)
            shown: RenderableType = Group(title, tables)
            self._live.update(shown, refresh=True)
        elif is_last or elapsed_s >= self._lined_s:
            self._lined_s += self._line_every_s
            self.note(line(elapsed_s, scores, spend))


def line(
    elapsed_s: float,
    scores: Mapping[str, Score],
    spend: Sequence[Mapping[str, Any]],
) -> str:
    """The state of play in one line."""
    latencies = [one for score in scores.values() for one in score.first_byte_s]
    answered = sum(score.answered for score in scores.values())
    refused = sum(score.refused for score in scores.values())
    total = sum(row["cost_nano_usd"] for row in spend)
    by_owner = ", ".join(
        f"{row['key']} {dollars(row['cost_nano_usd'])}" for row in spend
    )
    return (
        f"{elapsed_s:4.0f} s  {answered} answered, {refused} refused"
        f"  first byte p50 {quantile(latencies, 0.5) * 1000:.0f} ms,"
        f" p95 {quantile(latencies, 0.95) * 1000:.0f} ms"
        f"  spend {dollars(total)}" + (f" ({by_owner})" if by_owner else "")
    )


def services_table(scores: Mapping[str, Score]) -> Table:
    """What the clients see, by service."""
    table = Table(title="Requests, as the clients see them", title_justify="left")
    table.add_column("service")
    for name in ("answered", "refused", "p50 ms", "p95 ms"):
        table.add_column(name, justify="right")
    for service, score in scores.items():
        latencies = list(score.first_byte_s)
        table.add_row(
            service,
            str(score.answered),
            Text(str(score.refused), style="red" if score.refused else ""),
            f"{quantile(latencies, 0.5) * 1000:.0f}",
            f"{quantile(latencies, 0.95) * 1000:.0f}",
        )
    return table


def spend_table(spend: Sequence[Mapping[str, Any]]) -> Table:
    """What the gateway booked, by billing owner."""
    table = Table(title="Spend by owner, as booked", title_justify="left")
    table.add_column("owner")
    table.add_column("requests", justify="right")
    table.add_column("spend", justify="right")
    for row in spend:
        table.add_row(row["key"], str(row["requests"]), dollars(row["cost_nano_usd"]))
    return table
