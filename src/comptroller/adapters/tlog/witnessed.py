"""What witnesses have signed of a log, in a folder that is exported."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from comptroller.adapters.tlog.cosigned import CosignedNote
from comptroller.core.checkpoint import Checkpoint, Verifier

_FOREIGN: Final = re.compile(r"[^A-Za-z0-9._-]+")
_HEAD: Final = """
## What witnesses signed

A witness is another team's program, which signs a checkpoint only if the log \
continues every one that it signed before.
Its newest one lies here with its key; the key, too, must come to you by another way.

"""
_TAIL: Final = """
It prints `False` where the signature is not there, or not right.
"""


class Witnessed(NamedTuple):
    """What witnesses have signed of a log, and their keys as they are kept here."""

    witnesses: Sequence[Verifier] = ()
    notes: Sequence[CosignedNote] = ()


class Signed(NamedTuple):
    """What one witness has signed, and where it lies in the folder."""

    witness: str
    vkey: str
    size: int
    time: str
    folder: str


def put_witnessed(to: Path, witnessed: Witnessed) -> Iterator[Signed]:
    """Writes the newest checkpoint of each witness, with its key.

    Raises:
        OSError: the folder cannot be written.
    """
    for number, witness in enumerate(witnessed.witnesses, 1):
        name = witness.key.name
        mine = [
            (cosignature, one)
            for one in witnessed.notes
            for cosignature in one.by
            if cosignature.witness == name
        ]
        if not mine:
            continue
        last, kept = max(mine, key=lambda each: each[0])
        # A name may have anything in it that is no space: its folder has a number.
        folder = to / f"{number}-{_FOREIGN.sub('-', name)}"
        folder.mkdir(parents=True)
        (folder / "checkpoint").write_bytes(kept.note)
        (folder / "vkey.txt").write_text(f"{witness.key}\n", encoding="utf-8")
        path = str(folder.relative_to(to.parent))
        yield Signed(name, str(witness.key), last.size, last.time, path)


def witness_page(signed: Sequence[Signed], checkpoint: Checkpoint, vkey: str) -> str:
    """The part of the export's page that says how to check it."""
    size = checkpoint.head.size
    lines = [
        f"- `{one.witness}` signed the first {one.size} of {size} records at"
        f" {one.time}: `{one.folder}/checkpoint`."
        for one in signed
    ]
    since = " ".join(f"--since {one.folder}/checkpoint" for one in signed)
    lines += ["", "That the log begins with what each signed:", ""]
    lines += [f"    python verify.py log --vkey '{vkey}' {since}"]
    newest = " ".join(f"--vkey '{one.vkey}'" for one in signed if one.size == size)
    if newest:
        lines += ["", "That its last checkpoint is signed by these witnesses, too:", ""]
        lines += [f"    python verify.py log --vkey '{vkey}' {newest}"]
    lines += ["", "That a witness signed its checkpoint, with `tlog-scales`:", ""]
    lines += [
        "    from tlog_scales.signing import Vkey, VkeySet",
        "    from tlog_scales.tlog import Checkpoint",
    ]
    for one in signed:
        lines += [
            f"    text = open('{one.folder}/checkpoint', encoding='utf-8').read()",
            "    note = Checkpoint.from_text(text)",
            f"    key = Vkey.from_string('{one.vkey}')",
            "    print(bool(VkeySet(key).verify(note.signatures, note)))",
        ]
    return _HEAD + "\n".join(lines) + "\n" + _TAIL
