"""What every store promises, SQLite and memory alike."""

from __future__ import annotations

import pytest

from comptroller.adapters.store.sqlite import SqliteStore
from comptroller.core.credential import Secret
from comptroller.core.errors import RecordError
from comptroller.engine.ports import (
    JournalPosition,
    OpenRequest,
    RegistryObject,
    RequestQuery,
    SpendRow,
    Store,
)
from comptroller.testing.projected import Projected
from comptroller.testing.store import InMemoryStore
from comptroller.testing.system import START_NS

HOUR_S = 3600
W0, W1 = "/node/w0/01A", "/node/w1/01B"
CONTROL, LATER = "/node/control/01C", "/node/control/01D"


def everything(store: Store) -> object:
    """All answers that a store gives."""
    return (
        store.requests(RequestQuery(limit=None)),
        [store.spend(by, None) for by in ("owner", "unit", "service", "model")],
        store.registry_objects(),
        store.revision(),
        store.credentials(),
        [store.open_requests(source) for source in (W0, W1)],
        store.open_sources(),
    )


def test_a_new_store_is_empty(books: Projected) -> None:
    """Nothing is known before anything was projected."""
    store = books.store
    assert everything(store) == ([], [[], [], [], []], [], 0, [], [[], []], [])
    assert store.position(W0) == 0
    assert store.request("none") is None


@pytest.mark.parametrize("together", [True, False])
def test_a_request_from_decision_to_settlement(
    books: Projected, together: bool
) -> None:
    """Decided and settled in one run or in two, the row is the same."""
    script = books.script(W0)
    script.decided("R1")
    if not together:
        books.project(W0)
        row = books.store.request("R1")
        assert row is not None
        assert (row.state, row.cost_nano_usd, row.usage) == ("open", 0, {})
        assert (row.usage_source, row.ended_at, row.model_answered) == (None,) * 3
        assert (row.hold_nano_usd, row.rate_card) == (1000, "card-1")
        assert books.store.open_requests(W0) == [
            OpenRequest("R1", 1000, {"input": 100, "output": 50})
        ]
        assert books.store.open_sources() == [W0]
        assert books.store.spend("service", None) == []
    books.clock.advance(2)
    script.settled("R1", 345, {"input": 7, "output": 3}, {"comptroller.rate_card": "x"})
    books.project(W0)
    row = books.store.request("R1")
    assert row is not None
    journal = books.journal(W0)
    assert row._asdict() == {
        "request_id": "R1",
        "time_ns": START_NS,
        "tenant": "acme",
        "unit": "retail",
        "service": "checkout-assistant",
        "credential_id": "cred-1",
        "person": "ada",
        "owner_policy": "ada",
        "owner_billing": "grace",
        "owner_technical": "alan",
        "decision": "allow",
        "reason": "allowed",
        "route": "/v1/chat/completions",
        "model": "gpt-5-mini",
        "model_answered": "gpt-5-mini-2026",
        "usage": {"input": 7, "output": 3},
        "usage_source": "provider",
        "cost_nano_usd": 345,
        "hold_nano_usd": 1000,
        "rate_card": "x",
        "state": "settled",
        "duration_us": 1234,
        "decided_at": JournalPosition(W0, 0),
        "ended_at": JournalPosition(W0, journal.records[1].offset),
    }
    assert books.store.open_requests(W0) == []
    assert books.store.open_sources() == []
    spent = SpendRow("checkout-assistant", 1, {"input": 7, "output": 3}, 345)
    assert books.store.spend("service", None) == [spent]
    assert books.store.position(W0) == journal.offset


def test_a_refusal_ends_itself_and_counts_no_request(books: Projected) -> None:
    """A denied decision is `refused`; it is no spend and nothing is open."""
    members = {"result": "deny", "reason": "model_not_allowed"}
    books.script(W0).decided("R1", members | {"gen_ai.request.model": None})
    books.project(W0)
    row = books.store.request("R1")
    assert row is not None
    assert (row.state, row.decision, row.reason, row.model) == (
        "refused",
        "deny",
        "model_not_allowed",
        None,
    )
    assert books.store.spend("owner", None) == []
    assert books.store.open_sources() == []


