"""Replays one seed, aloud: `python -m comptroller.testing.simulation SEED`."""

from __future__ import annotations

import sys

from comptroller.testing.simulation.run import run


def main(arguments: list[str]) -> int:
    """Simulates one seed aloud; 0: all invariants held."""
    if len(arguments) != 1 or not arguments[0].isdecimal():
        _say("usage: python -m comptroller.testing.simulation SEED")
        return 2
    outcome = run(int(arguments[0]), say=_say)
    _say(
        f"seed {outcome.seed} ({outcome.kind}): {outcome.requests} requests,"
        f" {outcome.allowed} allowed, {outcome.refused} refused"
    )
    if outcome.broken is not None:
        _say(str(outcome.broken))
        return 1
    _say("all invariants held")
    return 0


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
