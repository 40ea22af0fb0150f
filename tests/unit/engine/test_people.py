from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from comptroller.core.disclosure import commitment, disclosure, read_disclosure
from comptroller.core.errors import (
    ConflictError,
    InvalidArgumentError,
    JournalUnavailableError,
    LegalHoldError,
)
from comptroller.core.registry import Person, PersonId, Registry
from comptroller.engine import records
from comptroller.engine.batch import Batch
from comptroller.engine.privacy_life import Selection
from comptroller.engine.privacy_ports import DisclosureLine
from comptroller.engine.privacy_records import PRIVACY_ERASED
from comptroller.engine.registry_fold import encode_object
from comptroller.testing.administration import (
    ADA,
    FakeSite,
    applied_site,
    small_registry,
)

GRACE = PersonId("grace")


@pytest.fixture
def site() -> FakeSite:
    """Ada, Grace and Alan are declared."""
    return applied_site()


def of_person(site: FakeSite, person: str) -> list[dict[str, Any]]:
    """The data of every record of a person, oldest first."""
    found = [json.loads(one.line) for one in site.open_journal().records]
    return [one["data"] for one in found if one["subject"] == f"person/{person}"]


def with_email(email: str) -> Registry:
    registry = small_registry()
    grace = replace(registry.people[GRACE], email=email)
    return replace(registry, people={**registry.people, GRACE: grace})


def disclosed(site: FakeSite, person: str) -> dict[str, str]:
    """What the side table says of a person: values by commitment."""
    return {
        commitment(text): read_disclosure(text).value
        for held in site.disclosures.people()
        if held.line.id == person
        for text in held.line.disclosures
    }


def test_a_record_commits_to_a_person_and_says_the_id_alone(site: FakeSite) -> None:
    """Name and address are in the side table and the snapshot, and nowhere else."""
    (created,) = of_person(site, "grace")

    assert created["before"] is None
    assert set(created["after"]) == {"id", "_sd", "_sd_alg"}
    assert created["after"]["id"] == "grace"
    assert created["after"]["_sd"] == sorted(created["after"]["_sd"])
    said = {one: disclosed(site, "grace")[one] for one in created["after"]["_sd"]}
    assert sorted(said.values()) == ["Grace", "grace@acme.example"]
    journal = b"".join(one.line for one in site.open_journal().records)
    stored = b"".join(one.body for one in site.store.registry_objects())
    for kept in (journal, stored):
        assert b"Grace" not in kept
        assert b"@acme.example" not in kept
    assert site.snapshot().registry == small_registry()


def test_a_change_shows_which_member_changed_and_not_how(site: FakeSite) -> None:
    """The other member keeps its commitment; the record before is repeated."""
    (created,) = of_person(site, "grace")
    site.administration.apply(with_email("g@new.example"), "sha256:2", ADA)

    _, changed = of_person(site, "grace")
    assert changed["changed"] == ["email"]
    assert changed["before"] == created["after"]
    both = set(changed["before"]["_sd"]) & set(changed["after"]["_sd"])
    assert [disclosed(site, "grace")[one] for one in both] == ["Grace"]
    assert b"new.example" not in site.open_journal().records[-2].line
    assert site.snapshot().registry == with_email("g@new.example")
    assert "changed" not in of_person(site, "ada")[0]


def test_the_same_configuration_again_is_no_change(site: FakeSite) -> None:
    """What is disclosed is what is compared, also by the next process."""
    after = site.again()
    count = len(after.disclosures.people())
    assert after.administration.apply(small_registry(), "sha256:1", ADA).changes == 0
    assert len(after.disclosures.people()) == count == 3


def test_nothing_is_recorded_of_people_before_it_is_disclosed(site: FakeSite) -> None:
    """A death between the two leaves disclosures that no record commits to."""
    site.open_journal().failed = True
    with pytest.raises(JournalUnavailableError):
        site.administration.apply(with_email("g@new.example"), "sha256:2", ADA)
    assert "g@new.example" in disclosed(site, "grace").values()

    after = site.again()
    assert after.snapshot().registry == small_registry()
    after.administration.apply(small_registry(("ada", "alan")), "sha256:3", ADA)
    after.administration.privacy.erase(Selection("person", "grace"), "left", ADA)
    assert disclosed(after, "grace") == {}


def test_a_lost_disclosure_only_says_less_until_the_next_apply(site: FakeSite) -> None:
    """Who is not disclosed goes by the id; applying the file again discloses anew."""
    site.disclosures.kept_of_people.clear()
    after = site.again()
    assert after.snapshot().registry.people[GRACE] == Person(GRACE, "grace", "")

    assert after.administration.apply(small_registry(), "sha256:1", ADA).changes == 3
    assert after.snapshot().registry == small_registry()


