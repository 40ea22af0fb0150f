"""The active policy on real workers: what callers see, and what is recorded."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from comptroller.adapters.journal.reader import DirectoryJournalReader
from comptroller.bootstrap.policies import read_bundle
from comptroller.bootstrap.policy_language import policy_of
from comptroller.core.policy.decide import decide
from comptroller.core.policy.plain import plain_set
from comptroller.engine import records
from comptroller.engine.policy_facts import restored
from comptroller.testing.limited import (
    LimitedSite,
    chat,
    limited_site,
    one_unit,
    service,
)
from comptroller.testing.tree import run_command, told

WORKERS = 4
CLIENTS = 16
TURNS = 8
POLICY = """\
apiVersion: comptroller.policy/v1
kind: PolicySet
metadata: {name: acme, owner: ada}
allow:
  - {id: allow.all, models: {"*": ["*"]}}
ceilings:
  - {id: ceil.default, max_output_tokens: CEILING, on_exceed: clamp}
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


def bundle(folder: Path, name: str, ceiling: int) -> str:
    """Publishes a bundle of its own; gives its revision."""
    place = folder / name
    place.mkdir()
    (place / "acme.policy.yaml").write_text(POLICY.replace("CEILING", str(ceiling)))
    (place / "acme.policy_test.yaml").write_text(CASES)
    made = told(folder, "policy", "publish", name, "--author", "ada")
    return str(made["revision"])


def activate(folder: Path, revision: str) -> None:
    run_command(folder, "policy", "activate", revision, "--approver", "ada")


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
        activate(folder, bundle(folder, "in-force", 100))
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
    text = POLICY.replace("CEILING", "100").replace("choices > 1}", "choices == 1}")
    (folder / "acme.policy.yaml").write_text(text.replace("mode: warn, ", ""))

    verified = told(site.folder, "policy", "replay")
    found = told(site.folder, "policy", "replay", "dearer")

    assert verified["decided"] >= 4
    assert verified["differing"] == 0, verified["differences"]
    (line,) = found["services"]
    assert line["refused"]["requests"] >= 2
    assert line["refused"]["cost_nano_usd"] > 0


class Journals:
    """What the workers of a stopped site recorded, journal by journal."""

    def __init__(self, data: Path) -> None:
        self.loads: dict[str, list[str | None]] = defaultdict(list)
        self.decided: list[tuple[str | None, records.Decided]] = []
        """Each decision, with what its journal says was loaded last."""
        reader = DirectoryJournalReader(data / "journal")
        for source in reader.sources():
            offset = 0
            loaded: str | None = None
            while run := reader.read(source, offset, 1 << 20):
                for record in run:
                    loaded = self._take(source, record.line, loaded)
                offset = run[-1].offset + len(run[-1].line) + 1
        reader.close()

    def _take(self, source: str, line: bytes, loaded: str | None) -> str | None:
        envelope = msgspec.json.decode(line, type=records.Envelope)
        if envelope.type == "comptroller.policy.loaded.v1":
            revision: str | None = msgspec.json.decode(envelope.data)["revision"]
            self.loads[source].append(revision)
            return revision
        if envelope.type == records.DECIDED:
            decided = msgspec.json.decode(envelope.data, type=records.Decided)
            self.decided.append((loaded, decided))
        return loaded


async def one_client(
    site: LimitedSite, counts: Counter[str], stop: asyncio.Event
) -> None:
    """Asks again and again over one connection, which must never break."""
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    body = json.dumps(chat(3, n=2, max_tokens=500)).encode()
    request = (
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: gateway\r\n"
        b"authorization: Bearer %b\r\nx-simulate: first_ms=20, output=5\r\n"
        b"content-length: %d\r\n\r\n%b"
        % (site.keys["checkout"].encode(), len(body), body)
    )
    while not stop.is_set():
        async with asyncio.timeout(30):
            writer.write(request)
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = int(head.partition(b"content-length: ")[2].split(b"\r\n")[0])
            await reader.readexactly(length)
        counts[head[9:12].decode()] += 1
    writer.close()


async def under_load(site: LimitedSite, revisions: list[str]) -> Counter[str]:
    """Activates one after the other while clients ask."""
    counts: Counter[str] = Counter()
    stop = asyncio.Event()
    clients = [
        asyncio.create_task(one_client(site, counts, stop)) for _ in range(CLIENTS)
    ]
    for turn in range(TURNS):
        revision = revisions[turn % len(revisions)]
        await asyncio.to_thread(activate, site.folder, revision)
        await asyncio.sleep(0.3)
    await asyncio.sleep(0.5)
    stop.set()
    await asyncio.gather(*clients)
    return counts


def test_activation_under_load_drops_nothing(tmp_path: Path) -> None:
    """On 4 workers: no request is dropped, none decided by an unrecorded revision.

    Each decision's revision is the one that its worker recorded last, its facts
    decide the same again by that revision's content, and the ceiling that was put
    into the request is that revision's own.
    """
    with limited_site(tmp_path, one_unit({"checkout": service()}), WORKERS) as site:
        site.key("checkout")
        ceilings = {bundle(tmp_path, f"p{n}", n): n for n in (40, 50, 60)}
        counts = asyncio.run(under_load(site, list(ceilings)))

    assert set(counts) == {"200"}, counts
    policies = {
        found.revision: policy_of([plain_set(one) for one in found.policy.sets])
        for n in ceilings.values()
        for found in (read_bundle([tmp_path / f"p{n}"]),)
        if found.policy is not None
    }
    assert set(policies) == set(ceilings)
    journals = Journals(tmp_path / "comptroller-data")
    workers = [one for one in journals.loads if "/w" in one]
    assert len(workers) == WORKERS
    assert all(set(journals.loads[one]) == set(ceilings) for one in workers)
    assert len(journals.decided) == counts.total()
    by_revision: Counter[str] = Counter()
    for loaded, decided in journals.decided:
        policy = decided.bundles.get("policy", {"revision": None})["revision"]
        assert policy == loaded
        if policy is None:
            continue
        by_revision[policy] += 1
        facts = restored(msgspec.json.decode(decided.policy_input))
        again = decide(policies[policy], facts)
        assert (decided.policy_effect, tuple(decided.policy_by)) == again[:2]
        assert decided.policy_max_output_tokens == ceilings[policy]
        assert decided.hold_output_tokens == 2 * ceilings[policy]
    assert set(by_revision) == set(ceilings)
    replayed = told(tmp_path, "policy", "replay")
    assert (replayed["decided"], replayed["differing"]) == (by_revision.total(), 0)
    print(f"{counts.total()} answered over {TURNS} activations: {dict(by_revision)}")
