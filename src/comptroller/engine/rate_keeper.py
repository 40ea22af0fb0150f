"""Rates at the centre: one bucket a limit, so that they hold across all workers.

Buckets live in memory. A new process fills them from what was admitted in the last
period, and hands out nothing until what its predecessor handed out has expired and
is projected: so a restart admits nothing twice.
"""

from __future__ import annotations

from typing import Final

from comptroller.core.budget_path import REQUESTS, TOKENS, RateLimit
from comptroller.core.gcra import Bucket
from comptroller.core.usage import GENERATED_CLASSES, PROMPT_CLASSES, total
from comptroller.engine.declared import Declared
from comptroller.engine.leasing import RateGranted, RateNeed, Refund
from comptroller.engine.ports import Clock, JournalReader, Store

VALID_S: Final = 1.0
"""Units that a holder did not use by then are gone."""
SLICE_FROM_PER_S: Final = 20
"""Slower limits are handed out one need at a time: a slice would be most of them."""
BUCKETS_MAX: Final = 100_000
REBUILD_WAIT_S: Final = 10.0
"""A journal that stands still holds nobody up for longer than this."""

EXACT_MAX: Final = 200_000
"""So many requests are read one by one at a start: about two seconds."""
EXACT_S: Final = 60
"""Of more, those of the last minute are; for longer periods sums have to do."""

_S: Final = 10**9
_BASE_NS: Final = 10**18
"""Buckets count from long before the machine was booted, for what was before."""


