"""Provider credentials: whose reference a request is sent with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from comptroller.core.registry import Provider, Registry, TenantId


class CredentialNeed(NamedTuple):
    """A reference that must lead to a secret, or requests are refused."""

    provider: str
    tenant: str | None
    """Whose own it is; None: the provider's, which the other tenants share."""
    reference: str

    def subject(self) -> str:
        """What it belongs to: `provider openai`, or `tenant acme: provider openai`."""
        owner = f"tenant {self.tenant}: " if self.tenant is not None else ""
        return f"{owner}provider {self.provider}"


def credential_reference(
    registry: Registry, tenant: TenantId, provider: Provider
) -> str | None:
    """The reference that a tenant's requests to a provider are sent with.

    Its own where it has one, even where that leads to nothing: what is meant to be
    billed to one tenant never falls back to the credential that all share.

    Returns:
        None where neither has one: the provider asks for none.
    """
    found = registry.tenants.get(tenant)
    own = found.provider_credentials.get(provider.id) if found else None
    return own if own is not None else provider.credential


def credential_needs(registry: Registry) -> Iterator[CredentialNeed]:
    """Every reference to a provider's credential, shared ones first."""
    for provider in registry.providers.values():
        if provider.credential is not None:
            yield CredentialNeed(provider.id, None, provider.credential)
    for tenant in registry.tenants.values():
        for name, reference in tenant.provider_credentials.items():
            yield CredentialNeed(name, tenant.id, reference)
