"""The floor: what all connections of one worker share."""

from __future__ import annotations

import asyncio
from asyncio import Transport
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Protocol

from comptroller.core.errors import JournalUnavailableError
from comptroller.core.registry import GatewaySettings, PersonId, Registry
from comptroller.engine import limit_refusals, refusals
from comptroller.engine.admission import Admission
from comptroller.engine.desk import Desk
from comptroller.engine.discretion import Asked, Discretion
from comptroller.engine.holding import Holding
from comptroller.engine.limit_refusals import Asker
from comptroller.engine.objects import Maker, made
from comptroller.engine.ownership import Ownership
from comptroller.engine.ports import Clock, Ids, Journal, TokenCounter, Upstreams
from comptroller.engine.recording import Recorder
from comptroller.engine.records import Settled, Stored
from comptroller.engine.refusals import Refusal
from comptroller.engine.upstream_buckets import UpstreamBuckets
from comptroller.engine.verdicts import Admitted, Ask, Refused
from comptroller.engine.waiting import Shortfall
from comptroller.gateway import heads
from comptroller.gateway.bounds import ClientBounds
from comptroller.gateway.gathering import Scans

EXCHANGES_MAX: Final = 4096
BODY_BYTES_ALL_MAX: Final = 512 * 1024 * 1024
SMALL_BODY_BYTES: Final = 64 * 1024
"""As many of these as there may be exchanges are no danger to memory."""
KEPT_BYTES_ALL_MAX: Final = 64 * 1024 * 1024
"""Of large bodies that were sent and that another provider may be sent, too."""
_DEFAULT_BOUNDS: Final = ClientBounds()
_DEFAULT_SETTINGS: Final = GatewaySettings(owner=PersonId(""))


def _no_discretion(_registry: Registry) -> Discretion | None:
    return None


class Connection(Protocol):
    """What the floor asks of a client's connection."""

    def sweep(self, tick: int) -> None:
        """Closes what took too long; one tick is a second."""

    def close_if_idle(self) -> None:
        """Closes a connection that waits for a next request."""

    def abort(self) -> None:
        """Closes at once."""


class Running(Protocol):
    """What the floor asks of a request under way."""

    admitted: Admitted | None
    drain_until_s: float | None

    def cut(self, refusal: Refusal) -> None:
        """Ends it, in its dialect."""

    def stop_draining(self) -> None:
        """Leaves the provider; what was seen is settled."""


