"""Verifies a trail (C2SP tlog-tiles), with nothing but Python and `cryptography`."""

import argparse
import json
import re
import sys
from base64 import b64decode, b64encode
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

when, MINUTE = datetime.fromisoformat, timedelta(minutes=1)
GAP, PRUNED = "comptroller.trail.gap.v1", "comptroller.trail.pruned.v1"
SEALS = "comptroller.journal.sealed.v1", "comptroller.journal.closed.v1"
HEAD = re.compile(  # how every record begins
    r'\A\{"specversion":"1\.0","id":"[^"\\]*","source":"([^"\\]*)","type":"([^"\\]*)",'
    r'"time":"([^"\\]*)","subject":"(?:[^"\\]|\\.)*","sequence":"(\d{1,18})","data":'
)


def folded(row: list[bytes]) -> bytes:
    """The RFC 6962 root over hashes of leaves, or of equal subtrees and a last one."""
    while len(row) > 1:
        pairs, rest = zip(row[::2], row[1::2], strict=False), row[len(row) & ~1 :]
        row = [sha256(b"\x01" + a + b).digest() for a, b in pairs] + rest
    return row[0] if row else sha256().digest()


class Key:
    """A public key NAME+ID+BASE64 of a log (type 1) or a witness (type 4)."""

    def __init__(self, text: str) -> None:
        self.name, key_id, encoded = text.split("+", 2)
        data = b64decode(encoded, validate=True)
        self.id, self.is_log = bytes.fromhex(key_id), data[:1] == b"\1"
        self.public = Ed25519PublicKey.from_public_bytes(data[1:])

    def has_signed(self, text: str, signatures: str) -> bool:
        """Whether one of the lines of signatures is its own, of a note's text."""
        head, lines = f"— {self.name} ", signatures.split("\n")
        mine = (b64decode(one[len(head) :]) for one in lines if one.startswith(head))
        data = next((one for one in mine if one[:4] == self.id), b"")
        if not self.is_log:
            text = f"cosignature/v1\ntime {int.from_bytes(data[4:12])}\n{text}"
        try:
            self.public.verify(data[4 if self.is_log else 12 :], text.encode())
        except InvalidSignature:
            return False
        return head + b64encode(data).decode() in lines  # the one form of it


