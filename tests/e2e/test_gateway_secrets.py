"""Secrets stay where they belong, and a request means to all what it says to us."""

from __future__ import annotations

import pytest

from comptroller.testing.rawclient import request
from comptroller.testing.upstream import CHAT, answering, whole
from comptroller.testing.worker import CHAT_BODY, CHAT_PATH, PROVIDER_KEY, Site

GEMINI = "/v1beta/models/up:generateContent"


def test_our_credential_never_reaches_the_provider(fresh: Site) -> None:
    """Headers and parameters that repeat the credential elsewhere are left out."""
    key = fresh.served.key
    headers = (f"api-key: {key}", f"Cookie: a=b; key={key}", "X-Mine: kept")
    target = f"{CHAT_PATH}?api_key={key}&beta=true&access_token={key}"

    reply = fresh.ask(request(target, CHAT_BODY, fresh.bearer, *headers))

    received = fresh.upstream.received[-1]
    assert reply.status == 200
    assert received.start == f"POST {CHAT_PATH}?beta=true HTTP/1.1".encode()
    assert key.encode() not in b"\n".join(b"%b: %b" % h for h in received.headers)
    assert received.values(b"x-mine") == [b"kept"]
    assert received.values(b"authorization") == [f"Bearer {PROVIDER_KEY}".encode()]


@pytest.mark.parametrize("status", [200, 401, 500])
def test_the_providers_credential_never_reaches_a_client(
    fresh: Site, status: int
) -> None:
    """A provider that repeats its credential is passed on without it."""
    body = b'{"error":{"message":"Bad key: %b."}}' % PROVIDER_KEY.encode()
    header = b"X-Got: Bearer %b\r\n" % PROVIDER_KEY.encode()
    fresh.upstream.queue(answering(whole(body, status, header)))

    reply = fresh.chat()

    shown = b"[credential of the gateway]"
    assert reply.status == status
    assert reply.body == b'{"error":{"message":"Bad key: %b."}}' % shown
    assert reply.value(b"x-got") == b"Bearer " + shown


@pytest.mark.parametrize(
    "query",
    ["alt=proto", "fields=candidates", "%24fields=x", "$alt=media", "callback=f"],
)
def test_a_reply_that_could_not_be_metered_is_not_asked_for(
    fresh: Site, query: str
) -> None:
    """Google answers in other forms, and in part, when a query asks: refused."""
    sent = len(fresh.upstream.received)

    reply = fresh.ask(request(f"{GEMINI}?{query}", b"{}", fresh.bearer))

    assert (reply.status, reply.value(b"x-comptroller-code")) == (400, b"bad_request")
    assert fresh.decision(reply).data["result"] == "deny"
    assert len(fresh.upstream.received) == sent


@pytest.mark.parametrize("charset", ["utf-7", "UTF-16", '"utf-32"', "ibm037"])
def test_a_body_in_another_charset_is_refused(fresh: Site, charset: str) -> None:
    """What we read as one thing, the provider must not read as another."""
    reply = fresh.chat(CHAT_BODY, f"Content-Type: application/json; Charset={charset}")

    assert (reply.status, reply.value(b"x-comptroller-code")) == (400, b"bad_request")


def test_headers_that_change_what_is_asked_are_not_passed_on(fresh: Site) -> None:
    """The decided method and tier are those that the provider sees."""
    fresh.upstream.queue(answering(whole(CHAT)))

    tier = "X-Vertex-AI-LLM-Shared-Request-Type: priority"
    fresh.chat(CHAT_BODY, "X-HTTP-Method-Override: GET", "X-Goog-FieldMask: id", tier)

    names = {name.lower() for name, _ in fresh.upstream.received[-1].headers}
    assert not names & {b"x-http-method-override", b"x-goog-fieldmask"}
    assert b"x-vertex-ai-llm-shared-request-type" not in names
