"""The one writer of a log: appends durably, signs only what continues the past.

Order of a write: entries, tiles, `state.json`, `checkpoint`; each is durable, file
and folder, before the next begins. A writer that is killed anywhere leaves a state
that the next one continues exactly; files beyond that state are written again.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec

from comptroller.adapters.tlog.files import DurableFiles
from comptroller.adapters.tlog.growth import File, Growth
from comptroller.adapters.tlog.reader import TreeReader, read_checkpoint, read_file
from comptroller.adapters.tlog.state import (
    STATE_BYTES_MAX,
    TrailState,
    decode_state,
    encode_state,
)
from comptroller.adapters.tlog.tiles import (
    ENTRY_BYTES_MAX,
    TILE_BITS,
    TILE_WIDTH,
    bundle_path,
    level_count,
    tile_path,
)
from comptroller.core.checkpoint import (
    Checkpoint,
    Note,
    NoteSignature,
    Signer,
    Verifier,
    format_note,
    parse_checkpoint,
    parse_note,
    sign_checkpoint,
    verified,
)
from comptroller.core.errors import (
    NoteError,
    ProofError,
    TrailDamagedError,
    TrailUnavailableError,
)
from comptroller.core.merkle import (
    CompactRange,
    TreeHead,
    verify_consistency,
)
from comptroller.engine.trail_ports import Pruning

STEPS: Final = ("taken", "entries", "tiles", "state", "checkpoint")
"""What `passing` is told: each step of a write, when it is done."""
PRUNING_STEPS: Final = ("minimum", "removed")
"""The same of pruning."""
BUNDLES_AT_ONCE: Final = 512
"""So many are removed by one call of `prune`, so that it takes a moment only."""


class SigningKey(Signer, Verifier, Protocol):
    """A key that also knows its own signatures."""


def _nothing(_step: str) -> None:
    """Nobody watches."""


class TrailWriter:
    """A log in a folder, held by this process alone until `close` or death.

    After any error of the disk it refuses further work: what the disk took is
    unknown until another writer has looked.
    """

    def __init__(
        self,
        folder: Path,
        key: SigningKey,
        *,
        passing: Callable[[str], None] = _nothing,
    ) -> None:
        """Takes up the log, or begins one whose origin is the key's name.

        Args:
            folder: DATA/trail.
            key: What signs; the last checkpoint must be signed by it, too.
            passing: Told each of STEPS and PRUNING_STEPS when it is done: for tests
                that die there.

        Raises:
            TrailDamagedError: the log is not what its writer left.
            TrailUnavailableError: another process has it, or the disk refuses.
        """
        self._folder = folder
        self._key = key
        self._passing = passing
        self._growth = Growth([], [], 0)
        """With the records that were taken in and are not durable yet."""
        self._usable = True
        with self._unavailable(), ExitStack() as undo:
            self._lock = self._take_lock()
            undo.callback(os.close, self._lock)
            self._files = DurableFiles(folder)
            self._state, self._signed = self._take_up()
            undo.pop_all()

    @property
    def origin(self) -> str:
        """The log's name."""
        return self._state.origin

    @property
    def size(self) -> int:
        """How many records are durable."""
        return self._state.size

    @property
    def head(self) -> TreeHead:
        """The tree over what is durable."""
        return self._state.head

    @property
    def published(self) -> TreeHead | None:
        """The tree of the last checkpoint."""
        return self._signed

    @property
    def positions(self) -> Mapping[str, Any]:
        """What was given with the last records that are durable."""
        return self._state.positions

    @property
    def prunings(self) -> Sequence[Pruning]:
        """Records that prune the log and have not been followed yet."""
        return self._state.prunings

    @property
    def minimum(self) -> int:
        """The first index that is kept; entries below it are gone, or about to be."""
        return self._state.minimum

    def extend(self, records: Sequence[bytes]) -> None:
        """Takes records in; the next `append` makes them durable, before its own.

        Their full bundles are written, and nothing else of them, so a large batch
        needs neither much memory nor a partial bundle for each part of it.

        Args:
            records: Exact bytes, at most 65,535 each.

        Raises:
            ValueError: a record is too long; nothing was taken in.
            TrailUnavailableError: the disk refuses, now or before.
        """
        longest = max(map(len, records), default=0)
        if longest > ENTRY_BYTES_MAX:
            raise ValueError(
                f"a record has {longest} bytes; the trail holds {ENTRY_BYTES_MAX}"
            )
        with self._working():
            self._stage(self._growth.take(records))
            self._passing("taken")

    def append(
        self,
        records: Sequence[bytes],
        positions: Mapping[str, Any],
        prunings: Sequence[Pruning] = (),
    ) -> int:
        """Appends records; they and what is said of them are durable, or nothing is.

        Args:
            records: Exact bytes, at most 65,535 each.
            positions: All positions after these records, as JSON has them.
            prunings: Which of the records prune the log; remembered for `prune`.

        Returns:
            The index of the first of the records.

        Raises:
            ValueError: a record is too long; nothing was appended.
            TrailUnavailableError: the disk refuses, now or before.
        """
        first = self._growth.size
        self.extend(records)
        with self._working():
            known = self._state.size
            self._stage(self._growth.part_of_bundle(known))
            self._files.flush()
            self._passing("entries")
            self._stage(self._growth.tiles(known))
            self._files.flush()
            self._passing("tiles")
            remembered = [*self._state.prunings, *prunings]
            self._state = self._put_state(positions, remembered)
            self._passing("state")
        return first

    def publish(self) -> bytes:
        """Signs and publishes a checkpoint of what is durable.

        The tree that was signed last is read from the disk again, and the new one
        is verified to begin with it. Where nothing is new, what witnesses added
        to the checkpoint stays.

        Returns:
            The signed note.

        Raises:
            TrailDamagedError: it would contradict what was signed; nothing is.
            TrailUnavailableError: the disk refuses, now or before.
        """
        with self._working():
            head = self._state.head
            last = self._last_signed()
            note, signed = last if last is not None else (b"", None)
            if signed != self._signed:
                raise TrailDamagedError(
                    f"{self._folder / 'checkpoint'} is not the one published last"
                )
            if signed != head:
                if signed is not None:
                    self._check_continues(signed, head, head.size)
                note = sign_checkpoint(Checkpoint(self.origin, head), self._key)
            self._files.put("checkpoint", note)
            self._signed = head
            self._passing("checkpoint")
            self._sweep()
        return note

    def prune(self, covered: int) -> bool:
        """Removes full bundles of entries by the records that say so; hashes stay.

        The new minimum is durable before the first bundle goes: a kill in between
        leaves what the next call finishes.

        Args:
            covered: Only records with a smaller index count, and of these only
                those in the last checkpoint.

        Returns:
            Whether more is left: at most BUNDLES_AT_ONCE are removed.

        Raises:
            TrailUnavailableError: the disk refuses, now or before.
        """
        state = self._state
        covered = min(covered, self._signed.size if self._signed is not None else 0)
        due = [one.below for one in state.prunings if one.at < covered]
        if not due and state.removed == state.minimum:
            return False
        with self._working():
            if due:
                later = [one for one in state.prunings if one.at >= covered]
                minimum = max(state.minimum, *due)
                state = msgspec.structs.replace(state, minimum=minimum, prunings=later)
                self._files.put("state.json", encode_state(state))
                self._passing("minimum")
            begin = state.removed // TILE_WIDTH
            end = min(state.minimum // TILE_WIDTH, begin + BUNDLES_AT_ONCE)
            self._files.unlink(map(bundle_path, range(begin, end)))
            self._passing("removed")
            self._state = msgspec.structs.replace(state, removed=end * TILE_WIDTH)
        return self._state.removed < self._state.minimum

    def cosign(self, body: bytes, signature: NoteSignature) -> bool:
        """Adds a witness's signature to the checkpoint, in place of an older one.

        Returns:
            Whether that text still is the checkpoint; if not, nothing is done.

        Raises:
            TrailDamagedError: the checkpoint is not what was published.
            TrailUnavailableError: the disk refuses, now or before.
        """
        with self._working():
            last = self._last_signed()
            note = None if last is None else parse_note(last[0])
            if note is None or note.body != body:
                return False
            whose = signature[:2]
            others = [one for one in note.signatures if one[:2] != whose]
            self._files.put("checkpoint", format_note(Note(body, (*others, signature))))
        return True

    def close(self) -> None:
        """Lets go of the log."""
        if self._lock >= 0:
            self._files.close()
            os.close(self._lock)
            self._lock = -1
        self._usable = False

    # -- taking up ---------------------------------------------------------------

    def _take_lock(self) -> int:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        descriptor = os.open(self._folder / "lock", flags, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise TrailUnavailableError(
                f"another process writes the trail {self._folder}"
            ) from None
        return descriptor

    def _take_up(self) -> tuple[TrailState, TreeHead | None]:
        data = read_file(self._folder / "state.json", STATE_BYTES_MAX)
        if data is None:
            for name in ("checkpoint", "tile"):
                if (self._folder / name).exists():
                    raise TrailDamagedError(
                        f"{self._folder} has a {name} but no state.json"
                    )
            state = TrailState(origin=self._key.key.name)
            self._files.put("state.json", encode_state(state))
            return state, None
        state = decode_state(data)
        if state.origin != self._key.key.name:
            raise TrailDamagedError(
                f"{self._folder} is the log {state.origin}; "
                f"the key is that of {self._key.key.name}"
            )
        self._growth = self._loaded(state)
        last = self._last_signed()
        signed = last[1] if last is not None else None
        if signed is None and state.signed is not None:
            raise TrailDamagedError(
                f"{self._folder / 'checkpoint'} is missing; "
                f"one of {state.signed_size} records was published"
            )
        if signed is not None:
            self._check_continues(signed, state.head, state.size)
        if state.signed is not None and signed is not None:
            self._check_continues(state.signed, signed, state.size)
        return state, signed

    def _loaded(self, state: TrailState) -> Growth:
        """Reads what is not full yet, and compares it with the state's root."""
        reader = TreeReader(self._folder, state.size)
        tree = CompactRange()
        edge: list[list[bytes]] = []
        for level in reversed(range(level_count(state.size))):
            count = state.size >> TILE_BITS * level
            width = count % TILE_WIDTH
            hashes = list(reader.tile(level, count // TILE_WIDTH)) if width else []
            edge.insert(0, hashes)
            for one in hashes:
                tree.append(one, TILE_BITS * level)
            known = state.frontier[: len(tree.frontier)]
            if list(tree.frontier) != known:
                name = tile_path(level, count // TILE_WIDTH, width)
                raise TrailDamagedError(f"{name} is not the tile that was written")
        width = state.size % TILE_WIDTH
        records = reader.bundle(state.size // TILE_WIDTH) if width else []
        return Growth(edge, records, state.size)

    def _last_signed(self) -> tuple[bytes, TreeHead] | None:
        note = read_checkpoint(self._folder)
        if note is None:
            return None
        try:
            checkpoint = parse_checkpoint(verified(note, [self._key])[0].body)
        except NoteError as error:
            raise TrailDamagedError(
                f"{self._folder / 'checkpoint'} is damaged: {error.message}"
            ) from error
        if checkpoint.origin != self._key.key.name:
            raise TrailDamagedError(
                f"{self._folder / 'checkpoint'} is of {checkpoint.origin}"
            )
        return note, checkpoint.head

    def _check_continues(self, old: TreeHead, new: TreeHead, here: int) -> None:
        """Verifies with the tiles on disk that a tree begins with an older one."""
        if max(old.size, new.size) > here:
            raise TrailDamagedError(
                f"a tree of {max(old.size, new.size)} records was signed, and "
                f"{here} are here"
            )
        try:
            path = TreeReader(self._folder, new.size).consistency(old.size)
            verify_consistency(old, new, path)
        except ProofError as error:
            raise TrailDamagedError(
                f"a tree of {old.size} records was signed that the log does not "
                f"continue: {error.message}; nothing is signed"
            ) from error

    # -- writing -----------------------------------------------------------------

    def _stage(self, files: Sequence[File]) -> None:
        for name, data in files:
            self._files.add(name, data)

    def _put_state(
        self, positions: Mapping[str, Any], prunings: list[Pruning]
    ) -> TrailState:
        tree = self._growth.tree()
        signed = self._signed
        state = msgspec.structs.replace(
            self._state,
            size=tree.size,
            root=tree.root(),
            frontier=list(tree.frontier),
            signed_size=signed.size if signed is not None else 0,
            signed_root=signed.root if signed is not None else b"",
            prunings=prunings,
            positions=dict(positions),
        )
        self._files.put("state.json", encode_state(state))
        return state

    def _sweep(self) -> None:
        """Removes partial files of published trees that full ones replaced."""
        before, now = self._state.swept, self._state.size
        for number in range(before // TILE_WIDTH, now // TILE_WIDTH):
            self._files.remove(bundle_path(number) + ".p")
        for level in range(level_count(now)):
            bits = TILE_BITS * (level + 1)
            for number in range(before >> bits, now >> bits):
                self._files.remove(tile_path(level, number) + ".p")
        self._state = msgspec.structs.replace(self._state, swept=now)

    @contextmanager
    def _working(self) -> Iterator[None]:
        if not self._usable:
            raise TrailUnavailableError(
                f"the trail {self._folder} failed before, or is closed: open it anew"
            )
        self._usable = False
        with self._unavailable():
            yield
        self._usable = True

    @contextmanager
    def _unavailable(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise TrailUnavailableError(
                f"the trail {self._folder} cannot be written: {error.strerror}"
            ) from error