def test_a_release_costs_nothing(books: Projected) -> None:
    """Released: ended, at no cost, without usage, with the decision's rate card."""
    script = books.script(W0)
    script.decided("R1")
    script.released("R1")
    books.project(W0)
    row = books.store.request("R1")
    assert row is not None
    assert (row.state, row.cost_nano_usd, row.usage) == ("released", 0, {})
    assert (row.usage_source, row.duration_us, row.rate_card) == (None, None, "card-1")
    assert books.store.spend("owner", None) == [SpendRow("grace", 1, {}, 0)]


def test_an_abandoned_request_is_ended_by_another_journal(books: Projected) -> None:
    """The control journal ends a dead worker's request at its hold."""
    books.script(W0).decided("R1")
    books.project(W0)
    books.script(CONTROL).abandoned("R1", W0)
    books.project(CONTROL)
    row = books.store.request("R1")
    assert row is not None
    assert (row.state, row.cost_nano_usd, row.usage_source) == (
        "abandoned",
        1000,
        "hold",
    )
    assert row.decided_at == JournalPosition(W0, 0)
    assert row.ended_at == JournalPosition(CONTROL, 0)
    assert books.store.open_requests(W0) == []


def test_projecting_again_changes_nothing(books: Projected) -> None:
    """Records before the position are ignored, however often they come."""
    script = books.script(W0)
    for number in range(20):
        script.decided(f"R{number}")
        if number % 2:
            script.settled(f"R{number}", 10, {"input": 1})
    books.project(W0)
    before = everything(books.store)
    journal = books.journal(W0)
    for part in (journal.records, journal.records[:5], journal.records[-3:]):
        end = part[-1].offset + len(part[-1].line) + 1
        books.store.project(part, JournalPosition(W0, end))
    assert everything(books.store) == before
    assert books.store.position(W0) == journal.offset


def test_an_end_without_a_decision_is_an_error(books: Projected) -> None:
    """It is not dropped: nothing of the run is projected, the position stays."""
    script = books.script(W0)
    script.decided("R1")
    script.settled("R2", 10, {})
    with pytest.raises(RecordError, match="R2"):
        books.project(W0)
    assert books.store.position(W0) == 0
    assert books.store.request("R1") is None


def test_the_same_decision_twice_is_an_error(books: Projected) -> None:
    """In one run or in two, a request cannot be decided twice."""
    books.script(W0).decided("R1")
    books.project(W0)
    books.script(W1).decided("R1")
    with pytest.raises(RecordError):
        books.project(W1)
    books.script(CONTROL).decided("R2")
    books.script(CONTROL).decided("R2")
    with pytest.raises(RecordError):
        books.project(CONTROL)
    assert books.store.position(W1) == books.store.position(CONTROL) == 0


@pytest.mark.parametrize("together", [True, False])
def test_the_first_end_counts(books: Projected, together: bool) -> None:
    """A second end is noted as a conflict and changes no amount."""
    store = books.store
    assert isinstance(store, InMemoryStore | SqliteStore)
    script = books.script(W0)
    script.decided("R1")
    script.settled("R1", 345, {"input": 7})
    if not together:
        books.project(W0)
    script.released("R1")
    books.project(W0)
    books.script(CONTROL).abandoned("R1", W0)
    books.project(CONTROL)
    row = store.request("R1")
    assert row is not None
    assert (row.state, row.cost_nano_usd) == ("settled", 345)
    assert [one.cost_nano_usd for one in store.spend("owner", None)] == [345]
    assert store.conflicts() == 2


def test_an_end_of_a_refusal_is_a_conflict(books: Projected) -> None:
    """A refused request stays refused and free."""
    store = books.store
    assert isinstance(store, InMemoryStore | SqliteStore)
    script = books.script(W0)
    script.decided("R1", {"result": "deny", "reason": "no"})
    script.settled("R1", 345, {"input": 7})
    books.project(W0)
    row = store.request("R1")
    assert row is not None
    assert (row.state, row.cost_nano_usd) == ("refused", 0)
    assert store.conflicts() == 1
    assert store.spend("owner", None) == []


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"{", "truncated"),
        (b'{"type":"comptroller.request.decided.v1","data":{}}', "required"),
        (b"[]", "Expected"),
    ],
)
def test_a_record_that_cannot_be_read_says_where(
    books: Projected, line: bytes, message: str
) -> None:
    """The journal, the byte and the reason are in the message."""
    books.script(W0).decided("R1")
    journal = books.journal(W0)
    place = journal.offset
    journal.append(line)
    with pytest.raises(RecordError, match=f"journal {W0}, byte {place}: .*{message}"):
        books.project(W0)
    assert books.store.request("R1") is None


