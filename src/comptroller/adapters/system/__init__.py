"""The operating system behind the ports of time, identifiers, randomness, secrets."""

from __future__ import annotations

from comptroller.adapters.system.boot import boot_id
from comptroller.adapters.system.clock import SystemClock
from comptroller.adapters.system.entropy import SystemEntropy
from comptroller.adapters.system.references import EnvFileSecretResolver
from comptroller.adapters.system.timers import LoopTimers
from comptroller.adapters.system.ulid import UlidIds

__all__ = [
    "EnvFileSecretResolver",
    "LoopTimers",
    "SystemClock",
    "SystemEntropy",
    "UlidIds",
    "boot_id",
]
