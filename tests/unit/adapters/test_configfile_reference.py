from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from comptroller.adapters.configfile.document import json_schema
from comptroller.adapters.configfile.reading import read_contents
from comptroller.core.registry import (
    Budget,
    Deployment,
    GatewaySettings,
    PersonId,
    Provider,
    Service,
)

DOCS = Path(__file__).parents[3] / "docs"
REFERENCE = (DOCS / "reference/configuration.md").read_text()
SECTIONS = {
    "": "The file",
    "PersonEntry": "People",
    "GatewayEntry": "Gateway",
    "PrivacyEntry": "Gateway",
    "ProviderEntry": "Providers",
    "ModelEntry": "Models",
    "DeploymentEntry": "Deployments",
    "PriceEntry": "Prices",
    "UnitPriceEntry": "Prices",
    "TenantEntry": "Tenants and units",
    "UnitEntry": "Tenants and units",
    "ServiceEntry": "Services",
    "OwnersEntry": "Services",
    "SandboxEntry": "Services",
    "ExceptionEntry": "Exceptions",
    "BudgetEntry": "Budgets",
    "SharedLimitsEntry": "Limits",
    "LimitsEntry": "Limits",
}


def section(title: str) -> str:
    found = re.search(
        rf"^##+ {re.escape(title)}$(.*?)(?=^##|\Z)", REFERENCE, re.DOTALL | re.MULTILINE
    )
    assert found is not None, title
    return found[1]


def listed(title: str) -> dict[str, bool]:
    """The keys in the tables of a section, with whether one says `required`."""
    rows = re.findall(r"^\| `(\w+)` \| ?(required)?", section(title), re.MULTILINE)
    assert rows
    keys: dict[str, bool] = {}
    for key, required in rows:
        keys[key] = keys.get(key, False) or bool(required)
    return keys


def default_of(kind: type, name: str) -> str:
    """A default of the registry, as it is written in YAML."""
    return json.dumps(inspect.signature(kind).parameters[name].default).strip('"')


def shapes() -> Iterator[tuple[str, dict[str, Any]]]:
    schema = json_schema()
    yield "", schema
    yield from schema["$defs"].items()


def test_the_reference_lists_every_key_and_no_other() -> None:
    """Every key of the schema has its row, with whether it must be there."""
    expected: dict[str, dict[str, bool]] = {}
    for name, shape in shapes():
        keys = expected.setdefault(SECTIONS[name], {})
        for key in shape["properties"]:
            required = key in shape.get("required", [])
            keys[key] = keys.get(key, False) or required

    # Of a unit price the class must be there; its table has no such column.
    expected["Prices"]["web_search"] = False
    assert {title: listed(title) for title in expected} == expected


def test_the_examples_are_one_valid_configuration() -> None:
    """The examples of the page, taken as files, are valid together."""
    blocks = re.findall(r"^```yaml\n(.*?)^```", REFERENCE, re.DOTALL | re.MULTILINE)

    found = read_contents(
        [(f"example-{at}", block.encode()) for at, block in enumerate(blocks)]
    )

    assert len(blocks) >= 7
    assert found.problems == ()
    assert set(found.valid().services) == {
        "checkout-assistant",
        "night-porter",
        "summaries",
    }


def test_the_defaults_of_the_reference_are_real() -> None:
    """What the page says of unset bounds is what an unset gateway has."""
    settings = GatewaySettings(PersonId("alan"))
    said = dict(
        re.findall(r"^\| `(\w+)` .*`(\w+)` unless set", REFERENCE, re.MULTILINE)
    )

    assert said == {
        "timezone": "UTC",
        "body_max": f"{settings.body_bytes_max // 2**20}MiB",
        "first_byte_timeout": f"{settings.upstream_first_byte_timeout_s // 60}m",
        "idle_timeout": f"{settings.upstream_idle_timeout_s // 60}m",
        "drain_max": str(settings.drain_count_max),
        "drain_timeout": f"{settings.drain_timeout_s // 60}m",
        "on_shortfall": Budget(()).on_shortfall,
        "hold": Budget(()).hold,
        "self_hosted": default_of(Provider, "self_hosted"),
        "weight": default_of(Deployment, "weight"),
        "classification": default_of(Service, "classification"),
    }


def test_the_schema_describes_every_key() -> None:
    """An editor can show what each key is for; no key may be null or unknown."""
    for name, shape in shapes():
        assert shape["additionalProperties"] is False, name
        for key, value in shape["properties"].items():
            described = "description" in value or "$ref" in value
            assert described, f"{name}.{key}"
        assert shape.get("description"), name
    assert '"null"' not in json.dumps(json_schema())
    assert json_schema()["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_the_schemas_patterns_take_what_the_reader_takes() -> None:
    """Every text of the printed file matches the pattern of its place."""
    printed = Path(__file__).with_name("printed.yaml").read_text()
    schema = json_schema()
    limit = schema["$defs"]["BudgetEntry"]["properties"]["limit"]["anyOf"][0]
    rate = schema["$defs"]["LimitsEntry"]["properties"]["requests"]
    reference = schema["$defs"]["ProviderEntry"]["properties"]["credential"]

    for pattern, written in (
        (limit["pattern"], re.findall(r"\d+ USD/\w+", printed)),
        (rate["pattern"], re.findall(r"\d+/minute", printed)),
        (reference["pattern"], re.findall(r"env:\w+", printed)),
    ):
        assert written
        assert all(re.search(pattern, one) for one in written)
