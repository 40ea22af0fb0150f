"""The exchange: one request from its admission to its settlement.

The gateway owns the upstream call, not the client: whatever a client does, an
allowed request ends in exactly one of settled or released.
"""

from __future__ import annotations

from contextlib import suppress
from enum import IntEnum
from typing import Final

from msgspec.structs import replace

from comptroller.core.errors import JournalUnavailableError
from comptroller.core.usage import Reading
from comptroller.engine import refusals
from comptroller.engine.ports import UpstreamCall, UpstreamFailure
from comptroller.engine.refusals import Refusal
from comptroller.engine.settlement import NOTHING_READ, Reply, settle
from comptroller.engine.verdicts import Admitted, Ask, Refused
from comptroller.engine.waiting import Shortfall
from comptroller.gateway import heads, local
from comptroller.gateway.coding import CodingError
from comptroller.gateway.deciding import Deciding, read_ask
from comptroller.gateway.failover import (
    ANSWER_BYTES_MAX,
    LARGE_BODY_BYTES,
    Answer,
    Attempts,
    attempts_at,
    unanswered,
)
from comptroller.gateway.floor import Floor
from comptroller.gateway.inbound import Inbound
from comptroller.gateway.incoming import incoming
from comptroller.gateway.outward import Client, Outward, without
from comptroller.gateway.progress import Progress
from comptroller.wire.meter import Meter
from comptroller.wire.routes import LOCAL_OPERATIONS, Route, match

WHOLE_BYTES_MAX: Final = 1024 * 1024
"""A reply that is not a stream is held back up to this size, so that its cost can
go out with its head."""


class Stage(IntEnum):
    """How far a request is."""

    NEW = 0
    WAITING = 1
    """For room on a limit, or for what is missing; nothing is decided."""
    RECORDING = 2
    SENT = 3
    """The upstream call has begun; no head yet."""
    HOLDING = 4
    """The reply arrives and is held back."""
    STREAMING = 5
    """The reply's head went out to the client."""
    ENDED = 6


