from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comptroller.core.credential import (
    Credential,
    Malformed,
    hash_secret,
    matching_secret,
    parse,
)
from comptroller.core.errors import (
    ConflictError,
    InvalidArgumentError,
    JournalUnavailableError,
    NotFoundError,
)
from comptroller.engine.administration import OVERLAP_MAX_NS
from comptroller.engine.records import Actor
from comptroller.testing.administration import (
    ADA,
    FakeSite,
    applied_site,
    small_registry,
)

HOUR_NS = 3600 * 10**9
NOBODY = Actor(person=None, account="root@test")


@pytest.fixture
def site() -> FakeSite:
    return applied_site()


def held(site: FakeSite, credential_id: str) -> Credential:
    return next(one for one in site.snapshot().credentials if one.id == credential_id)


def test_an_applied_configuration_is_published_as_a_whole(site: FakeSite) -> None:
    """After an apply, workers see the registry, its revision and its rate card."""
    snapshot = site.snapshot()
    assert snapshot.registry == small_registry()
    assert snapshot.revision == 1
    assert snapshot.rate_card.find("local", "small-1") is not None
    assert site.cards.card(snapshot.rate_card.version) == snapshot.rate_card


def test_applying_the_same_again_changes_nothing(site: FakeSite) -> None:
    """A configuration that is applied already makes no revision and no record."""
    count = len(site.open_journal().records)
    result = site.administration.apply(small_registry(), "sha256:1", ADA)
    assert (result.revision, result.changes) == (1, 0)
    assert len(site.open_journal().records) == count


def test_two_who_planned_on_one_revision_do_not_both_apply(site: FakeSite) -> None:
    """Whoever comes second is told that the plan is out of date."""
    first = small_registry(purpose="first")
    site.administration.apply(first, "sha256:2", ADA, based_on=1)
    with pytest.raises(ConflictError, match="plan again"):
        site.administration.apply(
            small_registry(purpose="other"), "sha256:3", ADA, based_on=1
        )
    assert site.snapshot().registry == first


def test_who_did_it_is_recorded(site: FakeSite) -> None:
    """The records of an apply name the person, the account and the file's digest."""
    lines = [record.line.decode() for record in site.open_journal().records]
    assert all('"person":"ada","account":"root@test"' in line for line in lines)
    assert '"digest":"sha256:1"' in lines[-1]
    assert "registry.applied" in lines[-1]


def test_an_actor_must_be_a_declared_person(site: FakeSite) -> None:
    """Nobody acts in the name of a person whom no configuration declares."""
    stranger = Actor(person="adda", account="root@test")
    with pytest.raises(NotFoundError, match="did you mean ada"):
        site.administration.issue("checkout", "ada", None, stranger)


def test_an_issued_secret_is_known_to_workers_by_its_hash_only(site: FakeSite) -> None:
    """Neither the snapshot nor the journal contains the secret; its hash is there."""
    issued = site.administration.issue("checkout", "grace", None, ADA)
    parsed = parse(issued.secret)
    assert not isinstance(parsed, Malformed)
    assert parsed.credential_id == issued.credential_id
    credential = held(site, issued.credential_id)
    found = matching_secret(credential, parsed.sha256_hex, site.clock.now_ns())
    assert found is not None
    assert (credential.service, credential.person) == ("checkout", "grace")
    assert site.published.content is not None
    journal = b"".join(record.line for record in site.open_journal().records)
    for kept in (site.published.content, journal):
        assert issued.secret.encode() not in kept
        assert issued.secret.split("_")[2].encode() not in kept


@pytest.mark.parametrize(
    ("service", "person", "message"),
    [
        ("chekout", "ada", "no service 'chekout'; did you mean checkout?"),
        ("checkout", "gracie", "no person 'gracie'; did you mean grace?"),
        ("zzz", "ada", "no service 'zzz'; there are: checkout, search"),
    ],
)
def test_unknown_names_are_refused_with_the_nearest(
    site: FakeSite, service: str, person: str, message: str
) -> None:
    """A credential needs a declared service and a declared person."""
    with pytest.raises(NotFoundError) as raised:
        site.administration.issue(service, person, None, ADA)
    assert message in raised.value.message
    assert not site.store.credentials()


def test_rotation_keeps_the_id_and_overlaps_for_as_long_as_asked(
    site: FakeSite,
) -> None:
    """Both secrets work during the overlap, only the new one after it."""
    old = site.administration.issue("checkout", "ada", None, ADA)
    new = site.administration.rotate(old.credential_id, HOUR_NS, ADA)
    assert new.credential_id == old.credential_id
    credential = held(site, old.credential_id)
    for passed_s, works in [(0, (True, True)), (3600, (False, True))]:
        site.clock.advance(passed_s)
        now_ns = site.clock.now_ns()
        assert works == tuple(
            matching_secret(credential, hash_secret(one.secret), now_ns) is not None
            for one in (old, new)
        )


