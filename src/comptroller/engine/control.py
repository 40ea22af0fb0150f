"""The control process: administers, projects, recovers; one thread, one writer."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from comptroller.core import credential as credentials
from comptroller.core.credential import CredentialState
from comptroller.core.errors import (
    ComptrollerError,
    InvalidArgumentError,
    JournalUnavailableError,
    RecordError,
    StoreUnavailableError,
)
from comptroller.engine import commands, replies
from comptroller.engine.administration import Administration
from comptroller.engine.commands import (
    Act,
    AskStatus,
    Done,
    ErasePersonal,
    Leasing,
    Ping,
    Prepared,
    PublishPolicy,
    Result,
    Status,
    Sync,
)
from comptroller.engine.deleting import JournalDeletion
from comptroller.engine.leasing import (
    AskLeases,
    AwaitRecall,
    Leased,
    LeasesReturned,
    Recall,
)
from comptroller.engine.ledger import Ledger
from comptroller.engine.objects import (
    IDS_MAX,
    Owners,
    Whose,
    is_answered,
    owned_of,
)
from comptroller.engine.ports import Clock, JournalReader, Store
from comptroller.engine.projection import Projector, is_administrative
from comptroller.engine.thresholds import reached_thresholds

STEP_BYTES: Final = 4 * 1024 * 1024
"""So much is projected before a waiting command gets its turn: about 50 ms. Smaller
steps cost twice as much a record, which counts against the gateway's own budget."""
BUSY_STEP_BYTES: Final = 512 * 1024
"""So much while workers ask for leases: requests wait for the answers. Still smaller
steps gain little, for each ends in a commit."""
PROJECT_EVERY_S: Final = 0.5
"""Between steps while requests come in; a command that needs all asks for all."""
GIVE_WAY_S: Final = 0.002
"""A command takes several passes of the event loop: one a step would be slow."""
RECOVERY_EVERY_S: Final = 1.0
RECOVERY_DELAY_S: Final = 30.0
"""How long recovery waits for projection, which gives way to commands; it does not."""
RATES_EVERY_S: Final = 30.0
RETRY_S: Final = 2.0
REACHED_EVERY_S: Final = 0.25
"""Thresholds are published at most so often: a snapshot is written as a whole."""


_RETRIED: Final = (StoreUnavailableError, JournalUnavailableError, RecordError)


class ControlParts(NamedTuple):
    """What the control process works with; bootstrap fills it in."""

    administration: Administration
    store: Store
    reader: JournalReader
    projector: Projector
    recover: Callable[[], Sequence[str]]
    """Ends the open requests of dead workers and closes their leases; what keeps
    some of them from being closed, in words."""
    ledger: Ledger
    journal_failed: Callable[[], bool]
    """Whether the control journal takes no more records."""
    clock: Clock
    deletion: JournalDeletion


