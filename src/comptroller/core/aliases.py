"""Aliases: further names by which callers may ask for a model."""

from __future__ import annotations

from collections.abc import Mapping

from comptroller.core.registry import Model, ModelId, Registry


def names_of(registry: Registry) -> dict[str, ModelId]:
    """Every name that callers may ask by, ids and aliases, with its model's id.

    No alias takes an id away: an id always leads to its own model.
    """
    names = {
        alias: model.id for model in registry.models.values() for alias in model.aliases
    }
    return names | {str(key): key for key in registry.models}


def model_named(
    registry: Registry, name: str, names: Mapping[str, ModelId]
) -> Model | None:
    """The model of a name, by one look-up; None: nothing is called so.

    Args:
        registry: as applied.
        name: an id or an alias, as a caller wrote it.
        names: `names_of` this registry, computed once.
    """
    found = names.get(name)
    return registry.models[found] if found is not None else None
