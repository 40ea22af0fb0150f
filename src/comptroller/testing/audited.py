"""A gateway's records and what is answered of its controls, for tests."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, Final

import msgspec

from comptroller.core.errors import ContentUnavailableError
from comptroller.core.timestamps import rfc3339
from comptroller.engine.control_auditing import ControlAuditing, Parts
from comptroller.engine.control_ports import BeatRow, ChangeRow, LifeRow, RevisionRow
from comptroller.engine.explanation import Document
from comptroller.engine.policy_ports import ActivationRow, BundleFile, encode_sets
from comptroller.engine.ports import JournalPosition, JournalRecord
from comptroller.engine.registry_fold import registry_objects
from comptroller.testing.answered import acme
from comptroller.testing.projected import CONTROL, W0, W1, Projected
from comptroller.testing.store import InMemoryStore
from comptroller.testing.system import START_NS

SERVICE: Final = "checkout-assistant"
_PROMPTS: Final = {"id": "p", "for": [], "mode": "enforce"}
_SETS: Final = [{"allow": [{"id": "allow.all", "for": []}], "prompts": [_PROMPTS]}]


class KeptBundle:
    """An archive that keeps one bundle; it can be lost."""

    is_lost = False

    def keep(self, revision: str, files: Sequence[BundleFile], sets: bytes) -> None:
        """Nothing is kept here."""

    def sets(self, revision: str, digest: str) -> bytes:
        """The bundle's."""
        if self.is_lost:
            raise ContentUnavailableError(f"{revision} {digest} is lost")
        return encode_sets(_SETS)

    def files(self, revision: str) -> Sequence[tuple[str, bytes]]:
        """Nobody asks for files."""
        raise ContentUnavailableError(revision)


class ProjectedJournals:
    """The journals that were written to; any of their processes may be dead."""

    def __init__(self, books: Projected) -> None:
        self._books = books
        self.dead: set[str] = set()

    def sources(self) -> Sequence[str]:
        """All of them."""
        return list(self._books.journals)

    def read(self, source: str, offset: int, bytes_max: int) -> Sequence[JournalRecord]:
        """What stands there and after, so many bytes and at least one record."""
        found: list[JournalRecord] = []
        for one in self._books.journals[source].records:
            if one.offset < offset:
                continue
            bytes_max -= len(one.line) + 1
            if found and bytes_max < 0:
                break
            found.append(one)
        return found

    def size(self, source: str) -> int:
        """All that was written."""
        return self._books.journals[source].offset

    def is_dead(self, source: str) -> bool:
        """As the test says."""
        return source in self.dead

    def record_at(self, position: JournalPosition) -> bytes:
        """What stands there."""
        for one in self._books.journals[position.source].records:
            if one.offset == position.offset:
                return one.line
        raise LookupError(position)


class AlterableStore(InMemoryStore):
    """A store whose rows anybody may change, as anybody may who can write it.

    Whatever was projected stays projected: nothing is mended by projecting again.
    """

    def alter_beats(self, change: Callable[[list[BeatRow]], list[BeatRow]]) -> None:
        """Heartbeats; they are kept in order of sequence."""
        self._beats = sorted(change(self._beats), key=lambda one: one.place)

    def alter_life(self, source: str, row: LifeRow | None) -> None:
        """One worker's life; None: there is no row of it."""
        self._lives.pop(source, None)
        if row is not None:
            self._lives[source] = row

    def alter_revisions(
        self, change: Callable[[list[RevisionRow]], list[RevisionRow]]
    ) -> None:
        """Configurations that were applied."""
        self._revisions = change(self._revisions)

    def alter_changes(
        self, change: Callable[[list[ChangeRow]], list[ChangeRow]]
    ) -> None:
        """What revisions made of objects."""
        self._history = change(self._history)

    def alter_activations(
        self, change: Callable[[list[ActivationRow]], list[ActivationRow]]
    ) -> None:
        """Activations of policies; the places of those that go, go too."""
        self._activations = change(self._activations)
        numbers = {one.number for one in self._activations}
        self._places = {
            number: place for number, place in self._places.items() if number in numbers
        }

    def alter_policy(self, revision: str, digest: str) -> None:
        """What a bundle is said to declare."""
        row = self._published[revision]
        self._published[revision] = row._replace(sets_digest=digest)


class AuditedWorld:
    """A service under revision 1, asked of by two workers.

    Args:
        is_counted: whether workers count their heartbeats, as they do since they say
            their numbers.
    """

    def __init__(self, *, is_counted: bool = True) -> None:
        self.store = AlterableStore()
        self.books = Projected(self.store)
        self.beaten = dict.fromkeys((W0, W1), 0)
        self._is_counted = is_counted
        self.journals = ProjectedJournals(self.books)
        self.archive = KeptBundle()
        self.control = self.books.script(CONTROL)
        self.workers = {one: self.books.script(one) for one in (W0, W1)}
        objects = {
            (one.kind, one.id): msgspec.json.decode(one.body)
            for one in registry_objects(acme())
        }
        self.objects: dict[tuple[str, str], Any] = objects
        self.control.applied(1, objects)
        self.revision = 1
        self.policy: str | None = None
        for one in self.workers.values():
            one.journal_started()
        for source in self.workers:
            self.beat(source)

    def beat(self, source: str, inactive: Collection[str] = ()) -> None:
        """One worker says what it enforces: what it took up last."""
        number = self.beaten[source] if self._is_counted else None
        self.beaten[source] += 1
        script = self.workers[source]
        script.heartbeat(self.revision, self.policy, inactive, number=number)

    def wait(self, seconds: int, beating: Sequence[str] = (W0, W1)) -> None:
        """Lets time pass; these beat every 30 seconds."""
        for _ in range(seconds // 30):
            self.books.clock.advance(30)
            for source in beating:
                self.beat(source)
        self.books.clock.advance(seconds % 30)

    def load(self, revision: int, policy: str | None = None) -> None:
        """Every worker takes up what is in force."""
        self.revision, self.policy = revision, policy
        for source in self.workers:
            self.beat(source)

    def auditing(self) -> ControlAuditing:
        """Projects everything; what answers."""
        self.books.project(*self.books.journals)
        store, clock = self.store, self.books.clock
        return ControlAuditing(Parts(store, store, self.journals, self.archive, clock))

    def at(self, second: float) -> Document:
        """The answer for a moment."""
        return self.auditing().at(SERVICE, when(second))

    def spanned(self, begin: float, end: float) -> Document:
        """The answer for a span."""
        return self.auditing().between(SERVICE, when(begin), when(end))

    def between(self, begin: float, end: float) -> dict[str, Document]:
        """The coverage of a span, by control."""
        found = self.spanned(begin, end)
        return {one["control"]: one for one in found["controls"]}


def when(second: float) -> str:
    """As a person writes it."""
    return rfc3339(START_NS + int(second * 10**9))
