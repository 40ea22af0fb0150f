"""The request path without sockets: µs of CPU a request and a stream, in process.

Client and provider are byte strings fed to the real protocols; the journal keeps
nothing. What is left is our own work: parse, admit, record, meter, settle. The
minimum of many runs is hardly moved by a busy machine, so this is what to look at
while tuning; `make bench` measures the whole on real sockets.
"""

from __future__ import annotations

import asyncio
import gc
import hashlib
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import uvloop

from comptroller.adapters.scanner import RE2Scanner
from comptroller.adapters.system import (
    LoopTimers,
    SystemClock,
    SystemEntropy,
    UlidIds,
)
from comptroller.adapters.upstreams.connection import UpstreamConnection
from comptroller.adapters.upstreams.pool import Lane
from comptroller.bootstrap.policies import read_bundle
from comptroller.bootstrap.policy_language import policy_of
from comptroller.core.credential import Credential, CredentialId, Secret
from comptroller.core.policy.plain import plain_set
from comptroller.core.rates import ModelRates, Step, rate_card
from comptroller.core.registry import Budget, Limits, ModelId, ServiceId, Window
from comptroller.engine.asking import Holder
from comptroller.engine.desk import Desk
from comptroller.engine.holding import Holding, Ports
from comptroller.engine.judging import Body, Judge
from comptroller.engine.leasing import AskLeases, Granted, Leased
from comptroller.engine.ports import (
    ReplySink,
    UpstreamCall,
    UpstreamRequest,
    UpstreamTarget,
)
from comptroller.engine.snapshot import ActivePolicy, Snapshot, decode, encode
from comptroller.gateway.client import ClientConnection
from comptroller.gateway.floor import Floor
from comptroller.testing.administration import small_registry
from comptroller.wire.request import read_facts
from comptroller.wire.routes import match

ROOT = Path(__file__).parent.parent
SECRET = "ctl_bench"  # noqa: S105  known to this bench alone
LIMITED = "ctl_limited"
MODEL = "gpt-4o-mini"
"""One that examples/policy allows."""
ASK = (
    b'{"model":"gpt-4o-mini","messages":[{"role":"system","content":"You are a helpful '
    b'assistant."},{"role":"user","content":"Say hello and explain in two sentences '
    b'what an AI gateway does for a team that shares models."}],"max_tokens":64%b}'
)
BODY = (
    b'{"id":"chatcmpl-9529519200","object":"chat.completion","created":1760000000,'
    b'"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":'
    b'"Hello! This is a fixed reply from the mock upstream, about two dozen words '
    b'long so that the body has a realistic size for a short answer.","refusal":null}'
    b',"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":100,'
    b'"completion_tokens":50,"total_tokens":150},"system_fingerprint":"fp"}'
)
CHUNK = (
    b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1760000000,'
    b'"model":"m","system_fingerprint":"fp","choices":%b}\n\n'
)


class Wire:
    """A transport that keeps the last bytes written."""

    def __init__(self) -> None:
        self.last = b""
        self._socket, self._other = socket.socketpair()

    def write(self, data: bytes) -> None:
        """Keeps the bytes."""
        self.last = data

    def is_closing(self) -> bool:
        """Never."""
        return False

    def is_reading(self) -> bool:
        """Always."""
        return True

    def set_write_buffer_limits(self, high: int) -> None:
        """Nothing waits here."""

    def get_extra_info(self, name: str) -> socket.socket:  # noqa: ARG002  the interface's
        """A socket that nobody speaks to."""
        return self._socket


class Nowhere:
    """A journal that keeps nothing; every record is durable at once."""

    source = "/bench/w0/01M7ZYY268B60B55WKWAKYFDS1"
    sequence = 1

    def append(
        self,
        record: bytes,  # noqa: ARG002  the port's signature
        on_durable: Callable[[bool], None] | None = None,
    ) -> None:
        """Answers at once."""
        if on_durable is not None:
            on_durable(True)  # noqa: FBT003  the port's signature

    def close(self) -> None:
        """Nothing to close."""


class NoSecrets:
    """No provider needs one."""

    def resolve(self, reference: str) -> str:
        """Never asked."""
        raise AssertionError(reference)


