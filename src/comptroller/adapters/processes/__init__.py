"""Processes: a supervisor and the life line that ties its children to it."""

from __future__ import annotations

from comptroller.adapters.processes.lifeline import Lifeline
from comptroller.adapters.processes.supervisor import HOPELESS, ChildSpec, Supervisor

__all__ = ["HOPELESS", "ChildSpec", "Lifeline", "Supervisor"]
