from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial

from comptroller.adapters.processes.hands import (
    ALONE_PARTS,
    WAITING_PARTS,
    ProcessHands,
)
from comptroller.testing.parts import dies_elsewhere, done_by


def parts(count: int) -> list[list[bytes]]:
    return [[b"%d" % place] for place in range(count)]


def test_each_part_is_done_once_by_several_processes() -> None:
    """Nothing is lost or done twice, whoever does it."""
    wanted = parts(ALONE_PARTS + 200)

    found = list(ProcessHands(done_by, 1).do(wanted))

    assert sorted(part for _, part in found) == sorted(part for (part,) in wanted)
    assert len({process for process, _ in found}) == 2


def test_few_parts_are_done_here_alone() -> None:
    """Starting a process would take longer than they do."""
    found = list(ProcessHands(done_by, 1).do(parts(ALONE_PARTS)))

    assert {process for process, _ in found} == {os.getpid()}


def test_few_parts_are_held_at_a_time() -> None:
    """Memory does not grow with their number: no more are taken than can be done."""
    taken = 0

    def counted() -> Iterator[list[bytes]]:
        nonlocal taken
        for part in parts(ALONE_PARTS + 60):
            taken += 1
            yield part

    most = 0
    for done, _ in enumerate(ProcessHands(done_by, 1).do(counted()), 1):
        most = max(most, taken - done)

    assert 0 < most <= WAITING_PARTS + 1


def test_what_a_process_had_when_it_died_is_done_here() -> None:
    """Whoever ends the other process ends none of the work."""
    wanted = parts(ALONE_PARTS + 200)

    found = list(ProcessHands(partial(dies_elsewhere, os.getpid()), 1).do(wanted))

    assert sorted(found) == sorted(part for (part,) in wanted)
