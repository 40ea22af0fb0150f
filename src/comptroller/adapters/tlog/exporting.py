"""Exporting a log: a folder that verifies with no program of ours."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple, Protocol

import msgspec

from comptroller.adapters.tlog.reader import TreeReader, read_checkpoint
from comptroller.adapters.tlog.tiles import (
    TILE_BITS,
    TILE_WIDTH,
    bundle_path,
    encode_bundle,
    level_count,
    tile_path,
    tile_width,
)
from comptroller.adapters.tlog.witnessed import (
    Witnessed,
    put_witnessed,
    witness_page,
)
from comptroller.core.checkpoint import parse_checkpoint, parse_note
from comptroller.core.errors import TrailDamagedError, TrailUnavailableError

_TIME: Final = re.compile(rb'"time":"([^"\\]{1,40})"')
_NOBODY: Final = Witnessed()
_HEAD_BYTES: Final = 1000
"""The time of a record is within its first bytes: before `data`."""


class Span(Protocol):
    """Which records are listed; None: no bound."""

    @property
    def since(self) -> str | None:
        """The first time that is in."""

    @property
    def until(self) -> str | None:
        """The first time that is not in any more."""


class Exported(NamedTuple):
    """What was written."""

    size: int
    listed: int
    """Records in `records.jsonl`."""
    pruned: int
    """Records that are not kept any more; the first ones."""


class _Listed(msgspec.Struct, frozen=True):
    index: int
    record: str
    """The exact text."""


def export_log(
    trail: Path, to: Path, vkey: str, span: Span, witnessed: Witnessed = _NOBODY
) -> Exported:
    """Writes a log as of its last checkpoint, and a list of some of its records.

    The log itself is always whole, as far as its entries are kept: a part of it could
    not be verified to lack nothing.

    Args:
        trail: the log's folder.
        to: an empty folder.
        vkey: the log's public key, for the page that says how to verify.
        span: of which records to list.
        witnessed: what goes with it; read before this is called.

    Raises:
        NoteError: the checkpoint is damaged.
        TrailDamagedError: the log is not what its checkpoint says.
        TrailUnavailableError: it cannot be read.
        OSError: the folder cannot be written.
    """
    note = read_checkpoint(trail)
    if note is None:
        raise TrailUnavailableError(f"{trail} has no checkpoint yet")
    checkpoint = parse_checkpoint(parse_note(note).body)
    reader = TreeReader(trail, checkpoint.head.size)
    if reader.head() != checkpoint.head:
        raise TrailDamagedError(f"the tiles of {trail} are not those of its checkpoint")
    log, minimum = to / "log", reader.minimum()
    for name, content in _files(reader, minimum):
        path = log / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    log.mkdir(exist_ok=True)
    same = (one.note for one in witnessed.notes if one.checkpoint == checkpoint)
    (log / "checkpoint").write_bytes(next(same, note))
    signed = list(put_witnessed(to / "witnessed", witnessed))
    (to / "vkey.txt").write_text(vkey + "\n", encoding="ascii")
    (to / "verify.py").write_bytes(_verifier().read_bytes())
    listed = _list(reader, minimum, to / "records.jsonl", span)
    exported = Exported(checkpoint.head.size, listed, minimum)
    page = _page(checkpoint.origin, vkey, exported, span)
    if signed:
        page += witness_page(signed, checkpoint, vkey)
    (to / "README.md").write_text(page, encoding="utf-8")
    return exported


def _files(reader: TreeReader, minimum: int) -> Iterator[tuple[str, bytes]]:
    """Every file that a log of this size has, cut to this size."""
    for level in range(level_count(reader.size)):
        count = -(-(reader.size >> TILE_BITS * level) // TILE_WIDTH)
        for index in range(count):
            width = tile_width(reader.size, level, index) % TILE_WIDTH
            hashes = b"".join(reader.tile(level, index))
            yield tile_path(level, index, width), hashes
            if level == 0 and index * TILE_WIDTH >= minimum:
                content = encode_bundle(reader.bundle(index))
                yield bundle_path(index, width), content


def _list(reader: TreeReader, minimum: int, path: Path, span: Span) -> int:
    listed = 0
    with path.open("wb") as file:
        for index, record in enumerate(reader.records(minimum), minimum):
            if _is_in(record, span):
                text = record.decode(errors="replace")
                file.write(msgspec.json.encode(_Listed(index, text)) + b"\n")
                listed += 1
    return listed


def _is_in(record: bytes, span: Span) -> bool:
    if span.since is None and span.until is None:
        return True
    found = _TIME.search(record[:_HEAD_BYTES])
    if found is None:
        return False
    time = found[1].decode()
    # RFC 3339 in UTC, always with as many places: the order of text is that of time.
    is_after = span.since is None or time >= span.since
    return is_after and (span.until is None or time < span.until)


def _verifier() -> Path:
    return Path(__file__).parents[2] / "verify.py"


def _pruned(exported: Exported) -> str:
    if not exported.pruned:
        return ""
    return f"""\
The first {exported.pruned} records were pruned: a later record says by whom and why.
Their hashes are here, so that everything else verifies and a record that somebody \
kept can still be proved to have been there.
Which of them were in the time that is listed cannot be said.
"""


def _page(origin: str, vkey: str, exported: Exported, span: Span) -> str:
    bounds = [f"from {span.since}"] * bool(span.since)
    bounds += [f"before {span.until}"] * bool(span.until)
    which = " ".join(bounds) or "all of them"
    return f"""\
# An audit trail and how to verify it

`log/` is the log `{origin}` with {exported.size} records, as signed in \
`log/checkpoint`.
Its files are those of C2SP tlog-tiles (c2sp.org/tlog-tiles): any tool that reads them \
can verify it.
{_pruned(exported)}`records.jsonl` lists {exported.listed} of its records ({which}) \
with their index; it is for reading, and proves nothing by itself.

## With the program that lies here

It needs Python 3.11 and the package `cryptography`, and nothing of Comptroller; read \
it first, it is short.

    python verify.py log --vkey '{vkey}'

It ends with 0 when every record is the one that was signed, in one unbroken sequence \
a source.

## With what others wrote

- `tlog-scales` (Python): `TilesReader(LocalBackend(Path("log")))` reads checkpoint, \
root, records, and makes consistency proofs.
- Any other client of c2sp.org/tlog-tiles, with `log/` served by any web server.

## What it proves

- The key must come to you by another way than this folder: whoever made this folder \
could have made the key, too.
- A signature of the log alone is tamper-evident against outsiders only. Whoever holds \
the log's key can sign another history; a witness's signature, or an older checkpoint \
that you kept (`--since FILE`), shows that.
- It shows that nothing recorded was changed or removed since it was signed. It cannot \
show that something was never recorded.
"""
