"""The presets choose models that differ, within a ceiling, from lists as providers give them."""

from __future__ import annotations

import json
from datetime import date, timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace

from routemoa.cli.init.discovery import FILES, with_library_prices
from routemoa.cli.init.presets import (
    PRESETS,
    Candidate,
    PresetName,
    Source,
    choose_models,
    describe_left_out,
    make_candidates,
    mean_price,
)
from routemoa.clients.model_lists.reply import ListedModel, parse_model_list
from routemoa.core.catalog.providers import load_providers

FIXTURES = Path(__file__).parents[2] / "fixtures" / "providers"
PROVIDERS = load_providers({})
TODAY = date(2026, 11, 26)
REMOTE = [name for name, p in PROVIDERS.items() if not p.local]


def recorded(name: str) -> Source:
    """Return a provider with its recorded list and, where that says none, the library's prices."""
    provider = PROVIDERS[name]
    models = parse_model_list(json.loads((FIXTURES / f"{name}.json").read_text()), provider.list, TODAY) or []
    if provider.local:
        models = [replace(m, input_price=0.0, output_price=0.0) for m in models]
    source = Source(provider, name, tuple(models), "its list")
    return source if provider.local else with_library_prices(source)


def source(*models: ListedModel, name: str = "openrouter") -> Source:
    return Source(PROVIDERS[name], name, models, "a list")


def entry(model: str, price: float | None = 1.0, age: int = 0, **other: object) -> ListedModel:
    """Return a listed model of a price, so many days old."""
    created = TODAY - timedelta(days=age)
    return ListedModel(model, created, input_price=price, output_price=price, **other)  # type: ignore[arg-type]


def choose(*sources: Source, preset: PresetName = "balanced", memory: int | None = None) -> list[str]:
    candidates = [c for s in sources for c in make_candidates(s)[0]]
    return [c.listed.id for c in choose_models(candidates, preset, memory)]


@pytest.mark.parametrize("preset", list(PRESETS))
@pytest.mark.parametrize("name", REMOTE)
def test_every_provider_has_every_preset(name: str, preset: PresetName) -> None:
    pytest.importorskip("genai_prices")
    candidates, left_out = make_candidates(recorded(name))
    chosen = choose_models(candidates, preset)
    assert (2 if name in ("deepseek", "cerebras") else 3) <= len(chosen) <= 5
    assert len({c.name.base for c in chosen}) == len(chosen)
    wrong = ("embed", "whisper", "tts", "image", "rerank", "guard", "transcribe", "ocr", "imagen", "sora", "preview")
    assert not any(word in c.listed.id.lower() for c in chosen for word in wrong)
    assert not any(c.listed.free or c.listed.deprecated for c in chosen)
    assert name in ("xai", "deepseek", "cerebras", "anthropic") or left_out
    possible = {c.name.family for c in candidates if (mean_price(c) or 0) <= PRESETS[preset].ceiling}
    assert len({c.name.family for c in chosen}) >= min(len(chosen), len(possible)) - 1, "as diverse as can be"


@pytest.mark.parametrize("preset", list(PRESETS))
def test_a_preset_keeps_its_ceiling_where_there_are_three_models_below_it(preset: PresetName) -> None:
    candidates, _ = make_candidates(recorded("openrouter"))
    chosen = choose_models(candidates, preset)
    assert all((mean_price(c) or 0) <= PRESETS[preset].ceiling for c in chosen)
    assert len(chosen) == PRESETS[preset].count
    assert len({c.name.family for c in chosen}) == len(chosen)


def test_dearer_models_fill_a_pool_that_would_have_less_than_three() -> None:
    models = (entry("a/claude-haiku-5", 0.5), entry("a/claude-opus-5", 20), entry("a/claude-sonnet-5", 8))
    assert choose(source(*models), preset="cheap") == ["a/claude-haiku-5", "a/claude-sonnet-5", "a/claude-opus-5"]


def test_what_is_left_out_is_counted() -> None:
    _, left_out = make_candidates(recorded("openrouter"))
    assert left_out["free (rate limits)"] == 3
    assert left_out["deprecated"] == 1
    assert left_out["for one purpose"] == 1
    assert describe_left_out({"old": 1, "free": 3}) == "3 free, 1 old"


def test_a_newer_model_of_a_line_takes_the_place_of_the_older() -> None:
    models = [entry("gpt-5-mini", age=400), entry("gpt-5.4-mini", age=100), entry("gpt-5.4-mini-2026-03-17", age=101)]
    assert choose(source(*models)) == ["gpt-5.4-mini"]
    undated = [replace(m, created=None) for m in models[:2]]
    assert choose(source(*undated)) == ["gpt-5.4-mini"], "by the version, where the list has no dates"


