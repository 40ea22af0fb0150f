from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comptroller.core.usage import GENERATED_CLASSES, PROMPT_CLASSES, total
from comptroller.wire.counts import block
from comptroller.wire.openai_usage import read_usage, stated_cost


@pytest.mark.parametrize(
    ("stated", "usage"),
    [
        pytest.param(
            {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12},
            {"input": 9, "output": 3},
            id="plain",
        ),
        pytest.param(
            {
                "prompt_tokens": 100,
                "completion_tokens": 50,
                "total_tokens": 150,
                "prompt_tokens_details": {
                    "cached_tokens": 40,
                    "cache_write_tokens": 20,
                    "audio_tokens": 10,
                    "image_tokens": 5,
                },
                "completion_tokens_details": {
                    "reasoning_tokens": 30,
                    "audio_tokens": 4,
                    "image_tokens": 6,
                },
            },
            {
                "input": 25,
                "cache_read": 40,
                "cache_write_30m": 20,
                "input_audio": 10,
                "input_image": 5,
                "output": 10,
                "reasoning": 30,
                "output_audio": 4,
                "output_image": 6,
            },
            id="all details",
        ),
        pytest.param(
            {
                "input_tokens": 100,
                "output_tokens": 1,
                "input_tokens_details": {
                    "cached_tokens": 10,
                    "cache_write_tokens": 60,
                    "cache_write_tokens_details": {"ttl_30m": 40, "ttl_12h": 20},
                },
            },
            {
                "input": 30,
                "cache_read": 10,
                "cache_write_30m": 40,
                "cache_write_12h": 20,
                "output": 1,
            },
            id="lifetimes of cache writes",
        ),
        pytest.param(
            {
                "prompt_tokens": 10,
                "completion_tokens": 5,
                "total_tokens": 15,
                "prompt_tokens_details": {"cached_tokens": 161},
            },
            {"input": 10, "cache_read": 161, "output": 5},
            id="cached beside the prompt",
        ),
        pytest.param(
            {
                "prompt_tokens": 12,
                "completion_tokens": 2,
                "total_tokens": 354,
                "prompt_tokens_details": {"cached_tokens": 11},
                "completion_tokens_details": {"reasoning_tokens": 340},
            },
            {"input": 1, "cache_read": 11, "output": 2, "reasoning": 340},
            id="reasoning beside the completion",
        ),
        pytest.param(
            {"prompt_tokens": 35, "completion_tokens": 12, "total_tokens": 109},
            {"input": 35, "output": 74},
            id="generated tokens that only the total shows",
        ),
        pytest.param(
            {
                "prompt_audio_seconds": 3,
                "prompt_tokens": 9,
                "completion_tokens": 248,
                "total_tokens": 632,
                "prompt_tokens_details": {"audio_tokens": 375},
            },
            {"input": 9, "input_audio": 375, "output": 248},
            id="audio beside the prompt",
        ),
        pytest.param(
            {"prompt_tokens": 9, "completion_tokens": 1, "cached_tokens": 4},
            {"input": 5, "cache_read": 4, "output": 1},
            id="cached beside the counts, no total",
        ),
        pytest.param({"total_tokens": 3}, {"input": 3}, id="a total alone"),
        pytest.param(
            {"prompt_tokens": 8, "total_tokens": 8}, {"input": 8}, id="embeddings"
        ),
        pytest.param(
            {
                "prompt_tokens": 20,
                "completion_tokens": 1,
                "prompt_cache_hit_tokens": 15,
                "prompt_cache_miss_tokens": 5,
            },
            {"input": 5, "cache_read": 15, "output": 1},
            id="cache hits beside the details",
        ),
        pytest.param(
            {
                "prompt_tokens": "7",
                "completion_tokens": 2.0,
                "total_tokens": None,
                "prompt_tokens_details": None,
            },
            {"input": 7, "output": 2},
            id="strings and floats",
        ),
        pytest.param(
            {"prompt_tokens": 5, "completion_tokens": True, "total_tokens": -4},
            {"input": 5},
            id="what is no count is missing",
        ),
        pytest.param(
            {
                "prompt_tokens": 4,
                "completion_tokens": 4,
                "prompt_tokens_details": {"cached_tokens": 3, "audio_tokens": 3},
                "completion_tokens_details": {
                    "reasoning_tokens": 3,
                    "audio_tokens": 3,
                },
            },
            {
                "cache_read": 3,
                "input_audio": 1,
                "reasoning": 3,
                "output_audio": 1,
            },
            id="overlapping subsets are shared out once",
        ),
        pytest.param({"prompt_tokens": 0, "completion_tokens": 0}, {}, id="zero"),
    ],
)
def test_usage_is_split_into_disjoint_classes(
    stated: dict[str, object], usage: dict[str, int]
) -> None:
    """Each provider's way to count ends in the same disjoint classes."""
    found = block(json.dumps(stated).encode())
    assert found is not None
    assert read_usage(found) == usage


