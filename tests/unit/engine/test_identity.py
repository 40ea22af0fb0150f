from __future__ import annotations

from comptroller.engine.identity import credential_lines
from comptroller.engine.planning import credential_warnings
from comptroller.engine.records import Actor
from comptroller.testing.administration import FakeSite, small_registry

ADA = Actor(person="ada", account="root@test")


def test_a_list_says_what_each_credential_is_now() -> None:
    """Active, expired, revoked and orphaned credentials are told apart."""
    site = FakeSite()
    site.administration.apply(small_registry(), "sha256:1", ADA)
    issue = site.administration.issue
    now_ns = site.clock.now_ns()
    active = issue("checkout", "ada", None, ADA).credential_id
    site.administration.rotate(active, 10**9, ADA)
    expired = issue("checkout", "ada", now_ns + 1, ADA).credential_id
    revoked = issue("checkout", "grace", None, ADA).credential_id
    site.administration.revoke(revoked, "left", ADA)
    orphaned = issue("search", "ada", None, ADA).credential_id
    registry = small_registry(services=("checkout",))
    site.administration.apply(registry, "sha256:2", ADA)
    site.clock.advance(0.5)
    now_ns = site.clock.now_ns()
    lines = credential_lines(site.store.credentials(), registry, now_ns)
    assert {
        line.credential_id: (line.state, line.secrets_in_force) for line in lines
    } == {
        active: ("active", 2),
        expired: ("expired", 0),
        revoked: ("revoked", 0),
        orphaned: ("orphaned", 1),
    }
    assert {line.revoked_reason for line in lines} == {None, "left"}


def test_a_plan_warns_of_what_it_does_to_credentials() -> None:
    """Whoever applies knows before whose requests end, or why it will be refused."""
    site = FakeSite()
    site.administration.apply(small_registry(), "sha256:1", ADA)
    issue = site.administration.issue
    held = issue("checkout", "alan", None, ADA).credential_id
    for person in ("ada", "grace"):
        issue("search", person, None, ADA)
    revoked = issue("checkout", "alan", None, ADA).credential_id
    site.administration.revoke(revoked, "left", ADA)
    registry, now_ns = site.administration.registry(), site.clock.now_ns()
    lines = credential_lines(site.store.credentials(), registry, now_ns)

    after = small_registry(people=("ada", "grace"), services=("checkout",))

    assert credential_warnings(lines, after) == [
        (
            f"apply will be refused: person alan holds credential {held} of service"
            " checkout: revoke it, or keep the person"
        ),
        "service search goes: its 2 credentials will be refused",
    ]
    assert credential_warnings(lines, small_registry()) == []
