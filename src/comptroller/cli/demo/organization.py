"""The demo's organization: its configuration file and how its services call."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from comptroller.testing.provider.tokens import Draw

CONFIGURATION: Final = """\
version: 1
organization: acme
timezone: Europe/Amsterdam

people:
  ada:       {name: Ada Lovelace,      email: ada@acme.example}
  alan:      {name: Alan Turing,       email: alan@acme.example}
  grace:     {name: Grace Hopper,      email: grace@acme.example}
  katherine: {name: Katherine Johnson, email: katherine@acme.example}

gateway:
  owner: alan

providers: # all three are the simulated provider of this demo
  openai:    {base_url: ORIGIN, speaks: [openai],    credential: "file:KEY_FILE"}
  anthropic: {base_url: ORIGIN, speaks: [anthropic], credential: "file:KEY_FILE"}
  google:    {base_url: ORIGIN, speaks: [gemini],    credential: "file:KEY_FILE"}

models: # their real list prices come from the price catalogue
  gpt-5-mini:             {provider: openai}
  text-embedding-3-small: {provider: openai}
  claude-haiku-4-5:       {provider: anthropic}
  claude-sonnet-4-5:      {provider: anthropic}
  gemini-2.5-flash:       {provider: google}

tenants:
  acme:
    units:
      retail:
        owner: grace
        budget: 5000 USD/month
        services:
          checkout-assistant:
            purpose: Answers shoppers' questions at checkout
            kind: external
            environment: production
            owners: {policy: ada, billing: grace, technical: alan}
            models: [gpt-5-mini]
            budget: {limit: 1200 USD/month, alert_at: [50%, 80%, 95%]}
          product-search:
            purpose: Finds products by meaning
            kind: internal
            environment: production
            owners: {policy: ada, billing: grace, technical: katherine}
            models: [text-embedding-3-small, gpt-5-mini]
      operations:
        owner: alan
        budget: 3000 USD/month
        services:
          fraud-watch:
            purpose: Reads orders that look wrong
            kind: internal
            environment: production
            owners: {policy: ada, billing: alan, technical: katherine}
            models: [gemini-2.5-flash]
          nightly-catalogue:
            purpose: Rewrites product descriptions every night
            kind: automation
            environment: production
            owners: {policy: grace, billing: alan, technical: alan}
            models: [claude-haiku-4-5]
            budget: {limit: SMALL_BUDGET USD, alert_at: [80%]}
      research:
        owner: katherine
        budget: 800 USD/month
        services:
          literature-agent:
            purpose: Reads and summarizes papers by itself
            kind: agent
            environment: production
            owners: {policy: ada, billing: katherine, technical: alan}
            operator: katherine
            sponsor: ada
            models: [claude-sonnet-4-5]
