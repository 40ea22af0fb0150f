"""The control lock and the socket beside it: who administers, and how to ask."""

from __future__ import annotations

from comptroller.adapters.control.client import ControlClient
from comptroller.adapters.control.lock import ControlLock
from comptroller.adapters.control.server import ControlServer

__all__ = ["ControlClient", "ControlLock", "ControlServer"]
