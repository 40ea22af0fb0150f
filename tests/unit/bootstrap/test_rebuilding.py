"""A store rebuilt from the trail of a life in which everything has happened."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

import msgspec
import pytest

from comptroller import engine
from comptroller.adapters.journal.naming import from_source, journal_name
from comptroller.adapters.journal.reader import DirectoryJournalReader
from comptroller.adapters.journal.writer import SyncJournal
from comptroller.adapters.policy.archive import PolicyArchive
from comptroller.adapters.policy.revision import revision_of
from comptroller.adapters.prices.archive import CardArchive
from comptroller.adapters.store import schema
from comptroller.adapters.store.comparing import StoreImage, columns, compare, key
from comptroller.adapters.store.sqlite import SqliteStore
from comptroller.adapters.tlog.journals import TrailJournals
from comptroller.adapters.tlog.keys import TrailKey
from comptroller.adapters.tlog.places import PlaceIndex
from comptroller.adapters.tlog.reader import TreeReader
from comptroller.adapters.tlog.tiles import (
    bundle_path,
    decode_bundle,
    encode_bundle,
    tile_path,
)
from comptroller.adapters.tlog.writer import TrailWriter
from comptroller.bootstrap.rebuilding import Log, Rebuilt, rebuild
from comptroller.core.errors import (
    ConflictError,
    NoteError,
    TrailDamagedError,
    TrailUnavailableError,
)
from comptroller.core.merkle import leaf_hash
from comptroller.core.rates import RateCard, rate_card
from comptroller.engine.policy_ports import BundleFile
from comptroller.engine.ports import DurableJournal, JournalPosition
from comptroller.engine.projection import Projector
from comptroller.engine.sequencing import Sequencer, sequence_all
from comptroller.testing.lifetime import Content, Lifetime, Site
from comptroller.testing.system import FakeClock, SequentialIds
from comptroller.testing.tree import await_true, command

KEY = TrailKey("trail.example/rebuilt", bytes(32))
CARD: RateCard = rate_card("fake-prices 1", {})
FILES = [BundleFile("acme.policy.yaml", "acme.policy.yaml", b"format: 1\n")]
SETS = b"[]"
CONTENT = Content(
    revision_of([(one.name, one.content) for one in FILES]),
    f"sha256:{hashlib.sha256(SETS).hexdigest()}",
    CARD.version,
)


class HurriedClock(FakeClock):
    """On which half a second passes at every look, so that seals come about."""

    def monotonic_s(self) -> float:
        """A little later than at the look before."""
        self.advance(0.5)
        return super().monotonic_s()


def opened(data: Path, worker: str, boot: str) -> SyncJournal:
    """A new journal."""
    name = journal_name("host", worker, boot)
    return SyncJournal(data / "journal", name, HurriedClock(), SequentialIds())


def closed(journal: DurableJournal) -> None:
    """The end of a process, in order."""
    assert isinstance(journal, SyncJournal)
    journal.close()


def killed(data: Path) -> Callable[[DurableJournal], None]:
    """The end of a process within a record."""

    def kill(journal: DurableJournal) -> None:
        assert isinstance(journal, SyncJournal)
        journal.failed = True
        journal.close()
        path = data / "journal" / from_source(journal.source).file(0)
        with path.open("ab") as file:
            file.write(b'{"specversion":"1.0","id":"torn')

    return kill


def sequenced(data: Path) -> None:
    """Brings all that is recorded into the trail."""
    reader, places = DirectoryJournalReader(data / "journal"), PlaceIndex(data / "i")
    writer = TrailWriter(data / "trail", KEY)
    sequence_all(Sequencer(reader, writer, places, FakeClock()), writer)
    for one in (places, writer, reader):
        one.close()


def lived(data: Path, requests: int) -> Path:
    """A data directory after a life; its trail ends where its store does."""
    PolicyArchive(data / "policy").keep(CONTENT.bundle, FILES, SETS)
    CardArchive(data / "rate-cards").keep(CARD)
    reader, places = DirectoryJournalReader(data / "journal"), PlaceIndex(data / "i")
    store = SqliteStore(data / "store.sqlite3")
    writer = TrailWriter(data / "trail", KEY)
    sequencer = Sequencer(reader, writer, places, FakeClock())

    def open_journal(worker: str, boot: str) -> SyncJournal:
        return opened(data, worker, boot)

    def step() -> None:
        sequencer.step()

    Lifetime(
        Site(open_journal, closed, killed(data), reader, store, step, CONTENT)
    ).live(requests)
    sequence_all(sequencer, writer)
    (data / "trail.vkey").write_text(f"{KEY.key}\n")
    for one in (places, writer, store, reader):
        one.close()
    return data


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A life of some 20,000 records; nobody changes it."""
    return lived(tmp_path_factory.mktemp("life"), 9_000)


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A life of some 1,000 records; nobody changes it."""
    return lived(tmp_path_factory.mktemp("short"), 400)


@pytest.fixture
def data(short: Path, tmp_path: Path) -> Path:
    """The short life, to be changed."""
    return Path(shutil.copytree(short, tmp_path / "data"))


def rebuilt(data: Path, to: Path | None = None, *, check: bool = True) -> Rebuilt:
    """Rebuilds, and tells nobody."""
    return rebuild(data, to, Log(), lambda _done, _of: None, check=check)


def differences(found: Rebuilt) -> list[str]:
    """The tables that do not agree."""
    assert found.compared is not None
    return sorted({one.table for one in found.compared.differences})


def stored(path: Path, statement: str, *values: object) -> None:
    """Writes to a database behind everybody's back."""
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        connection.execute(statement, values)
    connection.close()


