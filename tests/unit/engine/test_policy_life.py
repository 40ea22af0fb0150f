from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from comptroller.core.errors import (
    ConflictError,
    ContentUnavailableError,
    InvalidArgumentError,
    JournalUnavailableError,
    NotFoundError,
)
from comptroller.core.registry import Registry
from comptroller.engine.policy_life import BUNDLE_BYTES_MAX, FILES_MAX
from comptroller.engine.policy_ports import BundleFile
from comptroller.engine.records import RECORD_BYTES_MAX, Actor
from comptroller.testing.administration import (
    ADA,
    FakeSite,
    applied_site,
    small_registry,
)
from comptroller.testing.policy_life import BAD, FAILING, bundle_file

GRACE = Actor(person="grace", account="root@test")
ONE, OTHER = bundle_file(content=b"one"), bundle_file(content=b"other")


def separated(
    wanted: bool | None, people: tuple[str, ...] = ("ada", "grace")
) -> Registry:
    registry = small_registry(people=people)
    gateway = replace(registry.gateway, separation_of_duties=wanted)
    return replace(registry, gateway=gateway)


@pytest.fixture
def site() -> FakeSite:
    return applied_site()


def types(site: FakeSite) -> list[str]:
    return [
        json.loads(record.line)["type"].removeprefix("comptroller.policy.")
        for record in site.open_journal().records
        if b"comptroller.policy." in record.line
    ]


def last_data(site: FakeSite) -> Any:  # noqa: ANN401  JSON
    return json.loads(site.open_journal().records[-1].line)["data"]


# -- publish -------------------------------------------------------------------


def test_a_fit_bundle_is_kept_and_recorded_and_decides_nothing(site: FakeSite) -> None:
    """Published: author, note, files, parts and cases are recorded; none is active."""
    two = (bundle_file(name="b"), bundle_file("grace"))
    result = site.administration.policies.publish(two, " first\n one ", ADA)
    assert (result.state, result.files, result.parts, result.cases) == (
        "published",
        2,
        2,
        2,
    )
    data = last_data(site)
    assert (data["author"], data["note"]) == ("ada", "first one")
    assert [one["name"] for one in data["files"]] == ["b.policy.yaml", "a.policy.yaml"]
    assert data["parts"] == ["allow.b", "allow.a"]
    assert data["revision"] == result.revision
    assert result.revision in site.archive.kept
    assert site.policy_in_force() is None


def test_publishing_the_same_again_changes_nothing(site: FakeSite) -> None:
    """The first author stays, and there is no second record."""
    revision = site.publish_policy(ONE)
    count = len(site.open_journal().records)
    again = site.administration.policies.publish((ONE,), "again", GRACE)
    assert (again.state, again.revision, again.author) == ("known", revision, "ada")
    assert len(site.open_journal().records) == count


@pytest.mark.parametrize(
    ("file", "problems", "failed", "reason"),
    [
        (bundle_file(content=BAD), 1, 0, "policy/a.policy.yaml:3:27: something is"),
        (bundle_file(content=FAILING), 0, 1, "policy/a.policy.yaml:3:27: failed: a c"),
        (bundle_file("adda"), 1, 0, 'policy/a.policy.yaml:3:27: the owner "adda"'),
    ],
)
def test_a_bundle_that_is_not_fit_is_only_recorded_as_refused(
    site: FakeSite, file: BundleFile, problems: int, failed: int, reason: str
) -> None:
    """Problems, failing cases and unknown owners refuse it; nothing is kept of it."""
    first = site.publish_policy(ONE)
    site.administration.policies.activate(first, GRACE)
    before = site.published.content
    result = site.administration.policies.publish((file,), "", ADA)
    assert result.state == "refused"
    assert (len(result.problems), len(result.failed)) == (problems, failed)
    assert types(site)[-1] == "refused.v1"
    data = last_data(site)
    assert data["reason"].startswith(reason)
    assert (data["author"], data["problems"]) == ("ada", problems)
    assert list(site.archive.kept) == [first]
    assert site.published.content == before
    with pytest.raises(NotFoundError, match="was published"):
        site.administration.policies.activate(result.revision, GRACE)


def test_an_unknown_owner_comes_with_the_nearest_person(site: FakeSite) -> None:
    """The problem points at the line, and at who was probably meant."""
    result = site.administration.policies.publish((bundle_file("graze"),), "", ADA)
    (problem,) = result.problems
    assert str(problem.place) == "policy/a.policy.yaml:3:27"
    assert problem.hint == 'did you mean "grace"?'


def test_two_files_of_one_name_cannot_be_kept(site: FakeSite) -> None:
    """They come from two folders; tests of one name would overwrite each other."""
    twin = BundleFile("other/a.policy.yaml", "a.policy.yaml", b"ada\nx")
    result = site.administration.policies.publish((ONE, twin), "", ADA)
    assert result.state == "refused"
    assert result.problems[-1].hint == "it is policy/a.policy.yaml; rename one"


