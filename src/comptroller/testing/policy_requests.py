"""Random requests around what examples/policy speaks of."""

from __future__ import annotations

import random  # noqa: TID251  seeded, and the seed is in the name of the test
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from comptroller.core.policy.schema import neutral_facts
from comptroller.testing.policy_oracle import PROMPTS

_EPOCH: Final = datetime(2026, 1, 1, tzinfo=UTC)
_MOSTLY: Final[tuple[Any, ...]] = ([],) * 12
_CHOICES: Final[dict[str, tuple[Any, ...]]] = {
    "principal.kind": ("internal", "external", "automation", "agent"),
    "principal.tenant": ("acme", "acme", "umbrella", "wayne", "nobody", "é"),
    "principal.unit": ("acme/research", "acme/labs", "acme/retail"),
    "request.max_tokens": (-1, 0, 1024, 1025, 2049, 4097, 6001, 8192, 8193, 2**63 - 1),
    "request.tools": ([], ["search"], ["search", "shell"], ["calculator"] * 3),
    "request.builtin_tools": ([], [], ["web_search"], ["x", "code_execution_2"]),
    "request.prompt_bytes": (0, 2000000, 2000001),
    "request.choices": (1, 1, 4, 5),
    "request.system_digest": ("", *PROMPTS, "sha256:00"),
    "model.id": ("gpt-4o", "gpt-4o-mini", "claude-opus", "claude-haiku", "llama-70b"),
    "model.tier": ("premium", "small"),
    "model.region": ("us", "eu", "eu"),
    "model.self_hosted": (True, False),
    "model.envs": (["prod"], ["prod", "sandbox", "research", "x"], [], ["prod"]),
    "data.classification": ("internal", "public", "restricted"),
    "ctx.env": ("prod", "prod", "prod", "sandbox", "research", "x"),
    "ctx.exceptions": ([], [], ["EXC-premium-day"], ["EXC-other"]),
    "agent.operator": ("", "ana", "ana"),
    "agent.sponsor": ("", "bo", "bo"),
    "prompt.bytes": (0, 400000, 400001),
    "prompt.system_digest": (None, *(one[7:] for one in PROMPTS), "0" * 64),
    "prompt.tools": (*_MOSTLY, ["search"], ["shell"], ["x", "run_"], ["runs", "a"]),
    "prompt.builtin_tools": (*_MOSTLY, ["web_search"], ["x", "mcp"], ["computer_2"]),
    "prompt.other_models": (*_MOSTLY, ["claude-haiku"], ["llama-70b", "gpt-5-pro"]),
    "prompt.elsewhere": (*_MOSTLY, ["file"], ["container"], ["file", "prompt"]),
    "prompt.matches": (
        *_MOSTLY,
        [["personal.phone", "user/last"]],
        [["secret.jwt", "user/last"], ["secret.jwt", "system/last"]],
        [["personal.email", "tool/first"], ["secret.npm-access-token", "other/last"]],
        [["personal.email", "system/middle"], ["personal.iban", "user/first"]],
    ),
}


class RandomRequests:
    """Facts of requests, the same for the same seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)  # noqa: S311  not for secrets

    def next(self) -> dict[str, dict[str, Any]]:
        """Complete and well-typed facts."""
        facts = neutral_facts()
        for path, choices in _CHOICES.items():
            section, _, key = path.partition(".")
            facts[section][key] = self.random.choice(choices)
        minutes = self.random.randrange(366 * 24 * 60)
        facts["ctx"]["time"] = (_EPOCH + timedelta(minutes=minutes)).isoformat()
        return facts
