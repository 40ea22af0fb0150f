"""Wiring of `comptroller audit prune` and `legal-hold list`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from comptroller.adapters.tlog.finding import TrailFinder
from comptroller.adapters.tlog.reader import TreeReader
from comptroller.bootstrap.administering import open_reports
from comptroller.bootstrap.place import Place
from comptroller.engine.legal_holds import check_no_legal_hold
from comptroller.engine.retention import KEPT, Going, Left, minimum_index
from comptroller.engine.retention_ports import LegalHoldRow


class Planned(NamedTuple):
    """What a pruning would do."""

    going: Going
    oldest_ns: int | None
    """When the oldest of what is left was recorded, as far as that is known; looked
    up only where nothing would go."""


def plan_pruning(data: Path, below: int | None, before_ns: int = 0) -> Planned:
    """Looks at what would go; takes half a second for 100,000 records.

    Args:
        data: the data directory.
        below: index of the first entry that is to stay; None: a time is said.
        before_ns: everything that goes is to be older.

    Raises:
        LegalHoldError: a legal hold is in force.
        InvalidArgumentError: a bundle would be cut in two.
        ConflictError: it was pruned as far before, or is more than is published.
        StoreUnavailableError: nothing was ever applied there.
        ControlUnavailableError: a control process is there and does not answer.
        TrailDamagedError: a file is missing, or not what was written.
        TrailUnavailableError: a file cannot be read.
    """
    place = Place(data)
    with open_reports(data) as reports:
        check_no_legal_hold(reports, KEPT)
        before = minimum_index(reports)
    published = TrailFinder(place.trail, place.trail_places).published()
    size = 0 if published is None else published.size
    left = Left(TreeReader(place.trail, size).bundle, before, size)
    going = left.older_than(before_ns) if below is None else left.below(below)
    return Planned(going, None if going.records else left.oldest_ns())


def legal_holds(data: Path) -> Sequence[LegalHoldRow]:
    """Every legal hold ever placed, oldest first.

    Raises:
        StoreUnavailableError: nothing was ever applied there.
        ControlUnavailableError: a control process is there and does not answer.
    """
    with open_reports(data) as reports:
        return reports.legal_holds()
