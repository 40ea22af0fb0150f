import pytest

from comptroller.engine import records
from comptroller.testing.rawclient import raw_client, request
from comptroller.testing.upstream import (
    CHAT,
    CONTENT,
    EMBEDDING,
    MESSAGE,
    RESPONSE,
    answering,
    whole,
)
from comptroller.testing.worker import (
    CHAT_BODY,
    CHAT_PATH,
    PROVIDER_KEY,
    Site,
)

ASK = b'{"model":"up","max_tokens":9}'
GEMINI = b'{"contents":[]}'
FORWARDED = {
    "/v1/chat/completions": (CHAT_BODY, CHAT),
    "/v1/responses": (b'{"model":"up","input":"Hi"}', RESPONSE),
    "/v1/embeddings": (b'{"model":"up","input":"Hi"}', EMBEDDING),
    "/v1/messages": (ASK, MESSAGE),
    "/v1/messages?beta=true": (ASK, MESSAGE),
    "/v1/messages/count_tokens": (ASK, b'{"input_tokens":7}'),
    "/v1/messages/count_tokens?beta=true": (ASK, b'{"input_tokens":7}'),
    "/v1beta/models/up:generateContent": (GEMINI, CONTENT),
    "/v1beta/models/up:streamGenerateContent": (GEMINI, b"[" + CONTENT + b"]"),
    "/v1beta/models/up:countTokens": (GEMINI, b'{"totalTokens":7}'),
}


@pytest.mark.parametrize("target", FORWARDED)
def test_each_route_forwards_to_its_path_and_back(fresh: Site, target: str) -> None:
    """Every route reaches the provider's path of its dialect, query kept."""
    body, answer = FORWARDED[target]
    fresh.upstream.queue(answering(whole(answer)))

    reply = fresh.ask(request(target, body, fresh.bearer))

    received = fresh.upstream.received[-1]
    asked = target.replace("/up:", "/m:")
    assert (reply.status, reply.body) == (200, answer)
    assert received.start == f"POST {asked} HTTP/1.1".encode()
    assert received.body == body.replace(b'"up"', b'"m"')
    end = fresh.end(reply)
    assert end.type == records.SETTLED
    is_free = "count" in target.lower()
    assert (end.data["comptroller.cost.nano_usd"] == 0) is is_free
    assert end.data["comptroller.usage.source"] == "provider"


@pytest.mark.parametrize(
    "target",
    [
        "/",
        "/v1",
        "/v1/chat/completions/",
        "/v1//chat/completions",
        "/v1/%63hat/completions",
        "/v1/chat/completions;x",
        "/V1/chat/completions",
        "/v1/chat/completions/../completions",
        "/v1/files",
        "/v1/audio/speech",
        "/v1/messages/batches",
        "/v1/responses/resp_1",
        "/v1beta/models/up:embedContent",
        "/v1beta/models/up%3AgenerateContent",
        "/v1beta/models/../up:generateContent",
        "/v1beta/openai/chat/completions",
        "*",
        "/admin",
    ],
)
def test_no_other_route_is_forwarded(fresh: Site, target: str) -> None:
    """Anything else is refused in words, and nothing reaches the provider."""
    reply = fresh.ask(request(target, CHAT_BODY, fresh.bearer))

    assert reply.status == 404
    assert b"does not serve this route" in reply.body
    assert fresh.upstream.received == []


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_no_other_method_is_forwarded(fresh: Site, method: str) -> None:
    """A known path with another method is no route."""
    reply = fresh.ask(request(CHAT_PATH, CHAT_BODY, fresh.bearer, method=method))

    assert reply.status == 404
    assert fresh.upstream.received == []


def test_the_gateway_tells_how_it_is(fresh: Site) -> None:
    """HEAD /, /healthz and /readyz answer without a credential."""
    assert fresh.ask(request("/", method="HEAD"), is_head=True).status == 200
    assert fresh.ask(request("/healthz", method="GET")).body == b'{"status":"ok"}'
    assert fresh.ask(request("/readyz", method="GET")).body == b'{"status":"ready"}'