def test_what_this_release_does_not_know_is_an_error(books: Projected) -> None:
    """An unknown type, or class of usage, is never passed over."""
    books.script(W0).append("comptroller.request.doubled.v1", "request/R1", {})
    with pytest.raises(RecordError, match=r"unknown type.*upgrade"):
        books.project(W0)
    script = books.script(W1)
    script.decided("R1")
    script.settled("R1", 1, {"smell": 3})
    with pytest.raises(RecordError, match=r"smell.*upgrade"):
        books.project(W1)


def test_records_without_effect_move_the_position(books: Projected) -> None:
    """Journals' own records and strangers' refusals are read and passed."""
    script = books.script(W0)
    script.append("comptroller.journal.started.v1", "journal", {"process": 1})
    script.append(
        "comptroller.request.unauthenticated.v1", "", {"reason": "x", "count": 3}
    )
    script.append("comptroller.journal.closed.v1", "journal", {})
    books.project(W0)
    assert books.store.position(W0) == books.journal(W0).offset > 0


def test_requests_are_listed_newest_first(books: Projected) -> None:
    """By time, filtered by service, decision and time, up to the limit."""
    script = books.script(W0)
    for number in range(10):
        members: dict[str, object] = {"service.name": f"s{number % 2}"}
        if number % 5 == 0:
            members |= {"result": "deny", "reason": "no"}
        script.decided(f"R{number}", members)
        books.clock.advance(1)
    books.project(W0)

    def ids(**query: object) -> list[str]:
        wanted = RequestQuery(**query)  # type: ignore[arg-type]
        return [row.request_id for row in books.store.requests(wanted)]

    assert ids() == [f"R{number}" for number in reversed(range(10))]
    assert ids(limit=3) == ["R9", "R8", "R7"]
    assert ids(service="s1") == ["R9", "R7", "R5", "R3", "R1"]
    assert ids(decision="deny") == ["R5", "R0"]
    assert ids(decision="allow", service="s1", limit=2) == ["R9", "R7"]
    assert ids(since_ns=START_NS + 8 * 10**9) == ["R9", "R8"]
    assert ids(service="none") == []


def test_spend_by_every_key_adds_up(books: Projected) -> None:
    """Each key's sums are those of its requests, and the dearest comes first."""
    script = books.script(W0)
    for number in range(12):
        members = {
            "comptroller.owner.billing": f"o{number % 2}",
            "comptroller.unit.id": f"u{number % 3}",
            "service.name": f"s{number % 4}",
            "gen_ai.request.model": f"m{number % 6}",
            "comptroller.credential.id": f"c{number}",
        }
        script.decided(f"R{number}", members)
        script.settled(f"R{number}", number, {"input": number, "web_search": 1})
        if number == 5:
            books.project(W0)
        books.clock.advance(HOUR_S / 3)
    books.project(W0)
    store = books.store
    assert store.spend("owner", None) == [
        SpendRow("o1", 6, {"input": 36, "web_search": 6}, 36),
        SpendRow("o0", 6, {"input": 30, "web_search": 6}, 30),
    ]
    assert [row.key for row in store.spend("unit", None)] == ["u2", "u1", "u0"]
    for by, keys in (("service", 4), ("model", 6), ("credential", 12)):
        rows = store.spend(by, None)
        assert len(rows) == keys
        assert sum(row.cost_nano_usd for row in rows) == 66
        assert sum(row.requests for row in rows) == 12
    with pytest.raises(ValueError, match="not by colour"):
        store.spend("colour", None)


@pytest.mark.parametrize("minutes", [0, 1, 20, 59, 60, 61, 240, 1000])
def test_spend_since_any_minute_is_exact(books: Projected, minutes: int) -> None:
    """Whole hours come from the roll-up, the rest from requests; the sum is exact."""
    script = books.script(W0)
    for number in range(30):
        script.decided(f"R{number:02d}")
        if number % 4:
            script.settled(f"R{number:02d}", 1, {"output": 1})
        books.clock.advance(600)
    books.project(W0)
    since_ns = START_NS + minutes * 60 * 10**9
    expected = sum(1 for n in range(30) if n % 4 and n * 10 >= minutes)
    rows = books.store.spend("owner", since_ns)
    assert sum(row.cost_nano_usd for row in rows) == expected
    assert sum(row.requests for row in rows) == expected
    assert sum(row.usage["output"] for row in rows) == expected


