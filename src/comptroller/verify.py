"""Verifies a trail (C2SP tlog-tiles), with nothing but Python and `cryptography`."""

import argparse
import json
import re
import sys
from base64 import b64decode, b64encode
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

when, MINUTE = datetime.fromisoformat, timedelta(minutes=1)
NAMES = ("id", "source", "type", "time", "sequence")
GAP, MEMBERS = "comptroller.trail.gap.v1", ("source", "expected", "reason", "found")
HEAD = re.compile(  # how our records begin; others are read as JSON, more slowly
    r'\{"specversion":"1\.0","id":"([^"\\]*)","source":"([^"\\]*)","type":"([^"\\]*)",'
    r'"time":"([^"\\]*)","subject":"[^"\\]*","sequence":"(\d{1,18})",'
)


def folded(row: list[bytes]) -> bytes:
    """The RFC 6962 root over hashes of leaves, or of equal subtrees and a last one."""
    while len(row) > 1:
        pairs, rest = zip(row[::2], row[1::2], strict=False), row[len(row) & ~1 :]
        row = [sha256(b"\x01" + a + b).digest() for a, b in pairs] + rest
    return row[0] if row else sha256().digest()


def differing(have: list[bytes], want: list[bytes]) -> int:
    """The first place where hashes are not those that should be there."""
    return next((n for n, h in enumerate(have) if h not in want[n : n + 1]), len(have))


class Key:
    """A public key NAME+ID+BASE64 of a log (type 1) or a witness (type 4)."""

    def __init__(self, text: str) -> None:
        self.name, key_id, encoded = text.split("+", 2)
        data = b64decode(encoded, validate=True)
        named = sha256(self.name.encode() + b"\n" + data).hexdigest()[:8]
        if named != key_id or data[:1] not in {b"\1", b"\4"}:
            raise ValueError
        self.id, self.kind = bytes.fromhex(key_id), data[0]
        self.public = Ed25519PublicKey.from_public_bytes(data[1:])

    def signed(self, body: bytes, lines: list[str]) -> bool:
        """Whether one of the lines is its signature of a note's text."""
        head = f"— {self.name} "
        mine = [b64decode(one[len(head) :]) for one in lines if one.startswith(head)]
        signature = data = next((one[4:] for one in mine if one[:4] == self.id), b"")
        if self.kind == 4:
            time, signature = int.from_bytes(data[:8]), data[8:]
            body = b"cosignature/v1\ntime %d\n" % time + body
        try:
            self.public.verify(signature, body)
        except InvalidSignature:
            return False
        return head + b64encode(self.id + data).decode() in lines  # the one form of it


