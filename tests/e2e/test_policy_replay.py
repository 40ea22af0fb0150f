"""`comptroller policy replay`, `promote` and `diff --replay` as people run them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from comptroller.adapters.journal.naming import journal_name
from comptroller.adapters.journal.writer import SyncJournal
from comptroller.adapters.system import SystemClock, SystemEntropy, UlidIds
from comptroller.bootstrap import open_administrator
from comptroller.bootstrap.policies import gather_files, read_bundle
from comptroller.testing.administration import small_registry
from comptroller.testing.decisions import DecisionScript
from comptroller.testing.policy import facts_with
from comptroller.testing.script import Script
from comptroller.testing.system import FakeClock
from comptroller.testing.tree import command, told

DAY_S = 24 * 3600
POLICY = """\
apiVersion: comptroller.policy/v1
kind: PolicySet
metadata: {name: acme, owner: ada}
allow:
  - {id: allow.small, models: {acme: [small]}}
ceilings:
  - {id: ceil.default, max_output_tokens: 100, on_exceed: clamp}
rules:
  - id: few-choices
    mode: audit      # until we know whom it hits
    deny_if: request.choices > 2
"""
CASES = """\
tests:
  - name: the small model is allowed
    with: {principal.tenant: acme, model.id: small}
    expect: {decision: allow}
"""
SHADOW = """\
  - name: many choices are only noted
    with: {principal.tenant: acme, model.id: small, request.choices: 3}
    expect: {decision: allow, would_deny: [few-choices]}
"""


class Past(NamedTuple):
    """A folder with a bundle, and a data directory with what it decided."""

    folder: Path
    revision: str
    many: str
    """A request for three replies, a dollar and a half dear."""
    other: str
    """A request for another model, denied."""


def recorded(folder: Path, revision: str) -> tuple[str, str]:
    """Writes a worker's journal: some decisions, the first of them 40 days old."""
    clock = FakeClock(SystemClock().now_ns() - 40 * DAY_S * 10**9)
    ids = UlidIds(clock, SystemEntropy())
    name = journal_name("host", "w0", ids.new())
    journal = SyncJournal(folder / "comptroller-data" / "journal", name, clock, ids)
    policy = read_bundle([folder / "policy"]).policy
    assert policy is not None
    script = DecisionScript(journal, clock, ids, policy, revision)
    ends = Script(journal, clock, ids)
    small = {"model.id": "small"}
    ends.settled(script.decided(facts_with(small | {"request.choices": 5})), 7, {})
    clock.advance(39 * DAY_S)
    ends.settled(script.decided(facts_with(small)), 10**9, {"input": 1})
    many = script.decided(facts_with(small | {"request.choices": 3}))
    ends.settled(many, 1_500_000_000, {"input": 1})
    script.decided(facts_with(small | {"request.choices": 3}))
    other = script.decided(facts_with({"model.id": "large"}))
    script.refused_before("model_not_allowed")
    journal.close()
    return many, other


@pytest.fixture(scope="module")
def past_once(tmp_path_factory: pytest.TempPathFactory) -> Past:
    folder = tmp_path_factory.mktemp("past")
    (folder / "policy").mkdir()
    (folder / "policy" / "acme.policy.yaml").write_text(POLICY)
    (folder / "policy" / "acme.policy_test.yaml").write_text(CASES)
    with open_administrator(folder / "comptroller-data") as administrator:
        administrator.apply(small_registry(), "sha256:1")
        files, _ = gather_files([folder / "policy"])
        published = administrator.publish_policy(files, "", "ada")
    return Past(folder, published.revision, *recorded(folder, published.revision))


@pytest.fixture
def past(past_once: Past, tmp_path: Path) -> Past:
    """A copy of its own."""
    return past_once._replace(folder=shutil.copytree(past_once.folder, tmp_path / "f"))


def change(past: Past, before: str, after: str) -> None:
    file = past.folder / "policy" / "acme.policy.yaml"
    assert before in POLICY
    file.write_text(POLICY.replace(before, after))


def test_what_is_recorded_follows_from_what_was_published(past: Past) -> None:
    """Without a bundle each decision is verified; those without a policy are told."""
    done = command(past.folder, "policy", "replay")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "5 decisions were decided again by their own bundles: all say the same.",
        "1 decision was made without a policy: model_not_allowed 1.",
    ]
    assert told(past.folder, "policy", "replay", "--since", "7d")["decided"] == 4


