"""The invariants: what must be true in every world, with its number."""

from __future__ import annotations

from typing import Final

INVARIANTS: Final = {
    1: "settled + leased + suspense never exceed what is in force",
    2: "a lease is what its holder has: never more, never below 0",
    3: "what is billed and held never exceeds what is in force",
    4: "every hold ends exactly once",
    5: "a scope settled what its parts settled",
    6: "a request is held on its whole path, or nowhere",
    7: "the books are never below the bill, and above it only by what crashes held",
    8: "a process that lives keeps its leases, however long it stands still",
    9: "when nobody asks any more, nothing is leased",
    10: "rates hold in every interval",
    11: "no more requests are under way than may be",
    12: "who is refused was really lacking what is said to lack",
    13: "everybody who asks is answered",
    14: "the journals alone give the same books again",
}
"""1 to 12 are those of the design; 13 and 14 are this simulation's own."""


class BrokenError(AssertionError):
    """An invariant does not hold."""

    def __init__(self, number: int, what: str) -> None:
        super().__init__(f"invariant {number} ({INVARIANTS[number]}): {what}")
        self.number = number