class Trail:
    """One reading of all files of a log."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.size, self.at, self.told = folder, 0, "", list[object]()
        self.wrong, self.notes, self.full = list[str](), list[str](), list[bytes]()
        self.sources, self.ids = dict[str, tuple[int, str]](), set[int]()  # ids: hashes

    def verify(self, keys: list[Key], older: list[Path]) -> None:
        """Reads everything; keeps what it finds. ValueError: `at` cannot be read on."""
        self.size, root = self.checkpoint(self.folder / "checkpoint", keys)
        for index in range((self.size + 255) // 256):
            self.bundle(index, min(256, self.size - index * 256))
        row = self.full
        for level in range(1, 9):
            widths = [min(256, len(row) - at) for at in range(0, len(row), 256)]
            have = [h for at, w in enumerate(widths) for h in self._tile(level, at, w)]
            said = f"tile/{level} has not the hash of tile/{level - 1} number"
            self.wrong += [f"{said} {differing(have, row)}"] * (have != row)
            row = [folded(have[at : at + 256]) for at in range(0, len(have) - 255, 256)]
        if self._root(self.size) != root:
            self.wrong.append("checkpoint: its tree is not that of the tiles")
        for path in older:
            size, root = self.checkpoint(path, [key for key in keys if key.kind == 1])
            if size > self.size or self._root(size) != root:
                how = "truncated" if size > self.size else "forked or rewritten"
                self.wrong.append(f"{how} since {path}: {size} records were signed")

    def checkpoint(self, path: Path, keys: list[Key]) -> tuple[int, bytes]:
        """Size and root of a checkpoint that every key has signed."""
        self.at = str(path)
        if not path.is_file():  # a device or a pipe may never end
            raise FileNotFoundError(path)
        with path.open("rb") as file:
            text, _, signatures = file.read(10**6).rpartition(b"\n\n")
        origin, size, root = text.decode().split("\n")[:3]
        body, lines = text + b"\n", signatures.decode().split("\n")
        named = not keys or origin in [key.name for key in keys if key.kind == 1]
        if not named or not all(key.signed(body, lines) for key in keys):
            raise ValueError(f"changed, or {origin} is not signed by each of the keys")
        return int(size), b64decode(root, validate=True)

    def read(self, kind: str, index: int, width: int) -> bytes:
        """A partial file, or the full one that replaced it; `at` is its name."""
        *upper, last = (f"{index:03d}" if index < 1000 else f"{index:,}").split(",")
        name = "/".join(["tile", kind, *(f"x{one:0>3}" for one in upper), last])
        for self.at in [f"{name}.p/{width}", name][width == 256 :]:
            if (path := self.folder / self.at).is_file():
                with path.open("rb") as file:
                    return file.read(256 * 65537 + 1)
        raise ValueError(f"missing; {width} entries of it were signed")

    def _tile(self, level: int, index: int, width: int) -> list[bytes]:
        data = self.read(str(level), index, width)
        if len(data) != (32 * width if ".p/" in self.at else 8192):
            raise ValueError(f"{len(data)} bytes for {width} hashes")
        return [data[at : at + 32] for at in range(0, 32 * width, 32)]

    def bundle(self, index: int, width: int) -> None:
        """Compares a bundle of records with its tile of hashes."""
        want, have, end = self._tile(0, index, width), list[bytes](), 0
        tile, data = self.at, self.read("entries", index, width)
        while end < len(data) and len(have) < width:
            begin, end = end + 2, end + 2 + int.from_bytes(data[end : end + 2])
            have.append(sha256(b"\x00" + data[begin:end]).digest())
            self.follow(index * 256 + len(have) - 1, data[begin:end])
        if end != len(data) and (end > len(data) or width == 256 or ".p/" in self.at):
            self.wrong.append(f"{self.at}: not exactly {width} entries")
        said = f"record {index * 256 + differing(have, want)} of {self.at}"
        self.wrong += [f"{said} is not the one of {tile}"] * (have != want)
        self.full += [folded(want)] * (width == 256)
        del self.notes[100:]
        if len(self.wrong) > 1000:
            raise ValueError("so much is wrong that no more is read")

    def follow(self, index: int, record: bytes) -> None:
        """Checks that each source's records come once, in order, without a gap."""
        told, self.told = self.told, []  # what the log told of just before
        if told[2:3] == ["broken"] and str(told[3]).startswith(f"{len(record)} bytes"):
            return  # no record of its journal, and told to be none
        try:
            found = HEAD.match(text := record.decode())
            members = {} if found and GAP not in text else json.loads(text)
            texts = found.groups() if found else [str(members[n]) for n in NAMES]
            name, source, kind, time, number = texts
            sequence, key = int(number), hash((source, name))
            expected, latest = self.sources.get(source, (0, time))
            said = f"record {index}: {sequence} of {source[:200]}"
            if time[:16] < latest[:16] and when(latest) - when(time) > MINUTE:
                self.notes.append(f"{said}: clock set back to {time} from {latest}")
            if source == "/trail" and kind == GAP:
                self.told = [members["data"][member] for member in MEMBERS]
                self.notes.append(f"record {index} tells of a gap: {text[:999]}")
        except (ValueError, KeyError, TypeError, RecursionError):
            self.wrong.append(f"record {index} is no record of a journal")
            return
        self.sources[source] = max(expected, sequence + 1), max(latest, time)
        if sequence != expected:
            if told != [source, expected, "sequence", sequence]:
                how = "leaves a gap" if sequence > expected else "comes again, or late"
                self.wrong.append(f"{said} {how}: {expected} is next")
        elif key in self.ids and told != [source, expected, "duplicate", name[:100]]:
            self.wrong.append(f"{said} has the id of another: {name[:100]}")
        self.ids.add(key)

    def _root(self, size: int) -> bytes:
        row, index, rest = self.full[: size // 256], size // 256, size % 256
        last = self._tile(0, index, min(256, self.size - index * 256)) if rest else []
        return folded(row + [folded(last[:rest])] * (rest > 0))


def main(arguments: list[str] | None = None) -> int:
    """0: all is as it was signed; 1: it is not; 2: it cannot be read, or no key."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dir", type=Path)
    parser.add_argument("--vkey", type=Key, action="append", default=[])
    parser.add_argument("--since", type=Path, action="append", default=[])
    given = parser.parse_args(arguments)
    trail = Trail(given.dir)
    try:
        trail.verify(given.vkey, given.since)
    except ValueError as error:
        trail.wrong.insert(0, f"{trail.at}: {error}")
    except OSError as error:
        parser.exit(2, f"cannot be read: {error}\n")
    lines = [f"NOTE {n}" for n in trail.notes] + [
        f"WRONG {w}" for w in trail.wrong[:99]
    ]
    lines += ["NOT PROVED: no --vkey, anybody may have signed it"] * (not given.vkey)
    lines += [f"{trail.size} records, {len(trail.wrong)} wrong"]
    sys.stdout.writelines(f"{ascii(one)[1:-1]}\n" for one in lines)  # no control code
    return 1 if trail.wrong else 0 if given.vkey else 2


if __name__ == "__main__":
    sys.exit(main())
