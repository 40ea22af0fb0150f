"""`make bench`: the request path beside nginx as a plain proxy, in one run.

The proxy under test has core 0, load and providers have core 1. CPU per request is
user + system time of the whole process tree (worker, control process, sequencer,
supervisor) over the requests answered, and that of each of the first three: the
steadiest figure on a shared machine. Rounds are
interleaved; a ratio is taken in each round, the median of all rounds is printed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from math import nan
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
ROLES = ("worker", "control", "sequencer")
"""The processes of a gateway whose CPU is told apart."""
SETTLE_S = 1.5
"""After a load, until it is booked and in a checkpoint."""
JSON_UP, STREAM_UP, NGINX_JSON, NGINX_STREAM, GATEWAY, CONSOLE = range(19100, 19106)
REPLY = json.dumps(
    {
        "id": "chatcmpl-0000000001",
        "object": "chat.completion",
        "created": 1760000000,
        "model": "bench-json",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hello there. " * 18},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150},
    }
).replace("'", "")
CONFIG = f"""
version: 1
organization: bench
timezone: UTC
people:
  ada: {{name: Ada Lovelace, email: ada@bench.example}}
gateway: {{owner: ada}}
providers:
  plain: {{base_url: "http://127.0.0.1:{JSON_UP}", speaks: [openai]}}
  streams: {{base_url: "http://127.0.0.1:{STREAM_UP}", speaks: [openai]}}
models:
  bench-json: {{provider: plain, price: {{input: 0.15, output: 0.60}}}}
  bench-stream: {{provider: streams, price: {{input: 0.15, output: 0.60}}}}
tenants:
  bench:
    units:
      unit:
        owner: ada
        services:
          load:
            purpose: Makes load
            kind: automation
            environment: production
            owners: {{policy: ada, billing: ada, technical: ada}}
            models: [bench-json, bench-stream]
"""


class Load(NamedTuple):
    """What one run of wrk saw."""

    rps: float
    p50_ms: float
    bad: int


class Target(NamedTuple):
    """A proxy under test."""

    name: str
    process: subprocess.Popen[bytes]
    json_port: int
    stream_port: int


def on_core(core: int, *command: object) -> list[str]:
    """A command pinned to a core."""
    return ["taskset", "-c", str(core), *map(str, command)]


def install() -> None:
    """Installs wrk and nginx from Debian's packages where they are missing."""
    missing = [
        package
        for tool, package in (("wrk", "wrk"), ("nginx", "nginx-light"))
        if shutil.which(tool) is None
    ]
    if missing:
        apt = ["apt-get", "-qq", "install", "-y", *missing]
        subprocess.run(["apt-get", "-qq", "update"], check=False)
        subprocess.run(apt, check=True, stdout=subprocess.DEVNULL)


def nginx(run: Path, role: str, core: int, servers: str) -> subprocess.Popen[bytes]:
    """Starts an nginx of one worker."""
    text = (HERE / "nginx.conf").read_text()
    for name, value in (("run", str(run)), ("role", role), ("servers", servers)):
        text = text.replace("{" + name + "}", value)
    path = run / f"{role}.conf"
    path.write_text(text)
    return subprocess.Popen(on_core(core, "nginx", "-p", run, "-c", path))


def plain_proxy(run: Path) -> Target:
    """Starts nginx as a plain, unbuffered proxy for JSON and for streams."""
    servers = ""
    for port, up in ((NGINX_JSON, JSON_UP), (NGINX_STREAM, STREAM_UP)):
        servers += (
            f"upstream u{up} {{ server 127.0.0.1:{up}; keepalive 512;"
            " keepalive_requests 100000000; }"
            f" server {{ listen 127.0.0.1:{port} backlog=4096; location / {{"
            f" proxy_pass http://u{up}; proxy_http_version 1.1;"
            ' proxy_set_header Connection ""; proxy_buffering off;'
            " client_body_buffer_size 64k; } }\n"
        )
    process = nginx(run, "proxy", 0, servers)
    return Target("nginx", process, NGINX_JSON, NGINX_STREAM)


