"""Processes: what runs, may be stopped for a while, and may die at any step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from comptroller.testing.simulation.agenda import Agenda, Event
from comptroller.testing.simulation.trace import Trace

NEVER: Final = -1


class KilledError(BaseException):
    """A process died in the middle of what it was doing.

    Not an Exception: no code of ours may take note of its own death.
    """


class Process:
    """One process. All that happens in it happens through `run`.

    A step is anything after which it may be gone: an event, an append, a message.
    Satisfies `engine.ports.Timers`.
    """

    def __init__(self, name: str, agenda: Agenda, trace: Trace) -> None:
        self.name = name
        self.is_alive = True
        self.is_paused = False
        self.steps_left = NEVER
        """Until it is killed."""
        self.on_killed: Callable[[], None] | None = None
        self.pauses = 0
        self._agenda = agenda
        self._trace = trace
        self._deferred: list[Callable[[], None]] = []

    def call_later(self, delay_s: float, call: Callable[[], None]) -> Event:
        """Calls once, not before so many seconds; never inside this call."""
        event = Event(call)

        def due() -> None:
            if event.call is not None:
                call = event.call
                event.call = None
                call()

        self._agenda.after(delay_s, lambda: self.run(due))
        return event

    def run(self, call: Callable[[], None]) -> None:
        """Lets it do something: now, when it is continued, or never."""
        if not self.is_alive:
            return
        if self.is_paused:
            self._deferred.append(call)
            return
        try:
            self.step("wakes")
            call()
        except KilledError:
            if self.on_killed is not None:
                self.on_killed()

    def step(self, what: str) -> None:
        """One more step is done.

        Raises:
            KilledError: it was the last one.
        """
        if self.steps_left == NEVER:
            return
        self.steps_left -= 1
        if self.steps_left <= 0:
            self.steps_left = NEVER
            self.is_alive = False
            self._trace.say(self.name, f"is killed where it {what}")
            raise KilledError

    def kill(self) -> None:
        """Ends it between two events."""
        if self.is_alive:
            self.is_alive = False
            self._trace.say(self.name, "is killed")
            if self.on_killed is not None:
                self.on_killed()

    def pause(self) -> None:
        """SIGSTOP: nothing happens in it, and all that comes for it waits."""
        self.is_paused = True
        self.pauses += 1
        self._trace.say(self.name, "is paused")

    def resume(self) -> None:
        """SIGCONT: all that waited happens now."""
        if not self.is_paused:
            return
        self.is_paused = False
        self._trace.say(self.name, "goes on")
        deferred, self._deferred = self._deferred, []
        for call in deferred:
            self._agenda.after(0, lambda call=call: self.run(call))  # type: ignore[misc]
