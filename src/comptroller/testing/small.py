"""A small configuration for tests: one person, one provider, one service."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_SMALL = """\
version: 1
organization: acme
timezone: Europe/Amsterdam
people:
  ada: {{name: Ada Lovelace, email: ada@acme.example}}
gateway: {{owner: ada}}
providers:
  local: {provider}
models:
{models}
tenants:
  acme:
    units:
      retail:
        owner: ada
        services:
          checkout:
            purpose: Tests
            kind: internal
            environment: test
            owners: {{policy: ada, billing: ada, technical: ada}}
            models: [{names}]
"""


SMALL_POLICY: Final = """\
apiVersion: comptroller.policy/v1
kind: PolicySet
metadata: {name: acme, owner: ada}
allow:
  - {id: allow.acme, models: {acme: [chat]}}
prompts:
  - {id: no.shell, forbidden_tools: [shell]}
"""
"""A policy for it that allows its model `chat` and restricts prompts."""


def small_configuration(provider: str, models: Mapping[str, str]) -> str:
    """The text of a `comptroller.yaml`.

    Args:
        provider: what is said of the one provider, as a YAML mapping in braces.
        models: name to what is said of a model besides its provider, such as
            `price: {input: 1, output: 2}`.
    """
    lines = [f"  {name}: {{provider: local, {said}}}" for name, said in models.items()]
    return _SMALL.format(
        provider=provider, models="\n".join(lines), names=", ".join(models)
    )
