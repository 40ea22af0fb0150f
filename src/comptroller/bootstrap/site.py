"""Wiring of the one process that may write the store."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from importlib.metadata import version

from comptroller.adapters.control.server import account_of
from comptroller.adapters.disclosures import (
    FileDisclosureTable,
    FileLegalHoldSalts,
    FilePromptKeys,
)
from comptroller.adapters.journal.naming import journal_name
from comptroller.adapters.journal.reader import DirectoryJournalReader
from comptroller.adapters.journal.writer import SyncJournal
from comptroller.adapters.policy.archive import PolicyArchive
from comptroller.adapters.prices import compile_card
from comptroller.adapters.prices.archive import CardArchive
from comptroller.adapters.snapshot import FileSnapshotStore
from comptroller.adapters.store.sqlite import SqliteStore
from comptroller.adapters.system import SystemClock, SystemEntropy, UlidIds, boot_id
from comptroller.adapters.tlog.finding import TrailFinder
from comptroller.bootstrap.personal import (
    disclosures,
    legal_hold_salts,
    prompt_keys,
)
from comptroller.bootstrap.place import Place
from comptroller.bootstrap.policy_checking import check_apart
from comptroller.core.errors import ConfigurationError
from comptroller.engine import commands
from comptroller.engine.administration import Administration, Parts
from comptroller.engine.closing import close_dead
from comptroller.engine.commands import Act, Result, Sync
from comptroller.engine.ledger import LedgerParts
from comptroller.engine.projection import Projector, is_administrative
from comptroller.engine.recovery import recover
from comptroller.engine.wholeness import lacking


def account() -> str:
    """`user@host` of this process, as records name it."""
    return account_of(os.geteuid())


class Site:
    """The parts of the one process that may write a data directory's store."""

    def __init__(self, place: Place, writer: str) -> None:
        self._place = place
        self._writer = writer
        self.clock = SystemClock()
        self.ids = UlidIds(self.clock, SystemEntropy())
        self.store = SqliteStore(place.store)
        self.reader = DirectoryJournalReader(place.journal)
        self.projector = Projector(self.reader, self.store)
        self._journal: SyncJournal | None = None
        self.ledger = LedgerParts(
            store=self.store,
            reader=self.reader,
            journal=self.journal,
            project=self.project,
            clock=self.clock,
            ids=self.ids,
            boot=boot_id(),
        )
        self.administration = Administration(
            Parts(
                journal=self.journal,
                project=self.project,
                store=self.store,
                snapshots=FileSnapshotStore(place.snapshot),
                cards=CardArchive(place.cards),
                archive=PolicyArchive(place.policies),
                check_bundle=check_apart,
                compile_rates=lambda registry, now: compile_card(registry, now).card,
                rates_source=_rates_source(),
                clock=self.clock,
                ids=self.ids,
                entropy=SystemEntropy(),
                disclosures=FileDisclosureTable(disclosures(place)),
                prompt_keys=FilePromptKeys(prompt_keys(place)),
                legal_hold_salts=FileLegalHoldSalts(legal_hold_salts(place)),
                published=TrailFinder(place.trail, place.trail_places).published,
            )
        )

    @classmethod
    @contextmanager
    def open(cls, place: Place, writer: str) -> Iterator[Site]:
        """A site whose store holds every act that was ever recorded.

        Args:
            place: the data directory, whose control lock this process holds.
            writer: `control` or `cli`, for the name of the journal.

        Raises:
            ConfigurationError: the store lacks what deleted journals said.
            StoreUnavailableError: the store does not answer.
        """
        if not place.store.exists():  # nor is one made, where it would be wrong
            with closing(DirectoryJournalReader(place.journal)) as reader:
                _require_whole(place, reader, lambda _: 0)
        site = cls(place, writer)
        try:
            _require_whole(place, site.reader, site.store.position)
            site.project(*filter(is_administrative, site.reader.sources()))
            site.administration.restore()
            yield site
        finally:
            site.close()

    def journal(self) -> SyncJournal:
        """The control journal, opened at the first call: most commands only look."""
        if self._journal is None:
            name = journal_name(socket.gethostname(), self._writer, self.ids.new())
            self._journal = SyncJournal(self._place.journal, name, self.clock, self.ids)
            self.reader.trust(self._journal)
        return self._journal

    def journal_failed(self) -> bool:
        """Whether the control journal takes no more records."""
        return self._journal is not None and self._journal.failed

    def seal(self) -> None:
        """Seals the control journal's last records, at most once a second.

        Raises:
            JournalUnavailableError: it is not durable; the journal has failed.
        """
        if self._journal is not None:
            self._journal.seal()

    def project(self, *sources: str) -> None:
        """Projects journals up to where they stand now."""
        for _ in self.projector.catch_up(sources):
            pass

    def recover(self) -> Sequence[str]:
        """Ends the open requests of dead workers, and closes their leases.

        Returns:
            What keeps leases from being closed, in words.
        """
        try:
            recover(self.reader, self.store, self.journal, self.clock, self.ids)
        finally:
            # One journal that cannot be read does not hold up the others' leases.
            problems = close_dead(self.ledger)
        return problems

    def perform(self, command: Act | Sync) -> Result:
        """Performs a command in this process."""
        if not isinstance(command, Sync):
            return commands.perform(command, self.administration, account())
        self.sync()
        return commands.Done()

    def sync(self) -> None:
        """Projects everything that is recorded, and ends what dead workers left."""
        self.project(*self.reader.sources())
        self.recover()

    def close(self) -> None:
        """Closes the journal and the store."""
        if self._journal is not None:
            self._journal.close()
        self.reader.close()
        self.store.close()


def _require_whole(
    place: Place, reader: DirectoryJournalReader, position: Callable[[str], int]
) -> None:
    """Raises ConfigurationError where no books can be made of what is left."""
    gone = lacking(reader, position)
    if gone:
        raise ConfigurationError(
            f"{place.store} is not there, or lacks what journals said that are deleted"
            f" since: {len(gone)} of them, {gone[0]} first. The trail has it: move away"
            " what stands there, and work the store out with comptroller audit rebuild"
            f" --to {place.store}"
        )


def _rates_source() -> str:
    """What the installed price catalogue calls itself, without loading it."""
    return f"genai-prices {version('genai-prices')}"