def test_who_publishes_must_be_declared(site: FakeSite) -> None:
    """Without a declared author there is no record, not even of a refusal."""
    policies = site.administration.policies
    count = len(site.open_journal().records)
    with pytest.raises(NotFoundError, match="did you mean ada"):
        policies.publish((ONE,), "", Actor(person="adda", account="a@b"))
    with pytest.raises(InvalidArgumentError, match="--author"):
        policies.publish((ONE,), "", Actor(person=None, account="a@b"))
    with pytest.raises(InvalidArgumentError, match="--note"):
        policies.publish((ONE,), "x" * 501, ADA)
    assert len(site.open_journal().records) == count
    with pytest.raises(ConflictError, match="comptroller apply"):
        FakeSite().administration.policies.publish((ONE,), "", ADA)


def test_a_bundle_has_a_largest_size(site: FakeSite) -> None:
    """Too many bytes, too many files, and names that lead elsewhere are refused."""
    check = site.administration.policies.check
    with pytest.raises(InvalidArgumentError, match="4,194,304 bytes"):
        check([BundleFile("a", "a", b"x" * (BUNDLE_BYTES_MAX + 1))])
    with pytest.raises(InvalidArgumentError, match="101 files"):
        check([BundleFile("a", f"{n}", b"") for n in range(FILES_MAX + 1)])
    for name in ("../a.policy.yaml", "a\n.policy.yaml", "\udc80", "ä" * 51):
        with pytest.raises(InvalidArgumentError, match="give it a name"):
            check([BundleFile("a", name, b"")])


def test_the_largest_bundle_fits_one_record(site: FakeSite) -> None:
    """Of very many parts the record lists as many as it has room for."""
    files = [
        bundle_file(name=f"{n:03}{'ä' * 42}", content=b"x" * 40_000)
        for n in range(FILES_MAX)
    ]
    found = site.administration.policies.check(files)
    allow = [{"id": f"allow.{'x' * 50}.{n}"} for n in range(100)]
    found = msgspec.structs.replace(
        found, sets=[{**one, "allow": allow} for one in found.sets]
    )
    note = "ä" * 500
    result = site.administration.policies.publish(files, note, ADA, found)
    data = last_data(site)
    assert (result.parts, data["parts_count"]) == (10_000, 10_000)
    assert 100 < len(data["parts"]) < 10_000
    assert len(site.open_journal().records[-1].line) <= RECORD_BYTES_MAX


def test_what_cannot_be_kept_is_not_recorded(site: FakeSite) -> None:
    """The disk comes first: a record never names content that is not there."""
    site.archive.is_full = True
    count = len(site.open_journal().records)
    with pytest.raises(ContentUnavailableError, match="full"):
        site.administration.policies.publish((ONE,), "", ADA)
    assert len(site.open_journal().records) == count
    site.archive.is_full = False
    site.open_journal().failed = True
    with pytest.raises(JournalUnavailableError):
        site.administration.policies.publish((ONE,), "", ADA)
    assert site.store.policies() == []


# -- activate ------------------------------------------------------------------


def test_an_activated_bundle_is_in_the_snapshot(site: FakeSite) -> None:
    """Workers get its revision and its sets; the record names both people."""
    revision = site.publish_policy(ONE)
    result = site.administration.policies.activate(revision[:13], GRACE)
    assert (result.revision, result.previous) == (revision, None)
    policy = site.snapshot().policy
    assert policy is not None
    assert (policy.revision, policy.sets[0]["owner"]) == (revision, "ada")
    data = last_data(site)
    assert (data["author"], data["approver"], data["previous"]) == (
        "ada",
        "grace",
        None,
    )
    assert data["separation_of_duties"] is True


def test_an_earlier_bundle_is_activated_again(site: FakeSite) -> None:
    """A rollback is an activation; activating what is active changes nothing."""
    policies = site.administration.policies
    first, second = site.publish_policy(ONE), site.publish_policy(OTHER)
    for revision in (first, second, first):
        policies.activate(revision, GRACE)
        assert site.policy_in_force() == revision
    count = len(site.open_journal().records)
    again = policies.activate(first, GRACE)
    assert (again.previous, again.revision) == (first, first)
    assert len(site.open_journal().records) == count
    changes = [(one.revision, one.previous) for one in site.store.policy_activations()]
    assert changes == [(first, None), (second, first), (first, second)]


