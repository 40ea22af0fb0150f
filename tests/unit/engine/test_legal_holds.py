from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from comptroller.core.disclosure import disclosure
from comptroller.core.errors import (
    ComptrollerError,
    ConflictError,
    InvalidArgumentError,
    JournalUnavailableError,
    LegalHoldError,
    NotFoundError,
)
from comptroller.engine.legal_holds import (
    LegalHolds,
    check_no_legal_hold,
    in_force,
)
from comptroller.engine.privacy_life import Selection
from comptroller.engine.privacy_ports import DisclosureLine
from comptroller.engine.records import Actor
from comptroller.testing.administration import ADA, FakeSite, applied_site

ANN, BOB = "ann@example.org", "bob@example.org"
FIRST, SECOND = "01KAZ3NDEKTSV4RRFFQ69G5FAV", "01KAZ3NDEKTSV4RRFFQ69G5FAW"
NOBODY = Actor(person=None, account="a")


@pytest.fixture
def site() -> FakeSite:
    """A request of each of two end users, from one address."""
    site = applied_site()
    for request_id, user in ((FIRST, ANN), (SECOND, BOB)):
        fields = (("enduser.id", user), ("client.address", "192.0.2.7"))
        texts = [disclosure(bytes(16), name, value) for name, value in fields]
        line = msgspec.json.encode(DisclosureLine(request_id, texts))
        site.disclosures.append(line + b"\n")
    return site


def place(site: FakeSite, end_user: str | None = None, reason: str = "Case 7") -> str:
    holds = site.administration.retention.legal_holds
    return holds.place(end_user, reason, ADA).legal_hold_id


def lift(site: FakeSite, hold_id: str) -> int:
    holds = site.administration.retention.legal_holds
    return holds.lift(hold_id, "Closed", ADA).in_force


def erase(site: FakeSite, selection: Selection) -> int:
    return site.administration.privacy.erase(selection, "asked", ADA).requests


def recorded(site: FakeSite) -> list[dict[str, Any]]:
    found = [json.loads(one.line) for one in site.open_journal().records]
    return [one for one in found if "legal_hold" in one["type"]]


def test_a_legal_hold_is_recorded_when_placed_and_when_lifted(site: FakeSite) -> None:
    """Who, why and which; of a hold on everything there is no trace of anybody."""
    hold_id = place(site)
    assert [one.id for one in in_force(site.store)] == [hold_id]
    assert lift(site, hold_id.lower()) == 0
    assert in_force(site.store) == []

    placed, lifted = recorded(site)
    assert placed["type"] == "comptroller.legal_hold.placed.v1"
    assert placed["subject"] == f"legal_hold/{hold_id}"
    actor = {"person": "ada", "account": "root@test"}
    assert placed["data"] == {
        "legal_hold_id": hold_id,
        "reason": "Case 7",
        "end_user_trace": None,
        "actor": actor,
    }
    assert lifted["type"] == "comptroller.legal_hold.lifted.v1"
    said = {"legal_hold_id": hold_id, "reason": "Closed", "actor": actor}
    assert lifted["data"] == said


def test_the_trace_of_an_end_user_says_nothing_once_it_is_lifted(
    site: FakeSite,
) -> None:
    """The same end user twice: two traces; the salts are gone when both are lifted."""
    holds = [place(site, ANN), place(site, ANN)]
    traces = [one.end_user_trace for one in site.store.legal_holds()]
    assert len(set(traces)) == 2
    assert None not in traces
    assert all(ANN.encode() not in one.line for one in site.open_journal().records)
    assert set(site.salts.kept) == set(holds)
    assert lift(site, holds[0]) == 1
    assert set(site.salts.kept) == {holds[1]}
    assert lift(site, holds[1]) == 0
    assert not site.salts.kept


@pytest.mark.parametrize(
    "selection",
    [
        Selection("end_user", ANN),
        Selection("end_user", "never seen"),
        Selection("address", "192.0.2.7"),
        Selection("request", SECOND),
        Selection("before", before_ns=2**62),
    ],
    ids=lambda one: f"{one.by} {one.value}",
)
def test_nothing_is_erased_under_a_hold_on_everything(
    site: FakeSite, selection: Selection
) -> None:
    """Whatever is named; the message names the hold, why it is, and the way out."""
    before = bytes(site.disclosures.content)
    hold_id = place(site)
    with pytest.raises(LegalHoldError) as refused:
        erase(site, selection)
    for part in (hold_id, "Case 7", "ada", "comptroller audit legal-hold lift"):
        assert part in refused.value.message
    assert bytes(site.disclosures.content) == before
    lift(site, hold_id)
    assert erase(site, Selection("end_user", ANN)) == 1


