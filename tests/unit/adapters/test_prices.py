from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from comptroller.adapters.prices import CompiledCard, compile_card
from comptroller.adapters.prices.compiler import DEAREST_PICO_PER_TOKEN
from comptroller.core.rates import ModelRates, price
from comptroller.core.registry import (
    DeclaredPrice,
    Deployment,
    GatewaySettings,
    Model,
    ModelId,
    PersonId,
    Provider,
    ProviderId,
    Registry,
)


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 10**9


NOW_NS = at("2026-11-21T12:00:00")
OPENAI = Provider(ProviderId("openai"), "https://api.openai.com", {"openai": ""})
LOCAL = Provider(ProviderId("local"), "http://127.0.0.1:8080", {"openai": ""})


def model(
    name: str,
    provider: str,
    upstream: str | None = None,
    price_pico: dict[str, int] | None = None,
) -> Model:
    declared = None if price_pico is None else DeclaredPrice(price_pico)
    return Model(ModelId(name), ProviderId(provider), upstream or name, declared)


def compiled(
    providers: list[Provider], *models: Model, now_ns: int = NOW_NS
) -> CompiledCard:
    registry = Registry(
        organization="acme",
        timezone="UTC",
        people={},
        gateway=GatewaySettings(PersonId("alan")),
        providers={provider.id: provider for provider in providers},
        models={one.id: one for one in models},
        tenants={},
        units={},
        services={},
    )
    return compile_card(registry, now_ns)


def found(result: CompiledCard, provider: str, name: str) -> ModelRates:
    rates = result.card.find(provider, name)
    assert rates is not None
    return rates


@pytest.mark.parametrize(
    ("base_url", "speaks", "name"),
    [
        ("https://api.openai.com", {"openai": ""}, "gpt-5-mini"),
        ("https://api.anthropic.com", {"anthropic": ""}, "claude-sonnet-5"),
        (
            "https://generativelanguage.googleapis.com",
            {"openai": "/v1beta/openai", "gemini": "/v1beta"},
            "gemini-2.5-flash",
        ),
        ("https://openrouter.ai", {"openai": "/api/v1"}, "openai/gpt-5-mini"),
        (
            "https://router.huggingface.co",
            {"openai": "/together/v1"},
            "deepseek-ai/DeepSeek-R1",
        ),
    ],
)
def test_the_url_tells_the_catalogue(
    base_url: str, speaks: dict[str, str], name: str
) -> None:
    """A provider of any id is priced by the host, and path, that it is served from."""
    provider = Provider(ProviderId("ours"), base_url, speaks)

    assert compiled([provider]).card.find("ours", name) is not None


def test_the_id_tells_the_catalogue_where_the_url_does_not() -> None:
    """A proxy in front of OpenAI under the id `openai` has OpenAI's prices."""
    behind = Provider(OPENAI.id, "http://127.0.0.1:9", {"openai": ""})

    assert compiled([behind]).card == compiled([OPENAI]).card


def test_a_stated_catalogue_comes_first() -> None:
    """`prices: mistral` decides over URL and id."""
    stated = Provider(OPENAI.id, OPENAI.base_url, OPENAI.speaks, prices="mistral")
    result = compiled([stated])

    assert result.card.find("openai", "gpt-5-mini") is None
    assert result.card.find("openai", "mistral-large-latest") is not None


def test_an_unknown_catalogue_is_a_warning_with_a_hint() -> None:
    """A mistyped catalogue prices nothing, and says what was probably meant."""
    typo = Provider(OPENAI.id, OPENAI.base_url, OPENAI.speaks, prices="opnai")
    result = compiled([typo])

    assert result.card.find("openai", "gpt-5-mini") is None
    ((subject, message),) = result.warnings
    assert subject == "provider openai"
    assert "'opnai'; did you mean 'openai'?" in message


