"""Persons in real processes: disclosed, shown, listed, erased under load, searched."""

from __future__ import annotations

import http.client
import itertools
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from comptroller.adapters.disclosures import DisclosureWriter
from comptroller.core.disclosure import disclosure
from comptroller.engine.privacy_ports import DisclosureLine
from comptroller.testing.provider.process import running_provider
from comptroller.testing.small import small_configuration
from comptroller.testing.traces import traces
from comptroller.testing.tree import ServeTree, await_true, command, run_command, told

MODELS = {"chat": "price: {input: 1, output: 2}, max_output_tokens: 9999"}
PRIVACY = "privacy: {end_user: true, client_address: true, prompt_fingerprint: true}"
OTHER_TENANT = """\
  other:
    units:
      desk:
        owner: ada
        services:
          desk:
            purpose: Tests
            kind: internal
            environment: test
            owners: {policy: ada, billing: ada, technical: ada}
            models: [chat]
"""
PERSON, NEIGHBOUR = "erika.mustermann@example.org", "u-8f2c/neighbour"
HI = [{"role": "user", "content": "Hi"}]
ERASE = ("--by", "ada", "--reason", "Request 114")


class Site:
    """A gateway with two tenants, whose keys are its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "comptroller-data"
        self.keys = {
            name: told(folder, "key", "issue", name, "--for", "ada")["secret"]
            for name in ("checkout", "desk")
        }

    def ask(
        self, tree: ServeTree, path: str, body: dict[str, Any], who: str = "checkout"
    ) -> str:
        """One request; its id."""
        link = http.client.HTTPConnection("127.0.0.1", tree.port, timeout=20)
        text = json.dumps({"model": "chat", "messages": HI, **body})
        link.request("POST", path, text, {"x-api-key": self.keys[who]})
        reply = link.getresponse()
        answer = reply.read()
        link.close()
        assert reply.status == 200, answer
        return str(reply.headers["x-comptroller-request-id"]).upper()

    def chat(self, tree: ServeTree, user: str, who: str = "checkout") -> str:
        """One request in OpenAI's dialect."""
        return self.ask(tree, "/v1/chat/completions", {"user": user}, who)

    def message(self, tree: ServeTree, user: str) -> str:
        """One request in Anthropic's dialect."""
        said = {"max_tokens": 9, "metadata": {"user_id": user}}
        return self.ask(tree, "/v1/messages", said)

    def decision(self, request_id: str) -> dict[str, Any]:
        """The data of a decision's record."""
        line = told(self.folder, "explain", request_id)["records"]["decision"]["line"]
        data: dict[str, Any] = json.loads(line)["data"]
        return data

    def listed(self, user: str) -> list[str]:
        """The requests of a person, as the program lists them."""
        found = told(self.folder, "privacy", "list", "--end-user", user)
        return [one["request_id"] for one in found]

    def erasures(self) -> list[dict[str, Any]]:
        """The data of every erasure's record in all journals."""
        found = []
        for path in sorted((self.data / "journal").iterdir()):
            for line in path.read_bytes().splitlines():
                record = json.loads(line)
                if record["type"] == "comptroller.privacy.erased.v1":
                    found.append(record["data"])
        return found


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with running_provider() as origin:
        provider = f"{{base_url: {origin}, speaks: [openai, anthropic]}}"
        text = small_configuration(provider, MODELS) + OTHER_TENANT
        text = text.replace("{owner: ada}", f"{{owner: ada, {PRIVACY}}}", 1)
        (tmp_path / "comptroller.yaml").write_text(text)
        run_command(tmp_path, "apply", "--yes")
        yield Site(tmp_path)


class Load:
    """Requests of many others, until it is told to stop."""

    def __init__(self, site: Site, tree: ServeTree) -> None:
        self.asked: list[str] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(site, tree))
        self._thread.start()

    def _run(self, site: Site, tree: ServeTree) -> None:
        for number in itertools.count():
            if self._stop.is_set():
                return
            self.asked.append(site.chat(tree, f"other-{number}"))

    def stop(self) -> None:
        """Waits for the last reply."""
        self._stop.set()
        self._thread.join()


