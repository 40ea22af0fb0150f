"""Were controls active? Asked of real processes, after what the test did to them."""

from __future__ import annotations

import http.client
import json
import os
import signal
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

from comptroller.adapters.system import SystemClock
from comptroller.core.timestamps import nanoseconds, rfc3339
from comptroller.testing.provider.process import running_provider
from comptroller.testing.small import SMALL_POLICY, small_configuration
from comptroller.testing.tree import ServeTree, await_true, run_command, told
from comptroller.testing.worker import WorkerProcess

LATE_S: Final = 1.5
"""In this time every worker has taken up what was done."""
BEAT_S: Final = 1
MODELS: Final = {"chat": "price: {input: 1, output: 2}, max_output_tokens: 900"}


def applied(folder: Path, origin: str, service: str = "") -> None:
    """Applies a configuration whose one service has more members."""
    text = small_configuration(f"{{base_url: {origin}, speaks: [openai]}}", MODELS)
    indent = " " * 12
    (folder / "comptroller.yaml").write_text(f"{text}{indent}{service}\n")
    run_command(folder, "apply", "--yes")


def chat(port: int, key: str) -> str:
    """Asks for a completion; the request's id."""
    asked = {"model": "chat", "messages": [{"role": "user", "content": "Hi"}]}
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as link:
        link.request("POST", "/v1/chat/completions", json.dumps(asked), headers)
        reply = link.getresponse()
        assert reply.status == 200, reply.read()
        return reply.headers["x-comptroller-request-id"]


def audited(folder: Path, *words: str) -> dict[str, Any]:
    """The answer, its controls by name."""
    found: dict[str, Any] = told(folder, "audit", "controls", *words)
    found["controls"] = {one["control"]: one for one in found["controls"]}
    return found


def of_request(folder: Path, request_id: str, control: str) -> dict[str, Any]:
    found = audited(folder, "--request", request_id)["controls"]
    one: dict[str, Any] = found[control]
    return one


def spans(control: dict[str, Any], cause: str) -> list[tuple[float, float]]:
    """Begin and end of the gaps of one cause, in seconds since the epoch."""
    return [
        (nanoseconds(one["begin"]) / 1e9, nanoseconds(one["end"]) / 1e9)
        for one in control["gaps"]
        if one["cause"] == cause
    ]


def now() -> float:
    return SystemClock().now_ns() / 1e9


def text(second: float) -> str:
    return rfc3339(int(second * 1e9))


@contextmanager
def gateway(folder: Path) -> Iterator[tuple[str, str]]:
    """A provider and what is applied for it: its origin, and a key."""
    with running_provider() as origin:
        applied(folder, origin)
        (folder / "policy").mkdir()
        (folder / "policy" / "acme.policy.yaml").write_text(SMALL_POLICY)
        issued = told(folder, "key", "issue", "checkout", "--for", "ada")
        yield origin, issued["secret"]


class Done(NamedTuple):
    """What the test did, and when: from before it until all workers follow."""

    began: float
    bundle: str
    bare: str
    """Ids of requests: before the policy, under it, limited, and after all."""
    ruled: str
    limited: str
    after: str
    activated: tuple[float, float]
    deactivated: tuple[float, float]
    ended: float


def do_all(folder: Path, tree: ServeTree, origin: str, key: str) -> Done:
    """A policy on, a limit declared, a worker killed, the policy off."""
    time.sleep(LATE_S)
    began = now()
    bare = chat(tree.port, key)
    bundle = told(folder, "policy", "publish", "policy", "--author", "ada")["revision"]
    on = now()
    run_command(folder, "policy", "activate", bundle, "--approver", "ada")
    time.sleep(LATE_S)
    activated = on, now()
    ruled = chat(tree.port, key)
    applied(folder, origin, "limits: {concurrency: 7}")
    time.sleep(LATE_S)
    limited = chat(tree.port, key)
    os.kill(tree.children()["w0"], signal.SIGKILL)
    off = now()
    people = ("--author", "ada", "--approver", "ada", "--note", "test")
    run_command(folder, "policy", "deactivate", *people)
    time.sleep(LATE_S)
    await_true(lambda: len(tree.children()) >= 3, 20)
    after = chat(tree.port, key)
    times = activated, (off, now())
    return Done(began, bundle, bare, ruled, limited, after, *times, now())


