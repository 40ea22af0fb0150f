from __future__ import annotations

import hashlib
from datetime import date
from pathlib import Path

import pytest

from comptroller.adapters.configfile.reading import (
    Configuration,
    read_configuration,
    read_contents,
)
from comptroller.adapters.configfile.starter import starter_text, write_starter
from comptroller.core.errors import ConfigurationError, ConflictError
from comptroller.core.registry import (
    Budget,
    DeclaredPrice,
    GatewaySettings,
    Limits,
    Owners,
    Person,
    Rate,
    Registry,
    Sandbox,
    Service,
    Window,
)

PRINTED = (Path(__file__).parent / "printed.yaml").read_text()
USD = 10**9


def read(text: str) -> Configuration:
    return read_contents([("c.yaml", text.encode())])


def registry_of(text: str) -> Registry:
    return read(text).valid()


def service_of(text: str) -> Service:
    (service,) = registry_of(text).services.values()
    return service


def slip(old: str, new: str) -> str:
    assert old in PRINTED
    return PRINTED.replace(old, new, 1)


def test_the_printed_file_loads_as_printed() -> None:
    """Every value of the printed file is where it belongs, in exact units."""
    registry = registry_of(PRINTED)

    assert (registry.organization, registry.timezone) == ("acme", "Europe/Amsterdam")
    assert list(registry.people) == ["ada", "grace", "alan"]
    assert registry.people["ada"] == Person(  # type: ignore[index]  # a plain str
        "ada",  # type: ignore[arg-type]
        "Ada Lovelace",
        "ada@acme.example",
    )
    assert registry.gateway.owner == "alan"
    speaks = {key: one.speaks for key, one in registry.providers.items()}
    assert speaks == {
        "openai": {"openai": "/v1"},
        "anthropic": {"anthropic": "/v1"},
        "local": {"openai": "/v1", "anthropic": "/v1"},
    }
    models = {key: one.upstream for key, one in registry.models.items()}
    assert models == {
        "gpt-5-mini": "gpt-5-mini",
        "claude-sonnet-5": "claude-sonnet-5",
        "house-model": "llama",
    }
    house = next(one for key, one in registry.models.items() if key == "house-model")
    assert house.price == DeclaredPrice({"input": 100_000, "output": 400_000})
    assert house.max_output_tokens == 8192
    assert registry.units["acme/retail"].budget == Budget(
        (Window(5000 * USD, "month"),)
    )
    service = service_of(PRINTED)
    assert (service.tenant, service.unit) == ("acme", "retail")
    assert (service.kind, service.environment) == ("internal", "production")
    owners = service.owners
    assert (owners.policy, owners.billing, owners.technical) == ("ada", "grace", "alan")
    assert isinstance(owners, Owners)
    assert service.escalation == ("alan", "grace")
    assert service.models == ("gpt-5-mini", "house-model")
    assert service.budget == Budget((Window(1200 * USD, "month"),), (50, 80, 95))
    assert service.limits == Limits(Rate(600, 60), Rate(200_000, 60), 50, 4096)


def test_a_map_of_dialects_sets_their_prefixes() -> None:
    """`speaks` as a map gives each dialect its own path prefix."""
    text = slip("speaks: [openai],", "speaks: {openai: /v1beta/openai, gemini: ''},")

    (first, *_) = registry_of(text).providers.values()

    assert first.speaks == {"openai": "/v1beta/openai", "gemini": ""}


def test_a_trailing_slash_of_a_base_url_says_nothing() -> None:
    """`https://host/` is the origin `https://host`."""
    text = slip("https://api.openai.com,", "https://api.openai.com/,")

    (first, *_) = registry_of(text).providers.values()

    assert first.base_url == "https://api.openai.com"


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("500 USD", Budget((Window(500 * USD, "total"),))),
        ("0.000000001 USD/day", Budget((Window(1, "day"),))),
        (
            "[5000 USD/month, 400 USD/day]",
            Budget((Window(5000 * USD, "month"), Window(400 * USD, "day"))),
        ),
        (
            "{limit: [90 USD/week, 1 USD/hour], alert_at: [80%]}",
            Budget((Window(90 * USD, "week"), Window(USD, "hour")), (80,)),
        ),
    ],
)
def test_budgets_are_a_limit_or_several(written: str, expected: Budget) -> None:
    """A budget is an amount, several, or either with alerts; without a window: all."""
    text = slip("budget: 5000 USD/month", f"budget: {written}")

    assert registry_of(text).units["acme/retail"].budget == expected


