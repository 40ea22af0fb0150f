"""Runs: one seed from its beginning to the verdict."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from comptroller.testing.simulation.invariants import BrokenError
from comptroller.testing.simulation.parts import Parts
from comptroller.testing.simulation.plan import draw_plan
from comptroller.testing.simulation.verdict import judge_end, judge_rest, usable_share
from comptroller.testing.simulation.world import World

REAL: Final = Parts()


class Outcome(NamedTuple):
    """What became of one seed."""

    seed: int
    kind: str
    requests: int
    allowed: int
    refused: int
    shares: list[float]
    """Of every budget that lacked for somebody: the share that was spent."""
    broken: BrokenError | None


def run(
    seed: int, parts: Parts = REAL, say: Callable[[str], None] | None = None
) -> Outcome:
    """Simulates one seed.

    Args:
        seed: decides everything.
        parts: what is simulated.
        say: told what happens, a line each; None: nobody reads it.
    """
    plan = draw_plan(seed)
    world = World(plan, parts, say)
    broken = None
    try:
        world.begin()
        world.let_clients_ask()
        world.heal()
        judge_rest(world)
        world.close()
        judge_end(world)
    except BrokenError as error:
        world.trace.say("witness", str(error))
        broken = error
    witness = world.witness
    return Outcome(
        seed=seed,
        kind=plan.kind,
        requests=len(plan.requests),
        allowed=len(witness.cases),
        refused=sum(witness.refusals.values()),
        shares=usable_share(world),
        broken=broken,
    )
