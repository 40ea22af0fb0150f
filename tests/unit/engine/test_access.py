from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from comptroller.core.errors import (
    InvalidArgumentError,
    JournalUnavailableError,
    NotFoundError,
)
from comptroller.engine import commands
from comptroller.engine.access import ACCESS_READ, SCOPE_CHARS_MAX
from comptroller.engine.commands import Administrator, Done, NoteReading
from comptroller.engine.records import Actor
from comptroller.testing.administration import ADA, FakeSite, applied_site


def readings(site: FakeSite) -> list[dict[str, Any]]:
    """Every record of a reading in the control journal."""
    found = [json.loads(one.line) for one in site.open_journal().records]
    return [one for one in found if one["type"] == ACCESS_READ]


def test_a_reading_says_what_of_what_and_who() -> None:
    """Command, scope and actor, as they were asked; the store is not changed by it."""
    site = applied_site()
    before = site.store.revision()

    site.administration.readings.note("audit prove", {"request": "01R"}, ADA)

    (record,) = readings(site)
    assert record["subject"] == "reading/audit/prove"
    assert record["data"] == {
        "what": "audit prove",
        "scope": {"request": "01R"},
        "actor": {"person": "ada", "account": "root@test"},
    }
    assert site.store.revision() == before
    position = site.store.position(site.open_journal().source)
    assert position == site.journals.size(site.open_journal().source)


def test_who_reads_is_declared_or_unnamed() -> None:
    """A name that nobody has is refused; the account alone is enough."""
    site = applied_site()
    eve = Actor(person="eve", account="root@test")

    with pytest.raises(NotFoundError, match="eve"):
        site.administration.readings.note("explain", {}, eve)
    assert readings(site) == []
    unnamed = Actor(person=None, account="root@test")
    site.administration.readings.note("explain", {}, unnamed)
    FakeSite().administration.readings.note("audit export", {}, unnamed)

    assert [one["data"]["actor"]["person"] for one in readings(site)] == [None]


@pytest.mark.parametrize("count", ["listed", "decided"])
def test_what_is_typed_as_a_service_is_one(count: str) -> None:
    """Or nothing is recorded: it may be anybody's address, and records are kept.

    Of a service that was removed there may still be requests, and then it was one.
    """
    site = applied_site()
    note = site.administration.readings.note
    with pytest.raises(NotFoundError, match="there is no service"):
        note("requests", {"service": "eve@example.com", count: 0}, ADA)
    assert readings(site) == []

    note("requests", {"service": "checkout", count: 0}, ADA)
    note("requests", {"service": "removed", count: 3}, ADA)
    note("requests", {"service": None, count: 0}, ADA)
    named = [one["data"]["scope"]["service"] for one in readings(site)]
    assert named == ["checkout", "removed", None]


def test_a_scope_has_an_end() -> None:
    """What would make a record too long is refused, and nothing is recorded."""
    site = applied_site()
    with pytest.raises(InvalidArgumentError, match="more than is recorded"):
        site.administration.readings.note(
            "requests", {"service": "x" * SCOPE_CHARS_MAX}, ADA
        )
    assert readings(site) == []


def test_what_cannot_be_recorded_is_not_answered() -> None:
    """The journal's refusal is the answer."""
    site = applied_site()
    site.open_journal().close()
    with pytest.raises(JournalUnavailableError):
        site.administration.readings.note("explain", {"request": "01R"}, ADA)


def test_a_reading_travels_as_acts_do() -> None:
    """The command survives the socket; the account is the one that asks there."""
    site = applied_site()

    def send(command: commands.Act) -> commands.Result:
        decoded = commands.decode_command(msgspec.json.encode(command))
        assert isinstance(decoded, NoteReading)
        return commands.perform(decoded, site.administration, "auditor@host")

    Administrator(send, "grace").note_reading("privacy list", {"listed": 2})

    assert commands.RESULTS[NoteReading] is Done
    (record,) = readings(site)
    assert record["data"]["actor"] == {"person": "grace", "account": "auditor@host"}
