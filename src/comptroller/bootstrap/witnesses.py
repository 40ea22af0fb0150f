"""Wiring of a trail's witnesses, seen from the process that writes the trail."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

import msgspec

from comptroller.adapters.tlog.files import DurableFiles
from comptroller.adapters.tlog.keys import verifier
from comptroller.adapters.tlog.reader import TreeReader, read_file
from comptroller.adapters.witness.client import HttpWitness
from comptroller.adapters.witness.desk import ThreadDesk
from comptroller.adapters.witness.states import file_name
from comptroller.bootstrap.place import Place, say
from comptroller.core.checkpoint import (
    NOTE_BYTES_MAX,
    Note,
    Verifier,
    parse_checkpoint,
    parse_note,
    parse_vkey,
)
from comptroller.core.cosignature import Cosignature, check_witness_key, cosignatures
from comptroller.core.errors import (
    ComptrollerError,
    ConfigurationError,
    NoteError,
    TrailUnavailableError,
)
from comptroller.core.merkle import tree_root
from comptroller.engine.cosigning import Asking, Cosigning
from comptroller.engine.trail_ports import Published, WitnessStatus

WitnessTold: TypeAlias = tuple[str, str]
"""URL and vkey of a witness."""


def check_witnesses(
    urls: Sequence[str], vkeys: Sequence[str]
) -> tuple[WitnessTold, ...]:
    """Pairs what the command line says of witnesses.

    Raises:
        ConfigurationError: a URL or a key is missing, or is none.
    """
    if len(urls) != len(vkeys):
        raise ConfigurationError(
            "--witness and --witness-key go in pairs, in the same order:"
            f" {len(urls)} and {len(vkeys)} were given"
        )
    for url in urls:
        HttpWitness(url)
    names = [one.key.name for one in witness_verifiers(vkeys)]
    if len(set(names)) != len(names):
        raise ConfigurationError("--witness-key: two witnesses have the same name")
    return tuple(zip(urls, vkeys, strict=True))


def witness_verifiers(vkeys: Sequence[str]) -> list[Verifier]:
    """What verifies witnesses' signatures.

    Raises:
        ConfigurationError: a key is not that of a witness.
    """
    found = []
    for text in vkeys:
        try:
            key = parse_vkey(text)
            check_witness_key(key.algorithm, key.name)
            found.append(verifier(key))
        except NoteError as error:
            raise ConfigurationError(f"--witness-key: {error.message}") from error
    return found


@contextmanager
def open_witnesses(
    place: Place, witnesses: Sequence[WitnessTold]
) -> Iterator[Cosigning | None]:
    """Asks witnesses for as long as this is open; None: there are none.

    Raises:
        ConfigurationError: a URL or a key is none.
        TrailUnavailableError: what they signed cannot be kept.
    """
    if not witnesses:
        with contextlib.suppress(OSError):
            place.trail_witnesses.unlink(missing_ok=True)
        yield None
        return
    desks: list[ThreadDesk] = []
    try:
        for url, vkey in witnesses:
            desks.append(_desk(place, url, witness_verifiers([vkey])[0]))
        yield Cosigning(desks, lambda statuses: _show(place, statuses), _tell)
    finally:
        for desk in desks:
            desk.close()


def _desk(place: Place, url: str, witness: Verifier) -> ThreadDesk:
    name = file_name(witness.key.name)
    try:
        files = DurableFiles(place.trail_witnessed / name)
    except OSError as error:
        raise TrailUnavailableError(
            f"{place.trail_witnessed} cannot be written: {error}"
        ) from error
    kept = _kept(place.trail_witnessed / name / "checkpoint")
    found = [] if kept is None else cosignatures(kept, [witness])
    known = max((one.size for one in found), default=0)

    def path(old: int, size: int) -> Sequence[bytes]:
        return TreeReader(place.trail, size).consistency(old)

    asking = Asking(HttpWitness(url), witness, path, known)
    return ThreadDesk(
        witness.key.name, url, asking.ask, lambda note: files.put("checkpoint", note)
    )


def witnessed(
    place: Place, published: Published, witnesses: Sequence[Verifier]
) -> tuple[list[Cosignature], list[str]]:
    """What trusted witnesses have signed of a trail.

    Returns:
        What the trail continues, and in words what it contradicts.

    Raises:
        TrailDamagedError: a tile is not there, or cut.
        TrailUnavailableError: a file cannot be read.
    """
    tree = TreeReader(place.trail, published.size)
    paths = [place.trail / "checkpoint", *place.trail_witnessed.glob("*/checkpoint")]
    seen: dict[str, Cosignature] = {}
    wrong = []
    for note in filter(None, map(_kept, paths)):
        origin, head = parse_checkpoint(note.body)
        for one in cosignatures(note, witnesses):
            said = f"WRONG {one.witness} signed {one.size} records at {one.time}"
            if origin != published.origin:
                continue
            if one.size > published.size:
                wrong.append(f"{said}; {published.size} are here: truncated")
            elif tree_root(head.size, tree.hash) != head.root:
                wrong.append(f"{said}; the trail has others: rewritten or forked")
            elif one.witness not in seen or seen[one.witness] < one:
                seen[one.witness] = one
    return sorted(seen.values()), wrong


def _kept(path: Path) -> Note | None:
    """A kept checkpoint; one that cannot be read is asked for anew."""
    try:
        data = read_file(path, NOTE_BYTES_MAX)
        return None if data is None else parse_note(data)
    except ComptrollerError:
        return None


def _show(place: Place, statuses: Sequence[WitnessStatus]) -> None:
    """Leaves word for the status, as well as it can be."""
    unnamed = place.trail_witnesses.with_suffix(".new")
    with contextlib.suppress(OSError):
        unnamed.write_bytes(msgspec.json.encode(statuses))
        unnamed.replace(place.trail_witnesses)


def _tell(line: str) -> None:
    say(f"sequencer: {line}")
