"""The witness's side: sign what continues what was signed, and nothing else.

C2SP tlog-witness. Whoever runs it belongs to another team than the log's: it is what
keeps the holder of the log's key from rewriting it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple, Protocol

from comptroller.core.checkpoint import (
    Checkpoint,
    Note,
    NoteSignature,
    Verifier,
    format_note,
    parse_checkpoint,
    parse_note,
)
from comptroller.core.cosignature import (
    Submission,
    cosignature_time,
    parse_submission,
    signed_by,
)
from comptroller.core.errors import NoteError, ProofError, TrailDamagedError
from comptroller.core.merkle import EMPTY_ROOT, TreeHead, verify_consistency
from comptroller.engine.ports import Clock

CLOCK_SLACK_S: Final = 60
SIZE_TYPE: Final = "text/x.tlog.size"
_TEXT: Final = "text/plain; charset=utf-8"


class Cosigner(Verifier, Protocol):
    """The witness's own key."""

    def cosign(self, body: bytes, time_s: int) -> bytes:
        """Signs a checkpoint's text, with the time in it (tlog-cosignature)."""


class WitnessStates(Protocol):
    """What the witness remembers of each log; this process alone writes it."""

    def get(self, origin: str) -> bytes | None:
        """The checkpoint that was signed last; None: none ever was.

        Raises:
            OSError: it cannot be read.
        """

    def put(self, origin: str, note: bytes) -> None:
        """Keeps a checkpoint; when this returns, a loss of power keeps it, too.

        Raises:
            OSError: the disk refuses; what is there is the old one or this one.
        """

    def keep_evidence(self, origin: str, note: bytes) -> None:
        """Keeps a checkpoint that contradicts what was signed; the first one stays.

        Raises:
            OSError: the disk refuses.
        """


class Answer(NamedTuple):
    """A reply of the protocol."""

    status: int
    body: bytes
    kind: str = _TEXT


class Witness:
    """Answers `add-checkpoint`, one request at a time: not for several threads.

    Args:
        key: its own.
        logs: by origin, the keys of the logs that it watches.
        states: what it remembers.
        clock: for the time in each cosignature.
        tell: takes what a person has to know, a line each.
    """

    def __init__(
        self,
        key: Cosigner,
        logs: Mapping[str, Sequence[Verifier]],
        states: WitnessStates,
        clock: Clock,
        tell: Callable[[str], None],
    ) -> None:
        self._key = key
        self._logs = logs
        self._states = states
        self._clock = clock
        self._tell = tell

    def add_checkpoint(self, data: bytes) -> Answer:
        """Answers a request with this body.

        Raises:
            OSError: the disk refuses; nothing that was signed has left.
            TrailDamagedError: what it remembers is not what it wrote.
        """
        try:
            submission = parse_submission(data)
            note = parse_note(submission.checkpoint)
            checkpoint = parse_checkpoint(note.body)
        except NoteError as error:
            return _refusal(400, error.message)
        keys = self._logs.get(checkpoint.origin)
        if keys is None:
            return _refusal(404, f"{checkpoint.origin} is not a log watched here")
        signed = signed_by(note, keys)
        if not signed:
            return _refusal(403, f"not signed by a key of {checkpoint.origin}")
        if submission.old_size > checkpoint.head.size:
            return _refusal(400, "the old size is larger than the checkpoint's")
        return self._judge(submission, checkpoint, Note(note.body, tuple(signed)))

    def latest(self, origin: str) -> tuple[TreeHead, int]:
        """The tree that was signed last, and when.

        Raises:
            OSError: it cannot be read.
            TrailDamagedError: it is not what was written.
        """
        data = self._states.get(origin)
        if data is None:
            return TreeHead(0, EMPTY_ROOT), 0
        try:
            note = parse_note(data)
            checkpoint = parse_checkpoint(note.body)
            own = signed_by(note, [self._key])
            if not own or checkpoint.origin != origin:
                raise TrailDamagedError(
                    f"what is remembered of {origin} was not signed by this witness:"
                    " nothing is signed until a person looked"
                )
            return checkpoint.head, cosignature_time(own[0].signature)
        except NoteError as error:
            raise TrailDamagedError(
                f"what is remembered of {origin} is damaged: {error.message}"
            ) from error

    def _judge(self, asked: Submission, checkpoint: Checkpoint, note: Note) -> Answer:
        head, (known, then_s) = checkpoint.head, self.latest(checkpoint.origin)
        if known.size == head.size and known.root != head.root:
            self._refuse(checkpoint, note, f"another tree of {known.size} was signed")
            return _conflict(known.size)
        if asked.old_size != known.size:
            if head.size < known.size:
                said = f"{known.size} records were signed: truncated, or an old one"
                self._tell(f"refused {_named(checkpoint)}: {said}")
            return _conflict(known.size)
        try:
            verify_consistency(known, head, asked.path)
        except ProofError as error:
            self._refuse(checkpoint, note, error.message)
            return _refusal(422, error.message)
        now_s = self._clock.now_ns() // 10**9
        if now_s < then_s - CLOCK_SLACK_S:
            self._tell(f"signs nothing: the clock is {then_s - now_s} s behind its own")
            return _refusal(503, "the clock of this witness was set back")
        return self._sign(checkpoint.origin, note, max(now_s, then_s))

    def _sign(self, origin: str, note: Note, time_s: int) -> Answer:
        key = self._key.key
        signature = self._key.cosign(note.body, time_s)
        own = NoteSignature(key.name, key.key_id, signature)
        self._states.put(origin, format_note(Note(note.body, (*note.signatures, own))))
        line = format_note(Note(b"", (own,))).removeprefix(b"\n")
        return Answer(200, line)

    def _refuse(self, checkpoint: Checkpoint, note: Note, why: str) -> None:
        """Signed by the log, and not what was signed before: kept, and told."""
        self._states.keep_evidence(checkpoint.origin, format_note(note))
        self._tell(f"refused {_named(checkpoint)}: {why}")


def _named(checkpoint: Checkpoint) -> str:
    head = checkpoint.head
    return f"{checkpoint.origin}, {head.size} records, root {head.root.hex()[:16]}…"


def _conflict(size: int) -> Answer:
    return Answer(409, b"%d\n" % size, SIZE_TYPE)


def _refusal(status: int, why: str) -> Answer:
    return Answer(status, why.encode() + b"\n")
