"""Wiring of `audit rebuild`: a store from the trail alone, compared with the live one.

The new database grows in a folder of its own and gets its name when it is whole: a
kill leaves the live store as it was, and the next run begins anew.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from comptroller.adapters.journal.reader import DirectoryJournalReader
from comptroller.adapters.policy.archive import PolicyArchive
from comptroller.adapters.prices.archive import CardArchive
from comptroller.adapters.store.comparing import StoreImage, compare
from comptroller.adapters.store.sqlite import SqliteStore
from comptroller.adapters.tlog.files import sync_folder
from comptroller.adapters.tlog.journals import TrailJournals
from comptroller.adapters.tlog.keys import verifier
from comptroller.adapters.tlog.reader import TreeReader, read_checkpoint
from comptroller.bootstrap.administering import open_reports
from comptroller.bootstrap.place import Place
from comptroller.bootstrap.trail_audit import own_vkey
from comptroller.core.checkpoint import (
    Checkpoint,
    parse_checkpoint,
    parse_vkey,
    verified,
)
from comptroller.core.errors import (
    ComptrollerError,
    ConflictError,
    ContentUnavailableError,
    StoreUnavailableError,
    TrailPrunedError,
    TrailUnavailableError,
)
from comptroller.core.merkle import TreeHead
from comptroller.engine.rebuilding import Compared, Until, project_all

if TYPE_CHECKING:
    from comptroller.engine.policy_ports import PolicyRow
    from comptroller.engine.ports import JournalReader

TOLD_MAX: Final = 5
"""Differences that are told of each table."""
_DATABASE: Final = "store.sqlite3"


class Waiting(msgspec.Struct, frozen=True):
    """A journal of which the live store has more than the trail."""

    source: str
    bytes: int


class Rebuilt(msgspec.Struct, kw_only=True):
    """What a rebuild found."""

    origin: str
    size: int
    """Entries of the checkpoint."""
    sources: int
    records: int
    """That were projected; the trail's own entries are not."""
    problems: list[str]
    """What keeps the new store from being whole, in words."""
    waiting: list[Waiting] = []
    """For the comparison, these records were taken from the journals."""
    compared: Compared | None = None

    @property
    def is_sound(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems and (self.compared is None or not self.compared.count)


class Log(NamedTuple):
    """How the trail is read."""

    vkey: str | None = None
    """Its public key; None: the one in the data directory."""
    entries: Path | None = None
    """A copy of the log, or its export, from before it was pruned; what is missing
    is taken from there, and compared with the hashes."""


def rebuild(
    data: Path,
    to: Path | None,
    log: Log,
    tell: Callable[[int, int], None],
    *,
    check: bool,
) -> Rebuilt:
    """Rebuilds a store from a data directory's trail.

    Args:
        data: the data directory.
        to: where the new store is to stand; None: nowhere.
        log: how its trail is read.
        tell: told how many records of how many are projected, now and then.
        check: whether to compare it with the live store.

    Raises:
        TrailPrunedError: records were pruned, and are not in the copy either.
        ConflictError: there is a file already, or another rebuild is at it.
        NoteError: the checkpoint is not signed by that key.
        TrailDamagedError: the trail is not what was signed.
        TrailUnavailableError: there is no trail, or it cannot be read.
        StoreUnavailableError: a store cannot be read or written.
    """
    place = Place(data)
    if to is not None:
        _require_free(to)
    origin, head = _checkpoint(place, log.vkey)
    with _staging(data / "rebuild" if to is None else to) as staging:
        new = staging / _DATABASE
        tree = TreeReader(place.trail, head.size, _log_in(log.entries))
        journals = _journals(tree, head)
        with closing(SqliteStore(new)) as store:
            done = project_all(
                journals, store, lambda count: tell(count, journals.size_of_log)
            )
            policies = store.policies()
        rebuilt = Rebuilt(
            origin=origin,
            size=head.size,
            sources=len(journals.sources()),
            records=done.records,
            problems=[
                *(f"{name}: {why}" for name, why in journals.incomplete.items()),
                *([done.stopped] if done.stopped else []),
                *_content_problems(place, new, policies),
            ],
        )
        if check:
            _check(place, new, rebuilt, is_kept=to is not None)
        if to is not None:
            _put(new, to)
    return rebuilt


def _checkpoint(place: Place, vkey: str | None) -> Checkpoint:
    """The last checkpoint, verified.

    Raises:
        NoteError: it is damaged, or not signed by that key.
        TrailUnavailableError: there is none, or its key is not known.
    """
    note = read_checkpoint(place.trail)
    if note is None:
        raise TrailUnavailableError(
            f"no checkpoint is published in {place.trail} yet: see audit sequence"
        )
    known = verifier(parse_vkey(vkey or own_vkey(place)))
    return parse_checkpoint(verified(note, [known])[0].body)


def _log_in(folder: Path | None) -> Path | None:
    """The folder of the log in a copy: of the log, of DATA, or of an export.

    Raises:
        TrailUnavailableError: there is none.
    """
    if folder is None:
        return None
    for log in (folder, folder / "log", folder / "trail"):
        if (log / "tile/entries").is_dir():
            return log
    raise TrailUnavailableError(
        f"{folder} is no copy of a log: there is no tile/entries in it"
    )


def _journals(tree: TreeReader, head: TreeHead) -> TrailJournals:
    try:
        return TrailJournals(tree, head)
    except TrailPrunedError as error:
        raise TrailPrunedError(
            f"{error.message}; a store is made of all records: name a copy of the log"
            " from before, or its export, with --entries DIR"
        ) from error


@contextmanager
def _staging(target: Path) -> Iterator[Path]:
    """A folder for a store that is not whole yet; nobody else's, and gone after."""
    folder = target.with_name(f"{target.name}.partial")
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise StoreUnavailableError(f"{folder}: {error.strerror}") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConflictError(f"another rebuild is at work in {folder}") from None
        for left in folder.iterdir():  # of one that was killed
            left.unlink()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(descriptor)


def _content_problems(
    place: Place, new: Path, policies: Sequence[PolicyRow]
) -> Iterator[str]:
    """What the records name and is not in its folder, as it was."""
    archive, cards = PolicyArchive(place.policies), CardArchive(place.cards)
    for policy in policies:
        try:
            archive.sets(policy.revision, policy.sets_digest)
        except ContentUnavailableError as error:
            yield error.message
    with StoreImage(new) as image:
        versions = image.rate_cards()
    for version in versions:
        try:
            found = cards.card(version)
        except StoreUnavailableError as error:
            yield error.message
            continue
        if found is None:
            yield f"rate card {version} is not in {place.cards}"


def _check(place: Place, new: Path, rebuilt: Rebuilt, *, is_kept: bool) -> None:
    """Compares with one moment of the live store, not older than the trail."""
    with open_reports(place.data):  # it projects all that is recorded by now
        live = StoreImage(place.store)
    with live, closing(DirectoryJournalReader(place.journal)) as reader:
        ends = live.positions()
        with StoreImage(new) as image:
            here = image.positions()
        rebuilt.waiting = [
            Waiting(source, end - here.get(source, 0))
            for source, end in sorted(ends.items())
            if end > here.get(source, 0)
        ]
        if rebuilt.waiting:
            if is_kept:
                new = _copied(new)
            _add_waiting(reader, new, ends, rebuilt)
        with StoreImage(new) as image:
            rebuilt.compared = compare(live, image, TOLD_MAX)


def _add_waiting(
    reader: JournalReader, new: Path, ends: dict[str, int], rebuilt: Rebuilt
) -> None:
    """Brings the new store to where the live one is, from the journals."""
    wanted = {one.source: ends[one.source] for one in rebuilt.waiting}
    with closing(SqliteStore(new)) as store:
        try:
            done = project_all(Until(reader, wanted), store, lambda _: None)
        except ComptrollerError as error:
            rebuilt.problems.append(error.message)
            return
    if done.stopped:
        rebuilt.problems.append(done.stopped)


def _copied(new: Path) -> Path:
    """A second database: the first holds what the trail says, and no more."""
    copy = new.with_name("compared.sqlite3")
    with closing(sqlite3.connect(new)) as source, closing(sqlite3.connect(copy)) as to:
        source.backup(to)
    return copy


def _require_free(to: Path) -> None:
    """Raises ConflictError where a database is, or what one left beside it.

    SQLite would take another database's log for the new one's.
    """
    for suffix in ("", "-wal", "-shm", "-journal"):
        there = to.with_name(to.name + suffix)
        if there.exists():
            raise ConflictError(
                f"{there} is there already: name a new file with --to, or move it away"
            )


def _put(new: Path, to: Path) -> None:
    """Gives a whole database its name, durably, and never in place of another.

    Raises:
        ConflictError: there is a file by now.
        StoreUnavailableError: the disk refuses.
    """
    _require_free(to)
    try:
        descriptor = os.open(new, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.link(new, to)
        sync_folder(to.absolute().parent)
    except FileExistsError:
        raise ConflictError(f"{to} is there already: name a new file") from None
    except OSError as error:
        raise StoreUnavailableError(f"{to}: {error.strerror}") from error