def test_what_was_done_is_what_is_answered(tmp_path: Path) -> None:
    """Each request, a moment and the whole span, asked of a gateway that serves."""
    with gateway(tmp_path) as (origin, key):
        tree = ServeTree(tmp_path, 2)
        try:
            done = do_all(tmp_path, tree, origin, key)
            check_requests(tmp_path, done)
            check_span(tmp_path, done)
        finally:
            status = tree.stop()
    assert status == 0, tree.log()


def check_requests(folder: Path, done: Done) -> None:
    found = of_request(folder, done.bare, "prompt_restriction")
    assert (found["verdict"], found["is_complete"]) == ("inactive", True)
    moment = audited(folder, "--request", done.ruled)
    assert moment["policy"]["revision"] == done.bundle
    assert moment["controls"]["concurrency"]["verdict"] == "inactive"
    found = moment["controls"]["prompt_restriction"]
    assert (found["verdict"], found["is_complete"]) == ("active", True)
    assert found["revision"] == done.bundle
    assert found["approved_by"]["approver"] == "ada"
    assert [one["of"] for one in found["limits"]] == ["no.shell"]
    since = nanoseconds(found["since"]["time"]) / 1e9
    assert done.activated[0] <= since <= done.activated[1]
    found = of_request(folder, done.limited, "concurrency")
    assert (found["verdict"], found["revision"]) == ("active", "2")
    assert [one["value"] for one in found["limits"]] == [7]
    found = of_request(folder, done.after, "prompt_restriction")
    assert found["verdict"] == "inactive"


def check_span(folder: Path, done: Done) -> None:
    words = ("--service", "checkout")
    moment = audited(folder, *words, "--at", text(done.activated[1]))
    assert len(moment["workers"]) == 2
    verdicts = {one["verdict"] for one in moment["controls"].values()}
    assert verdicts == {"active", "inactive"}
    span = text(done.began), text(done.ended)
    covered = audited(folder, *words, "--between", *span)
    assert covered["controls"]["price"]["gaps"] == []
    assert covered["controls"]["price"]["percent"] == "100.000"
    assert len(covered["workers"]) == 3
    first, last = spans(covered["controls"]["prompt_restriction"], "policy_deactivated")
    assert abs(first[0] - done.began) < 0.001
    assert done.activated[0] <= first[1] <= done.activated[1]
    assert done.deactivated[0] <= last[0] <= done.deactivated[1]
    assert abs(last[1] - done.ended) < 0.001
    page = run_command(folder, "audit", "controls", *words, "--at", "now")
    assert "SOURCES DISAGREE" not in page
    assert "NOT PROVEN" not in page


def test_a_stopped_and_a_killed_worker_are_gaps(tmp_path: Path) -> None:
    """One worker that was stopped, killed, and replaced: each gap is where it was."""
    data = tmp_path / "comptroller-data"
    with gateway(tmp_path) as (_, key):
        first = WorkerProcess(data, {"heartbeat_s": BEAT_S})
        chat(first.port, key)
        begin = now()
        time.sleep(2)
        first.process.send_signal(signal.SIGSTOP)
        stopped = now()
        time.sleep(BEAT_S + 5 + 2)
        silent = audited(tmp_path, "--service", "checkout", "--at", "now")
        resumed = now()
        first.process.send_signal(signal.SIGCONT)
        time.sleep(3)
        first.process.kill()
        killed = now()
        first.stop()
        time.sleep(2)
        second = WorkerProcess(data, {"heartbeat_s": BEAT_S, "name": "w1"})
        alive = now()
        time.sleep(2)
        words = ("--service", "checkout", "--between", text(begin), "now")
        found = audited(tmp_path, *words)["controls"]["credential"]
        assert second.stop() == 0
    words = ("--service", "checkout", "--between", text(begin), text(alive + 2))
    check_filled(tmp_path, words, (stopped, resumed))
    assert silent["controls"]["credential"]["verdict"] == "unproven"
    ((quiet, heard),) = spans(found, "worker_silent")
    assert stopped - BEAT_S - 1.5 <= quiet <= stopped
    assert resumed <= heard <= resumed + 2
    ((gone, back),) = spans(found, "no_worker")
    assert killed - BEAT_S - 1.5 <= gone <= killed
    assert killed <= back <= alive + 0.5
    assert len(found["gaps"]) == 2


