"""What examples/policy says, once more in plain Python, to compare decisions with.

Nothing of the policy room is used: the same words, read by a person.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, tzinfo
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

_CATALOG: Final = {
    "acme": {"gpt-4o", "gpt-4o-mini", "claude-opus"},
    "umbrella": {"claude-opus", "claude-haiku", "llama-70b"},
    "wayne": {"claude-haiku", "llama-70b"},
}
_TOOLS: Final = {"search", "calculator", "read_ticket"}
PROMPTS: Final = (
    "sha256:2f0e1d5c7a9b4836251f0e9d8c7b6a5948372615f4e3d2c1b0a9f8e7d6c5b4a3",
    "sha256:9b74c9897bac770ffc029102a200c5de77e2b1f3a2c4d5e6f708192a3b4c5d6e",
)
BERLIN: Final = ZoneInfo("Europe/Berlin")


class Expected(NamedTuple):
    """What a decision has to be."""

    effect: str
    by: tuple[str, ...]
    would_deny: tuple[str, ...]
    warnings: tuple[str, ...]
    max_output_tokens: int
    is_clamped: bool


def expected(facts: Mapping[str, Any], zone: tzinfo = BERLIN) -> Expected:
    """Decides by hand what the example decides.

    Args:
        facts: complete and well-typed.
        zone: whose clock the rule about the night goes by.
    """
    request, principal = facts["request"], facts["principal"]
    allowed = _allowed(facts)
    denied = [] if allowed else ["default-deny"]
    ceiling, limit, is_clamp = _ceiling(principal["kind"])
    asked = request["max_tokens"]
    if asked > limit and not is_clamp:
        denied.append(ceiling)
    denied += _environment(facts) + _data(facts) + _agent(facts) + _request(facts)
    denied += _night(facts, zone)
    would_deny = ["ceil.smaller-next-quarter"] if asked > 6000 else []
    if principal["kind"] == "external" and request["system_digest"] not in PROMPTS:
        would_deny.append("prompt.approved-system-prompt")
    denied += _prompt(facts)
    warnings = ["request.many-choices"] if request["choices"] > 4 else []
    if _is_personal(facts["prompt"]):
        warnings.append("prompts.personal-data")
    if principal["kind"] == "automation" and not _is_approved(facts["prompt"]):
        would_deny.append("prompts.batch-system-prompt")
    return Expected(
        effect="deny" if denied else "allow",
        by=tuple(sorted(denied or allowed)),
        would_deny=tuple(sorted(would_deny)),
        warnings=tuple(sorted(warnings)),
        max_output_tokens=limit,
        is_clamped=asked > limit and is_clamp,
    )


def _allowed(facts: Mapping[str, Any]) -> list[str]:
    principal, model = facts["principal"], facts["model"]
    found = []
    if model["id"] in _CATALOG.get(principal["tenant"], {"gpt-4o-mini"}):
        found.append("allow.catalog")
    small = {"gpt-4o-mini", "claude-haiku"}
    if principal["kind"] == "automation" and model["id"] in small:
        found.append("allow.automation-small")
    if (
        principal["unit"] in {"acme/research", "acme/labs"}
        and facts["ctx"]["env"] in {"sandbox", "prod"}
        and model["id"] == "llama-70b"
        and (facts["data"]["classification"] != "restricted" or model["self_hosted"])
    ):
        found.append("allow.research-house-model")
    return found


def _ceiling(kind: str) -> tuple[str, int, bool]:
    return {
        "external": ("ceil.external", 1024, True),
        "automation": ("ceil.automation", 4096, False),
        "agent": ("ceil.agent", 2048, False),
    }.get(kind, ("ceil.default", 8192, False))


def _environment(facts: Mapping[str, Any]) -> list[str]:
    environment, model = facts["ctx"]["env"], facts["model"]
    approved = {"prod", "staging", "sandbox"}
    if model["id"] != "gpt-4o-mini":
        approved.add("research")
    found = []
    if model["id"] != "llama-70b" and environment not in approved:
        found.append("env.table")
    if environment not in model["envs"]:
        found.append("env.model-approved")
    return found


def _data(facts: Mapping[str, Any]) -> list[str]:
    model, classification = facts["model"], facts["data"]["classification"]
    found = []
    if classification == "restricted" and not model["self_hosted"]:
        found.append("data.restricted-stays-home")
    is_european = facts["principal"]["tenant"] in {"umbrella", "wayne"}
    if is_european and classification != "public" and model["region"] != "eu":
        found.append("data.eu-residency")
    return found


def _agent(facts: Mapping[str, Any]) -> list[str]:
    if facts["principal"]["kind"] != "agent":
        return []
    found = []
    if not facts["agent"]["operator"] or not facts["agent"]["sponsor"]:
        found.append("agent.accountable")
    if set(facts["request"]["tools"]) - _TOOLS:
        found.append("agent.tools")
    return found


def _request(facts: Mapping[str, Any]) -> list[str]:
    request = facts["request"]
    found = []
    running = ("code_execution", "computer")
    if any(tool.startswith(running) for tool in request["builtin_tools"]):
        found.append("tools.no-provider-code")
    is_house = (
        facts["principal"]["unit"] == "acme/research" and facts["model"]["self_hosted"]
    )
    if request["prompt_bytes"] > 2_000_000 and not is_house:
        found.append("prompt.size")
    return found


def _night(facts: Mapping[str, Any], zone: tzinfo) -> list[str]:
    is_batch = facts["principal"]["kind"] == "automation"
    hour = datetime.fromisoformat(facts["ctx"]["time"]).astimezone(zone).hour
    is_day = 6 <= hour < 20
    is_excused = "EXC-premium-day" in facts["ctx"]["exceptions"]
    if is_batch and facts["model"]["tier"] == "premium" and is_day and not is_excused:
        return ["time.batch-premium-at-night"]
    return []


def _prompt(facts: Mapping[str, Any]) -> list[str]:
    kind, prompt = facts["principal"]["kind"], facts["prompt"]
    elsewhere = set(prompt["elsewhere"])
    found = []
    is_secret = any(rule.startswith("secret.") for rule, _ in prompt["matches"])
    if kind in {"external", "agent"} and (is_secret or elsewhere):
        found.append("prompts.no-secrets")
    if kind == "agent" and (prompt["bytes"] > 400_000 or elsewhere - {"file"}):
        found.append("prompts.agent-size")
    if (
        any(one.startswith(("computer", "bash")) for one in prompt["builtin_tools"])
        or "mcp" in prompt["builtin_tools"]
        or any(one == "shell" or one[:4] == "run_" for one in prompt["tools"])
        or elsewhere - {"file", "container"}
    ):
        found.append("prompts.provider-tools")
    ours = {"gpt-4o", "gpt-4o-mini", "claude-opus", "claude-haiku", "llama-70b"}
    allowed = {"file", "container", "conversation", "previous_response_id"}
    if {facts["model"]["id"], *prompt["other_models"]} - ours or elsewhere - allowed:
        found.append("prompts.models-inside")
    return found


def _is_personal(prompt: Mapping[str, Any]) -> bool:
    asked = {"personal.iban", "personal.payment-card", "personal.email"}
    is_found = any(rule in asked for rule, _ in prompt["matches"])
    return is_found or bool(set(prompt["elsewhere"]) - {"file"})


def _is_approved(prompt: Mapping[str, Any]) -> bool:
    """Whether a batch job's system text is an approved one, and all there is."""
    return f"sha256:{prompt['system_digest']}" in PROMPTS and not prompt["elsewhere"]
