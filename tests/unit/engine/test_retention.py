from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comptroller.core.errors import (
    ComptrollerError,
    ConflictError,
    InvalidArgumentError,
    LegalHoldError,
    NotFoundError,
)
from comptroller.core.timestamps import rfc3339
from comptroller.engine.pruning import pruning_of
from comptroller.engine.records import Actor
from comptroller.engine.retention import Left, Span, minimum_index
from comptroller.engine.trail_ports import Pruning
from comptroller.testing.administration import (
    ADA,
    FakeSite,
    applied_site,
    small_registry,
)

B = 256
S = 10**9


@pytest.fixture
def site() -> FakeSite:
    """A site whose trail has 10 full bundles and a bit in its last checkpoint."""
    site = applied_site()
    site.trail_size = 10 * B + 7
    return site


def prune(site: FakeSite, below: int, approved_by: str = "grace") -> None:
    site.administration.retention.prune(below, "90 days", ADA, approved_by)


def last(site: FakeSite) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(site.open_journal().records[-1].line)
    return found


def test_a_pruning_is_recorded_with_all_that_it_rests_on(site: FakeSite) -> None:
    """From where, up to where, why, by whom, approved by whom; in sequence."""
    prune(site, 2 * B)
    prune(site, 10 * B)
    record = last(site)
    assert record["type"] == "comptroller.trail.pruned.v1"
    assert record["subject"] == "trail"
    assert record["data"] == {
        "below": 10 * B,
        "before": 2 * B,
        "reason": "90 days",
        "actor": {"person": "ada", "account": "root@test"},
        "approved_by": "grace",
    }
    assert minimum_index(site.store) == 10 * B
    assert minimum_index(site.again().store) == 10 * B


def test_what_is_recorded_is_what_the_sequencer_reads(site: FakeSite) -> None:
    """`engine.pruning` finds the act in the record's exact bytes."""
    prune(site, 2 * B)
    line = site.open_journal().records[-1].line
    assert pruning_of(line, 3000) == Pruning(3000, 2 * B)


@pytest.mark.parametrize(
    ("below", "size", "error", "message"),
    [
        (100, 10 * B, InvalidArgumentError, "say 0 or 256"),
        (-1, 10 * B, InvalidArgumentError, "say 0 or 256"),
        (0, 10 * B, ConflictError, "pruned below 512 already"),
        (B, 10 * B, ConflictError, "pruned below 512 already"),
        (2 * B, 10 * B, ConflictError, "pruned below 512 already"),
        (10 * B, 10 * B - 1, ConflictError, "at most --below 2304"),
        (3 * B, None, ConflictError, "covers 0 records"),
    ],
)
def test_what_cannot_be_pruned_is_not_recorded(
    site: FakeSite,
    below: int,
    size: int | None,
    error: type[ComptrollerError],
    message: str,
) -> None:
    """Half a bundle, what is gone already, what no checkpoint covers."""
    prune(site, 2 * B)
    site.trail_size = size
    before = len(site.open_journal().records)
    with pytest.raises(error, match=message):
        prune(site, below)
    assert len(site.open_journal().records) == before
    assert minimum_index(site.store) == 2 * B


def test_a_pruning_is_approved_by_somebody_else(site: FakeSite) -> None:
    """Where duties are separated; where they are not, one person may do both."""
    with pytest.raises(ConflictError, match="--approved-by with one of alan, grace"):
        prune(site, B, "ada")
    registry = small_registry()
    alone = replace(registry.gateway, separation_of_duties=False)
    site.administration.apply(replace(registry, gateway=alone), "sha256:2", ADA)
    prune(site, B, "ada")
    assert last(site)["data"]["approved_by"] == "ada"


