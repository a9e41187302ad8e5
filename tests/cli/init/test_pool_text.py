"""The text of a pool file: it parses, whatever providers list, and says where each figure is from."""

from __future__ import annotations

import tomllib
from datetime import date
from pathlib import Path

import pytest
from msgspec.structs import replace

from routemoa.cli.init.discovery import FILES
from routemoa.cli.init.names import find_score, parse_name
from routemoa.cli.init.pool_text import build_models, name_models, shorten_path, summarize_prices, write_pool
from routemoa.cli.init.presets import Candidate, Source, choose_models, make_candidates
from routemoa.clients.model_lists.reply import ListedModel
from routemoa.core.catalog.providers import load_providers
from routemoa.core.pool_file.pool import METHODS, Pool, parse_pool
from tests.cli.init.test_presets import recorded

TODAY = date(2026, 11, 26)
PROVIDERS = load_providers({})
ENV = {"OPENROUTER_API_KEY": "k", "OPENAI_API_KEY": "o"}


def candidate(model: str, name: str = "openrouter", **figures: object) -> Candidate:
    listed = ListedModel(model, **figures)  # type: ignore[arg-type]
    provider = FILES if name == "local" else PROVIDERS[name]
    source = Source(provider, name, (listed,), f"{provider.title}'s list of {TODAY}", provider.find_key_variable(ENV))
    return Candidate(source, listed, parse_name(model), find_score(parse_name(model)))


def write(*candidates: Candidate, folder: Path = Path("/work/here")) -> tuple[str, Pool]:
    models = build_models(folder / "pool.toml", candidates)
    text = write_pool(models, "balanced", TODAY, ["a remark"], ["left out"])
    return text, parse_pool(text, "pool.toml", folder, ENV)


def test_a_file_with_every_kind_of_model() -> None:
    text, pool = write(
        candidate("z-ai/glm-5.3", input_price=1.4, output_price=4.4, cached_price=0.3, request_price=0.0, context=9000),
        candidate("x/mystery-9", input_modalities=("text", "image", "video"), tools=False),
        candidate("llama3.2:latest", "ollama", input_price=0.0, output_price=0.0),
        candidate("/work/here/models/qwen2.5-7b-instruct-q4_k_m.gguf", "local", input_price=0.0, output_price=0.0),
    )
    glm, mystery, ollama, file = pool.models
    assert (glm.input_price, glm.cached_price, glm.request_price, glm.context, glm.prior) == (
        1.4,
        0.3,
        None,
        9000,
        0.76,
    )
    assert (
        "input_price = 1.4                           # dollars per million tokens: OpenRouter's list of 2026-11-26"
        in text
    )
    assert "LiveBench 2026-06-25: 76.1 % of its questions right" in text
    assert mystery.price is None
    assert "# price unknown" in text
    assert (mystery.modalities, mystery.tools) == (("text", "image"), False), "video is nothing that requests bring"
    assert (glm.modalities, glm.tools) == (None, None), "what a list does not say stays unknown"
    assert (ollama.name, ollama.model, ollama.prior) == ("llama3.2", "llama3.2:latest", None), "of unknown size"
    assert (file.endpoint, file.model, file.prior) == ("local", "models/qwen2.5-7b-instruct-q4_k_m.gguf", 0.4)
    assert "a guess from its size" in text
    assert (file.parameters, ollama.parameters) == ({"max_tokens": 512}, {}), "a small model may not end by itself"
    assert pool.mixture.prefer == "balanced"
    assert text.count("what answers and traces call it") == 1, "explained once"
    assert text.endswith("# left out\n")
    assert max(map(len, text.splitlines())) < 130


@pytest.mark.parametrize("name", list(PROVIDERS))
def test_a_file_for_every_provider_parses(name: str) -> None:
    source = recorded(name)
    variable = source.provider.keys[0] if source.provider.keys else None
    chosen = choose_models(make_candidates(replace(source, key_variable=variable))[0], "best")
    text = write_pool(build_models(Path("/work/here/pool.toml"), chosen), "best", TODAY, [])
    pool = parse_pool(text, "pool.toml", Path("/work/here"), {variable: "k"} if variable else {})
    assert [m.model for m in pool] == [c.listed.id for c in chosen]
    assert {m.endpoint for m in pool} == {source.provider.url}
    assert {m.api_key_env for m in pool} == {variable}
    assert (f"key in {variable}" in text) == (variable is not None)


def test_no_guess_is_made_where_no_model_has_a_figure() -> None:
    text, pool = write(candidate("qwen2.5:7b", "ollama", input_price=0.0, output_price=0.0))
    assert pool.models[0].prior is None
    assert "guess" not in text


def test_another_address_is_written_with_the_variable_of_its_key() -> None:
    moved = candidate("gpt-6-sol", "openai")
    moved = replace(moved, source=replace(moved.source, endpoint="https://gateway.example/v1"))
    _, pool = write(moved)
    assert (pool.models[0].endpoint, pool.models[0].api_key_env) == ("https://gateway.example/v1", "OPENAI_API_KEY")
    assert pool.models[0].rename == {}


def test_a_price_that_depends_on_the_prompts_length_is_left_to_the_library() -> None:
    pytest.importorskip("genai_prices")
    text, pool = write(candidate("gpt-5.5", "openai", input_price=5.0, output_price=30.0))
    assert "input_price" not in tomllib.loads(text)["model"][0]
    assert "more for long prompts: left to genai-prices" in text
    price = pool.models[0].price
    assert price is not None
    assert price.input.at(10**6) > price.input.at(1) == 5.0


@pytest.mark.parametrize(
    "model", ['a"b', "a\\b", "a'''b", 'a"""b', "a#b", "[[model]]", "${HOME}", "ünï".encode("ascii", "replace").decode()]
)
def test_odd_names_stay_names(model: str) -> None:
    _, pool = write(candidate(model))
    assert pool.models[0].model == model
    assert len(pool) == 1


def test_names_are_short_and_unique() -> None:
    same = [candidate("a/x:free"), candidate("b/x:free"), candidate("x:free", "openai"), candidate("c/x:free")]
    assert name_models(same) == ["x:free", "openrouter/x:free", "openai/x:free", "x:free-2"]
    assert name_models([candidate("moa")], ["b"]) == ["openrouter/moa"]
    assert not set(name_models([candidate(m) for m in METHODS])) & set(METHODS)
    assert name_models([candidate("/m/a-00001-of-00002.gguf", "local")]) == ["a"]
    assert name_models([candidate("qwen:latest", "ollama")], ["qwen"]) == ["ollama/qwen"]


def test_paths_are_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert shorten_path("/work/here/a.gguf", Path("/work/here")) == "a.gguf"
    assert shorten_path("/home/me/models/a.gguf", Path("/work/here")) == "~/models/a.gguf"
    assert shorten_path("/else/a.gguf", Path("/work/here")) == "/else/a.gguf"


def test_what_asking_all_costs() -> None:
    models = build_models(Path("pool.toml"), [candidate("a/b", input_price=1.0, output_price=3.0), candidate("a/c")])
    assert summarize_prices(models) == {"b": pytest.approx(0.002), "c": None}
