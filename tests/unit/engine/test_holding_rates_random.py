"""Rates under any traffic of two workers: never more than the limit says."""

from __future__ import annotations

from functools import partial
from itertools import combinations

from hypothesis import given, settings
from hypothesis import strategies as st

from comptroller.core.gcra import Bucket
from comptroller.core.registry import Limits, Rate
from comptroller.engine.holding import Need
from comptroller.testing.lessee import World, limited_registry

SLICE_S = 1.0
"""Units are used within so long of when they were charged."""

requests = st.lists(
    st.tuples(
        st.integers(0, 1),
        st.integers(1, 700),
        st.floats(0, 1),
        st.sampled_from([0.0, 0.01, 0.3, 1.4, 5.0]),
        st.sampled_from([0.0, 0.02, 0.5, 3.0]),
    ),
    min_size=1,
    max_size=40,
)


@settings(deadline=None, max_examples=80)
@given(rate=st.sampled_from([Rate(600, 10), Rate(600, 60)]), traffic=requests)
def test_no_span_has_more_tokens_than_its_limit(
    rate: Rate, traffic: list[tuple[int, int, float, float, float]]
) -> None:
    """Used within t are at most the count, and what the limit refills in t."""
    world = World()
    world.centre.buckets["service:checkout/tokens"] = Bucket(rate.count, rate.period_s)
    registry = limited_registry(None, Limits(tokens=rate))
    lessees = [world.lessee(registry, f"/n/w{number}/1") for number in (0, 1)]
    used: list[tuple[float, int]] = []

    def end(worker: int, need: Need, share: float) -> None:
        tokens = round(need.tokens * share)
        lessees[worker].settle(need, 0, tokens)

    for worker, tokens, share, pause_s, lasts_s in traffic:
        need = Need(0, 0, tokens)
        now_s = world.clock.monotonic_s()
        lessee = lessees[worker]
        if not lessee.holding.hold(lessee.path(), need, world.clock.now_ns()):
            lessee.wait(need)
            world.timers.advance(0.01)
        if need.held is not None:
            used.append((now_s, round(tokens * share)))
            world.timers.call_later(lasts_s, partial(end, worker, need, share))
        world.timers.advance(pause_s)

    refill_per_s = rate.count / rate.period_s
    for (begin, first), (finish, last) in combinations(enumerate(used), 2):
        span_s = last[0] - first[0] + SLICE_S
        total = sum(tokens for _, tokens in used[begin : finish + 1])
        assert total <= rate.count + span_s * refill_per_s + 1
