"""What every store says of stored objects, SQLite and memory alike."""

from __future__ import annotations

from comptroller.engine.objects import Owned
from comptroller.testing.projected import W0, W1, Projected

STORED = "comptroller.stored"


def stored(response: str, *items: str, provider: str = "openai") -> dict[str, object]:
    at = {"provider": provider, "model": "gpt-5-mini"}
    return {STORED: {**at, "response": response, "items": list(items)}}


def made(object_id: str, kind: str = "response", request_id: str = "R1") -> Owned:
    service, model = "checkout-assistant", "gpt-5-mini"
    return Owned(object_id, "openai", kind, "acme", service, model, request_id)


def test_what_a_request_made_is_its_tenants(books: Projected) -> None:
    """Decided and settled in one run: the response and its items are known."""
    script = books.script(W0)
    script.decided("R1")
    script.settled("R1", 1, {"input": 1}, stored("resp_1", "rs_1", "msg_1"))
    books.project(W0)

    found = books.store.objects(["msg_1", "resp_1", "rs_1", "resp_2"])

    assert sorted(found, key=lambda one: one.id) == [
        made("msg_1", "item"),
        made("resp_1"),
        made("rs_1", "item"),
    ]


def test_what_was_decided_in_an_earlier_run_is_known_too(books: Projected) -> None:
    """The maker is read from the request's row."""
    script = books.script(W0)
    script.decided("R1")
    books.project(W0)
    script.settled("R1", 1, {"input": 1}, stored("resp_1"))
    books.project(W0)

    assert books.store.objects(["resp_1"]) == [made("resp_1")]


def test_an_id_belongs_to_whoever_made_it_first(books: Projected) -> None:
    """A provider that gives an id twice does not give it away."""
    one, other = books.script(W0), books.script(W1)
    one.decided("R1")
    one.settled("R1", 1, {"input": 1}, stored("resp_1"))
    other.decided("R2", {"comptroller.tenant.id": "umbrella"})
    other.settled("R2", 1, {"input": 1}, stored("resp_1"))
    books.project(W0, W1)

    assert books.store.objects(["resp_1"]) == [made("resp_1")]


def test_two_providers_may_give_one_id(books: Projected) -> None:
    """Each has its own."""
    script = books.script(W0)
    for number, provider in enumerate(("openai", "other")):
        script.decided(f"R{number}")
        told = stored("resp_1", provider=provider)
        script.settled(f"R{number}", 1, {"input": 1}, told)
    books.project(W0)

    found = books.store.objects(["resp_1"])

    assert sorted(one.provider for one in found) == ["openai", "other"]


def test_an_end_that_does_not_count_makes_nothing(books: Projected) -> None:
    """Of two ends the first one counts."""
    script = books.script(W0)
    script.decided("R1")
    script.settled("R1", 1, {"input": 1})
    books.project(W0)
    script.settled("R1", 1, {"input": 1}, stored("resp_1"))
    books.project(W0)

    assert books.store.objects(["resp_1"]) == []
