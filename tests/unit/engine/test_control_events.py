"""What happened to a gateway, and what must not be guessed of the controls then."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pytest

from comptroller.core.errors import NotFoundError
from comptroller.engine.explanation import Document
from comptroller.testing.audited import SERVICE, AuditedWorld, when
from comptroller.testing.projected import W0, W1

A = "sha256:aa"
KEY = "service", SERVICE
TENANT = {"id": "globex"}


def limited(world: AuditedWorld, revision: int, limit: int | None) -> None:
    """A revision in which so many requests at once are allowed."""
    limits = {} if limit is None else {"concurrency": limit}
    changed = {**world.objects[KEY], "limits": limits}
    world.control.applied(revision, {KEY: changed})


def two_revisions(world: AuditedWorld) -> None:
    """At 60 s a limit; the first worker takes it up then, the second one at 100 s."""
    world.wait(60)
    limited(world, 2, 4)
    world.revision = 2
    world.beat(W0)
    for seconds in (30, 10):
        world.books.clock.advance(seconds)
        world.revision = 1 if seconds == 30 else 2
        world.beat(W1)
        world.revision = 2
        world.beat(W0)
    world.wait(60)


def frozen(world: AuditedWorld) -> None:
    """From 60 to 180 s the second worker says nothing, and lives."""
    world.wait(60)
    world.wait(90, [W0])
    world.books.clock.advance(30)
    world.load(1)
    world.wait(60)


def both_frozen(world: AuditedWorld) -> None:
    """From 60 to 180 s nobody says anything, and then both do."""
    world.wait(60)
    world.books.clock.advance(120)
    world.load(1)
    world.wait(60)


def set_back(world: AuditedWorld) -> None:
    """At 90 s the clock of all is set back by 60 s."""
    world.wait(90)
    world.books.clock.advance(-60)
    world.load(1)
    world.wait(150)


def replaced_at_once(world: AuditedWorld) -> None:
    """At 70 s a limit, at 75 s none again: between two heartbeats, nobody saw it."""
    world.wait(60)
    world.books.clock.advance(10)
    limited(world, 2, 4)
    world.books.clock.advance(5)
    limited(world, 3, None)
    world.books.clock.advance(15)
    world.load(3)
    world.wait(60)


def activated_for_a_moment(world: AuditedWorld) -> None:
    """At 70 s a policy, at 75 s none again: between two heartbeats, nobody saw it."""
    world.control.policy_published(A)
    world.wait(60)
    world.books.clock.advance(10)
    world.control.policy_activated(A, None)
    world.books.clock.advance(5)
    world.control.policy_activated(None, A)
    world.books.clock.advance(15)
    world.load(1)
    world.wait(60)


def deactivated(world: AuditedWorld) -> None:
    """A policy from 60 to 120 s; the second worker let go of it at 130 s only."""
    world.control.policy_published(A)
    world.wait(60)
    world.control.policy_activated(A, None)
    world.load(1, A)
    world.wait(60)
    world.control.policy_activated(None, A)
    world.policy = None
    world.beat(W0)
    world.books.clock.advance(10)
    world.beat(W1)
    world.books.clock.advance(20)
    world.load(1)
    world.wait(60)


def tenant_added(world: AuditedWorld) -> None:
    """At 60 s there is another tenant; nothing else changes, and all take it up."""
    world.wait(60)
    world.control.applied(2, {("tenant", "globex"): TENANT})
    world.load(2)
    world.wait(60)


def service_later(world: AuditedWorld) -> None:
    """At 60 s the service is removed, at 120 s it is back."""
    world.wait(60)
    world.control.applied(2, {KEY: None})
    world.load(2)
    world.wait(60)
    world.control.applied(3, {KEY: world.objects[KEY]})
    world.load(3)
    world.wait(60)


def unreadable_policy(world: AuditedWorld) -> None:
    """A policy is active, and the second worker cannot read it: it refuses all."""
    world.control.policy_published(A)
    world.wait(60)
    world.control.policy_activated(A, None)
    world.policy = A
    world.beat(W0)
    unusable = {"policy_is_usable": False}
    number = world.beaten[W1]
    world.beaten[W1] += 1
    world.workers[W1].heartbeat(1, A, (), unusable, number=number)
    world.books.clock.advance(20)


class Asked(NamedTuple):
    """A question, and its answer."""

    story: Callable[[AuditedWorld], None]
    second: float
    control: str
    verdict: str
    why: str = ""
    """Part of a reason."""
    is_covered: bool = False
    """Though not active: another revision asks for the same."""


CASES = {
    "two-revisions-before": Asked(two_revisions, 30, "concurrency", "inactive"),
    "two-revisions-apart": Asked(
        two_revisions, 80, "concurrency", "disagreement", f"{W1} decided by registry 1"
    ),
    "two-revisions-joined": Asked(two_revisions, 110, "concurrency", "active"),
    "two-revisions-price": Asked(
        two_revisions, 80, "price", "disagreement", f"{W1} decided by registry 1", True
    ),
    "frozen": Asked(frozen, 120, "price", "unproven", f"no heartbeat of {W1}"),
    "frozen-begins": Asked(frozen, 61, "price", "unproven", f"no heartbeat of {W1}"),
    "frozen-ended": Asked(frozen, 181, "price", "active"),
    "frozen-off": Asked(frozen, 120, "budget", "unproven", f"no heartbeat of {W1}"),
    "both-frozen": Asked(both_frozen, 120, "price", "unproven", "no heartbeat of"),
    "set-back-twice": Asked(set_back, 60, "price", "unproven", "was set back"),
    "set-back-before": Asked(set_back, 20, "price", "active"),
    "set-back-after": Asked(set_back, 100, "price", "active"),
    "replaced-within": Asked(
        replaced_at_once, 72, "concurrency", "disagreement", "2 was in force"
    ),
    "replaced-after": Asked(replaced_at_once, 100, "concurrency", "inactive"),
    "replaced-not-loaded": Asked(
        replaced_at_once, 80, "price", "disagreement", "decided by registry 1", True
    ),
    "moment-within": Asked(
        activated_for_a_moment, 72, "prompt_restriction", "disagreement"
    ),
    "moment-after": Asked(activated_for_a_moment, 80, "prompt_restriction", "inactive"),
    "moment-other": Asked(activated_for_a_moment, 72, "price", "active"),
    "deactivated-within": Asked(deactivated, 90, "prompt_restriction", "active"),
    "deactivated-late": Asked(
        deactivated, 125, "prompt_restriction", "disagreement", f"{W1} decided by"
    ),
    "deactivated-after": Asked(deactivated, 140, "prompt_restriction", "inactive"),
    "tenant-before": Asked(tenant_added, 50, "tenant_isolation", "active"),
    "tenant-after": Asked(tenant_added, 70, "tenant_isolation", "active"),
    "service-removed": Asked(
        service_later, 90, "price", "unproven", "is not known to declare it"
    ),
    "service-back": Asked(service_later, 130, "price", "active"),
    "policy-unreadable": Asked(unreadable_policy, 70, "prompt_restriction", "active"),
}


def control(found: Document, name: str) -> Document:
    return next(one for one in found["controls"] if one["control"] == name)


@pytest.mark.parametrize("name", CASES)
def test_the_answer_at_a_time(name: str) -> None:
    """What is not shown is never active, and never inactive."""
    case = CASES[name]
    world = AuditedWorld()
    case.story(world)
    found = control(world.at(case.second), case.control)
    assert found["verdict"] == case.verdict, found["why"]
    assert any(case.why in one for one in found["why"]) or not case.why


@pytest.mark.parametrize("name", CASES)
def test_the_answer_of_a_span_is_that_of_its_times(name: str) -> None:
    """A second is covered if the answer at it is active, or what was asked the same."""
    case = CASES[name]
    world = AuditedWorld()
    case.story(world)
    at = when(case.second)
    gaps = world.between(0, case.second + 1)[case.control]["gaps"]
    is_covered = not any(one["begin"] <= at < one["end"] for one in gaps)
    assert is_covered == (case.verdict == "active" or case.is_covered)


def test_another_limit_than_the_one_in_force_is_not_covered() -> None:
    """A worker that still allows more than was declared has not loaded it."""
    world = AuditedWorld()
    limited(world, 2, 100)
    world.load(2)
    world.wait(60)
    limited(world, 3, 4)
    world.revision = 3
    world.beat(W0)
    world.books.clock.advance(20)
    world.load(3)
    world.wait(30)
    found = world.between(1, 110)
    assert found["price"]["gaps"] == []
    (gap,) = found["concurrency"]["gaps"]
    assert (gap["begin"], gap["end"]) == (when(60), when(80))
    assert (gap["cause"], gap["workers"]) == ("not_loaded", [W1])


def test_gaps_of_a_revision_that_nobody_loaded() -> None:
    """From the act until all had taken up what followed it."""
    world = AuditedWorld()
    activated_for_a_moment(world)
    found = world.between(0, 150)["prompt_restriction"]
    causes = [(one["begin"], one["end"], one["cause"]) for one in found["gaps"]]
    assert causes == [
        (when(0), when(70), "policy_deactivated"),
        (when(70), when(75), "not_loaded"),
        (when(75), when(150), "policy_deactivated"),
    ]
    assert found["percent"] == "0.000"


def test_a_tenant_that_is_added_dates_nothing_anew() -> None:
    """What is declared of the service is as it was since the first revision."""
    world = AuditedWorld()
    tenant_added(world)
    found = world.at(70)
    isolation = control(found, "tenant_isolation")
    assert (isolation["revision"], isolation["since"]["revision"]) == ("2", "1")
    kinds = {(one["kind"], one["revision"]) for one in found["declared_by"]}
    assert kinds == {
        *(("organization", "1"), ("gateway", "1"), ("tenant", "1")),
        *(("unit", "1"), ("service", "1"), ("model", "1")),
    }
    assert all(one["record"] is not None for one in found["declared_by"])


def test_what_declares_a_limit_is_cited() -> None:
    """The record of the service's last change, with its place."""
    world = AuditedWorld()
    two_revisions(world)
    found = world.at(110)["declared_by"]
    (service,) = (one for one in found if one["kind"] == "service")
    assert (service["id"], service["revision"]) == (SERVICE, "2")
    assert service["time"] == when(60)
    place = service["record"]["sequence"]
    line = world.books.journals[service["record"]["source"]].records[place].line
    assert b'"concurrency":4' in line


