"""Who reads is in the trail before the answer is: by every command that shows records.

Asked with real processes, while a gateway serves and while none does.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from comptroller.adapters.tlog.reader import TreeReader, read_checkpoint
from comptroller.core.checkpoint import parse_checkpoint, parse_note
from comptroller.testing.chat import chat
from comptroller.testing.provider.process import running_provider
from comptroller.testing.small import small_configuration
from comptroller.testing.traces import traces
from comptroller.testing.tree import ServeTree, await_true, command, run_command, told

MODELS = {"chat": "price: {input: 1, output: 2}, max_output_tokens: 9999"}
PRIVACY = "privacy: {end_user: true, client_address: true, prompt_fingerprint: true}"
PERSON, STRANGER = "erika.mustermann@example.org", "nobody.ever@example.org"
ACCESS_READ = "comptroller.access.read.v1"


class Site:
    """A gateway, and what it was asked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "comptroller-data"
        self.key = told(folder, "key", "issue", "checkout", "--for", "ada")["secret"]

    def ask(self, tree: ServeTree) -> str:
        """One request of PERSON; its id."""
        return chat(tree.port, self.key, user=PERSON)

    def readings(self) -> list[dict[str, Any]]:
        """The data of every reading's record in all journals, oldest first."""
        found = []
        for path in (self.data / "journal").iterdir():
            for line in path.read_bytes().splitlines():
                if ACCESS_READ.encode() in line:
                    record = json.loads(line)
                    found.append((record["time"], record["data"]))
        return [data for _, data in sorted(found, key=lambda one: one[0])]

    def sequenced(self) -> list[dict[str, Any]]:
        """The same of the trail as it is published, in its order."""
        note = read_checkpoint(self.data / "trail")
        assert note is not None
        size = parse_checkpoint(parse_note(note).body).head.size
        entries = TreeReader(self.data / "trail", size).records()
        found = [json.loads(one) for one in entries if ACCESS_READ.encode() in one]
        return [one["data"] for one in found]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with running_provider() as origin:
        provider = f"{{base_url: {origin}, speaks: [openai]}}"
        text = small_configuration(provider, MODELS)
        text = text.replace("{owner: ada}", f"{{owner: ada, {PRIVACY}}}", 1)
        (tmp_path / "comptroller.yaml").write_text(text)
        run_command(tmp_path, "apply", "--yes")
        yield Site(tmp_path)


def asked(site: Site, request_id: str, out: Path) -> list[dict[str, Any]]:
    """Asks everything that is recorded, and some of what is not; what is expected."""
    begin = len(site.readings())
    for words in (
        ("explain", request_id.lower(), "--by", "ada"),
        ("requests", "--service", "checkout"),
        ("audit", "controls", "--request", request_id),
        ("audit", "prove", request_id, "--to", str(out / "proof")),
        ("audit", "export", "--to", str(out / "log"), "--until", "2999-01-01"),
        ("policy", "replay", "--service", "checkout"),
        ("privacy", "show", request_id, "--by", "ada"),
        ("privacy", "list", "--end-user", PERSON),
        ("privacy", "list", "--end-user", STRANGER),
    ):
        told(site.folder, *words)
    for line in ("spend", "budget list", "audit verify", "audit books", "key list"):
        run_command(site.folder, *line.split())
    return site.readings()[begin:]


def check(found: list[dict[str, Any]], request_id: str) -> None:
    """Each command once, in order, with what it was asked for, and by whom."""
    account = found[0]["actor"]["account"]
    assert "@" in account
    people = {"explain": "ada", "privacy show": "ada"}
    for one in found:
        person = people.get(one["what"])
        assert one["actor"] == {"person": person, "account": account}
    scopes = [(one["what"], one["scope"]) for one in found]
    assert scopes[0] == ("explain", {"request": request_id})
    listed = {"service": "checkout", "decision": None, "since": None, "listed": 1}
    assert scopes[1] == ("requests", listed)
    assert scopes[2][0] == "audit controls"
    assert scopes[2][1]["request_id"] == request_id
    assert scopes[3] == ("audit prove", {"request": request_id})
    assert scopes[4][0] == "audit export"
    assert scopes[4][1]["until"] == "2999-01-01T00:00:00.000000Z"
    assert scopes[4][1]["size"] > 0
    replayed = {"service": "checkout", "since": None, "decided": 0}
    assert scopes[5] == ("policy replay", replayed)
    assert scopes[6:] == [
        ("privacy show", {"request": request_id}),
        ("privacy list", {"selected_by": "end_user", "listed": 1}),
        ("privacy list", {"selected_by": "end_user", "listed": 0}),
    ]


