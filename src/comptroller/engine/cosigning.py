"""The log's side of witnesses: each checkpoint is shown to them, and heard back.

Nothing waits for a witness. What one refuses is recorded in the trail itself, since
it means that the trail is not what the witness saw.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, Protocol, TypeAlias

from comptroller.core.checkpoint import (
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
    format_submission,
    signed_by,
)
from comptroller.core.errors import NoteError
from comptroller.core.timestamps import rfc3339
from comptroller.engine.trail_ports import WitnessStatus
from comptroller.engine.trail_records import TrailWitnessRefused

_SIZE: Final = re.compile(rb"(0|[1-9][0-9]{0,18})\n?")
_REFUSALS: Final = frozenset({400, 403, 404, 409, 422})
_SAID_MAX: Final = 200


class WitnessReply(NamedTuple):
    """What a witness answered."""

    status: int
    body: bytes


class WitnessClient(Protocol):
    """The way to a witness."""

    def add_checkpoint(self, data: bytes) -> WitnessReply:
        """Asks once, for a bounded time.

        Raises:
            WitnessUnavailableError: there was no answer.
        """


class Cosigned(NamedTuple):
    """The witness signed."""

    checkpoint: bytes
    """The note as it was shown, with the witness's signature in the last line."""
    body: bytes
    signature: NoteSignature
    size: int
    time_s: int


class Refused(NamedTuple):
    """The witness answered, and does not sign."""

    status: int
    """Of its HTTP answer."""
    size: int
    """Of the tree that it was shown."""
    known: int | None
    """Of the tree that it signed last, as far as it says."""
    why: str


class Away(NamedTuple):
    """The witness cannot be asked now."""

    why: str


Outcome: TypeAlias = Cosigned | Refused | Away


class Asking:
    """Asks one witness; remembers what it signed last.

    Args:
        client: the way to it.
        witness: its key.
        path: gives the consistency proof between two sizes of the log.
        known: the size that it signed last, as far as is known here.
    """

    def __init__(
        self,
        client: WitnessClient,
        witness: Verifier,
        path: Callable[[int, int], Sequence[bytes]],
        known: int = 0,
    ) -> None:
        self._client = client
        self._witness = witness
        self._path = path
        self._known = known

    def ask(self, note: bytes) -> Outcome:
        """Shows a checkpoint.

        Raises:
            NoteError: what is shown is no checkpoint.
            ProofError: the log has no such tree.
            TrailDamagedError: the log's tiles are not what was written.
            TrailUnavailableError: they cannot be read.
            WitnessUnavailableError: there was no answer.
        """
        size = parse_checkpoint(parse_note(note).body).head.size
        old = min(self._known, size)
        for _ in range(2):
            path = tuple(self._path(old, size))
            asked = format_submission(Submission(old, path, note))
            reply = self._client.add_checkpoint(asked)
            known = _size(reply)
            if known is None or known == old or known > size:
                return self._heard(reply, note, size, known)
            old = self._known = known
        return Away("it signs for another writer of this log at the same time")

    def _heard(
        self, reply: WitnessReply, note: bytes, size: int, known: int | None
    ) -> Outcome:
        if reply.status == 200:
            return self._signed(reply.body, note, size)
        if reply.status not in _REFUSALS:
            return Away(f"it answers {reply.status}: {_said(reply.body)}")
        why = f"it answers {reply.status}: {_said(reply.body)}"
        if known is not None and known > size:
            why = f"it signed {known} records, the trail has {size}: truncated"
        elif known is not None:
            why = f"it signed another tree of {known} records: rewritten or forked"
        elif reply.status == 422:
            why = f"the trail does not continue what it signed: {_said(reply.body)}"
        return Refused(reply.status, size, known, why)

    def _signed(self, lines: bytes, note: bytes, size: int) -> Outcome:
        try:
            shown = parse_note(note)
            answered = parse_note(shown.body + b"\n" + lines)
            found = signed_by(answered, [self._witness])
            if not found:
                named = f"{self._witness.key.name}+{self._witness.key.key_id.hex()}"
                return Refused(200, size, None, f"its answer is not signed by {named}")
            time_s = cosignature_time(found[0].signature)
        except NoteError as error:
            return Refused(200, size, None, f"its answer: {error.message}")
        self._known = size
        kept = format_note(Note(shown.body, (*shown.signatures, found[0])))
        return Cosigned(kept, shown.body, found[0], size, time_s)


def _size(reply: WitnessReply) -> int | None:
    if reply.status != 409:
        return None
    found = _SIZE.fullmatch(reply.body)
    return None if found is None else int(found[1])