@pytest.mark.parametrize(
    ("target", "headers", "found"),
    [
        ("/v1/models", (), b'"object":"list"'),
        ("/v1/models", ("anthropic-version: 2023-06-01",), b'"id":"up-alias"'),
        ("/v1/models/up", (), b'"id":"up"'),
        ("/v1beta/models", (), b'"models/up"'),
        ("/v1beta/models/up", (), b'"models/up"'),
    ],
)
def test_models_are_listed_to_who_may_use_them(
    fresh: Site, target: str, headers: tuple[str, ...], found: bytes
) -> None:
    """Model lists answer a credential, in its dialect, without the provider."""
    reply = fresh.ask(request(target, b"", fresh.bearer, *headers, method="GET"))
    stranger = fresh.ask(request(target, b"", *headers, method="GET"))

    assert reply.status == 200
    assert found in reply.body
    assert stranger.status == 401
    assert fresh.upstream.received == []


@pytest.mark.parametrize(
    "query",
    ["a=1", "a=1&b=%20%2f&&c", "?", "x=/../y", "apikey=1&monkey=2", "a=%e2%82%ac"],
)
def test_queries_reach_the_provider_as_they_are(fresh: Site, query: str) -> None:
    """A query is passed on byte for byte."""
    fresh.ask(request(f"{CHAT_PATH}?{query}", CHAT_BODY, fresh.bearer))

    target = fresh.upstream.received[-1].start.split(b" ")[1].decode()
    assert target == f"{CHAT_PATH}?{query}"


@pytest.mark.parametrize("name", ["key", "%6bey", "k%65y"])
def test_a_key_in_the_query_is_a_credential_and_stays_here(
    fresh: Site, name: str
) -> None:
    """`?key=` admits; it is not forwarded, not recorded and not logged."""
    target = f"/v1beta/models/up:generateContent?alt=json&{name}={fresh.served.key}&b=1"
    fresh.upstream.queue(answering(whole(CONTENT)))

    reply = fresh.ask(request(target, GEMINI))

    assert reply.status == 200
    received = fresh.upstream.received[-1]
    assert received.start.split(b" ")[1].endswith(b":generateContent?alt=json&b=1")
    assert received.values(b"x-goog-api-key") == [PROVIDER_KEY.encode()]
    fresh.end(reply)
    secret = fresh.served.key.encode()
    data = fresh.worker.data
    written = [p.read_bytes() for p in data.rglob("*") if p.is_file()]
    assert written
    assert not any(secret in content for content in written)


def test_two_keys_in_the_query_are_a_conflict(fresh: Site) -> None:
    """Of two different keys none is chosen."""
    other = fresh.served.issue().secret
    target = (
        f"/v1beta/models/up:generateContent?key={other}&key={fresh.served.main.secret}"
    )

    reply = fresh.ask(request(target, GEMINI))

    assert reply.status == 401
    assert fresh.upstream.received == []


def test_the_absolute_form_is_understood(fresh: Site) -> None:
    """A target with an origin is served by its path (RFC 9112 §3.2.2)."""
    reply = fresh.ask(request(f"http://gw:1{CHAT_PATH}?a=1", CHAT_BODY, fresh.bearer))

    assert reply.status == 200
    start = fresh.upstream.received[-1].start
    assert start == f"POST {CHAT_PATH}?a=1 HTTP/1.1".encode()


def test_a_refusal_speaks_the_callers_dialect(fresh: Site) -> None:
    """Each dialect's clients find the message where they look for it."""
    with raw_client(fresh.worker.port) as client:
        for target, place in (
            ("/v1/chat/completions", b'{"error":{"message":"'),
            ("/v1/messages", b'{"type":"error","error":{'),
            ("/v1beta/models/up:generateContent", b'{"error":{"code":400,'),
        ):
            client.send(request(target, b'{"model":"none"', fresh.bearer))
            reply = client.read()
            assert reply.status == 400
            assert reply.body.startswith(place)
            assert reply.value(b"x-should-retry") == b"false"
            assert reply.request_id.encode() in reply.body


def test_a_refused_request_is_recorded_with_its_owner(fresh: Site) -> None:
    """A refusal of a known credential is a decision record like any other."""
    body = b'{"model":"gpt-none","messages":[]}'

    reply = fresh.ask(request(CHAT_PATH, body, fresh.bearer))

    assert reply.status == 400
    data = fresh.decision(reply).data
    assert (data["result"], data["reason"]) == ("deny", "model_not_allowed")
    assert data["comptroller.owner.billing"] == "grace"
    assert data["gen_ai.request.model"] == "gpt-none"
