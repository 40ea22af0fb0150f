"""Two tenants behind one account of a provider, on two workers."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import openai
import pytest

from comptroller.testing.limited import MODEL, LimitedSite, limited_site, service
from comptroller.testing.rawclient import Reply, raw_client, request
from comptroller.testing.tree import told

UNKNOWN = "resp_" + "0" * 24
UNSERVED = [
    "/v1/files",
    "/v1/batches",
    "/v1/conversations",
    "/v1/conversations/conv_1",
    "/v1/vector_stores",
    "/v1/messages/batches",
    "/v1beta/files",
    "/v1beta/cachedContents",
    "/v1/responses",
]


def unit(name: str) -> dict[str, Any]:
    return {
        "owner": "ada",
        "units": {
            "retail": {
                "owner": "ada",
                "services": {
                    name: service(),
                    f"{name}-other": service(),
                },
            }
        },
    }


TENANTS = {"acme": unit("checkout"), "umbrella": unit("search")}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LimitedSite]:
    folder = tmp_path_factory.mktemp("isolation")
    with limited_site(folder, TENANTS) as one:
        yield one


@contextmanager
def client_of(site: LimitedSite, service_id: str) -> Iterator[openai.OpenAI]:
    base = f"http://127.0.0.1:{site.port}/v1"
    key = site.key(service_id)
    with openai.OpenAI(base_url=base, api_key=key, max_retries=0) as client:
        yield client


def made(site: LimitedSite, service_id: str = "checkout") -> str:
    """The id of a new response."""
    with client_of(site, service_id) as client:
        return client.responses.create(model=MODEL, input="Hello").id


def asked(
    site: LimitedSite,
    service_id: str,
    target: str,
    body: object = None,
    method: str = "GET",
) -> Reply:
    """One request on a connection of its own: any worker may get it."""
    data = b"" if body is None else json.dumps(body).encode()
    bearer = f"Authorization: Bearer {site.key(service_id)}"
    with raw_client(site.port) as client:
        client.send(request(target, data, bearer, method=method))
        return client.read()


def going_on(response_id: str) -> dict[str, object]:
    return {"model": MODEL, "input": "Go on", "previous_response_id": response_id}


_Headers = list[tuple[bytes, bytes]]


def without_ids(reply: Reply, response_id: str) -> tuple[int, _Headers, bytes]:
    """A reply, but for the ids that it is about."""
    body = reply.body.replace(response_id.encode(), b"ID")
    body = body.replace(reply.request_id.encode(), b"REQUEST")
    headers = [
        (name, value)
        for name, value in reply.headers
        if name not in {b"x-comptroller-request-id", b"content-length"}
    ]
    return reply.status, headers, body


def recorded(site: LimitedSite, reply: Reply) -> dict[str, Any]:
    """The decision on a request."""
    found: dict[str, Any] = told(site.folder, "explain", reply.request_id)
    return found


def test_a_tenants_own_response_is_found_by_any_worker(site: LimitedSite) -> None:
    """New connections go to either of two workers; all of them know."""
    response_id = made(site)

    for _ in range(12):
        assert asked(site, "checkout", f"/v1/responses/{response_id}").status == 200
        body = going_on(response_id)
        reply = asked(site, "checkout-other", "/v1/responses", body, "POST")
        assert reply.status == 200, reply.body


def test_a_follow_up_at_once_is_found(site: LimitedSite) -> None:
    """The settlement is recorded before the reply's end is let go."""
    response_id = made(site)
    for _ in range(30):
        reply = asked(site, "checkout", "/v1/responses", going_on(response_id), "POST")
        assert reply.status == 200, reply.body
        response_id = json.loads(reply.body)["id"]


