"""A gateway with limits for tests: many services, and the provider's own bill."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

from comptroller.testing.provider.process import running_provider
from comptroller.testing.tree import ServeTree, run_command, told

INPUT_NANO_USD: Final = 1000
OUTPUT_NANO_USD: Final = 4000
"""Per token: 1 and 4 USD per million. Whole nano-USD, so that no bill is rounded."""
MODEL: Final = "house"
_PEOPLE: Final = {"ada": {"name": "Ada Lovelace", "email": "ada@acme.example"}}


class Limits(NamedTuple):
    """What is declared beside the services themselves."""

    organization: str | None = None
    """The organization's budget."""
    models: Mapping[str, Mapping[str, Any]] = {}
    """More models, or more to say about MODEL, such as its own limits."""
    provider: Mapping[str, Any] = {}
    """More to say about the provider."""


def service(**said: object) -> dict[str, Any]:
    """A service of the configuration, with what is said beyond the necessary."""
    return {
        "purpose": "Tests limits",
        "kind": "internal",
        "environment": "test",
        "owners": {"policy": "ada", "billing": "ada", "technical": "ada"},
        "models": [MODEL],
        **said,
    }


def one_unit(services: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Tenants that are one tenant, `acme`, with one unit, `retail`."""
    unit = {"owner": "ada", "services": services}
    return {"acme": {"owner": "ada", "units": {"retail": unit}}}


def limited_configuration(
    origin: str, tenants: Mapping[str, Any], limits: Limits | None = None
) -> str:
    """The text of a `comptroller.yaml`: JSON, which is YAML.

    Args:
        origin: of the one provider.
        tenants: as the configuration has them.
        limits: what else is declared.
    """
    limits = limits or Limits()
    price = {"input": INPUT_NANO_USD / 1000, "output": OUTPUT_NANO_USD / 1000}
    house = {"provider": "local", "price": price, "max_output_tokens": 4096}
    provider = {"base_url": origin, "speaks": ["openai", "anthropic"]}
    models = {
        name: {**house, **limits.models.get(name, {})}
        for name in dict.fromkeys([MODEL, *limits.models])
    }
    document: dict[str, Any] = {
        "version": 1,
        "organization": "acme",
        "people": _PEOPLE,
        "gateway": {"owner": "ada"},
        "providers": {"local": {**provider, **limits.provider}},
        "models": models,
        "tenants": tenants,
    }
    if limits.organization is not None:
        document["budget"] = limits.organization
    return json.dumps(document, indent=1)


def chat(words: int = 40, **fields: object) -> dict[str, Any]:
    """The body of a chat completion of MODEL."""
    content = "hello there, " * words
    messages = [{"role": "user", "content": content}]
    return {"model": MODEL, "messages": messages, **fields}


def usd(nano_usd: int) -> str:
    """An amount as the configuration has it."""
    return f"{nano_usd // 10**9}.{nano_usd % 10**9:09d} USD"


def bill_nano_usd(group: Mapping[str, Any]) -> int:
    """What a group of the provider's books costs at the prices of MODEL.

    Args:
        group: of `LimitedSite.groups`.
    """
    return sum(
        line.get("input", 0) * INPUT_NANO_USD + line.get("output", 0) * OUTPUT_NANO_USD
        for line in group["bill"].values()
    )


class LimitedSite:
    """A folder with a configuration, its gateway, and the provider behind it.

    Args:
        folder: with a `comptroller.yaml` that is applied, or will be.
        origin: of the simulated provider.
    """

    def __init__(self, folder: Path, origin: str) -> None:
        self.folder = folder
        self.origin = origin
        self.tree: ServeTree | None = None
        self.keys: dict[str, str] = {}
        """Service to the secret of its credential."""

    @property
    def port(self) -> int:
        """Of the gateway, which must run."""
        if self.tree is None:
            raise RuntimeError("the gateway does not run")
        return self.tree.port

    @property
    def data(self) -> Path:
        """The data directory."""
        return self.folder / "comptroller-data"

    def start(self, workers: int) -> ServeTree:
        """Starts the gateway, at the port that it had before."""
        port = 0 if self.tree is None else self.tree.port
        self.tree = ServeTree(self.folder, workers, port)
        return self.tree

    def stop(self) -> None:
        """Stops the gateway in order.

        Raises:
            RuntimeError: it did not end well, or a traceback was said.
        """
        if self.tree is None:
            return
        status = self.tree.stop()
        said = self.tree.log()
        if status or "Traceback" in said:
            raise RuntimeError(f"serve ended with {status}: {said}")

    def apply(self, tenants: Mapping[str, Any], limits: Limits | None = None) -> None:
        """Applies a configuration."""
        text = limited_configuration(self.origin, tenants, limits)
        (self.folder / "comptroller.yaml").write_text(text)
        run_command(self.folder, "apply", "--yes")

    def issue(self, service_id: str) -> dict[str, Any]:
        """Issues a credential; `credential_id` and `secret`."""
        words = ("key", "issue", service_id, "--for", "ada")
        issued: dict[str, Any] = told(self.folder, *words)
        return issued

    def key(self, service_id: str) -> str:
        """The secret of a service's credential, issued when first asked for."""
        if service_id not in self.keys:
            self.keys[service_id] = str(self.issue(service_id)["secret"])
        return self.keys[service_id]

    def groups(self) -> dict[str, Any]:
        """The provider's books by group, that is by what tags begin with."""
        with urllib.request.urlopen(f"{self.origin}/__stats") as reply:  # noqa: S310  loopback
            found: dict[str, Any] = json.load(reply)["groups"]
        return found

    def budgets(self) -> dict[str, dict[str, Any]]:
        """What `budget list` says, by the budget's id."""
        rows = told(self.folder, "budget", "list")
        return {row["budget_id"]: row for row in rows}

    def contradictions(self) -> list[str]:
        """What `audit books` finds."""
        found = told(self.folder, "audit", "books")
        return list(found["contradictions"])


@contextmanager
def limited_site(
    folder: Path,
    tenants: Mapping[str, Any],
    workers: int = 2,
    limits: Limits | None = None,
) -> Iterator[LimitedSite]:
    """A gateway over a simulated provider while the block lasts.

    Args:
        folder: an empty one.
        tenants: as the configuration has them.
        workers: how many; 0: it is not started.
        limits: what else is declared.
    """
    with running_provider() as origin:
        site = LimitedSite(folder, origin)
        site.apply(tenants, limits)
        try:
            if workers:
                site.start(workers)
            yield site
            site.stop()
        finally:
            # What went wrong in the block says more than how the gateway ended.
            if site.tree is not None:
                site.tree.stop()
