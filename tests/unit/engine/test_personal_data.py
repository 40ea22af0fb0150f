from __future__ import annotations

import pytest

from comptroller.core.errors import NotFoundError
from comptroller.core.registry import Person, PersonId
from comptroller.engine.control_ports import ChangeRow
from comptroller.engine.personal_data import PersonalData, PersonalParts
from comptroller.engine.registry_fold import encode_object
from comptroller.testing.administration import FakeSite, applied_site

PLAIN = encode_object(Person(PersonId("grace"), "Grace", "grace@acme.example"))


def asked(site: FakeSite, *rows: ChangeRow) -> PersonalData:
    """Answers over a site, of which these changes are known."""
    parts = PersonalParts(site.store, site.journals, site.disclosures, lambda _: rows)
    return PersonalData(parts)


@pytest.fixture
def site() -> FakeSite:
    return applied_site()


def stored(site: FakeSite, person: str) -> bytes:
    (body,) = (one.body for one in site.store.registry_objects() if one.id == person)
    return body


def test_a_person_is_shown_with_the_revisions_that_commit(site: FakeSite) -> None:
    """One commitment in two revisions; another person's is not among them."""
    body = stored(site, "grace")
    rows = [
        ChangeRow(1, "person", "grace", body),
        ChangeRow(4, "person", "grace", body),
    ]
    rows.append(ChangeRow(2, "person", "ada", stored(site, "ada")))
    shown = asked(site, *rows).person(" grace ")

    assert (shown["person"], shown["is_declared"]) == ("grace", True)
    said = [(one["name"], one["value"], one["revisions"]) for one in shown["disclosed"]]
    assert said == [
        ("name", "Grace", [1, 4]),
        ("email", "grace@acme.example", [1, 4]),
    ]
    assert (shown["undisclosed"], shown["plain_revisions"]) == (0, [])


def test_what_older_records_say_plainly_is_told_by_its_revision(site: FakeSite) -> None:
    """And a removed person is not declared; what no record commits to has none."""
    rows = [
        ChangeRow(1, "person", "grace", PLAIN),
        ChangeRow(2, "person", "grace", None),
    ]
    answers = asked(site, *rows)
    shown = answers.person("grace")

    assert answers.plain_revisions("grace") == shown["plain_revisions"] == [1]
    assert not shown["is_declared"]
    assert [one["revisions"] for one in shown["disclosed"]] == [[], []]


def test_what_is_erased_is_counted_and_strangers_are_not_found(site: FakeSite) -> None:
    """Two commitments without a disclosure; nobody was declared as eve."""
    row = ChangeRow(1, "person", "grace", stored(site, "grace"))
    site.disclosures.kept_of_people.clear()
    shown = asked(site, row).person("grace")

    assert (shown["disclosed"], shown["undisclosed"]) == ([], 2)
    with pytest.raises(NotFoundError, match="nobody was ever declared as 'eve'"):
        asked(site, row).person("eve")