def test_a_revoked_credential_stays_listed_and_cannot_come_back(site: FakeSite) -> None:
    """Revoking is final: it is published, and neither rotation nor repeat undoes it."""
    issued = site.administration.issue("checkout", "ada", None, ADA)
    site.administration.revoke(issued.credential_id, " laptop\n stolen ", ADA)
    credential = held(site, issued.credential_id)
    assert credential.revoked_ns == site.clock.now_ns()
    assert credential.revoked_reason == "laptop stolen"
    with pytest.raises(ConflictError, match="revoked"):
        site.administration.rotate(issued.credential_id, HOUR_NS, ADA)
    with pytest.raises(ConflictError, match="laptop stolen"):
        site.administration.revoke(issued.credential_id, "again", ADA)


def test_an_expired_credential_is_not_rotated(site: FakeSite) -> None:
    """An end that was agreed on is not moved by a rotation."""
    expires_ns = site.clock.now_ns() + HOUR_NS
    issued = site.administration.issue("checkout", "ada", expires_ns, ADA)
    site.clock.advance(3600)
    with pytest.raises(ConflictError, match="expired: issue a new one"):
        site.administration.rotate(issued.credential_id, HOUR_NS, ADA)


def test_arguments_without_sense_are_refused(site: FakeSite) -> None:
    """Past expiry, endless overlap and missing reasons change nothing."""
    past_ns = site.clock.now_ns()
    with pytest.raises(InvalidArgumentError, match="in the past"):
        site.administration.issue("checkout", "ada", past_ns, ADA)
    issued = site.administration.issue("checkout", "ada", None, ADA)
    count = len(site.open_journal().records)
    for overlap_ns in (-1, OVERLAP_MAX_NS + 1):
        with pytest.raises(InvalidArgumentError, match="overlap"):
            site.administration.rotate(issued.credential_id, overlap_ns, ADA)
    for reason in ("", "  \n", "x" * 501):
        with pytest.raises(InvalidArgumentError, match="--reason"):
            site.administration.revoke(issued.credential_id, reason, ADA)
    with pytest.raises(NotFoundError, match="no credential 'nope'"):
        site.administration.revoke("nope", "why", ADA)
    assert len(site.open_journal().records) == count


def test_a_pasted_secret_is_not_repeated(site: FakeSite) -> None:
    """After a leak people paste the secret: the message gives its id, no more."""
    issued = site.administration.issue("checkout", "ada", None, ADA)
    with pytest.raises(InvalidArgumentError) as raised:
        site.administration.revoke(issued.secret, "leaked", ADA)
    assert f"{issued.credential_id} is the id" in raised.value.message
    assert issued.secret.rpartition("_")[2] not in raised.value.message
    assert "secret" in raised.value.message


def test_a_person_with_a_live_credential_is_not_taken_away(site: FakeSite) -> None:
    """Every credential has a living person: first it is revoked, then they may go."""
    issued = site.administration.issue("checkout", "alan", None, ADA)
    without = small_registry(people=("ada", "grace"))
    with pytest.raises(ConflictError, match=issued.credential_id):
        site.administration.apply(without, "sha256:2", ADA)
    site.administration.revoke(issued.credential_id, "leaves", ADA)
    assert site.administration.apply(without, "sha256:2", ADA).revision == 2


def test_a_removed_service_leaves_its_credentials_listed(site: FakeSite) -> None:
    """Workers find the credential and no service, so that they can say so."""
    issued = site.administration.issue("search", "ada", None, ADA)
    site.administration.apply(small_registry(services=("checkout",)), "sha256:2", ADA)
    assert held(site, issued.credential_id).service == "search"
    assert "search" not in site.snapshot().registry.services


def test_nothing_is_issued_before_a_first_apply() -> None:
    """Without people and services there is nobody to issue to."""
    site = FakeSite()
    with pytest.raises(ConflictError, match="comptroller apply"):
        site.administration.issue("checkout", "ada", None, NOBODY)


def test_a_failed_journal_changes_nothing(site: FakeSite) -> None:
    """What could not be recorded did not happen, for workers either."""
    before = site.published.content
    site.open_journal().failed = True
    with pytest.raises(JournalUnavailableError):
        site.administration.issue("checkout", "ada", None, ADA)
    with pytest.raises(JournalUnavailableError):
        site.administration.apply(small_registry(purpose="new"), "sha256:2", ADA)
    assert site.published.content == before
    assert not site.store.credentials()