class Exchange:
    """One request; a sink for its upstream reply (port: ReplySink)."""

    # Defaults; most requests change few of them.
    stage: Stage
    admitted: Admitted | None = None
    drain_until_s: float | None = None
    """Set while the reply of a client that left is drained."""
    _first_byte_us: int | None = None
    _route: Route | None = None
    _call: UpstreamCall | None = None
    _meter: Meter | None = None
    _status: int | None = None
    _head = b""
    _held_bytes = 0
    _is_recorded = False
    _takes_events = False
    """Whether the reply is made of events, so that one more can end it."""
    _cut: Refusal | None = None
    _deciding: Deciding | None = None
    """Set while the request waits."""
    _progress: Progress | None = None
    _ask: Ask | None = None
    """Until it is sent; and once an attempt has failed that another one follows."""
    _attempts: Attempts | None = None
    """Set where the model runs in several places."""

    def __init__(self, floor: Floor, client: Client, inbound: Inbound) -> None:
        self.stage = Stage.NEW
        self._floor = floor
        self._inbound = inbound
        self._began_s = floor.now_s()
        self._held: list[bytes] = []
        self.request_id = floor.new_id()
        self._out = Outward(client, inbound, self.request_id)

    # -- before the provider -----------------------------------------------

    def begin(self) -> None:
        """Decides, and records the decision; nothing is sent before it is durable."""
        floor = self._floor
        inbound = self._inbound
        route = self._route = match(inbound.method, inbound.path)
        if route is None:
            self._refuse(refusals.UNKNOWN_ROUTE)
        elif not inbound.has_host:
            self._refuse(refusals.bad_request("HTTP/1.1 needs exactly one Host header"))
        elif route.operation in LOCAL_OPERATIONS:
            self._answer_here(route)
        else:
            ask = read_ask(floor, inbound, route)
            if isinstance(ask, Refusal):
                self._refuse(ask)
            else:
                self._decide(ask)

    def _decide(self, ask: Ask) -> None:
        """Decides by what is known, or finds out first what is missing."""
        floor = self._floor
        self._ask = ask
        assert floor.admission is not None  # noqa: S101
        now_ns = floor.clock.now_ns()
        verdict = floor.admission.admit(ask, now_ns)
        if isinstance(verdict, Admitted | Refused):
            self._decided(verdict, now_ns)
            return
        self.stage = Stage.WAITING
        floor.waiting.add(self)
        self._deciding = Deciding(floor, ask, self._waited)
        self._deciding.find_out(verdict)

    def _waited(self, verdict: Admitted | Refused, now_ns: int) -> None:
        """What was missing is known, or there is room; or it will not be."""
        if self._deciding is not None:
            self._ask = self._deciding.ask
            self._deciding = None
        self._floor.waiting.discard(self)
        self._decided(verdict, now_ns)

    def _decided(self, verdict: Admitted | Refused, now_ns: int) -> None:
        floor = self._floor
        data = floor.data_of(self.request_id, verdict, self._ask, self._out.transport)
        self._is_recorded = bool(data)
        try:
            if isinstance(verdict, Refused):
                self.stage = Stage.ENDED
                if data:
                    floor.recorder.decided(self.request_id, data, None, now_ns)
                self._turn_away(verdict.refusal)
            else:
                self.admitted = verdict
                self.stage = Stage.RECORDING
                floor.exchanges.add(self)
                floor.recorder.decided(self.request_id, data, self._recorded, now_ns)
        except JournalUnavailableError:
            if isinstance(verdict, Admitted):
                verdict.let_go()  # nobody else knows of it: nothing was recorded
            self._end()
            self._turn_away(refusals.JOURNAL_FAILED)

    def _recorded(self, is_durable: bool) -> None:  # noqa: FBT001  the port's signature
        """The decision is on disk: now, and not before, the provider is called."""
        floor = self._floor
        admitted = self.admitted
        assert admitted is not None  # noqa: S101
        if not is_durable:
            self._end()
            self._turn_away(refusals.JOURNAL_FAILED)
            return
        if self._cut is not None or self._out.client is None:
            self._release(self._cut.code if self._cut else "client_left")
            self._refuse(self._cut or refusals.STOPPING)
            return
        self.stage = Stage.SENT
        tail = self._route.tail if self._route is not None else ""
        request = heads.upstream_request(self._inbound, admitted, floor.settings, tail)
        self._call = floor.upstreams.call(request, self)
        self._sent(admitted)

    def _sent(self, admitted: Admitted) -> None:
        """Lets go of the body, unless another attempt may need it."""
        ask, self._ask = self._ask, None
        assert ask is not None  # noqa: S101
        attempts = self._attempts = self._attempts or attempts_at(self._floor, admitted)
        if attempts is not None:
            attempts.sent(ask, admitted)
            self._out.attempts = attempts.count
        if admitted.body_bytes > LARGE_BODY_BYTES:
            self._inbound = replace(self._inbound, body=b"")
            self.admitted = replace(admitted, body=b"")

    # -- ReplySink -----------------------------------------------------------

    def on_head(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """Chooses the meter; a stream's head goes out at once."""
        admitted, floor = self.admitted, self._floor
        assert admitted is not None  # noqa: S101
        self._status = status
        self._first_byte_us = self._elapsed_us()
        reply = incoming(admitted, status, headers, floor.clock.now_ns())
        self._meter = reply.meter
        self._head = reply.head
        self._takes_events = reply.takes_events
        if status == 429:
            floor.refused_by_provider(admitted, headers)
        self.stage = Stage.HOLDING
        if self._attempts is not None and self._out.client is not None:
            self._ask = self._attempts.after(status)
        if not reply.is_stream or self._ask is not None:
            return
        if admitted.path.progressive:
            self._progress = Progress(admitted, self._extended, self._progressed)
        self._send_head()

    def on_data(self, data: bytes) -> None:
        """Meters bytes as they pass."""
        assert self._meter is not None  # noqa: S101
        try:
            out = self._meter.feed(data)
        except CodingError as error:
            if self._call is not None:
                self._call.abort()
            self.on_failed(UpstreamFailure("garbage", str(error), sent=True))
            return
        if self.stage is Stage.STREAMING:
            self._out.send(out)
            if self._progress is not None:
                self._follow(self._progress, len(data))
        else:
            self._held.append(out)
            self._held_bytes += len(out)
            if self._held_bytes > WHOLE_BYTES_MAX or (
                self._ask is not None and self._held_bytes > ANSWER_BYTES_MAX
            ):
                self._ask = None
                self._send_head()

    def on_end(self) -> None:
        """The reply is whole: settle, then let the client have the rest."""
        assert self._meter is not None  # noqa: S101
        assert self.admitted is not None  # noqa: S101
        self._call = None  # its connection may serve another by now
        rest, reading = self._meter.finish()
        status = self._status or 0
        outcome = "upstream_error" if status >= 400 else "completed"
        out = self._out
        if out.client is None:
            outcome = "client_left"
        cost = self._settle(outcome, reading)
        was = self.stage
        self._end()
        if was is Stage.STREAMING:
            out.send(rest)
            out.end()
        elif out.client is not None:
            self._held.append(rest)
            body = self._held[0] if len(self._held) == 1 else b"".join(self._held)
            body = without(self.admitted.entitlement.key, body)
            if self._ask is not None:
                head = self._head
                self._again(Answer(self.request_id, None, status, head, body, cost))
            else:
                out.whole(self._status or 502, self._head, body, cost)

    def on_failed(self, failure: UpstreamFailure) -> None:
        """The reply will not be whole: settle what was seen, or release."""
        floor = self._floor
        floor.failures[failure.code] = floor.failures.get(failure.code, 0) + 1
        was = self.stage
        if not failure.sent:
            if self._attempts is not None and self._out.client is not None:
                self._ask = self._attempts.unsent()
            self._release(f"upstream_{failure.code}")
        else:
            self._ask = None
            self._settle_broken("upstream_broke")
        if was is Stage.STREAMING:
            self._out.break_off()
            return
        assert self.admitted is not None  # noqa: S101
        refusal = unanswered(self.admitted, failure)
        if self._ask is not None:
            self._again(Answer(self.request_id, refusal))
        else:
            self._refuse(refusal)

    def _again(self, answer: Answer) -> None:
        """Asks elsewhere, by a decision of its own; the client knows of nothing yet."""
        attempts, admitted, ask = self._attempts, self.admitted, self._ask
        assert attempts is not None  # noqa: S101
        assert admitted is not None  # noqa: S101
        assert ask is not None  # noqa: S101
        ask = attempts.failed(answer, ask, admitted)
        self.admitted = self._first_byte_us = self._status = None
        self._call = self._meter = self._progress = None
        self._held = []
        self._held_bytes = 0
        self._began_s = self._floor.now_s()
        self.request_id = self._out.request_id = self._floor.new_id()
        self._decide(ask)

    # -- the client's side ---------------------------------------------------

    def client_blocked(self) -> None:
        """The client does not read: neither do we."""
        if self._call is not None and self.stage is Stage.STREAMING:
            self._call.pause()

    def client_ready(self) -> None:
        """The client reads again."""
        is_stopped = self._progress is not None and self._progress.is_stopped
        if self._call is not None and self.stage is Stage.STREAMING and not is_stopped:
            self._call.resume()

    def client_left(self) -> None:
        """The client is gone: the reply is drained to its usage, within bounds."""
        self._out.client = None
        if self.stage is Stage.WAITING:
            self._stop_waiting()
        if self.stage not in (Stage.SENT, Stage.HOLDING, Stage.STREAMING):
            return  # nothing was sent yet, or all is done
        floor = self._floor
        self._ask = None
        self._held.clear()
        settings = floor.settings
        if floor.draining >= settings.drain_count_max:
            self.stop_draining()
            return
        floor.draining += 1
        self.drain_until_s = floor.now_s() + settings.drain_timeout_s
        if self._call is not None:
            self._call.resume()

    def stop_draining(self) -> None:
        """Out of bounds: the provider is left, what was seen is settled."""
        self._leave("client_left")

    def cut(self, refusal: Refusal) -> None:
        """Ends a request under way, in its dialect: its credential was revoked."""
        if self.stage is Stage.WAITING:
            self._stop_waiting()
            self._refuse(refusal)
            return
        self._cut = refusal
        if self.stage is Stage.RECORDING:
            return  # _recorded() releases it
        was = self.stage
        self._leave("cut")
        if self._route is None:
            return
        if was is not Stage.STREAMING:
            self._refuse(refusal)
        elif self._takes_events:
            self._out.cut(refusal, self._route)
        else:
            self._out.break_off()  # whatever is added would look like a whole reply

    # -- a hold that grows -----------------------------------------------------

    def _follow(self, progress: Progress, size: int) -> None:
        """Makes sure that what is generated is held, or stops reading it."""
        progress.passed(size, self._meter)
        if progress.is_stopped and self._call is not None:
            self._call.pause()

    def _extended(self, slice_nano_usd: int) -> None:
        with suppress(JournalUnavailableError):  # recovery books the smaller slice
            self._floor.recorder.extended(self.request_id, slice_nano_usd)

    def _progressed(self, shortfall: Shortfall | None) -> None:
        """The stream may go on, or has to end for want of room."""
        if shortfall is not None:
            admitted = self.admitted
            assert admitted is not None  # noqa: S101
            self.cut(self._floor.no_room(admitted, shortfall))
            return
        client = self._out.client
        if self._call is not None and (client is None or not client.is_blocked):
            self._call.resume()

    # -- inside --------------------------------------------------------------

    def _answer_here(self, route: Route) -> None:
        answer = local.answer(self._floor, route, self._inbound)
        if isinstance(answer, Refusal):
            self._refuse(answer)
        else:
            self._out.answer(answer)

    def _turn_away(self, refusal: Refusal) -> None:
        """Refuses; of a later attempt the client does not know: it gets the first's.

        Unless it may not be told even that any more.
        """
        attempts = self._attempts
        is_told = (
            attempts is not None
            and refusal.status != 401
            and attempts.answer(self._out, self._route)
        )
        if not is_told:
            self._refuse(refusal)

    def _refuse(self, refusal: Refusal) -> None:
        if self._out.client is None:
            return
        if not self._is_recorded and refusal.code in refusals.UNKNOWN_CALLERS:
            self._floor.count_unauthenticated(refusal.code)
        self._out.refuse(refusal, self._route)

    def _send_head(self) -> None:
        """Sends the head of a reply that goes on in pieces."""
        self.stage = Stage.STREAMING
        held, self._held = self._held, []
        out = self._out
        out.begin(self._status or 502, self._head)
        for data in held:
            out.send(data)
        client = out.client
        if client is not None and client.is_blocked:
            self.client_blocked()

    def _elapsed_us(self) -> int:
        return int((self._floor.now_s() - self._began_s) * 1e6)

    def _stop_waiting(self) -> None:
        """Waits no more; nothing was decided or held."""
        if self._deciding is not None:
            self._deciding.cancel()
            self._deciding = None
        self._floor.waiting.discard(self)
        self.stage = Stage.ENDED

    def _leave(self, outcome: str) -> None:
        """Leaves the provider in the middle; settles, if it heard of us at all."""
        if self._call is not None and not self._call.abort():
            self._release(outcome)
        else:
            self._settle_broken(outcome)

    def _settle_broken(self, outcome: str) -> None:
        reading = NOTHING_READ
        if self._meter is not None:
            _, reading = self._meter.finish()
            reading = reading._replace(complete=False)
        self._settle(outcome, reading)
        self._end()

    def _settle(self, outcome: str, reading: Reading) -> int | None:
        """Books what the request consumed; returns its cost in nano-USD.

        When the journal fails here, recovery ends the request at its hold: the
        hold stays held.
        """
        admitted = self.admitted
        assert admitted is not None  # noqa: S101
        reply = Reply(
            self.request_id,
            outcome,
            self._status,
            reading,
            self._elapsed_us(),
            self._first_byte_us,
        )
        settled = settle(admitted, reply)
        if self._progress is not None:
            self._progress.end()
        try:
            self._floor.recorder.settled(settled)
        except JournalUnavailableError:
            return None
        self._floor.remember(admitted, settled)
        admitted.settle(
            settled.cost_nano_usd, settled.input_tokens + settled.output_tokens
        )
        return settled.cost_nano_usd

    def _release(self, reason: str) -> None:
        """Nothing was sent, nothing is owed."""
        assert self.admitted is not None  # noqa: S101
        try:
            self._floor.recorder.released(self.request_id, reason)
            self.admitted.let_go()
        except JournalUnavailableError:
            pass  # recovery ends it at its hold
        finally:
            self._end()

    def _end(self) -> None:
        if self.stage is Stage.ENDED:
            return
        self.stage = Stage.ENDED
        self._floor.exchanges.discard(self)
        if self._attempts is not None:
            self._attempts.let_go()
        if self.drain_until_s is not None:
            self._floor.draining -= 1
            self.drain_until_s = None
