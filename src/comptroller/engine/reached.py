"""Reached thresholds at a worker: which models they put on whose requests.

Everything comes out of the snapshot. A worker that gets no new one leaves a budget's
window by the clock all the same: the next window has begun with nothing spent.
"""

from __future__ import annotations

from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

import msgspec

from comptroller.core.account import SCOPES, Where
from comptroller.core.budget_path import money_limits
from comptroller.core.registry import ModelId
from comptroller.core.window import span_at
from comptroller.engine.hold_path import NEVER_NS
from comptroller.engine.snapshot import Snapshot

KNOWN_MAX: Final = 10_000
"""Credentials whose steps are remembered."""

_HEADER: Final = b"x-comptroller-model-downgraded"

json = msgspec.json.Encoder().encode


class Step(NamedTuple):
    """A model that a reached threshold puts on requests."""

    use: ModelId
    percent: int
    account: str
    """Of the budget that reached it; see core.account."""


class Downgraded(NamedTuple):
    """What became of the model that a request asked for."""

    asked: ModelId
    step: Step

    def data(self) -> bytes:
        """The members of its decision record."""
        step = self.step
        by = {"account": step.account, "percent": step.percent, "use": step.use}
        return (
            b'"comptroller.model.downgraded_from":%b,'
            b'"comptroller.model.downgraded_by":%b' % (json(self.asked), json(by))
        )

    def note(self) -> bytes:
        """The header line that tells the client."""
        step = self.step
        budget = step.account.rpartition("@")[0]
        said = (
            f"{self.asked}; to={step.use}; budget={budget}; threshold={step.percent}%"
        )
        # Names come from the configuration; nothing in them may end the line.
        plain = said.encode("ascii", "replace")
        shown = bytes(c if 32 <= c < 127 else 63 for c in plain)
        return b"%b: %b\r\n" % (_HEADER, shown)


class Reached:
    """The reached thresholds of one snapshot, found by whose a request is."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._registry = snapshot.registry
        self._zone = ZoneInfo(snapshot.registry.timezone)
        self._percents = {one.account: one.percent for one in snapshot.reached}
        self._known: dict[str, tuple[int, int, tuple[Step, ...]]] = {}

    @property
    def is_empty(self) -> bool:
        """Whether no budget has reached any: there is nothing to look for."""
        return not self._percents

    def steps(self, where: Where, now_ns: int) -> tuple[Step, ...]:
        """What applies to a request that is decided now, the first one first.

        The highest share comes first, for it says how near the end is; of equal ones
        that of the budget nearest to the request, then of its shortest window.

        Args:
            where: whose it is; its run does not matter, for runs have no thresholds.
            now_ns: nanoseconds since the epoch.
        """
        known = self._known.get(where.credential)
        if known is None or not known[0] <= now_ns < known[1]:
            known = self._find(where, now_ns)
            if len(self._known) >= KNOWN_MAX:
                self._known.clear()
            self._known[where.credential] = known
        return known[2]

    def _find(self, where: Where, now_ns: int) -> tuple[int, int, tuple[Step, ...]]:
        """From when, and before when, it is so; and the steps."""
        from_ns, until_ns = 0, NEVER_NS
        found: list[tuple[tuple[int, int, int], Step]] = []
        for limited in money_limits(self._registry, where):
            if not limited.on_threshold:
                continue
            span = span_at(limited.window, self._zone, now_ns)
            ends_ns = NEVER_NS if span.ends_ns is None else span.ends_ns
            from_ns, until_ns = max(from_ns, span.starts_ns), min(until_ns, ends_ns)
            account = limited.account(span.label).id
            reached = self._percents.get(account, 0)
            nearness = -SCOPES.index(limited.scope)
            found += [
                (
                    (-one.percent, nearness, ends_ns - span.starts_ns),
                    Step(one.use, one.percent, account),
                )
                for one in limited.on_threshold
                if one.percent <= reached
            ]
        found.sort()
        return from_ns, until_ns, tuple(step for _, step in found)