def test_records_of_one_journal_count_without_gaps(site: FakeSite) -> None:
    """Sequences go 0, 1, 2 … over all acts, so that a missing record is seen."""
    issued = site.administration.issue("checkout", "ada", None, ADA)
    site.administration.rotate(issued.credential_id, 0, ADA)
    site.administration.revoke(issued.credential_id, "done", ADA)
    lines = [record.line.decode() for record in site.open_journal().records]
    assert all(f'"sequence":"{n}"' in line for n, line in enumerate(lines))


def test_a_new_process_publishes_on_and_keeps_the_rate_card(site: FakeSite) -> None:
    """After a restart snapshots count on, and nothing is compiled that still holds."""
    before = site.snapshot()
    again = site.again()
    again.price_pico_usd = 8
    assert again.snapshot().sequence == before.sequence + 1
    assert again.snapshot().rate_card == before.rate_card
    again.administration.apply(small_registry(purpose="new"), "sha256:2", ADA)
    assert again.snapshot().rate_card != before.rate_card


def test_recorded_and_not_published_is_published_by_the_next(site: FakeSite) -> None:
    """A process that dies between the record and the rest loses nothing."""
    issued = site.administration.issue("checkout", "ada", None, ADA)
    other = FakeSite(site)
    # The dying process records a revocation and gets no further.
    journal = other.open_journal()
    revoked = (
        b'{"id":"x","source":"%b","type":"comptroller.credential.revoked.v1",'
        b'"time":"2026-01-01T00:00:00.000000Z","subject":"s","sequence":"0",'
        b'"data":{"credential_id":"%b","reason":"r","revoked_ns":5,'
        b'"actor":{"person":null,"account":"a"}}}'
        % (journal.source.encode(), issued.credential_id.encode())
    )
    journal.append_all([revoked])
    assert held(site, issued.credential_id).revoked_ns is None
    assert held(other.again(), issued.credential_id).revoked_ns == 5


def test_a_snapshot_of_another_release_is_replaced(site: FakeSite) -> None:
    """What cannot be read is published anew, with a later sequence."""
    last = site.snapshot().sequence
    site.published.reader().publish(b"{}")
    assert site.again().snapshot().sequence > last


def test_a_price_that_changed_is_published_when_it_is_due(site: FakeSite) -> None:
    """A card with an end is compiled again after it, and at a restart too."""
    site.prices_change_ns = site.clock.now_ns() + HOUR_NS
    site.administration.apply(small_registry(purpose="dated"), "sha256:2", ADA)
    assert not site.administration.rates_are_due()
    site.clock.advance(3600)
    assert site.administration.rates_are_due()
    site.price_pico_usd = 9
    registry = site.administration.registry()
    assert registry is not None
    site.administration.adopt(2, site.administration.compile(registry))
    assert not site.administration.rates_are_due()
    rates = site.snapshot().rate_card.find("local", "small-1")
    assert rates is not None
    assert rates.steps[0].rates == {"input": 9}


def test_a_card_compiled_for_another_revision_is_not_adopted(site: FakeSite) -> None:
    """A card that was overtaken by an apply is thrown away."""
    before = site.snapshot()
    site.price_pico_usd = 9
    site.administration.adopt(7, site.administration.compile(small_registry()))
    assert site.snapshot() == before


@given(st.lists(st.sampled_from(["issue", "rotate", "revoke", "apply", "restart"])))
def test_any_order_of_acts_gives_what_a_replay_gives(acts: list[str]) -> None:
    """Whatever was acknowledged is in the snapshot, over restarts too."""
    site = FakeSite()
    site.administration.apply(small_registry(), "sha256:0", ADA)
    live: dict[str, str] = {}
    revoked: set[str] = set()
    for number, act in enumerate(acts):
        administration = site.administration
        site.clock.advance(1)
        if act == "issue":
            made = administration.issue("checkout", "ada", None, ADA)
            live[made.credential_id] = made.secret
        elif act == "rotate" and live:
            made = administration.rotate(next(iter(live)), 0, ADA)
            live[made.credential_id] = made.secret
        elif act == "revoke" and live:
            gone, _ = live.popitem()
            administration.revoke(gone, "test", ADA)
            revoked.add(gone)
        elif act == "apply":
            registry = small_registry(purpose=f"purpose {number}")
            administration.apply(registry, "sha256:x", ADA)
            assert site.snapshot().registry == registry
        elif act == "restart":
            site = site.again()
    now_ns = site.clock.now_ns()
    found = {one.id: one for one in site.snapshot().credentials}
    assert set(found) == set(live) | revoked
    for credential_id, secret in live.items():
        hashed = hash_secret(secret)
        one = next(o for o in found.values() if o.id == credential_id)
        assert one.revoked_ns is None
        assert matching_secret(one, hashed, now_ns) is not None
    assert {i for i, one in found.items() if one.revoked_ns is not None} == revoked
