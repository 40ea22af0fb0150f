from __future__ import annotations

import json

from openai.types import Model

from comptroller.wire.catalogue import ModelCard, model_body, model_list_body

CARDS = (
    ModelCard("gpt-5-mini", 1_700_000_000, "openai"),
    ModelCard("house/model", 0, "local"),
)


def test_one_list_serves_two_dialects() -> None:
    """OpenAI's and Anthropic's clients each find their fields in one body."""
    document = json.loads(model_list_body("openai", CARDS))
    assert document["object"] == "list"
    assert document["data"][0] == {
        "id": "gpt-5-mini",
        "object": "model",
        "created": 1_700_000_000,
        "owned_by": "openai",
        "type": "model",
        "display_name": "gpt-5-mini",
        "created_at": "2023-11-14T22:13:20Z",
    }
    assert Model.model_validate(document["data"][1]).id == "house/model"
    assert document["has_more"] is False
    assert (document["first_id"], document["last_id"]) == ("gpt-5-mini", "house/model")


def test_an_empty_list_is_a_list() -> None:
    """A service without models gets an empty list, not an error."""
    document = json.loads(model_list_body("anthropic", ()))
    assert (document["data"], document["first_id"], document["last_id"]) == (
        [],
        None,
        None,
    )


def test_gemini_lists_its_own_way() -> None:
    """Google's clients find names under `models`."""
    document = json.loads(model_list_body("gemini", CARDS))
    assert [m["name"] for m in document["models"]] == [
        "models/gpt-5-mini",
        "models/house/model",
    ]
    assert json.loads(model_body("gemini", CARDS[0]))["displayName"] == "gpt-5-mini"


def test_one_model_is_as_in_the_list() -> None:
    """A single model's body is its entry in the list."""
    listed = json.loads(model_list_body("openai", CARDS))["data"][1]
    assert json.loads(model_body("openai", CARDS[1])) == listed