@pytest.mark.parametrize(
    ("wanted", "people", "is_allowed"),
    [
        (None, ("ada", "grace"), False),
        (True, ("ada", "grace"), False),
        (True, ("ada",), False),
        (None, ("ada",), True),
        (False, ("ada", "grace"), True),
    ],
)
def test_who_wrote_it_approves_it_only_where_duties_are_not_separated(
    wanted: bool | None, people: tuple[str, ...], is_allowed: bool
) -> None:
    """Unless set, duties are separated as soon as there are two people."""
    site = FakeSite()
    site.administration.apply(separated(wanted, people), "sha256:1", ADA)
    revision = site.publish_policy(ONE)
    if is_allowed:
        site.administration.policies.activate(revision, ADA)
        assert site.policy_in_force() == revision
        assert last_data(site)["separation_of_duties"] is False
        return
    count = len(site.open_journal().records)
    others = "grace" if "grace" in people else "nobody"
    with pytest.raises(ConflictError, match=f"ada wrote it.*with one of {others}"):
        site.administration.policies.activate(revision, ADA)
    assert len(site.open_journal().records) == count
    assert site.policy_in_force() is None


def test_a_revision_is_named_by_its_beginning(site: FakeSite) -> None:
    """As far as it takes to tell it from others; nothing else is guessed."""
    policies = site.administration.policies
    files = [bundle_file(content=b"%d" % number) for number in range(3)]
    revisions = [site.publish_policy(file) for file in files]
    short = revisions[1].removeprefix("sha256:")[:8].upper()
    assert policies.activate(short, GRACE).revision == revisions[1]
    with pytest.raises(NotFoundError, match="policy history"):
        policies.activate("sha256:00000000", GRACE)
    with pytest.raises(InvalidArgumentError, match="at least its first 4"):
        policies.activate(revisions[1][:8], GRACE)
    site.store._published["sha256:" + short.lower() + "0"] = site.store.policies()[
        0
    ]._replace(revision="sha256:" + short.lower() + "0")
    with pytest.raises(ConflictError, match="2 bundles begin with"):
        policies.activate(short, GRACE)


def test_an_approver_must_be_declared(site: FakeSite) -> None:
    """Nobody approves in the name of somebody whom no configuration declares."""
    revision = site.publish_policy(ONE)
    policies = site.administration.policies
    with pytest.raises(NotFoundError, match="did you mean grace"):
        policies.activate(revision, Actor(person="graze", account="a@b"))
    with pytest.raises(InvalidArgumentError, match="--approver"):
        policies.activate(revision, Actor(person=None, account="a@b"))


def test_an_owner_who_has_left_is_in_the_way(site: FakeSite) -> None:
    """A set in force has a living owner: at its activation, and as long as it is."""
    policies = site.administration.policies
    first = site.publish_policy(bundle_file("alan"))
    second = site.publish_policy(OTHER)
    without = small_registry(people=("ada", "grace"))
    policies.activate(first, GRACE)
    with pytest.raises(ConflictError, match="person alan owns policy set a"):
        site.administration.apply(without, "sha256:2", ADA)
    policies.activate(second, GRACE)
    assert site.administration.apply(without, "sha256:2", ADA).revision == 2
    with pytest.raises(NotFoundError, match="no person 'alan'"):
        policies.activate(first, GRACE)
    assert site.policy_in_force() == second


@pytest.mark.parametrize("damage", ["lost", "changed", "not JSON"])
def test_content_that_is_not_what_was_kept_is_not_activated(
    site: FakeSite, damage: str
) -> None:
    """The old policy stays, nothing is recorded, and publishing it again mends it."""
    policies = site.administration.policies
    first, second = site.publish_policy(ONE), site.publish_policy(OTHER)
    policies.activate(first, GRACE)
    if damage == "lost":
        del site.archive.kept[second]
    else:
        files, sets = site.archive.kept[second]
        site.archive.kept[second] = files, sets.replace(b"ada", b"bob")
    count = len(site.open_journal().records)
    with pytest.raises(ContentUnavailableError):
        policies.activate(second, GRACE)
    assert len(site.open_journal().records) == count
    assert site.policy_in_force() == first
    assert policies.publish((OTHER,), "", GRACE).state == "known"
    policies.activate(second, GRACE)
    assert site.policy_in_force() == second


# -- deactivate ----------------------------------------------------------------


def test_going_back_to_no_policy_is_approved_and_recorded(site: FakeSite) -> None:
    """Two people and a reason; after it workers decide by none."""
    policies = site.administration.policies
    revision = site.publish_policy(ONE)
    with pytest.raises(ConflictError, match="no policy is active"):
        policies.deactivate("ada", "why", GRACE)
    policies.activate(revision, GRACE)
    with pytest.raises(ConflictError, match="grace asks for it"):
        policies.deactivate("grace", "why", GRACE)
    with pytest.raises(InvalidArgumentError, match="--note"):
        policies.deactivate("ada", " ", GRACE)
    with pytest.raises(NotFoundError, match="adda"):
        policies.deactivate("adda", "why", GRACE)
    assert site.policy_in_force() == revision
    ended = policies.deactivate("ada", "a wrong ceiling", GRACE)
    assert (ended.revision, ended.previous) == (None, revision)
    assert site.policy_in_force() is None
    assert last_data(site)["note"] == "a wrong ceiling"
    site = site.again()
    assert site.policy_in_force() is None
    site.administration.policies.activate(revision, GRACE)
    assert site.policy_in_force() == revision
