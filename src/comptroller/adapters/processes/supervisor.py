"""The supervisor: starts processes, starts them again when they die, stops them."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from asyncio.subprocess import Process
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

HOPELESS: Final = 78
"""Exit status of a child that a restart cannot help (EX_CONFIG of sysexits.h)."""
STOP_MARGIN_S: Final = 5.0
"""How much longer than their own grace children get before they are killed."""

HOPELESS_S: Final = 60.0
"""Between starts of a child that is not vital and cannot work until somebody acts."""

WORKED_S: Final = 1.0
"""A child that was ready for so long has worked: what ended it then says nothing
about a next start, which need not wait. Nor does SIGKILL, once it was ready."""
_BACKOFF_FIRST_S: Final = 0.05
_BACKOFF_MAX_S: Final = 5.0


class ChildSpec(NamedTuple):
    """One process to keep alive."""

    name: str
    """For messages, such as `worker w0`."""
    command: Callable[[int], Sequence[str]]
    """The command line, given the descriptor of the child's life line."""
    order: int
    """Children of a lower order stop first; those above wait for them."""
    gate: asyncio.Event | None = None
    """It is not started before this; None: at once."""
    is_vital: bool = True
    """False: the others do their work without it, so nobody waits until it is ready;
    one that cannot ever work is tried again after HOPELESS_S, and stops nobody."""


class Supervisor:
    """Keeps children alive until told to stop.

    Args:
        specs: the children.
        say: takes a line for people.
        grace_s: how long children may take for a graceful stop.
    """

    def __init__(
        self, specs: Sequence[ChildSpec], say: Callable[[str], None], grace_s: float
    ) -> None:
        self._say = say
        self._grace_s = grace_s
        self._children = [_Child(spec, say, self.stop_hopeless) for spec in specs]
        self._stopping = asyncio.Event()
        self._now = asyncio.Event()
        self.is_hopeless = False
        """Whether it stopped because a child said that it cannot ever work."""

    async def start(self) -> None:
        """Starts every child; returns when all are ready, or it is told to stop."""
        for child in self._children:
            child.keep()
        ready = asyncio.create_task(self._all_ready())
        stopping = asyncio.create_task(_set(self._stopping))
        await asyncio.wait([ready, stopping], return_when=asyncio.FIRST_COMPLETED)
        for waiting in (ready, stopping):
            waiting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await waiting

    @property
    def is_stopping(self) -> bool:
        """Whether it was told to stop."""
        return self._stopping.is_set()

    def stop(self) -> None:
        """Asks for a graceful stop; asked again, for an immediate one."""
        if self._stopping.is_set():
            self._now.set()
        self._stopping.set()

    def stop_hopeless(self) -> None:
        """Stops because a child cannot ever work."""
        self.is_hopeless = True
        self._stopping.set()

    async def run(self) -> None:
        """Waits until told to stop, then stops every child."""
        await self._stopping.wait()
        for order in sorted({child.spec.order for child in self._children}):
            group = [one for one in self._children if one.spec.order == order]
            await self._stop_group(group)

    async def _all_ready(self) -> None:
        for child in self._children:
            if child.spec.is_vital:
                await child.ready.wait()

    async def _stop_group(self, group: Sequence[_Child]) -> None:
        ended = asyncio.create_task(_end_all(group))
        now = asyncio.create_task(_set(self._now))
        await asyncio.wait(
            [ended, now],
            timeout=self._grace_s + STOP_MARGIN_S,
            return_when=asyncio.FIRST_COMPLETED,
        )
        now.cancel()
        if not ended.done():
            for child in group:
                child.kill()
        await ended


class _Child:
    """One process, and the next one when it dies."""

    def __init__(
        self, spec: ChildSpec, say: Callable[[str], None], give_up: Callable[[], None]
    ) -> None:
        self.spec = spec
        self.ready = asyncio.Event()
        self._say = say
        self._give_up = give_up
        self._process: Process | None = None
        self._ending = False
        self._ready_s: float | None = None
        """When the present life, or the last one, became ready."""
        self._task: asyncio.Task[None] | None = None

    def keep(self) -> None:
        """Starts it, and starts it again whenever it dies."""
        self._task = asyncio.create_task(self._keep())

    async def end(self) -> None:
        """Asks it to stop and waits until it has."""
        self._ending = True
        self._signal(signal.SIGTERM)
        if self._task is not None:
            if self._process is None:
                self._task.cancel()  # it is waiting for a start
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def kill(self) -> None:
        """Ends it at once."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def _keep(self) -> None:
        if self.spec.gate is not None:
            await self.spec.gate.wait()
        backoff_s = _BACKOFF_FIRST_S
        while not self._ending:
            status = await self._live()
            if self._ending:
                return
            if status == HOPELESS:
                if self.spec.is_vital:
                    self._give_up()
                    return
                self._say(f"{self.spec.name} cannot work; the others go on without it")
                await asyncio.sleep(HOPELESS_S)
                continue
            if self._has_worked(status):
                backoff_s = _BACKOFF_FIRST_S
            self._say(f"{self.spec.name} {_ended(status)}; starting it again")
            await asyncio.sleep(backoff_s)
            backoff_s = min(backoff_s * 2, _BACKOFF_MAX_S)

    def _has_worked(self, status: int) -> bool:
        """Whether the life that just ended says nothing against a next one at once.

        Who was killed after it was ready did not end by itself: whatever waits for its
        work would wait for the pause, too. A loop of such lives is not a hot one, for
        each costs a whole start.
        """
        if self._ready_s is None:
            return False
        lived_s = asyncio.get_running_loop().time() - self._ready_s
        return lived_s > WORKED_S or status == -signal.SIGKILL

    async def _live(self) -> int:
        """One life of the process; its exit status, negative for a signal."""
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.setblocking(False)  # noqa: FBT003  the library's own
            command = self.spec.command(theirs.fileno())
            # A session of its own: Ctrl-C reaches the supervisor alone, which
            # stops its children in their order.
            process = await asyncio.create_subprocess_exec(
                *command, pass_fds=[theirs.fileno()], start_new_session=True
            )
            theirs.close()
            self._ready_s = None
            self._process = process
            if self._ending:
                self._signal(signal.SIGTERM)
            listening = asyncio.create_task(self._listen(ours))
            try:
                return await process.wait()
            finally:
                self._process = None
                listening.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await listening

    async def _listen(self, ours: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        with contextlib.suppress(ConnectionError):
            if await loop.sock_recv(ours, 64):
                self._ready_s = loop.time()
                self.ready.set()


async def _set(event: asyncio.Event) -> None:
    await event.wait()


async def _end_all(group: Sequence[_Child]) -> None:
    await asyncio.gather(*(child.end() for child in group))


def _ended(status: int) -> str:
    if status >= 0:
        return f"exited with status {status}"
    return f"was ended by {signal.Signals(-status).name}"