class Control:
    """Answers commands and keeps the store up to date, until told to stop."""

    def __init__(self, parts: ControlParts) -> None:
        self._parts = parts
        self._stop = asyncio.Event()
        self._problems: dict[str, str] = {}
        self._reached_s = -REACHED_EVERY_S
        self.failed: ComptrollerError | None = None
        """Why it stopped by itself: only a new process can help."""

    def stop(self) -> None:
        """Asks `run` to return."""
        self._stop.set()

    async def answer(self, line: bytes, account: str) -> bytes:
        """Does what a line asks and writes the line of the answer."""
        try:
            return replies.encode_result(await self._do(line, account))
        except ComptrollerError as error:
            return replies.encode_error(error)

    async def run(self) -> None:
        """Projects and recovers until `stop`."""
        background = [
            asyncio.create_task(self._project()),
            asyncio.create_task(self._recover()),
            asyncio.create_task(self._renew_rates()),
            asyncio.create_task(self._delete_journals()),
        ]
        stopped = asyncio.create_task(self._until_stopped())
        try:
            # A task that ends has met what nobody foresaw: that ends the process.
            await asyncio.wait(
                [stopped, *background], return_when=asyncio.FIRST_COMPLETED
            )
            for task in background:
                if task.done():
                    task.result()
        finally:
            self._parts.deletion.stop()
            for task in (stopped, *background):
                task.cancel()
            await asyncio.gather(stopped, *background, return_exceptions=True)

    def status(self) -> Status:
        """How it is doing.

        Raises:
            StoreUnavailableError: the store does not answer.
        """
        parts = self._parts
        now_ns = parts.clock.now_ns()
        active = [
            row
            for row in parts.store.credentials()
            if credentials.state(row.credential, now_ns) == CredentialState.ACTIVE
        ]
        card = parts.administration.card()
        return Status(
            revision=parts.store.revision(),
            workers=self._live_workers(),
            lag_bytes=parts.projector.lag(),
            credentials=len(active),
            rate_card=card.version if card is not None else None,
            problems=sorted(
                [
                    *self._problems.values(),
                    *filter(None, [parts.administration.policies.problem]),
                ]
            ),
        )

    async def _do(self, line: bytes, account: str) -> Result:
        command = commands.decode_command(line)
        match command:
            case Ping():
                return Done()
            case Sync():
                await self._sync()
                return Done()
            case AskStatus():
                return self.status()
            case AskLeases() | AwaitRecall() | LeasesReturned() | Whose():
                return await self._answer_worker(command)
            case PublishPolicy() | ErasePersonal():
                return self._act(command, account, await self._prepare(command))
            case _:
                return self._act(command, account)

    async def _prepare(self, command: PublishPolicy | ErasePersonal) -> Prepared:
        """Does in a thread what takes a second or more: others do not wait."""
        administration = self._parts.administration
        match command:
            case PublishPolicy(files):
                return await asyncio.to_thread(administration.policies.check, files)
            case ErasePersonal(selection):
                return await asyncio.to_thread(administration.privacy.find, selection)

    def _act(
        self, command: Act, account: str, prepared: Prepared | None = None
    ) -> Result:
        administration = self._parts.administration
        try:
            return commands.perform(command, administration, account, prepared)
        except (JournalUnavailableError, StoreUnavailableError) as error:
            # What was recorded may not be projected or published yet; a process
            # that starts anew does both before anything else.
            self.failed = error
            self.stop()
            raise

    async def _lease(self, command: Leasing) -> Result:
        """Does what a worker says of leases; several wait side by side."""
        ledger = self._parts.ledger
        answer: asyncio.Future[Leased | Recall | None]
        answer = asyncio.get_running_loop().create_future()

        def reply(said: Leased | Recall | None) -> None:
            if not answer.done():
                answer.set_result(said)

        try:
            match command:
                case AskLeases():
                    ledger.ask(command, reply)
                case AwaitRecall(holder):
                    ledger.await_recall(holder, reply)
                case LeasesReturned(holder):
                    ledger.returned(holder)
                    return Done()
        finally:
            self._end_with_ledger()
        found = await answer
        self._end_with_ledger()
        if found is None:
            raise StoreUnavailableError("the ledger cannot be written now: ask again")
        return found

    async def _answer_worker(self, command: Leasing | Whose) -> Result:
        if isinstance(command, Whose):
            return await self._whose(command)
        return await self._lease(command)

    async def _whose(self, asked: Whose) -> Owners:
        """Tells whose objects are; of one that may be new, after all was projected."""
        ids = [one.id for one in asked.objects]
        if len(ids) > IDS_MAX:
            raise InvalidArgumentError(f"at most {IDS_MAX} objects can be asked for")
        owned = owned_of(asked, self._parts.store.objects(ids))
        if not is_answered(asked, owned):
            for _ in self._parts.projector.catch_up():
                await asyncio.sleep(0)
            owned = owned_of(asked, self._parts.store.objects(ids))
        return Owners(owned)

    def _end_with_ledger(self) -> None:
        """Stops when only a new process can go on with the ledger."""
        if self._parts.ledger.failed is not None and self.failed is None:
            self.failed = self._parts.ledger.failed
            self.stop()

    async def _sync(self) -> None:
        for _ in self._parts.projector.catch_up():
            await asyncio.sleep(GIVE_WAY_S)
        self._note_unclosed(self._parts.recover())

    def _note_unclosed(self, problems: Sequence[str]) -> None:
        self._problems.pop("leases", None)
        if problems:
            more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
            self._problems["leases"] = f"leases: {problems[0]}{more}"

    async def _project(self) -> None:
        while True:
            wait_s = self._step()
            self._tick()
            await asyncio.sleep(wait_s)

    def _step(self) -> float:
        """Projects a part; how long to wait before the next one."""
        parts = self._parts
        if parts.store.is_lost():
            self.failed = StoreUnavailableError(
                "the store was taken away, or another put in its place; a new process"
                " goes on with what is there"
            )
            parts.ledger.trouble = self.failed
            self.stop()
            return RETRY_S
        step_bytes = BUSY_STEP_BYTES if parts.ledger.is_busy else STEP_BYTES
        try:
            parts.projector.step(step_bytes)
            # Larger batches cost less each: one commit pays for many records.
            is_behind = parts.projector.lag() > step_bytes
        except _RETRIED as error:
            self._problems["projection"] = f"projection: {error.message}"
            is_down = isinstance(error, StoreUnavailableError)
            parts.ledger.trouble = error if is_down else None
            return RETRY_S
        self._problems.pop("projection", None)
        parts.ledger.trouble = None
        return GIVE_WAY_S if is_behind else PROJECT_EVERY_S

    def _tick(self) -> None:
        if self._parts.ledger.trouble is not None:
            return  # the projection said so
        try:
            self._parts.ledger.tick()
            self._tell_reached()
            self._problems.pop("limits", None)
        except _RETRIED as error:
            self._problems["limits"] = f"limits: {error.message}"
        self._end_with_ledger()

    def _tell_reached(self) -> None:
        """Tells the workers of thresholds that were reached, or are so no more."""
        parts = self._parts
        now_s = parts.clock.monotonic_s()
        is_due = now_s - self._reached_s >= REACHED_EVERY_S
        if parts.ledger.is_reached_news and is_due:
            self._reached_s = now_s
            registry = parts.administration.registry()
            now_ns = parts.clock.now_ns()
            found = reached_thresholds(parts.store, registry, now_ns)
            if found != parts.administration.reached:
                parts.administration.publish()
            parts.ledger.reached_told()

    async def _recover(self) -> None:
        parts = self._parts
        done_s = parts.clock.monotonic_s()
        while True:
            try:
                now_s = parts.clock.monotonic_s()
                is_overdue = now_s - done_s > RECOVERY_DELAY_S
                if is_overdue or parts.projector.lag() <= STEP_BYTES:
                    self._note_unclosed(parts.recover())
                    done_s = now_s
                self._problems.pop("recovery", None)
            except _RETRIED as error:
                if self._parts.journal_failed():
                    self.failed = error
                    self.stop()
                self._problems["recovery"] = f"recovery: {error.message}"
            await asyncio.sleep(RECOVERY_EVERY_S)

    async def _renew_rates(self) -> None:
        administration = self._parts.administration
        while True:
            await asyncio.sleep(RATES_EVERY_S)
            registry = administration.registry()
            if registry is None or not administration.rates_are_due():
                continue
            revision = administration.revision()
            # In a thread: compiling takes half a second, commands do not wait.
            card = await asyncio.to_thread(administration.compile, registry)
            with contextlib.suppress(StoreUnavailableError):
                administration.adopt(revision, card)

    async def _delete_journals(self) -> None:
        deletion = self._parts.deletion
        while True:
            await asyncio.sleep(deletion.every_s)
            self._problems.pop("deletion", None)
            try:
                await deletion.step()
                if deletion.problem is not None:
                    self._problems["deletion"] = f"journals: {deletion.problem}"
            except ComptrollerError as error:
                if self._parts.journal_failed():
                    self.failed = error
                    self.stop()
                self._problems["deletion"] = f"journals: {error.message}"

    async def _until_stopped(self) -> None:
        await self._stop.wait()

    def _live_workers(self) -> int:
        reader = self._parts.reader
        return sum(
            1
            for source in reader.sources()
            if not is_administrative(source) and not reader.is_dead(source)
        )
