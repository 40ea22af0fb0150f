"""An organization whose one model runs in several places, and what it recorded."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple

from comptroller.core.credential import Credential, CredentialId, Secret, hash_secret
from comptroller.core.rates import ModelRates, Step, rate_card
from comptroller.core.registry import (
    Budget,
    Deployment,
    Model,
    ModelId,
    Provider,
    ProviderId,
    Registry,
    ServiceId,
)
from comptroller.engine.snapshot import Snapshot
from comptroller.testing.answered import acme
from comptroller.testing.journal import InMemoryJournal

SERVICE: Final = ServiceId("checkout-assistant")
HOUSE: Final = ModelId("house")
CREDENTIAL: Final = Credential(
    CredentialId("c1"), SERVICE, "ada", 0, (Secret(hash_secret("good"), 0),)
)
"""Its secret is `good`."""
_KINDS: Final = ("decided", "extended", "settled", "released")


class Places(NamedTuple):
    """Where HOUSE runs."""

    names: str
    """A letter for each provider; the region `r-` and that letter."""
    budget: Budget | None = None
    """Of the service."""
    dearer: Mapping[str, int] = {}
    """By letter: so many nano-USD a token; 1 unless said."""

    def registry(self) -> Registry:
        """SERVICE may use HOUSE, which runs at each provider as `m`."""
        base = acme()
        providers = {
            ProviderId(name): Provider(
                ProviderId(name),
                f"https://{name}.example",
                {"openai": "/v1"},
                region=f"r-{name}",
            )
            for name in self.names
        }
        places = tuple(Deployment(name, "m") for name in providers)
        model = Model(HOUSE, places[0].provider, "m", max_output_tokens=4096)
        if len(places) > 1:
            model = replace(model, deployments=places)
        service = base.services[SERVICE]
        service = replace(service, models=(HOUSE,), budget=self.budget)
        return replace(
            base,
            providers=providers,
            models={HOUSE: model},
            services={SERVICE: service},
        )

    def snapshot(self, credential: Credential) -> Snapshot:
        """What a worker serves from."""
        listed = {name: _rates(self.dearer.get(name, 1)) for name in self.names}
        card = rate_card("test", listed)
        return Snapshot(1, 1, self.registry(), [credential], card)


def _rates(nano_usd: int) -> dict[str, ModelRates]:
    pico = {"input": 1000 * nano_usd, "output": 1000 * nano_usd}
    return {"m": ModelRates("m", (Step(0, pico),), source="test")}


def told(journal: InMemoryJournal) -> Sequence[tuple[str, dict[str, Any]]]:
    """What a journal has of requests, in order: kind and data."""
    found = [json.loads(one.line) for one in journal.records]
    named = [(one["type"].split(".")[-2], one["data"]) for one in found]
    return [one for one in named if one[0] in _KINDS]


def story(journal: InMemoryJournal) -> Sequence[tuple[str, str, object]]:
    """The same in short: kind, decision, and result or outcome or reason."""
    return [
        (
            kind,
            data["decision_id"],
            data.get("outcome") or data.get("result") or data["reason"],
        )
        for kind, data in told(journal)
    ]
