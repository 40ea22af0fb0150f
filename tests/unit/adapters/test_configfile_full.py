"""Every key of the configuration arrives.

Elsewhere a budget was dropped without a word (maximhq/bifrost issue 5673).
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import yaml

from comptroller.adapters.configfile.document import json_schema
from comptroller.adapters.configfile.reading import Configuration, read_contents
from comptroller.core.difference import difference
from comptroller.core.registry import (
    Budget,
    DeclaredPrice,
    Deployment,
    Downgrade,
    Limits,
    ModelId,
    PersonId,
    PolicyException,
    Privacy,
    ProviderId,
    Rate,
    Registry,
    Window,
)

Keys: TypeAlias = tuple[str | int, ...]

FULL = (Path(__file__).parent / "full.yaml").read_text()
TREE: dict[str, Any] = yaml.safe_load(FULL)
USD = 10**9
WORDED = {
    "1GiB": "1073741824",
    "601s": "601",
    "301s": "301",
    "121s": "121",
    "True": "true",
}
"""What the plan says in another way than people write it."""
UNSAID = {("version",)}


def read(tree: object) -> Configuration:
    # JSON is YAML; a date becomes text again.
    return read_contents([("c.yaml", json.dumps(tree, default=str).encode())])


def plan(before: Registry | None, after: Registry) -> str:
    lines = [line for one in difference(before, after) for line in one.in_words()]
    return "\n".join(lines).replace(",", "")


def paths(tree: object, prefix: Keys = ()) -> Iterator[Keys]:
    """The path of everything in a tree, keys and items of lists."""
    if isinstance(tree, dict):
        entries = list(tree.items())
    elif isinstance(tree, list):
        entries = list(enumerate(tree))
    else:
        return
    for key, value in entries:
        yield (*prefix, key)
        yield from paths(value, (*prefix, key))


def at(tree: Any, keys: Keys) -> Any:  # noqa: ANN401  any part of a document
    for key in keys:
        tree = tree[key]
    return tree


LEAVES = [keys for keys in paths(TREE) if not isinstance(at(TREE, keys), dict | list)]


def test_the_full_file_sets_every_key() -> None:
    """There is no key of the schema that the full file leaves out."""
    schema = json_schema()
    known = {
        key
        for shape in (schema, *schema["$defs"].values())
        for key in shape["properties"]
    }

    written = {one for keys in paths(TREE) for one in keys if isinstance(one, str)}

    assert known <= written


def test_budgets_and_limits_of_the_full_file_are_what_it_says() -> None:
    """Money in nano-dollars, periods in seconds, each in its own place."""
    registry = read(TREE).valid()
    (porter,) = registry.services.values()
    model = registry.models[ModelId("house-model")]

    assert registry.units["acme/retail"].budget == Budget(
        (Window(5001 * USD, "month"), Window(401 * USD, "day")), (62, 63), "clamp"
    )
    assert porter.budget == Budget(
        (Window(11 * USD, "hour"),),
        (64,),
        "clamp",
        "progressive",
        (Downgrade(69, ModelId("spread-model")),),
    )
    assert porter.credential_budget == Budget(
        (Window(12 * USD, "day"),), (65,), "clamp", "progressive"
    )
    assert porter.limits == Limits(Rate(602, 60), Rate(603, 86400), 604, 605)
    assert porter.credential_limits == Limits(Rate(606, 1), Rate(607, 60), 608)
    assert model.limits == Limits(Rate(1201, 60), Rate(1202, 3600), 1203)
    assert porter.run_budget == Window(2_510_000_000, "total")


def test_what_policies_speak_of_is_what_the_full_file_says() -> None:
    """Facts, other names, several places, exceptions and own credentials."""
    registry = read(TREE).valid()
    house, annex = ProviderId("house"), ProviderId("annex")
    (porter,) = registry.services.values()
    (tenant,) = registry.tenants.values()
    spread = registry.models[ModelId("spread-model")]
    model = registry.models[ModelId("house-model")]

    prices = [DeclaredPrice({"input": rate}) for rate in (250_000, 260_000)]
    assert spread.deployments == (
        Deployment(house, "mistral", 31, prices[0], "eu-south"),
        Deployment(annex, "mixtral", 32, prices[1], "eu-east"),
    )
    assert (spread.provider, spread.upstream, spread.price) == (house, "mistral", None)
    assert (model.tier, model.region) == ("premium", "eu-north")
    assert model.environments == ("staging", "sandbox")
    assert model.aliases == ("our-model", "best")
    assert registry.providers[house].self_hosted
    assert porter.exceptions == (
        PolicyException(
            "EXC-premium-day",
            PersonId("grace"),
            "The launch needs it",
            date(2027, 4, 30),
        ),
    )
    assert tenant.provider_credentials == {
        house: "env:ACME_OWN_KEY",
        annex: "file:/run/secrets/annex",
    }
    assert tenant.budget is not None
    assert [one.percent for one in tenant.budget.on_threshold] == [67, 68]
    assert registry.gateway.separation_of_duties is True
    assert registry.gateway.privacy == Privacy(
        end_user=True, client_address=True, prompt_fingerprint=True
    )


@pytest.mark.parametrize("keys", LEAVES, ids=lambda keys: ".".join(map(str, keys)))
def test_the_first_plan_shows_every_value(keys: Keys) -> None:
    """Whoever applies the full file reads each of its values before."""
    value = str(at(TREE, keys))

    said = plan(None, read(TREE).valid())

    assert keys in UNSAID or WORDED.get(value, value) in said


@pytest.mark.parametrize(
    "keys", list(paths(TREE)), ids=lambda keys: ".".join(map(str, keys))
)
def test_taking_anything_out_is_a_problem_or_a_change(keys: Keys) -> None:
    """Nothing in the file is without effect, and no effect is without words."""
    tree = copy.deepcopy(TREE)
    del at(tree, keys[:-1])[keys[-1]]

    found = read(tree)

    if found.registry is None:
        assert found.problems
    else:
        assert found.registry != read(TREE).valid()
        assert plan(read(TREE).valid(), found.registry)
