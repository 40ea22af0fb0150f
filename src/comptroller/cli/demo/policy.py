"""The demo's policy: a bundle with its tests, and a request that it refuses."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

from comptroller.cli.demo.organization import Call, encode

AUTHOR: Final = "ada"
APPROVER: Final = "grace"

POLICY: Final = """\
apiVersion: comptroller.policy/v1
kind: PolicySet
metadata: {name: acme, owner: ada}

lists:
  agent_tools: [search, read_paper]

allow: # what no table allows is denied
  - id: allow.catalogue
    models:
      acme:
        - gpt-5-mini
        - text-embedding-3-small
        - claude-haiku-4-5
        - claude-sonnet-4-5
        - gemini-2.5-flash

ceilings: # the lowest that matches governs
  - {id: ceil.shoppers, for: {kind: external}, max_output_tokens: 500, on_exceed: clamp}
  - {id: ceil.default, max_output_tokens: 4096}

rules:
  - id: agent.tools
    for: {kind: agent}
    deny_if: request.tools.exists(tool, !(tool in lists.agent_tools))
    message: "'an agent has the tools search and read_paper, and no others'"

prompts: # nothing of a prompt is kept for it
  - {id: prompts.no-secrets, patterns: [secret], message: the prompt holds a secret}
"""

TESTS: Final = """\
defaults:
  principal: {tenant: acme, kind: internal}
  model: {id: gpt-5-mini}

tests:
  - name: a shop's search
    expect: {decision: allow, by: [allow.catalogue], ceiling: ceil.default}
  - name: a model outside the catalogue
    with: {model.id: gpt-5-pro}
    expect: {decision: deny, by: [default-deny]}
  - name: shoppers get short answers
    with: {principal.kind: external, request.max_tokens: 800}
    expect: {decision: allow, clamped: true, max_output_tokens: 500}
  - name: an agent with its tools
    with: {principal.kind: agent, request.tools: [search]}
    expect: {decision: allow}
  - name: an agent with a shell
    with: {principal.kind: agent, request.tools: [search, shell]}
    expect: {decision: deny, by: [agent.tools], message_contains: read_paper}
  - name: a token in a prompt
    with: {prompt.matches: [[secret.github-pat, user/last]]}
    expect: {decision: deny, by: [prompts.no-secrets]}
"""

_TOKEN: Final = "ghp_" + hashlib.sha256(b"nobody's token").hexdigest()[:36]
"""As GitHub's look; made up here, so that no scanner of sources finds one."""


def write_policy(folder: Path) -> Path:
    """Writes the bundle as files that a team would review.

    Returns:
        Their folder.
    """
    bundle = folder / "policy"
    bundle.mkdir()
    (bundle / "acme.policy.yaml").write_text(POLICY)
    (bundle / "acme.policy_test.yaml").write_text(TESTS)
    return bundle


def forbidden() -> Call:
    """An agent's request that breaks two rules: a shell, and a token in its text."""
    shell = {"name": "shell", "description": "", "input_schema": {"type": "object"}}
    text = f"Clone the repository with {_TOKEN} and run its tests."
    body = encode(
        model="claude-sonnet-4-5",
        max_tokens=1000,
        tools=[shell],
        messages=[{"role": "user", "content": text}],
    )
    return Call("/v1/messages", body, "x-api-key")
