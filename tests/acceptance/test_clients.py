"""The real clients, unchanged, through the real gateway process."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
from tests.acceptance.exchanges import ROOT, SHARED
from tests.acceptance.gateway_process import Gateway, cost_of, document, free_port

CLIENTS: Final = ROOT / ".clients"
DRIVERS: Final = SHARED / "clients"
MODELS: Final = {
    "gpt-4o-mini": {"input": 11, "output": 5},
    "text-embedding-3-small": {"input": 3},
    "claude-sonnet-4-5": {"input": 11, "output": 5},
    "gemini-2.5-flash": {"input": 11, "output": 5},
}
"""What the mock provider says that each of its replies consumed."""
INSTALL_S_MAX: Final = 420.0
RUN_S_MAX: Final = 540.0
pytestmark = pytest.mark.timeout(INSTALL_S_MAX + RUN_S_MAX)
"""Whichever test comes first waits for the fixtures."""

_WANTED: Final = {"node": "nodejs", "npm": "npm"}
_FREE_OF_CHARGE: Final = frozenset({"/v1/messages/count_tokens"})


@dataclass(frozen=True, slots=True)
class Driven:
    """One run of all clients."""

    status: int
    output: str
    booked: list[dict[str, Any]]
    """What the gateway's books hold of it."""
    forwarded: list[dict[str, Any]]
    """What the provider was asked."""


@pytest.fixture(scope="module")
def clients() -> Path:
    """The clients, installed once a clone, and anew when their list changes."""
    installer = DRIVERS / "install.sh"
    stamp = CLIENTS / "installed"
    wanted = installer.read_text()
    if stamp.exists() and stamp.read_text() == wanted:
        return CLIENTS
    missing = [package for tool, package in _WANTED.items() if not shutil.which(tool)]
    if subprocess.run(["python3", "-c", "import ensurepip"], check=False).returncode:
        missing.append("python3-venv")
    if missing:
        _apt_get(missing)
    subprocess.run(
        ["bash", str(installer), str(CLIENTS)], check=True, timeout=INSTALL_S_MAX
    )
    stamp.write_text(wanted)
    return CLIENTS


@pytest.fixture(scope="module")
def run(clients: Path, tmp_path_factory: pytest.TempPathFactory) -> Driven:
    """Every client, once."""
    folder = tmp_path_factory.mktemp("clients")
    log = folder / "provider.jsonl"
    log.touch()
    with _mock_provider(log) as origin:
        gateway = Gateway(folder, document(origin, {"assistant": sorted(MODELS)}))
        with gateway.serving():
            secret = gateway.issue_key("assistant")
            done = subprocess.run(
                [
                    *(sys.executable, str(DRIVERS / "run_clients.py")),
                    *("--base", gateway.base, "--key", secret),
                    *("--clients", str(clients)),
                ],
                capture_output=True,
                text=True,
                timeout=RUN_S_MAX,
                check=False,
            )
            booked = gateway.requests()
    print(done.stdout)
    asked = [json.loads(line) for line in log.read_text().splitlines()]
    return Driven(done.returncode, done.stdout + done.stderr, booked, asked)


def test_every_real_client_works_unchanged(run: Driven) -> None:
    """SDKs, frameworks, Claude Code and Codex all get their answer."""
    lines = run.output.splitlines()
    passed = {line.removeprefix("PASS ") for line in lines if line.startswith("PASS ")}

    assert (run.status, "FAIL" in run.output) == (0, False), run.output
    assert {"claude-code", "codex"} < passed
    assert len(passed) >= 19


def test_every_request_of_a_client_is_attributed(run: Driven) -> None:
    """Each one forwarded is in the books, for its service and its people."""
    forwarded = [one for one in run.forwarded if one["method"] == "POST"]

    assert [one["request_id"] for one in run.booked if one["decision"] != "allow"] == []
    assert len(run.booked) == len(forwarded) >= len(MODELS)
    for one in run.booked:
        assert one["state"] == "settled"
        assert (one["tenant"], one["unit"]) == ("acme", "research")
        assert (one["service"], one["person"]) == ("assistant", "ada")
        owners = [one[f"owner_{role}"] for role in ("policy", "billing", "technical")]
        assert owners == ["ada", "grace", "alan"]


def test_every_request_of_a_client_is_metered(run: Driven) -> None:
    """The usage is the provider's own, and costs what the price says."""
    metered = [one for one in run.booked if one["route"] not in _FREE_OF_CHARGE]

    assert {one["model"] for one in metered} == MODELS.keys()
    for one in metered:
        assert (one["usage"], one["usage_source"]) == (MODELS[one["model"]], "provider")
        assert one["cost_nano_usd"] == cost_of(one["usage"]) > 0
    free = [one for one in run.booked if one["route"] in _FREE_OF_CHARGE]
    assert [(one["usage"], one["cost_nano_usd"]) for one in free] == [({}, 0)] * len(
        free
    )


@contextlib.contextmanager
def _mock_provider(log: Path) -> Iterator[str]:
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, str(DRIVERS / "mock_provider.py"), str(port), str(log)]
    )
    origin = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 20
        while True:
            with contextlib.suppress(urllib.error.URLError):
                urllib.request.urlopen(f"{origin}/v1/models").close()  # noqa: S310  loopback
                break
            assert time.monotonic() < deadline, "the mock provider does not answer"
            time.sleep(0.05)
        yield origin
    finally:
        process.terminate()
        process.wait(20)


def _apt_get(packages: list[str]) -> None:
    """Installs what the clients need to be installed."""
    prefix = [] if os.geteuid() == 0 else ["sudo", "-n"]
    quiet = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq"]
    subprocess.run([*prefix, *quiet, "update"], check=True, timeout=INSTALL_S_MAX)
    subprocess.run(
        [*prefix, *quiet, "install", "-y", "--no-install-recommends", *packages],
        check=True,
        timeout=INSTALL_S_MAX,
    )