def _said(body: bytes) -> str:
    text = body[:_SAID_MAX].decode(errors="replace")
    return "".join(one if one.isprintable() else " " for one in text).strip()


class WitnessDesk(Protocol):
    """Asks one witness beside everything else, and again when it is away."""

    @property
    def name(self) -> str:
        """The witness's name."""

    @property
    def url(self) -> str:
        """Where it is asked."""

    @property
    def is_asking(self) -> bool:
        """Whether it has something to ask that was not tried yet."""

    def offer(self, note: bytes) -> None:
        """Takes the newest checkpoint; one that was not asked for yet is dropped."""

    def take(self) -> Sequence[Outcome]:
        """What was heard since."""


class _Log(Protocol):
    """Where cosignatures go."""

    def cosign(self, body: bytes, signature: NoteSignature) -> bool:
        """Adds a witness's signature, if this is still the checkpoint."""


RecordRefusal: TypeAlias = Callable[[str, TrailWitnessRefused], None]


class Cosigning:
    """All witnesses of a trail, and how each is doing.

    Args:
        desks: one a witness.
        show: takes how they are doing, whenever that changes.
        tell: takes a line for the operator's log.
    """

    def __init__(
        self,
        desks: Sequence[WitnessDesk],
        show: Callable[[Sequence[WitnessStatus]], None],
        tell: Callable[[str], None],
    ) -> None:
        self._desks = desks
        self._show = show
        self._tell = tell
        self._statuses = {one.name: WitnessStatus(one.name, one.url) for one in desks}
        self._recorded: dict[str, int] = {}
        show(list(self._statuses.values()))

    @property
    def is_asking(self) -> bool:
        """Whether some witness has not been tried with the newest checkpoint."""
        return any(one.is_asking for one in self._desks)

    @property
    def statuses(self) -> list[WitnessStatus]:
        """How each witness is doing, as last heard."""
        return list(self._statuses.values())

    @property
    def problem(self) -> str:
        """Which witnesses refuse, in words; empty: none does."""
        return "; ".join(
            f"the witness {one.name} refuses: {one.problem}"
            for one in self._statuses.values()
            if one.is_refusing
        )

    @property
    def size(self) -> int:
        """The largest tree that a witness signed since this began; 0: none did."""
        return max((one.size for one in self._statuses.values()), default=0)

    def offer(self, note: bytes) -> None:
        """Shows a checkpoint to every witness; does not wait."""
        for desk in self._desks:
            desk.offer(note)

    def hear(self, log: _Log, record: RecordRefusal) -> None:
        """Takes what was heard: signatures to the checkpoint, refusals to the trail.

        Args:
            log: whose checkpoint it is.
            record: puts a refusal into the trail: once, until the witness signs.

        Raises:
            TrailUnavailableError: the checkpoint cannot be written.
        """
        before = dict(self._statuses)
        for desk in self._desks:
            for outcome in desk.take():
                if isinstance(outcome, Cosigned):
                    log.cosign(outcome.body, outcome.signature)
                    self._recorded.pop(desk.name, None)
                elif isinstance(outcome, Refused):
                    self._refused(desk, outcome, record)
                self._note(desk, outcome)
        if before != self._statuses:
            self._show(list(self._statuses.values()))

    def _refused(
        self, desk: WitnessDesk, outcome: Refused, record: RecordRefusal
    ) -> None:
        # Of one rewrite a witness says 409 while the sizes agree, and 422 after.
        status = 422 if outcome.status == 409 else outcome.status
        if self._recorded.get(desk.name) == status:
            return
        self._recorded[desk.name] = status
        data = TrailWitnessRefused(
            witness=desk.name,
            status=outcome.status,
            size=outcome.size,
            known=outcome.known,
            why=outcome.why,
        )
        record(f"witness/{desk.name}", data)

    def _note(self, desk: WitnessDesk, outcome: Outcome) -> None:
        old = self._statuses[desk.name]
        if isinstance(outcome, Cosigned):
            time = rfc3339(outcome.time_s * 10**9)
            new = WitnessStatus(desk.name, desk.url, outcome.size, time)
            if old.problem is not None:
                self._tell(f"the witness {desk.name} signs again")
        else:
            is_refusing = isinstance(outcome, Refused)
            new = WitnessStatus(
                desk.name, desk.url, old.size, old.time, outcome.why, is_refusing
            )
            if (old.problem is None) or (old.is_refusing != is_refusing):
                how = "REFUSES this trail" if is_refusing else "is away"
                self._tell(
                    f"the witness {desk.name} at {desk.url} {how}: {new.problem}"
                )
        self._statuses[desk.name] = new