def record_types() -> set[str]:
    """Every type of record that a journal can hold, wherever it is declared."""
    found = set()
    for module in iter_modules(engine.__path__):
        if module.name == "records" or module.name.endswith("_records"):
            declared = vars(import_module(f"comptroller.engine.{module.name}"))
            found |= {
                value
                for value in declared.values()
                if isinstance(value, str)
                and value.startswith("comptroller.")
                and value.endswith(".v1")
                and not value.startswith("comptroller.trail.")
            }
    return found


def entries(data: Path) -> list[bytes]:
    """All entries of a trail."""
    size = TrailWriter(data / "trail", KEY)
    size.close()
    return list(TreeReader(data / "trail", size.size).records())


def test_the_life_has_every_type_of_record(life: Path) -> None:
    """A new type of record fails here until the life has it."""
    lines = entries(life)
    assert len(lines) > 19_000
    found = {str(msgspec.json.decode(line)["type"]) for line in lines}
    assert len(record_types()) > 25
    assert record_types() - found == set()
    assert "comptroller.trail.gap.v1" in found  # torn tails


def test_a_store_rebuilt_from_the_trail_is_the_same(life: Path, tmp_path: Path) -> None:
    """Row by row, of 20,000 records; the file stands where it was asked for."""
    to = tmp_path / "new.sqlite3"
    size = TrailJournals(*tree(life)).size_of_log
    found = rebuilt(life, to)
    assert (found.problems, found.size) == ([], size)
    assert found.compared is not None
    assert found.compared.differences == []
    assert found.compared.explained == {}
    assert found.is_sound
    assert found.compared.rows > 10_000
    assert found.records > 0.99 * size
    assert sorted(one.name for one in tmp_path.iterdir()) == ["new.sqlite3"]
    assert to.stat().st_mode & 0o777 == 0o600
    # Workers that closed their journals still had leases: the comparison had the
    # live store brought up to date, which returned them, and no trail has that yet.
    assert [one.source.split("/")[2] for one in found.waiting] == ["cli"]
    with StoreImage(life / "store.sqlite3") as live, StoreImage(to) as image:
        assert set(live.positions()) - set(image.positions()) == {
            found.waiting[0].source
        }


def tree(data: Path) -> tuple[TreeReader, Any]:
    """A log and what its writer says of it."""
    writer = TrailWriter(data / "trail", KEY)
    writer.close()
    return TreeReader(data / "trail", writer.size), writer.head


def test_the_trail_reads_as_the_journals_do(life: Path) -> None:
    """Every source, every record at the offset where its journal has it."""
    journals = DirectoryJournalReader(life / "journal")
    trail = TrailJournals(*tree(life))
    assert set(trail.sources()) <= set(journals.sources())
    in_trail = [one for one in journals.sources() if one in trail.sources()]
    assert list(trail.sources()) == in_trail  # the oldest first, too
    assert trail.incomplete == {}
    for source in in_trail:
        assert trail.is_dead(source)
        offset = 0
        while run := journals.read(source, offset, 3_000_000):
            assert trail.record_at(JournalPosition(source, offset)) == run[0].line
            offset = run[-1].offset + len(run[-1].line) + 1
            same = list(trail.read(source, run[0].offset, 10**9))
            while same and same[-1].offset + len(same[-1].line) + 1 < offset:
                end = same[-1].offset + len(same[-1].line) + 1
                same += trail.read(source, end, 10**9)
            assert same[: len(run)] == list(run)
        assert trail.size(source) == offset
        assert trail.read(source, offset, 10**9) == []
    with pytest.raises(LookupError):
        trail.record_at(JournalPosition(in_trail[0], 1))
    journals.close()


