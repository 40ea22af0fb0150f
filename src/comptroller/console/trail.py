"""The trail's files over HTTP: `checkpoint` and `tile/…`, as C2SP tlog-tiles says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final, NamedTuple

FILE_BYTES_MAX: Final = 256 * (2 + 65_535)
"""No bundle of entries is larger."""
_TILE: Final = re.compile(
    rb"/tile/(?:entries|[0-9]|[1-5][0-9]|6[0-3])/(?:x[0-9]{3}/){0,6}[0-9]{3}"
    rb"(?:\.p/(?:[1-9]|[1-9][0-9]|1[0-9]{2}|2[0-4][0-9]|25[0-5]))?"
)
_ENTRIES: Final = b"/tile/entries/"
_BUNDLE_RECORDS: Final = 256
_TEXT: Final = b"text/plain; charset=utf-8"
_BYTES: Final = b"application/octet-stream"
_FRESH: Final = b"no-cache"
_FOR_EVER: Final = b"max-age=31536000, immutable"


class TrailFile(NamedTuple):
    """A file that anybody who reaches this address may have."""

    content: bytes
    kind: bytes
    """Its content type."""
    caching: bytes


def is_trail_path(path: bytes) -> bool:
    """Whether a path is one of a log's; all others are none of its business."""
    return path == b"/checkpoint" or _TILE.fullmatch(path) is not None


def is_pruned(path: bytes, minimum: int) -> bool:
    """Whether a path is of entries that are not kept: all of them before an index.

    Args:
        path: one for which `is_trail_path` holds.
        minimum: the first index that is kept.
    """
    if not path.startswith(_ENTRIES):
        return False
    number = path.removeprefix(_ENTRIES).partition(b".p/")[0]
    index = int(number.replace(b"x", b"").replace(b"/", b""))
    return (index + 1) * _BUNDLE_RECORDS <= minimum


def read_trail_file(folder: Path, path: bytes) -> TrailFile | None:
    """Reads the file of a path for which `is_trail_path` holds.

    A full tile never changes. A partial one that a full one has replaced is gone,
    as the format allows: clients then fetch the full one.

    Returns:
        None: there is none.

    Raises:
        OSError: it is there and cannot be read.
    """
    try:
        with (folder / path[1:].decode("ascii")).open("rb") as file:
            content = file.read(FILE_BYTES_MAX + 1)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
    if len(content) > FILE_BYTES_MAX:
        raise OSError(f"more than {FILE_BYTES_MAX} bytes")
    if path == b"/checkpoint":
        return TrailFile(content, _TEXT, _FRESH)
    return TrailFile(content, _BYTES, _FOR_EVER)