def test_old_models_are_taken_only_where_there_are_no_others() -> None:
    old = entry("x/llama-3.3-70b", age=700)
    assert choose(source(old, entry("x/qwen3-32b"), entry("x/glm-5"))) == ["x/glm-5", "x/qwen3-32b", "x/llama-3.3-70b"]
    others = [entry(f"x/{name}") for name in ("qwen3-32b", "glm-5", "kimi-k3", "grok-5")]
    assert "x/llama-3.3-70b" not in choose(source(old, *others))


def test_previews_stand_in_only_for_a_family_that_has_nothing_else() -> None:
    preview = entry("google/gemini-4-pro-preview")
    assert choose(source(preview, entry("google/gemini-3.8-flash", age=50))) == ["google/gemini-3.8-flash"]
    (chosen,) = choose_models(make_candidates(source(preview))[0], "balanced")
    assert chosen.note == "a preview: it may change or vanish"


def test_aliases_are_left_out_where_the_model_is_there() -> None:
    models = [
        "mistral-large-4-0",
        "mistral-large-latest",
        "x/claude-opus-5",
        "x/claude-opus-5-fast",
        "~x/claude-latest",
    ]
    assert set(choose(source(*map(entry, models)))) == {"mistral-large-4-0", "x/claude-opus-5"}
    assert choose(source(entry("grok-4-1-fast-reasoning"))) == ["grok-4-1-fast-reasoning"], (
        "its own name has such a word"
    )


def test_free_models_are_taken_only_where_nothing_else_can_be() -> None:
    models = (entry("a/qwen3:free", 0.0), entry("a/glm-5", 1.0), entry("b/kimi-k3:free", 0.0))
    assert choose(source(*models)) == ["a/glm-5"]
    assert set(choose(replace(source(*models), free_only=True))) == {"a/qwen3:free", "b/kimi-k3:free"}
    assert choose(source(models[0])) == ["a/qwen3:free"], "a provider that has only free ones"


def test_models_for_one_purpose_are_better_than_none() -> None:
    assert choose(source(entry("qwen3-coder"), entry("qwen3-max"))) == ["qwen3-max"]
    assert choose(source(entry("qwen3-coder"))) == ["qwen3-coder"]


def test_without_prices_there_is_a_pool_all_the_same() -> None:
    models = [entry(m, None) for m in ("gpt-6-sol", "gpt-6-luna", "gpt-5.4-nano")]
    assert set(choose(source(*models))) == {"gpt-6-sol", "gpt-6-luna", "gpt-5.4-nano"}


def test_without_prices_small_models_go_first_but_for_the_best() -> None:
    models = [entry(f"a/{m}", None) for m in ("claude-opus-5", "claude-haiku-5", "gpt-6-sol", "gpt-6-luna")]
    assert set(choose(source(*models), preset="cheap")[:2]) == {"a/claude-haiku-5", "a/gpt-6-luna"}
    assert set(choose(source(*models), preset="best")[:2]) == {"a/claude-opus-5", "a/gpt-6-sol"}


def test_each_provider_gets_a_place_and_no_model_two() -> None:
    sources = [source(entry("openai/gpt-6-sol"), entry("z-ai/glm-5.3")), source(entry("gpt-6-sol"), name="openai")]
    sources.append(source(entry("claude-opus-5"), name="anthropic"))
    chosen = choose_models([c for s in sources for c in make_candidates(s)[0]], "balanced")
    assert {c.source.endpoint for c in chosen} == {"openrouter", "openai", "anthropic"}
    assert len({c.name.base for c in chosen}) == len(chosen) == 3


@pytest.mark.parametrize(("preset", "local"), [("cheap", 2), ("balanced", 1), ("best", 0)])
def test_models_on_this_machine_beside_paid_ones(preset: PresetName, local: int) -> None:
    candidates = [c for name in ("openrouter", "ollama") for c in make_candidates(recorded(name))[0]]
    chosen = choose_models(candidates, preset)
    assert sum(c.source.local for c in chosen) == local


def test_models_on_this_machine_alone() -> None:
    assert choose(recorded("ollama")) == ["qwen2.5:7b", "llama3.2:latest", "qwen2.5:0.5b"]
    assert choose(recorded("lmstudio")) == ["google/gemma-3-12b", "mistral-7b-instruct-v0.3"]
    small = Source(FILES, "local", (entry("/m/big-70b.gguf", 0.0, bytes=40), entry("/m/small-7b.gguf", 0.0, bytes=4)))
    assert choose(small, memory=10) == ["/m/small-7b.gguf"], "what the memory holds together"


def test_the_choice_does_not_depend_on_the_order_of_a_list() -> None:
    candidates, _ = make_candidates(recorded("openrouter"))
    for preset in PRESETS:
        forward = {c.listed.id for c in choose_models(candidates, preset)}
        assert forward == {c.listed.id for c in choose_models(candidates[::-1], preset)}


def test_no_models_no_pool() -> None:
    none: list[Candidate] = []
    assert choose_models(none, "best") == ()
    assert make_candidates(source()) == ([], {})
