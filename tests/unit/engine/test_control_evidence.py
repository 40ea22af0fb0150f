"""The judgement of a moment: agreement, each disagreement, each missing piece."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from comptroller.engine.control_declared import Declared, Limit
from comptroller.engine.control_evidence import (
    NS,
    DecisionThen,
    InForce,
    Judged,
    Moment,
    WorkerThen,
    judge,
)
from comptroller.engine.control_ports import RecordPlace
from comptroller.engine.control_records import HeartbeatState
from comptroller.engine.controls import BUNDLED, CONTROLS
from comptroller.engine.records import Control
from comptroller.testing.evidence import POLICY, beat, state

AT = 1000
PLACE = RecordPlace("control", 4)
DECLARED = {
    **{name: Declared(True) for name in CONTROLS},
    "rate_limit": Declared(False),
}
REGISTRY = InForce("1", 10 * NS, PLACE)
BUNDLE = InForce(POLICY, 20 * NS, RecordPlace("control", 7))


def worker(
    before: HeartbeatState | None = None, source: str = "w0", late: float = 10
) -> WorkerThen:
    """A worker that said something ten seconds before, and again 20 s later."""
    return WorkerThen(
        source,
        beat(1, AT - late, before, source),
        beat(2, AT - late + 30, before, source),
    )


def decision(*changed: Control, registry: str = "1") -> DecisionThen:
    """A decision on which every control had its say, but for these."""
    usual = {
        name: Control(name, "1", is_applied=True, outcome="pass") for name in CONTROLS
    }
    usual["rate_limit"] = said("rate_limit", "not_applicable")
    usual |= {one.id: one for one in changed}
    return DecisionThen(
        "R1",
        AT * NS,
        RecordPlace("w0", 9),
        registry,
        POLICY,
        list(usual.values()),
        is_free=False,
    )


def said(name: str, outcome: str) -> Control:
    is_applied = outcome not in {"not_applicable", "disabled"}
    return Control(name, "1", is_applied=is_applied, outcome=outcome)


def moment(
    workers: Sequence[WorkerThen] | None = None,
    decisions: Sequence[DecisionThen] | None = None,
) -> Moment:
    return Moment(
        AT * NS,
        REGISTRY,
        BUNDLE,
        DECLARED,
        [worker()] if workers is None else workers,
        [decision()] if decisions is None else decisions,
        is_asked=True,
    )


def one(found: Moment, name: str) -> Judged:
    return next(each for each in judge(found) if each.control == name)


def test_three_sources_that_agree() -> None:
    """Each control is active with its revision, but for the one nothing asks for."""
    found = judge(moment())
    assert [each.control for each in found] == list(CONTROLS)
    for each in found:
        expected = "inactive" if each.control == "rate_limit" else "active"
        assert (each.control, each.verdict) == (each.control, expected)
        assert each.is_complete
        assert each.revision == (POLICY if each.control in BUNDLED else "1")
        assert [piece.verdict for piece in each.pieces] == ["agrees"] * 3
    places = [piece.place for piece in one(moment(), "budget").pieces]
    assert places == [PLACE, RecordPlace("w0", 1), RecordPlace("w0", 9)]
    assert one(moment(), "rate_limit").why == (
        "registry revision 1 was in force and declares nothing for it",
    )


def test_without_a_decision_it_is_active_and_not_confirmed() -> None:
    """Two of three sources; the third is told to be missing."""
    found = one(moment(decisions=[]), "budget")
    assert (found.verdict, found.is_complete) == ("active", False)
    assert found.why == ("the service has no decision, before or after",)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"workers": []}, "no worker is known to have lived"),
        (
            {"workers": [WorkerThen("w0", None, beat(1, AT + 1))]},
            "there is no heartbeat of w0 before",
        ),
        (
            {"workers": [worker()._replace(is_set_back=True)]},
            "the clock of w0 was set back",
        ),
        (
            {"workers": [WorkerThen("w0", beat(1, AT - 36), None)]},
            "no heartbeat of w0 between 1970-01-01T00:16:04.000000Z and now",
        ),
        (
            {"workers": [WorkerThen("w0", beat(1, AT - 1), beat(2, AT + 35))]},
            "no heartbeat of w0 between 1970-01-01T00:16:39.000000Z and 1970",
        ),
        ({"declared": None}, "registry revision 1 is not known to declare it"),
        (
            {"registry": REGISTRY._replace(unclear="the clock was set back")},
            "the clock was set back",
        ),
        (
            {"registry": REGISTRY._replace(place=None)},
            "the record that put 1 into force is not known",
        ),
        (
            {
                "registry": InForce(None, None, None),
                "declared": None,
                "workers": [],
                "decisions": [],
            },
            "no configuration was applied yet",
        ),
    ],
)
def test_what_is_missing_is_never_filled_in(
    change: dict[str, object], why: str
) -> None:
    """Without the act, or a worker's heartbeat, nothing is proven; and it says why."""
    found = one(moment()._replace(**change), "budget")  # type: ignore[arg-type]
    assert found.verdict == "unproven"
    assert not found.is_complete
    assert any(each.startswith(why) for each in found.why), found.why


