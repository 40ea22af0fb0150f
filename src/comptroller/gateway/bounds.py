"""The bounds of a client, apart from what is compiled.

mypyc loses the defaults of a dataclass with slots, and the worker's options are
decoded into this one.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ClientBounds:
    """How long a client may take, in seconds; counted to the next second."""

    idle_s: int = 75
    """Between two requests."""
    head_s: int = 10
    body_s: int = 30
    """For a body, beside the time that its size allows for."""
    body_bytes_per_s_min: int = 16 * 1024
    blocked_s: int = 60
    """Without reading what it was sent."""
    linger_s: int = 2
    """How long what a refused client still sends is read and thrown away: closing
    with unread bytes would reset the connection and destroy the refusal on its way."""