class Generous:
    """A lease desk that grants a thousand times what is asked for."""

    def ask(self, asked: AskLeases, on_answer: Callable[[Leased | None], None]) -> None:
        """Answers in the loop's next round."""
        grants = [Granted(need.account, need.want * 1000) for need in asked.needs]
        leased = Leased(asked.sequence, grants, [], [])
        asyncio.get_running_loop().call_soon(on_answer, leased)

    def returned(self) -> None:
        """Nobody waits for it."""


class OneConnection:
    """Sends every call on one connection."""

    unsent_bytes = 0

    def __init__(self, connection: UpstreamConnection) -> None:
        self._connection = connection

    def call(self, request: UpstreamRequest, sink: ReplySink) -> UpstreamCall:
        """Sends at once."""
        self._connection.send(request, sink, 0.0)
        return self._connection

    async def close(self) -> None:
        """Nothing to close."""


def snapshot() -> bytes:
    """Two services, one of them with budgets, and a credential of each."""
    base = small_registry(("ada",), ("s", "limited"))
    name, small, model = ServiceId("limited"), ModelId("small"), ModelId(MODEL)
    # By its provider's name of it: no body is rewritten for that.
    declared = replace(
        base.models[small], id=model, upstream=model, environments=("prod",)
    )
    models = {model: declared}
    budget = Budget((Window(10**15, "day"), Window(10**15, "month")))
    services = {
        one.id: replace(one, models=(model,), environment="prod")
        for one in base.services.values()
    }
    services[name] = replace(
        services[name],
        budget=budget,
        credential_budget=budget,
        limits=Limits(concurrency=1000),
    )
    registry = replace(base, models=models, services=services)
    rates = ModelRates(model, (Step(0, {"input": 150_000, "output": 600_000}),))
    card = rate_card("declared", {"local": {model: rates}})
    credentials = [
        Credential(CredentialId(service), service, "ada", 0, (Secret(digest, 0),))
        for service, secret in (("s", SECRET), ("limited", LIMITED))
        for digest in (hashlib.sha256(secret.encode()).hexdigest(),)
    ]
    return encode(Snapshot(1, 1, registry, credentials, card))


def ask(extra: bytes, secret: str = SECRET) -> bytes:
    """A whole request."""
    body = ASK % extra
    return (
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:4000\r\n"
        b"Content-Type: application/json\r\nAuthorization: Bearer %b\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (secret.encode(), len(body), body)
    )


def reply() -> bytes:
    """A whole JSON reply."""
    return (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"
        b"Connection: keep-alive\r\nx-request-id: req_bench\r\n\r\n%b"
        % (len(BODY), BODY)
    )


def stream() -> list[bytes]:
    """A stream's head and 50 chunks, the usage, and the end."""
    choice = b'[{"index":0,"delta":{"content":" word%d"},"finish_reason":null}]'
    chunks = [CHUNK % (choice % number) for number in range(50)]
    usage = b'[],"usage":{"prompt_tokens":100,"completion_tokens":50}'
    chunks += [CHUNK % usage, b"data: [DONE]\n\n"]
    head = (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n"
    )
    framed = [b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks]
    return [head, *framed, b"0\r\n\r\n"]


def least_us(run: Callable[[], Any], times: int, repeats: int) -> float:
    """The least time that one run took, in µs."""
    least = float("inf")
    for _ in range(repeats):
        began_ns = time.perf_counter_ns()
        for _ in range(times):
            run()
        least = min(least, (time.perf_counter_ns() - began_ns) / times / 1e3)
    return least


