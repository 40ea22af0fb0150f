"""Wiring of `comptroller audit verify`, `prove` and `export`."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from comptroller.adapters.journal.reader import DirectoryJournalReader
from comptroller.adapters.store.reports import SqliteReports
from comptroller.adapters.tlog.cosigned import (
    CosignedNote,
    newest_of_each,
    newest_over,
)
from comptroller.adapters.tlog.entries import HashedEntries
from comptroller.adapters.tlog.exporting import export_log
from comptroller.adapters.tlog.finding import TrailFinder
from comptroller.adapters.tlog.keys import verifier
from comptroller.adapters.tlog.proof import SUFFIX, Proven, prove, verify_proof
from comptroller.adapters.tlog.reader import TreeReader, read_file
from comptroller.adapters.tlog.state import (
    STATE_BYTES_MAX,
    TrailState,
    decode_state,
)
from comptroller.adapters.tlog.witnessed import Witnessed
from comptroller.bootstrap.administering import open_reporting, open_reports
from comptroller.bootstrap.cosigned import KeptNotes
from comptroller.bootstrap.place import Place
from comptroller.bootstrap.readings import record_reading
from comptroller.core.checkpoint import Verifier, parse_vkey
from comptroller.core.cosignature import Cosignature, assurance
from comptroller.core.errors import (
    ConflictError,
    JournalUnavailableError,
    NoteError,
    NotFoundError,
    RecordError,
    TrailDamagedError,
    TrailPrunedError,
    TrailUnavailableError,
)
from comptroller.core.timestamps import rfc3339
from comptroller.engine.trail_audit import Kept, StoredDecision, audit
from comptroller.engine.trail_ports import (
    OPEN,
    Published,
    SourcePosition,
    source_positions,
)

ROLES: Final = ("decision", "end")
VKEY_BYTES_MAX: Final = 4096


class Selected(NamedTuple):
    """Which records an export lists beside the log; None: no bound."""

    since: str | None
    """The first time that is in, as records write it; of a day, its beginning."""
    until: str | None
    """The first time that is not in any more."""


class Trusted(NamedTuple):
    """What an auditor brings along."""

    vkeys: Sequence[str] = ()
    """Keys that must have signed the checkpoint; none: the one that is kept here."""
    since: Sequence[Path] = ()
    """Checkpoints that somebody kept; the trail must begin with them."""
    witness_keys: Sequence[str] = ()
    """Keys of witnesses, who may have signed some checkpoint."""


def verify(data: Path, trusted: Trusted) -> dict[str, Any]:
    """Verifies the trail, and compares it with journals and store.

    Args:
        data: the data directory.
        trusted: the keys and checkpoints to verify with.

    Raises:
        ConfigurationError: a key is not that of a witness.
        TrailUnavailableError: there is no trail, or it cannot be read.
        StoreUnavailableError: nothing was ever applied there.
    """
    place = Place(data)
    # Read before the checkpoint, so that a trail that grows meanwhile is no lie.
    (state, damage), notes = _state(place), KeptNotes(place, trusted.witness_keys)
    published = _published(place)
    is_own_key = not trusted.vkeys
    keys = list(trusted.vkeys) or [own_vkey(place)]
    signed, lines = _verify_apart(place, keys, trusted.since)
    judged = notes.judge(published, _log_keys(keys, published.origin))
    wrong = [*damage, *judged.wrong, *_put_back(state.signed_size, published)]
    try:
        compared = msgspec.to_builtins(_compare(place, published, state))
        wrong += _recorded_more(place)
        problem = None
    except (TrailDamagedError, JournalUnavailableError, RecordError) as error:
        compared, problem = None, error.message
    signed, lines = signed and not wrong, lines + wrong
    document = _checkpoint(published) | {
        "witnessed": _told(judged.seen),
        "witness_keys_are_from_here": not trusted.witness_keys,
        "strength": judged.strength,
        "keys": keys,
        "keys_are_from_here": is_own_key,
        "signed": {"ok": signed, "said": lines},
    }
    is_ok = signed and compared is not None and not compared["wrong"]
    return {"ok": is_ok} | document | {"compared": compared, "problem": problem}


def _told(seen: Sequence[Cosignature]) -> list[dict[str, Any]]:
    return [
        {"witness": one.witness, "size": one.size, "time": one.time} for one in seen
    ]


def _log_keys(vkeys: Sequence[str], origin: str) -> list[Verifier]:
    """The keys that are the log's; of others the program that verifies speaks."""
    found = []
    for text in vkeys:
        with suppress(NoteError):
            key = parse_vkey(text)
            found += [verifier(key)] if key.name == origin else []
    return found


