"""What answers say of witnesses: explained, proved, exported, put back."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tlog_scales.signing import Vkey, VkeySet
from tlog_scales.tlog import Checkpoint as ForeignCheckpoint

from comptroller.core.checkpoint import parse_checkpoint, parse_note
from comptroller.testing.chat import chat
from comptroller.testing.tree import command, run_command, told
from comptroller.testing.witnessed import (
    CONFIGURATION,
    Post,
    begun_gateway,
    reserved_port,
    wait_for,
)


def test_answers_carry_the_witness(tmp_path: Path) -> None:
    """Explained, proved and exported with what it signed; older ones are not lost."""
    post = Post(tmp_path)
    with begun_gateway(tmp_path, post) as (gateway, served, vkey, port):
        with post.running(vkey, port=port):
            request_id = refused_request(served.ports[0], tmp_path)
            explain = ("explain", request_id)
            wait_for(lambda: (told(tmp_path, *explain)["proof"] or {}).get("cosigned"))
            wait_for(lambda: is_within(told(tmp_path, *explain)["proof"]))
        size = gateway.size()
        told(tmp_path, "key", "issue", "checkout", "--for", "ada")
        wait_for(lambda: gateway.size() > size)
        served.process.send_signal(signal.SIGTERM)
        served.process.wait(30)
    page = command(tmp_path, *explain).stdout
    assert "audit.example/w1 signed" in page
    assert "with the decision" in page
    assert "tamper-evident against outsiders only, as far as" in page

    proved = told(tmp_path, "audit", "prove", request_id)
    (signed,) = proved["proofs"]["decision"]["witnessed"]
    assert signed["witness"] == "audit.example/w1"
    assert proved["witness_vkeys"] == [post.vkey]
    text = (tmp_path / proved["proofs"]["decision"]["proof"]).read_text()
    check_foreign(text.partition("\n\n")[2], [vkey, post.vkey])

    exported = told(tmp_path, "audit", "export", "--to", "out")
    assert exported["witnessed"][0]["size"] < exported["size"]
    kept = tmp_path / "out" / "witnessed" / "1-audit.example-w1"
    check_foreign((kept / "checkpoint").read_text(), [vkey, post.vkey])
    since = ["--since", "witnessed/1-audit.example-w1/checkpoint"]
    alone = [sys.executable, "-I", "verify.py", "log", "--vkey", vkey, *since]
    assert subprocess.run(alone, cwd=tmp_path / "out", check=False).returncode == 0


def test_a_command_has_the_trail_witnessed(tmp_path: Path) -> None:
    """Once, without serve: signed, away in bounded time, or refused on the record."""
    post = Post(tmp_path)
    (tmp_path / "comptroller.yaml").write_text(CONFIGURATION)
    run_command(tmp_path, "apply", "--yes")
    data = tmp_path / "comptroller-data"
    assert told(tmp_path, "audit", "sequence")["witnesses"] == []
    vkey = (data / "trail.vkey").read_text().strip()
    with reserved_port() as port:
        url = f"http://127.0.0.1:{port}"
        words = ("audit", "sequence", "--witness", url, "--witness-key", post.vkey)
        begun_s = time.monotonic()
        away = command(tmp_path, *words)
        assert away.returncode == 1
        assert "audit.example/w1 did not sign it: no answer" in away.stdout
        assert time.monotonic() - begun_s < 15
        with post.running(vkey, port=port):
            (signed,) = told(tmp_path, *words)["witnesses"]
            size = told(tmp_path, "audit", "verify")["size"]
            assert (signed["size"], signed["problem"]) == (size, None)
            check_foreign((data / "trail" / "checkpoint").read_text(), [post.vkey])
            older = tmp_path / "older"
            shutil.copytree(data / "trail", older)
            told(tmp_path, "key", "issue", "checkout", "--for", "ada")
            assert "signed" in run_command(tmp_path, *words)
            shutil.rmtree(data / "trail")
            shutil.rmtree(data / "trail-witnessed")
            older.rename(data / "trail")
            told(tmp_path, "key", "issue", "checkout", "--for", "ada")
            refused = command(tmp_path, *words)
    assert refused.returncode == 1
    assert "did not sign it" in refused.stdout
    told(tmp_path, "audit", "export", "--to", "out")
    assert "trail.witness_refused" in (tmp_path / "out" / "records.jsonl").read_text()
    for wrong in (words[:4], (*words[:3], "w.example", *words[4:])):
        assert command(tmp_path, *wrong).returncode == 1


def is_within(proof: dict[str, Any]) -> bool:
    """Whether a witness has signed a checkpoint over the decision."""
    at = proof["decision"]
    return at is not None and any(at < one["size"] for one in proof["cosigned"])


def refused_request(port: int, folder: Path) -> str:
    """A request that is refused, which is a record, too; its id."""
    secret = told(folder, "key", "issue", "checkout", "--for", "ada")["secret"]
    return chat(port, secret, status=400, model="none")


def check_foreign(note: str, vkeys: Sequence[str]) -> None:
    """Another library finds the signature of each of these keys right."""
    checkpoint = ForeignCheckpoint.from_text(note)
    keys = VkeySet(*map(Vkey.from_string, vkeys))
    found = keys.verify(checkpoint.signatures, checkpoint)
    assert len({one.name for one, _ in found}) == len(vkeys)


def test_what_was_put_back_contradicts_the_kept_notes(tmp_path: Path) -> None:
    """An older trail, whole and signed: told without any key that is brought."""
    post = Post(tmp_path)
    with ExitStack() as stack:
        begun = stack.enter_context(begun_gateway(tmp_path, post))
        gateway, served, vkey, port = begun
        stack.enter_context(post.running(vkey, port=port))
        wait_for(lambda: gateway.cosigned() > 0)
        older = tmp_path / "older"
        shutil.copytree(gateway.trail, older)
        told(tmp_path, "key", "issue", "checkout", "--for", "ada")
        size = parse_checkpoint(parse_note((older / "checkpoint").read_bytes()).body)
        wait_for(lambda: gateway.cosigned() > size.head.size)
        served.process.send_signal(signal.SIGTERM)
        served.process.wait(30)
    assert told(tmp_path, "audit", "verify")["ok"]
    shutil.rmtree(gateway.trail)
    older.rename(gateway.trail)
    done = command(tmp_path, "audit", "verify")
    assert done.returncode == 1
    assert "WRONG audit.example/w1 signed" in done.stdout
    assert "truncated" in done.stdout
    shutil.rmtree(gateway.trail.parent / "trail-witnessed")
    done = command(tmp_path, "audit", "verify")
    assert done.returncode == 1
    assert "trail.witnesses.json says that audit.example/w1 signed" in done.stdout
