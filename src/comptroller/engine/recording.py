"""Recording: the request path's records, written from pre-encoded pieces.

Serialising costs more than anything else that a record needs, so what is the same
for every request of an entitlement is encoded once. The shapes are those of
engine/records.py; a test decodes every record written here with them.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, NamedTuple

import msgspec

from comptroller.core.usage import (
    GENERATED_CLASSES,
    PROMPT_CLASSES,
    Usage,
    UsageSource,
    total,
)
from comptroller.engine import records
from comptroller.engine.ports import Clock, Journal

RAW_USAGE_BYTES_MAX: Final = 4096
_NULL: Final = b"null"

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


class Ending(NamedTuple):
    """How an allowed request ended, for its settlement record."""

    outcome: str
    status: int | None
    model_answered: str | None
    response_id: str | None
    usage: Usage
    usage_source: UsageSource
    usage_raw: tuple[bytes, ...]
    passes: tuple[records.Pass, ...]
    service_tier: str | None
    rate_card: bytes
    """The JSON of the version, encoded once by its entitlement."""
    cost_nano_usd: int
    cost_source: str
    hold_exceeded: bool
    duration_us: int
    first_byte_us: int | None


class Recorder:
    """Writes the request path's records into the worker's journal."""

    def __init__(self, journal: Journal, clock: Clock) -> None:
        self._journal = journal
        self._clock = clock
        self._stamp = Stamp()
        self._source = json(journal.source)

    def decided(
        self,
        request_id: str,
        data: bytes,
        on_durable: Callable[[bool], None] | None,
    ) -> None:
        """Records a decision.

        Args:
            request_id: the decision's id, too.
            data: the members of `data` after the decision id, without braces.
            on_durable: see `Journal.append`; None for a refusal.

        Raises:
            JournalUnavailableError: nothing may be forwarded.
        """
        self._append(b"decided", request_id.encode(), data, on_durable)

    def released(self, request_id: str, reason: str) -> None:
        """Records that nothing was sent upstream and nothing is owed.

        Raises:
            JournalUnavailableError: recovery will end the request at its hold.
        """
        data = b'"reason":' + json(reason)
        self._append(b"released", request_id.encode(), data, None)

    def settled(self, request_id: str, ending: Ending) -> None:
        """Records what a request consumed and cost.

        Raises:
            JournalUnavailableError: recovery will end the request at its hold.
        """
        self._append(b"settled", request_id.encode(), _settled_data(ending), None)

    def unauthenticated(self, reason: str, count: int) -> None:
        """Records how many requests were refused without a known credential.

        Raises:
            JournalUnavailableError: nothing may be forwarded.
        """
        data = b'"reason":%b,"count":%d' % (json(reason), count)
        self._append(b"unauthenticated", b"", data, None)

    def _append(
        self,
        kind: bytes,
        request_id: bytes,
        data: bytes,
        on_durable: Callable[[bool], None] | None,
    ) -> None:
        journal = self._journal
        sequence = journal.sequence
        if request_id:
            data = b'"decision_id":"%b",%b' % (request_id, data)
            name = request_id
        else:
            name = b"%d" % sequence
        # CloudEvents wants source + id unique: a request has at most one record of
        # a kind in a journal, so id and kind together are.
        journal.append(
            b'{"specversion":"1.0","id":"%b-%b","source":%b,'
            b'"type":"comptroller.request.%b.v1","time":"%b","subject":"request/%b",'
            b'"sequence":"%d","data":{%b}}'
            % (
                name,
                kind,
                self._source,
                kind,
                self._stamp.text(self._clock.now_ns()),
                request_id,
                sequence,
                data,
            ),
            on_durable,
        )
        journal.sequence = sequence + 1


def _text(value: str | None) -> bytes:
    return _NULL if value is None else json(value)


def _raw(blocks: tuple[bytes, ...]) -> bytes:
    """The provider's own usage blocks on one line, or nothing when out of bounds."""
    joined = b",".join(blocks)
    if len(joined) > RAW_USAGE_BYTES_MAX:
        return b""
    if b"\n" in joined or b"\r" in joined:
        # JSON has line breaks between tokens only (RFC 8259 §7), never in strings.
        joined = joined.replace(b"\r", b" ").replace(b"\n", b" ")
    return joined


def _settled_data(ending: Ending) -> bytes:
    usage = ending.usage
    return (
        b'"outcome":"%b","http.response.status_code":%b,'
        b'"gen_ai.response.model":%b,"gen_ai.response.id":%b,'
        b'"gen_ai.usage.input_tokens":%d,"gen_ai.usage.output_tokens":%d,'
        b'"comptroller.usage":%b,"comptroller.usage.source":"%b",'
        b'"comptroller.usage.raw":[%b],"comptroller.usage.passes":%b,'
        b'"comptroller.service_tier":%b,"comptroller.rate_card":%b,'
        b'"comptroller.cost.nano_usd":%d,"comptroller.cost.source":"%b",'
        b'"comptroller.hold.exceeded":%b,"comptroller.duration_us":%d,'
        b'"comptroller.first_byte_us":%b'
        % (
            ending.outcome.encode(),
            _NULL if ending.status is None else b"%d" % ending.status,
            _text(ending.model_answered),
            _text(ending.response_id),
            total(usage, PROMPT_CLASSES),
            total(usage, GENERATED_CLASSES),
            json(usage),
            ending.usage_source.encode(),
            _raw(ending.usage_raw),
            json(ending.passes) if ending.passes else b"[]",
            _text(ending.service_tier),
            ending.rate_card,
            ending.cost_nano_usd,
            ending.cost_source.encode(),
            b"true" if ending.hold_exceeded else b"false",
            ending.duration_us,
            _NULL if ending.first_byte_us is None else b"%d" % ending.first_byte_us,
        )
    )
