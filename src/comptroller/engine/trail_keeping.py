"""Keeping the trail: batches and checkpoints, one after another, until told to stop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from comptroller.engine.cosigning import Cosigning
from comptroller.engine.ports import Clock
from comptroller.engine.sequencing import Sequencer
from comptroller.engine.trail_ports import TrailLog

POLL_S: Final = 0.25
"""Between looks at the journals while nothing comes in."""
BATCH_EVERY_S: Final = 0.75
"""Between the begins of batches while records come in: each has files of its own
and a checkpoint, so fewer cost less. A record is in a checkpoint within
BATCH_EVERY_S and the time of one batch after it is durable."""
PUBLISH_EVERY_S: Final = 0.5
"""Between checkpoints while the batches of a backlog follow one another."""
HEARTBEAT_S: Final = 30.0
"""A trail in which nothing happens is signed anew, so that all see that it lives."""
WITNESS_WAIT_S: Final = 2.0
"""How long the last checkpoint waits for its witnesses when the sequencer stops."""
WITNESS_ONCE_S: Final = 12.0
"""How long a command waits for witnesses: a little longer than each is given to
answer (adapters/witness/client.py)."""
ONCE_STEP_S: Final = 0.02


class Sequencing:
    """Keeps a trail up to date until told to stop.

    Args:
        sequencer: what appends.
        log: what it appends to.
        clock: for the intervals.
        tell: takes what is wrong, in words, whenever that changes; "": nothing.
        cosigning: the witnesses that sign each checkpoint, too.
    """

    def __init__(
        self,
        sequencer: Sequencer,
        log: TrailLog,
        clock: Clock,
        tell: Callable[[str], None],
        cosigning: Cosigning | None = None,
    ) -> None:
        self._sequencer = sequencer
        self._log = log
        self._clock = clock
        self._tell = tell
        self._cosigning = cosigning
        self._told = ""
        self._stop = asyncio.Event()
        self._published_s: float | None = None
        self._published_size = -1

    def stop(self) -> None:
        """Asks `run` to bring in what there is and to return."""
        self._stop.set()

    async def run(self) -> None:
        """Appends and publishes until stopped.

        Raises:
            TrailUnavailableError: only a new process can go on.
            TrailDamagedError: a person has to look first.
        """
        while True:
            is_last = self._stop.is_set()
            begun_s = self._clock.monotonic_s()
            wait_s = POLL_S
            while self._sequencer.step():
                wait_s = begun_s + BATCH_EVERY_S - self._clock.monotonic_s()
                if not (is_last or self._sequencer.is_behind):
                    break
                self._publish(PUBLISH_EVERY_S)
                self._hear()
                self._prune()
                await asyncio.sleep(0)
                begun_s = self._clock.monotonic_s()
            self._publish(0.0)
            self._hear()
            self._prune()
            self._tell_problems()
            if is_last:
                await self._await_witnesses()
                self._prune()
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._stop.wait()

    def _hear(self) -> None:
        if self._cosigning is not None:
            self._cosigning.hear(self._log, self._sequencer.record_refusal)

    def _prune(self) -> None:
        """Lets go of what may go: with witnesses, only once one of them has signed."""
        signed = self._log.size if self._cosigning is None else self._cosigning.size
        self._sequencer.prune(signed)

    async def _await_witnesses(self) -> None:
        """Lets the last checkpoint be signed, if that is soon."""
        if self._cosigning is None:
            return
        step_s = POLL_S / 10
        for _ in range(int(WITNESS_WAIT_S / step_s)):
            if not self._cosigning.is_asking:
                break
            await asyncio.sleep(step_s)
        self._hear()

    def _tell_problems(self) -> None:
        problems = list(self._sequencer.unreadable.values())
        if self._cosigning is not None and self._cosigning.problem:
            problems.insert(0, self._cosigning.problem)
        if self._sequencer.not_followed:
            problems.append(self._sequencer.not_followed)
        text = "; ".join(problems)[:1000]
        if text != self._told:
            self._told = text
            self._tell(text)

    def _publish(self, every_s: float) -> None:
        """Publishes what is new, at most so often; of what is old, a heartbeat."""
        now_s = self._clock.monotonic_s()
        since_s = HEARTBEAT_S
        if self._published_s is not None:
            since_s = now_s - self._published_s
        is_new = self._log.size != self._published_size
        if since_s >= (every_s if is_new else HEARTBEAT_S):
            note = self._log.publish()
            if self._cosigning is not None:
                self._cosigning.offer(note)
            self._published_s = self._clock.monotonic_s()
            self._published_size = self._log.size


def cosign_once(
    sequencer: Sequencer,
    log: TrailLog,
    cosigning: Cosigning,
    sleep: Callable[[float], None],
) -> None:
    """Has each witness sign the newest checkpoint, if it does at the first attempt.

    A refusal is a record; then the log is published once more.

    Args:
        sequencer: what appends.
        log: what it appends to; everything that is recorded is in it.
        cosigning: the witnesses.
        sleep: waits for so many seconds.

    Raises:
        TrailUnavailableError: the log cannot be written.
        TrailDamagedError: a person has to look first.
    """
    cosigning.offer(log.publish())
    for _ in range(int(WITNESS_ONCE_S / ONCE_STEP_S)):
        if not cosigning.is_asking:
            break
        sleep(ONCE_STEP_S)
    cosigning.hear(log, sequencer.record_refusal)
    if sequencer.step():
        log.publish()
    while sequencer.prune(cosigning.size):
        pass