def test_a_model_without_a_price_is_a_warning_and_has_no_rates() -> None:
    """The warning names the model and what to write; `find` refuses it."""
    result = compiled([LOCAL], model("house", "local", "llama"))

    assert result.card.find("local", "llama") is None
    ((subject, message),) = result.warnings
    assert subject == "model house"
    assert "'llama' of 'local'" in message
    assert "price: {input: 0.10, output: 0.40}" in message


def test_a_declared_price_prices_a_local_model() -> None:
    """Declared rates are the card's, under the provider's own name."""
    declared = {"input": 100_000, "output": 400_000}
    result = compiled([LOCAL], model("house", "local", "llama", declared))

    rates = found(result, "local", "llama")
    assert result.warnings == []
    assert rates.source == "declared"
    assert price(rates, {"input": 10, "output": 10, "reasoning": 10}) == 9000


def test_a_price_without_input_is_a_warning() -> None:
    """A declared price that cannot hold a prompt is pointed out."""
    result = compiled([LOCAL], model("house", "local", "llama", {"output": 1}))

    assert "no price for input" in result.warnings[0].message


def test_a_contract_price_holds_for_every_name_of_the_model() -> None:
    """Declared classes replace the list's, for dated names too; others stay."""
    listed = found(compiled([OPENAI]), "openai", "gpt-6-sol")
    result = compiled(
        [OPENAI], model("sol", "openai", "gpt-6-sol", {"input": 1_500_000})
    )

    rates = found(result, "openai", "gpt-6-sol")
    assert found(result, "openai", "GPT-6-SOL") is rates
    assert rates.source == "contract"
    for step, before in zip(rates.steps, listed.steps, strict=True):
        assert step.rates == {**before.rates, "input": 1_500_000}
    assert rates.tiers == listed.tiers
    assert result.card.version != compiled([OPENAI]).card.version


def test_two_prices_for_one_upstream_model_are_pointed_out() -> None:
    """Where two entries disagree, the dearer holds, class by class."""
    result = compiled(
        [LOCAL],
        model("a", "local", "llama", {"input": 5, "output": 1}),
        model("b", "local", "llama", {"input": 2, "output": 9}),
    )

    assert found(result, "local", "llama").steps[0].rates == {"input": 5, "output": 9}
    assert [warning.subject for warning in result.warnings] == ["model b"]


def test_a_price_beyond_belief_is_pointed_out() -> None:
    """Per-million prices typed per token are seen at check, not on the bill."""
    beyond = {"input": DEAREST_PICO_PER_TOKEN + 1, "web_search": 10**10}
    result = compiled([LOCAL], model("house", "local", "llama", beyond))

    (warning,) = result.warnings
    assert "input costs more than 100,000 USD per million tokens" in warning.message


def test_every_deployment_of_a_model_is_priced() -> None:
    """A request that goes to another place costs what that place charges."""
    spread = replace(
        model("mini", "openai", "gpt-5-mini", {"input": 7, "output": 9}),
        deployments=(
            Deployment(OPENAI.id, "gpt-5-mini"),
            Deployment(LOCAL.id, "llama", price=DeclaredPrice({"input": 5})),
        ),
    )

    result = compiled([OPENAI, LOCAL], spread)

    assert found(result, "openai", "gpt-5-mini").steps[0].rates["input"] == 7
    assert found(result, "local", "llama").steps[0].rates == {"input": 5}
    assert result.warnings == []


def test_each_unpriced_deployment_is_pointed_out() -> None:
    """One place with a price does not hide another without one."""
    spread = replace(
        model("mini", "openai", "gpt-5-mini"),
        deployments=(
            Deployment(OPENAI.id, "gpt-5-mini"),
            Deployment(LOCAL.id, "llama"),
            Deployment(LOCAL.id, "mistral", price=DeclaredPrice({"output": 5})),
        ),
    )

    (nothing, no_input) = compiled([OPENAI, LOCAL], spread).warnings

    assert nothing.subject == no_input.subject == "model mini"
    assert "no price is known for 'llama' of 'local'" in nothing.message
    assert "no price for input for 'mistral' of 'local'" in no_input.message


