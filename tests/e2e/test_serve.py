"""`comptroller serve` as people start it: real processes, ports and signals."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import trustme

from comptroller.bootstrap.place import Place
from comptroller.core.errors import StoreUnavailableError
from comptroller.testing.small import small_configuration
from comptroller.testing.tree import command, told

CONFIGURATION = small_configuration(
    "{base_url: http://127.0.0.1:9, speaks: [openai]}",
    {"small": "price: {input: 1, output: 2}, max_output_tokens: 100"},
)


class Served(NamedTuple):
    """A running `serve`, with all its processes."""

    process: subprocess.Popen[str]
    folder: Path
    port: int
    status_port: int
    lines: list[str]

    def children(self) -> dict[str, int]:
        """Kind and name to process id."""
        pid = self.process.pid
        found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        named = {}
        for child in found:
            words = Path(f"/proc/{child}/cmdline").read_text().split("\0")
            if "_control" in words:
                named["control"] = int(child)
            elif "_worker" in words:
                named[json.loads(words[-2])["name"]] = int(child)
        return named

    def get(self, path: str, secret: str | None = None) -> tuple[int, str]:
        """One request on a connection of its own, so on any of the workers."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        headers = {"authorization": f"Bearer {secret}"} if secret else {}
        try:
            connection.request("GET", path, headers=headers)
            reply = connection.getresponse()
            return reply.status, reply.read().decode()
        finally:
            connection.close()

    def read_until(self, text: str) -> str:
        """Reads what serve prints until a line contains a text."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line)
            if text in line:
                return line
        raise AssertionError(f"never said {text!r}: {self.lines}")


@contextmanager
def serving(folder: Path, *words: str) -> Iterator[Served]:
    arguments = ["--listen", "127.0.0.1:0", "--console", "127.0.0.1:0", *words]
    process = subprocess.Popen(
        [sys.executable, "-m", "comptroller", "serve", *arguments],
        cwd=folder,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        served = Served(process, folder, 0, 0, [])
        ready = served.read_until("comptroller is ready")
        ports = [int(port) for port in re.findall(r":([0-9]+)", ready)]
        yield served._replace(port=ports[0], status_port=ports[1])
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        finally:
            process.kill()
            process.wait()
            assert process.stderr is not None
            process.stderr.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "comptroller.yaml").write_text(CONFIGURATION)
    return tmp_path


def is_alive(process: int) -> bool:
    try:
        return ") Z" not in Path(f"/proc/{process}/stat").read_text()
    except FileNotFoundError:
        return False


def wait_for(condition: Any, seconds: float = 15) -> None:  # noqa: ANN401  any callable
    deadline_s = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


def test_serve_applies_serves_and_stops_without_a_trace(folder: Path) -> None:
    """The first start applies the file; SIGTERM ends every process with status 0."""
    with serving(folder, "--workers", "2") as served:
        assert "Applied as revision 1." in served.lines[0]
        assert "(2 workers)" in served.lines[-1]
        assert served.get("/readyz")[0] == 200
        children = served.children()
        assert sorted(children) == ["control", "w0", "w1"]
        served.process.send_signal(signal.SIGTERM)
        assert served.process.wait(20) == 0
    assert not any(is_alive(child) for child in children.values())


def test_a_revoked_credential_is_refused_within_a_second(folder: Path) -> None:
    """On every worker; with the control process dead just the same."""
    with serving(folder, "--workers", "2") as served:
        for with_control in (True, False):
            key = told(folder, "key", "issue", "checkout", "--for", "ada")
            secret = key["secret"]
            time.sleep(1)
            answers = [served.get("/v1/models", secret) for _ in range(30)]
            assert {status for status, _ in answers} == {200}, answers
            if not with_control:
                os.kill(served.children()["control"], signal.SIGSTOP)
                os.kill(served.children()["control"], signal.SIGKILL)
            reason = ("--reason", "test")
            told(folder, "key", "revoke", key["credential_id"], *reason)
            time.sleep(1)
            answers = [served.get("/v1/models", secret) for _ in range(30)]
            assert {status for status, _ in answers} == {401}, answers


def test_a_killed_child_is_replaced_and_service_goes_on(folder: Path) -> None:
    """After `kill -9` of a worker and of the control process both are there again."""
    with serving(folder, "--workers", "1") as served:
        before = served.children()
        for child in before.values():
            os.kill(child, signal.SIGKILL)
        served.read_until("control process was ended by SIGKILL")
        wait_for(lambda: sorted(served.children()) == ["control", "w0"])
        assert not set(before.values()) & set(served.children().values())
        wait_for(lambda: command(folder, "key", "list").returncode == 0)

        def answers() -> bool:
            try:
                return served.get("/readyz")[0] == 200
            except ConnectionError:
                return False

        wait_for(answers)


def test_children_end_with_a_killed_supervisor(folder: Path) -> None:
    """Nothing is left behind by `kill -9` of serve itself, and it can start again."""
    with serving(folder, "--workers", "1") as served:
        children = served.children()
        served.process.kill()
        served.process.wait()
        wait_for(lambda: not any(is_alive(child) for child in children.values()))
    with serving(folder, "--workers", "1") as served:
        assert served.get("/readyz")[0] == 200
        status = http.client.HTTPConnection("127.0.0.1", served.status_port)
        status.request("GET", "/api/status")
        document = json.loads(status.getresponse().read())
        status.close()
        assert (document["revision"], document["workers"]) == (1, 1)


def test_a_changed_file_is_told_and_not_served(folder: Path) -> None:
    """What is applied goes on; the difference is said once serve is ready."""
    assert command(folder, "apply", "--yes").returncode == 0
    changed = CONFIGURATION.replace("purpose: Tests", "purpose: More tests")
    (folder / "comptroller.yaml").write_text(changed)
    with serving(folder, "--workers", "1") as served:
        line = served.read_until("differs")
        assert line == (
            "comptroller.yaml differs from what is applied in 1 object; serving"
            " revision 1: see comptroller plan\n"
        )


def test_a_missing_provider_key_is_told_at_the_start(folder: Path) -> None:
    """Not only by the first request that is refused for it."""
    provider = "speaks: [openai]"
    named = CONFIGURATION.replace(provider, provider + ", credential: env:NO_SUCH_KEY")
    (folder / "comptroller.yaml").write_text(named)
    with serving(folder, "--workers", "1") as served:
        _, warning, _ = served.lines
        assert "has no credential, so its requests are refused" in warning
        assert "NO_SUCH_KEY is not set" in warning


def test_a_missing_key_of_a_tenant_is_told_at_the_start(folder: Path) -> None:
    """The tenant whose requests will be refused is named."""
    own = "    provider_credentials: {local: env:NO_SUCH_KEY}\n"
    named = CONFIGURATION.replace("tenants:\n  acme:\n", "tenants:\n  acme:\n" + own)
    (folder / "comptroller.yaml").write_text(named)
    with serving(folder, "--workers", "1") as served:
        _, warning, _ = served.lines
        assert "tenant acme: provider local has no credential" in warning
        assert "NO_SUCH_KEY is not set" in warning


def test_a_directory_of_another_account_is_told_as_such(tmp_path: Path) -> None:
    """Serving it would fail in every child, again and again: it is looked at first."""
    tmp_path.chmod(0o555)
    child = os.fork()
    if child == 0:
        # No exit but this one: the child must not run the rest of the tests.
        try:
            os.chdir(tmp_path)  # its parents may be closed to other accounts
            if os.geteuid() == 0:
                os.setuid(65534)
            Place(Path()).prepare()
        except StoreUnavailableError as error:
            os._exit(0 if "cannot be written by this account" in error.message else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_two_serves_do_not_share_a_directory_or_a_port(folder: Path) -> None:
    """The second one is refused with what to do about it."""
    with serving(folder, "--workers", "1") as served:
        second = command(folder, "serve", "--listen", "127.0.0.1:0")
        assert second.returncode == 1
        assert second.stderr == (
            "error: comptroller serves comptroller-data already; stop that one first\n"
        )
        place = f"127.0.0.1:{served.port}"
        other = command(folder, "serve", "--data", "other", "--listen", place)
        assert other.returncode == 1
        assert (
            f"error: cannot listen at {place}: Address already in use" in other.stderr
        )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--config", "absent.yaml"], "there is no absent.yaml"),
        (["--tls-cert", "absent.pem"], "the certificate absent.pem"),
        (["--tls-key", "key.pem"], "--tls-key needs --tls-cert"),
    ],
)
def test_what_cannot_be_served_is_refused_at_once(
    folder: Path, words: list[str], message: str
) -> None:
    """Nothing is started when a file that is needed is not there."""
    done = command(folder, "serve", *words)
    assert done.returncode == 1
    assert message in done.stderr


def test_an_invalid_file_is_reported_and_nothing_stays(folder: Path) -> None:
    """A first start with an invalid configuration prints its problems and ends."""
    (folder / "comptroller.yaml").write_text(CONFIGURATION.replace("kind:", "kin:"))
    done = command(
        folder, "serve", "--listen", "127.0.0.1:0", "--console", "127.0.0.1:0"
    )
    assert done.returncode == 1
    assert "comptroller.yaml:" in done.stderr
    assert "kin" in done.stderr


def test_clients_may_be_served_over_tls(folder: Path) -> None:
    """With a certificate the gateway speaks TLS, and a client verifies it."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    identity = authority.issue_cert("127.0.0.1")
    identity.private_key_and_cert_chain_pem.write_to_path(str(folder / "server.pem"))
    with serving(folder, "--workers", "1", "--tls-cert", "server.pem") as served:
        assert f"https://127.0.0.1:{served.port}" in served.lines[-1]
        context = ssl.create_default_context(cafile=str(folder / "ca.pem"))
        connection = http.client.HTTPSConnection(
            "127.0.0.1", served.port, context=context, timeout=10
        )
        connection.request("GET", "/readyz")
        assert connection.getresponse().status == 200
        connection.close()


def test_an_ipv6_address_is_served(folder: Path) -> None:
    """HOST:PORT takes an address in brackets."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return  # this machine has no IPv6 to serve
    with serving(folder, "--workers", "1", "--listen", "[::1]:0") as served:
        assert "http://[::1]:" in served.lines[-1]