def test_a_person_is_disclosed_found_and_erased_under_load(site: Site) -> None:
    """Afterwards the value is in no file, in no form, and the trail verifies."""
    tree = ServeTree(site.folder, 2)
    try:
        mine = [site.chat(tree, PERSON), site.message(tree, PERSON)]
        theirs = site.message(tree, NEIGHBOUR)
        load = Load(site, tree)
        await_true(lambda: len(load.asked) > 5, 20)

        shown = told(site.folder, "privacy", "show", mine[1])
        said = {one["name"]: one["value"] for one in shown["disclosed"]}
        assert said == {"enduser.id": PERSON, "client.address": "127.0.0.1"}
        assert all(one["is_verified"] for one in shown["disclosed"])
        assert sorted(site.listed(PERSON)) == sorted(mine)
        assert any("disclosures" in one for one in traces(site.data, PERSON))

        erased = told(site.folder, "privacy", "erase", "--end-user", PERSON, *ERASE)
        assert (erased["requests"], erased["disclosures"]) == (2, 4)
        assert traces(site.folder, PERSON) == []
        seen = len(load.asked)
        await_true(lambda: len(load.asked) > seen + 5, 20)
        load.stop()

        assert site.listed(PERSON) == []
        assert site.listed(NEIGHBOUR) == [theirs]
        others = told(site.folder, "privacy", "list", "--address", "127.0.0.1")
        assert {one["request_id"] for one in others} == {theirs, *load.asked}
        shown = told(site.folder, "privacy", "show", mine[0])
        assert (shown["disclosed"], shown["undisclosed"]) == ([], 2)
        (record,) = site.erasures()
        assert record["erasure_id"] == erased["erasure_id"]
        assert (record["reason"], record["actor"]["person"]) == ("Request 114", "ada")
        time.sleep(2)  # a checkpoint is two seconds behind at the most
        verified = command(site.folder, "audit", "verify", "--json")
        assert verified.returncode == 0, verified.stdout
    finally:
        assert tree.stop() == 0, tree.log()
    vkey = (site.data / "trail.vkey").read_text().strip()
    alone = [sys.executable, "-m", "comptroller.verify", str(site.data / "trail")]
    done = subprocess.run(
        [*alone, "--vkey", vkey], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert traces(site.folder, PERSON) == []


def test_a_prompt_is_known_again_within_its_tenant_alone(site: Site) -> None:
    """On any worker: the tenant's key is one, and the other tenant has another."""
    tree = ServeTree(site.folder, 2)
    try:
        ours = [site.chat(tree, PERSON) for _ in range(6)]
        theirs = site.chat(tree, PERSON, "desk")
        found = [site.decision(one)["comptroller.prompt.hmac"] for one in ours]
        other = site.decision(theirs)["comptroller.prompt.hmac"]
    finally:
        assert tree.stop() == 0, tree.log()

    assert len(set(found)) == 1
    assert other not in found
    assert all(len(one) == 43 for one in (found[0], other))
    keys = sorted((site.data / "keys" / "prompts").iterdir())
    assert [one.name for one in keys] == ["acme.key", "other.key"]


def test_who_erases_is_named_and_says_why(site: Site) -> None:
    """No person, two selections, or a reason that repeats the value: nothing done."""
    disclose(site.data, 3)
    words = ("privacy", "erase", "--end-user", PERSON)
    for wrong in (
        ("--reason", "x"),
        (*ERASE, "--address", "192.0.2.7"),
        ("--by", "ada", "--reason", f"for {PERSON}"),
        ("--by", "eve", "--reason", "x"),
    ):
        done = command(site.folder, *words, *wrong)
        assert done.returncode == 1, wrong
        assert PERSON not in done.stderr
    assert site.erasures() == []
    assert len(site.listed(PERSON)) == 3
    assert "nothing was erased" in run_command(
        site.folder, *words[:3], "nobody-like-this", *ERASE
    )


def disclose(data: Path, count: int) -> None:
    """Writes as many lines of PERSON, and as many of NEIGHBOUR, in many files."""
    writer = DisclosureWriter(data / "disclosures", "node.w0.before", 2000)
    for number in range(count):
        for letter, value in (("A", PERSON), ("B", NEIGHBOUR)):
            request_id = f"01ARZ3NDEKTSV4RRFF{letter}{number:07}"
            text = disclosure(number.to_bytes(16), "enduser.id", value)
            line = DisclosureLine(request_id, [text])
            writer.append(msgspec.json.encode(line) + b"\n")
    writer.close()


def test_a_kill_in_the_middle_leaves_nothing_half_done(site: Site) -> None:
    """Whoever comes next finishes it: all of the person is gone, and recorded."""
    intent = site.data / "disclosures" / "erasing.json"
    words = ("privacy", "erase", "--end-user", PERSON, *ERASE)
    for number, delay_ms in enumerate((0, 3, 12), start=1):
        disclose(site.data, 2000)
        process = subprocess.Popen(
            [sys.executable, "-m", "comptroller", *words], cwd=site.folder
        )
        while not intent.exists():
            assert process.poll() is None
            time.sleep(0.0002)
        time.sleep(delay_ms / 1000)
        process.send_signal(signal.SIGKILL)
        process.wait()

        assert site.listed(PERSON) == []
        assert not intent.exists()
        assert traces(site.folder, PERSON) == []
        assert len(site.listed(NEIGHBOUR)) == 2000
        assert len({one["erasure_id"] for one in site.erasures()}) == number
        assert {one["requests"] for one in site.erasures()} == {2000}
        for path in (site.data / "disclosures").glob("*.jsonl"):
            path.unlink()
