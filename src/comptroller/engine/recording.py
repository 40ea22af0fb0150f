"""Recording: the request path's records, in the shapes of engine/records.py.

Serialising costs more than anything else that a record needs, so what is the same
for every decision of an entitlement is encoded once and spliced in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final

import msgspec

from comptroller.engine import records
from comptroller.engine.control_records import CONTROL_HEARTBEAT, Heartbeat
from comptroller.engine.policy_records import POLICY_LOADED, PolicyLoaded
from comptroller.engine.ports import Clock, Journal

RAW_USAGE_BYTES_MAX: Final = 4096
BRACKETS_MAX: Final = 256
"""In a usage block: one that is nested deeper than its readers can follow would
stop them all, and so many brackets cannot be."""

json = msgspec.json.Encoder().encode


class Stamp:
    """RFC 3339 times in UTC with microseconds; the second is formatted once."""

    def __init__(self) -> None:
        self._second = -1
        self._prefix = b""

    def text(self, now_ns: int) -> bytes:
        """The time, such as `2026-11-21T19:00:00.123456Z`."""
        second, rest = divmod(now_ns, 1_000_000_000)
        if second != self._second:
            self._second = second
            moment = datetime.fromtimestamp(second, UTC)
            self._prefix = moment.strftime("%Y-%m-%dT%H:%M:%S").encode()
        return b"%b.%06dZ" % (self._prefix, rest // 1000)


class Recorder:
    """Writes the request path's records into the worker's journal.

    Every method raises JournalUnavailableError when the journal cannot record:
    then nothing may be forwarded, and what was is ended by recovery at its hold.
    """

    def __init__(self, journal: Journal, clock: Clock) -> None:
        self._journal = journal
        self._clock = clock
        self._stamp = Stamp()
        self._source = json(journal.source)

    @property
    def is_failed(self) -> bool:
        """Whether the journal has failed for good."""
        return self._journal.failed

    def decided(
        self,
        request_id: str,
        data: bytes,
        on_durable: Callable[[bool], None] | None,
        now_ns: int,
    ) -> None:
        """Records a decision.

        Args:
            request_id: the decision's id, too.
            data: the members of `data` after the decision id, without braces.
            on_durable: see `Journal.append`; None for a refusal.
            now_ns: when it was decided: the time by which its hold's windows go.
        """
        name = request_id.encode()
        data = b'{"decision_id":"%b",%b}' % (name, data)
        self._append(b"decided", name, data, on_durable, now_ns)

    def released(self, request_id: str, reason: str) -> None:
        """Records that nothing was sent upstream and nothing is owed."""
        released = records.Released(decision_id=request_id, reason=reason)
        self._append(b"released", request_id.encode(), json(released), None)

    def settled(self, settled: records.Settled) -> None:
        """Records what a request consumed and cost."""
        self._append(b"settled", settled.decision_id.encode(), json(settled), None)

    def extended(self, request_id: str, slice_nano_usd: int) -> None:
        """Records that the slice of a progressive hold is larger from now on."""
        extended = records.Extended(
            decision_id=request_id, slice_nano_usd=slice_nano_usd
        )
        name = f"{request_id}-{self._journal.sequence}".encode()
        self._append(b"extended", name, json(extended), None)

    def unauthenticated(self, reason: str, count: int) -> None:
        """Records how many requests were refused without a known credential."""
        name = b"%d" % self._journal.sequence
        data = json(records.Unauthenticated(reason=reason, count=count))
        self._append(b"unauthenticated", name, data, None)

    def returned(
        self, returns: Sequence[tuple[str, int]], on_durable: Callable[[bool], None]
    ) -> None:
        """Records leases that this worker gave back: account and amount."""
        data = records.LeaseReturned(
            returns=[records.ReturnedLease(account=a, amount=n) for a, n in returns]
        )
        self._append_other(records.LEASE_RETURNED, b"lease", json(data), on_durable)

    def policy_loaded(self, revision: str | None, previous: str | None) -> None:
        """Records that every later decision of this journal is by another bundle.

        Args:
            revision: the bundle; None: none.
            previous: the bundle before; None: none, or this worker is new.
        """
        data = PolicyLoaded(revision=revision, previous=previous)
        self._append_other(POLICY_LOADED, b"policy", json(data), None)

    def heartbeat(self, beat: Heartbeat) -> None:
        """Records which controls this worker enforces from now on."""
        self._append_other(CONTROL_HEARTBEAT, b"controls", json(beat), None)

    def _append_other(
        self,
        kind: str,
        subject: bytes,
        data: bytes,
        on_durable: Callable[[bool], None] | None,
    ) -> None:
        """Appends a record that is of no request."""
        journal = self._journal
        sequence = journal.sequence
        journal.append(
            b'{"specversion":"1.0","id":"%d-%b","source":%b,"type":"%b",'
            b'"time":"%b","subject":"%b","sequence":"%d","data":%b}'
            % (
                sequence,
                kind.split(".")[-2].encode(),
                self._source,
                kind.encode(),
                self._stamp.text(self._clock.now_ns()),
                subject,
                sequence,
                data,
            ),
            on_durable,
        )

    def _append(
        self,
        kind: bytes,
        name: bytes,
        data: bytes,
        on_durable: Callable[[bool], None] | None,
        now_ns: int = 0,
    ) -> None:
        """Appends a record, of now or of a moment just passed.

        CloudEvents wants source and id together unique: a request has at most one
        record of a kind in a journal, so its id and the kind are.
        """
        journal = self._journal
        sequence = journal.sequence
        journal.append(
            b'{"specversion":"1.0","id":"%b-%b","source":%b,'
            b'"type":"comptroller.request.%b.v1","time":"%b","subject":"request/%b",'
            b'"sequence":"%d","data":%b}'
            % (
                name,
                kind,
                self._source,
                kind,
                self._stamp.text(now_ns or self._clock.now_ns()),
                name,
                sequence,
                data,
            ),
            on_durable,
        )


def raw_usage(blocks: tuple[bytes, ...]) -> list[msgspec.Raw]:
    """The provider's own usage blocks, each on one line; none when out of bounds."""
    kept = []
    left = RAW_USAGE_BYTES_MAX
    for block in blocks:
        left -= len(block)
        if left < 0 or block.count(b"[") + block.count(b"{") > BRACKETS_MAX:
            return []
        if b"\n" in block or b"\r" in block:
            # JSON has line breaks between tokens only (RFC 8259 §7).
            kept.append(msgspec.Raw(block.replace(b"\r", b" ").replace(b"\n", b" ")))
        else:
            kept.append(msgspec.Raw(block))
    return kept