def comptroller(run: Path) -> tuple[Target, str, float]:
    """Starts the gateway; returns it, a credential, and the time to its first 200."""
    (run / "comptroller.yaml").write_text(CONFIG)
    program = [sys.executable, "-m", "comptroller"]
    where = ["--data", str(run / "data")]
    config = ["--config", str(run / "comptroller.yaml")]
    subprocess.run(
        [*program, "apply", "--yes", *config, *where],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    issued = subprocess.run(
        [*program, "key", "issue", "load", "--for", "ada", "--json", *where],
        check=True,
        capture_output=True,
    )
    key = json.loads(issued.stdout)["secret"]
    began_s = time.monotonic()
    listen = ["--listen", f"127.0.0.1:{GATEWAY}", "--console", f"127.0.0.1:{CONSOLE}"]
    process = subprocess.Popen(
        on_core(0, *program, "serve", "--workers", 1, *listen, *config, *where),
        stdout=(run / "serve.log").open("wb"),
        stderr=subprocess.STDOUT,
    )
    until(lambda: ask(GATEWAY, key), "the gateway")
    first_s = time.monotonic() - began_s
    return Target("comptroller", process, GATEWAY, GATEWAY), key, first_s


def until(ready: Callable[[], bool], what: str, timeout_s: float = 20) -> None:
    """Waits until something is ready."""
    deadline_s = time.monotonic() + timeout_s
    while not ready():
        if time.monotonic() > deadline_s:
            raise SystemExit(f"{what} did not start in {timeout_s} s")
        time.sleep(0.01)


def listens(port: int) -> bool:
    """Whether something listens at a port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def ask(port: int, key: str) -> bool:
    """Whether a chat request gets a 200."""
    body = json.dumps({"model": "bench-json", "messages": []}).encode()
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/v1/chat/completions",
        body,
        {"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=5) as reply:
            return bool(reply.status == 200)
    except OSError:
        return False


def tree(pid: int) -> list[int]:
    """A process and all below it."""
    below: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            below.setdefault(int(fields[1]), []).append(int(entry.name))
    found, queue = [], [pid]
    while queue:
        one = queue.pop()
        found.append(one)
        queue += below.get(one, [])
    return found


def cpu_s(pid: int) -> dict[str, float]:
    """User and system time of a process tree so far: all of it, and by role."""
    spent = dict.fromkeys(("", *ROLES), 0.0)
    for one in tree(pid):
        try:
            fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
            command = Path(f"/proc/{one}/cmdline").read_text()
        except OSError:
            continue
        own_s = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        spent[""] += own_s
        for role in ROLES:
            if f"\0_{role}\0" in command:
                spent[role] += own_s
    return spent


def rss_mib(pid: int, *, role: str = "") -> float:
    """Resident memory of a process tree, or of those whose command names a role."""
    total = 0
    for one in tree(pid):
        try:
            if role.encode() in Path(f"/proc/{one}/cmdline").read_bytes():
                status = Path(f"/proc/{one}/status").read_text()
                total += int(re.search(r"VmRSS:\s+(\d+)", status)[1])  # type: ignore[index]
        except (OSError, TypeError):
            continue
    return total / 1024


def wrk(port: int, key: str, connections: int, secs: float, mode: str) -> Load:
    """Runs wrk from core 1."""
    model = "bench-stream" if mode == "sse" else "bench-json"
    url = f"http://127.0.0.1:{port}/v1/chat/completions"
    command = ["wrk", "-t1", f"-c{connections}", f"-d{secs}s", "--latency"]
    command += ["--timeout", "60s", "-s", str(HERE / "load.lua"), url]
    done = subprocess.run(
        on_core(1, *command, "--", model, key, mode),
        check=True,
        capture_output=True,
        text=True,
    )
    text = done.stdout
    unit = {"us": 1e-3, "ms": 1.0, "s": 1e3}
    rps = re.search(r"Requests/sec:\s+([\d.]+)", text)
    p50 = re.search(r"50%\s+([\d.]+)(us|ms|s)", text)
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    errors = re.search(r"Socket errors: (.*)", text)
    if rps is None:
        raise SystemExit(f"wrk did not measure anything:\n{text}")
    if errors:
        print(f"  {url} c={connections}: socket errors: {errors[1]}")
    p50_ms = float(p50[1]) * unit[p50[2]] if p50 else float("nan")
    return Load(float(rps[1]), p50_ms, int(bad[1]) if bad else 0)


def measure(target: Target, key: str, secs: float) -> dict[str, float]:
    """One round on one target."""
    figures: dict[str, float] = {}
    for name, mode, connections in (
        ("c1", "json", 1),
        ("c32", "json", 32),
        ("c256", "json", 256),
        ("stream", "sse", 100),
    ):
        port = target.stream_port if mode == "sse" else target.json_port
        before_s = cpu_s(target.process.pid)
        load = wrk(port, key, connections, secs, mode)
        # What is booked and sequenced a moment later belongs to these, too.
        time.sleep(SETTLE_S)
        after_s = cpu_s(target.process.pid)
        for role, spent_s in after_s.items():
            each_us = (spent_s - before_s[role]) / max(load.rps * secs, 1) * 1e6
            figures[f"{name}.{role}{'.' if role else ''}cpu_us"] = each_us
        figures[f"{name}.rps"] = load.rps
        figures[f"{name}.p50_ms"] = load.p50_ms
        figures[f"{name}.bad"] = load.bad
    return figures


def slow_streams(target: Target, key: str, count: int) -> dict[str, float]:
    """Peak memory under many slow streams at once."""
    set_gap(200)
    script = HERE / "slow_streams.py"
    process = subprocess.Popen(
        on_core(1, sys.executable, script, target.stream_port, key, count),
        stdout=subprocess.PIPE,
    )
    peak = 0.0
    role = "_worker" if target.name == "comptroller" else ""
    while process.poll() is None:
        peak = max(peak, rss_mib(target.process.pid, role=role))
        time.sleep(0.2)
    set_gap(10)
    out, _ = process.communicate()
    return {"peak_mib": peak, **json.loads(out)}


def set_gap(gap_ms: int) -> None:
    """Sets the time between a stream's chunks."""
    url = f"http://127.0.0.1:{STREAM_UP}/set?gap_ms={gap_ms}"
    with urllib.request.urlopen(url, timeout=5) as reply:
        reply.read()


def report(
    rounds: list[dict[str, dict[str, float]]],
    direct_p50_ms: float,
    slow: dict[str, dict[str, float]],
    first_s: float,
) -> None:
    """Prints medians and ratios, each beside its goal."""

    def mid(name: str, figure: str) -> float:
        return statistics.median(one[name][figure] for one in rounds)

    def ratio(figure: str) -> float:
        return statistics.median(
            one["comptroller"][figure] / one["nginx"][figure] for one in rounds
        )

    print(f"\nmedians of {len(rounds)} interleaved rounds on {machine()}")
    print("| figure | nginx | comptroller | ratio | goal | |")
    print("|---|---|---|---|---|---|")
    for name, what, goal in (
        ("c32", "CPU µs/request, c=32", 3.0),
        ("c256", "CPU µs/request, c=256", 2.0),
        ("stream", "CPU µs/50-chunk stream, c=100", 2.0),
    ):
        figure = f"{name}.cpu_us"
        found = ratio(figure)
        row(what, mid("nginx", figure), mid("comptroller", figure), found, goal)
        for role in ROLES:
            part = mid("comptroller", f"{name}.{role}.cpu_us")
            row(f"- the {role}'s", nan, part, part / mid("nginx", figure), None)
    for name in ("c1", "c32", "c256", "stream"):
        figure = f"{name}.rps"
        row(
            f"requests/s, {name}",
            mid("nginx", figure),
            mid("comptroller", figure),
            ratio(figure),
            None,
        )
    added_ms = mid("comptroller", "c1.p50_ms") - direct_p50_ms
    row(
        "added p50 at c=1, ms",
        mid("nginx", "c1.p50_ms") - direct_p50_ms,
        added_ms,
        added_ms,
        1.5,
    )
    ours = slow["comptroller"]
    row(
        f"MiB of the worker at {ours['of']} slow streams ({ours['whole']} whole)",
        slow["nginx"]["peak_mib"],
        ours["peak_mib"],
        ours["peak_mib"],
        60,
    )
    row("first 200 after start, s", nan, first_s, first_s, 2.0)
    refused = sum(
        one[n][f] for one in rounds for n in one for f in one[n] if f.endswith(".bad")
    )
    print(f"replies other than 200: {refused:.0f}")


def row(
    what: str, theirs: float, ours: float, judged: float, goal: float | None
) -> None:
    """Prints one row; a goal is an upper bound of the figure judged."""
    verdict = "" if goal is None else ("met" if judged <= goal else "NOT MET")
    limit = "" if goal is None else f"≤ {goal:g}"
    print(
        f"| {what} | {theirs:.2f} | {ours:.2f} | {judged:.2f} | {limit} | {verdict} |"
    )


def machine() -> str:
    """What it was measured on."""
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    compiled = any(Path(sys.prefix).glob("lib/**/comptroller/**/*.so")) or any(
        (HERE.parent / "src").glob("comptroller/**/*.so")
    )
    how = "compiled" if compiled else "pure Python"
    python = f"Python {platform.python_version()} ({sys.base_prefix}), {how}"
    return f"{cpu[1] if cpu else '?'}, {os.cpu_count()} cores, {python}"


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--secs", type=int, default=4)
    parser.add_argument("--slow-streams", type=int, default=1000)
    told = parser.parse_args()
    install()
    run = Path(tempfile.mkdtemp(prefix="comptroller-bench-"))
    started: list[subprocess.Popen[bytes]] = []
    try:
        up = f"server {{ listen 127.0.0.1:{JSON_UP} backlog=4096; location / {{"
        started.append(nginx(run, "up", 1, f"{up} return 200 '{REPLY}'; }} }}"))
        script = HERE / "stream_upstream.py"
        started.append(subprocess.Popen(on_core(1, sys.executable, script, STREAM_UP)))
        until(lambda: listens(JSON_UP) and listens(STREAM_UP), "the providers")
        proxy = plain_proxy(run)
        started.append(proxy.process)
        gateway, key, first_s = comptroller(run)
        started.append(gateway.process)
        rounds = []
        direct = []
        for number in range(told.rounds):
            direct.append(wrk(JSON_UP, key, 1, told.secs, "json").p50_ms)
            one = {t.name: measure(t, key, told.secs) for t in (proxy, gateway)}
            rounds.append(one)
            shown = {n: {k: round(v, 1) for k, v in f.items()} for n, f in one.items()}
            print(f"round {number + 1}: {json.dumps(shown)}", flush=True)
        slow = {
            t.name: slow_streams(t, key, told.slow_streams) for t in (proxy, gateway)
        }
        report(rounds, statistics.median(direct), slow, first_s)
    finally:
        for process in reversed(started):
            process.terminate()
        for process in started:
            process.wait(20)
        shutil.rmtree(run, ignore_errors=True)


if __name__ == "__main__":
    main()
