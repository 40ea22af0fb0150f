"""The installed program: `comptroller apply`, `key issue`, `serve`, `requests`."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

READY_S_MAX: Final = 60.0
COMMAND_S_MAX: Final = 120.0
PROVIDER_KEY: Final = "the-provider-key"

HOUSE: Final[dict[str, Any]] = {
    "version": 1,
    "organization": "acme",
    "timezone": "Europe/Amsterdam",
    "people": {
        "ada": {"name": "Ada Lovelace", "email": "ada@acme.example"},
        "grace": {"name": "Grace Hopper", "email": "grace@acme.example"},
        "alan": {"name": "Alan Turing", "email": "alan@acme.example"},
    },
    "gateway": {"owner": "alan"},
}
OWNERS: Final = {"policy": "ada", "billing": "grace", "technical": "alan"}

PRICE: Final[dict[str, Any]] = {
    "input": 2,
    "cache_read": 0.25,
    "cache_write_5m": 2.5,
    "cache_write_30m": 2.75,
    "cache_write_1h": 4,
    "cache_write_12h": 5,
    "input_audio": 30,
    "input_image": 3,
    "output": 8,
    "reasoning": 9,
    "output_audio": 60,
    "output_image": 40,
    "per_unit": {"web_search": 0.01},
}
"""USD per million tokens; no two alike, so that a mistaken class shows in a cost."""

NANO_USD: Final = {
    **{name: int(price * 1000) for name, price in PRICE.items() if name != "per_unit"},
    "web_search": 10_000_000,
}
"""The same per token, and per search; whole numbers, so that nothing is rounded."""


def document(provider: str, services: dict[str, list[str]]) -> dict[str, Any]:
    """A configuration: one provider of three dialects, and who may use it.

    Args:
        provider: its origin.
        services: id to the models that it may use, as their provider names them.
    """
    models = sorted({model for used in services.values() for model in used})
    dialects = ["openai", "anthropic", "gemini"]
    return {
        **HOUSE,
        "providers": {
            "replayed": {
                "base_url": provider,
                "speaks": dialects,
                "credential": "env:REPLAYED_KEY",
            }
        },
        "models": {_declared(name): _model(name) for name in models},
        "tenants": {
            "acme": {
                "units": {
                    "research": {
                        "owner": "grace",
                        "services": {
                            name: {
                                "purpose": "Asks what was asked before",
                                "kind": "internal",
                                "environment": "test",
                                "owners": OWNERS,
                                "models": [_declared(name) for name in used],
                            }
                            for name, used in services.items()
                        },
                    }
                }
            }
        },
    }


def _declared(name: str) -> str:
    """The name in the configuration: some of a provider's cannot stand there."""
    return re.sub(r"^[^A-Za-z0-9]+", "", name)


def _model(name: str) -> dict[str, Any]:
    return {
        "provider": "replayed",
        "upstream": name,
        "price": PRICE,
        "max_output_tokens": 131072,
    }


def cost_of(usage: dict[str, int]) -> int:
    """What a usage costs at PRICE, in nano-USD."""
    return sum(NANO_USD[name] * count for name, count in usage.items())


def free_port() -> int:
    """A port that nobody uses at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Gateway:
    """One data directory and configuration, and the program on it.

    Args:
        folder: where both are kept.
        configuration: as `document` gives it; YAML reads JSON.
    """

    def __init__(self, folder: Path, configuration: dict[str, Any]) -> None:
        self._folder = folder
        self._config = folder / "comptroller.yaml"
        self._config.write_text(json.dumps(configuration))
        self.port = free_port()
        self.base = f"http://127.0.0.1:{self.port}"
        own = {k: v for k, v in os.environ.items() if not k.startswith("COMPTROLLER_")}
        self._environment = {**own, "REPLAYED_KEY": PROVIDER_KEY}

    def run(self, *arguments: str) -> str:
        """Runs one command to its end; gives what it printed."""
        done = subprocess.run(
            self._command(*arguments),
            capture_output=True,
            text=True,
            timeout=COMMAND_S_MAX,
            env=self._environment,
            check=False,
        )
        assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
        return done.stdout

    def issue_key(self, service: str) -> str:
        """Issues a credential; gives its secret."""
        printed = self.run("key", "issue", service, "--for", "ada", "--json")
        secret: str = json.loads(printed)["secret"]
        return secret

    def requests(self) -> list[dict[str, Any]]:
        """Everything in the books."""
        found: list[dict[str, Any]] = json.loads(
            self.run("requests", "--all", "--json")
        )
        return found

    @contextlib.contextmanager
    def serving(self, workers: int = 1) -> Iterator[None]:
        """Applies the configuration and serves while the block lasts."""
        self.run("check", "--config", str(self._config))
        self.run("apply", "--yes", "--config", str(self._config))
        log = self._folder / "serve.log"
        command = self._command(
            *("serve", "--config", str(self._config), "--workers", str(workers)),
            *("--listen", f"127.0.0.1:{self.port}", "--console", "127.0.0.1:0"),
        )
        with log.open("wb") as output:
            process = subprocess.Popen(
                command, stdout=output, stderr=output, env=self._environment
            )
        try:
            self._wait_until_ready(process, log)
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)
            said = log.read_text(errors="replace")
        assert "Traceback" not in said, said[-4000:]
        assert process.returncode == 0, said[-4000:]

    def _command(self, *arguments: str) -> list[str]:
        data = [] if arguments[0] == "check" else ["--data", str(self._folder / "data")]
        return [sys.executable, "-m", "comptroller", *arguments, *data]

    def _wait_until_ready(self, process: subprocess.Popen[bytes], log: Path) -> None:
        deadline = time.monotonic() + READY_S_MAX
        while time.monotonic() < deadline and process.poll() is None:
            with contextlib.suppress(OSError, http.client.HTTPException):
                asked = http.client.HTTPConnection("127.0.0.1", self.port, timeout=2)
                with contextlib.closing(asked):
                    asked.request("GET", "/readyz")
                    if asked.getresponse().status == 200:
                        return
            time.sleep(0.05)
        raise AssertionError(f"not ready: {log.read_text(errors='replace')[-4000:]}")
