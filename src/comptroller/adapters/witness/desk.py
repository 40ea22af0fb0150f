"""Asking a witness in a thread of its own: nothing else ever waits for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

from comptroller.core.errors import ComptrollerError
from comptroller.engine.cosigning import Away, Cosigned, Outcome

RETRY_FIRST_S: Final = 1.0
RETRY_LAST_S: Final = 60.0
HEARD_MAX: Final = 16


class ThreadDesk:
    """Asks one witness for the newest checkpoint, again and again if need be.

    Satisfies `engine.cosigning.WitnessDesk`.

    Args:
        name: of the witness.
        url: where it is asked.
        ask: asks once; what it raises is an outcome, too.
        keep: takes each checkpoint with the witness's signature, in the thread.
    """

    def __init__(
        self,
        name: str,
        url: str,
        ask: Callable[[bytes], Outcome],
        keep: Callable[[bytes], None],
    ) -> None:
        self.name = name
        self.url = url
        self._ask = ask
        self._keep = keep
        self._changed = threading.Condition()
        self._note: bytes | None = None
        self._is_tried = True
        self._is_stopped = False
        self._heard: list[Outcome] = []
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def is_asking(self) -> bool:
        """Whether the newest checkpoint was not tried yet."""
        with self._changed:
            return not self._is_tried

    def offer(self, note: bytes) -> None:
        """Takes the newest checkpoint."""
        with self._changed:
            self._note = note
            self._is_tried = False
            self._changed.notify()

    def take(self) -> Sequence[Outcome]:
        """What was heard since."""
        with self._changed:
            heard, self._heard = self._heard, []
        return heard

    def close(self) -> None:
        """Stops asking; a request that is under way is left to its own timeout."""
        with self._changed:
            self._is_stopped = True
            self._changed.notify()

    def _run(self) -> None:
        pause_s = 0.0
        while True:
            note = self._next(pause_s)
            if note is None:
                return
            outcome = self._try(note)
            is_signed = isinstance(outcome, Cosigned)
            with self._changed:
                self._heard = [*self._heard, outcome][-HEARD_MAX:]
                if self._note is note:
                    self._is_tried = True
                    if is_signed:
                        self._note = None
            pause_s = (
                0.0 if is_signed else min(RETRY_LAST_S, max(RETRY_FIRST_S, 2 * pause_s))
            )

    def _next(self, pause_s: float) -> bytes | None:
        """Waits for its time, and for something to ask; None: stopped."""
        due_s = time.monotonic() + pause_s
        with self._changed:
            while not self._is_stopped:
                rest_s = due_s - time.monotonic()
                if rest_s > 0:
                    self._changed.wait(rest_s)
                elif self._note is None:
                    self._changed.wait()
                else:
                    return self._note
        return None

    def _try(self, note: bytes) -> Outcome:
        try:
            outcome = self._ask(note)
            if isinstance(outcome, Cosigned):
                self._keep(outcome.checkpoint)
        except ComptrollerError as error:
            return Away(error.message)
        except OSError as error:
            return Away(f"its signature cannot be kept: {error}")
        return outcome
