from __future__ import annotations

from dataclasses import replace

from comptroller.core.deployment import deployments, weights
from comptroller.core.registry import (
    DeclaredPrice,
    Deployment,
    Model,
    ModelId,
    ProviderId,
)

EU, US = ProviderId("eu"), ProviderId("us")
AGREED, DEARER = DeclaredPrice({"input": 1}), DeclaredPrice({"input": 2})
PLAIN = Model(ModelId("mini"), EU, "mini-1", AGREED, max_output_tokens=5, tier="basic")
SPREAD = replace(
    PLAIN,
    region="world",
    deployments=(
        Deployment(EU, "mini-1", 3),
        Deployment(US, "mini-2", 1, DEARER, "us-east"),
    ),
)


def test_a_model_in_one_place_is_its_own_deployment() -> None:
    """Without deployments there is the model itself, with all of the requests."""
    assert deployments(PLAIN) == (PLAIN,)
    assert weights(PLAIN) == (1,)


def test_each_deployment_is_the_model_at_one_place() -> None:
    """Id and limits are the model's; provider, price and region are its own."""
    first, second = deployments(SPREAD)

    assert first == replace(PLAIN, region="world")
    assert second == replace(
        PLAIN, provider=US, upstream="mini-2", price=DEARER, region="us-east"
    )
    assert weights(SPREAD) == (3, 1)


def test_a_deployment_is_taken_apart_once() -> None:
    """A deployment is a model that has no further deployments."""
    for one in deployments(SPREAD):
        assert deployments(one) == (one,)
