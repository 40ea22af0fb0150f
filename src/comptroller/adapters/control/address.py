"""Addresses of Unix sockets in folders of any depth.

The kernel takes at most 107 bytes of path. `/proc/self/fd/N/NAME` names a socket
by its open folder instead, however long the folder's own path is.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def short_address(path: Path) -> Iterator[str]:
    """A short name of a socket, usable while the context lasts.

    Raises:
        OSError: its folder cannot be opened.
    """
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