async def main() -> None:
    """Prints the figures."""
    loop = asyncio.get_running_loop()
    clock = SystemClock()
    lane = Lane(UpstreamTarget("127.0.0.1", 9, tls=False, ca_file=None), loop)
    upstream, client_wire = UpstreamConnection(lane), Wire()
    upstream.connection_made(Wire())  # type: ignore[arg-type]  has what is used
    ids = UlidIds(clock, SystemEntropy())
    floor = Floor(Nowhere(), OneConnection(upstream), clock, ids, plain=True)
    ports = Ports(Generous(), floor.recorder, clock, LoopTimers())
    floor.holding = Holding(ports, Holder("/bench/w0/1", "boot", "disk"))
    floor.take(Desk(decode(snapshot()), NoSecrets()))
    client = ClientConnection(floor)
    client.connection_made(client_wire)  # type: ignore[arg-type]  has what is used

    def play(request: bytes, replies: list[bytes]) -> None:
        client.data_received(request)
        for data in replies:
            upstream.data_received(data)

    whole, chunks = [reply()], stream()
    asked = b',"stream":true,"stream_options":{"include_usage":true}'
    play(ask(b""), whole)
    refuse_all_but_200(client_wire)
    client.data_received(ask(b"", LIMITED))
    await asyncio.sleep(0.05)  # for its first lease
    upstream.data_received(whole[0])
    gc.collect()
    gc.freeze()
    module = (
        Path(ClientConnection.data_received.__code__.co_filename).suffix
        if hasattr(ClientConnection.data_received, "__code__")
        else "compiled"
    )
    print(f"request path, {module}:")
    plain_us = 0.0
    for name, request, replies, times in (
        ("JSON request", ask(b""), whole, 20),
        ("JSON request, 4 budgets and a permit", ask(b"", LIMITED), whole, 20),
        ("50-chunk stream, usage asked for", ask(asked), chunks, 5),
        ("50-chunk stream, usage injected", ask(b',"stream":true'), chunks, 5),
    ):
        us = least_us(lambda r=request, p=replies: play(r, p), times, 400)  # type: ignore[misc]
        plain_us = plain_us or us
        print(f"  {name}: {us:.1f} µs")
    floor.take(Desk(decode(snapshot()), NoSecrets(), judge()))
    play(ask(b""), whole)
    refuse_all_but_200(client_wire)
    us = least_us(lambda: play(ask(b""), whole), 20, 400)
    print(
        f"  JSON request, by examples/policy, prompt scanned: {us:.1f} µs "
        f"({us - plain_us:.1f} µs more, {us / plain_us:.1f} x)"
    )
    p50, p99 = weighing_us(floor)
    print(
        f"  the policy alone, its facts and scan with it: p50 {p50:.1f}, p99 {p99:.1f}"
    )


def weighing_us(floor: Floor) -> tuple[float, float]:
    """p50 and p99 of what the policy itself costs: facts, scan and decision."""
    assert floor.admission is not None  # noqa: S101  it has admitted a request
    desk, route = floor.admission.desk, match(b"POST", b"/v1/chat/completions")
    held = desk.find(SECRET.encode())
    assert desk.judge is not None  # noqa: S101  the caller has put one there
    assert held is not None  # noqa: S101  it was just served
    assert route is not None  # noqa: S101  likewise
    service = desk.service(held.credential)
    assert service is not None  # noqa: S101  likewise
    (entitlement,) = desk.entitlements(held.credential, service, MODEL, route)
    standing, body = entitlement.standing, ASK % b""
    assert standing is not None  # noqa: S101  made for the judge
    asked = Body(route, read_facts(route, body), body, None, None)
    taken = []
    for _ in range(5000):
        began_ns = time.perf_counter_ns()
        desk.judge.weigh(standing, asked, began_ns)
        taken.append(time.perf_counter_ns() - began_ns)
    taken.sort()
    return taken[2500] / 1e3, taken[4950] / 1e3


def refuse_all_but_200(wire: Wire) -> None:
    """A refusal would be measured as a quick reply."""
    if not wire.last.startswith(b"HTTP/1.1 200"):
        raise SystemExit(wire.last.decode())


def judge() -> Judge:
    """Decides by the example, as a worker would that was told of it."""
    policy = read_bundle([ROOT / "examples" / "policy"]).policy
    if policy is None:
        raise SystemExit("examples/policy cannot be read")
    plain = [plain_set(one) for one in policy.sets]
    active = ActivePolicy("sha256:bench", plain)
    return Judge(active, policy_of(plain), RE2Scanner())


if __name__ == "__main__":
    uvloop.run(main())