@pytest.mark.parametrize(
    "turn", range(max(map(len, map(columns, schema.metadata.tables.values()))))
)
def test_every_column_is_compared(turn: int, short: Path, tmp_path: Path) -> None:
    """A value that is changed in any column of any table is a difference."""
    live, other = short / "store.sqlite3", tmp_path / "other.sqlite3"
    shutil.copy(live, other)
    expected = {}
    with sqlite3.connect(other) as connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        for table in schema.metadata.sorted_tables:
            compared = columns(table)
            if turn >= len(compared) or table.name == "alembic_version":
                continue
            column = compared[turn]
            where = " AND ".join(
                f'"{one.name}" IS (SELECT "{one.name}" FROM {table.name} LIMIT 1)'  # noqa: S608
                for one in table.primary_key.columns
            )
            numbers = column.type.python_type in {int, bool}
            value = f'coalesce("{column.name}", 0) + 70000' if numbers else "'other'"
            done = connection.execute(
                f'UPDATE {table.name} SET "{column.name}" = {value} WHERE {where}'  # noqa: S608
            )
            if done.rowcount:
                expected[table.name] = column.name, column in key(table)
    connection.close()
    with StoreImage(live) as ours, StoreImage(other) as theirs:
        found = compare(ours, theirs, 100)
    for name, (changed, is_key) in expected.items():
        said = [one.said for one in found.differences if one.table == name]
        assert said, f"{name}.{changed} is not compared"
        assert is_key or any(f"{changed} is " in one for one in said)


def test_a_row_too_many_or_too_few_is_a_difference(data: Path) -> None:
    """In either store."""
    live = data / "store.sqlite3"
    stored(
        live,
        "DELETE FROM requests"
        " WHERE request_id = (SELECT min(request_id) FROM requests)",
    )
    stored(live, "INSERT INTO conflicts VALUES (1, 7, 'r')")
    found = rebuilt(data)
    assert not found.is_sound
    assert differences(found) == ["conflicts", "requests"]
    assert found.compared is not None
    said = {one.table: one.said for one in found.compared.differences}
    assert said["conflicts"] == "only in the live store"
    assert said["requests"] == "only in the rebuilt store"


def test_a_store_of_an_older_release_lacks_what_it_did_not_keep(data: Path) -> None:
    """That may differ, and is said; anything else of the same tables may not."""
    live = data / "store.sqlite3"
    stored(live, "UPDATE revisions SET journal = NULL, sequence = NULL")
    stored(live, "DELETE FROM registry_history WHERE revision = 1")
    found = rebuilt(data)
    assert found.is_sound
    assert found.compared is not None
    assert {table for table, _ in found.compared.explained} == {
        "revisions",
        "registry_history",
    }
    stored(live, "UPDATE revisions SET person = 'mallory' WHERE revision = 2")
    assert differences(rebuilt(data)) == ["revisions"]


def test_an_object_that_two_requests_named_is_of_either(data: Path) -> None:
    """Of one tenant, for the order between workers is nobody's; else it differs."""
    live = data / "store.sqlite3"
    other = "(SELECT min(request_id) FROM requests)"
    first = "WHERE id = (SELECT max(id) FROM objects)"
    stored(live, f"UPDATE objects SET request_id = {other} {first}")  # noqa: S608
    found = rebuilt(data)
    assert found.is_sound
    assert found.compared is not None
    assert [table for table, _ in found.compared.explained] == ["objects"]
    stored(live, f"UPDATE objects SET tenant = 'other' {first}")  # noqa: S608
    assert differences(rebuilt(data)) == ["objects"]


def test_what_is_not_in_the_trail_yet_comes_from_the_journals(
    data: Path, tmp_path: Path
) -> None:
    """It is named, compared, and not in the file: that has what the trail says."""
    journal = opened(data, "cli", "019999")
    reader = DirectoryJournalReader(data / "journal")
    store = SqliteStore(data / "store.sqlite3")
    for _ in Projector(reader, store).catch_up():
        pass
    store.close()
    reader.close()
    to = tmp_path / "new.sqlite3"
    found = rebuilt(data, to)
    journal.close()
    assert found.is_sound
    assert journal.source in [one.source for one in found.waiting]
    with StoreImage(to) as image:
        assert journal.source not in image.positions()
    sequenced(data)
    again = rebuilt(data)
    assert (again.is_sound, again.waiting) == (True, [])


