"""Auditing controls over a store: what is gathered for a moment and a span."""

from __future__ import annotations

from typing import Any

import pytest

from comptroller.core.errors import (
    ContentUnavailableError,
    InvalidArgumentError,
    NotFoundError,
)
from comptroller.engine.controls import CONTROLS
from comptroller.engine.explanation import Document
from comptroller.testing.audited import SERVICE, AuditedWorld, when
from comptroller.testing.projected import CONTROL, W0, W1

A = "sha256:aa"
NEW = {"id": "new", "name": "New", "email": "new@acme.example"}


def control(found: Document, name: str) -> Document:
    return next(one for one in found["controls"] if one["control"] == name)


def limited(world: AuditedWorld, **changed: object) -> None:
    """Applies a second revision, in which the service is changed."""
    key = "service", SERVICE
    world.control.applied(2, {key: {**world.objects[key], **changed}})


def test_a_limit_with_since_and_by_whom() -> None:
    """It is as of the revision that set it, with the record of that act."""
    world = AuditedWorld()
    world.wait(60)
    limited(world, limits={"concurrency": 4})
    world.load(2)
    world.wait(60)
    world.control.applied(3, {("person", "new"): NEW})
    world.load(3)
    world.wait(30)
    before, after = control(world.at(30), "concurrency"), world.at(140)
    assert before["verdict"] == "inactive"
    found = control(after, "concurrency")
    assert (found["verdict"], found["revision"]) == ("active", "3")
    assert found["limits"] == [
        {
            "of": f"service:{SERVICE}",
            "value": 4,
            "unit": "requests under way",
            "period_s": None,
        }
    ]
    assert found["since"]["time"] == when(60)
    assert found["since"]["revision"] == "2"
    assert found["since"]["is_exact"]
    assert found["since"]["record"]["source"] == CONTROL
    assert found["approved_by"]["applied_by"] == "ada"
    assert [one["worker"] for one in after["workers"]] == [W0, W1]
    assert after["registry"]["revision"] == "3"
    assert after["trail"] is None


def test_a_policy_with_author_and_approver() -> None:
    """Before, during and after; its controls and no others."""
    world = AuditedWorld()
    world.control.policy_published(A)
    world.wait(60)
    world.control.policy_activated(A, None)
    world.load(1, A)
    world.wait(60)
    world.control.policy_activated(None, A)
    world.load(1)
    world.wait(60)
    verdicts = [
        control(world.at(second), "prompt_restriction")["verdict"]
        for second in (59, 61, 119, 121)
    ]
    assert verdicts == ["inactive", "active", "active", "inactive"]
    found = control(world.at(90), "prompt_restriction")
    assert found["approved_by"]["author"] == "ada"
    assert found["approved_by"]["approver"] == "grace"
    assert found["since"]["time"] == when(60)
    assert [one["of"] for one in found["limits"]] == ["p"]
    covered = world.between(0, 180)["prompt_restriction"]
    assert covered["percent"] == "33.333"
    assert [(one["begin"], one["end"], one["cause"]) for one in covered["gaps"]] == [
        (when(0), when(60), "policy_deactivated"),
        (when(120), when(180), "policy_deactivated"),
    ]


def test_a_bundle_that_is_lost_is_said_to_be() -> None:
    """Nothing is guessed of what it asked for."""
    world = AuditedWorld()
    world.control.policy_published(A)
    world.control.policy_activated(A, None)
    world.load(1, A)
    world.wait(60)
    world.archive.is_lost = True
    found = control(world.at(30), "entitlement")
    assert found["verdict"] == "unproven"
    assert "is lost" in found["why"][0]
    assert control(world.at(30), "price")["verdict"] == "active"
    with pytest.raises(ContentUnavailableError):
        world.between(0, 30)


def test_a_worker_that_died_lived_until_its_last_sign() -> None:
    """A decision after its last heartbeat is one; after it nothing was decided."""
    world = AuditedWorld()
    world.wait(30, [W0])
    world.workers[W1].decided("R1")
    world.journals.dead.add(W1)
    world.wait(90, [W0])
    assert [one["worker"] for one in world.at(30)["workers"]] == [W0, W1]
    assert [one["worker"] for one in world.at(31)["workers"]] == [W0]
    assert world.between(0, 120)["price"]["percent"] == "100.000"


