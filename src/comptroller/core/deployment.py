"""Deployments: the places where a model runs, each as a model of its own."""

from __future__ import annotations

from dataclasses import replace

from comptroller.core.registry import Model


def deployments(model: Model) -> tuple[Model, ...]:
    """Takes a model apart into one for each place where it runs.

    Args:
        model: with or without `deployments`.

    Returns:
        In the order of the configuration, models of the same id that name one
        provider each and have no further deployments. Price and region are the
        deployment's, or else the model's.
    """
    if not model.deployments:
        return (model,)
    return tuple(
        replace(
            model,
            provider=one.provider,
            upstream=one.upstream,
            price=one.price or model.price,
            region=one.region or model.region,
            deployments=(),
        )
        for one in model.deployments
    )


def weights(model: Model) -> tuple[int, ...]:
    """The share of each of `deployments`, in their order, against the others."""
    return tuple(one.weight for one in model.deployments) or (1,)