def test_the_official_client_works_unchanged(site: LimitedSite) -> None:
    """Going on, retrieving, listing input items and deleting, streams included."""
    with client_of(site, "checkout") as client:
        with client.responses.stream(model=MODEL, input="Hello") as stream:
            first = stream.get_final_response()
        second = client.responses.create(
            model=MODEL, input="Go on", previous_response_id=first.id
        )
        assert second.previous_response_id == first.id
        found = client.responses.retrieve(
            second.id, include=["reasoning.encrypted_content"]
        )
        assert found.output == second.output
        assert client.responses.input_items.list(first.id).data
        with pytest.raises(openai.BadRequestError, match="Cannot cancel"):
            client.responses.cancel(first.id)
        client.responses.delete(first.id)
        with pytest.raises(openai.NotFoundError, match=first.id):
            client.responses.retrieve(first.id)


@pytest.mark.parametrize(
    ("target", "method"),
    [
        ("/v1/responses/{id}", "GET"),
        ("/v1/responses/{id}", "DELETE"),
        ("/v1/responses/{id}/cancel", "POST"),
        ("/v1/responses/{id}/input_items", "GET"),
        ("/v1/responses", "POST"),
    ],
)
def test_a_strangers_id_is_one_that_does_not_exist(
    site: LimitedSite, target: str, method: str
) -> None:
    """Status, headers and body are the same, byte for byte, but for the ids."""
    response_id = made(site)
    replies = []
    for one in (response_id, UNKNOWN):
        body = going_on(one) if target == "/v1/responses" else None
        reply = asked(site, "search", target.replace("{id}", one), body, method)
        replies.append(without_ids(reply, one))

    assert replies[0] == replies[1]
    assert replies[0][0] == 404
    assert b"object_not_found" in replies[0][2]
    assert asked(site, "checkout", f"/v1/responses/{response_id}").status == 200


def test_a_strangers_id_takes_the_time_of_one_that_does_not_exist(
    site: LimitedSite,
) -> None:
    """Both are asked for equally often; nothing of a stranger's is remembered."""
    response_id = made(site)
    took: dict[str, list[float]] = {response_id: [], UNKNOWN: []}
    for _ in range(5):
        for one, times in took.items():
            began_s = time.perf_counter()
            assert asked(site, "search", f"/v1/responses/{one}").status == 404
            times.append(time.perf_counter() - began_s)

    least = [min(times) for times in took.values()]
    assert min(least) > 0.3
    assert abs(least[0] - least[1]) < 0.15


def test_the_denial_is_recorded_without_the_id(site: LimitedSite) -> None:
    """The control that denied is named; what a client wrote is not kept."""
    response_id = made(site)
    reply = asked(site, "search", "/v1/responses", going_on(response_id), "POST")

    text = json.dumps(recorded(site, reply))

    assert '"object_not_found"' in text
    assert response_id not in text
    journals = (site.data / "journal").glob("*.jsonl")
    decisions = [
        line
        for path in journals
        for line in path.read_bytes().splitlines()
        if b'"request/%b"' % reply.request_id.encode() in line
    ]
    assert len(decisions) == 1
    assert response_id.encode() not in decisions[0]
    denied = json.loads(decisions[0])["data"]["comptroller.controls"]
    found = {one["id"]: one for one in denied}["tenant_isolation"]
    assert (found["outcome"], found["is_applied"]) == ("deny", True)
    assert (found["observed"], found["limit"]) == (1, 0)


def test_a_stored_response_costs_nothing_again(site: LimitedSite) -> None:
    """Its usage was booked when it was made."""
    response_id = made(site)

    reply = asked(site, "checkout", f"/v1/responses/{response_id}")

    assert json.loads(reply.body)["usage"]["total_tokens"] > 0
    assert reply.value(b"x-comptroller-cost-nano-usd") == b"0"
    row = told(site.folder, "requests", "--limit", "1")[0]
    assert (row["cost_nano_usd"], row["usage"], row["state"]) == (0, {}, "settled")
    assert row["route"] == "/v1/responses/{id}"