def test_content_that_is_gone_or_changed_is_named(data: Path) -> None:
    """What the records only name is verified by its digest."""
    folder = next((data / "policy").iterdir())
    (folder / "acme.policy.yaml").write_bytes(b"format: 2\n")
    card = next((data / "rate-cards").iterdir())
    card.unlink()
    found = rebuilt(data)
    assert not found.is_sound
    assert len(found.problems) == 2
    assert "it is another bundle" in found.problems[0]
    assert f"rate card {CARD.version} is not in" in found.problems[1]


def test_a_trail_that_was_changed_is_not_built_on(data: Path, tmp_path: Path) -> None:
    """Not even where entry and tile were changed alike; no file is left."""
    trail = data / "trail"
    name = trail / bundle_path(1)
    lines = decode_bundle(name.read_bytes(), 256, "")
    lines[5] = lines[5].replace(b'"time":"2025', b'"time":"2024')
    name.write_bytes(encode_bundle(lines))
    with pytest.raises(TrailDamagedError, match="record 261"):
        rebuilt(data, tmp_path / "new.sqlite3")
    (trail / tile_path(0, 1)).write_bytes(b"".join(map(leaf_hash, lines)))
    with pytest.raises(TrailDamagedError, match="not those of its checkpoint"):
        rebuilt(data, tmp_path / "new.sqlite3")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["data"]


def test_only_a_signed_checkpoint_is_built_on(data: Path) -> None:
    """By the key that is named, and there has to be one."""
    other = str(TrailKey("trail.example/rebuilt", bytes(31) + b"1").key)
    with pytest.raises(NoteError):
        rebuild(data, None, Log(other), lambda _done, _of: None, check=True)
    (data / "trail.vkey").unlink()
    with pytest.raises(TrailUnavailableError, match="--vkey"):
        rebuilt(data)
    (data / "trail" / "checkpoint").unlink()
    with pytest.raises(TrailUnavailableError, match="no checkpoint"):
        rebuilt(data)


def test_no_file_is_written_over_and_one_rebuild_is_at_work(data: Path) -> None:
    """A file that is there stays as it is, and so does another rebuild's."""
    to = data / "store.sqlite3"
    before = to.read_bytes()
    with pytest.raises(ConflictError, match="there already"):
        rebuilt(data, to, check=False)
    assert to.read_bytes() == before
    beside = data / "new.sqlite3-wal"
    beside.write_bytes(b"of a database that was moved away")
    with pytest.raises(ConflictError, match="sqlite3-wal is there already"):
        rebuilt(data, data / "new.sqlite3", check=False)
    beside.unlink()
    partial = data / "new.sqlite3.partial"
    partial.mkdir()
    (partial / "left").write_text("of one that was killed")
    lock = os.open(partial, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    with pytest.raises(ConflictError, match="another rebuild"):
        rebuilt(data, data / "new.sqlite3", check=False)
    os.close(lock)
    assert rebuilt(data, data / "new.sqlite3", check=False).is_sound
    assert not partial.exists()


def digests(folder: Path) -> dict[str, str]:
    """Every file of a folder, by its content."""
    return {
        str(one.relative_to(folder)): hashlib.sha256(one.read_bytes()).hexdigest()
        for one in folder.rglob("*")
        if one.is_file()
    }


def test_a_rebuild_that_is_killed_leaves_all_as_it_was(
    life: Path, tmp_path: Path
) -> None:
    """The data directory byte for byte, and no file; the next run works."""
    data = Path(shutil.copytree(life, tmp_path / "data"))
    before = digests(data)
    to, partial = tmp_path / "new.sqlite3", tmp_path / "new.sqlite3.partial"
    words = ["audit", "rebuild", "--data", str(data), "--to", str(to)]
    kills = 0
    for turn in range(6):
        child = subprocess.Popen(
            [sys.executable, "-m", "comptroller", *words], stdout=subprocess.DEVNULL
        )
        await_true(lambda: (partial / "store.sqlite3").exists() or to.exists(), 60)
        time.sleep(turn * 0.1)
        child.kill()
        if child.wait(timeout=60) == -signal.SIGKILL and not to.exists():
            kills += 1
            assert partial.exists()
        to.unlink(missing_ok=True)
    assert kills >= 3
    assert digests(data) == before
    done = command(tmp_path, *words, "--check", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["compared"]["is_same"]
    assert not partial.exists()
    assert to.exists()