@pytest.mark.parametrize(
    ("selection", "requests"),
    [
        (Selection("end_user", ANN), None),
        (Selection("address", "192.0.2.7"), None),
        (Selection("request", FIRST), None),
        (Selection("before", before_ns=2**62), None),
        (Selection("end_user", BOB), 1),
        (Selection("request", SECOND), 1),
        (Selection("end_user", "never seen"), 0),
    ],
    ids=lambda one: getattr(one, "by", one),
)
def test_a_hold_on_an_end_user_keeps_what_is_of_them(
    site: FakeSite, selection: Selection, requests: int | None
) -> None:
    """However it is named; what is of others alone may go."""
    place(site, ANN)
    before = bytes(site.disclosures.content)
    if requests is None:
        with pytest.raises(LegalHoldError, match="on an end user is in force"):
            erase(site, selection)
        assert bytes(site.disclosures.content) == before
    else:
        assert erase(site, selection) == requests
        assert FIRST.encode() in bytes(site.disclosures.content)


def test_a_hold_on_an_end_user_holds_before_they_are_seen(site: FakeSite) -> None:
    """Somebody of whom nothing is here yet: erasing them is refused all the same."""
    place(site, "carol")
    with pytest.raises(LegalHoldError):
        erase(site, Selection("end_user", "carol"))


def test_a_hold_whose_salt_is_lost_is_on_everyone(site: FakeSite) -> None:
    """Whom it is about cannot be told any more, so nobody is erased."""
    place(site, ANN)
    site.salts.kept.clear()
    with pytest.raises(LegalHoldError, match="its salt is lost"):
        erase(site, Selection("end_user", BOB))


def test_any_hold_stops_what_may_delete_of_everybody(site: FakeSite) -> None:
    """`check_no_legal_hold` names the oldest one in force, whatever it is on."""
    check_no_legal_hold(site.store, "no journal is deleted")
    first = place(site, ANN)
    site.clock.advance(1)
    second = place(site)
    with pytest.raises(LegalHoldError, match=f"{first}.* no journal is deleted"):
        check_no_legal_hold(site.store, "no journal is deleted")
    lift(site, first)
    with pytest.raises(LegalHoldError, match=second):
        check_no_legal_hold(site.store, "no journal is deleted")
    lift(site, second)
    check_no_legal_hold(site.store, "no journal is deleted")


def test_a_hold_outlives_its_process(site: FakeSite) -> None:
    """The next process refuses, too, and knows the end user again."""
    place(site, ANN)
    after = site.again()
    with pytest.raises(LegalHoldError):
        erase(after, Selection("end_user", ANN))
    assert erase(after, Selection("end_user", BOB)) == 1


def test_a_hold_that_could_not_be_recorded_is_not_in_force(site: FakeSite) -> None:
    """Its salt does not stay beyond the next process."""
    site.open_journal().failed = True
    with pytest.raises(JournalUnavailableError):
        place(site, ANN)
    assert site.salts.kept
    after = site.again()
    assert not after.salts.kept
    assert erase(after, Selection("end_user", ANN)) == 1


def test_what_a_death_left_after_lifting_is_swept(site: FakeSite) -> None:
    """A salt that was not destroyed in time is so by the next process."""
    hold_id = place(site, ANN)
    salt = site.salts.kept[hold_id]
    lift(site, hold_id)
    site.salts.kept[hold_id] = salt
    assert not site.again().salts.kept


@pytest.mark.parametrize(
    ("act", "error", "message"),
    [
        (lambda one: one.place(None, "x", NOBODY), InvalidArgumentError, "--by"),
        (lambda one: one.place(None, " ", ADA), InvalidArgumentError, "--reason"),
        (lambda one: one.place("", "x", ADA), InvalidArgumentError, "--end-user"),
        (lambda one: one.place("X", "of x", ADA), InvalidArgumentError, "repeats"),
        (
            lambda one: one.place(None, "x", Actor(person="eve", account="a")),
            NotFoundError,
            "no person 'eve'",
        ),
        (lambda one: one.lift("1", "x", NOBODY), InvalidArgumentError, "--by"),
        (lambda one: one.lift("1", "x", ADA), NotFoundError, "no legal hold '1'"),
    ],
    ids=("nobody", "why", "whom", "repeated", "stranger", "nobody lifts", "unknown"),
)
def test_a_legal_hold_is_answered_for(
    site: FakeSite,
    act: Callable[[LegalHolds], object],
    error: type[ComptrollerError],
    message: str,
) -> None:
    """A declared person and a reason, which must not repeat whom it is about."""
    before = len(site.open_journal().records)
    with pytest.raises(error, match=message):
        act(site.administration.retention.legal_holds)
    assert len(site.open_journal().records) == before
    assert not site.salts.kept


def test_a_hold_is_lifted_once(site: FakeSite) -> None:
    """The second time says who did it, and why."""
    hold_id = place(site)
    lift(site, hold_id)
    with pytest.raises(ConflictError, match="by ada: Closed"):
        lift(site, hold_id)
