from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from comptroller.core.disclosure import disclosure
from comptroller.core.errors import (
    InvalidArgumentError,
    JournalUnavailableError,
    NotFoundError,
)
from comptroller.core.registry import Privacy
from comptroller.engine.privacy_life import Selection
from comptroller.engine.privacy_ports import DisclosureLine
from comptroller.engine.privacy_records import PRIVACY_ERASED
from comptroller.engine.records import Actor
from comptroller.testing.administration import (
    ADA,
    FakeSite,
    applied_site,
    small_registry,
)

SALT = bytes(16)
EARLY, LATE = "01ARZ3NDEKTSV4RRFFQ69G5FAV", "01KAZ3NDEKTSV4RRFFQ69G5FAV"
EARLY_NS = 1_469_922_850_259 * 10**6
"""The time in the id EARLY, which the ULID specification uses for its example."""


def disclose(site: FakeSite, request_id: str, **fields: str) -> None:
    """Writes a line as a worker does; `enduser_id` stands for `enduser.id`."""
    texts = [
        disclosure(SALT, name.replace("_", "."), value)
        for name, value in fields.items()
    ]
    line = msgspec.json.encode(DisclosureLine(request_id, texts))
    site.disclosures.append(line + b"\n")


@pytest.fixture
def site() -> FakeSite:
    """Three requests, two of them of ada@example.org."""
    site = applied_site()
    disclose(site, EARLY, enduser_id="ada@example.org", client_address="192.0.2.7")
    disclose(site, LATE, enduser_id="ada@example.org", client_address="192.0.2.8")
    disclose(site, LATE[:-1] + "Z", enduser_id="bob@example.org")
    return site


def erased(site: FakeSite) -> list[dict[str, Any]]:
    """The data of every erasure's record."""
    found = [json.loads(one.line) for one in site.open_journal().records]
    return [one["data"] for one in found if one["type"] == PRIVACY_ERASED]


def left(site: FakeSite) -> list[str]:
    return [one.line.id for one in site.disclosures.lines()]


def test_erasing_a_person_leaves_the_others_and_says_how_many(site: FakeSite) -> None:
    """Their lines are blank; the record says how many, by whom and why, not who."""
    selection = Selection("end_user", "ada@example.org")
    result = site.administration.privacy.erase(selection, " Art. 17\nrequest ", ADA)

    assert (result.requests, result.disclosures) == (2, 4)
    assert left(site) == [LATE[:-1] + "Z"]
    (data,) = erased(site)
    assert data["erasure_id"] == result.erasure_id
    assert data["selected_by"] == "end_user"
    assert (data["requests"], data["disclosures"]) == (2, 4)
    assert (data["reason"], data["actor"]["person"]) == ("Art. 17 request", "ada")
    assert b"ada@example.org" not in site.open_journal().records[-1].line
    assert site.disclosures.kept is None


@pytest.mark.parametrize(
    ("selection", "gone"),
    [
        (Selection("address", "192.0.2.8"), LATE),
        (Selection("address", "::ffff:192.0.2.8"), LATE),
        (Selection("request", LATE.lower()), LATE),
        (Selection("before", before_ns=EARLY_NS + 10**6), EARLY),
    ],
    ids=["address", "mapped", "request", "before"],
)
def test_what_is_erased_is_said_in_other_ways(
    site: FakeSite, selection: Selection, gone: str
) -> None:
    """By address, by request and by time: that one request and no other."""
    before = left(site)
    result = site.administration.privacy.erase(selection, "asked", ADA)

    assert result.requests == 1
    assert set(before) - set(left(site)) == {gone}


def test_nothing_to_erase_is_nothing_to_record(site: FakeSite) -> None:
    """A time before all of them, a person never seen: no record, nothing changed."""
    before = bytes(site.disclosures.content)
    for selection in (
        Selection("before", before_ns=EARLY_NS),
        Selection("end_user", "ada"),
    ):
        result = site.administration.privacy.erase(selection, "asked", ADA)
        assert (result.requests, result.erasure_id) == (0, None)

    assert bytes(site.disclosures.content) == before
    assert not erased(site)


def test_half_a_line_goes_where_no_whole_one_is_found(site: FakeSite) -> None:
    """It may be all that a full disk left of an end user; nothing else changes."""
    before = bytes(site.disclosures.content)
    disclose(site, EARLY, enduser_id="carl@example.org")
    del site.disclosures.content[-2:]
    half = len(site.disclosures.content) - len(before)
    selection = Selection("end_user", "carl@example.org")
    assert site.administration.privacy.erase(selection, "asked", ADA).requests == 0

    assert bytes(site.disclosures.content) == before + b" " * half
    assert not erased(site)


@pytest.mark.parametrize(
    ("selection", "reason", "actor", "error"),
    [
        (Selection("end_user", "bob"), "x", Actor(person=None, account="a"), None),
        (Selection("end_user", "bob"), "x", Actor(person="eve", account="a"), "eve"),
        (Selection("end_user", "bob"), " ", ADA, None),
        (Selection("end_user", "bob"), "BOB asked", ADA, None),
        (Selection("end_user", ""), "asked", ADA, None),
    ],
    ids=["nobody", "undeclared", "no-reason", "repeated", "no-value"],
)
def test_an_erasure_is_answered_for(
    site: FakeSite, selection: Selection, reason: str, actor: Actor, error: str | None
) -> None:
    """A declared person and a reason, which must not repeat what is to be erased."""
    kind = NotFoundError if error else InvalidArgumentError
    before = bytes(site.disclosures.content)
    with pytest.raises(kind):
        site.administration.privacy.erase(selection, reason, actor)

    assert bytes(site.disclosures.content) == before


def test_what_a_death_interrupts_the_next_process_finishes(site: FakeSite) -> None:
    """The journal fails in the middle: the successor erases the rest and records it."""
    site.open_journal().failed = True
    selection = Selection("end_user", "ada@example.org")
    with pytest.raises(JournalUnavailableError):
        site.administration.privacy.erase(selection, "asked", ADA)
    assert site.disclosures.kept is not None
    assert b"ada" not in site.disclosures.kept.replace(b'"ada"', b"")

    after = site.again()

    assert left(after) == [LATE[:-1] + "Z"]
    assert after.disclosures.kept is None
    (data,) = erased(after)
    assert (data["requests"], data["reason"]) == (2, "asked")


def test_keys_are_made_for_every_tenant_before_workers_need_them() -> None:
    """Applying `prompt_fingerprint` makes each tenant's key, once."""
    site = applied_site()
    assert not site.prompt_keys.kept
    registry = small_registry()
    gateway = replace(registry.gateway, privacy=Privacy(prompt_fingerprint=True))
    site.administration.apply(replace(registry, gateway=gateway), "sha256:2", ADA)

    made = dict(site.prompt_keys.kept)
    assert set(made) == set(registry.tenants)
    assert all(len(key) == 32 for key in made.values())
    site.administration.publish()
    assert site.prompt_keys.kept == made
