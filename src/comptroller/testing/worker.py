"""A real gateway worker for tests: its process, what it serves, what it recorded."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec

from comptroller.core.credential import (
    Credential,
    CredentialId,
    Secret,
    compose,
    hash_secret,
    public_id,
)
from comptroller.core.rates import ModelRates, Step, rate_card
from comptroller.core.registry import (
    GatewaySettings,
    Model,
    ModelId,
    Provider,
    ProviderId,
    Registry,
    ServiceId,
)
from comptroller.engine import records
from comptroller.engine.snapshot import Snapshot, encode
from comptroller.testing.answered import acme
from comptroller.testing.rawclient import Reply, raw_client, request
from comptroller.testing.system import SeededEntropy
from comptroller.testing.upstream import ScriptedUpstream

READY_S_MAX: Final = 20.0
RECORDED_S_MAX: Final = 5.0
PROVIDER_KEY: Final = "sk-provider-secret"
SERVICE: Final = ServiceId("checkout-assistant")
DIALECTS: Final = {"openai": "/v1", "anthropic": "/v1", "gemini": "/v1beta"}
_RATES: Final = {"input": 250_000, "output": 2_000_000}
_SHAPES: Final[dict[str, type[msgspec.Struct]]] = {
    records.DECIDED: records.Decided,
    records.SETTLED: records.Settled,
    records.RELEASED: records.Released,
    records.ABANDONED: records.Abandoned,
    records.UNAUTHENTICATED: records.Unauthenticated,
}
CHAT_PATH: Final = "/v1/chat/completions"
CHAT_BODY: Final = b'{"model":"up","messages":[{"role":"user","content":"Hi"}]}'
STREAM_BODY: Final = CHAT_BODY[:-1] + b',"stream":true}'
_ENDS: Final = (records.SETTLED, records.RELEASED, records.ABANDONED)


class Issued(NamedTuple):
    """A credential and its secret."""

    credential: Credential
    secret: str


class Served:
    """What workers serve: an organization whose models run at the given origins.

    Every provider `p` has the models `p` and `p-alias`, whose name there is `m`.

    Args:
        publish: the snapshot store's.
        providers: by id; see `provider`.
        settings: of the gateway; its owner is `alan`.
    """

    def __init__(
        self,
        publish: Callable[[bytes], None],
        providers: Mapping[str, Provider],
        **settings: int,
    ) -> None:
        self._publish = publish
        self._entropy = SeededEntropy(1)
        self._sequence = 0
        self.credentials: dict[CredentialId, Credential] = {}
        self.registry = self._registry(providers, settings)
        rates = ModelRates("m", (Step(0, _RATES),), source="test")
        self.card = rate_card("test", {name: {"m": rates} for name in providers})
        self.main = self.issue()
        self.publish()

    @property
    def key(self) -> str:
        """The secret of the credential that most tests use."""
        return self.main.secret

    def publish(self) -> None:
        """Publishes the present state."""
        self._sequence += 1
        listed = list(self.credentials.values())
        snapshot = Snapshot(self._sequence, 1, self.registry, listed, self.card)
        self._publish(encode(snapshot))

    def issue(self, **fields: int) -> Issued:
        """Issues a credential; `publish` makes it known.

        Args:
            fields: `expires_ns`.
        """
        name = public_id(self._entropy.token(32))
        text = compose(name, self._entropy.token(32))
        secret = Secret(hash_secret(text), 0)
        credential = Credential(
            id=name,
            service=SERVICE,
            person="grace",
            issued_ns=1,
            secrets=(secret,),
            expires_ns=fields.get("expires_ns"),
        )
        self.credentials[name] = credential
        return Issued(credential, text)

    def rotate(self, issued: Issued, old_not_after_ns: int) -> str:
        """Adds a secret to a credential; gives it."""
        name = issued.credential.id
        text = compose(name, self._entropy.token(32))
        credential = self.credentials[name]
        old = tuple(
            replace(one, not_after_ns=old_not_after_ns) for one in credential.secrets
        )
        secrets = (*old, Secret(hash_secret(text), 0))
        self.credentials[name] = replace(credential, secrets=secrets)
        return text

    def revoke(self, issued: Issued) -> None:
        """Revokes a credential and publishes that."""
        name = issued.credential.id
        self.credentials[name] = replace(self.credentials[name], revoked_ns=2)
        self.publish()

    def _registry(
        self, providers: Mapping[str, Provider], settings: Mapping[str, Any]
    ) -> Registry:
        base = acme()
        models = {
            ModelId(name): Model(
                ModelId(name),
                one.id,
                "m",
                max_output_tokens=4096,
                context_window_tokens=100_000,
            )
            for one in providers.values()
            for name in (one.id, f"{one.id}-alias")
        }
        service = replace(base.services[SERVICE], models=tuple(models))
        owner = base.gateway.owner
        return replace(
            base,
            gateway=replace(GatewaySettings(owner=owner), **settings),
            providers={ProviderId(name): one for name, one in providers.items()},
            models=models,
            services={SERVICE: service},
        )


def provider(name: str, origin: str, ca_file: str | None = None) -> Provider:
    """A provider that speaks all three dialects and wants PROVIDER_KEY."""
    return Provider(ProviderId(name), origin, DIALECTS, "env:PROVIDER_KEY", ca_file)


class Recorded(NamedTuple):
    """One record of a journal, decoded."""

    type: str
    subject: str
    data: dict[str, Any]


class WorkerProcess:
    """A gateway worker on a data directory.

    Args:
        data: the directory.
        options: of `bootstrap.worker.WorkerOptions`, beyond the address.
        port: to share another worker's; 0: a free one.
    """

    def __init__(
        self, data: Path, options: Mapping[str, object] | None = None, port: int = 0
    ) -> None:
        self.data = data
        self._reserved = socket.socket()
        self._reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._reserved.bind(("127.0.0.1", port))
        self.port: int = self._reserved.getsockname()[1]
        told: dict[str, object] = {
            "data": str(data),
            "name": "w0",
            "host": "127.0.0.1",
            "port": self.port,
            "durability": "disk",
            "grace_s": 1.0,
        }
        told.update(options or {})
        ours, theirs = socket.socketpair()
        told["lifeline"] = theirs.fileno()
        self._lifeline = ours
        self.log = data / f"worker-{self.port}-{theirs.fileno()}.log"
        with self.log.open("ab") as log, theirs:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "comptroller", "_worker"),
                    msgspec.json.encode(told).decode(),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[theirs.fileno()],
                env={**os.environ, "PROVIDER_KEY": PROVIDER_KEY},
            )
        ours.settimeout(READY_S_MAX)
        if not ours.recv(64):
            said = self.log.read_text(errors="replace")
            raise RuntimeError(f"the worker did not start: {said}")

    def get(self, path: str) -> int:
        """The status of a GET."""
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        with contextlib.closing(link):
            link.request("GET", path)
            return link.getresponse().status

    def memory_bytes(self) -> int:
        """Resident memory of the process."""
        statm = Path(f"/proc/{self.process.pid}/statm").read_text("ascii")
        return int(statm.split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def terminate(self) -> None:
        """Asks it to stop in order."""
        self.process.send_signal(signal.SIGTERM)

    def let_go(self) -> None:
        """Ends the life line, as a supervisor's death does."""
        self._lifeline.close()

    def stop(self, within_s: float = 15) -> int:
        """Stops in order; the exit status."""
        self.terminate()
        try:
            return self.process.wait(within_s)
        finally:
            self.process.kill()
            self.process.wait()
            self._lifeline.close()
            self._reserved.close()