@pytest.mark.parametrize(
    ("before", "after"), [(AT - 35, None), (AT - 5, AT + 30), (AT, None)]
)
def test_heartbeats_just_in_time(before: float, after: float | None) -> None:
    """Thirty seconds and five of slack apart is near enough, to the second."""
    following = None if after is None else beat(2, after)
    found = moment([WorkerThen("w0", beat(1, before), following)])
    assert one(found, "budget").verdict == "active"


def test_a_worker_with_another_revision_disagrees() -> None:
    """With both revisions, and when it took up the one in force."""
    old = beat(1, AT - 1, state(0))
    new = beat(2, AT + 1, state(1))
    then = moment([worker(), WorkerThen("w1", old, new)])
    then = then._replace(registry=InForce("1", AT * NS - NS // 2, PLACE))
    found = one(then, "budget")
    assert found.verdict == "disagreement"
    (why,) = found.why
    assert why.startswith("w1 decided by registry 0, and 1 was in force;")
    assert why.endswith("; it took it up 1500 ms after the act")
    assert one(then, "entitlement").verdict == "active"


def test_a_worker_under_another_policy_disagrees() -> None:
    """On what the policy configures; a ceiling may be of both."""
    then = moment([worker(state(1, None))])
    found = one(then, "prompt_restriction")
    assert found.verdict == "disagreement"
    assert found.why == (f"w0 decided by policy none, and {POLICY} was in force",)
    assert one(then, "token_ceiling").verdict == "disagreement"
    assert one(then, "budget").verdict == "active"


def test_a_worker_that_did_not_enforce_disagrees() -> None:
    """Whatever the others say."""
    found = one(moment([worker(), worker(state(off=["budget"]), "w1")]), "budget")
    assert found.verdict == "disagreement"
    assert found.why == ("w1 did not enforce it",)


def test_a_worker_of_a_release_without_the_control() -> None:
    """It does not tell, so nothing is proven."""
    known = state()
    fewer = tuple(each for each in known.controls if each.id != "budget")
    older = HeartbeatState(
        registry_revision=1,
        policy_revision=POLICY,
        policy_is_usable=True,
        durability="disk",
        every_s=30,
        controls=fewer,
    )
    assert one(moment([worker(older)]), "budget").verdict == "unproven"


@pytest.mark.parametrize(
    ("name", "outcome", "verdict", "is_complete"),
    [
        ("prompt_restriction", "disabled", "disagreement", False),
        ("budget", "not_applicable", "disagreement", False),
        ("rate_limit", "pass", "disagreement", False),
        ("tenant_isolation", "not_applicable", "active", False),
        ("budget", "clamp", "active", True),
        ("entitlement", "would_deny", "active", True),
        ("rate_limit", "not_applicable", "inactive", True),
    ],
)
def test_what_a_decision_says(
    name: str, outcome: str, verdict: str, is_complete: object
) -> None:
    """It confirms, contradicts, or does not speak of a control, by its outcome."""
    found = one(moment(decisions=[decision(said(name, outcome))]), name)
    assert (found.verdict, found.is_complete) == (verdict, is_complete)


def test_what_was_not_asked_says_why() -> None:
    """Controls after the one that denied are silent, and name it."""
    denied = decision(said("model_selection", "deny"), said("budget", "not_applicable"))
    found = one(moment(decisions=[denied]), "budget")
    assert (found.verdict, found.is_complete) == ("active", False)
    (why,) = found.why
    assert why.endswith("because model_selection denied before it was asked")


def test_a_decision_under_another_revision() -> None:
    """Of the request asked about it is a contradiction; of one near, no evidence."""
    older = [decision(registry="0")]
    found = one(moment(decisions=older), "budget")
    assert found.verdict == "disagreement"
    assert found.why == ("request R1: it was decided by 0, and 1 was in force",)
    near = one(moment(decisions=older)._replace(is_asked=False), "budget")
    assert (near.verdict, near.is_complete) == ("active", False)
    both = moment(decisions=[*older, decision()])._replace(is_asked=False)
    assert one(both, "budget").is_complete


def test_a_control_that_its_record_does_not_list() -> None:
    """It is told; the other two sources stand."""
    short = decision()
    listed = [each for each in short.controls if each.id != "budget"]
    found = one(moment(decisions=[short._replace(controls=listed)]), "budget")
    assert (found.verdict, found.is_complete) == ("active", False)
    assert found.why == ("request R1: its record does not list this control",)


def test_no_policy_in_force() -> None:
    """All three sources agree that its controls were not active."""
    declared = {**DECLARED, **{name: Declared(False) for name in BUNDLED}}
    off = decision(*[said(name, "disabled") for name in BUNDLED])
    then = Moment(
        AT * NS,
        REGISTRY,
        InForce(None, None, None),
        declared,
        [worker(state(1, None))],
        [off._replace(policy_revision=None)],
    )
    found = one(then, "prompt_restriction")
    assert (found.verdict, found.is_complete) == ("inactive", True)
    assert found.why == ("no policy was in force",)


def test_a_policy_that_only_warns_says_so() -> None:
    """It is active, and whoever asks is told that it denies nothing."""
    part = Limit("no.tools", "audit", "policy part")
    lenient = {**DECLARED, "prompt_restriction": Declared(True, (part,))}
    found = one(moment()._replace(declared=lenient), "prompt_restriction")
    assert found.verdict == "active"
    assert found.why == ("every part of the policy for it only warns or is noted",)
