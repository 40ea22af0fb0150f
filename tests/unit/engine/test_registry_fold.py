from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from comptroller.adapters.configfile.reading import read_contents
from comptroller.core.registry import Registry
from comptroller.engine.planning import make_plan
from comptroller.engine.ports import RegistryObject
from comptroller.engine.registry_fold import fold, registry_objects

PRINTED = Path(__file__).parents[1] / "adapters" / "printed.yaml"


def registry(old: str = "", new: str = "", *more: tuple[str, str]) -> Registry:
    text = PRINTED.read_text()
    for was, now in ((old, new), *more):
        text = text.replace(was, now, 1) if was else text
    return read_contents([("c.yaml", text.encode())]).valid()


def renamed() -> Registry:
    """The printed file with another name for one provider."""
    return registry("  local: ", "  near:  ", ("provider: local", "provider: near"))


def test_what_is_stored_folds_back() -> None:
    """A registry comes back from its stored objects, in whatever order they are."""
    stored = registry_objects(registry())

    assert fold(stored) == registry()
    assert fold(stored[::-1]) == registry()
    assert all(json.loads(one.body) for one in stored)


def test_every_key_of_the_configuration_is_stored() -> None:
    """A registry in which nothing is at its default comes back whole."""
    text = PRINTED.with_name("full.yaml").read_bytes()
    full = read_contents([("full.yaml", text)]).valid()

    assert fold(registry_objects(full)) == full


def test_what_was_stored_before_a_key_was_known_has_its_default() -> None:
    """An upgrade changes nothing of what is applied."""
    later = {"self_hosted", "region", "tier", "aliases", "deployments", "exceptions"}
    later |= {"environments", "classification", "provider_credentials", "on_threshold"}
    later |= {"separation_of_duties", "privacy"}
    older = [
        one._replace(
            body=json.dumps(
                {k: v for k, v in json.loads(one.body).items() if k not in later}
            ).encode(),
        )
        for one in registry_objects(registry())
    ]

    assert fold(older) == registry()


def test_nothing_stored_is_no_registry() -> None:
    """Before the first apply there is no registry."""
    assert fold([]) is None


def test_a_body_of_another_shape_is_refused() -> None:
    """A stored body that is no object of its kind is an error, never a guess."""
    with pytest.raises(msgspec.ValidationError):
        fold([RegistryObject("person", "ada", b'{"id": "ada"}')])


def test_equal_values_are_equal_bytes() -> None:
    """Bodies do not depend on the order in which a map was written."""
    first = registry("speaks: [openai, anthropic]", "speaks: [anthropic, openai]")

    bodies = {(one.kind, one.id): one.body for one in registry_objects(first)}
    others = {(one.kind, one.id): one.body for one in registry_objects(registry())}
    assert bodies == others


def test_a_plan_says_what_changes_and_who_answers() -> None:
    """A plan has the change in words, the counts and the people."""
    plan = make_plan(registry(), 3, registry("1200 USD", "1500 USD"))

    assert plan.in_words() == [
        "service checkout-assistant: budget 1,200 → 1,500 USD/month"
    ]
    assert plan.counts() == "0 added, 1 changed, 0 removed"
    assert plan.answering() == [
        "Ada Lovelace (ada): service checkout-assistant (policy owner)",
        "Alan Turing (alan): service checkout-assistant (technical owner)",
        "Grace Hopper (grace): service checkout-assistant (billing owner, unit owner)",
    ]
    document = json.loads(json.dumps(plan.as_dict()))
    assert document["revision"] == 3
    (change,) = document["changes"]
    assert change["action"] == "change"
    assert change["before"]["budget"]["windows"][0]["limit_nano_usd"] == 1200 * 10**9
    assert change["answerable"]["billing owner"] == "grace"


def test_a_removal_names_those_who_answered_before() -> None:
    """Who is told of a removed service are its owners of before."""
    before = registry()
    without = PRINTED.read_text().partition("        services:")[0]
    after = read_contents([("c.yaml", without.encode())]).valid()

    plan = make_plan(before, 1, after)

    assert plan.in_words() == ["service checkout-assistant: removed"]
    assert any(line.startswith("Ada Lovelace") for line in plan.answering())


def test_who_hands_a_role_over_is_named() -> None:
    """A change of owners touches both: the next one, and the one who leaves."""
    plan = make_plan(registry(), 1, registry("technical: alan", "technical: ada"))

    ada, alan, _ = plan.answering()
    assert ada.endswith("checkout-assistant (policy owner, technical owner)")
    assert alan.endswith("checkout-assistant (technical owner until now)")


def test_a_first_plan_names_everybody_with_what_is_added() -> None:
    """Of a person who answers for much, the first few things are said."""
    plan = make_plan(None, 0, registry())

    assert plan.counts() == "14 added, 0 changed, 0 removed"
    assert any(line.endswith("; and 4 more") for line in plan.answering())
    actions = {one["action"] for one in plan.as_dict()["changes"]}
    assert actions == {"add"}
    removal = make_plan(registry(), 1, renamed())
    assert [one["action"] for one in removal.as_dict()["changes"]] == [
        "add",
        "change",
        "remove",
    ]
