"""Seeds: those that are run for every change, in blocks that spread over processes."""

from __future__ import annotations

from typing import Final

from comptroller.testing.simulation.parts import Parts
from comptroller.testing.simulation.plan import KINDS
from comptroller.testing.simulation.run import REAL, run

SEEDS: Final = 10_000
"""0 to 9999; each kind has every fourth."""
BLOCKS: Final = range(10)
BLOCK: Final = SEEDS // len(KINDS) // len(BLOCKS)


def seeds_of(kind: str) -> range:
    """Every seed of a kind."""
    return range(KINDS.index(kind), SEEDS, len(KINDS))


def broken_in(kind: str, block: int, parts: Parts = REAL) -> str | None:
    """Runs a block of a kind's seeds.

    Returns:
        Which invariant is broken, and how to see it again; None: none is.
    """
    for seed in seeds_of(kind)[block * BLOCK : (block + 1) * BLOCK]:
        broken = run(seed, parts).broken
        if broken is not None:
            return f"{broken}\nreplay it with: make simulate SEED={seed}"
    return None
