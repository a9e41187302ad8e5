"""Lists of models are read in every provider's shape; what is absent or absurd is None."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from routemoa.clients.model_lists.reply import ListedModel, find_field, parse_model_list
from routemoa.core.catalog.providers import ListFormat, load_providers

FIXTURES = Path(__file__).parents[2] / "fixtures" / "providers"
TODAY = date(2026, 11, 26)
PROVIDERS = load_providers({})


def listed(name: str) -> dict[str, ListedModel]:
    models = parse_model_list(json.loads((FIXTURES / f"{name}.json").read_text()), PROVIDERS[name].list, TODAY)
    assert models is not None
    return {m.id: m for m in models}


def test_there_is_a_recording_of_every_provider() -> None:
    assert {f.stem for f in FIXTURES.glob("*.json")} == set(PROVIDERS)


@pytest.mark.parametrize(
    ("provider", "model", "expected"),
    [
        ("openrouter", "anthropic/claude-opus-5.5", {"input_price": 4.0, "output_price": 20.0, "cached_price": 0.4,
         "cache_write_price": 5.0, "context": 1000000, "input_modalities": ("text", "image", "file"), "chat": True}),
        ("openrouter", "openai/gpt-audio", {"chat": False}),
        ("openrouter", "openrouter/auto", {"input_price": None, "chat": False}),
        ("openrouter", "z-ai/glm-4.6", {"deprecated": "ended 2026-10-01"}),
        ("openrouter", "deepseek/deepseek-v4.1-flash", {"context": 163840, "created": date(2026, 9, 6)}),
        ("openai", "gpt-6-astra", {"chat": None, "context": None, "input_price": None}),
        ("openai", "gpt-5.5-pro", {"chat": False}),
        ("openai", "gpt-5.3-codex", {"chat": False}),
        ("openai", "gpt-4o", {"deprecated": "ends 2026-12-31"}),
        ("anthropic", "claude-opus-5-5", {"context": 1000000, "created": date(2026, 9, 15),
         "input_modalities": ("text", "image")}),
        ("anthropic", "claude-haiku-5-5", {"context": None}),
        ("google", "gemini-3.8-flash", {"context": 1048576, "chat": True}),
        ("google", "gemini-embedding-2", {"chat": False}),
        ("mistral", "mistral-large-4-0", {"context": 262144, "chat": True, "tools": True,
         "input_modalities": ("text", "image")}),
        ("mistral", "mistral-embed", {"chat": False}),
        ("mistral", "devstral-2512", {"deprecated": "ends 2026-11-30; use mistral-medium-3-5"}),
        ("deepseek", "deepseek-flash", {"context": 1048576, "chat": True}),
        ("groq", "moonshotai/kimi-k2-instruct", {"chat": False}),
        ("together", "zai-org/GLM-5.3", {"input_price": 1.4, "output_price": 4.4, "cached_price": 0.28, "chat": True}),
        ("together", "BAAI/bge-base-en-v1.5", {"chat": False}),
        ("xai", "grok-4.7", {"input_price": 2.0, "output_price": 6.0, "cached_price": 0.3, "chat": True}),
        ("fireworks", "accounts/fireworks/models/kimi-k3", {"tools": True, "context": 1048576, "chat": True}),
        ("fireworks", "accounts/fireworks/models/flux-1-dev-fp8", {"chat": False, "context": None}),
        ("cerebras", "gpt-oss-120b", {"tools": True, "input_price": 0.35, "output_price": 0.75, "context": 131072}),
        ("cerebras", "zai-glm-4.7", {"deprecated": "deprecated"}),
        ("ollama", "qwen2.5:0.5b", {"hosted": False}),
        ("ollama", "gpt-oss:120b-cloud", {"size": 116.8, "hosted": True}),
        ("llama.cpp", "models/Meta-Llama-3.1-8B-Instruct-Q4_K_M.gguf", {"context": 8192, "owner": "llamacpp"}),
        ("vllm", "Qwen/Qwen3-32B", {"context": 32768, "owner": "vllm"}),
        ("lmstudio", "google/gemma-3-12b", {"context": 8192, "chat": True}),
        ("lmstudio", "text-embedding-nomic-embed-text-v1.5", {"chat": False}),
    ],
)  # fmt: skip
def test_a_recorded_entry(provider: str, model: str, expected: dict[str, Any]) -> None:
    found = listed(provider)[model]
    assert {key: getattr(found, key) for key in expected} == expected


def test_free_is_what_the_list_says_costs_nothing() -> None:
    models = listed("openrouter")
    assert models["qwen/qwen3.8-flash:free"].free
    assert not models["openrouter/auto"].free, "a price of -1 is unknown"
    assert not listed("openai")["gpt-6-astra"].free, "no price is no price of 0"


@pytest.mark.parametrize("reply", [None, 3, "x", {}, {"data": {}}, {"models": "no"}, {"error": "no"}])
def test_what_is_no_list(reply: Any) -> None:
    assert parse_model_list(reply, ListFormat(), TODAY) is None


@pytest.mark.parametrize(
    "entry",
    [
        None,
        3,
        [],
        {},
        {"id": 3},
        {"id": ""},
        {"id": "a b"},
        {"id": "a\n[[model]]"},
        {"id": "a\x1b[2J"},
        {"id": "x" * 300},
    ],
)
def test_entries_without_a_usable_name_are_left_out(entry: Any) -> None:
    assert parse_model_list([entry, {"id": "good"}], ListFormat(), TODAY) == [ListedModel("good")]


@pytest.mark.parametrize(
    ("value", "price"),
    [("0.1", 0.1), (2, 2.0), (0, 0.0), ("-1", None), (-1, None), ("free", None), (None, None), (True, None), ([], None),
     ("nan", None), ("inf", None), (1e400, None), pytest.param(10**400, None, id="no float"), (1e300, None),
     ("1e-7", 1e-7)],
)  # fmt: skip
def test_prices(value: Any, price: float | None) -> None:
    form = ListFormat(input_price="pricing.prompt")
    (model,) = parse_model_list([{"id": "a", "pricing": {"prompt": value}}], form, TODAY) or []
    assert model.input_price == price


@pytest.mark.parametrize(
    ("value", "day"),
    [(1790000000, date(2026, 9, 21)), ("2026-09-15T00:00:00Z", date(2026, 9, 15)), ("2026-09-15", date(2026, 9, 15)),
     (0, None), ("1970-01-01T00:00:00Z", None), ("soon", None), (1e30, None), (True, None), (None, None), ({}, None)],
)  # fmt: skip
def test_days(value: Any, day: date | None) -> None:
    (model,) = parse_model_list([{"id": "a", "created": value}], ListFormat(), TODAY) or []
    assert model.created == day


def test_lists_are_bounded_and_name_each_model_once() -> None:
    many = [{"id": f"m{i}"} for i in range(20_000)]
    assert len(parse_model_list(many, ListFormat(), TODAY) or []) == 5000
    assert len(parse_model_list([{"id": "a"}, {"id": "a"}], ListFormat(), TODAY) or []) == 1


def test_fields_at_paths() -> None:
    assert find_field({"a": {"b": 1}}, "a.b") == 1
    assert find_field({"a": 1}, "a.b") is None
    assert find_field([1], "a") is None
    assert find_field({"a": 1}, None) is None
