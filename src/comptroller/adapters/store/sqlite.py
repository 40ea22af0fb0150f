"""The store on SQLite; the control process alone writes it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from sqlalchemy import Connection, case, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from comptroller.adapters.store import schema
from comptroller.adapters.store.acts import project_acts
from comptroller.adapters.store.connecting import translated, writing_engine
from comptroller.adapters.store.controls import project_signs
from comptroller.adapters.store.ledger import SqliteLedger
from comptroller.adapters.store.objects import SqliteObjects
from comptroller.adapters.store.policies import project_policies
from comptroller.adapters.store.reports import SqliteReports
from comptroller.adapters.store.requests import Writing, project_requests
from comptroller.adapters.store.shelf import SqliteShelf
from comptroller.core.books import AccountState, LeaseState
from comptroller.core.errors import RecordError
from comptroller.engine.bookkeeping import Bookkeeping
from comptroller.engine.deletion_ports import DeletedJournal
from comptroller.engine.fold import Conflict, fold, hold_usage
from comptroller.engine.ledger_rows import (
    AdmissionRow,
    AlertRow,
    ExcessRow,
    HolderRow,
    IncidentRow,
    SettlementRow,
)
from comptroller.engine.objects import Owned
from comptroller.engine.policy_ports import ActivationRow, PolicyLoadRow, PolicyRow
from comptroller.engine.ports import (
    CredentialRow,
    JournalPosition,
    JournalRecord,
    OpenRequest,
    RegistryObject,
    RequestQuery,
    RequestRow,
    SpendRow,
)
from comptroller.engine.retention_ports import LegalHoldRow, PruningRow


class SqliteStore:
    """The database, opened to write.

    Satisfies `engine.ports.Store`. Every write survives a power loss when it returns.
    """

    def __init__(self, path: Path) -> None:
        """Opens the database, creates it, and brings its schema up to date.

        Raises:
            StoreUnavailableError: it cannot be opened, or a newer release wrote it.
        """
        self._path = path
        self._engine = writing_engine(path)
        self._identity = _identity(path)
        self._reports = SqliteReports(self._engine, path)
        self._ledger = SqliteLedger(self._engine, path)
        self._objects = SqliteObjects(self._engine, path)
        # We alone write them, and they are asked for all the time.
        self._positions: dict[str, int] | None = None
        self._shelf = SqliteShelf()
        self._moved: set[str] | None = None

    def close(self) -> None:
        """Closes the database."""
        self._engine.dispose()

    def is_lost(self) -> bool:
        """Whether another file, or none, is in its place: nobody reads this one."""
        return _identity(self._path) != self._identity

    # -- writing -------------------------------------------------------------

    def position(self, source: str) -> int:
        """The offset up to which a source has been projected; 0: nothing yet.

        Raises:
            StoreUnavailableError: the database cannot be read.
        """
        if self._positions is None:
            table = schema.journals
            wanted = select(table.c.source, table.c.position)
            with translated(self._path), self._engine.begin() as connection:
                rows = connection.execute(wanted)
                self._positions = {row.source: row.position for row in rows}
        return self._positions.get(source, 0)

    def project(self, run: Sequence[JournalRecord], end: JournalPosition) -> None:
        """Projects records of one source and moves its position, in one step.

        Raises:
            StoreUnavailableError: the database cannot be written; nothing was changed.
            RecordError: a record cannot be understood, or contradicts what was
                projected before; nothing was changed.
        """
        self._positions, positions = None, self._positions
        # What a failed transaction left in memory is not what the database holds.
        self._shelf, shelf = SqliteShelf(), self._shelf
        with translated(self._path):
            try:
                with self._engine.begin() as connection:
                    position, moved = _project(connection, shelf, run, end)
            except IntegrityError as error:
                raise RecordError(
                    f"journal {end.source}, before byte {end.offset}: it repeats or "
                    f"contradicts what another record said: {error.orig}"
                ) from error
            except OverflowError as error:
                raise RecordError(
                    f"journal {end.source}, before byte {end.offset}: a number is "
                    "larger than the store can hold"
                ) from error
        if positions is not None:
            positions[end.source] = position
        self._positions, self._shelf = positions, shelf
        if self._moved is not None:
            self._moved.update(moved)

    def take_moved(self) -> frozenset[str] | None:
        """The accounts of which more was settled since the last call; None: any."""
        moved, self._moved = self._moved, set()
        return None if moved is None else frozenset(moved)

    def open_sources(self) -> Sequence[str]:
        """The sources that have allowed decisions without an end.

        Raises:
            StoreUnavailableError: the database cannot be read.
        """
        table = schema.journals
        busy = select(schema.requests.c.decided_journal).where(schema.is_open)
        wanted = select(table.c.source).where(table.c.id.in_(busy))
        with translated(self._path), self._engine.begin() as connection:
            return sorted(connection.scalars(wanted))

    def open_requests(self, source: str) -> Sequence[OpenRequest]:
        """The allowed decisions of a source that have no end yet.

        Raises:
            StoreUnavailableError: the database cannot be read.
        """
        table = schema.requests
        wanted = (
            select(
                table.c.request_id,
                # What grows with its stream holds its slice, and the rest was not
                # generated when its worker died.
                case(
                    (table.c.slice_nano_usd > 0, table.c.slice_nano_usd),
                    else_=table.c.hold_nano_usd,
                ),
                table.c.hold_input_tokens,
                table.c.hold_output_tokens,
            )
            .join(schema.journals, schema.journals.c.id == table.c.decided_journal)
            .where(schema.journals.c.source == source, schema.is_open)
        )
        with translated(self._path), self._engine.begin() as connection:
            return [
                OpenRequest(row[0], row[1], hold_usage(row[2], row[3]))
                for row in connection.execute(wanted)
            ]

    def conflicts(self) -> int:
        """How many ends came for requests that had ended already; always 0, we hope.

        Raises:
            StoreUnavailableError: the database cannot be read.
        """
        wanted = select(func.count()).select_from(schema.conflicts)
        with translated(self._path), self._engine.begin() as connection:
            return connection.scalar(wanted) or 0

    # -- reading -------------------------------------------------------------

    def requests(self, query: RequestQuery) -> Sequence[RequestRow]:
        """See `SqliteReports.requests`."""
        return self._reports.requests(query)

    def request(self, request_id: str) -> RequestRow | None:
        """See `SqliteReports.request`."""
        return self._reports.request(request_id)

    def spend(self, by: str, since_ns: int | None) -> Sequence[SpendRow]:
        """See `SqliteReports.spend`."""
        return self._reports.spend(by, since_ns)

    def registry_objects(self) -> Sequence[RegistryObject]:
        """See `SqliteReports.registry_objects`."""
        return self._reports.registry_objects()

    def revision(self) -> int:
        """See `SqliteReports.revision`."""
        return self._reports.revision()

    def credentials(self) -> Sequence[CredentialRow]:
        """See `SqliteReports.credentials`."""
        return self._reports.credentials()

    def objects(self, ids: Sequence[str]) -> Sequence[Owned]:
        """See `SqliteObjects.objects`."""
        return self._objects.objects(ids)

    def policies(self) -> Sequence[PolicyRow]:
        """See `SqlitePolicies.policies`."""
        return self._reports.policies()

    def policy_activations(self) -> Sequence[ActivationRow]:
        """See `SqlitePolicies.policy_activations`."""
        return self._reports.policy_activations()

    def policy_loads(self) -> Sequence[PolicyLoadRow]:
        """See `SqlitePolicies.policy_loads`."""
        return self._reports.policy_loads()

    def legal_holds(self) -> Sequence[LegalHoldRow]:
        """See `SqliteRetention.legal_holds`."""
        return self._reports.legal_holds()

    def prunings(self) -> Sequence[PruningRow]:
        """See `SqliteRetention.prunings`."""
        return self._reports.prunings()

    def deleted_journals(self) -> Sequence[DeletedJournal]:
        """See `SqliteDeletions.deleted_journals`."""
        return self._reports.deleted_journals()

    def accounts(self, ids: Sequence[str]) -> dict[str, AccountState]:
        """See `SqliteLedger.accounts`."""
        return self._ledger.accounts(ids)

    def accounts_of(self, now_ns: int | None) -> Sequence[AccountState]:
        """See `SqliteLedger.accounts_of`."""
        return self._ledger.accounts_of(now_ns)

    def leases(
        self, *, holder: str | None = None, account: str | None = None
    ) -> Sequence[LeaseState]:
        """See `SqliteLedger.leases`."""
        return self._ledger.leases(holder=holder, account=account)

    def holder(self, holder: str) -> HolderRow | None:
        """See `SqliteLedger.holder`."""
        return self._ledger.holder(holder)

    def live_holders(self) -> Sequence[HolderRow]:
        """See `SqliteLedger.live_holders`."""
        return self._ledger.live_holders()

    def spent_in(
        self, scope: str, key: str, starts_ns: int, ends_ns: int | None
    ) -> int:
        """See `SqliteLedger.spent_in`."""
        return self._ledger.spent_in(scope, key, starts_ns, ends_ns)

    def held_on(self, accounts: Sequence[str]) -> dict[str, int]:
        """See `SqliteLedger.held_on`."""
        return self._ledger.held_on(accounts)

    def suspense(self) -> Sequence[LeaseState]:
        """See `SqliteLedger.suspense`."""
        return self._ledger.suspense()

    def settlements(self) -> Sequence[SettlementRow]:
        """See `SqliteLedger.settlements`."""
        return self._ledger.settlements()

    def alerted(self, account: str) -> frozenset[int]:
        """See `SqliteLedger.alerted`."""
        return self._ledger.alerted(account)

    def alerts(self, account: str) -> Sequence[AlertRow]:
        """See `SqliteLedger.alerts`."""
        return self._ledger.alerts(account)

    def incidents(self, since_ns: int) -> Sequence[IncidentRow]:
        """See `SqliteLedger.incidents`."""
        return self._ledger.incidents(since_ns)

    def excesses(self) -> Sequence[ExcessRow]:
        """See `SqliteLedger.excesses`."""
        return self._ledger.excesses()

    def admissions(self, since_ns: int) -> Sequence[AdmissionRow]:
        """See `SqliteLedger.admissions`."""
        return self._ledger.admissions(since_ns)

    def books_check(self) -> Sequence[str]:
        """See `SqliteLedger.books_check`."""
        return self._ledger.books_check()


def _identity(path: Path) -> tuple[int, int] | None:
    """Which file a path leads to; None: to none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _project(
    connection: Connection,
    shelf: SqliteShelf,
    run: Sequence[JournalRecord],
    end: JournalPosition,
) -> tuple[int, list[str]]:
    """Projects; the new position, and the accounts of which more was settled."""
    source = end.source
    journal, position = _journal(connection, source)
    folded = fold([record for record in run if record.offset >= position])
    shelf.begin(connection)
    keeping = Bookkeeping(shelf, source)
    writing = Writing(connection, journal, source, shelf, keeping)
    more_conflicts = project_requests(writing, folded)
    _note_conflicts(connection, journal, [*folded.conflicts, *more_conflicts])
    project_acts(connection, journal, folded.acts)
    project_policies(connection, journal, folded.policies)
    project_signs(connection, journal, folded.signs)
    keeping.act_all(folded.ledger)
    moved = shelf.flush()
    if end.offset > position:
        table = schema.journals
        connection.execute(
            update(table).where(table.c.id == journal).values(position=end.offset)
        )
    return max(end.offset, position), moved


def _journal(connection: Connection, source: str) -> tuple[int, int]:
    """The row of a journal and its position; made when it is new."""
    table = schema.journals
    found = connection.execute(
        select(table.c.id, table.c.position).where(table.c.source == source)
    ).first()
    if found is not None:
        return found.id, found.position
    made = connection.execute(
        insert(table).values(source=source, position=0).returning(table.c.id)
    )
    return made.scalar_one(), 0


def _note_conflicts(
    connection: Connection, journal: int, conflicts: Iterable[Conflict]
) -> None:
    rows = [
        {"journal": journal, "offset": offset, "request_id": request_id}
        for request_id, offset in conflicts
    ]
    if rows:
        connection.execute(insert(schema.conflicts), rows)