def test_a_decision_that_does_not_follow_fails_the_command(past: Past) -> None:
    """Its id and what differs are told, and the exit status is 1."""
    journals = past.folder / "comptroller-data" / "journal"
    (file,) = (one for one in journals.iterdir() if "w0" in one.name)
    before = b'"comptroller.policy.by":["allow.small"]'
    changed = file.read_bytes().replace(before, before.replace(b"small", b"smell"))
    file.write_bytes(changed)

    done = command(past.folder, "policy", "replay", "--service", "checkout-assistant")

    assert done.returncode == 1
    assert "by: recorded [allow.smell], decided [allow.small]" in done.stdout
    assert "4 differ" in done.stdout


def test_another_bundle_is_told_in_requests_and_dollars(past: Past) -> None:
    """By service and owner; what was never sent has no cost, rather than none."""
    change(past, "[small]", "[small, large]")
    change_mode = past.folder / "policy" / "acme.policy.yaml"
    change_mode.write_text(change_mode.read_text().replace("audit ", "enforce "))

    found = told(past.folder, "policy", "replay", "policy", "--since", "7d")

    (line,) = found["services"]
    assert (line["service"], line["owner"]) == ("checkout-assistant", "ada")
    assert line["refused"] == {
        "requests": 2,
        "examples": [past.many, line["refused"]["examples"][1]],
        "cost_nano_usd": 1_500_001_000,  # with the hold of one that was abandoned
        "not_ended": 0,
    }
    assert line["allowed"] == {
        "requests": 1,
        "examples": [past.other],
        "cost_nano_usd": None,
    }
    text = command(past.folder, "policy", "replay", "policy", "--since", "7d").stdout
    assert "1.500001" in text
    assert "What the newly allowed would have cost is not known" in text


def test_a_published_bundle_is_named_by_its_revision(past: Past) -> None:
    """By its first digits, too; one that is nowhere is an error."""
    found = told(past.folder, "policy", "replay", past.revision[7:15])
    assert found["services"] == []

    for nowhere in ("elsewhere/policy", "abcdef12"):
        done = command(past.folder, "policy", "replay", nowhere)
        assert done.returncode == 1
        assert nowhere in done.stderr


def test_two_bundles_are_compared_over_what_is_recorded(past: Past) -> None:
    """The same answer as a replay, between two bundles in files."""
    shutil.copytree(past.folder / "policy", past.folder / "before")
    change(past, "max_output_tokens: 100", "max_output_tokens: 10")

    done = command(past.folder, "policy", "diff", "before", "policy", "--replay", "7d")
    assert (done.returncode, done.stderr) == (0, "")
    assert "4 of 4 decisions change." in done.stdout

    words = ("diff", "before", "policy", "--replay", "7d", "--exit-code")
    assert command(past.folder, "policy", *words).returncode == 1
    same = ("diff", "before", "before", "--replay", "7d", "--exit-code")
    assert command(past.folder, "policy", *same).returncode == 0


def test_a_rule_is_promoted_with_its_evidence(past: Past) -> None:
    """What it would have refused is shown; the file changes only when that is said."""
    file = past.folder / "policy" / "acme.policy.yaml"

    asked = command(past.folder, "policy", "promote", "few-choices", "--since", "7d")
    assert asked.returncode == 1
    assert "2 of 4 decisions change." in asked.stdout
    assert "1.500001" in asked.stdout
    assert file.read_text() == POLICY

    done = command(past.folder, "policy", "promote", "few-choices", "policy", "--yes")
    assert (done.returncode, done.stderr) == (0, "")
    assert "comptroller policy publish" in done.stdout
    assert file.read_text() == POLICY.replace("mode: audit ", "mode: enforce ")


def test_a_rule_whose_tests_would_fail_is_not_promoted(past: Past) -> None:
    """The tests that speak of the shadow are named, and the file stays."""
    (past.folder / "policy" / "acme.policy_test.yaml").write_text(CASES + SHADOW)

    done = command(past.folder, "policy", "promote", "few-choices", "--yes")

    assert done.returncode == 1
    assert "would fail: many choices are only noted" in done.stderr
    assert (past.folder / "policy" / "acme.policy.yaml").read_text() == POLICY


def test_a_rule_can_be_promoted_to_warn_first(past: Past) -> None:
    """Then it refuses nothing, and what it would warn of is counted."""
    words = ("policy", "promote", "few-choices", "--to")
    done = command(past.folder, *words, "warn", "--yes")

    assert done.returncode == 0, done.stderr
    line = next(one for one in done.stdout.splitlines() if one.startswith("total"))
    assert line.split() == ["total", "0", "0", "0", "2", "0", "0", "0.000000"]
    assert command(past.folder, *words, "x").returncode == 1