def check_filled(
    folder: Path, words: tuple[str, ...], silence: tuple[float, float]
) -> None:
    """Heartbeats that were put into the silence cover nothing, and are told."""
    honest = audited(folder, *words)
    assert honest["discrepancies_count"] == 0
    times = range(int(silence[0]), int(silence[1]) + 1)
    with closing(sqlite3.connect(folder / "comptroller-data/store.sqlite3")) as store:
        ((journal, state),) = store.execute(
            "SELECT journal, state FROM heartbeats ORDER BY time_ns LIMIT 1"
        )
        rows = [
            (journal, 10_000 + number, second * 10**9, state)
            for number, second in enumerate(times)
        ]
        store.executemany(
            "INSERT INTO heartbeats (journal, sequence, time_ns, state)"
            " VALUES (?, ?, ?, ?)",
            rows,
        )
        store.commit()
    forged = audited(folder, *words)
    assert forged["discrepancies_count"] == len(rows)
    for name, one in honest["controls"].items():
        covered = forged["controls"][name]["covered_seconds"]
        assert covered <= one["covered_seconds"]
    says = [one["says"] for one in forged["discrepancies"]]
    assert all("cannot be read: there is no record 10" in one for one in says)
    page = run_command(folder, "audit", "controls", *words)
    assert f"the store is not what was recorded, in {len(rows)} places" in page


def test_rows_that_were_put_into_the_store_prove_nothing(tmp_path: Path) -> None:
    """Heartbeats that cite another record, and an act by somebody else, are told."""
    data = tmp_path / "comptroller-data"
    with gateway(tmp_path) as (_, key):
        worker = WorkerProcess(data, {"heartbeat_s": BEAT_S})
        request_id = chat(worker.port, key)
        assert worker.stop() == 0
    honest = of_request(tmp_path, request_id, "price")
    assert (honest["verdict"], honest["is_complete"]) == ("active", True)
    with closing(sqlite3.connect(data / "store.sqlite3")) as store, store:
        ((*row,),) = store.execute(
            "SELECT journal, min(time_ns), state FROM heartbeats GROUP BY journal"
        )
        store.execute("DELETE FROM heartbeats")
        store.execute(
            "INSERT INTO heartbeats (journal, time_ns, state, sequence)"
            " VALUES (?, ?, ?, 0)",
            row,
        )
    found = of_request(tmp_path, request_id, "price")
    assert (found["verdict"], found["is_complete"]) == ("disagreement", False)
    told_of = [one for one in found["evidence"] if one["source"] == "heartbeat"]
    assert {one["verdict"] for one in told_of} == {"contradicts"}
    says = [one["says"] for one in told_of]
    assert any("the record there is comptroller.journal.started.v1" in s for s in says)
    assert any("is a heartbeat, and the store has no row of it" in s for s in says)
    page = run_command(tmp_path, "audit", "controls", "--request", request_id)
    assert "SOURCES DISAGREE" in page
    assert "3 of 3" not in page
    with closing(sqlite3.connect(data / "store.sqlite3")) as store, store:
        store.execute("UPDATE revisions SET person = 'mallory'")
        store.execute("UPDATE lives SET started_ns = started_ns + 1000000")
        store.execute("UPDATE registry_history SET body = replace(body, 'chat', 'all')")
    why = of_request(tmp_path, request_id, "price")["why"]
    assert any("the store says person mallory; the record at" in one for one in why)
    assert any("the store says comptroller.journal.started.v1" in one for one in why)
    assert any("is not what was recorded: models" in one for one in why)
