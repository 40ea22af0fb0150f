"""Traces: what happened in a simulation, for a person to read."""

from __future__ import annotations

from collections.abc import Callable

from comptroller.testing.simulation.agenda import Agenda


class Trace:
    """Says what happens, or says nothing.

    Args:
        agenda: for the time.
        say: told each line; None: nobody reads it.
    """

    def __init__(self, agenda: Agenda, say: Callable[[str], None] | None) -> None:
        self._agenda = agenda
        self._say = say
        self.is_read = say is not None
        """Whether it is worth the work to put something into words."""

    def say(self, who: str, what: str) -> None:
        """One line."""
        if self._say is not None:
            self._say(f"{self._agenda.elapsed_s:12.6f}  {who:<14} {what}")
