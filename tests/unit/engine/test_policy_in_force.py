from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comptroller.engine import commands, replies
from comptroller.engine.commands import Act, Administrator, Result
from comptroller.engine.policy_history import policy_history
from comptroller.engine.policy_life import UNAVAILABLE
from comptroller.engine.policy_ports import active_policy
from comptroller.engine.records import Actor
from comptroller.testing.administration import (
    ADA,
    FakeSite,
    applied_site,
    small_registry,
)
from comptroller.testing.policy_life import BAD, FAILING, bundle_file
from comptroller.testing.script import Script
from comptroller.testing.store import InMemoryStore

GRACE = Actor(person="grace", account="root@test")
ONE = bundle_file(content=b"one")


@pytest.fixture
def site() -> FakeSite:
    return applied_site()


# -- what stays ----------------------------------------------------------------


def test_other_acts_and_restarts_keep_the_policy(site: FakeSite) -> None:
    """Every snapshot has it: after an issue, an apply, a restart, a lost store."""
    revision = site.publish_policy(ONE)
    site.administration.policies.activate(revision, GRACE)
    site.administration.issue("checkout", "ada", None, ADA)
    assert site.policy_in_force() == revision
    site.administration.apply(small_registry(purpose="new"), "sha256:2", ADA)
    assert site.policy_in_force() == revision
    site = site.again()
    assert site.policy_in_force() == revision
    site.store = InMemoryStore()
    site.published.content = None
    site = site.again()
    assert site.policy_in_force() == revision
    row = active_policy(site.store)
    assert row is not None
    assert row.author == "ada"


def test_an_activation_that_was_only_recorded_takes_effect_later(
    site: FakeSite,
) -> None:
    """A process that dies before it projects loses nothing: the next one does."""
    revision = site.publish_policy(ONE)
    other = FakeSite(site)
    parts = other.administration._parts
    other.administration._parts = parts._replace(project=lambda _: None)
    other.administration.policies.activate(revision, GRACE)
    assert active_policy(site.store) is None
    assert other.again().policy_in_force() == revision


def test_lost_content_of_the_active_policy_goes_on_from_the_last_publication(
    site: FakeSite,
) -> None:
    """The old sets stay in force and the trouble is told, until they are put back."""
    revision = site.publish_policy(ONE)
    site.administration.policies.activate(revision, GRACE)
    before = site.snapshot().policy
    site.archive.kept.clear()
    site = site.again()
    assert site.snapshot().policy == before
    problem = site.administration.policies.problem
    assert problem is not None
    assert "not kept here" in problem
    site.administration.policies.publish((ONE,), "", ADA)
    assert site.administration.policies.problem is None
    assert site.snapshot().policy == before


def test_without_any_content_everything_is_denied(site: FakeSite) -> None:
    """Archive and publication lost: a policy without sets, never no policy."""
    revision = site.publish_policy(ONE)
    site.administration.policies.activate(revision, GRACE)
    before = site.snapshot().policy
    site.archive.kept.clear()
    site.published.content = None
    site = site.again()
    policy = site.snapshot().policy
    assert policy is not None
    assert (policy.revision, policy.sets) == (UNAVAILABLE, [])
    site.administration.policies.publish((ONE,), "", ADA)
    assert site.snapshot().policy == before


def test_a_forged_publication_is_not_taken_for_the_policy(site: FakeSite) -> None:
    """What replaces lost content has to be what was recorded."""
    revision = site.publish_policy(ONE)
    site.administration.policies.activate(revision, GRACE)
    site.archive.kept.clear()
    assert site.published.content is not None
    forged = site.published.content.replace(b"allow.a", b"allow.*")
    site.published.reader().publish(forged)
    policy = site.again().snapshot().policy
    assert policy is not None
    assert policy.sets == []


# -- over the wire, and history --------------------------------------------------


