"""Overshoot: a limit with room for exactly 10 requests, and 200 of them at once.

Real gateways of 1, 2 and 4 workers with real sockets, and the simulated provider,
whose own books say how many requests reached it and what it bills. Every cell has a
service, and so limits, of its own; the gateways take turns at each cell.

The room is 10 times what the provider bills for one request, to the nano-dollar (of
money) or to the token. The gateway does not know that bill before; what it holds is
more. So beside "never 11", what is measured is how many of the 10 got through: in the
burst, and at the end, when one client after another has asked again.
Prints Markdown; exits 1 when an eleventh request passed anywhere.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import holding
from run import machine

from comptroller.bootstrap import open_administrator
from comptroller.testing.burst import Answered, Asked, counted, fire_all
from comptroller.testing.limited import (
    LimitedSite,
    Limits,
    bill_nano_usd,
    one_unit,
    service,
    usd,
)
from comptroller.testing.provider.process import running_provider

ROOM = 10
AT_ONCE = 200
PARALLEL = 5
WORKERS = (1, 2, 4)
DELAYS_MS = (0, 50, 500)
AGAIN_MAX = 40
"""How often it is asked again after the burst, one request at a time."""
AGAIN_AFTER_S = 0.25
"""After a refusal; what requests did not use is free again a moment after they end."""
AGAIN_ENOUGH = 2
"""Refusals one after the other after which nothing more is to be had."""
OUTPUT = 50
WORDS = 40
"""The prompt is "hello there, " so many times: 520 bytes."""
COUNTED = "gpt-4o-mini"
"""A model whose tokenizer is declared, as in the tests of other gateways."""
UNCOUNTED = "house"
"""A model whose prompts are bounded by their bytes."""
BILLED_INPUT = 128
"""What its provider bills for that prompt by its own tokenizer, seven tokens of chat
template included."""


class Cell(NamedTuple):
    """One experiment."""

    limit: str
    """One of LIMITS."""
    has_maximum: bool
    """Whether the client sends `max_tokens`, as much as is generated."""
    is_stream: bool
    delay_ms: int
    billed_input: int = BILLED_INPUT
    """Prompt tokens on the provider's bill."""
    model: str = COUNTED

    @property
    def name(self) -> str:
        """Of its service."""
        stream = "stream" if self.is_stream else "json"
        maximum = "max" if self.has_maximum else "open"
        kind = f"{self.limit}-{maximum}-{stream}-{self.delay_ms}"
        return f"{kind}-{self.billed_input}-{self.model}"

    @property
    def tokens(self) -> int:
        """What one request uses."""
        return self.billed_input + OUTPUT

    @property
    def bill_nano_usd(self) -> int:
        """What one request costs."""
        line = {"input": self.billed_input, "output": OUTPUT}
        return bill_nano_usd({"bill": {self.model: line}})

    @property
    def amount(self) -> str:
        """The budget."""
        return usd(ROOM * self.bill_nano_usd)

    @property
    def room(self) -> int:
        """How many may pass; of concurrency, how many at the same time."""
        return PARALLEL if self.limit == "concurrency" else ROOM

    def declared(self) -> dict[str, Any]:
        """Its service in the configuration."""
        limits: dict[str, Any] = {}
        match self.limit:
            case "requests":
                limits["limits"] = {"requests": f"{ROOM}/minute"}
            case "tokens":
                limits["limits"] = {"tokens": f"{ROOM * self.tokens}/minute"}
            case "concurrency":
                limits["limits"] = {"concurrency": PARALLEL}
            case "clamp":
                limits["budget"] = {"limit": self.amount, "on_shortfall": "clamp"}
            case "ceiling":
                limits["budget"] = self.amount
                limits["limits"] = {"output_tokens": OUTPUT}
            case _:
                limits["budget"] = self.amount
        return service(models=[self.model], **limits)

    def asked(self, key: str, number: int, delay_ms: int) -> Asked:
        """One of its requests."""
        content = "hello there, " * WORDS
        body: dict[str, Any] = {
            "model": self.model,
            "messages": [{"role": "user", "content": content}],
        }
        if self.has_maximum:
            body["max_tokens"] = OUTPUT
        if self.is_stream:
            body["stream"] = True
        simulate = f"input={self.billed_input}, output={OUTPUT}, first_ms={delay_ms}"
        return Asked(key, body, f"{self.name}/{number}", simulate)


