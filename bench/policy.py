"""What a policy decision costs: examples/policy, case by case, and replayed.

Prints microseconds of decide(): p50 and p99 over random requests, of which most are
denied for several reasons, and for each test case; what of it the facts cost; the
time to load; and decisions a second. Of all rounds the quickest is shown, as that is
moved least by a busy machine.
Usage: python bench/policy.py [ROUNDS]
"""

from __future__ import annotations

import gc
import resource
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from comptroller.bootstrap.policies import read_bundle
from comptroller.core.policy.decide import decide
from comptroller.core.policy.rules import Policy
from comptroller.core.policy.schema import flatten
from comptroller.testing.policy_requests import RandomRequests

ROOT: Final = Path(__file__).parent.parent
REQUESTS: Final = 500


def rss_mb() -> float:
    """The most memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def percentiles(call: Callable[[], object], count: int) -> tuple[float, float]:
    """p50 and p99 of one call, in microseconds."""
    call()
    taken = []
    for _ in range(count):
        begun = time.perf_counter_ns()
        call()
        taken.append(time.perf_counter_ns() - begun)
    taken.sort()
    return taken[count // 2] / 1000, taken[count * 99 // 100] / 1000


def one_round(
    policy: Policy, requests: list[dict[str, dict[str, object]]]
) -> tuple[float, float, float]:
    """p50, p99 and mean of one decision of each request, in microseconds."""
    taken = []
    for facts in requests:
        begun = time.perf_counter_ns()
        decide(policy, facts)
        taken.append(time.perf_counter_ns() - begun)
    mean = sum(taken) / len(taken) / 1000
    taken.sort()
    return taken[len(taken) // 2] / 1000, taken[len(taken) * 99 // 100] / 1000, mean


def main(rounds: int) -> None:
    """Loads the example, decides, and prints."""
    before = rss_mb()
    begun = time.perf_counter()
    bundle = read_bundle([ROOT / "examples" / "policy"])
    loaded_ms = (time.perf_counter() - begun) * 1000
    policy = bundle.policy
    if policy is None:
        sys.exit("\n".join(map(str, bundle.problems)))
    print(f"revision {bundle.revision}")
    print(f"load {loaded_ms:.0f} ms, {rss_mb() - before:.0f} MB with the engine")

    source = RandomRequests(1)
    requests = [source.next() for _ in range(REQUESTS)]
    gc.disable()  # as a worker does while it serves
    best = min(one_round(policy, requests) for _ in range(rounds))
    p50, p99, mean = best
    print(f"random requests      p50 {p50:5.1f} us  p99 {p99:5.1f} us")
    print(f"decisions a second   {1e6 / mean:,.0f}")
    p50, p99 = percentiles(partial(flatten, requests[0]), 2000)
    print(f"  of that the facts  p50 {p50:5.1f} us  p99 {p99:5.1f} us")
    for case in bundle.cases:
        p50, p99 = percentiles(partial(decide, policy, case.facts), 500)
        print(f"  p50 {p50:5.1f}  p99 {p99:5.1f}  {case.name}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 30)