@pytest.mark.parametrize("stated", [{}, {"cost": 1}, {"total_tokens": 0}])
def test_a_block_without_tokens_is_no_usage(stated: dict[str, object]) -> None:
    """No counts are not zero counts: the caller has to estimate."""
    assert read_usage(stated) is None


COUNTS = st.integers(0, 10**6)


@given(COUNTS, COUNTS, st.lists(COUNTS, min_size=6, max_size=6), COUNTS)
def test_classes_sum_to_what_was_stated(
    prompt: int, generated: int, parts: list[int], extra: int
) -> None:
    """However the details overlap, no token is booked twice and none is lost."""
    stated = {
        "prompt_tokens": prompt,
        "completion_tokens": generated,
        "total_tokens": prompt + generated + extra,
        "prompt_tokens_details": {
            "cached_tokens": parts[0],
            "cache_write_tokens": parts[1],
            "audio_tokens": parts[2],
        },
        "completion_tokens_details": {
            "reasoning_tokens": parts[3],
            "audio_tokens": parts[4],
            "image_tokens": parts[5],
        },
    }
    usage = read_usage(stated)
    assert usage is not None
    asked = total(usage, PROMPT_CLASSES)
    made = total(usage, GENERATED_CLASSES)
    assert asked in (prompt, prompt + parts[0], prompt + parts[2])
    assert made >= generated
    assert asked + made >= stated["total_tokens"]  # type: ignore[operator]
    assert all(count > 0 for count in usage.values())


@pytest.mark.parametrize(
    ("written", "nano_usd"),
    [
        (b'{"cost":5.37e-06}', 5370),
        (b'{"cost":0.1}', 100_000_000),
        (b'{"cost":3}', 3_000_000_000),
        (b'{"cost":0.0000000005}', 1),
        (b'{"cost":0}', None),
        (b'{"cost":-1}', None),
        (b'{"cost":"0.1"}', None),
        (b'{"cost":true}', None),
        (b'{"cost":1e300}', None),
        (b'{"cost":{"total_cost":0.00507,"request_cost":0.005}}', 5_070_000),
        (b'{"cost":{"total_cost":0.00507,"currency":"EUR"}}', None),
        (b'{"cost_in_usd_ticks":5743500}', 574_350),
        (b'{"cost_in_usd_ticks":0}', None),
        (
            b'{"cost":0,"is_byok":true,"cost_details":{"upstream_inference_cost":0.002}}',
            2_000_000,
        ),
        (b'{"cost":0.1,"is_byok":true}', None),
        (b"{}", None),
    ],
)
def test_a_stated_cost_is_exact(written: bytes, nano_usd: int | None) -> None:
    """A cost is read as the decimal that was written; zero states nothing."""
    found = block(written)
    assert found is not None
    assert stated_cost(found) == nano_usd


def test_two_absurd_costs_are_none() -> None:
    """Their sum is no number; the rate card then says what it costs."""
    stated = block(
        b'{"is_byok":true,"cost":9e999999,'
        b'"cost_details":{"upstream_inference_cost":9e999999}}'
    )
    assert stated is not None
    assert stated_cost(stated) is None
