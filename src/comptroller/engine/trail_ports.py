"""What the sequencer asks of the outside: the trail, and an index into it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from comptroller.core.checkpoint import NoteSignature
from comptroller.core.cosignature import Cosignature
from comptroller.core.errors import TrailDamagedError

OPEN: Final = "open"
ENDED: Final = "ended"
"""Its process is gone and everything of it is in the trail."""
LOST: Final = "lost"
"""It is not what it was; a gap record says so, and it is not read any more."""


class WitnessStatus(msgspec.Struct, frozen=True):
    """How a witness of the trail is doing."""

    name: str
    url: str
    size: int = 0
    """Of the tree that it signed last; 0: none since the sequencer started."""
    time: str | None = None
    """When it did, by its own clock."""
    problem: str | None = None
    """Why it does not sign now; None: it does, or was not asked yet."""
    is_refusing: bool = False
    """Whether it answers and refuses: the trail may not be what it saw."""


class TrailStatus(msgspec.Struct, frozen=True):
    """How the trail is doing, as the status address says it."""

    origin: str | None
    """None: no checkpoint was published yet."""
    size: int
    """Records in the last checkpoint."""
    checkpoint_age_s: float | None
    """Since it was published; a heartbeat renews one of the same size."""
    is_running: bool
    """Whether a sequencer keeps it now."""
    problem: str | None
    """What keeps it from going on; None: nothing that is known."""
    witnesses: Sequence[WitnessStatus] = ()
    """Who is asked to sign each checkpoint, too."""
    minimum_index: int = 0
    """The first record that is kept; of those before it there are the hashes."""


class SourcePosition(NamedTuple):
    """How far a journal is in the trail."""

    offset: int
    """Bytes of its stream that are in the trail, or that a gap record stands for."""
    sequence: int
    """Of the record that is expected next."""
    state: str = OPEN
    """`open`, `ended` or `lost`."""


def source_positions(positions: Mapping[str, Any]) -> dict[str, SourcePosition]:
    """How far each journal is in the trail, out of `TrailLog.positions`.

    Raises:
        TrailDamagedError: they do not say it.
    """
    try:
        return msgspec.convert(dict(positions), dict[str, SourcePosition])
    except msgspec.ValidationError as error:
        raise TrailDamagedError(
            f"the trail does not say how far each journal is in it: {error}"
        ) from error


class Pruning(NamedTuple):
    """A record that says which entries are not kept any more."""

    at: int
    """Index of the record itself."""
    below: int
    """The first index that is kept; a multiple of 256, not more than `at`."""


class TrailLog(Protocol):
    """The append-only log; the one process that holds its lock writes it."""

    @property
    def origin(self) -> str:
        """The log's name; the same for ever."""

    @property
    def size(self) -> int:
        """How many records are durable, published or not."""

    @property
    def positions(self) -> Mapping[str, Any]:
        """What was given with the last records that are durable, as JSON has it."""

    @property
    def prunings(self) -> Sequence[Pruning]:
        """Records that prune the log and have not been followed yet."""

    def extend(self, records: Sequence[bytes]) -> None:
        """Takes records in; the next `append` makes them durable, before its own.

        Until then the log is as it was, and what a kill takes is taken in anew.

        Args:
            records: exact bytes, at most 65,535 each.

        Raises:
            TrailUnavailableError: the disk refuses: open the log anew.
        """

    def append(
        self,
        records: Sequence[bytes],
        positions: Mapping[str, Any],
        prunings: Sequence[Pruning] = (),
    ) -> int:
        """Appends records; they and what is said of them are durable, or nothing is.

        Args:
            records: exact bytes, at most 65,535 each; may be none.
            positions: all positions after these records, as JSON has them.
            prunings: which of the records prune the log; for `prune`.

        Returns:
            The index of the first of the records.

        Raises:
            TrailUnavailableError: not known whether it was done: open the log anew.
        """

    def publish(self) -> bytes:
        """Publishes a checkpoint of what is durable; where nothing is new, again.

        Returns:
            The signed note.

        Raises:
            TrailDamagedError: it would contradict what was signed; nothing is.
            TrailUnavailableError: the disk refuses, now or before.
        """

    def prune(self, covered: int) -> bool:
        """Removes a part of what may go by the records that prune.

        Args:
            covered: only records with a smaller index count, and of these only
                those in the last checkpoint.

        Returns:
            Whether more of it is left.

        Raises:
            TrailUnavailableError: the disk refuses, now or before.
        """

    def cosign(self, body: bytes, signature: NoteSignature) -> bool:
        """Adds a witness's signature to the checkpoint, in place of an older one.

        Returns:
            Whether that text still is the checkpoint; if not, nothing is done.

        Raises:
            TrailUnavailableError: the disk refuses, now or before.
        """


class TrailPlaces(Protocol):
    """Where the journals' records are in the trail: an index, made from the log.

    It may lack what was appended right before a kill; the log is what counts.
    """

    def note(
        self, source: str, sequence: int, index: int, count: int, offset: int
    ) -> None:
        """Notes a run: so many records in sequence, one entry after another.

        Args:
            source: of their journal.
            sequence: of the first record.
            index: of the first entry.
            count: how many.
            offset: of the first record, in the journal's stream.
        """


class Published(NamedTuple):
    """The last checkpoint, as it stands there; its signatures are not verified."""

    origin: str
    size: int
    root: bytes
    time_ns: int
    """When it was last written."""
    witnesses: Sequence[str]
    """The names of those who signed it beside the log."""
    cosigned: Sequence[Cosignature] = ()
    """How far each witness has signed whose key is kept here; verified with it."""


class KeptRecords(NamedTuple):
    """Which of a journal's records are entries that are kept, as the index says."""

    first: int
    """Sequence of the first one; of those before it there are the hashes."""
    last: int
    """Sequence of the last record in the log; less than `first`: none is kept."""
    offset: int
    """In the journal's stream: records from here on are found by where they were."""


class TrailLookup(Protocol):
    """The trail, to whoever looks for a record in it."""

    def published(self) -> Published | None:
        """The last checkpoint; None: none is published yet.

        Raises:
            NoteError: it is damaged.
            TrailUnavailableError: it cannot be read.
        """

    def index_at(self, source: str, sequence: int) -> int | None:
        """Where a journal's record is, in the tree of that checkpoint; None: not in it.

        Raises:
            TrailPrunedError: it may be among what was pruned.
            TrailDamagedError: a file is missing, or not what was written.
            TrailUnavailableError: a file cannot be read.
        """

    def index_of(self, source: str, sequence: int, line: bytes) -> int | None:
        """Where a record is, in the tree of that checkpoint; None: not in it.

        It is proved up to the checkpoint's root; also one whose entry was pruned.

        Raises:
            ProofError: the hashes are not those of the checkpoint.
            TrailDamagedError: a file is missing, or not what was written.
            TrailUnavailableError: a file cannot be read.
        """