"""


class Length(NamedTuple):
    """How long prompts are: a lognormal distribution of tokens."""

    log_mean: float
    log_sigma: float


# Two public traces of real traffic, in four numbers: chats are short and alike,
# code and documents are long and wide.
CHAT: Final = Length(6.6, 1.0)
DOCUMENT: Final = Length(7.0, 1.3)
PROMPT_TOKENS_MAX: Final = 7000


class Call(NamedTuple):
    """One request that a service sends."""

    path: str
    body: bytes
    header: str
    """The header that carries the credential in this dialect."""


class Habit(NamedTuple):
    """How a service calls: how often, in what bursts, and what."""

    service: str
    person: str
    """For whom its credential is issued."""
    per_second: float
    burst: float
    """How much more than its mean it calls while a burst lasts; 1: evenly."""
    compose: Callable[[Draw, str], Call]


def prompt(draw: Draw, name: str, length: Length) -> str:
    """A prompt of a drawn length; its text says nothing."""
    tokens = draw.lognormal(f"{name} prompt", *length)
    count = max(8, min(PROMPT_TOKENS_MAX, round(tokens)))
    return f"{name} " + "how " * count


def encode(**fields: Any) -> bytes:  # noqa: ANN401  JSON
    """A request body."""
    return msgspec.json.encode(fields)


def checkout(draw: Draw, name: str) -> Call:
    """Streams short chats."""
    messages = [{"role": "user", "content": prompt(draw, name, CHAT)}]
    body = encode(
        model="gpt-5-mini", stream=True, max_completion_tokens=800, messages=messages
    )
    return Call("/v1/chat/completions", body, "authorization")


def search(draw: Draw, name: str) -> Call:
    """Embeds, and now and then asks the Responses API."""
    if draw.share(f"{name} kind") < 0.8:
        text = prompt(draw, name, Length(3.5, 0.8))
        body = encode(model="text-embedding-3-small", input=text, dimensions=256)
        return Call("/v1/embeddings", body, "authorization")
    body = encode(model="gpt-5-mini", input=prompt(draw, name, CHAT))
    return Call("/v1/responses", body, "authorization")


def fraud(draw: Draw, name: str) -> Call:
    """Gemini; sometimes somebody tries a model that the service may not use."""
    model = "gemini-2.5-flash"
    if draw.share(f"{name} model") < 0.06:
        model = "gemini-2.5-pro"
    parts = [{"text": prompt(draw, name, DOCUMENT)}]
    body = encode(contents=[{"role": "user", "parts": parts}])
    path = f"/v1beta/models/{model}:generateContent"
    return Call(path, body, "x-goog-api-key")


def catalogue(draw: Draw, name: str) -> Call:
    """Messages in batches."""
    messages = [{"role": "user", "content": prompt(draw, name, CHAT)}]
    body = encode(model="claude-haiku-4-5", max_tokens=600, messages=messages)
    return Call("/v1/messages", body, "x-api-key")


def agent(draw: Draw, name: str) -> Call:
    """Long streams on one cached instruction, as an agent works."""
    text = "Read the paper, note its claims, then check each of them. " * 100
    marked = {"type": "text", "text": text, "cache_control": {"type": "ephemeral"}}
    messages = [{"role": "user", "content": prompt(draw, name, DOCUMENT)}]
    body = encode(
        model="claude-sonnet-4-5",
        max_tokens=2000,
        stream=True,
        system=[marked],
        messages=messages,
    )
    return Call("/v1/messages", body, "x-api-key")


HABITS: Final = (
    Habit("checkout-assistant", "alan", 8.0, 2.0, checkout),
    Habit("product-search", "katherine", 6.0, 1.0, search),
    Habit("fraud-watch", "katherine", 3.0, 1.5, fraud),
    Habit("nightly-catalogue", "alan", 3.0, 4.0, catalogue),
    Habit("literature-agent", "katherine", 2.0, 3.0, agent),
)
REVOKED: Final = "literature-agent"
"""The service whose credential the demo revokes."""
EXHAUSTED: Final = "nightly-catalogue"
"""The service whose budget is too small for what it asks."""
BUDGET_CENTS_A_SECOND: Final = 0.3
"""Of the demo's time: about half of what that service would spend."""
BUDGET_CENTS_MIN: Final = 2

BURST_S: Final = 6.0
BURST_SHARE: Final = 0.25
QUIET_MIN: Final = 0.1
CANDIDATES_MAX: Final = 1000


def gap_s(habit: Habit, draw: Draw, number: int, elapsed_s: float) -> float:
    """Until a service's next call: a Poisson process whose rate comes in bursts.

    By thinning: candidates come at the burst's rate, and outside a burst most of
    them are passed over. So a long gap cannot jump over a burst.
    """
    quiet = (1.0 - BURST_SHARE * habit.burst) / (1.0 - BURST_SHARE)
    gap = 0.0
    for candidate in range(CANDIDATES_MAX):
        name = f"{habit.service} {number} {candidate}"
        gap -= math.log(draw.share(f"{name} gap")) / (habit.per_second * habit.burst)
        in_burst = ((elapsed_s + gap) / BURST_S) % 1.0 < BURST_SHARE
        factor = habit.burst if in_burst else max(quiet, QUIET_MIN)
        if draw.share(f"{name} taken") < factor / habit.burst:
            break
    return gap


def configuration(origin: str, key_file: str, seconds: float) -> str:
    """The configuration file.

    Args:
        origin: of the provider.
        key_file: where its key is.
        seconds: how long the traffic lasts; the small budget ends before.
    """
    cents = max(BUDGET_CENTS_MIN, round(seconds * BUDGET_CENTS_A_SECOND))
    text = CONFIGURATION.replace("ORIGIN", origin).replace("KEY_FILE", key_file)
    return text.replace("SMALL_BUDGET", f"{cents // 100}.{cents % 100:02d}")


def headers(call: Call, secret: str) -> Mapping[str, str]:
    """The headers of a call, the credential as its dialect's clients send it."""
    value = f"Bearer {secret}" if call.header == "authorization" else secret
    return {call.header: value, "content-type": "application/json"}
