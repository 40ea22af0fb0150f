"""Wiring of a trail's witnesses, seen from the process that writes the trail."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeAlias

import msgspec

from comptroller.adapters.tlog.cosigned import (
    CHECKPOINT,
    VKEY,
    VKEY_BYTES_MAX,
    cosigned_notes,
    read_notes,
)
from comptroller.adapters.tlog.files import DurableFiles
from comptroller.adapters.tlog.keys import verifier
from comptroller.adapters.tlog.reader import TreeReader, read_file
from comptroller.adapters.witness.client import HttpWitness
from comptroller.adapters.witness.desk import ThreadDesk
from comptroller.adapters.witness.states import file_name
from comptroller.bootstrap.place import Place, say
from comptroller.core.checkpoint import Verifier, parse_vkey
from comptroller.core.cosignature import check_witness_key
from comptroller.core.errors import (
    ConfigurationError,
    NoteError,
    TrailUnavailableError,
)
from comptroller.engine.cosigning import Asking, Cosigning
from comptroller.engine.trail_ports import WitnessStatus

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
    name, vkey = file_name(witness.key.name), f"{witness.key}\n".encode()
    try:
        files = DurableFiles(place.trail_witnessed / name)
        if read_file(place.trail_witnessed / name / VKEY, VKEY_BYTES_MAX) != vkey:
            files.put(VKEY, vkey)
    except OSError as error:
        raise TrailUnavailableError(
            f"{place.trail_witnessed} cannot be written: {error}"
        ) from error
    notes = read_notes([place.trail_witnessed / name / CHECKPOINT])
    kept = cosigned_notes(notes, [witness])
    known = max((each.size for one in kept for each in one.by), default=0)

    def path(old: int, size: int) -> Sequence[bytes]:
        return TreeReader(place.trail, size).consistency(old)

    asking = Asking(HttpWitness(url), witness, path, known)
    return ThreadDesk(
        witness.key.name, url, asking.ask, lambda note: files.put(CHECKPOINT, note)
    )


def _show(place: Place, statuses: Sequence[WitnessStatus]) -> None:
    """Leaves word for the status, as well as it can be."""
    unnamed = place.trail_witnesses.with_suffix(".new")
    with contextlib.suppress(OSError):
        unnamed.write_bytes(msgspec.json.encode(statuses))
        unnamed.replace(place.trail_witnesses)


def _tell(line: str) -> None:
    say(f"sequencer: {line}")
