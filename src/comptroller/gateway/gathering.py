"""Gathering: what has to be found out before a request can be decided on.

Long prompts are scanned in a thread, for the scanner lets others run while it
searches; short ones were scanned on the spot (engine/judging.py).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from msgspec.structs import replace

from comptroller.core.errors import ScanLimitError
from comptroller.core.policy.prompt import Match, PromptText
from comptroller.engine.objects import Owned
from comptroller.engine.ownership import Ownership
from comptroller.engine.scanning import PromptScanner
from comptroller.engine.verdicts import Ask, Missing, NamedObjects

log = logging.getLogger(__name__)

SCANS_MAX: Final = 64
"""Long prompts that are scanned or wait for it; each may have a megabyte."""


class Scans:
    """The scans of one worker.

    Args:
        scanner: looks for patterns.
    """

    def __init__(self, scanner: PromptScanner) -> None:
        self._scanner = scanner
        self._threads = ThreadPoolExecutor(1, "scan")
        self._loop = asyncio.get_running_loop()
        self.count = 0
        """Long prompts that are scanned now, or wait for it."""

    @property
    def is_full(self) -> bool:
        """Whether a further long prompt is one too many."""
        return self.count >= SCANS_MAX

    def scan(
        self,
        texts: tuple[PromptText, ...],
        on_done: Callable[[Sequence[Match] | str], None],
    ) -> None:
        """Scans in a thread.

        Args:
            texts: of one prompt.
            on_done: called on the event loop, later: with the matches, or why there
                are none.
        """
        self.count += 1
        future = self._loop.run_in_executor(self._threads, self._scan, texts)

        def done(future: asyncio.Future[Sequence[Match] | str]) -> None:
            self.count -= 1
            if future.cancelled():
                return
            error = future.exception()
            if error is None:
                on_done(future.result())
            else:
                # Its words may be some of the prompt's.
                log.error("a scan failed: %s", type(error).__name__)
                on_done("the prompt could not be scanned")

        future.add_done_callback(done)

    def _scan(self, texts: tuple[PromptText, ...]) -> Sequence[Match] | str:
        try:
            return self._scanner.scan(texts)
        except ScanLimitError as error:
            return error.message

    def warm(self) -> None:
        """Gets ready, in the thread: the first scan compiles two hundred patterns."""
        self._threads.submit(self._scanner.scan, ())

    def close(self) -> None:
        """Scans no more; what waits is dropped."""
        self._threads.shutdown(wait=False, cancel_futures=True)


class Gathering:
    """Finds out what is missing of one request.

    Args:
        scans: the worker's; None: nobody scans long prompts here.
        ownership: the worker's; None: nobody can say whose objects are.
        missing: what is.
        on_done: called once with the request as it is known then, unless it is
            cancelled before; perhaps before `begin` returns.
    """

    def __init__(
        self,
        scans: Scans | None,
        ownership: Ownership | None,
        missing: Missing,
        on_done: Callable[[Ask], None],
    ) -> None:
        self._scans = scans
        self._ownership = ownership
        self._objects = missing.objects
        self._ask = missing.ask
        self._texts = missing.texts
        self._on_done = on_done
        self._is_cancelled = False

    def begin(self) -> None:
        """Looks."""
        if self._objects is not None:
            self._look_for(self._objects)
            return
        texts, self._texts = self._texts, ()
        if self._scans is None:
            self._scanned("this gateway process does not scan long prompts")
        elif self._scans.is_full:
            self._scanned("too many long prompts are scanned at present; try again")
        else:
            self._scans.scan(texts, self._scanned)

    def cancel(self) -> None:
        """Says nothing any more."""
        self._is_cancelled = True

    def _look_for(self, objects: NamedObjects) -> None:
        ownership = self._ownership
        if ownership is None:
            self._owned(None)
            return
        known = ownership.known(*objects)
        if known is not None:
            self._owned(known)
        else:
            ownership.whose(*objects, self._owned)

    def _owned(self, owned: tuple[Owned, ...] | None) -> None:
        if self._is_cancelled:
            return
        if owned is None:
            self._on_done(replace(self._ask, is_owner_unknown=True))
        else:
            self._on_done(replace(self._ask, owned=owned))

    def _scanned(self, found: Sequence[Match] | str) -> None:
        if self._is_cancelled:
            return
        if isinstance(found, str):
            self._on_done(replace(self._ask, unscanned=found))
        else:
            self._on_done(replace(self._ask, matches=tuple(found)))
