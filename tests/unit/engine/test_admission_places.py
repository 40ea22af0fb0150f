"""Admission where a model runs in several places: turns, policy, what was tried."""

from __future__ import annotations

import json

import pytest
from msgspec.structs import replace

from comptroller.core.policy.plain import plain_set
from comptroller.core.policy.rules import (
    AllowTable,
    Policy,
    PolicySet,
    PromptRestriction,
)
from comptroller.engine.admission import Admission
from comptroller.engine.desk import Desk
from comptroller.engine.judging import Judge
from comptroller.engine.snapshot import ActivePolicy
from comptroller.engine.verdicts import Admitted, Ask, Missing, Refused
from comptroller.testing.deployed import CREDENTIAL, HOUSE, Places
from comptroller.testing.routes import CHAT
from comptroller.testing.scanner import WordScanner
from comptroller.testing.system import FixedSecrets

NOW_NS = 1_760_000_000_000_000_000
BODY = json.dumps({"model": HOUSE, "messages": []}).encode()
ASK = Ask(CHAT, b"good", BODY, b"")
ONLY_A = AllowTable("allow.a", {"r-a": frozenset({"*"})}, by="model.region")
ANYWHERE = AllowTable("allow.all", {"*": frozenset({"*"})})
SCANNED = PromptRestriction("p.secrets", patterns=("secret",))
FIRST, SECOND = "1" * 26, "2" * 26


def admission(names: str, declared: PolicySet | None = None) -> Admission:
    judge = None
    if declared is not None:
        active = ActivePolicy("sha256:1", [plain_set(declared)])
        judge = Judge(active, Policy.of([declared]), WordScanner({}))
    snapshot = Places(names).snapshot(CREDENTIAL)
    return Admission(Desk(snapshot, FixedSecrets({}), judge))


def place_of(deciding: Admission, ask: Ask = ASK) -> str:
    """Where a request goes, once all that is missing was found."""
    verdict = deciding.admit(ask, NOW_NS)
    if isinstance(verdict, Missing):
        scanned = replace(ask, matches=())
        verdict = deciding.admit(scanned, NOW_NS)
    assert isinstance(verdict, Admitted)
    return verdict.entitlement.deployment[0]


@pytest.mark.parametrize("prompts", [(), (SCANNED,)])
def test_every_request_takes_one_turn(prompts: tuple[PromptRestriction, ...]) -> None:
    """Also one that is decided on twice, because its prompt is scanned."""
    declared = PolicySet("test", "ada", allow=(ANYWHERE,), prompts=prompts)
    deciding = admission("abc", declared)

    assert "".join(place_of(deciding) for _ in range(6)) == "abcabc"


def test_a_later_attempt_goes_elsewhere_and_takes_no_turn() -> None:
    """What failed is left out; the next request's turn is as if nothing had been."""
    deciding = admission("abc")
    tried = replace(ASK, tried=(("b", "m"),), first_id=FIRST, previous_id=FIRST)

    places = [place_of(deciding, one) for one in (ASK, ASK, tried, ASK, ASK)]

    assert places == ["a", "b", "c", "c", "a"]


def test_a_place_that_the_policy_denies_is_left_out() -> None:
    """The policy decides on each place; one region is as good as one place."""
    deciding = admission("ab", PolicySet("test", "ada", allow=(ONLY_A,)))

    assert [place_of(deciding) for _ in range(3)] == ["a", "a", "a"]


def test_a_later_attempt_that_the_policy_denies_says_what_it_followed() -> None:
    """Denied for the place that is left, and recorded with both earlier decisions."""
    deciding = admission("ab", PolicySet("test", "ada", allow=(ONLY_A,)))
    tried = replace(ASK, tried=(("a", "m"),), first_id=FIRST, previous_id=SECOND)

    verdict = deciding.admit(tried, NOW_NS)

    assert isinstance(verdict, Refused)
    assert verdict.data is not None
    data = json.loads(b"{%b}" % verdict.data)
    assert (data["result"], data["reason"]) == ("deny", "policy_denied")
    assert data["gen_ai.provider.name"] == "b"
    assert data["comptroller.attempt.of"] == FIRST
    assert data["comptroller.attempt.after"] == SECOND