def test_a_service_that_did_not_exist_yet() -> None:
    """Not before it was declared; nobody ever declared it: that is said."""
    world = AuditedWorld()
    world.wait(60)
    other = {**world.objects[KEY], "id": "search"}
    world.control.applied(2, {("service", "search"): other})
    world.load(2)
    world.wait(60)
    asked = world.auditing()
    before, after = asked.at("search", when(30)), asked.at("search", when(90))
    assert {one["verdict"] for one in before["controls"]} == {"unproven"}
    assert control(after, "price")["verdict"] == "active"
    found = asked.between("search", when(0), when(120))
    (gap,) = control(found, "price")["gaps"]
    assert (gap["begin"], gap["end"]) == (when(0), when(60))
    assert gap["cause"] == "not_declared"
    with pytest.raises(NotFoundError):
        asked.at("nobody", when(90))


def test_a_worker_that_lived_only_between_two_times() -> None:
    """One that nobody asked and that died at once is no gap; it decided nothing."""
    world = AuditedWorld()
    world.wait(60)
    world.workers[W1].journal_closed()
    world.wait(60, [W0])
    assert [one["worker"] for one in world.at(90)["workers"]] == [W0]
    assert world.between(0, 120)["price"]["percent"] == "100.000"


def test_a_decision_outside_its_workers_life_contradicts() -> None:
    """The worker's journal ended before the time at which it says that it decided."""
    world = AuditedWorld()
    world.wait(30)
    world.books.clock.advance(1000)
    world.workers[W0].decided("01R")
    world.books.clock.advance(-900)
    world.workers[W0].journal_closed()
    found = world.auditing().request("01R")
    price = control(found, "price")
    assert price["verdict"] == "disagreement"
    assert any("did not live at this time" in one for one in price["why"])
