"""Editing a policy file: the mode of one part, and not a byte besides."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from typing import Final

from comptroller.core.errors import ConflictError
from comptroller.core.policy.rules import Mode
from comptroller.core.tree import Listing, Mapping, Scalar

_KEY: Final = re.compile(r"""(["']?)mode\1\s*:\s+""")
_VALUE: Final = re.compile(r"""(["']?)(enforce|warn|audit)\1(?=[\s,}]|$)""")
_BOM: Final = b"\xef\xbb\xbf"


def with_mode(content: bytes, tree: Mapping, id_: str, mode: Mode) -> bytes:
    """A policy file in which a part has another mode.

    Args:
        content: the file.
        tree: the same, read.
        id_: of a part with a mode of its own.
        mode: the new one.

    Raises:
        ConflictError: the mode is not written in a way that can be changed safely.
    """
    part = _part(tree, id_)
    if part is None or "mode" not in part.entries:
        raise ConflictError(f'"{id_}" has no mode that could be changed: write one')
    key, value = part.keys["mode"], part.entries["mode"]
    text = content.removeprefix(_BOM).decode()
    lines = text.split("\n")
    if isinstance(value, Scalar) and 0 < key.line <= len(lines):
        line = lines[key.line - 1]
        begins = _KEY.match(line, key.column - 1)
        found = None if begins is None else _VALUE.match(line, begins.end())
        if found is not None and found[2] == value.value:
            begin, end = found.span(2)
            lines[key.line - 1] = f"{line[:begin]}{mode.value}{line[end:]}"
            prefix = _BOM if content.startswith(_BOM) else b""
            return prefix + "\n".join(lines).encode()
    raise ConflictError(
        f'{key}: the mode of "{id_}" is not a plain word after its key: change it by'
        " hand"
    )


def replace_file(path: Path, before: bytes, after: bytes) -> None:
    """Replaces a file atomically and durably; a link stays one.

    Args:
        path: the file.
        before: what it must still hold.
        after: what it is to hold.

    Raises:
        ConflictError: it holds something else by now, or cannot be written; it is
            as it was.
    """
    target = path.resolve()
    draft = target.with_name(f".{target.name}.new")
    try:
        # Whoever has the draft is alone: only now what the file holds stays so.
        descriptor = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                _expect(target, before, path)
                file.write(after)
                file.flush()
                os.fchmod(file.fileno(), target.stat().st_mode & 0o7777)
                os.fsync(file.fileno())
            draft.replace(target)
        except (ConflictError, OSError):
            with contextlib.suppress(OSError):
                draft.unlink()
            raise
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except FileExistsError as error:
        raise ConflictError(
            f"{path} cannot be written: another promotion is under way; if none is,"
            f" one was killed: remove {draft}"
        ) from error
    except OSError as error:
        raise ConflictError(f"{path} cannot be written: {error}") from error


def _expect(target: Path, before: bytes, path: Path) -> None:
    if target.read_bytes() != before:
        raise ConflictError(f"{path} was changed meanwhile: nothing was written")


def _part(tree: Mapping, id_: str) -> Mapping | None:
    """The form of the part with an id."""
    for section in tree.entries.values():
        if not isinstance(section, Listing):
            continue
        for item in section.items:
            if not isinstance(item, Mapping):
                continue
            named = item.entries.get("id")
            if isinstance(named, Scalar) and named.value == id_:
                return item
    return None
