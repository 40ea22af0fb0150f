"""The console: the control plane's status over HTTP; its pages come later."""

from __future__ import annotations

from comptroller.console.status import StatusServer, TrailView

__all__ = ["StatusServer", "TrailView"]