class Found(NamedTuple):
    """What became of a cell on one gateway."""

    burst: int
    """Requests that reached the provider; of concurrency, at the same time."""
    end: int
    """Likewise, after it was asked again."""
    share: float
    """Of the room: what the provider bills, or tokens, or requests; at the end. Below
    0: there is none."""
    answers: Counter[str]
    seconds: float


class Gateway(NamedTuple):
    """A running gateway."""

    workers: int
    site: LimitedSite
    keys: Mapping[str, str]


@contextmanager
def gateways(cells: list[Cell], root: Path) -> Iterator[list[Gateway]]:
    """One gateway for every number of workers, each with its own provider."""
    with ExitStack() as stack:
        found = []
        for workers in WORKERS:
            origin = stack.enter_context(running_provider())
            folder = root / f"workers-{workers}"
            folder.mkdir()
            site = LimitedSite(folder, origin)
            services = {cell.name: cell.declared() for cell in cells}
            limits = Limits(models={COUNTED: {"tokenizer": "o200k_base"}})
            site.apply(one_unit(services), limits)
            # By the same act as the command, without a process for each.
            with open_administrator(site.data) as administrator:
                keys = {n: administrator.issue(n, "ada", None).secret for n in services}
            site.start(workers)
            stack.callback(site.stop)
            found.append(Gateway(workers, site, keys))
        yield found


async def run_cell(cell: Cell, gateway: Gateway) -> Found:
    """The burst, and then one request after the other until nothing more passes."""
    key, site = gateway.keys[cell.name], gateway.site
    began_s = time.monotonic()
    burst = [cell.asked(key, number, cell.delay_ms) for number in range(AT_ONCE)]
    answers = await fire_all(site.port, burst)
    seconds = time.monotonic() - began_s
    books = site.groups().get(cell.name, {"requests": 0, "most_under_way": 0})
    reached = books["requests"]
    if cell.limit == "concurrency":
        most = books["most_under_way"]
        return Found(most, most, -1, counted(answers), seconds)
    refused = 0
    for number in range(AT_ONCE, AT_ONCE + AGAIN_MAX):
        again: list[Answered] = await fire_all(site.port, [cell.asked(key, number, 0)])
        answers += again
        refused = 0 if again[0].status == 200 else refused + 1
        if refused == AGAIN_ENOUGH:
            break
        if refused:
            await asyncio.sleep(AGAIN_AFTER_S)
    books = site.groups().get(cell.name, {"requests": 0, "bill": {}})
    end = books["requests"]
    share = end / ROOM
    if cell.limit in BUDGETS:
        share = bill_nano_usd(books) / (ROOM * cell.bill_nano_usd)
    return Found(reached, end, share, counted(answers), seconds)


LIMITS = {
    "refuse": "money",
    "ceiling": f"money, and the service's `output_tokens: {OUTPUT}`",
    "clamp": "money, `on_shortfall: clamp`",
    "requests": f"requests, {ROOM}/minute",
    "tokens": "tokens for 10 in a minute",
    "concurrency": f"requests at the same time, {PARALLEL}",
}
BUDGETS = ("refuse", "ceiling", "clamp")
BEYOND = {
    (UNCOUNTED, BILLED_INPUT): "what the prompt has; it is bounded by its bytes",
    (UNCOUNTED, 4 * BILLED_INPUT): "4 times that, less than its bytes",
    (COUNTED, 4 * BILLED_INPUT): "4 times what its own tokenizer counts",
    (UNCOUNTED, 40 * BILLED_INPUT): "40 times that, more than its bytes",
}
"""Prompt tokens that a provider bills although the prompt may not have them."""
UNBOUNDED = {(COUNTED, 4 * BILLED_INPUT), (UNCOUNTED, 40 * BILLED_INPUT)}
"""More than any bound that can be known: what passes is counted, and not judged."""


def all_cells() -> list[Cell]:
    """Every experiment."""
    each = itertools.product(LIMITS, (True, False), (False, True), DELAYS_MS)
    cells = [Cell(*one) for one in each]
    beyond = itertools.product(BEYOND, (False, True), DELAYS_MS)
    for (model, billed), is_stream, delay_ms in beyond:
        sent = Cell("refuse", has_maximum=True, is_stream=is_stream, delay_ms=delay_ms)
        cells.append(sent._replace(billed_input=billed, model=model))
    return cells


def is_beyond(cell: Cell) -> bool:
    """Whether its provider is another than the one of the first tables."""
    return (cell.model, cell.billed_input) in BEYOND


def is_bounded(cell: Cell) -> bool:
    """Whether its provider bills no more than can be known before."""
    return (cell.model, cell.billed_input) not in UNBOUNDED