class Site(NamedTuple):
    """A worker, what it serves, and the upstream of its provider `up`."""

    upstream: ScriptedUpstream
    served: Served
    worker: WorkerProcess

    @property
    def bearer(self) -> str:
        """The header line of the credential that most tests use."""
        return f"Authorization: Bearer {self.served.key}"

    def ask(self, data: bytes, *, is_head: bool = False) -> Reply:
        """Sends bytes on a new connection and reads one reply."""
        with raw_client(self.worker.port) as client:
            client.send(data)
            return client.read(is_head=is_head)

    def chat(self, body: bytes = CHAT_BODY, *headers: str) -> Reply:
        """Asks for a chat completion."""
        return self.ask(request(CHAT_PATH, body, self.bearer, *headers))

    def decision(self, reply: Reply) -> Recorded:
        """What the journal says of a reply's request."""
        return decision(self.worker.data, reply.request_id)

    def end(self, reply: Reply) -> Recorded:
        """How the request of a reply ended in the journal."""
        return ended(self.worker.data, reply.request_id)


OpenSite: TypeAlias = Callable[..., AbstractContextManager[Site]]
"""Opens a site of the test's own: options of the worker, providers, settings."""


def recorded(data: Path) -> list[Recorded]:
    """Every record of the request path in all journals, decoded strictly.

    Raises:
        ValueError: a record is not of its shape, or a sequence has a gap.
    """
    found = []
    for path in sorted((data / "journal").glob("*.jsonl")):
        for number, line in enumerate(path.read_bytes().splitlines()):
            envelope = msgspec.json.decode(line, type=records.Envelope)
            if int(envelope.sequence) != number:
                raise ValueError(f"{path.name}: a gap before {line!r}")
            plain = msgspec.json.decode(envelope.data)
            shape = _SHAPES.get(envelope.type)
            if shape is not None:
                known = msgspec.json.encode(
                    msgspec.json.decode(envelope.data, type=shape)
                )
                # What has a default may be left out; nothing unknown may be in.
                if plain.keys() - msgspec.json.decode(known).keys():
                    raise ValueError(f"{path.name}: not of its shape: {line!r}")
            found.append(Recorded(envelope.type, envelope.subject, plain))
    return found


def decision(data: Path, request_id: str) -> Recorded:
    """The decision about a request, for which it waits.

    Raises:
        TimeoutError: there is none in time.
    """
    return _awaited(data, request_id, (records.DECIDED,))


def ended(data: Path, request_id: str) -> Recorded:
    """The end of a request, for which it waits.

    Raises:
        TimeoutError: it has none in time.
    """
    return _awaited(data, request_id, _ENDS)


def _awaited(data: Path, request_id: str, types: tuple[str, ...]) -> Recorded:
    # A journal's line is written a moment after the reply that it is about.
    deadline = time.monotonic() + RECORDED_S_MAX
    while time.monotonic() < deadline:
        for one in recorded(data):
            if one.type in types and one.data["decision_id"] == request_id:
                return one
        time.sleep(0.02)
    raise TimeoutError(f"request {request_id} has no {' or '.join(types)}")


def unbalanced(data: Path) -> list[str]:
    """What is wrong with the books: allowed requests without exactly one end."""
    allowed: set[str] = set()
    decided: Counter[str] = Counter()
    ends: Counter[str] = Counter()
    for one in recorded(data):
        if one.type == records.DECIDED:
            decided[one.data["decision_id"]] += 1
            if one.data["result"] == "allow":
                allowed.add(one.data["decision_id"])
        elif one.type in _ENDS:
            ends[one.data["decision_id"]] += 1
    wrong = [f"{name} was decided {n} times" for name, n in decided.items() if n > 1]
    wrong += [f"{n} ends {ends[n]} times" for n in sorted(allowed) if ends[n] != 1]
    return wrong + [f"{n} ends and was not allowed" for n in ends.keys() - allowed]
