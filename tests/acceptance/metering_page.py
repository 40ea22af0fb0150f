"""docs/reference/metering.md: what the replay found, and the rules it holds to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any, Final

from tests.acceptance.exchanges import PATHS, ROOT, Exchange

PAGE: Final = ROOT / "docs" / "reference" / "metering.md"
_TEMPLATE: Final = Path(__file__).with_name("metering.template.md")

_ORACLES: Final = {
    "both_agree": "two independent parsers agree",
    "genai_prices_disagrees": "they disagree",
    "own_parse_only": "only one can read it",
    None: "it states no usage",
}


@dataclass(frozen=True, slots=True)
class Line:
    """One exchange as the page counts it."""

    exchange: Exchange
    refused: bool
    differs: bool
    estimated: bool
    stripped: bool
    """Whether a usage that we asked for was taken out again."""

    @property
    def kind(self) -> str:
        """The column of the first table."""
        if self.refused:
            return "refused"
        if self.exchange.expected is None:
            return "estimated" if self.estimated else "nothing owed"
        return "explained" if self.differs else "exact"


_KINDS: Final = ("exact", "explained", "estimated", "nothing owed", "refused")


def render(
    lines: Sequence[Line],
    differences: Mapping[str, Mapping[str, Any]],
    refusals: Mapping[str, Mapping[str, Any]],
) -> str:
    """The page.

    Args:
        lines: every exchange that was replayed.
        differences: reviewed, by exchange.
        refusals: reviewed, by exchange.
    """
    text = Template(_TEMPLATE.read_text()).substitute(
        counts=_counts(lines),
        dropped=sum(line.exchange.body is None for line in lines),
        bare=sum(line.exchange.request is None for line in lines),
        stripped=sum(line.stripped for line in lines),
        oracles=_by_oracle(lines),
        differences=_explained(differences),
        refusals=_refused(refusals),
    )
    return text.rstrip("\n") + "\n"


def _counts(lines: Sequence[Line]) -> str:
    found = Counter((line.exchange.wire, line.kind) for line in lines)
    rows = [
        [f"`{wire}`", *_cells([found[wire, kind] for kind in _KINDS])] for wire in PATHS
    ]
    sums = Counter(line.kind for line in lines)
    rows.append(["all", *_cells([sums[kind] for kind in _KINDS])])
    return _table(["wire", "replayed", *_KINDS], rows)


def _by_oracle(lines: Sequence[Line]) -> str:
    rows = []
    for oracle, words in _ORACLES.items():
        found = Counter(line.kind for line in lines if line.exchange.oracle == oracle)
        rows.append([words, *_cells([found[kind] for kind in _KINDS])])
    return _table(["expected metering", "replayed", *_KINDS], rows)


def _explained(differences: Mapping[str, Mapping[str, Any]]) -> str:
    by_reason: dict[str, list[list[str]]] = {}
    for name, entry in sorted(differences.items()):
        fields = "; ".join(
            f"`{field}`: expected {_shown(want)}, booked {_shown(got)}"
            for field, (want, got) in entry["differences"].items()
        )
        row = [f"`{name}`", f"`{entry['wire']}`", fields]
        by_reason.setdefault(entry["reason"], []).append(row)
    head = ["exchange", "wire", "difference"]
    return "\n".join(
        f"{reason}\n\n{_table(head, rows)}" for reason, rows in by_reason.items()
    )


def _refused(refusals: Mapping[str, Mapping[str, Any]]) -> str:
    rows = [
        [f"`{name}`", f"`{entry['wire']}`", f"`{entry['code']}`", entry["reason"]]
        for name, entry in sorted(refusals.items())
    ]
    return _table(["exchange", "wire", "code", "reason"], rows)


def _cells(counts: list[int]) -> list[str]:
    return [str(number) for number in (sum(counts), *counts)]


def _shown(value: object) -> str:
    return "none" if value is None else str(value)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