def verdict(cell: Cell, found: Found) -> str:
    """What is wrong with a cell; empty: nothing is."""
    # A bucket of requests or tokens refills while a cell runs, which takes seconds.
    is_rate = cell.limit in {"requests", "tokens"}
    refilled = int(ROOM * found.seconds / 60) if is_rate else 0
    if found.end > cell.room + refilled and is_bounded(cell):
        return f"{found.end} of {cell.room} passed"
    if found.answers["0 hung"] or found.answers["0 broken"]:
        return "requests without an answer"
    return ""


def show(cells: Mapping[Cell, Mapping[int, Found]]) -> None:
    """Prints tables: a row for what varies, a column for every gateway."""
    headings = " 1 worker | 2 workers | 4 workers |"
    for limit, what in LIMITS.items():
        print(f"\n### {what}\n")
        print(f"| `max_tokens` | reply | delay, ms |{headings}")
        print("|---|---|---|" + "---|" * len(WORKERS))
        for cell, found in cells.items():
            if cell.limit == limit and not is_beyond(cell):
                maximum = "sent" if cell.has_maximum else "not sent"
                reply = "stream" if cell.is_stream else "JSON"
                columns = "".join(f" {said(found[w])} |" for w in WORKERS)
                print(f"| {maximum} | {reply} | {cell.delay_ms} |{columns}")
    print("\n### money, and what the provider bills\n")
    print(f"| prompt tokens on the bill | reply | delay, ms |{headings}")
    print("|---|---|---|" + "---|" * len(WORKERS))
    for cell, found in cells.items():
        if is_beyond(cell):
            reply = "stream" if cell.is_stream else "JSON"
            columns = "".join(f" {said(found[w])} |" for w in WORKERS)
            billed = BEYOND[cell.model, cell.billed_input]
            print(f"| {billed} | {reply} | {cell.delay_ms} |{columns}")


def said(found: Found) -> str:
    """One figure of a table."""
    if found.share < 0:
        return str(found.burst)
    if found.burst == found.end:
        return f"{found.burst} ({found.share:.0%})"
    return f"{found.burst} → {found.end} ({found.share:.0%})"


def incidents(gateway: Gateway, cells: list[Cell]) -> str:
    """What became of what was billed beyond its bound: the books say so."""
    rows, groups = gateway.site.budgets(), gateway.site.groups()
    over, true = 0, 0
    for cell in cells:
        if not is_bounded(cell):
            over += rows[f"service:{cell.name}/total"]["over_nano_usd"]
            billed = bill_nano_usd(groups[cell.name])
            true += max(0, billed - ROOM * cell.bill_nano_usd)
    agree = "as the provider bills" if over == true else "NOT what the provider bills"
    return (
        f"{gateway.workers} workers: budgets over their limit in `budget list` by"
        f" {over / 10**9:.6f} USD, {agree}; contradictions in `audit books`:"
        f" {len(gateway.site.contradictions())}"
    )


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="cells whose name has this")
    told = parser.parse_args()
    cells = [cell for cell in all_cells() if told.only in cell.name]
    if not cells:
        kinds = sorted({cell.name for cell in all_cells() if not cell.delay_ms})
        names = ", ".join(kinds[::6])
        parser.error(f"no cell's name has {told.only!r}; names are like {names}")
    print(f"on {machine()}\n")
    holding.report()
    wrong: list[str] = []
    began_s = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="comptroller-limits-") as root,
        gateways(cells, Path(root)) as running,
    ):
        table: dict[Cell, dict[int, Found]] = {}
        for cell in cells:
            row = table.setdefault(cell, {})
            for gateway in running:
                found = asyncio.run(run_cell(cell, gateway))
                row[gateway.workers] = found
                said_of = f"{cell.name}, {gateway.workers} workers"
                print(
                    f"{said_of}: {said(found)} in {found.seconds:.1f} s,"
                    f" {dict(found.answers)}",
                    file=sys.stderr,
                )
                if reason := verdict(cell, found):
                    wrong.append(f"{said_of}: {reason}")
        show(table)
        print()
        for gateway in running:
            print(incidents(gateway, cells))
    print(f"\n{len(cells)} cells x {len(WORKERS)}, {time.monotonic() - began_s:.0f} s")
    for line in wrong:
        print(f"FAIL {line}")
    if wrong:
        raise SystemExit(1)
    print(f"never more than {ROOM} passed, and never more than {PARALLEL} at once")


if __name__ == "__main__":
    main()