def test_registry_changes_appear_with_their_revision(books: Projected) -> None:
    """Changes wait for `registry.applied`, then take effect all at once."""
    store = books.store
    script = books.script(CONTROL)
    script.applied(1, {("person", "ada"): {"name": "Ada"}, ("unit", "a/b"): {"x": 1}})
    books.project(CONTROL)
    before = [
        RegistryObject("person", "ada", b'{"name":"Ada"}'),
        RegistryObject("unit", "a/b", b'{"x":1}'),
    ]
    assert (store.registry_objects(), store.revision()) == (before, 1)
    script.changed(2, "person", "ada", {"name": "Ada Lovelace"})
    books.project(CONTROL)
    assert (store.registry_objects(), store.revision()) == (before, 1)
    script.applied(2, {("unit", "a/b"): None, ("person", "bob"): {"name": "Bob"}})
    books.project(CONTROL)
    assert store.registry_objects() == [
        RegistryObject("person", "ada", b'{"name":"Ada Lovelace"}'),
        RegistryObject("person", "bob", b'{"name":"Bob"}'),
    ]
    assert store.revision() == 2


def test_what_was_never_applied_never_appears(books: Projected) -> None:
    """Changes of a process that died before it applied them have no effect."""
    books.script(CONTROL).changed(1, "person", "mallory", {"name": "Mallory"})
    books.project(CONTROL)
    books.script(LATER).applied(1, {("person", "ada"): {"name": "Ada"}})
    books.project(LATER)
    objects = [RegistryObject("person", "ada", b'{"name":"Ada"}')]
    assert books.store.registry_objects() == objects


def test_revisions_follow_one_another(books: Projected) -> None:
    """A revision out of turn is an error, and nothing of its run is projected."""
    books.script(CONTROL).applied(2, {("person", "ada"): {"name": "Ada"}})
    with pytest.raises(RecordError, match="revision 2 cannot follow 0"):
        books.project(CONTROL)
    assert books.store.registry_objects() == []
    assert books.store.position(CONTROL) == 0


def test_the_life_of_a_credential(books: Projected) -> None:
    """Issued, rotated twice, used, revoked: every step is in the row."""
    script = books.script(CONTROL)
    script.issued("cred-1", expires_ns=10**18)
    books.clock.advance(1)
    script.issued("cred-2")
    books.project(CONTROL)
    first, second = books.store.credentials()
    assert (first.credential.id, second.credential.id) == ("cred-1", "cred-2")
    assert first.credential.issued_ns == START_NS
    assert (first.credential.expires_ns, second.credential.expires_ns) == (10**18, None)
    assert first.credential.secrets == (Secret("cred-1-0", 1, None),)
    assert first.last_used_ns is None

    script.rotated("cred-1", "second", old_not_after_ns=500)
    books.project(CONTROL)
    script.rotated("cred-1", "third", old_not_after_ns=400)
    script.revoked("cred-1", revoked_ns=999)
    books.project(CONTROL)
    books.script(W0).decided("R1", {"result": "deny", "reason": "no"})
    books.project(W0)
    first, second = books.store.credentials()
    assert first.credential.secrets == (
        Secret("cred-1-0", 1, 400),
        Secret("second", 2, 400),
        Secret("third", 2, None),
    )
    assert first.credential.revoked_ns == 999
    assert first.credential.revoked_reason == "leaked"
    assert first.last_used_ns == START_NS + 10**9
    assert second.last_used_ns is None


def test_last_use_is_the_latest(books: Projected) -> None:
    """A journal that is projected late does not turn the last use back."""
    books.script(CONTROL).issued("cred-1")
    books.script(W0).decided("R1")
    books.clock.advance(60)
    books.script(W1).decided("R2")
    for source in (W1, CONTROL, W0):
        books.project(source)
    (row,) = books.store.credentials()
    assert row.last_used_ns == START_NS + 60 * 10**9


@pytest.mark.parametrize("act", ["rotated", "revoked"])
def test_a_credential_that_was_never_issued(books: Projected, act: str) -> None:
    """Rotating or revoking it is an error, and nothing of the run is projected."""
    script = books.script(CONTROL)
    script.issued("cred-1")
    if act == "rotated":
        script.rotated("cred-9", "x", 5)
    else:
        script.revoked("cred-9", 5)
    with pytest.raises(RecordError, match="cred-9 was never issued"):
        books.project(CONTROL)
    assert books.store.credentials() == []
