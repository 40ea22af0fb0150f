"""Verdicts: what is asked, and what admission says of it."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from comptroller.core.policy.prompt import Match, PromptText
from comptroller.engine.bounding import Bounded, Hold
from comptroller.engine.desk import Entitlement
from comptroller.engine.hold_path import HoldPath, Need
from comptroller.engine.holding import Holding
from comptroller.engine.judging import Judgement
from comptroller.engine.objects import Owned
from comptroller.engine.refusals import Refusal
from comptroller.wire.rate_headers import RateState
from comptroller.wire.references import Reference
from comptroller.wire.request import RequestFacts
from comptroller.wire.routes import Route


class Ask(msgspec.Struct, frozen=True):
    """What a client asks, as the gateway parsed it."""

    route: Route
    secret: bytes | None
    """The credential's secret, without its scheme."""
    body: bytes
    query: bytes
    """Without a credential."""
    run: bytes = b""
    """The run that it belongs to, as a header names it; empty: none does."""
    matches: tuple[Match, ...] | None = None
    """Of patterns in its prompt; None: they were not looked for yet."""
    unscanned: str | None = None
    """Why they could not be looked for; None: they could."""
    tried: tuple[tuple[str, str], ...] = ()
    """Deployments that failed it, as provider and upstream."""
    owned: tuple[Owned, ...] | None = None
    """Of the stored objects that it names, those that its tenant made; None: they
    were not asked for yet."""
    is_owner_unknown: bool = False
    """Whether nobody could say whose they are."""
    first_id: str | None = None
    """The decision of its first attempt, where this is a later one."""
    previous_id: str | None = None
    """The decision of the attempt before this one."""


class Candidate(msgspec.Struct, frozen=True):
    """A request that goes on as soon as its limits have room for it."""

    entitlement: Entitlement
    facts: RequestFacts
    ask: Ask
    run: str | None
    path: HoldPath
    bounded: Bounded
    hold: Hold
    need: Need
    judgement: Judgement | None
    """What the active policy says; None: none is active."""


class Admitted(msgspec.Struct, frozen=True):
    """A request that goes on."""

    entitlement: Entitlement
    facts: RequestFacts
    body: bytes
    """What is sent upstream; let go of when it was, if it is large."""
    body_bytes: int
    strip_usage: bool
    """Whether the stream's usage chunk was asked for by us alone."""
    hold: Hold
    data: bytes
    """The members of its decision record."""
    bounded: Bounded
    holding: Holding | None
    """Who holds it; None: no limit is on its path."""
    path: HoldPath
    need: Need
    notes: bytes = b""
    """Header lines that the client is told beside the reply's own."""

    def settle(self, cost_nano_usd: int, tokens: int) -> None:
        """Ends its hold: so much was spent, the rest is free again."""
        if self.holding is not None:
            self.holding.settle(self.path, self.need, cost_nano_usd, tokens)

    def rates(self) -> list[RateState]:
        """How the rate limits on its path stand; none: it has none."""
        if self.holding is None or not self.path.rates:
            return []
        return [
            RateState(
                stand.limit.rpartition("/")[2],
                stand.burst,
                stand.remaining,
                stand.reset_s,
            )
            for stand in self.holding.rates(self.path)
        ]

    def let_go(self) -> None:
        """Ends its hold: nothing was sent."""
        if self.holding is not None:
            self.holding.release(self.path, self.need)


class Refused(msgspec.Struct, frozen=True):
    """A request that goes no further."""

    refusal: Refusal
    data: bytes | None
    """The members of its decision record; None: no known credential."""


class NamedObjects(NamedTuple):
    """The stored objects that a request names."""

    tenant: str
    """Whose they should be."""
    named: tuple[Reference, ...]


class Missing(msgspec.Struct, frozen=True):
    """What has to be found out before a request can be decided on."""

    ask: Ask
    texts: tuple[PromptText, ...] = ()
    """To be scanned for patterns, and dropped."""
    objects: NamedObjects | None = None
    """Whose these are; the texts are not missing then, or not yet."""
