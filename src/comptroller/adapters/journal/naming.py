"""Names of journals: which file holds which source, from which offset on.

A source is `/node/worker/boot`. Its first segment is `node.worker.boot.jsonl`;
each later one has the offset of its first byte in the name, so that a reader
finds any offset without an index: `node.worker.boot.0000000067108864.jsonl`.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

SUFFIX: Final = ".jsonl"
_PART: Final = re.compile(r"[A-Za-z0-9_-]+")
_FOREIGN: Final = re.compile(r"[^A-Za-z0-9_-]+")
_FILE: Final = re.compile(
    r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)(?:\.([0-9]{16}))?\.jsonl"
)


class JournalName(NamedTuple):
    """Who writes a journal; unique for ever because of the boot."""

    node: str
    worker: str
    """`control`, `cli`, or a worker such as `w0`."""
    boot: str
    """Unique and increasing a start of a process: a ULID."""

    @property
    def source(self) -> str:
        """CloudEvents `source` of the records."""
        return f"/{self.node}/{self.worker}/{self.boot}"

    def file(self, offset: int) -> str:
        """The file name of the segment that begins at an offset."""
        stem = ".".join(self)
        return f"{stem}.{offset:016d}{SUFFIX}" if offset else f"{stem}{SUFFIX}"


def journal_name(node: str, worker: str, boot: str) -> JournalName:
    """Makes a name; what a file name or a source cannot hold becomes `-`."""
    parts = [_FOREIGN.sub("-", part) or "-" for part in (node, worker, boot)]
    return JournalName(*parts)


def from_source(source: str) -> JournalName:
    """Reads a source back.

    Raises:
        ValueError: no journal of ours has such a source.
    """
    parts = source.split("/")
    if len(parts) != 4 or parts[0] or not all(map(_PART.fullmatch, parts[1:])):
        raise ValueError(f"{source!r} is not the source of a journal")
    return JournalName(*parts[1:])


def from_file(name: str) -> tuple[JournalName, int] | None:
    """Reads a file name: whose segment, from which offset; None: another file."""
    match = _FILE.fullmatch(name)
    if match is None:
        return None
    node, worker, boot, offset = match.groups()
    return JournalName(node, worker, boot), int(offset or 0)