@pytest.mark.parametrize(
    "body",
    [
        {"conversation": "conv_1"},
        {"prompt": {"id": "pmpt_1"}},
        {"input": [{"type": "item_reference", "id": "msg_1"}]},
        {
            "input": [
                {
                    "role": "user",
                    "content": [{"type": "input_file", "file_id": "file-1"}],
                }
            ]
        },
        {"tools": [{"type": "file_search", "vector_store_ids": ["vs_1"]}]},
    ],
)
def test_what_nobody_made_here_cannot_be_named(
    site: LimitedSite, body: dict[str, Any]
) -> None:
    """Whoever asks: no record says whose it is."""
    document = {"model": MODEL, "input": "Hello", **body}
    for name in ("checkout", "search"):
        reply = asked(site, name, "/v1/responses", document, "POST")
        assert reply.status == 404, reply.body
        assert reply.value(b"x-comptroller-code") == b"object_not_found"


def test_items_of_ones_own_response_can_be_named(site: LimitedSite) -> None:
    """Clients send earlier output back by its ids alone."""
    with client_of(site, "checkout") as client:
        first = client.responses.create(model=MODEL, input="Hello")
    reference = {"type": "item_reference", "id": first.output[-1].id}
    body = {"model": MODEL, "input": [reference]}

    assert asked(site, "checkout", "/v1/responses", body, "POST").status == 200
    assert asked(site, "search", "/v1/responses", body, "POST").status == 404


@pytest.mark.parametrize("query", ["stream=true", "starting_after=1", "x=1"])
def test_a_stored_response_is_asked_for_and_nothing_else(
    site: LimitedSite, query: str
) -> None:
    """What a query may ask for is listed."""
    target = f"/v1/responses/{made(site)}?{query}"
    assert asked(site, "checkout", target).status == 400


@pytest.mark.parametrize("target", UNSERVED)
@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_what_cannot_be_attributed_is_not_served(
    site: LimitedSite, target: str, method: str
) -> None:
    """The same to whoever asks, a stranger without a credential included."""
    replies = [
        without_ids(asked(site, name, target, method=method), "-")
        for name in ("checkout", "search")
    ]
    with raw_client(site.port) as client:
        client.send(request(target, method=method))
        replies.append(without_ids(client.read(), "-"))

    assert replies[0] == replies[1] == replies[2]
    assert replies[0][0] == 404
    assert (b"x-comptroller-code", b"unknown_route") in replies[0][1]


def test_a_response_is_its_makers_after_a_restart(tmp_path: Path) -> None:
    """Who made it is read from the records."""
    with limited_site(tmp_path, TENANTS) as site:
        response_id = made(site)
        site.stop()
        site.start(2)

        reply = asked(site, "checkout", "/v1/responses", going_on(response_id), "POST")
        assert reply.status == 200, reply.body
        assert asked(site, "search", f"/v1/responses/{response_id}").status == 404


def test_without_the_control_process_nothing_is_guessed(tmp_path: Path) -> None:
    """What is not known is refused for now; what names nothing goes on."""
    with limited_site(tmp_path, TENANTS, workers=1) as site:
        response_id = made(site)
        site.key("search")
        assert site.tree is not None
        control = site.tree.children()["control"]
        os.kill(control, signal.SIGSTOP)
        try:
            reply = asked(site, "search", f"/v1/responses/{response_id}")
            assert (reply.status, reply.value(b"x-should-retry")) == (503, b"true")
            assert reply.value(b"x-comptroller-code") == b"ownership_unavailable"
            own = asked(site, "checkout", f"/v1/responses/{response_id}")
            assert own.status == 200
            body = {"model": MODEL, "input": "Hello"}
            assert asked(site, "search", "/v1/responses", body, "POST").status == 200
        finally:
            os.kill(control, signal.SIGCONT)


def test_one_tenant_alone_is_isolated_from_nobody(tmp_path: Path) -> None:
    """What the gateway has not seen made passes to the provider, which judges it."""
    with limited_site(tmp_path, {"acme": TENANTS["acme"]}, workers=1) as site:
        reply = asked(site, "checkout", "/v1/responses", going_on(UNKNOWN), "POST")

        assert (reply.status, reply.value(b"x-comptroller-code")) == (400, None)
