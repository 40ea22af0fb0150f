"""The active policy on real workers: what callers see, and what is recorded."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from comptroller.testing.limited import (
    LimitedSite,
    chat,
    limited_site,
    one_unit,
    service,
)
from comptroller.testing.tree import run_command, told

POLICY = """\
apiVersion: comptroller.policy/v1
kind: PolicySet
metadata: {name: acme, owner: ada}
allow:
  - {id: allow.all, models: {"*": ["*"]}}
ceilings:
  - {id: ceil.default, max_output_tokens: 100, on_exceed: clamp}
rules:
  - id: choices.few
    deny_if: request.choices > 2
    message: "'at most 2 replies, not ' + string(request.choices)"
  - {id: choices.one, mode: warn, deny_if: request.choices > 1}
  - {id: streams, mode: audit, deny_if: request.stream}
prompts:
  - {id: prompts.no-secrets, patterns: [secret]}
"""
CASES = """\
tests:
  - {name: one reply is allowed, expect: {decision: allow, by: [allow.all]}}
"""


def put_in_force(folder: Path) -> None:
    """Publishes the bundle and activates it."""
    place = folder / "in-force"
    place.mkdir()
    (place / "acme.policy.yaml").write_text(POLICY)
    (place / "acme.policy_test.yaml").write_text(CASES)
    made = told(folder, "policy", "publish", place.name, "--author", "ada")
    words = ("policy", "activate", str(made["revision"]), "--approver", "ada")
    run_command(folder, *words)


class Reply(NamedTuple):
    """What a caller got."""

    status: int
    headers: dict[str, str]
    body: dict[str, Any]


def ask(site: LimitedSite, **fields: Any) -> Reply:  # noqa: ANN401  a body's
    request = urllib.request.Request(
        f"http://127.0.0.1:{site.port}/v1/chat/completions",
        json.dumps(chat(**fields)).encode(),
        {"authorization": f"Bearer {site.key('checkout')}"},
    )
    try:
        with urllib.request.urlopen(request, timeout=20) as found:  # noqa: S310
            headers = {name.lower(): value for name, value in found.headers.items()}
            return Reply(found.status, headers, json.load(found))
    except urllib.error.HTTPError as error:
        headers = {name.lower(): value for name, value in error.headers.items()}
        return Reply(error.code, headers, json.load(error))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LimitedSite]:
    folder = tmp_path_factory.mktemp("policy")
    with limited_site(folder, one_unit({"checkout": service()}), 2) as found:
        found.key("checkout")
        first = ask(found)
        assert first.status == 200, first.body
        put_in_force(folder)
        for _ in range(100):
            if ask(found, n=3).status == 400:
                break
        yield found


def test_a_denial_says_why_and_whom_to_ask(site: LimitedSite) -> None:
    """Status, code, words, rule and owner: all that a caller needs."""
    refused = ask(site, n=3)

    assert refused.status == 400
    assert refused.headers["x-comptroller-code"] == "policy_denied"
    assert refused.headers["x-should-retry"] == "false"
    message = refused.body["error"]["message"]
    assert "at most 2 replies, not 3" in message
    assert "choices.few" in message
    assert "Ada Lovelace <ada@acme.example>" in message


def test_a_warning_comes_with_the_reply(site: LimitedSite) -> None:
    """What is warned of is answered all the same."""
    warned = ask(site, n=2)

    assert warned.status == 200
    assert "choices.one" in warned.headers["x-comptroller-policy-warning"]
    assert "x-comptroller-policy-warning" not in ask(site).headers


def test_a_ceiling_of_the_policy_holds_at_the_provider(site: LimitedSite) -> None:
    """A request without a maximum generates no more than the policy allows."""
    answered = ask(site)

    assert answered.body["usage"]["completion_tokens"] <= 100


def test_a_secret_never_reaches_the_provider(site: LimitedSite) -> None:
    """A prompt that holds a key is refused; neither record nor message repeats it."""
    # In pieces, so that nobody takes this file for a leak.
    secret = "ghp_" + "0aZ9bY8cX7dW6eV5fU4gT3hS2iR1jQ0kP9lO"
    messages = [{"role": "user", "content": f"use {secret} for this"}]

    refused = ask(site, messages=messages)

    assert refused.status == 400
    assert "prompts.no-secrets" in refused.body["error"]["message"]
    assert secret not in json.dumps(refused.body)
    found = told(site.folder, "explain", refused.headers["x-comptroller-request-id"])
    assert secret not in json.dumps(found)
    outcomes = {one["id"]: one["outcome"] for one in found["controls"]}
    assert outcomes["prompt_restriction"] == "deny"


def test_what_was_decided_is_decided_again_from_the_records(site: LimitedSite) -> None:
    """G4 while the gateway serves: nothing differs, and what a change costs is told."""
    for fields in ({"n": 3}, {"n": 2}, {"max_tokens": 500}, {"stream": False}):
        ask(site, **fields)
    folder = site.folder / "dearer"
    folder.mkdir()
    text = POLICY.replace("choices > 1}", "choices == 1}")
    (folder / "acme.policy.yaml").write_text(text.replace("mode: warn, ", ""))

    verified = told(site.folder, "policy", "replay")
    found = told(site.folder, "policy", "replay", "dearer")

    assert verified["decided"] >= 4
    assert verified["differing"] == 0, verified["differences"]
    (line,) = found["services"]
    assert line["refused"]["requests"] >= 2
    assert line["refused"]["cost_nano_usd"] > 0