def test_a_budget_can_stand_at_every_level() -> None:
    """Organization, tenant, unit and service each have a budget of their own."""
    text = slip("organization: acme", "organization: acme\nbudget: 9 USD/day").replace(
        "  acme:\n", "  acme:\n    owner: ada\n    budget: 8 USD/day\n"
    )

    registry = registry_of(text)

    assert registry.budget == Budget((Window(9 * USD, "day"),))
    (tenant,) = registry.tenants.values()
    assert (tenant.owner, tenant.budget) == ("ada", Budget((Window(8 * USD, "day"),)))


def test_every_class_of_use_can_be_priced() -> None:
    """Token classes are priced per million, counted units each, to the pico-dollar."""
    text = slip(
        "{input: 0.10, output: 0.40}",
        "{input: 1, cache_read: '0.000001', output: 15.5, "
        "per_unit: {web_search: 0.01}}",
    )

    *_, house = registry_of(text).models.values()

    assert house.price == DeclaredPrice(
        {"input": 10**6, "cache_read": 1, "output": 15_500_000, "web_search": 10**10}
    )


def test_an_agent_names_operator_sponsor_and_a_run_budget() -> None:
    """An agent's run budget is a fixed total."""
    text = slip(
        "kind: internal ",
        "kind: agent\n            operator: alan\n            sponsor: grace\n"
        "            run_budget: 2.50 USD ",
    )

    agent = service_of(text)

    assert (agent.operator, agent.sponsor) == ("alan", "grace")
    assert agent.run_budget == Window(2_500_000_000, "total")


def test_a_sandbox_names_sponsor_total_and_last_day() -> None:
    """A sandbox is a service with a sponsor, a fixed total and an end."""
    text = slip(
        "kind: internal ",
        "sandbox: {sponsor: grace, budget: 500 USD, ends: 2027-03-31}\n"
        "            kind: internal ",
    )

    expected = Sandbox(
        "grace",  # type: ignore[arg-type]  # a plain str
        Window(500 * USD, "total"),
        date(2027, 3, 31),
    )
    assert service_of(text).sandbox == expected


def test_the_gateways_bounds_can_be_set() -> None:
    """Sizes and durations are read into bytes and seconds."""
    text = slip(
        "  owner: alan  ",
        "  owner: alan\n  body_max: 1GiB\n  first_byte_timeout: 1h\n"
        "  idle_timeout: 90s\n  drain_max: 7\n  drain_timeout: 2m  ",
    )

    expected = GatewaySettings(
        "alan",  # type: ignore[arg-type]  # a plain str
        body_bytes_max=2**30,
        upstream_first_byte_timeout_s=3600,
        upstream_idle_timeout_s=90,
        drain_count_max=7,
        drain_timeout_s=120,
    )
    assert registry_of(text).gateway == expected


def test_defaults_are_those_of_the_registry() -> None:
    """A gateway of which only the owner is said has the registry's own defaults."""
    expected = GatewaySettings("alan")  # type: ignore[arg-type]  # a plain str

    assert registry_of(PRINTED).gateway == expected


def test_an_anchor_stands_for_what_it_repeats() -> None:
    """An alias repeats a value, so that owners need to be written once only."""
    text = slip("owners: {policy", "owners: &us {policy") + (
        "          second:\n            purpose: x\n            kind: internal\n"
        "            environment: test\n            owners: *us\n"
        "            models: [gpt-5-mini]\n"
    )

    first, second = registry_of(text).services.values()

    assert first.owners == second.owners