def test_a_price_beyond_belief_is_pointed_out_once() -> None:
    """A price that holds for two deployments is one slip, not two."""
    beyond = {"input": DEAREST_PICO_PER_TOKEN + 1}
    spread = replace(
        model("mini", "openai", "gpt-5-mini", beyond),
        deployments=(
            Deployment(OPENAI.id, "gpt-5-mini"),
            Deployment(LOCAL.id, "llama"),
        ),
    )

    (warning,) = compiled([OPENAI, LOCAL], spread).warnings

    assert "input costs more than" in warning.message


def test_prices_with_a_date_are_those_in_force() -> None:
    """A price that changes on a day changes on that day, and the card says when."""
    google = Provider(ProviderId("google"), "http://127.0.0.1:1", {"gemini": "/v1beta"})
    day = at("2026-12-01T00:00:00")
    before = compiled([google], now_ns=day - 1)
    after = compiled([google], now_ns=day)

    assert (
        price(found(before, "google", "gemini-4-argon"), {"input": 1000}) == 2 * 10**6
    )
    assert price(found(after, "google", "gemini-4-argon"), {"input": 1000}) == 4 * 10**6
    assert before.card.changes_ns == day
    assert before.card.version != after.card.version
    assert after.card.changes_ns is not None
    assert after.card.changes_ns > day


def test_prices_with_a_time_of_day_are_those_in_force() -> None:
    """DeepSeek's dearer hours have their own card, and the card says when it ends."""
    deepseek = Provider(ProviderId("deepseek"), "http://127.0.0.1:1", {"openai": ""})
    night = compiled([deepseek], now_ns=at("2026-11-21T00:10:00"))
    day = compiled([deepseek], now_ns=at("2026-11-21T01:10:00"))

    usage = {"input": 10**6}
    assert price(found(night, "deepseek", "deepseek-flash"), usage) == 150_000_000
    assert price(found(day, "deepseek", "deepseek-flash"), usage) == 300_000_000
    assert night.card.changes_ns == at("2026-11-21T00:30:00")


def test_a_card_is_the_same_whenever_it_is_compiled() -> None:
    """The version names the prices, not the moment."""
    again = compiled([OPENAI], now_ns=NOW_NS + 3600 * 10**9)

    assert again.card == compiled([OPENAI]).card


def test_a_reseller_has_its_makers_models_without_their_tiers() -> None:
    """Azure sells OpenAI's models at list; OpenAI's priority rates are not Azure's."""
    azure = Provider(ProviderId("az"), "https://x.openai.azure.com", {"openai": ""})

    rates = found(compiled([azure]), "az", "gpt-5-mini-2025-08-07")
    direct = found(compiled([OPENAI]), "openai", "gpt-5-mini")
    assert rates.steps == direct.steps
    assert rates.tiers == {}
    assert set(direct.tiers) == {"flex", "priority", "fast", "batch"}


@pytest.mark.parametrize("name", ["gpt-4o-audio-preview", "gpt-4o-mini-audio-preview"])
def test_audio_models_listed_at_text_prices_are_withheld(name: str) -> None:
    """The catalogue's entry would price audio 16 times too low, so it has none."""
    assert compiled([OPENAI]).card.find("openai", name) is None
    assert compiled([OPENAI]).card.find("openai", "gpt-audio") is not None


def test_synthesised_speech_is_priced_as_the_models_output() -> None:
    """A speech model's output price is that of audio."""
    google = Provider(ProviderId("google"), "http://127.0.0.1:1", {"gemini": "/v1beta"})
    rates = found(compiled([google]), "google", "gemini-2.5-pro-tts")

    assert price(rates, {"output_audio": 10**6}) == 20 * 10**9


def test_importing_the_adapter_does_not_import_the_catalogue() -> None:
    """Only who compiles pays for the catalogue's 31 MiB."""
    code = (
        "import sys, comptroller.adapters.prices; "
        "sys.exit(any(name.startswith('genai_prices') for name in sys.modules))"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
