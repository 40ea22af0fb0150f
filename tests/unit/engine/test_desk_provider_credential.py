from __future__ import annotations

from dataclasses import replace

from comptroller.core.credential import Credential, CredentialId, Secret, hash_secret
from comptroller.core.registry import ProviderId, Registry, TenantId
from comptroller.engine.admission import Admission
from comptroller.engine.desk import Desk
from comptroller.engine.snapshot import Snapshot
from comptroller.engine.verdicts import Admitted, Ask, Refused
from comptroller.testing.answered import CARD, acme
from comptroller.testing.system import FixedSecrets
from comptroller.wire.routes import match

NOW_NS = 1_000
ACME, OPENAI = TenantId("acme"), ProviderId("openai")
OWN, SHARED = "a-secret-of-acme-alone", "a-secret-that-all-share"
HELD = Credential(
    CredentialId("c1"),
    "checkout-assistant",
    "ada",
    0,
    (Secret(hash_secret("good"), 0),),
)


def registry(shared: str | None, own: str | None) -> Registry:
    base = acme()
    tenant = base.tenants[ACME]
    provider = base.providers[OPENAI]
    credentials = {OPENAI: own} if own is not None else {}
    return replace(
        base,
        providers={OPENAI: replace(provider, credential=shared)},
        tenants={ACME: replace(tenant, provider_credentials=credentials)},
    )


def admitted(
    shared: str | None, own: str | None, secrets: dict[str, str]
) -> Admitted | Refused:
    desk = Desk(
        Snapshot(1, 1, registry(shared, own), [HELD], CARD), FixedSecrets(secrets)
    )
    route = match(b"POST", b"/v1/chat/completions")
    assert route is not None
    body = b'{"model":"gpt-5-mini","messages":[]}'
    found = Admission(desk).admit(Ask(route, b"good", body, b""), NOW_NS)
    assert isinstance(found, Admitted | Refused)
    return found


def key_sent(shared: str | None, own: str | None, secrets: dict[str, str]) -> bytes:
    found = admitted(shared, own, secrets)
    assert isinstance(found, Admitted)
    lines = found.entitlement.head.split(b"\r\n")
    assert b"authorization: Bearer " + found.entitlement.key in lines
    return found.entitlement.key


def test_a_tenants_own_credential_is_the_one_that_is_sent() -> None:
    """The shared one goes out only where the tenant has none of its own."""
    secrets = {"env:SHARED": SHARED, "env:OWN": OWN}

    assert key_sent("env:SHARED", "env:OWN", secrets) == OWN.encode()
    assert key_sent(None, "env:OWN", secrets) == OWN.encode()
    assert key_sent("env:SHARED", None, secrets) == SHARED.encode()


def test_a_tenant_never_falls_back_to_the_shared_credential() -> None:
    """What one tenant must pay for is refused rather than billed to all."""
    found = admitted("env:SHARED", "env:OWN", {"env:SHARED": SHARED})

    assert isinstance(found, Refused)
    assert found.refusal.code == "provider_credential_missing"
    assert "env:OWN" in found.refusal.message


def test_without_any_credential_no_header_is_sent() -> None:
    """A provider that asks for no credential gets none."""
    found = admitted(None, None, {})

    assert isinstance(found, Admitted)
    assert b"authorization" not in found.entitlement.head