def test_every_reading_of_records_is_recorded(site: Site) -> None:
    """By the control process and without one; in the trail; nobody's name in it."""
    tree = ServeTree(site.folder, 1)
    try:
        request_id = site.ask(tree)
        time.sleep(2)  # a checkpoint is two seconds behind at the most
        check(asked(site, request_id, site.folder / "serving"), request_id)
        await_true(lambda: site.sequenced() == site.readings(), 10)
    finally:
        assert tree.stop() == 0, tree.log()

    check(asked(site, request_id, site.folder / "alone"), request_id)
    run_command(site.folder, "audit", "sequence")
    verified = told(site.folder, "audit", "verify")
    assert verified["ok"], verified
    assert verified["compared"]["waiting"] == 0
    assert len(site.sequenced()) == 2 * 9
    listed = told(site.folder, "audit", "reads", "--by", "ada")
    assert [{k: one[k] for k in ("what", "scope", "actor")} for one in listed] == (
        site.sequenced()
    )
    assert told(site.folder, "audit", "reads", "--since", "2999-01-01") == []
    scope = {"since": "2999-01-01T00:00:00.000000Z", "listed": 0}
    assert site.readings()[-1]["scope"] == scope
    assert site.readings()[-2]["actor"]["person"] == "ada"
    assert "privacy list" in run_command(site.folder, "audit", "reads")
    assert told(site.folder, "audit", "rebuild", "--check")["compared"]["is_same"]
    everywhere = traces(site.folder, STRANGER)
    assert everywhere == []
    kept = {Path(one.split(":")[0]).parts[-2] for one in traces(site.data, PERSON)}
    assert kept == {"disclosures"}


def test_who_reads_is_declared(site: Site) -> None:
    """A name that nobody has is refused, and nothing is shown or recorded."""
    tree = ServeTree(site.folder, 1)
    try:
        request_id = site.ask(tree)
    finally:
        assert tree.stop() == 0, tree.log()
    for words in (
        ("explain",),
        ("privacy", "show"),
        ("audit", "controls", "--request"),
    ):
        done = command(site.folder, *words, request_id, "--by", "eve")
        assert (done.returncode, done.stdout) == (1, "")
        assert "eve" in done.stderr
    done = command(site.folder, "explain", "0" * 26)
    assert done.returncode == 1
    assert site.readings() == []


def test_what_cannot_be_recorded_is_not_shown(site: Site) -> None:
    """A disk that takes nothing: shown is what was recorded, by whichever process."""
    tree = ServeTree(site.folder, 1)
    try:
        request_id = site.ask(tree)
        run_command(site.folder, "explain", request_id)
        control = tree.children()["control"]
        _, hard = resource.prlimit(control, resource.RLIMIT_FSIZE)
        resource.prlimit(control, resource.RLIMIT_FSIZE, (0, hard))
        for _ in range(3):
            # The control process refuses and ends; then the command does it itself,
            # or the next control process does.
            before = len(site.readings())
            done = command(site.folder, "explain", request_id)
            is_shown = done.returncode == 0
            assert bool(done.stdout) == is_shown
            assert len(site.readings()) == before + is_shown
        run_command(site.folder, "explain", request_id)
    finally:
        assert tree.stop() == 0, tree.log()
    before = len(site.readings())
    words = ["prlimit", "--fsize=0", sys.executable, "-m", "comptroller"]
    full = subprocess.run(
        [*words, "explain", request_id],
        cwd=site.folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (full.returncode, full.stdout) == (1, "")
    assert "error: " in full.stderr
    assert len(site.readings()) == before
