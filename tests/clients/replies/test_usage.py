"""What a call used, as endpoints report it: merged, counted within or beside the totals, in dollars."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routemoa.clients.replies.usage import UsageReader, parse_usage
from routemoa.core.usage import Usage


def counts(usage: Usage) -> tuple[int | None, ...]:
    return usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens, usage.cache_write_tokens


@pytest.mark.parametrize(
    ("figures", "prompt", "completion", "reasoning"),
    [
        # OpenAI: thoughts within; xAI and Gemini: beside, as the total shows
        ({"total_tokens": 135, "completion_tokens_details": {"reasoning_tokens": 94}}, 32, 103, 94),
        ({"total_tokens": 135, "completion_tokens": 103, "completion_tokens_details": {"reasoning_tokens": 94}},
         32, 103, 94),
        ({"total_tokens": 135}, 32, 103, 94),
        ({"total_tokens": 41}, 32, 9, None),
        ({"total_tokens": 41, "completion_tokens_details": {"reasoning_tokens": 9}}, 32, 9, 9),
        ({"total_tokens": 41, "completion_tokens_details": {"reasoning_tokens": 0}}, 32, 9, 0),
        # Perplexity's deep research: the total leaves them out, but they cannot be a part of the answer
        ({"total_tokens": 41, "reasoning_tokens": 7000}, 32, 7009, 7000),
        ({"completion_tokens_details": {"reasoning_tokens": 94}}, 32, 103, 94),
        ({"completion_tokens": 100, "completion_tokens_details": {"reasoning_tokens": 94}}, 32, 100, 94),
        ({"total_tokens": 3}, 32, 9, None),  # a total that is too small explains nothing
        ({"total_tokens": 0}, 32, 9, None),
        # two figures say the third
        ({"completion_tokens": None, "total_tokens": 50}, 32, 18, None),
        ({"prompt_tokens": None, "total_tokens": 50}, 41, 9, None),
        ({"completion_tokens": None}, 32, None, None),
        # Gemini's own names, and those of the Responses API
        ({"prompt_tokens": None, "completion_tokens": None, "promptTokenCount": 5, "candidatesTokenCount": 2,
          "thoughtsTokenCount": 8, "totalTokenCount": 15}, 5, 10, 8),
        ({"prompt_tokens": None, "completion_tokens": None, "input_tokens": 5, "output_tokens": 12,
          "output_tokens_details": {"reasoning_tokens": 8}}, 5, 12, 8),
        ({"prompt_tokens": 32.0, "completion_tokens": 9.0}, 32, 9, None),
    ],
)  # fmt: skip
def test_thoughts_are_counted_whether_within_the_answer_or_beside_it(
    figures: dict[str, Any], prompt: int, completion: int | None, reasoning: int | None
) -> None:
    usage = parse_usage({"prompt_tokens": 32, "completion_tokens": 9, **figures})
    assert (usage.prompt_tokens, usage.completion_tokens, usage.reasoning_tokens) == (prompt, completion, reasoning)
    assert not usage.problem


@pytest.mark.parametrize(
    ("reported", "prompt", "cached", "written"),
    [
        ({"prompt_tokens_details": {"cached_tokens": 64}}, 100, 64, None),  # OpenAI, vLLM, llama.cpp
        ({"prompt_tokens_details": {"cached_tokens": 64, "cache_write_tokens": 30}}, 100, 64, 30),  # OpenRouter
        ({"prompt_cache_hit_tokens": 64, "prompt_cache_miss_tokens": 36}, 100, 64, None),  # DeepSeek
        # Anthropic counts them beside the prompt, and some gateways do not add them
        ({"cache_read_input_tokens": 64, "cache_creation_input_tokens": 36}, 200, 64, 36),
        ({"cache_read_input_tokens": 5000, "total_tokens": 109}, 5100, 5000, None),
        ({"cache_read_input_tokens": 64, "total_tokens": 173}, 164, 64, None),
        ({"cache_read_input_tokens": 64, "cache_creation_input_tokens": 10, "total_tokens": 183}, 174, 64, 10),
        # LiteLLM adds them, and says so in OpenAI's own field; else the total settles it
        ({"cache_read_input_tokens": 64, "prompt_tokens_details": {"cached_tokens": 64}}, 100, 64, None),
        ({"cache_read_input_tokens": 64, "total_tokens": 109}, 100, 64, None),
        ({"cache_read_input_tokens": 0, "cache_creation_input_tokens": 0}, 100, 0, 0),
        # a gateway of the new-api kind: OpenAI's field, Anthropic's way of counting
        ({"prompt_tokens_details": {"cached_tokens": 101}}, 201, 101, None),
        ({"prompt_tokens_details": {"cached_tokens": 64, "cache_write_tokens": 37}}, 137, 64, 37),
        ({"prompt_tokens_details": {"cached_tokens": 0}, "cache_read_input_tokens": 500}, 600, 500, None),
        ({"prompt_tokens_details": {"cached_tokens": None}, "prompt_cache_hit_tokens": 64}, 100, 64, None),
        ({"prompt_tokens_details": None}, 100, None, None),
    ],
)
def test_cached_tokens_are_a_part_of_the_prompt_whichever_way_they_are_reported(
    reported: dict[str, Any], prompt: int, cached: int | None, written: int | None
) -> None:
    usage = parse_usage({"prompt_tokens": 100, "completion_tokens": 9, **reported})
    assert counts(usage) == (prompt, 9, cached, written)
    assert counts(
        parse_usage({"completion_tokens": 9, **{k: v for k, v in reported.items() if k != "total_tokens"}})
    ) == (
        None,
        9,
        None,
        None,
    )


def test_anthropics_own_names_are_read_in_its_own_way() -> None:
    figures = {"input_tokens": 10, "output_tokens": 5, "cache_read_input_tokens": 7, "cache_creation_input_tokens": 3}
    assert counts(parse_usage(figures)) == (20, 5, 7, 3)


@pytest.mark.parametrize(
    ("chunks", "usage"),
    [
        # zeros at the end, of a gateway that repeats the head of the stream
        ([{"prompt_tokens": 8, "completion_tokens": 1}, {"prompt_tokens": 0, "completion_tokens": 16}], Usage(8, 16)),
        ([{"prompt_tokens": 0, "completion_tokens": 0}, {"prompt_tokens": 8, "completion_tokens": 16}], Usage(8, 16)),
        ([{"prompt_tokens": 8, "completion_tokens": 16}, {"prompt_tokens": 0, "completion_tokens": 0}], Usage(8, 16)),
        # continuous usage (vLLM), with a null in the end
        ([{"prompt_tokens": 3, "completion_tokens": n, "total_tokens": 3 + n} for n in range(9)] + [None], Usage(3, 8)),
        # Anthropic's two halves
        ([{"input_tokens": 8, "output_tokens": 1}, {"output_tokens": 16}], Usage(8, 16)),
        ([{"prompt_tokens": 8}, {"completion_tokens": 16}], Usage(8, 16)),
        ([{"prompt_tokens": 8, "completion_tokens": 16, "prompt_tokens_details": {"cached_tokens": 4}},
          {"prompt_tokens": 8, "completion_tokens": 16, "prompt_tokens_details": {"cached_tokens": 0}}],
         Usage(8, 16, 4)),
        ([{"prompt_tokens": 8, "completion_tokens": 16, "prompt_tokens_details": {"cached_tokens": 4}},
          {"prompt_tokens": 8, "completion_tokens": 16, "prompt_tokens_details": None}], Usage(8, 16, 4)),
        ([{"prompt_tokens": 8, "completion_tokens": 16}, {"prompt_tokens": "many", "completion_tokens": -1}],
         Usage(8, 16)),
        ([{"prompt_tokens": -1, "completion_tokens": "x"}, {"prompt_tokens": 8, "completion_tokens": 16}],
         Usage(8, 16)),
        ([{"prompt_tokens": 8, "completion_tokens": 16, "cost": 0.5}, {"prompt_tokens": 8, "completion_tokens": 16,
          "cost": 0}], Usage(8, 16, reported_cost=0.5)),
        ([{}, None, {"prompt_tokens": 8, "completion_tokens": 16}], Usage(8, 16)),
    ],
)  # fmt: skip
def test_figures_are_merged_over_the_chunks_and_never_lost(chunks: list[Any], usage: Usage) -> None:
    reader = UsageReader()
    for chunk in chunks:
        reader.add({"usage": chunk})
    assert reader.found
    assert reader.usage == usage


@pytest.mark.parametrize(
    "chunk",
    [
        {"usage": {"prompt_tokens": 8, "completion_tokens": 16}},
        {"usage": None, "x_groq": {"id": "x", "usage": {"prompt_tokens": 8, "completion_tokens": 16}}},
        {"choices": [{"index": 0, "usage": {"prompt_tokens": 8, "completion_tokens": 16}}]},  # Moonshot
        {"usageMetadata": {"promptTokenCount": 8, "candidatesTokenCount": 16}},
    ],
)
def test_usage_is_found_wherever_it_is(chunk: dict[str, Any]) -> None:
    reader = UsageReader()
    assert reader.add(chunk)
    assert reader.usage == Usage(8, 16)
    assert not UsageReader().add({"choices": [3], "x_groq": 1, "usage": []})


@pytest.mark.parametrize(
    ("figures", "dollars"),
    [
        ({"cost": 0.95, "cost_details": {"upstream_inference_cost": 19}}, 0.95),  # OpenRouter
        ({"cost": 0.05, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.9}}, 0.95),
        ({"cost": 0, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.036}}, 0.036),
        ({"cost": 0.95, "is_byok": False, "cost_details": {"upstream_inference_cost": 0.9}}, 0.95),
        ({"cost": {"input_tokens_cost": 0.001, "request_cost": 0.005, "total_cost": 0.006}}, 0.006),  # Perplexity
        ({"cost_in_usd_ticks": 37_756_000}, 0.0037756),  # xAI
        ({"cost_in_usd_ticks": 2_709_000, "cost": 0.0002709}, 0.0002709),
        ({"estimated_cost": 0.0123}, 0.0123),  # DeepInfra
        ({"total_cost": 0.0123}, 0.0123),
        ({"cost": 1}, 1.0),
        ({"cost": 0.0}, 0.0),
        ({"cost": None, "cost_details": None}, None),
        ({"cost": {}}, None),
        ({}, None),
    ],
)
def test_the_providers_own_dollars(figures: dict[str, Any], dollars: float | None) -> None:
    usage = parse_usage({"prompt_tokens": 8, "completion_tokens": 16, **figures})
    assert usage.reported_cost == (None if dollars is None else pytest.approx(dollars))
    assert not usage.problem


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("prompt_tokens", -1),
        ("prompt_tokens", 1.5),
        ("completion_tokens", "12"),
        ("completion_tokens", True),
        ("completion_tokens", 2**60),
        ("completion_tokens", [1]),
        ("total_tokens", -9),
        ("cost", -0.5),
        ("cost", "0.5"),
        ("cost", float("inf")),
        ("cost", float("nan")),
        ("cost", True),
        ("cost", 1e300),
        ("cost", 1_000_001),
        pytest.param("cost", 10**400, id="no float is so large"),
        ("cost_in_usd_ticks", 1e17),
        ("cost_in_usd_ticks", "many"),
        ("cached_tokens", -3),
    ],
)
def test_what_cannot_be_meant_is_unknown_and_said(name: str, value: Any) -> None:
    usage = parse_usage({"prompt_tokens": 8, "completion_tokens": 16, name: value})
    assert name in usage.problem
    assert usage.reported_cost is None
    assert name not in ("prompt_tokens", "completion_tokens") or getattr(usage, name) is None


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda c: st.lists(c, max_size=3) | st.dictionaries(st.text(max_size=5), c, max_size=3),
    max_leaves=8,
)
names = st.sampled_from(
    ["prompt_tokens", "completion_tokens", "total_tokens", "prompt_tokens_details", "completion_tokens_details",
     "reasoning_tokens", "cached_tokens", "cache_read_input_tokens", "cost", "is_byok", "cost_details", "input_tokens"]
)  # fmt: skip


@given(st.lists(st.dictionaries(names, json_like | st.integers(0, 9)), max_size=3))
def test_no_figures_break_the_reader(chunks: list[dict[str, Any]]) -> None:
    reader = UsageReader()
    for chunk in chunks:
        reader.add({"usage": chunk})
    usage = reader.usage
    known = [v for v in (*counts(usage), usage.reasoning_tokens, usage.reported_cost) if v is not None]
    assert all(v >= 0 for v in known)
    if usage.prompt_tokens is not None:
        assert (usage.cached_tokens or 0) + (usage.cache_write_tokens or 0) <= usage.prompt_tokens