def test_acts_on_policies_survive_the_wire(site: FakeSite) -> None:
    """Asking the control process gives what acting in process gives."""

    def send(command: Act) -> Result:
        read = commands.decode_command(msgspec.json.encode(command))
        assert isinstance(read, Act)
        result = commands.perform(read, site.administration, "root@test")
        return commands.decode_reply(command, replies.encode_result(result))

    administrator = Administrator(send)
    odd = bundle_file(content=b"\xff\x00")
    made = administrator.publish_policy([odd], "note", "ada")
    assert made.state == "published"
    bad = bundle_file(content=BAD + FAILING)
    refused = administrator.publish_policy([bad], "", "ada")
    assert (len(refused.problems), refused.failed[0].name) == (1, "a case")
    assert str(refused.problems[0]).endswith("hint: put it right")
    administrator.activate_policy(made.revision, "grace")
    assert site.policy_in_force() == made.revision
    administrator.deactivate_policy("ada", "why", "grace")
    assert site.policy_in_force() is None


def test_history_tells_the_newest_first(site: FakeSite) -> None:
    """States, people, times, and the live workers that decide by each."""
    policies = site.administration.policies
    empty = policy_history(site.store, site.journals)
    assert empty == {"active": None, "workers": 0, "bundles": [], "deactivations": []}
    revisions = []
    for number in range(3):
        site.clock.advance(1)
        file = bundle_file(content=b"%d" % number)
        revisions.append(policies.publish((file,), f"note {number}", ADA).revision)
    first, second, third = revisions
    for revision in (first, second, first):
        site.clock.advance(1)
        policies.activate(revision, GRACE)
    site.clock.advance(1)
    for source, loaded in (("/node/w0/a", first), ("/node/w1/a", second)):
        script_loaded(site, source, loaded)
    script_loaded(site, "/node/w2/a", first)
    site.journals._journals["/node/w2/a"].close()
    history = policy_history(site.store, site.journals)
    assert (history["active"], history["workers"]) == (first, 2)
    told = [(one["revision"], one["state"]) for one in history["bundles"]]
    assert told == [(first, "active"), (second, "was active"), (third, "published")]
    bundle = history["bundles"][0]
    assert (bundle["author"], bundle["approver"]) == ("ada", "grace")
    assert [one["worker"] for one in bundle["loaded_by"]] == ["/node/w0/a"]
    assert [one["number"] for one in bundle["activations"]] == [3, 1]
    assert (bundle["files"], bundle["parts"], bundle["cases"]) == (1, 1, 1)
    assert history["bundles"][2]["approver"] is None
    policies.deactivate("ada", "enough", GRACE)
    history = policy_history(site.store, site.journals)
    assert history["active"] is None
    assert history["deactivations"][0]["note"] == "enough"


def script_loaded(site: FakeSite, source: str, revision: str) -> None:
    journal = site.journals.open(source)
    Script(journal, site.clock, site.ids).policy_loaded(revision, None)
    site.project(source)


@given(
    st.lists(
        st.sampled_from(["publish", "activate", "end", "apply", "restart", "rebuild"])
    )
)
def test_any_order_of_acts_on_policies_gives_what_a_replay_gives(
    acts: list[str],
) -> None:
    """What was acknowledged last is in the snapshot, over restarts and rebuilds."""
    site = FakeSite()
    site.administration.apply(small_registry(), "sha256:0", ADA)
    made: list[str] = []
    wanted: str | None = None
    for number, act in enumerate(acts):
        policies = site.administration.policies
        site.clock.advance(1)
        if act == "publish":
            made.append(site.publish_policy(bundle_file(content=b"%d" % number)))
        elif act == "activate" and made:
            wanted = policies.activate(made[number % len(made)], GRACE).revision
        elif act == "end" and wanted is not None:
            wanted = policies.deactivate("ada", "test", GRACE).revision
        elif act == "apply":
            registry = small_registry(purpose=f"purpose {number}")
            site.administration.apply(registry, "sha256:x", ADA)
        elif act in {"restart", "rebuild"}:
            if act == "rebuild":
                site.store = InMemoryStore()
            site = site.again()
        assert site.policy_in_force() == wanted
    assert {one.revision for one in site.store.policies()} == set(made)
