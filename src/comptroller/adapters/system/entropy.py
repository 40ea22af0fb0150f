"""The system's randomness."""

from __future__ import annotations

import os


class SystemEntropy:
    """The Entropy port on the kernel's generator."""

    def token(self, bytes_count: int) -> bytes:
        """So many unpredictable bytes."""
        return os.urandom(bytes_count)