def test_several_files_are_joined(tmp_path: Path) -> None:
    """A directory of files, or files one by one, says the same as one file."""
    head, models = PRINTED.split("models:  ")
    models, tenants = models.split("tenants:")
    (tmp_path / "a.yaml").write_text(head)
    (tmp_path / "b.yml").write_text("version: 1\nmodels:  " + models)
    (tmp_path / "c.yaml").write_text("tenants:" + tenants)
    (tmp_path / "notes.txt").write_text("not: [read")
    (tmp_path / ".#c.yaml").write_text("not: [read")

    together = read_configuration([tmp_path])
    one_by_one = read_configuration(
        [tmp_path / name for name in ("c.yaml", "a.yaml", "b.yml")]
    )

    assert together.valid() == registry_of(PRINTED)
    assert one_by_one.valid() == registry_of(PRINTED)


def test_units_of_a_tenant_may_stand_in_files_of_their_own() -> None:
    """A tenant is joined unit by unit."""
    more = (
        "tenants:\n  acme:\n    units:\n      online:\n        owner: ada\n"
        "        services: {}\n"
    )

    both = read_contents([("a.yaml", PRINTED.encode()), ("b.yaml", more.encode())])

    assert list(both.valid().units) == ["acme/retail", "acme/online"]


@pytest.mark.parametrize(
    ("second", "line", "column", "what"),
    [
        ("organization: acme\n", 1, 1, "organization"),
        ("people:\n  ada: {name: A B, email: a@b.c}\n", 2, 3, "people.ada"),
        (
            "tenants:\n  acme:\n    units:\n      retail: {owner: ada}\n",
            4,
            7,
            "tenants.acme.units.retail",
        ),
        ("gateway: {owner: ada}\n", 1, 1, "gateway"),
    ],
)
def test_the_same_in_two_files_names_both_places(
    second: str, line: int, column: int, what: str
) -> None:
    """A duplicate across files is a problem with the place of either."""
    found = read_contents([("a.yaml", PRINTED.encode()), ("b.yaml", second.encode())])

    (problem,) = found.problems
    assert tuple(problem.place) == ("b.yaml", line, column)
    assert problem.what == f'"{what}" is declared in two files'
    assert problem.hint is not None
    assert problem.hint.startswith("the first is at a.yaml:")


def test_a_problem_names_the_file_it_is_in() -> None:
    """With several files, each problem is found in its own."""
    models = "models:\n  other: {provider: nowhere}\n"

    found = read_contents([("a.yaml", PRINTED.encode()), ("b.yaml", models.encode())])

    (problem,) = found.problems
    assert tuple(problem.place) == ("b.yaml", 2, 21)


def test_a_file_that_is_not_there_is_the_one_problem(tmp_path: Path) -> None:
    """A missing file says what to do, and nothing of what would be dangling."""
    (tmp_path / "a.yaml").write_text(PRINTED)

    found = read_configuration([tmp_path / "a.yaml", tmp_path / "b.yaml"])

    (problem,) = found.problems
    assert str(problem) == (
        f"{tmp_path}/b.yaml: there is no such file\n"
        "  hint: `comptroller init` writes one; --config names another"
    )


def test_a_file_that_cannot_be_read_is_a_problem(tmp_path: Path) -> None:
    """What is there and is no file of text is a problem of that path."""
    (tmp_path / "a.yaml").mkdir()
    (tmp_path / "a.yaml" / "b.yaml").mkdir()

    (problem,) = read_configuration([tmp_path / "a.yaml"]).problems

    assert problem.place.file == str(tmp_path / "a.yaml" / "b.yaml")
    assert problem.what == "the file cannot be read: Is a directory"


