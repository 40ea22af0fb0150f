"""The ports: what the engine asks of the outside, and what each promises."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, Protocol


class Clock(Protocol):
    """The time."""

    def now_ns(self) -> int:
        """Nanoseconds since the Unix epoch."""

    def monotonic_s(self) -> float:
        """Seconds that never go back, for durations and deadlines."""


class Ids(Protocol):
    """Unique, time-ordered identifiers."""

    def new(self) -> str:
        """A ULID: 26 characters, increasing within a process."""


class Entropy(Protocol):
    """Randomness for secrets."""

    def token(self, bytes_count: int) -> bytes:
        """So many unpredictable bytes."""


class Journal(Protocol):
    """One process's append-only file of records; the process alone writes it.

    A record is one JSON document without a newline. Order is kept. After any
    failure to write or to sync, the journal stays failed: every later append
    raises, so that nothing can be forwarded unrecorded.
    """

    source: str
    """CloudEvents `source` of this journal: `/node/worker/boot`."""

    def append(
        self, record: bytes, on_durable: Callable[[bool], None] | None = None
    ) -> None:
        """Writes a record; never blocks for the disk.

        Args:
            record: the exact bytes of the record, at most 65,535.
            on_durable: called once on the event loop, with True when the record
                is as durable as the journal's mode promises, or with False when
                that failed. None: the caller does not wait, and the record
                becomes durable with a later one or within a second.

        Raises:
            JournalUnavailableError: it has failed or is closed; nothing is written.
        """

    def close(self) -> None:
        """Makes all durable and lets go of the lock."""


class JournalPosition(NamedTuple):
    """A place in a journal."""

    source: str
    offset: int
    """Bytes from the start of the source's stream of records."""


class JournalRecord(NamedTuple):
    """A record with where it stands, so that it can be shown again."""

    source: str
    offset: int
    line: bytes
    """The exact bytes, without the newline."""


class JournalReader(Protocol):
    """Reads all journals of a data directory, whoever writes them."""

    def sources(self) -> Sequence[str]:
        """Every source that has a journal, oldest first."""

    def read(self, source: str, offset: int, bytes_max: int) -> Sequence[JournalRecord]:
        """The complete records from an offset on; a torn tail is not returned."""

    def is_dead(self, source: str) -> bool:
        """True when its process is gone for sure: its lock could be taken."""

    def record_at(self, position: JournalPosition) -> bytes:
        """The exact bytes of the record that begins there."""


class SnapshotStore(Protocol):
    """The state that workers serve from, replaced as a whole."""

    def publish(self, snapshot: bytes) -> None:
        """Replaces it atomically and durably; readers see the old or the new."""

    def read_if_changed(self) -> bytes | None:
        """The snapshot when it changed since this reader's last call, else None."""


class SecretResolver(Protocol):
    """Secrets by reference."""

    def resolve(self, reference: str) -> str:
        """The secret behind `env:NAME` or `file:PATH`.

        Raises:
            ConfigurationError: there is none, with the reference and what to do.
        """


Records = Iterable[bytes]
