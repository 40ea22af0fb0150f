"""Wiring for commands: administration and answers, wherever they are performed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from comptroller.adapters.system import SystemClock
from comptroller.bootstrap.personal import disclosures_of_people_in
from comptroller.bootstrap.place import Place
from comptroller.core.errors import ControlUnavailableError, StoreUnavailableError

if TYPE_CHECKING:
    from comptroller.adapters.store.reports import SqliteReports
    from comptroller.core.registry import Registry
    from comptroller.engine.budgeting import Budgeting
    from comptroller.engine.commands import Act, Administrator, Result, Sync
    from comptroller.engine.control_auditing import ControlAuditing
    from comptroller.engine.identity import CredentialLine
    from comptroller.engine.reporting import Reporting

CONTROL_WAIT_S: Final = 10.0
"""How long a command waits for a control process that is starting."""
CONTROL_POLL_S: Final = 0.05
IN_FORCE_S: Final = 0.4
"""After this every worker has looked for a new snapshot, which it does every 200 ms
(gateway/worker.py), and has taken it."""


@contextmanager
def open_administrator(data: Path, by: str | None = None) -> Iterator[Administrator]:
    """Administration of a data directory, by whichever process may write it.

    The control lock is held for each act only, never while a person thinks.

    Args:
        data: the data directory; made at the first act.
        by: the declared person who acts, where one was named.
    """
    from comptroller.engine.commands import Administrator

    place = Place(data)
    yield Administrator(lambda command: _send(place, command), by)


def await_workers(data: Path) -> None:
    """Waits until every worker follows what was done, where a gateway serves.

    So a key works as soon as a person has read it, and not 200 ms later. What tells
    whether a gateway serves is its workers' journals: a control process may be
    starting, and the act then was the command's own.
    """
    from comptroller.adapters.journal.reader import DirectoryJournalReader
    from comptroller.engine.projection import is_administrative

    with closing(DirectoryJournalReader(Place(data).journal)) as reader:
        workers = [one for one in reader.sources() if not is_administrative(one)]
        if not all(reader.is_dead(one) for one in reversed(workers)):
            time.sleep(IN_FORCE_S)


@contextmanager
def open_reports(data: Path) -> Iterator[SqliteReports]:
    """The store to read from, with everything in it that is recorded by now.

    Raises:
        StoreUnavailableError: nothing was ever applied there.
        ControlUnavailableError: a control process is there and does not answer.
    """
    from comptroller.adapters.store.reports import SqliteReports
    from comptroller.engine.commands import Sync

    place = Place(data)
    if not place.store.exists():
        raise StoreUnavailableError(
            f"there is nothing in {data} yet: apply a configuration first, or name"
            " another directory with --data"
        )
    _send(place, Sync())
    with closing(SqliteReports.open(place.store)) as reports:
        yield reports


@contextmanager
def open_reporting(data: Path) -> Iterator[Reporting]:
    """The answers to questions, from a fresh store.

    Raises:
        StoreUnavailableError: nothing was ever applied there.
        ControlUnavailableError: a control process is there and does not answer.
    """
    from comptroller.adapters.prices.archive import CardArchive
    from comptroller.adapters.tlog.finding import TrailFinder
    from comptroller.bootstrap.pruned import why_pruned
    from comptroller.bootstrap.recorded import open_recorded
    from comptroller.engine.reporting import Reporting, ReportingParts

    place = Place(data)
    with open_reports(data) as reports, open_recorded(place, reports) as journals:
        cards = CardArchive(place.cards)
        trail = TrailFinder(place.trail, place.trail_places, place.trail_witnessed)
        people = disclosures_of_people_in(place)
        why = partial(why_pruned, place, reports, journals)
        parts = (reports, journals, cards, SystemClock(), people, trail, why)
        yield Reporting(ReportingParts(*parts))


@contextmanager
def open_budgeting(data: Path) -> Iterator[Budgeting]:
    """What is left of every limit, from a fresh store.

    Raises:
        StoreUnavailableError: nothing was ever applied there.
        ControlUnavailableError: a control process is there and does not answer.
    """
    from comptroller.adapters.store.ledger import SqliteLedger
    from comptroller.engine.budgeting import Budgeting

    with (
        open_reports(data) as reports,
        closing(SqliteLedger.open(Place(data).store)) as ledger,
    ):
        yield Budgeting(reports, ledger, SystemClock())


@contextmanager
def open_control_auditing(data: Path) -> Iterator[ControlAuditing]:
    """The answers to which controls were active, from a fresh store.

    Raises:
        StoreUnavailableError: nothing was ever applied there.
        ControlUnavailableError: a control process is there and does not answer.
    """
    from comptroller.adapters.policy.archive import PolicyArchive
    from comptroller.adapters.store.controls import SqliteControls
    from comptroller.adapters.tlog.entries import TrailEntries
    from comptroller.bootstrap.recorded import open_recorded
    from comptroller.engine.control_auditing import ControlAuditing, Parts

    place = Place(data)
    with (
        open_reports(data) as reports,
        open_recorded(place, reports) as journals,
        closing(SqliteControls.open(place.store)) as controls,
    ):
        archive = PolicyArchive(place.policies)
        trail = TrailEntries(place.trail, place.trail_places, place.trail_witnessed)
        parts = Parts(reports, controls, journals, archive, SystemClock(), trail)
        yield ControlAuditing(parts)


def applied_registry(data: Path) -> tuple[Registry | None, int]:
    """What is applied and its revision; None and 0 where nothing ever was.

    Raises:
        ControlUnavailableError: a control process is there and does not answer.
    """
    from comptroller.engine.registry_fold import fold

    if not Place(data).store.exists():
        return None, 0
    with open_reports(data) as reports:
        people = disclosures_of_people_in(Place(data))()
        return fold(reports.registry_objects(), people), reports.revision()


def credential_list(data: Path) -> list[CredentialLine]:
    """Every credential ever issued, oldest first, with what it is now.

    Raises:
        StoreUnavailableError: nothing was ever applied there.
        ControlUnavailableError: a control process is there and does not answer.
    """
    from comptroller.engine.identity import credential_lines
    from comptroller.engine.registry_fold import fold

    with open_reports(data) as reports:
        registry = fold(reports.registry_objects())
        now_ns = SystemClock().now_ns()
        return credential_lines(reports.credentials(), registry, now_ns)


def credential_warnings(data: Path, after: Registry) -> list[str]:
    """What a configuration would do to the credentials of a data directory.

    Raises:
        ControlUnavailableError: a control process is there and does not answer.
    """
    from comptroller.engine import planning

    if not Place(data).store.exists():
        return []
    return planning.credential_warnings(credential_list(data), after)


def budget_warnings(data: Path, after: Registry) -> list[str]:
    """What a configuration would make stop for want of money.

    Raises:
        ControlUnavailableError: a control process is there and does not answer.
    """
    if not Place(data).store.exists():
        return []
    with open_budgeting(data) as budgeting:
        return budgeting.warnings(after)


def price_warnings(registry: Registry) -> list[str]:
    """What is doubtful about the prices of a configuration, in words."""
    from comptroller.adapters.prices import compile_card

    compiled = compile_card(registry, SystemClock().now_ns())
    return [f"{warning.subject}: {warning.message}" for warning in compiled.warnings]


def _send(place: Place, command: Act | Sync) -> Result:
    """Performs a command here, or has the control process perform it."""
    from comptroller.adapters.control import ControlClient, ControlLock
    from comptroller.engine.commands import decode_reply

    place.prepare()
    lock, client = ControlLock(place.lock), ControlClient(place.socket)
    deadline_s = time.monotonic() + CONTROL_WAIT_S
    while True:
        if lock.take():
            from comptroller.bootstrap.site import Site

            try:
                with Site.open(place, "cli") as site:
                    return site.perform(command)
            finally:
                lock.release()
        answer = client.ask(msgspec.json.encode(command))
        if answer is not None:
            return decode_reply(command, answer)
        if time.monotonic() > deadline_s:
            raise ControlUnavailableError(
                f"a process holds {place.lock} and does not answer at"
                f" {place.socket}; nothing was done: try again, or look whether"
                " comptroller serve runs"
            )
        time.sleep(CONTROL_POLL_S)
