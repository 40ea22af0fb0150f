import ssl
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import trustme

from comptroller.core.registry import Provider
from comptroller.engine import records
from comptroller.testing.rawclient import raw_client, request
from comptroller.testing.upstream import (
    CHAT,
    LAST_CHUNK,
    STREAM_HEAD,
    ScriptedUpstream,
    answering,
    chat_event,
    chunk,
    scripted_upstream,
    whole,
)
from comptroller.testing.worker import (
    CHAT_BODY,
    CHAT_PATH,
    STREAM_BODY,
    OpenSite,
    Site,
    provider,
)


def tls_server(ca: trustme.CA, name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(name).configure_cert(context)
    return context


@pytest.fixture
def certified(tmp_path: Path) -> Iterator[dict[str, tuple[ScriptedUpstream, Provider]]]:
    """Upstreams that speak TLS, good and bad, with the providers that name them."""
    ca, stranger = trustme.CA(), trustme.CA()
    trusted = tmp_path / "ca.pem"
    ca.cert_pem.write_to_path(str(trusted))
    asks_certificate = tls_server(ca, "127.0.0.1")
    asks_certificate.verify_mode = ssl.CERT_REQUIRED
    stranger.configure_trust(asks_certificate)
    contexts = {
        "good": tls_server(ca, "127.0.0.1"),
        "wrong-host": tls_server(ca, "127.0.0.2"),
        "unknown-ca": tls_server(stranger, "127.0.0.1"),
        "client-cert": asks_certificate,
        "no-ca-file": tls_server(ca, "127.0.0.1"),
    }
    with ExitStack() as stack:
        found = {}
        for name, context in contexts.items():
            upstream = stack.enter_context(
                scripted_upstream(answering(whole(CHAT)), context)
            )
            origin = upstream.origin.replace("http:", "https:")
            file = tmp_path / "none.pem" if name == "no-ca-file" else trusted
            found[name] = (upstream, provider(name, origin, str(file)))
        yield found


def test_providers_are_verified(
    open_site: OpenSite, certified: dict[str, tuple[ScriptedUpstream, Provider]]
) -> None:
    """Only the provider whose certificate proves its name is sent anything."""
    providers = {name: one for name, (_, one) in certified.items()}
    with open_site(providers=providers) as site:
        for name, (upstream, _) in certified.items():
            reply = site.chat(CHAT_BODY.replace(b'"up"', f'"{name}"'.encode()))

            end = site.end(reply)
            if name == "good":
                assert reply.status == 200
                assert end.type == records.SETTLED
                continue
            assert reply.status == 502, name
            assert upstream.received == []
            if name != "client-cert":
                # TLS 1.3 refuses a client only after the client may have spoken.
                assert end.type == records.RELEASED, name


def test_a_tls_provider_streams_and_its_connection_is_kept(
    open_site: OpenSite, certified: dict[str, tuple[ScriptedUpstream, Provider]]
) -> None:
    """Streams pass as over plain HTTP, and one handshake serves many requests."""
    upstream, one = certified["good"]
    stream = STREAM_HEAD + chunk(chat_event("Hi")) + LAST_CHUNK
    upstream.answer = answering(stream)
    body = STREAM_BODY.replace(b'"up"', b'"good"')
    with open_site(providers={"good": one}) as site:
        for _ in range(5):
            assert site.chat(body).body == chat_event("Hi")

    assert upstream.connections == 1


def test_clients_may_speak_tls(open_site: OpenSite, tmp_path: Path) -> None:
    """With a certificate the gateway serves HTTPS: whole, streamed and refused."""
    ca = trustme.CA()
    certificate = tmp_path / "cert.pem"
    ca.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(
        str(certificate)
    )
    trust = ssl.create_default_context()
    ca.configure_trust(trust)
    with open_site({"tls_cert": str(certificate)}) as site:
        site.upstream.queue(
            answering(whole(CHAT)),
            answering(STREAM_HEAD + chunk(chat_event("Hi")) + LAST_CHUNK),
        )
        with raw_client(site.worker.port, trust) as client:
            client.send(request(CHAT_PATH, CHAT_BODY, site.bearer))
            assert client.read().body == CHAT
            client.send(request(CHAT_PATH, STREAM_BODY, site.bearer))
            assert client.read().body == chat_event("Hi")
            client.send(b"no HTTP\r\n\r\n")
            assert client.read().status == 400
            assert client.is_closed()
        assert_plain_is_turned_away(site)


def assert_plain_is_turned_away(site: Site) -> None:
    with raw_client(site.worker.port) as client:
        client.send(request("/healthz", method="GET"))
        assert b"200" not in client.read_until(b"\r\n")
