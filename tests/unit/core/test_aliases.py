from __future__ import annotations

from dataclasses import replace

from comptroller.core.aliases import model_named, names_of
from comptroller.core.registry import Model, ModelId, ProviderId, Registry
from comptroller.testing.answered import acme

MINI, MAXI = ModelId("mini"), ModelId("maxi")


def registry(*aliases: str) -> Registry:
    house = ProviderId("house")
    return replace(
        acme(),
        models={
            MINI: Model(MINI, house, "mini-1", aliases=aliases),
            MAXI: Model(MAXI, house, "maxi-1"),
        },
    )


def test_a_model_is_found_by_its_id_and_by_each_alias() -> None:
    """Every name of a model leads to it, and no other name to anything."""
    declared = registry("small", "cheap")
    names = names_of(declared)

    found = {
        name: model_named(declared, name, names)
        for name in ("mini", "small", "cheap", "maxi", "mini-1", "")
    }

    mini, maxi = declared.models[MINI], declared.models[MAXI]
    assert found == {
        "mini": mini,
        "small": mini,
        "cheap": mini,
        "maxi": maxi,
        "mini-1": None,
        "": None,
    }


def test_an_id_is_never_another_models_alias() -> None:
    """Even in a registry that no file could declare, an id means its own model."""
    assert names_of(registry("maxi"))["maxi"] == MAXI
