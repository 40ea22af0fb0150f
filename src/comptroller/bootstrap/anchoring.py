"""Wiring of `comptroller audit anchor` and `audit anchors`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from comptroller.adapters.anchor.git import Anchored, GitAnchors
from comptroller.adapters.tlog.keys import verifier
from comptroller.adapters.tlog.reader import TreeReader, read_checkpoint
from comptroller.bootstrap.place import Place
from comptroller.bootstrap.trail_audit import own_vkey
from comptroller.core.checkpoint import (
    Checkpoint,
    Verifier,
    parse_checkpoint,
    parse_note,
    parse_vkey,
    verified,
)
from comptroller.core.errors import (
    ConfigurationError,
    NoteError,
    TrailDamagedError,
    TrailUnavailableError,
)
from comptroller.core.merkle import tree_root

FILE: Final = "checkpoint"
"""The file's name in the repository, under a folder with the log's name."""


def anchor(
    data: Path, git: Path, vkeys: Sequence[str], *, push: bool
) -> dict[str, Any]:
    """Commits the newest checkpoint into a repository.

    Args:
        data: the data directory.
        git: the repository.
        vkeys: the log's key; none: the one that is kept here.
        push: Whether to push it, too.

    Raises:
        AnchorError: the repository cannot take it.
        NoteError: the checkpoint is damaged, or not signed by the key.
        TrailDamagedError: the tiles are not those of the checkpoint.
        TrailUnavailableError: there is no trail, or it cannot be read.
    """
    place = Place(data)
    note, checkpoint = _published(place, _keys(place, vkeys))
    anchors = GitAnchors(git, _name(checkpoint.origin))
    head, before = checkpoint.head, anchors.latest()
    is_new = before is None or parse_note(before).body != checkpoint.body
    commit = None
    if is_new:
        subject = f"{checkpoint.origin}: {head.size} records, root {head.root.hex()}"
        commit = anchors.add(note, subject)
    if push:
        anchors.push()
    return {
        "origin": checkpoint.origin,
        "size": head.size,
        "root": head.root.hex(),
        "commit": commit,
        "pushed": push,
    }


def check_anchors(data: Path, git: Path, vkeys: Sequence[str]) -> dict[str, Any]:
    """Compares every checkpoint that was ever committed with the trail.

    Raises:
        AnchorError: it is no repository, or git refuses.
        NoteError: the trail's checkpoint is damaged, or not signed by the key.
        TrailDamagedError: the tiles are not those of the checkpoint.
        TrailUnavailableError: there is no trail, or it cannot be read.
    """
    place = Place(data)
    keys = _keys(place, vkeys)
    _, checkpoint = _published(place, keys)
    tree = TreeReader(place.trail, checkpoint.head.size)
    checked, first_wrong = 0, None
    last: dict[str, Any] | None = None
    for one in GitAnchors(git, _name(checkpoint.origin)).history():
        problem = _problem(one, checkpoint, tree, keys)
        if problem is not None:
            first_wrong = {"commit": one.commit, "time": one.time, "problem": problem}
            break
        checked += 1
        size = parse_checkpoint(parse_note(one.content).body).head.size
        if last is None or size > last["size"]:
            last = {"commit": one.commit, "time": one.time, "size": size}
    return {
        "ok": first_wrong is None,
        "origin": checkpoint.origin,
        "size": checkpoint.head.size,
        "checked": checked,
        "last": last,
        "first_wrong": first_wrong,
    }


def _problem(
    one: Anchored, now: Checkpoint, tree: TreeReader, keys: Sequence[Verifier]
) -> str | None:
    """What is wrong with an anchored checkpoint, in words."""
    try:
        old = parse_checkpoint(verified(one.content, keys)[0].body)
    except NoteError as error:
        return error.message
    if old.origin != now.origin:
        return f"it is of the log {old.origin}"
    if old.head.size > now.head.size:
        return f"{old.head.size} records were anchored, {now.head.size} are here"
    if tree_root(old.head.size, tree.hash) != old.head.root:
        return f"the first {old.head.size} records were others: rewritten or forked"
    return None


def _published(place: Place, keys: Sequence[Verifier]) -> tuple[bytes, Checkpoint]:
    note = read_checkpoint(place.trail)
    if note is None:
        raise TrailUnavailableError(f"{place.data} has no published trail yet")
    checkpoint = parse_checkpoint(verified(note, keys)[0].body)
    if TreeReader(place.trail, checkpoint.head.size).head() != checkpoint.head:
        raise TrailDamagedError(
            f"the tiles in {place.trail} are not those of its checkpoint"
        )
    return note, checkpoint


def _keys(place: Place, vkeys: Sequence[str]) -> list[Verifier]:
    try:
        return [verifier(parse_vkey(one)) for one in vkeys or [own_vkey(place)]]
    except NoteError as error:
        raise ConfigurationError(f"--vkey: {error.message}") from error


def _name(origin: str) -> str:
    """The file in the repository: a folder of the log's name, no way out of it."""
    parts = [one for one in origin.split("/") if one.strip(".")]
    safe = ["".join(c if c.isalnum() or c in "._-" else "-" for c in p) for p in parts]
    # git keeps its own things in .git: no folder of ours begins with a dot.
    return "/".join([*(one.lstrip(".") or "-" for one in safe), FILE])
