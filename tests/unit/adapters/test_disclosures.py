from __future__ import annotations

import logging
import os
import stat
import threading
import time
from pathlib import Path

import msgspec
import pytest

from comptroller.adapters.disclosures import (
    DisclosureWriter,
    FileDisclosureTable,
    FilePromptKeys,
)
from comptroller.core.errors import StoreUnavailableError
from comptroller.engine.privacy_ports import DisclosureLine

LINES = 1500


def line(name: str) -> bytes:
    return msgspec.json.encode(DisclosureLine(name, [f"said-by-{name}"])) + b"\n"


def names(table: FileDisclosureTable) -> list[str]:
    return [one.line.id for one in table.lines()]


def test_what_workers_write_is_read_in_order_of_its_ids(tmp_path: Path) -> None:
    """Several workers, several files each; all for this account only."""
    folder = tmp_path / "disclosures"
    table = FileDisclosureTable(folder)
    assert names(table) == []
    writers = [DisclosureWriter(folder, f"w{one}", 100) for one in range(2)]
    for number in range(20):
        writers[number % 2].append(line(f"r{number:02}"))

    assert names(table) == [f"r{number:02}" for number in range(20)]
    files = sorted(folder.iterdir())
    assert len(files) > 6
    assert all(stat.S_IMODE(one.stat().st_mode) == 0o600 for one in files)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_lines_are_blanked_while_others_are_appended(tmp_path: Path) -> None:
    """Nothing that a worker appends meanwhile is lost, and what is erased is gone."""
    table = FileDisclosureTable(tmp_path)

    def work(one: int) -> None:
        writer = DisclosureWriter(tmp_path, f"w{one}", 4096)
        for number in range(LINES):
            writer.append(line(f"{'bob' if number % 3 else 'ada'}-{one}-{number:07}"))
            time.sleep(0.0002)
        writer.close()

    threads = [threading.Thread(target=work, args=(one,)) for one in range(2)]
    for thread in threads:
        thread.start()
    erased: set[str] = set()
    while any(thread.is_alive() for thread in threads):
        found = [one for one in table.lines() if one.line.id.startswith("ada")]
        table.blank([one.span for one in found])
        erased |= {one.line.id for one in found}

    left = set(names(table))
    content = b"".join(one.read_bytes() for one in tmp_path.iterdir())
    assert not left & erased
    assert not [one for one in erased if one.encode() in content]
    assert len(left) + len(erased) == len(threads) * LINES
    assert not table.broken()


def test_a_file_of_blanks_goes_once_nobody_writes_to_it(tmp_path: Path) -> None:
    """Its worker's own file stays; a repeat of what was done changes nothing."""
    writer, table = DisclosureWriter(tmp_path, "w0"), FileDisclosureTable(tmp_path)
    writer.append(line("a"))
    spans = [one.span for one in table.lines()]
    table.blank(spans)
    assert names(table) == []
    assert len(list(tmp_path.iterdir())) == 1

    writer.append(line("b"))
    table.blank(spans)
    assert names(table) == ["b"]
    spans += [one.span for one in table.lines()]
    writer.close()
    table.blank(spans)
    assert list(tmp_path.iterdir()) == []
    table.blank(spans)


def test_half_a_line_is_broken_where_nobody_writes(tmp_path: Path) -> None:
    """A torn tail is left alone while its worker lives, and can be blanked after."""
    writer, table = DisclosureWriter(tmp_path, "w0"), FileDisclosureTable(tmp_path)
    writer.append(line("a"))
    (path,) = tmp_path.iterdir()
    with path.open("ab") as file:
        file.write(line("secret")[:-3])
    assert names(table) == ["a"]
    assert not table.broken()

    writer.close()
    broken = table.broken()
    table.blank(broken)
    assert len(broken) == 1
    assert b"secret" not in path.read_bytes()
    assert names(table) == ["a"]


def test_a_line_that_cannot_be_written_is_lost_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The worker goes on, and writes again as soon as it can."""
    folder = tmp_path / "disclosures"
    folder.write_text("a file stands where the folder has to be")
    writer = DisclosureWriter(folder, "w0")
    with caplog.at_level(logging.ERROR):
        writer.append(line("lost"))
    assert "disclosures are lost" in caplog.text
    assert "said-by" not in caplog.text

    folder.unlink()
    writer.append(line("kept"))
    assert names(FileDisclosureTable(folder)) == ["kept"]


def test_people_are_kept_for_this_account_only(tmp_path: Path) -> None:
    """A file at a time, none of which replaces another; the blank one goes."""
    table = FileDisclosureTable(tmp_path / "disclosures")
    table.keep("1", [DisclosureLine("ada", ["secret-a"])])
    table.keep("2", [DisclosureLine("bob", ["secret-b"])])
    folder = tmp_path / "disclosures" / "people"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(one.stat().st_mode) for one in folder.iterdir()} == {0o600}
    with pytest.raises(StoreUnavailableError):
        table.keep("2", [DisclosureLine("eve", ["x"])])

    table.blank([one.span for one in table.people()[:1]])
    assert [one.name for one in folder.iterdir()] == ["2.jsonl"]


def test_what_a_kill_leaves_of_people_is_read_or_broken(tmp_path: Path) -> None:
    """Whole lines can be erased by their id, and half a line with any erasure."""
    table = FileDisclosureTable(tmp_path)
    table.keep("1", [DisclosureLine("ada", ["secret-a"]), DisclosureLine("bob", ["b"])])
    path = tmp_path / "people" / "1.jsonl"
    path.write_bytes(path.read_bytes()[:-4])

    assert [one.line.id for one in table.people()] == ["ada"]
    table.blank([*(one.span for one in table.people()), *table.broken()])
    assert list((tmp_path / "people").iterdir()) == []


def test_an_intent_is_kept_until_it_is_forgotten(tmp_path: Path) -> None:
    """Durable, replaced as a whole, and no line of the table."""
    table = FileDisclosureTable(tmp_path)
    assert table.intent() is None
    table.intend(b"one")
    table.intend(b"two")
    assert (table.intent(), names(table)) == (b"two", [])
    table.forget()
    assert table.intent() is None
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_refuses_is_said(tmp_path: Path) -> None:
    """An intent that cannot be kept raises; nothing was begun."""
    with pytest.raises(StoreUnavailableError):
        FileDisclosureTable(tmp_path / "absent").intend(b"one")


def test_keys_are_made_once_and_for_this_account_only(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A key that is not there, or is cut off, is said aloud and not used."""
    keys = FilePromptKeys(tmp_path / "keys" / "prompts")
    keys.prepare(["acme"], lambda: os.urandom(32))
    made = keys.read(["acme"])
    keys.prepare(["acme", "other"], lambda: b"o" * 32)
    assert keys.read(["acme", "other"]) == {**made, "other": b"o" * 32}
    path = tmp_path / "keys" / "prompts" / "other.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600

    path.write_bytes(b"short")
    assert keys.read(["acme", "other", "third"]) == made
    assert "no fingerprints for other" in caplog.text
    assert "no fingerprints for third" in caplog.text