def test_a_worker_that_lives_and_is_silent_is_a_gap() -> None:
    """From its last heartbeat on, and it is named."""
    world = AuditedWorld()
    world.wait(30)
    world.wait(90, [W0])
    found = control(world.at(90), "price")
    assert found["verdict"] == "unproven"
    assert W1 in found["why"][0]
    (gap,) = world.between(0, 120)["price"]["gaps"]
    assert (gap["cause"], gap["workers"]) == ("worker_silent", [W1])
    assert (gap["begin"], gap["seconds"]) == (when(30), 90.0)


def test_a_worker_that_closed_and_nobody_after_it() -> None:
    """No worker was alive; the answer for that time is not proven."""
    world = AuditedWorld()
    world.wait(60)
    for one in world.workers.values():
        one.journal_closed()
    world.books.clock.advance(60)
    assert control(world.at(90), "price")["verdict"] == "unproven"
    (gap,) = world.between(0, 120)["price"]["gaps"]
    assert (gap["begin"], gap["cause"]) == (when(60), "no_worker")


def test_a_clock_set_back_between_two_revisions() -> None:
    """The time that two revisions may have been in force at proves nothing."""
    world = AuditedWorld()
    world.wait(90)
    limited(world, limits={"concurrency": 4})
    world.books.clock.advance(-60)
    world.control.applied(3, {})
    world.load(3)
    world.wait(120)
    found = world.at(60)
    assert found["registry"]["unclear"] == (
        "the clock was set back: registry revision 1 or 2 or 3 may have been in force"
        " at this time"
    )
    assert {one["verdict"] for one in found["controls"]} <= {"unproven", "inactive"}
    assert control(found, "concurrency")["verdict"] == "unproven"
    causes = {gap["cause"] for gap in world.between(0, 150)["price"]["gaps"]}
    assert "clock_set_back" in causes


def test_a_request_is_judged_by_what_stood_before_it_in_its_journal() -> None:
    """Its own worker's heartbeat before it, whatever clocks said."""
    world = AuditedWorld()
    script = world.workers[W0]
    usual = [
        {"id": name, "version": "1", "is_applied": True, "outcome": "pass"}
        for name in CONTROLS
    ]
    world.books.clock.advance(10)
    script.decided("01R", {"comptroller.controls": usual})
    script.heartbeat(7, number=1)
    world.wait(30)
    found = world.auditing().request("01r ")
    assert found["request_id"] == "01R"
    assert found["service"] == SERVICE
    assert [one["worker"] for one in found["workers"]] == [W0]
    assert found["workers"][0]["before"]["record"]["sequence"] == 1
    assert found["workers"][0]["after"]["registry_revision"] == 7
    assert control(found, "price")["verdict"] == "active"
    assert control(found, "price")["is_complete"]
    (decision,) = found["decisions"]
    assert decision["record"] == {"source": W0, "sequence": 2, "log_index": None}
    entitlement = control(found, "entitlement")
    assert entitlement["verdict"] == "disagreement"


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        (lambda one: one.at("nobody", when(0)), NotFoundError),
        (lambda one: one.request("no-such"), NotFoundError),
        (lambda one: one.at(SERVICE, when(10_000)), InvalidArgumentError),
        (lambda one: one.at(SERVICE, "soon"), InvalidArgumentError),
        (lambda one: one.between(SERVICE, when(5), when(5)), InvalidArgumentError),
        (lambda one: one.between(SERVICE, when(5), when(1)), InvalidArgumentError),
        (lambda one: one.between(SERVICE, "93d", "now"), InvalidArgumentError),
    ],
    ids=["nobody", "no-request", "to-come", "no-time", "empty", "reversed", "long"],
)
def test_what_cannot_be_asked(asked: Any, error: type[Exception]) -> None:  # noqa: ANN401
    """It says what is wrong with the question."""
    world = AuditedWorld()
    world.books.clock.advance(100)
    with pytest.raises(error):
        asked(world.auditing())
