"""What the side table promises of the people of the configuration."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import msgspec
import pytest

from comptroller.adapters.disclosures import DisclosureWriter, FileDisclosureTable
from comptroller.engine.privacy_ports import (
    DisclosureLine,
    DisclosureSink,
    DisclosureTable,
)
from comptroller.testing.disclosures import InMemoryDisclosures

Opener: TypeAlias = Callable[[Path], tuple[DisclosureTable, DisclosureSink]]


def on_disk(folder: Path) -> tuple[DisclosureTable, DisclosureSink]:
    directory = folder / "disclosures"
    return FileDisclosureTable(directory), DisclosureWriter(directory, "w0")


def in_memory(folder: Path) -> tuple[DisclosureTable, DisclosureSink]:
    del folder
    table = InMemoryDisclosures()
    return table, table


@pytest.fixture(params=[on_disk, in_memory])
def opened(
    request: pytest.FixtureRequest, tmp_path: Path
) -> tuple[DisclosureTable, DisclosureSink]:
    """An empty table, and what a worker writes to it with."""
    opener: Opener = request.param
    return opener(tmp_path)


def test_people_and_requests_do_not_mix(
    opened: tuple[DisclosureTable, DisclosureSink],
) -> None:
    """What a worker writes discloses requests; what is kept discloses people."""
    table, sink = opened
    assert table.people() == []
    table.keep("1", [DisclosureLine("ada", ["a"]), DisclosureLine("bob", ["b"])])
    sink.append(msgspec.json.encode(DisclosureLine("request", ["r"])) + b"\n")
    table.keep("2", [DisclosureLine("ada", ["c"])])

    assert [one.line.id for one in table.lines()] == ["request"]
    assert [one.line.disclosures for one in table.people()] == [["a"], ["b"], ["c"]]


def test_one_person_is_erased_and_the_others_stay(
    opened: tuple[DisclosureTable, DisclosureSink],
) -> None:
    """Blanking a person's lines, even twice, leaves everybody else's."""
    table, sink = opened
    table.keep("1", [DisclosureLine("ada", ["a"]), DisclosureLine("bob", ["b"])])
    table.keep("2", [DisclosureLine("ada", ["c"])])
    sink.append(msgspec.json.encode(DisclosureLine("request", ["r"])) + b"\n")
    spans = [one.span for one in table.people() if one.line.id == "ada"]
    assert len(spans) == 2
    for _ in range(2):
        table.blank(spans)
        assert [one.line.id for one in table.people()] == ["bob"]
        assert [one.line.id for one in table.lines()] == ["request"]