class Trail:
    """One reading of all files of a log."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.size, self.at, self.pruned = folder, 0, "", (0, 0)
        self.wrong, self.notes, self.full = list[str](), list[str](), list[bytes]()
        self.missing, self.told = dict[int, str](), list[object]()
        self.sources = dict[str, list[Any]]()  # see `known` below

    def verify(self, keys: list[Key], older: list[Path]) -> None:
        """Reads everything; keeps what it finds. ValueError: `at` cannot be read on."""
        self.size, root = self.checkpoint(self.folder / "checkpoint", keys)
        for index in range((self.size + 255) // 256):
            self._compare_bundle(index, min(256, self.size - index * 256))
        below, by = self.pruned
        lost = [name for end, name in self.missing.items() if end > below]
        self.notes += [f"{below} records are pruned, as record {by} says"][:below]
        self.wrong += [f"{one}: missing; no signed record prunes it" for one in lost]
        row, level = self.full, 1
        while row:
            tiles = [row[at : at + 256] for at in range(0, len(row), 256)]
            for index, tile in enumerate(tiles):
                if self._hashes(level, index, len(tile)) != tile:
                    self.wrong.append(f"{self.at} is not that of tile/{level - 1}")
            row, level = [folded(tile) for tile in tiles if len(tile) == 256], level + 1
        if self._root(self.size) != root:
            self.wrong.append("checkpoint: its tree is not that of the tiles")
        for path in older:
            size, root = self.checkpoint(path, [key for key in keys if key.is_log])
            if size > self.size or self._root(size) != root:
                how = "truncated" if size > self.size else "forked or rewritten"
                self.wrong.append(f"{how} since {path}: {size} records were signed")

    def checkpoint(self, path: Path, keys: list[Key]) -> tuple[int, bytes]:
        """Size and root of a checkpoint that every key has signed."""
        text, _, signed = self._read(f"{path.absolute()}").decode().rpartition("\n\n")
        origin, size, root = f"{text}\n\n".split("\n")[:3]
        named = not keys or origin in [key.name for key in keys if key.is_log]
        if not named or not all(key.has_signed(text + "\n", signed) for key in keys):
            raise ValueError(f"changed, or {origin} is not signed by each of the keys")
        return int(size), b64decode(root, validate=True)

    def _read(self, *names: str) -> bytes:  # the first that is there: `at`; or b""
        for self.at in names:
            if (path := self.folder / self.at).is_file():  # a pipe may never end
                with path.open("rb") as file:
                    return file.read(256 * 65537 + 1)
        return b""

    def _tile(self, kind: str, index: int, width: int) -> bytes:
        *upper, last = f"{index:,}".split(",")
        name = "/".join(["tile", kind, *(f"x{n:0>3}" for n in upper), f"{last:0>3}"])
        return self._read(*[f"{name}.p/{width}", name][width == 256 :])

    def _hashes(self, level: int, index: int, width: int) -> list[bytes]:
        data = self._tile(str(level), index, width)
        if len(data) != (32 * width if ".p/" in self.at else 8192):
            raise ValueError(f"{len(data)} bytes for {width} hashes, or none")
        return [data[at : at + 32] for at in range(0, 32 * width, 32)]

    def _compare_bundle(self, index: int, width: int) -> None:
        hashes, wrong, end = self._hashes(0, index, width), list[str](), 0
        self.full += [folded(hashes)] * (width == 256)
        tile, before, data = self.at, self.pruned, self._tile("entries", index, width)
        if not data and width == 256:
            self.missing[256 * index + 256] = self.at
            self.sources.clear()  # each may go on with any record
            return
        for at, right in enumerate(hashes, 256 * index):
            begin, end = end + 2, end + 2 + int.from_bytes(data[end : end + 2])
            if sha256(b"\x00" + data[begin:end]).digest() != right:
                wrong.append(f"record {at} of {self.at} is not the one of {tile}")
            self.follow(at, data[begin:end])
        if end != len(data) and (end > len(data) or width == 256 or ".p/" in self.at):
            wrong.append(f"{self.at}: not exactly {width} entries")
        self.wrong += wrong[:1]
        self.pruned = before if wrong else self.pruned  # nobody signed what says more
        del self.notes[100:]
        if len(self.wrong) > 1000:
            raise ValueError("so much is wrong that no more is read")

    def follow(self, index: int, record: bytes) -> None:
        """Checks that each source's records come once, in order, and as sealed."""
        told, self.told = self.told, []  # what the log told of just before
        if told[2:3] == ["broken"] and str(told[3]).startswith(f"{len(record)} bytes"):
            return  # no record of its journal, and told to be none
        try:
            _, source, kind, time, number, rest = HEAD.split(record.decode(), 1)
            sequence, first = int(number), int(number) * bool(self.missing)
            known = [first, time, None if first else 0, sha256()]  # of a new source
            expected, latest, begin, lines = known = self.sources.get(source, known)
            said = f"record {index}: {sequence} of {source[:200]}"
            if time[:16] < latest[:16] and when(latest) - when(time) > MINUTE:
                self.notes.append(f"{said}: clock set back to {time} from {latest}")
            data = json.loads(rest[:-1]) if kind in (GAP, PRUNED, *SEALS) else {}
            if kind in SEALS:
                seal = {"from": begin, "sha256": lines.hexdigest()}
                if begin is not None and (data or begin) and data != seal:
                    what = f"the seal of {source[:200]} is not that of its records"
                    what += f" {begin} to {expected - 1}: the journal was edited"
                    self.wrong.append(f"record {index}: {what} before it was sequenced")
                begin, lines = sequence, sha256()
            elif kind == GAP and source == "/trail":
                self.told = [data[n] for n in ("source", "expected", "reason", "found")]
                self.notes.append(f"record {index} tells of a gap: {data}"[:999])
                self.sources.get(data["source"], known)[2] = None  # nor of its seal
            elif kind == PRUNED and index >= data["below"].__index__() > self.pruned[0]:
                self.pruned = data["below"], index
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            self.wrong.append(f"record {index} is no record of a journal")
            return
        lines.update(record + b"\n")
        begin, latest = begin if sequence == expected else None, max(latest, time)
        self.sources[source] = [max(expected, sequence + 1), latest, begin, lines]
        if sequence != expected and told != [source, expected, "sequence", sequence]:
            how = "leaves a gap" if sequence > expected else "comes again, or late"
            self.wrong.append(f"{said} {how}: {expected} is next")

    def _root(self, size: int) -> bytes:
        row, index, rest = self.full[: size // 256], size // 256, size % 256
        last = self._hashes(0, index, min(256, self.size - index * 256)) if rest else []
        return folded(row + [folded(last[:rest])] * (rest > 0))


def main(arguments: list[str] | None = None) -> int:
    """0: all is as it was signed; 1: it is not, or cannot be read; 2: no key."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dir", type=Path)
    parser.add_argument("--vkey", type=Key, action="append", default=[])
    parser.add_argument("--since", type=Path, action="append", default=[])
    given = parser.parse_args(arguments)
    log = Trail(given.dir)
    try:
        log.verify(given.vkey, given.since)
    except (OSError, ValueError) as error:
        log.wrong.insert(0, f"{log.at}: {error}")
    lines = [f"NOTE {n}" for n in log.notes] + [f"WRONG {w}" for w in log.wrong[:99]]
    lines += ["NOT PROVED: no --vkey, anybody may have signed it"] * (not given.vkey)
    lines += [f"{log.size} records, {len(log.wrong)} wrong"]
    sys.stdout.writelines(f"{ascii(one)[1:-1]}\n" for one in lines)  # no control code
    return 1 if log.wrong else 0 if given.vkey else 2


if __name__ == "__main__":
    sys.exit(main())
