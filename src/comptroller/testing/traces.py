"""Looks for a value in files, byte by byte, in every form that it may have there."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path


def traces(folder: Path, value: str) -> list[str]:
    """The files below a folder that hold a value in some form, with the form."""
    sought = forms(value)
    found = []
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            content = path.read_bytes()
            found += [f"{path}: {one!r}" for one in sought if one in content]
    return found


def forms(value: str) -> list[bytes]:
    """A value as it may stand in a file.

    In UTF-8, as a JSON string, in UTF-16, in hexadecimal digits, and in both alphabets
    of base64 behind any number of other bytes.
    """
    plain = value.encode()
    texts = {plain, json.dumps(value)[1:-1].encode(), value.encode("utf-16-le")}
    found = set(texts)
    for text in texts:
        found |= {text.hex().encode(), text.hex().upper().encode()}
        found |= set(_in_base64(text))
    return sorted(found)


def _in_base64(text: bytes) -> Iterator[bytes]:
    for shift in range(3):
        # Of the first and the last group a part belongs to the neighbours.
        coded = base64.b64encode(b"\0" * shift + text)
        inner = coded[4 if shift else 0 : (len(text) + shift) // 3 * 4]
        yield inner
        yield inner.translate(bytes.maketrans(b"+/", b"-_"))
