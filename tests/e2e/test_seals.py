"""A worker's journal is edited while the sequencer stands still: its seals tell."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

from comptroller.adapters.tlog.reader import TreeReader
from comptroller.core.checkpoint import parse_checkpoint, parse_note
from comptroller.testing.chat import chat
from comptroller.testing.provider.process import running_provider
from comptroller.testing.seals import check_seals
from comptroller.testing.small import small_configuration
from comptroller.testing.tree import ServeTree, await_true, run_command, told

MODELS = {"chat": "price: {input: 1, output: 2}, max_output_tokens: 9999"}
COST = b'"comptroller.cost.nano_usd":'
SEALED = b"comptroller.journal.sealed.v1"
WAIT_S = 20.0


def journal(data: Path, writer: str = "w0") -> Path:
    """The only file of a process."""
    (found,) = (data / "journal").glob(f"*.{writer}.*.jsonl")
    return found


def last_record(data: Path, writer: str) -> bytes:
    """The last line of a process's journal, which may be torn."""
    return journal(data, writer).read_bytes().splitlines()[-1]


def entries(data: Path) -> dict[str, list[bytes]]:
    """Everything in the trail, by source."""
    note = parse_note((data / "trail/checkpoint").read_bytes())
    size = parse_checkpoint(note.body).head.size
    found: dict[str, list[bytes]] = defaultdict(list)
    for entry in TreeReader(data / "trail", size).records():
        found[json.loads(entry)["source"]].append(entry)
    return found


def change(path: Path) -> int:
    """Changes what the last settlement cost, in as many bytes; its sequence."""
    whole = path.read_bytes()
    place = whole.rindex(COST) + len(COST)
    with path.open("r+b") as file:
        file.seek(place)
        file.write(b"2" if whole[place : place + 1] == b"1" else b"1")
    return whole.count(b"\n", 0, place)


def test_what_is_edited_before_it_is_sequenced_contradicts_its_seal(
    tmp_path: Path,
) -> None:
    """The trail takes the edited line as it is; only the seal after it is broken."""
    data = tmp_path / "comptroller-data"
    with running_provider() as origin:
        provider = f"{{base_url: {origin}, speaks: [openai]}}"
        text = small_configuration(provider, MODELS)
        (tmp_path / "comptroller.yaml").write_text(text)
        run_command(tmp_path, "apply", "--yes")
        key = told(tmp_path, "key", "issue", "checkout", "--for", "ada")["secret"]
        tree = ServeTree(tmp_path, 1)
        try:
            chat(tree.port, key)
            await_true(lambda: SEALED in journal(data).read_bytes(), WAIT_S)
            sequencer = tree.sequencer()
            assert sequencer is not None
            os.kill(sequencer, signal.SIGSTOP)
            chat(tree.port, key)
            await_true(lambda: settlements(data) == 2, WAIT_S)
            edited = change(journal(data))
            seals = journal(data).read_bytes().count(SEALED)
            chat(tree.port, key)
            await_true(lambda: journal(data).read_bytes().count(SEALED) > seals, WAIT_S)
            os.kill(sequencer, signal.SIGCONT)
            told(tmp_path, "key", "issue", "checkout", "--for", "ada")
            await_true(lambda: SEALED in last_record(data, "control"), WAIT_S)
        finally:
            status = tree.stop()
    assert status == 0, tree.log()
    logged = entries(data)
    told_of = [json.loads(one)["type"] for one in logged.pop("/trail")]
    assert set(told_of) == {"comptroller.trail.started.v1"}
    (worker,) = (source for source in logged if "/w0/" in source)
    assert logged[worker] == journal(data).read_bytes().splitlines()
    found = check_seals(logged.pop(worker))
    (broken,) = found.broken
    assert broken == min(seal for seal in (*found.good, broken) if seal > edited)
    (wrong,) = wrongs(data)
    assert f"the seal of {worker} is not that of its records" in wrong
    assert len(found.good) >= 2
    assert found.unsealed == 0
    assert sum("/control/" in source for source in logged) == 1
    for lines in logged.values():
        found = check_seals(lines)
        assert (found.broken, found.unsealed) == ([], 0)


def wrongs(data: Path) -> list[str]:
    """What the stand-alone verifier finds."""
    vkey = (data / "trail.vkey").read_text().strip()
    program = [sys.executable, "-m", "comptroller.verify", str(data / "trail")]
    done = subprocess.run(
        [*program, "--vkey", vkey], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stdout + done.stderr
    said = done.stdout + done.stderr
    return [line for line in said.splitlines() if line.startswith("WRONG")]


def settlements(data: Path) -> int:
    """How many are in the worker's journal."""
    return journal(data).read_bytes().count(b"comptroller.request.settled.v1")