def test_people_of_older_records_are_read_and_then_committed_to(site: FakeSite) -> None:
    """A plain record projects; the record of the next change says nothing plainly."""
    plain = Person(GRACE, "Grace", "grace@acme.example")
    body = msgspec.Raw(encode_object(plain))
    batch = Batch(site.open_journal, site.clock, site.ids)
    change = records.ObjectChange(
        revision=2, kind="person", id="grace", after=body, actor=ADA
    )
    batch.add(records.OBJECT_CHANGED, "person/grace", change)
    applied = records.RegistryApplied(
        revision=2, changes=1, digest="sha256:2", actor=ADA
    )
    batch.add(records.REGISTRY_APPLIED, "registry", applied)
    site.project(batch.commit())
    assert site.administration.registry() == small_registry()

    site.administration.apply(with_email("g@new.example"), "sha256:3", ADA)
    data = of_person(site, "grace")[-1]
    assert data["changed"] == ["email"]
    for side in ("before", "after"):
        assert set(data[side]) == {"id", "_sd", "_sd_alg"}
    known = disclosed(site, "grace")
    after = {known[one] for one in data["after"]["_sd"]}
    assert after == {"Grace", "g@new.example"}
    assert [known.get(one) for one in data["before"]["_sd"]].count("Grace") == 1
    assert "grace@acme.example" not in [known.get(o) for o in data["before"]["_sd"]]
    assert site.administration.registry() == with_email("g@new.example")


def test_a_person_is_erased_once_not_declared_any_more(site: FakeSite) -> None:
    """While declared: refused. Afterwards: gone, counted, and recorded by id."""
    selection = Selection("person", "grace")
    with pytest.raises(ConflictError, match="take them out"):
        site.administration.privacy.erase(selection, "left", ADA)
    site.administration.apply(with_email("g@new.example"), "sha256:2", ADA)
    site.administration.apply(small_registry(("ada", "alan")), "sha256:3", ADA)
    *_, removed = of_person(site, "grace")
    assert removed["after"] is None
    assert set(removed["before"]) == {"id", "_sd", "_sd_alg"}
    with pytest.raises(InvalidArgumentError, match="repeats"):
        site.administration.privacy.erase(selection, "G@new.example left", ADA)

    result = site.administration.privacy.erase(selection, "left", ADA)

    assert (result.requests, result.disclosures) == (0, 3)
    assert disclosed(site, "grace") == {}
    assert len(disclosed(site, "ada")) == 2
    data = json.loads(site.open_journal().records[-1].line)
    assert data["type"] == PRIVACY_ERASED
    assert (data["data"]["selected_by"], data["data"]["person"]) == ("person", "grace")
    again = site.administration.privacy.erase(selection, "left", ADA)
    assert (again.disclosures, again.erasure_id) == (0, None)


def test_a_legal_hold_keeps_people_as_well(site: FakeSite) -> None:
    """One on everything does; one on an end user is not on a person."""
    site.administration.apply(small_registry(("ada", "alan")), "sha256:2", ADA)
    selection = Selection("person", "grace")
    holds = site.administration.retention.legal_holds
    placed = holds.place(None, "Case 12", ADA)
    with pytest.raises(LegalHoldError):
        site.administration.privacy.erase(selection, "left", ADA)
    assert len(disclosed(site, "grace")) == 2

    holds.place("grace@acme.example", "Case 13", ADA)
    holds.lift(placed.legal_hold_id, "Case 12 is closed", ADA)
    site.administration.privacy.erase(selection, "left", ADA)
    assert disclosed(site, "grace") == {}


def test_people_are_erased_by_their_id_alone(site: FakeSite) -> None:
    """No time, request, end user or address selects what discloses people."""
    for selection in (
        Selection("before", before_ns=2**62),
        Selection("request", "grace"),
        Selection("end_user", "grace@acme.example"),
        Selection("address", "grace@acme.example"),
    ):
        result = site.administration.privacy.erase(selection, "asked", ADA)
        assert result.disclosures == 0
    assert len(disclosed(site, "grace")) == 2


def test_what_no_record_commits_to_is_never_believed(site: FakeSite) -> None:
    """Neither another's disclosure nor an invented one gives a person an address."""
    invented = disclosure(bytes(16), "email", "eve@evil.example")
    alan = [
        text
        for one in site.disclosures.people()
        if one.line.id == "alan"
        for text in one.line.disclosures
    ]
    grace = [one for one in site.disclosures.people() if one.line.id == "grace"]
    site.disclosures.blank([one.span for one in grace])
    site.disclosures.keep("later", [DisclosureLine("grace", [invented, *alan, "?"])])

    registry = site.again().snapshot().registry
    assert registry.people[GRACE] == Person(GRACE, "grace", "")
    assert registry.people[PersonId("alan")].email == "alan@acme.example"