@pytest.mark.parametrize(
    ("person", "approved_by", "reason", "error"),
    [
        (None, "grace", "x", InvalidArgumentError),
        ("eve", "grace", "x", NotFoundError),
        ("ada", "eve", "x", NotFoundError),
        ("ada", "grace", " ", InvalidArgumentError),
    ],
)
def test_a_pruning_is_answered_for(
    site: FakeSite,
    person: str | None,
    approved_by: str,
    reason: str,
    error: type[ComptrollerError],
) -> None:
    """Two declared people and a reason."""
    actor = Actor(person=person, account="a")
    with pytest.raises(error):
        site.administration.retention.prune(B, reason, actor, approved_by)
    assert minimum_index(site.store) == 0


@pytest.mark.parametrize("end_user", [None, "ann@example.org"])
def test_nothing_is_pruned_under_a_legal_hold(
    site: FakeSite, end_user: str | None
) -> None:
    """On whatever: an entry may be of anybody. Lifted, it is possible again."""
    holds = site.administration.retention.legal_holds
    hold_id = holds.place(end_user, "Case 7", ADA).legal_hold_id
    with pytest.raises(LegalHoldError, match=f"{hold_id}.*nothing of the trail is"):
        prune(site, B)
    assert minimum_index(site.store) == 0
    holds.lift(hold_id, "Closed", ADA)
    prune(site, B)
    assert minimum_index(site.store) == B


# -- what would go ------------------------------------------------------------


def trail(*seconds: int | None) -> Left:
    """A trail of one bundle for each; None: of entries that are no records."""

    def bundle(number: int) -> list[bytes]:
        second = seconds[number]
        if second is None:
            return [b"torn"] * B
        early = b'{"time":"%b"}' % rfc3339(second * S).encode()
        late = b'{"time":"%b"}' % rfc3339(second * S + S // 2).encode()
        return [late, b"torn", *[early] * (B - 2)]

    return Left(bundle, 0, len(seconds) * B + 5)


def test_what_goes_is_told_with_its_times() -> None:
    """Of all entries below the index, in whatever order they came."""
    going = trail(20, 10, 30).below(2 * B)
    assert going.records == 2 * B
    assert going.span == Span(10 * S, 20 * S + S // 2)
    assert trail(None, 10).below(B).span is None


def test_a_time_is_an_index_before_which_all_is_older() -> None:
    """A younger record keeps its bundle and all after it; equal is not older."""
    left = trail(10, 20, 15, 30, 5)
    assert left.older_than(100 * S).below == 5 * B
    assert left.older_than(30 * S).below == 3 * B
    assert left.older_than(20 * S + S // 2).below == B
    assert left.older_than(20 * S + S // 2 + 1000).below == 3 * B
    going = left.older_than(10 * S)
    assert (going.records, going.span) == (0, None)
    assert left.oldest_ns() == 10 * S


def test_entries_that_say_no_time_are_not_known_to_be_old() -> None:
    """A bundle of nothing else ends what a time can reach."""
    assert trail(10, None, 10).older_than(100 * S).below == B
    assert trail(None).oldest_ns() is None


def test_what_is_pruned_already_is_not_looked_at() -> None:
    """Bundles before the minimum are not read: they may be gone."""
    read: list[int] = []

    def bundle(number: int) -> list[bytes]:
        read.append(number)
        return [b'{"time":"%b"}' % rfc3339(number * S).encode()] * B

    going = Left(bundle, 3 * B, 6 * B).older_than(5 * S)
    assert (going.before, going.below, going.records) == (3 * B, 5 * B, 2 * B)
    assert read == [3, 4, 5]


@given(st.lists(st.integers(0, 50), max_size=12), st.integers(0, 52))
def test_nothing_young_goes_and_nothing_old_stays_in_front(
    seconds: list[int], before: int
) -> None:
    """Of any trail: all that goes is older, and the next bundle has one that is not."""
    going = trail(*seconds).older_than(before * S)
    count = going.records // B
    assert all(one * S + S // 2 < before * S for one in seconds[:count])
    assert count == len(seconds) or seconds[count] * S + S // 2 >= before * S