class Floor:
    """State of a worker; everything on it runs on the one event loop."""

    exchanges_max = EXCHANGES_MAX
    body_bytes_all_max = BODY_BYTES_ALL_MAX
    kept_bytes_all_max = KEPT_BYTES_ALL_MAX

    def __init__(
        self,
        journal: Journal,
        upstreams: Upstreams,
        clock: Clock,
        ids: Ids,
        *,
        plain: bool,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self.recorder = Recorder(journal, clock)
        self.upstreams = upstreams
        self.scans: Scans | None = None
        """Scans of long prompts; the worker puts its own here."""
        self.clock = clock
        self.plain = plain
        """Whether clients speak plain HTTP: a half-closed TLS client is gone."""
        self.bounds = _DEFAULT_BOUNDS
        """How long clients may take; the worker puts its own here."""
        self.new_id = ids.new
        self.now_s = clock.monotonic_s
        self.soon = self._loop.call_soon
        self.tick = 0
        self.stopping = False
        self.connections: set[Connection] = set()
        self.exchanges: set[Running] = set()
        """Allowed requests that have no end yet."""
        self.waiting: set[Running] = set()
        """Requests that wait for room on a limit; nothing is decided yet."""
        self.holding: Holding | None = None
        """The worker's leases; the worker puts its own here."""
        self.ownership: Ownership | None = None
        """Whose stored objects are; the worker puts its own here."""
        self.counter: TokenCounter | None = None
        """Counts prompts whose bytes do not fit; the worker puts its own here."""
        self.buckets = UpstreamBuckets()
        """The providers' own limits, as far as this worker has met them."""
        self.draining = 0
        self.body_bytes = 0
        """Bytes of request bodies that are still arriving."""
        self.kept_bytes = 0
        """Bytes of large request bodies that were sent and may be sent again."""
        self.admission: Admission | None = None
        self.settings = _DEFAULT_SETTINGS
        self.discretion_of: Callable[[Registry], Discretion | None] = _no_discretion
        """What records say of persons; the worker puts its own here."""
        self._discretion: Discretion | None = None
        self.failures: dict[str, int] = {}
        self._strangers: dict[str, int] = {}

    def is_full(self, body_bytes: int) -> bool:
        """Whether a body that has grown so large is one too many.

        Bodies count while they arrive, and while a provider does not take them:
        small ones still pass where large ones have to wait.
        """
        if self.body_bytes > self.body_bytes_all_max:
            return True
        if body_bytes <= SMALL_BODY_BYTES:
            return False
        return self.body_bytes + self.upstreams.unsent_bytes > self.body_bytes_all_max

    def keep_body(self, body_bytes: int) -> bool:
        """Counts a large body that is kept once it was sent; False: no room for it.

        Who is told True takes the bytes off `kept_bytes` when it lets go of it.
        """
        if self.kept_bytes + body_bytes > self.kept_bytes_all_max:
            return False
        self.kept_bytes += body_bytes
        return True

    @property
    def body_bytes_max(self) -> int:
        """The largest request body."""
        return self.settings.body_bytes_max

    def take(self, desk: Desk) -> None:
        """Serves from a new desk; what it no longer allows is cut."""
        if self.holding is not None:
            self.holding.take(desk.registry, desk.snapshot.revision)
        self.admission = Admission(desk, self.holding, self.buckets, self.counter)
        self.settings = desk.registry.gateway
        self._discretion = self.discretion_of(desk.registry)
        judge = desk.judge
        is_scanning = judge is not None and judge.is_scanning
        if is_scanning and self.scans is not None:
            self.scans.warm()
        live = {c.id for c in desk.snapshot.credentials if c.revoked_ns is None}
        for exchange in tuple(self.exchanges):
            admitted = exchange.admitted
            assert admitted is not None  # noqa: S101  only allowed ones are here
            entitlement = admitted.entitlement
            is_declared = entitlement.service.id in desk.registry.services
            if entitlement.credential.id not in live or not is_declared:
                exchange.cut(refusals.CUT_REVOKED)

    def data_of(
        self,
        request_id: str,
        verdict: Admitted | Refused,
        ask: Ask | None,
        transport: Transport | None,
    ) -> bytes:
        """The members of a decision record; nothing: there is to be none.

        Args:
            request_id: the decision's id.
            verdict: what was decided.
            ask: on what.
            transport: of the client; None: it is gone.
        """
        data = verdict.data or b""
        discretion = self._discretion
        if discretion is None or ask is None or not data:
            return data
        peer = transport.get_extra_info("peername") if transport is not None else None
        address = str(peer[0]) if peer else ""
        tenant = self._tenant(verdict, ask)
        asked = Asked(ask.route, ask.body, address, tenant)
        return discretion.complete(request_id, data, asked)

    def _tenant(self, verdict: Admitted | Refused, ask: Ask) -> str | None:
        """Whose service asks."""
        if isinstance(verdict, Admitted):
            return verdict.entitlement.service.tenant
        assert self.admission is not None  # noqa: S101  it gave the verdict
        known = self.admission.identify(ask.secret, self.clock.now_ns(), ask.route)
        return None if isinstance(known, Refused) else known.service.tenant

    def remember(self, admitted: Admitted, settled: Settled) -> None:
        """Remembers whose the objects are that a reply has named."""
        if self.ownership is not None and isinstance(settled.stored, Stored):
            service = admitted.entitlement.service
            maker = Maker(service.tenant, service.id, settled.decision_id)
            self.ownership.made(made(settled.stored, maker))

    def refused_by_provider(
        self, admitted: Admitted, headers: list[tuple[bytes, bytes]]
    ) -> None:
        """A provider refused a request for its own rate: it is left alone a while."""
        model = admitted.entitlement.model
        bucket = model.provider, model.upstream
        now_ns = self.clock.now_ns()
        self.buckets.refused(bucket, heads.retry_after(headers), now_ns)

    def no_room(self, admitted: Admitted, shortfall: Shortfall) -> Refusal:
        """Why a stream whose hold grows has to end."""
        entitlement, need, lack = admitted.entitlement, admitted.need, shortfall.lack
        if self.admission is None or lack is None:
            return limit_refusals.LEDGER_UNAVAILABLE
        asker = Asker(entitlement.service, self.admission.desk.registry)
        rest, free = need.nano_usd - need.slice_nano_usd, shortfall.free
        what = limit_refusals.REST
        return limit_refusals.budget_exhausted(asker, rest, lack, free, what)

    def turned_away(self, code: str) -> str:
        """Counts what never became a request; returns an id to answer it with."""
        self.failures[code] = self.failures.get(code, 0) + 1
        return self.new_id()

    def count_unauthenticated(self, code: str) -> None:
        """Counts a refusal without a known credential."""
        self._strangers[code] = self._strangers.get(code, 0) + 1

    def sweep(self) -> None:
        """Once a second: timeouts, bounded drains, the counters' records."""
        self.tick += 1
        for connection in tuple(self.connections):
            connection.sweep(self.tick)
        if self.draining:
            now_s = self.now_s()
            for exchange in tuple(self.exchanges):
                until_s = exchange.drain_until_s
                if until_s is not None and until_s < now_s:
                    exchange.stop_draining()
        self.record_strangers()

    def record_strangers(self) -> None:
        """Records how many were refused without a known credential."""
        strangers, self._strangers = self._strangers, {}
        with suppress(JournalUnavailableError):  # they are in no one's books
            for reason, count in strangers.items():
                self.recorder.unauthenticated(reason, count)