def test_an_empty_directory_is_a_problem(tmp_path: Path) -> None:
    """A directory without *.yaml is not an empty configuration."""
    (problem,) = read_configuration([tmp_path]).problems

    assert problem.what == "there is no *.yaml file in this directory"


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "the file is empty"),
        (b"# only a comment\n", "the file is empty"),
        (b"- a\n", "the file is not keys with values"),
        (b"just text", "the file is not keys with values"),
        (b"\xff\xfe", "the file is not UTF-8"),
        (b"a: \x01", "there is a character here that YAML does not allow"),
        (b"a: 1\n---\nb: 2", "a second document begins here"),
        (b"a: &x [*x]", 'there is no complete "&x" before this "*" reference'),
        (b"a: *nobody", 'there is no complete "&nobody" before this "*" reference'),
        (b"[" * 2000, "nested deeper than 24 levels"),
        (b"{a: " * 2000, "nested deeper than 24 levels"),
        (b"#" * (4 * 2**20 + 1), "the file is larger than 4 MiB"),
        (
            b"a: " + b"[1" + b", 1" * 200_000 + b"]",
            "more than 200,000 values, counting what aliases repeat",
        ),
    ],
    ids=lambda value: str(value)[:24],
)
def test_what_is_no_file_of_ours_is_refused(content: bytes, what: str) -> None:
    """Every kind of broken, foreign or hostile file is one problem."""
    found = read_contents([("c.yaml", content)])

    assert [one.what for one in found.problems] == [what]
    assert found.registry is None


def test_aliases_of_aliases_are_bounded() -> None:
    """A file of nested aliases that stands for billions of values is refused."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    for level in range(1, 10):
        repeated = ", ".join([f"*a{level - 1}"] * 10)
        lines.append(f"a{level}: &a{level} [{repeated}]")

    found = read_contents([("c.yaml", "\n".join(lines).encode())])

    assert [one.what for one in found.problems] == [
        "more than 200,000 values, counting what aliases repeat"
    ]


def test_a_byte_order_mark_is_nothing() -> None:
    """A file that an editor saved with a byte order mark is the same file."""
    found = read_contents([("c.yaml", b"\xef\xbb\xbf" + PRINTED.encode())])

    assert found.valid() == registry_of(PRINTED)


def test_the_digest_is_what_sha256sum_says(tmp_path: Path) -> None:
    """Anybody can compare the recorded digest with the file in hand."""
    found = read(PRINTED)

    assert found.digest == f"sha256:{hashlib.sha256(PRINTED.encode()).hexdigest()}"


def test_valid_raises_every_problem() -> None:
    """Who needs a registry gets all the problems as one error."""
    found = read(slip("owner: grace", "owner: grcae").replace("600/minute", "600/m"))

    with pytest.raises(ConfigurationError) as raised:
        found.valid()

    assert raised.value.message.count("hint: did you mean") == 2


def test_the_starter_is_valid_and_commented() -> None:
    """What `init` writes is valid as it stands, and explains itself."""
    text = starter_text()

    assert registry_of(text).services
    assert text.count("#") > 15


def test_the_starters_commented_parts_are_valid_too() -> None:
    """Whoever uncomments an example of the starter gets something that works."""
    lines = [
        line.replace("# ", "", 1)
        if line.lstrip().startswith("# ") and ("{" in line or line.startswith(" " * 10))
        else line
        for line in starter_text().splitlines()
    ]
    text = "\n".join(line for line in lines if "An agent also" not in line)

    registry = registry_of(text)

    assert {"openrouter", "local"} <= set(registry.providers)
    assert {"house-model", "anywhere"} <= set(registry.models)
    assert "nightly-agent" in registry.services


def test_init_never_overwrites(tmp_path: Path) -> None:
    """A file that is there already is left as it is."""
    path = tmp_path / "comptroller.yaml"
    path.write_text("mine")

    with pytest.raises(ConflictError, match="is there already"):
        write_starter(path)

    assert path.read_text() == "mine"


def test_init_says_why_it_cannot_write(tmp_path: Path) -> None:
    """A folder that is not there is named."""
    with pytest.raises(ConflictError, match="cannot be written: No such file"):
        write_starter(tmp_path / "nowhere" / "comptroller.yaml")


def test_an_organization_of_many_services_is_read_soon() -> None:
    """Two thousand services are read within seconds: reading does not grow faster."""
    head, _, tail = PRINTED.partition("          checkout-assistant:")
    text = head + "".join(
        f"          service-{number}:{tail.rstrip()}\n" for number in range(2000)
    )

    assert len(registry_of(text).services) == 2000
