"""How much of an account a holder is granted when it asks."""

from __future__ import annotations


def grant(free: int, need: int, want: int, holders: int) -> int:
    """How much to lease: what is needed, and more while there is plenty.

    Leases shrink as the account runs out: nobody takes ahead more than half of an
    equal share of what is free. So near exhaustion exactly what is needed is leased,
    and the last of a budget is not stranded in leases of others.

    Args:
        free: what may still be granted.
        need: what the request that waits lacks; 0: none waits.
        want: what the holder would like to have; at least the need.
        holders: how many holders there are, this one included.

    Returns:
        At least the need and at most what is free; 0 when the need is more.
    """
    if need > free:
        return 0
    return max(need, min(want, free // (2 * max(1, holders))))
