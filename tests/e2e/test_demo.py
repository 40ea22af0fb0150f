"""`comptroller demo`, as a person runs it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Who runs the tests in the background of a shell has them ignore Ctrl-C.
HEEDING = ["env", "--default-signal=INT"]
COMMAND = [sys.executable, "-m", "comptroller", "demo"]


@contextmanager
def started(folder: Path, **variables: str) -> Iterator[subprocess.Popen[str]]:
    """The demo, with its temporary files in a folder of the test."""
    environment = {**os.environ, "TMPDIR": str(folder), "COLUMNS": "100", **variables}
    with subprocess.Popen(
        [*HEEDING, *COMMAND],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
    ) as process:
        try:
            yield process
        finally:
            process.terminate()
            process.wait(30)


def processes_of(folder: Path) -> list[str]:
    """The command lines of every process that works on a folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue  # it has ended meanwhile
            if str(folder) in line:
                found.append(line)
    return found


def units_that_spent(folder: Path) -> set[str]:
    """What the demo's data answers after everything has stopped."""
    [data] = folder.glob("comptroller-demo-*/data")
    done = subprocess.run(
        [*COMMAND[:-1], "spend", "--by", "unit", "--json", "--data", str(data)],
        capture_output=True,
        text=True,
        check=True,
    )
    return {row["key"] for row in json.loads(done.stdout)}


def test_demo_tells_its_story_and_leaves_nothing_running(tmp_path: Path) -> None:
    """It serves, meters, revokes, refuses, explains, agrees with the provider.

    Its policy has an author and an approver, denies by two rules at once, lowers what
    a shopper's assistant asks for, and is replayed from the records.

    The signed log has every record, and says which controls were active.

    Its books can be read afterwards.
    """
    with started(tmp_path, DEMO_SECONDS="5") as process:
        told, _ = process.communicate(timeout=120)

    assert process.returncode == 0, told
    assert "credential_revoked" in told
    assert re.search(r"refused [\d.]+ ms after the command returned", told)
    assert re.search(r"comptroller explain [0-9A-Z]{26}", told)
    assert "Grace Hopper" in told
    assert re.search(r"active +ada +grace .* 2 of 2 ", told)
    assert "an agent has the tools search and read_paper, and no others" in told
    assert "secret.github-pat (user/first). Rules: agent.tools, prompts.no-se" in told
    assert "ghp_" not in told
    assert re.search(r"token_ceiling +clamp +800 +500 ", told)
    replayed = re.search(r"(\d+) decisions were decided again .*: all say the s", told)
    assert replayed
    assert int(replayed[1]) > 50
    verified = re.search(r"^ +(\d+) records, 0 wrong$", told, re.MULTILINE)
    assert verified
    assert int(verified[1]) > 2 * int(replayed[1])
    assert "All is as it was recorded." in told
    assert "tamper-evident against outsiders only" in told
    # Its credential is revoked by then: what counts is what was active at its time.
    assert re.search(r"^credential +ACTIVE +3 of 3 ", told, re.MULTILINE)
    assert "Prompt restrictions: YES, active: all three sources agree." in told
    assert re.search(
        r"^prompt_restriction +ACTIVE +3 of 3 .*grace \(author ada\) ",
        told,
        re.MULTILINE,
    )
    assert not re.search("SOURCES DISAGREE|NOT PROVEN", told)
    assert "budget_exhausted" in told
    spent = re.search(r"service:nightly-catalogue/total +0\.02 +(0\.[\d]+)", told)
    assert spent
    assert 0 < float(spent[1]) <= 0.02
    assert "The books balance." in told
    books = re.search(r"complete replies +([\d,]+) +([\d,]+)", told)
    assert books
    theirs, ours = (int(one.replace(",", "")) for one in books.groups())
    # A reply may be complete for the provider in the moment in which it is cut.
    assert ours > 1000
    assert 0.9 * theirs < ours <= theirs
    assert processes_of(tmp_path) == []
    assert units_that_spent(tmp_path) == {"retail", "operations", "research"}


def test_demo_keeps_running_until_told(tmp_path: Path) -> None:
    """With KEEP=1 it stays, says how to use it, and stops in order on Ctrl-C."""
    with started(tmp_path, DEMO_SECONDS="2", KEEP="1") as process:
        assert process.stdout is not None
        told = ""
        for line in process.stdout:
            told += line
            if "comptroller spend --by unit" in line:
                break
        deadline = time.monotonic() + 30
        while len(processes_of(tmp_path)) < 4:
            assert time.monotonic() < deadline, told
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=60)

    assert process.returncode == 0, told + rest
    assert "Everything has stopped" in rest
    assert processes_of(tmp_path) == []
