"""What every store says of policies, SQLite and memory alike."""

from __future__ import annotations

import pytest

from comptroller.core.errors import RecordError
from comptroller.engine.policy_ports import (
    ActivationRow,
    PolicyLoadRow,
    PolicyRow,
    active_policy,
)
from comptroller.engine.ports import JournalPosition
from comptroller.testing.projected import Projected
from comptroller.testing.system import START_NS

W0, W1, CONTROL = "/node/w0/01A", "/node/w1/01B", "/node/control/01C"
A, B = "sha256:aa", "sha256:bb"
S = 10**9


def of_policies(books: Projected) -> tuple[object, ...]:
    store = books.store
    return store.policies(), store.policy_activations(), store.policy_loads()


def test_a_new_store_knows_no_policy(books: Projected) -> None:
    """Nothing was published, nothing decides."""
    assert of_policies(books) == ([], [], [])
    assert active_policy(books.store) is None


def test_the_life_of_policies(books: Projected) -> None:
    """Published, activated, replaced, rolled back, ended: each has its row."""
    script = books.script(CONTROL)
    script.policy_published(A)
    books.clock.advance(1)
    script.policy_published(B, {"author": "alan", "note": "tighter"})
    books.project(CONTROL)
    assert books.store.policies() == [
        PolicyRow(A, "ada", "", START_NS, 1, 2, 3, "sha256:00"),
        PolicyRow(B, "alan", "tighter", START_NS + S, 1, 2, 3, "sha256:00"),
    ]
    assert active_policy(books.store) is None
    active = []
    before = None
    for revision in (A, B, A, None):
        script.policy_activated(revision, before)
        books.project(CONTROL)
        row = active_policy(books.store)
        active.append(None if row is None else row.revision)
        before = revision
    assert active == [A, B, A, None]
    rows = books.store.policy_activations()
    assert [one.number for one in rows] == [1, 2, 3, 4]
    now = START_NS + S
    assert rows[1] == ActivationRow(2, B, A, "ada", "grace", "", True, now)
    assert rows[3] == ActivationRow(4, None, A, "ada", "grace", "why", True, now)


def test_a_bundle_that_is_published_anew_keeps_one_row(books: Projected) -> None:
    """The later record says what workers get from then on."""
    script = books.script(CONTROL)
    script.policy_published(A)
    script.policy_activated(A, None)
    script.policy_published(A, {"sets_digest": "sha256:11", "author": "alan"})
    books.project(CONTROL)
    (row,) = books.store.policies()
    assert (row.sets_digest, row.author) == ("sha256:11", "alan")
    assert active_policy(books.store) == row


@pytest.mark.parametrize(
    ("published", "changes", "message"),
    [
        ([], [(A, None)], f"policy {A} was never published"),
        ([A], [(A, B)], f"replaces {B}, but None was active"),
        ([A, B], [(A, None), (B, None)], f"replaces None, but {A} was active"),
        ([A], [(None, A)], f"replaces {A}, but None was active"),
    ],
)
def test_changes_follow_one_another(
    books: Projected,
    published: list[str],
    changes: list[tuple[str | None, str | None]],
    message: str,
) -> None:
    """What does not follow is an error, and nothing of its run is projected."""
    script = books.script(CONTROL)
    script.issued("cred-1")
    for revision in published:
        script.policy_published(revision)
    for active, previous in changes:
        script.policy_activated(active, previous)
    with pytest.raises(RecordError, match=message):
        books.project(CONTROL)
    assert of_policies(books) == ([], [], [])
    assert books.store.credentials() == []
    assert books.store.position(CONTROL) == 0


def test_the_last_load_of_each_worker(books: Projected) -> None:
    """By source; a worker may be read before the bundle's own records."""
    first, second = books.script(W0), books.script(W1)
    first.policy_loaded(A, None)
    second.policy_loaded(A, None)
    place = books.journal(W0).offset
    books.clock.advance(1)
    first.policy_loaded(B, A)
    books.project(W1, W0)
    assert books.store.policy_loads() == [
        PolicyLoadRow(W0, place, B, A, START_NS + S),
        PolicyLoadRow(W1, 0, A, None, START_NS),
    ]
    first.policy_loaded(None, B)
    books.project(W0)
    assert books.store.policy_loads()[0].revision is None


def test_projecting_policies_again_changes_nothing(books: Projected) -> None:
    """Records before the position are ignored; a refusal has no row."""
    script = books.script(CONTROL)
    script.policy_published(A)
    script.append("comptroller.policy.refused.v1", "policy", {})
    script.policy_activated(A, None)
    books.script(W0).policy_loaded(A, None)
    books.project(CONTROL, W0)
    before = of_policies(books)
    for source in (CONTROL, W0):
        journal = books.journal(source)
        books.store.project(journal.records, JournalPosition(source, journal.offset))
    assert of_policies(books) == before
