"""Hands: work in parts, done here and in further processes at the same time."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from multiprocessing import get_context
from typing import Final, Generic, TypeVar

ALONE_PARTS: Final = 24
"""Parts that are done here before others are called: starting them takes as long."""
WAITING_PARTS: Final = 2
"""Parts that wait for a process, or are with it, at a time."""

_Found = TypeVar("_Found")


def spare_cpus() -> int:
    """How many processes this machine could run beside this one."""
    return len(os.sched_getaffinity(0)) - 1


class ProcessHands(Generic[_Found]):
    """Does parts here, and in other processes once there are many.

    Args:
        work: done anywhere, so it and what it returns can be pickled.
        processes: how many others at the most; 0: all is done here.
    """

    def __init__(
        self, work: Callable[[Sequence[bytes]], _Found], processes: int
    ) -> None:
        self._work = work
        self._processes = processes
        self._pending: dict[Future[_Found], Sequence[bytes]] = {}

    def do(self, parts: Iterable[Sequence[bytes]]) -> Iterator[_Found]:
        """Does each part, in any order; holds few parts at a time."""
        with ExitStack() as stack:
            pool: ProcessPoolExecutor | None = None
            for place, part in enumerate(parts):
                if place == ALONE_PARTS and self._processes > 0:
                    pool = ProcessPoolExecutor(self._processes, get_context("spawn"))
                    stack.enter_context(pool)
                yield from self._finished(0)
                if pool is None or not self._handed_on(pool, part):
                    yield self._work(part)
            while self._pending:
                yield from self._finished(None)

    def _handed_on(self, pool: ProcessPoolExecutor, part: Sequence[bytes]) -> bool:
        if len(self._pending) >= WAITING_PARTS * self._processes:
            return False
        try:
            self._pending[pool.submit(self._work, part)] = part
        except BrokenProcessPool:
            return False
        return True

    def _finished(self, timeout_s: float | None) -> Iterator[_Found]:
        done, _ = wait(self._pending, timeout_s, return_when=FIRST_COMPLETED)
        for future in done:
            part = self._pending.pop(future)
            try:
                found = future.result()
            except BrokenProcessPool:  # somebody ended it: what it had is done here
                found = self._work(part)
            yield found
