"""`comptroller key …` as people run it, with and without a control process."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from comptroller.bootstrap import Place, open_administrator
from comptroller.core.credential import hash_secret
from comptroller.core.errors import ConflictError, ControlUnavailableError
from comptroller.engine.snapshot import Snapshot, decode
from comptroller.testing import tree
from comptroller.testing.administration import small_registry

SEED = 20_261_121


def command(data: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return tree.command(data.parent, *words, "--data", str(data))


def told(data: Path, *words: str) -> Any:  # noqa: ANN401  JSON
    return tree.told(data.parent, *words, "--data", str(data))


def snapshot(data: Path) -> Snapshot:
    return decode(Place(data).snapshot.read_bytes())


@pytest.fixture
def data(tmp_path: Path) -> Path:
    with open_administrator(tmp_path / "data") as administrator:
        administrator.apply(small_registry(), "sha256:1")
    return tmp_path / "data"


@pytest.fixture(params=["with a control process", "without one"])
def either(request: pytest.FixtureRequest, data: Path) -> Iterator[Path]:
    if request.param == "without one":
        yield data
        return
    with tree.control_process(data):
        yield data


def test_a_credential_is_issued_rotated_listed_and_revoked(either: Path) -> None:
    """Every command works the same whether a control process runs or not."""
    issued = told(
        either, "key", "issue", "checkout", "--for", "ada", "--expires", "90d"
    )
    key = issued["credential_id"]
    assert list(issued)[:5] == [
        "credential_id",
        "secret",
        "service",
        "person",
        "expires",
    ]
    assert (issued["service"], issued["person"]) == ("checkout", "ada")
    rotated = told(either, "key", "rotate", key, "--overlap", "1h")
    assert rotated["credential_id"] == key
    assert rotated["secret"] != issued["secret"]
    hashes = [one.sha256_hex for one in snapshot(either).credentials[0].secrets]
    assert hashes == [hash_secret(issued["secret"]), hash_secret(rotated["secret"])]
    (line,) = told(either, "key", "list")
    assert (line["state"], line["secrets_in_force"]) == ("active", 2)
    assert line["last_used"] is None
    revoked = told(either, "key", "revoke", key, "--reason", "laptop stolen")
    assert revoked["reason"] == "laptop stolen"
    (line,) = told(either, "key", "list", "--service", "checkout")
    assert (line["state"], line["revoked_reason"]) == ("revoked", "laptop stolen")
    assert told(either, "key", "list", "--service", "search") == []


def test_a_person_sees_the_secret_once_and_a_pipe_gets_it_alone(data: Path) -> None:
    """Standard output holds the secret and nothing else; the note says once."""
    issued = command(data, "key", "issue", "checkout", "--for", "ada")
    assert re.fullmatch(r"ctl_[0-9A-Za-z]{12}_[0-9A-Za-z]{38}\n", issued.stdout)
    assert "shown once" in issued.stderr
    listed = command(data, "key", "list")
    secret_part = issued.stdout.strip().rpartition("_")[2]
    assert secret_part not in listed.stdout
    for file in data.rglob("*"):
        if file.is_file():
            assert secret_part.encode() not in file.read_bytes(), file


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["issue", "chekout", "--for", "ada"], 1, "did you mean checkout?"),
        (["issue", "checkout", "--for", "adda"], 1, "did you mean ada?"),
        (["issue", "checkout"], 2, "--for"),
        (["issue", "checkout", "--for", "ada", "--expires", "soon"], 1, "--expires"),
        (["rotate", "nope"], 1, "there is no credential 'nope'"),
        (["revoke", "nope"], 2, "--reason"),
        (["revoke", "nope", "--reason", " "], 1, "say why"),
        (["dance"], 2, "dance"),
        (["list", "--colour"], 2, "--colour"),
    ],
)
def test_mistakes_are_told_apart_by_status(
    data: Path, words: list[str], status: int, message: str
) -> None:
    """1: it could not be done; 2: it was asked wrongly; both with what to do."""
    done = command(data, "key", *words)
    assert (done.returncode, done.stdout) == (status, "")
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_an_empty_directory_is_told_as_such(tmp_path: Path) -> None:
    """Before a first apply, commands say what to do first and make nothing."""
    listed = command(tmp_path / "absent", "key", "list", "--json")
    assert listed.returncode == 1
    error = json.loads(listed.stderr)["error"]
    assert error["code"] == "store_unavailable"
    assert "apply a configuration first" in error["message"]
    assert not (tmp_path / "absent").exists()


def test_commands_that_run_at_once_all_succeed(data: Path) -> None:
    """Without a control process they take turns at the lock; nobody is refused."""

    def issue(person: str) -> str:
        with open_administrator(data) as administrator:
            return administrator.issue("checkout", person).credential_id

    with ThreadPoolExecutor(6) as pool:
        made = list(pool.map(issue, ["ada", "grace", "alan"] * 4))
    assert len(set(made)) == 12
    assert {one.id for one in snapshot(data).credentials} == set(made)


class Books:
    """What was acknowledged, and what may or may not have been done."""

    def __init__(self) -> None:
        self.secrets: dict[str, str] = {}
        self.revoked: set[str] = set()
        self.doubtful: set[str] = set()
        self.acknowledged = 0
        self.unknown = 0


def act(data: Path, number: int, books: Books) -> None:
    """Issues, rotates or revokes in turn; an answer that never came is a doubt."""
    live = [key for key in books.secrets if key not in books.revoked | books.doubtful]
    key = live[0] if live else None
    try:
        with open_administrator(data) as administrator:
            if key is None or number % 3 == 0:
                made = administrator.issue("checkout", "ada")
                books.secrets[made.credential_id] = made.secret
            elif number % 3 == 1:
                books.doubtful.add(key)
                books.secrets[key] = administrator.rotate(key, 0).secret
                books.doubtful.discard(key)
            else:
                books.doubtful.add(key)
                administrator.revoke(key, "test")
                books.revoked.add(key)
                books.doubtful.discard(key)
        books.acknowledged += 1
    except (ControlUnavailableError, ConflictError):
        books.unknown += 1


def test_a_control_process_killed_at_any_moment_loses_no_act(data: Path) -> None:
    """Twelve kills at odd moments: what was acknowledged is there, nothing is half."""
    books = Books()
    rounds = 12
    number = 0
    for kill in range(rounds):
        with tree.control_process(data) as control:
            act(data, number, books)  # one in peace, however slow the machine is
            number += 1
            # Spread over a round's acts without a generator: seeded, repeatable.
            deadline_s = time.monotonic() + (SEED * (kill + 1) % 97) / 400
            with ThreadPoolExecutor(1) as pool:
                killing = pool.submit(kill_at, control.pid, deadline_s)
                while not killing.done():
                    act(data, number, books)
                    number += 1
    # The last act, with nobody there, projects and publishes all that was recorded.
    with open_administrator(data) as administrator:
        administrator.issue("search", "ada")
    found = {one.id: one for one in snapshot(data).credentials}
    assert books.acknowledged >= rounds, f"seed {SEED}: nothing was going on"
    assert len(found) <= len(books.secrets) + books.unknown + 1
    for key, secret in books.secrets.items():
        one = found[key]  # type: ignore[index]
        if key in books.doubtful:
            continue
        assert (one.revoked_ns is not None) == (key in books.revoked), f"seed {SEED}"
        assert one.secrets[-1].sha256_hex == hash_secret(secret), f"seed {SEED}"
    for file in Place(data).journal.glob("*.jsonl"):
        lines = file.read_bytes().split(b"\n")[:-1]
        counted = [int(json.loads(line)["sequence"]) for line in lines]
        assert counted == list(range(len(lines))), file.name


def kill_at(process: int, deadline_s: float) -> None:
    time.sleep(max(0.0, deadline_s - time.monotonic()))
    os.kill(process, signal.SIGKILL)


def test_a_killed_apply_takes_effect_as_a_whole_or_not(data: Path) -> None:
    """After `kill -9` of an apply at any moment there is one revision or the next."""
    config = data.with_name("comptroller.yaml")
    for kill in range(6):
        services = "".join(
            f"          service-{kill}-{number}: {SERVICE}\n" for number in range(30)
        )
        config.write_text(CONFIGURATION + services)
        words = ["apply", "--yes", "--config", str(config), "--data", str(data)]
        before = snapshot(data)
        with subprocess.Popen(
            [sys.executable, "-m", "comptroller", *words],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as applying:
            time.sleep(0.5 + kill * 0.25)
            applying.kill()
        told(data, "key", "list")  # projects and publishes what was recorded
        after = snapshot(data)
        if after.revision == before.revision:
            assert after.registry == before.registry
        else:
            assert after.revision == before.revision + 1
            assert set(after.registry.services) == {
                f"service-{kill}-{number}" for number in range(30)
            }


SERVICE = (
    "{purpose: Tests, kind: internal, environment: test, owners: {policy: ada,"
    " billing: ada, technical: ada}, models: [small]}"
)
CONFIGURATION = """\
version: 1
organization: acme
timezone: Europe/Amsterdam
people:
  ada: {name: Ada Lovelace, email: ada@acme.example}
gateway: {owner: ada}
providers:
  local: {base_url: http://127.0.0.1:9, speaks: [openai]}
models:
  small: {provider: local, price: {input: 1, output: 2}, max_output_tokens: 100}
tenants:
  acme:
    units:
      retail:
        owner: ada
        services:
"""