def _state(place: Place) -> tuple[TrailState, list[str]]:
    """What the writer says of the trail, and what is wrong with that.

    A trail can be read without; but what its state would tell is not told then.
    """
    nothing = TrailState(origin="")
    try:
        data = read_file(place.trail / "state.json", STATE_BYTES_MAX)
        return nothing if data is None else decode_state(data), []
    except TrailDamagedError as error:
        return nothing, [f"WRONG state.json: {error.message}"]


def _positions(state: TrailState) -> dict[str, SourcePosition]:
    """How far each journal is in the trail, as its writer says."""
    try:
        return source_positions(state.positions)
    except TrailDamagedError:
        return {}  # the writer will say so; without it more counts as waiting


def _put_back(known: int, published: Published) -> list[str]:
    if known <= published.size:
        return []
    said = f"it has {published.size} records, and state.json says that {known}"
    return [f"WRONG checkpoint: an older one was put back: {said} were signed"]


def _recorded_more(place: Place) -> list[str]:
    """What records say of the trail's size that its checkpoint does not have.

    A journal is deleted, and the trail pruned, only under a checkpoint.
    """
    with closing(SqliteReports.open(place.store)) as reports:
        sizes = [one.size for one in reports.deleted_journals()]
        sizes += [one.below for one in reports.prunings()]
    known, published = max(sizes, default=0), _published(place)
    if known <= published.size:
        return []
    said = f"it has {published.size} records, and {known} were signed"
    why = "when a journal was deleted, or the trail pruned"
    return [f"WRONG checkpoint: {said} {why}: truncated"]


def _compare(place: Place, published: Published, before: TrailState) -> object:
    # The store is brought up to date after the checkpoint was read, and the
    # journals are read to their ends after that: each has what the one before has.
    with (
        open_reports(place.data) as reports,
        closing(DirectoryJournalReader(place.journal)) as reader,
    ):
        tree = TreeReader(place.trail, published.size)
        hashes = HashedEntries(place.trail, place.trail_places)
        taken = {
            source: position.offset
            for source, position in _positions(_state(place)[0]).items()
        }
        is_older = before.size <= published.size
        said = _positions(before) if is_older else {}
        ended = frozenset(one for one, told in said.items() if told.state != OPEN)
        kept = Kept(tree.minimum(), taken, hashes, ended)
        stored = [StoredDecision(*one) for one in reports.decisions()]
        return audit(tree.records(kept.begin), reader, stored, kept)


def _verify_apart(
    place: Place, keys: Sequence[str], since: Sequence[Path]
) -> tuple[bool, list[str]]:
    """What the program says that others verify with, in a process of its own."""
    command = [sys.executable, "-m", "comptroller.verify", str(place.trail)]
    command += [f"--vkey={key}" for key in keys]
    command += [f"--since={path}" for path in since]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    said = (done.stdout + done.stderr).splitlines()
    return done.returncode == 0, said


def prove_request(
    data: Path, request_id: str, to: Path, by: str | None = None
) -> dict[str, Any]:
    """Writes the records of a request, and a proof of each, into a folder.

    That they were read is recorded before.

    Args:
        data: the data directory.
        request_id: whose records.
        to: the folder.
        by: the declared person who reads, where one is named.

    Raises:
        ControlUnavailableError: the reading cannot be recorded.
        JournalUnavailableError: likewise.
        NotFoundError: there is no such request, or none of it is in the trail yet.
        TrailPrunedError: its records are neither in a journal nor in the trail.
        TrailDamagedError: the trail cannot prove it.
        TrailUnavailableError: there is no trail, or a file cannot be written.
    """
    place = Place(data)
    notes = KeptNotes(place)
    published = _published(place)
    with open_reporting(data) as reporting:
        found = reporting.explain(request_id)
    proof = found["proof"]
    if proof["problem"]:
        raise TrailDamagedError(f"{proof['problem']}: see comptroller audit verify")
    vkey = own_vkey(place)
    name = found["request_id"]
    # A refused request ends with its decision: no other record of it will come.
    expected = ROLES[:1] if found["state"] == "refused" else ROLES
    made = [
        _made(place, role, found, notes.of(published.origin))
        for role in ROLES
        if proof[role] is not None
    ]
    if not made:
        raise NotFoundError(
            f"no record of {name} is in a checkpoint yet: a sequencer that runs needs"
            " two seconds; comptroller audit sequence does it where none runs"
        )
    record_reading(data, "audit prove", {"request": name}, by)
    written = {one.role: _put(one, to / f"{name}.{one.role}") for one in made}
    return {
        "request_id": name,
        "origin": published.origin,
        "vkey": vkey,
        "witness_vkeys": [str(one.key) for one in notes.kept],
        "proofs": written,
        "absent": [role for role in expected if role not in written],
        "strength": proof["strength"],
    }


