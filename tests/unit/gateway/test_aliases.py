"""Aliases: a model is asked for by another name, in every dialect, and listed by it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from tests.unit.gateway.place import Place, inbound, on_a_loop

from comptroller.core.rates import ModelRates, Step, rate_card
from comptroller.core.registry import (
    Deployment,
    Model,
    ModelId,
    Provider,
    ProviderId,
    Registry,
)
from comptroller.engine.snapshot import Snapshot
from comptroller.testing.answered import acme
from comptroller.testing.both_ends import Calling, Listening
from comptroller.testing.deployed import CREDENTIAL, SERVICE

ALL = {"openai": "/v1", "anthropic": "/v1", "gemini": "/v1beta"}
STEPS = (Step(0, {"input": 1, "output": 1}),)


def registry() -> Registry:
    """`house`, alias `small`, runs as `up/m` at one; `fast` at two, the 2nd in all."""
    base = acme()
    one, two = ProviderId("one"), ProviderId("two")
    house, fast = ModelId("house"), ModelId("fast")
    places = (Deployment(two, "m"), Deployment(one, "n"))
    service = replace(base.services[SERVICE], models=(house, fast))
    return replace(
        base,
        providers={
            one: Provider(one, "https://one.example", ALL),
            two: Provider(two, "https://two.example", {"openai": "/v1"}),
        },
        models={
            house: Model(house, one, "up/m", aliases=("small", "default")),
            fast: Model(fast, two, "m", aliases=("quick",), deployments=places),
            ModelId("other"): Model(ModelId("other"), one, "o", aliases=("hidden",)),
        },
        services={SERVICE: service},
    )


def told(method: bytes, path: str, body: object = None) -> tuple[Calling, Listening]:
    """What a worker sends on, and what it answers, to one request."""
    names = ("up/m", "m", "n", "o")
    rates = {name: ModelRates(name, STEPS, source="test") for name in names}
    card = rate_card("test", {"one": rates, "two": rates})
    snapshot = Snapshot(1, 1, registry(), [CREDENTIAL], card)
    written = b"" if body is None else json.dumps(body).encode()
    clients = []

    def play(place: Place) -> None:
        _, client = place.begin(inbound(method, path, written))
        clients.append(client)

    place = on_a_loop(play, lambda: Place(snapshot))
    return place.upstreams, clients[0]


HI = [{"role": "user", "content": "Hi"}]
CONTENTS = [{"role": "user", "parts": [{"text": "Hi"}]}]
AT = "/v1beta/models/small:"
ASKED: dict[str, tuple[str, dict[str, Any]]] = {
    "chat": ("/v1/chat/completions", {"model": "small", "messages": HI}),
    "responses": ("/v1/responses", {"model": "small", "input": "Hi"}),
    "embeddings": ("/v1/embeddings", {"model": "small", "input": "Hi"}),
    "messages": ("/v1/messages", {"model": "small", "max_tokens": 9, "messages": HI}),
    "count": ("/v1/messages/count_tokens", {"model": "small", "messages": HI}),
    "gemini": (f"{AT}generateContent", {"contents": CONTENTS}),
    "gemini stream": (f"{AT}streamGenerateContent", {"contents": CONTENTS}),
    "gemini, named twice": (
        f"{AT}generateContent",
        {"model": "models/small", "contents": CONTENTS},
    ),
    "gemini count": (f"{AT}countTokens", {"contents": CONTENTS}),
    "gemini count of a request": (
        f"{AT}countTokens",
        {
            "generateContentRequest": {
                "model": "models/small",
                "contents": CONTENTS,
            }
        },
    ),
}


@pytest.mark.parametrize("kind", ASKED)
def test_an_alias_is_asked_for_by_the_providers_own_name(kind: str) -> None:
    """In path and body, wherever it is named; the rest of the body is as written."""
    path, body = ASKED[kind]

    upstreams, client = told(b"POST", path, body)

    assert client.said == b""
    ((request, _),) = upstreams.calls
    written = json.dumps(body).replace("models/small", "models/up/m")
    sent = json.loads(request.body)
    assert {name: sent[name] for name in body} == json.loads(
        written.replace('"small"', '"up/m"')
    )
    start = request.head.partition(b" HTTP/1.1")[0].decode()
    assert start == f"POST {path.replace('small', 'up/m')}"


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("/v1/models", ["house", "small", "default", "fast", "quick"]),
        ("/v1beta/models", ["house", "small", "default", "fast", "quick"]),
    ],
)
def test_the_lists_have_every_name_that_may_be_asked_for(
    path: str, names: list[str]
) -> None:
    """Ids and aliases of the service's models, in each dialect of any of its places."""
    _, client = told(b"GET", path)

    body = json.loads(client.said.partition(b"\r\n\r\n")[2])
    found = body["models"] if "beta" in path else body["data"]
    shown = [one.get("id") or one["name"].removeprefix("models/") for one in found]
    assert shown == names


@pytest.mark.parametrize("name", ["house", "small", "quick"])
def test_a_model_is_shown_by_any_of_its_names(name: str) -> None:
    """`GET /v1/models/{name}` shows the name that it was asked by."""
    _, client = told(b"GET", f"/v1/models/{name}")

    assert client.said.startswith(b"HTTP/1.1 200 ")
    assert json.loads(client.said.partition(b"\r\n\r\n")[2])["id"] == name


@pytest.mark.parametrize("name", ["hidden", "other", "up/m", "nothing"])
def test_what_a_service_may_not_use_is_not_shown(name: str) -> None:
    """Another's alias, another's model, a provider's own name."""
    _, client = told(b"GET", f"/v1/models/{name}")

    assert client.code == "model_not_allowed"