class RateKeeper:
    """The buckets of all rate limits.

    Args:
        clock: its monotonic time drives the buckets.
        store: knows what was admitted.
        reader: knows what is still to be projected.
        declared: what the limits are.
    """

    def __init__(
        self, clock: Clock, store: Store, reader: JournalReader, declared: Declared
    ) -> None:
        self._clock = clock
        self._store = store
        self._reader = reader
        self._declared = declared
        self._started_s = clock.monotonic_s()
        self._buckets: dict[str, Bucket] = {}
        self._behind: dict[str, int] | None = None
        self.is_ready = False
        """Whether units are handed out."""

    def tick(self) -> None:
        """Gets ready as soon as it can.

        Raises:
            StoreUnavailableError: the store does not answer.
        """
        if self.is_ready or not self._has_waited():
            return
        if self._behind is None:
            self._behind = {
                source: self._reader.size(source) for source in self._reader.sources()
            }
        waited_s = self._clock.monotonic_s() - self._started_s
        if self._is_caught_up() or waited_s > REBUILD_WAIT_S:
            self._rebuild()
            self.is_ready = True
            self._behind = None

    def grant(self, need: RateNeed, holders: int) -> RateGranted:
        """Hands out units of a limit; of one that is not declared, all that is asked.

        Args:
            need: what is needed, and what would be good to have.
            holders: how many holders there are.
        """
        rate = self._declared.rate(need.limit)
        if rate is None:
            # It was removed, and the worker does not know yet: nothing limits it.
            count = max(need.units, 1)
            return RateGranted(need.limit, need.units, VALID_S, count, count, 0, 0)
        bucket = self._bucket(rate)
        now_ns = self._now_ns()
        units = self._take(bucket, need, holders)
        wait_ns = 0 if units else bucket.wait_ns(now_ns, need.units)
        return RateGranted(
            limit=need.limit,
            units=units,
            valid_s=VALID_S,
            burst=rate.count,
            remaining=bucket.remaining(now_ns),
            reset_s=bucket.reset_ns(now_ns) / _S,
            retry_after_s=-1.0 if wait_ns < 0 else wait_ns / _S,
        )

    def refund(self, refund: Refund) -> None:
        """Takes back units that were not used.

        For one period after the start nothing is: a bucket was filled with what was
        used, and nobody can tell what of it is meant.
        """
        rate = self._declared.rate(refund.limit)
        if rate is None or refund.units <= 0:
            return
        if self._clock.monotonic_s() - self._started_s >= rate.period_s:
            self._bucket(rate).refund(self._now_ns(), refund.units)

    def _take(self, bucket: Bucket, need: RateNeed, holders: int) -> int:
        now_ns = self._now_ns()
        per_s = bucket.count // bucket.period_s
        if per_s >= SLICE_FROM_PER_S:
            units = max(need.units, min(need.want, per_s // max(1, holders)))
            if bucket.take(now_ns, units):
                return units
        return need.units if bucket.take(now_ns, need.units) else 0

    def _bucket(self, rate: RateLimit) -> Bucket:
        bucket = self._buckets.get(rate.id)
        if bucket is not None and (bucket.count, bucket.period_s) == (
            rate.count,
            rate.period_s,
        ):
            return bucket
        made = Bucket(rate.count, rate.period_s)
        now_ns = self._now_ns()
        if bucket is not None:
            made.charge(now_ns, bucket.count - bucket.remaining(now_ns))
        if len(self._buckets) >= BUCKETS_MAX:
            self._forget_full(now_ns)
        self._buckets[rate.id] = made
        return made

    def _forget_full(self, now_ns: int) -> None:
        """Forgets buckets of which nothing is used: a new one is just the same."""
        for limit_id, bucket in list(self._buckets.items()):
            if not bucket.reset_ns(now_ns):
                del self._buckets[limit_id]

    def _has_waited(self) -> bool:
        """Whether all that an earlier process handed out has expired."""
        if self._clock.monotonic_s() - self._started_s >= VALID_S:
            return True
        present = set(self._reader.sources())
        return all(
            row.holder not in present or self._reader.is_dead(row.holder)
            for row in self._store.live_holders()
        )

    def _is_caught_up(self) -> bool:
        behind = self._behind or {}
        for source, size in list(behind.items()):
            position = self._store.position(source)
            if position >= size or not self._reader.read(source, position, 1):
                del behind[source]
        return not behind

    def _rebuild(self) -> None:
        periods_s = self._declared.periods_s()
        if not periods_s:
            return
        wall_ns, now_ns = self._clock.now_ns(), self._now_ns()
        exact_s = max(periods_s)
        sums = self._store.spend("model", wall_ns - exact_s * _S)
        if sum(row.requests for row in sums) > EXACT_MAX:
            exact_s = min(exact_s, EXACT_S)
        for period_s in periods_s:
            if period_s > exact_s:
                self._charge_sums(period_s, wall_ns, now_ns)
        for row in self._store.admissions(wall_ns - exact_s * _S):
            at_ns = now_ns - max(0, wall_ns - row.time_ns)
            for path in (
                f"service:{row.service}",
                f"credential:{row.credential_id}",
                f"model:{row.model}",
            ):
                self._charge(f"{path}/{REQUESTS}", at_ns, 1)
                self._charge(f"{path}/{TOKENS}", at_ns, row.tokens)

    def _charge_sums(self, period_s: int, wall_ns: int, now_ns: int) -> None:
        """Charges limits of one period with all that was used in it, as if just now.

        That is more than it was, for a bucket drains: what is lost is the burst of
        such a limit, not its rate.
        """
        for scope in ("service", "credential", "model"):
            for row in self._store.spend(scope, wall_ns - period_s * _S):
                used = row.usage
                tokens = total(used, PROMPT_CLASSES) + total(used, GENERATED_CLASSES)
                for unit, units in ((REQUESTS, row.requests), (TOKENS, tokens)):
                    rate = self._declared.rate(f"{scope}:{row.key}/{unit}")
                    if rate is not None and rate.period_s == period_s:
                        self._charge(rate.id, now_ns, min(units, rate.count))

    def _charge(self, limit_id: str, at_ns: int, units: int) -> None:
        rate = self._declared.rate(limit_id)
        if rate is None:
            return
        bucket = self._buckets.get(limit_id)
        if bucket is None:
            bucket = self._buckets[limit_id] = Bucket(rate.count, rate.period_s)
        bucket.charge(at_ns, units)

    def _now_ns(self) -> int:
        return _BASE_NS + int(self._clock.monotonic_s() * _S)