class _Made(NamedTuple):
    """A record and its proof, which is verified."""

    role: str
    record: bytes
    content: bytes
    """Of the proof's file."""
    proven: Proven
    by: Sequence[Cosignature]
    """The witnesses that signed its checkpoint."""


def _made(
    place: Place, role: str, found: dict[str, Any], notes: Sequence[CosignedNote]
) -> _Made:
    """Proves a record by a checkpoint that witnesses signed, if one is over it."""
    index, line = found["proof"][role], found["records"][role]["line"].encode()
    best = newest_over(notes, index)
    note = None if best is None else best.note
    try:
        record, content = prove(place.trail, index, note)
    except TrailPrunedError:
        record, content = prove(place.trail, index, note, line)  # its journal has it
    if record != line:
        raise TrailDamagedError(f"record {index} of the trail is not {line!r}")
    key = verifier(parse_vkey(own_vkey(place)))
    proven = verify_proof(content, record, key.key.name, [key])
    return _Made(role, record, content, proven, () if best is None else best.by)


def _put(made: _Made, stem: Path) -> dict[str, Any]:
    record = stem.with_name(f"{stem.name}.json")
    proof = stem.with_name(f"{stem.name}{SUFFIX}")
    _write(record, made.record)
    _write(proof, made.content)
    return {
        "index": made.proven.index,
        "size": made.proven.checkpoint.head.size,
        "witnessed": _told(made.by),
        "record": str(record),
        "proof": str(proof),
    }


def export(
    data: Path, to: Path, selected: Selected, by: str | None = None
) -> dict[str, Any]:
    """Writes the log as it is now into a folder that verifies without us.

    That it was read is recorded before.

    Args:
        data: the data directory.
        to: the folder.
        selected: which records are listed; the log is whole.
        by: the declared person who reads, where one is named.

    Raises:
        ConflictError: the folder has something in it.
        ControlUnavailableError: the reading cannot be recorded.
        JournalUnavailableError: likewise.
        TrailDamagedError: the log is not what was written.
        TrailUnavailableError: there is no trail, or a file cannot be written.
    """
    place = Place(data)
    notes = KeptNotes(place)
    published = _published(place)
    vkey = own_vkey(place)
    try:
        to.mkdir(parents=True, exist_ok=True)
        if any(to.iterdir()):
            raise ConflictError(f"{to} is not empty: name a new folder with --to")
        scope = {"since": selected.since, "until": selected.until}
        record_reading(data, "audit export", {**scope, "size": published.size}, by)
        witnessed = Witnessed(notes.kept, notes.of(published.origin))
        listed = export_log(place.trail, to, vkey, selected, witnessed)
    except OSError as error:
        raise TrailUnavailableError(f"{to} cannot be written: {error}") from error
    return _checkpoint(published) | {
        "to": str(to),
        "size": listed.size,
        "vkey": vkey,
        "witness_vkeys": [str(one.key) for one in notes.kept],
        "witnessed": _told(newest_of_each(notes.of(published.origin))),
        "listed": listed.listed,
        "pruned": listed.pruned,
    }


def _published(place: Place) -> Published:
    found = TrailFinder(place.trail, place.trail_places).published()
    if found is None:
        raise TrailUnavailableError(
            f"{place.data} has no trail yet: comptroller serve keeps it, and"
            " comptroller audit sequence begins it where none serves"
        )
    return found


def _checkpoint(published: Published) -> dict[str, Any]:
    return {
        "origin": published.origin,
        "size": published.size,
        "time": rfc3339(published.time_ns),
        "witnesses": list(published.witnesses),
        "strength": assurance([], published.size, published.witnesses),
    }


def own_vkey(place: Place) -> str:
    """The trail's public key, as it is kept beside it.

    Raises:
        TrailUnavailableError: it is not there.
    """
    try:
        vkey = (read_file(place.trail_vkey, VKEY_BYTES_MAX) or b"").decode("ascii")
    except (TrailUnavailableError, TrailDamagedError, ValueError) as error:
        raise TrailUnavailableError(
            f"{place.trail_vkey} cannot be read: {error}; name the key with --vkey"
        ) from error
    if not vkey:
        raise TrailUnavailableError(
            f"{place.trail_vkey} is not there; name the key with --vkey"
        )
    return vkey.strip()


def _write(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    except OSError as error:
        raise TrailUnavailableError(
            f"{path} cannot be written: {error.strerror}"
        ) from error
