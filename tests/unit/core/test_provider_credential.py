from __future__ import annotations

from dataclasses import replace

from comptroller.core.provider_credential import (
    CredentialNeed,
    credential_needs,
    credential_reference,
)
from comptroller.core.registry import Provider, ProviderId, Tenant, TenantId
from comptroller.testing.answered import acme

OPENAI, HOUSE = ProviderId("openai"), ProviderId("house")
ACME, GLOBEX = TenantId("acme"), TenantId("globex")
SHARED = Provider(OPENAI, "https://api.openai.com", {"openai": "/v1"}, "env:SHARED")
OPEN = Provider(HOUSE, "http://127.0.0.1:1", {"openai": "/v1"})
REGISTRY = replace(
    acme(),
    providers={OPENAI: SHARED, HOUSE: OPEN},
    tenants={
        ACME: Tenant(ACME, provider_credentials={OPENAI: "env:ACME_OWN"}),
        GLOBEX: Tenant(GLOBEX),
    },
)


def test_a_tenants_own_credential_goes_before_the_shared_one() -> None:
    """Its own, where it has one; else the provider's; else none at all."""
    assert credential_reference(REGISTRY, ACME, SHARED) == "env:ACME_OWN"
    assert credential_reference(REGISTRY, GLOBEX, SHARED) == "env:SHARED"
    assert credential_reference(REGISTRY, TenantId("gone"), SHARED) == "env:SHARED"
    assert credential_reference(REGISTRY, ACME, OPEN) is None


def test_every_reference_is_needed() -> None:
    """Whoever checks that the secrets are there meets those of tenants, too."""
    needs = list(credential_needs(REGISTRY))

    assert needs == [
        CredentialNeed("openai", None, "env:SHARED"),
        CredentialNeed("openai", "acme", "env:ACME_OWN"),
    ]
    assert [one.subject() for one in needs] == [
        "provider openai",
        "tenant acme: provider openai",
    ]
