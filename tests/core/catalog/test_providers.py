"""The table of providers: what a provider's name as endpoint stands for, and files that add to it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from routemoa.core.catalog.providers import is_url, load_providers
from routemoa.core.errors import ConfigError
from routemoa.core.pool_file.pool import Pool, parse_pool
from routemoa.core.types import ModelSpec

KEYS = {"OPENROUTER_API_KEY": "k", "OPENAI_API_KEY": "o", "GOOGLE_API_KEY": "g", "MISTRAL_API_KEY": "m", "OTHER": "x"}


def model(table: str, env: dict[str, str] = KEYS) -> ModelSpec:
    return parse_pool(f'[[model]]\nname = "a"\n{table}', "pool.toml", Path("."), env).models[0]


def test_the_table_is_complete_and_dated() -> None:
    providers = load_providers({})
    assert set(providers) >= {
        "openrouter", "openai", "anthropic", "google", "mistral", "deepseek", "groq", "together", "xai", "fireworks",
        "cerebras", "ollama", "llama.cpp", "vllm", "lmstudio",
    }  # fmt: skip
    for name, provider in providers.items():
        assert provider.name == name
        assert is_url(provider.url)
        assert bool(provider.keys) != provider.local
        assert provider.docs, "where its facts are from"
        if not provider.local:
            assert provider.url.startswith("https://")
            assert provider.key_page, name
            assert provider.billing_page, name
    text = (Path(__file__).parents[3] / "src/routemoa/core/catalog/providers.toml").read_text()
    assert "on 2026-11-26" in text.splitlines()[1]


def test_a_providers_name_stands_for_url_key_headers_and_quirks() -> None:
    spec = model('endpoint = "openrouter"\nmodel = "qwen/qwen-2.5-72b-instruct"')
    assert spec.endpoint == "https://openrouter.ai/api/v1"
    assert spec.api_key_env == "OPENROUTER_API_KEY"
    assert spec.headers == {"X-OpenRouter-Title": "RouteMoA"}
    assert model('endpoint = "openai"').rename == {"max_tokens": "max_completion_tokens"}
    assert "stream_options" in model('endpoint = "mistral"').omit
    assert model('endpoint = "google"').api_key_env == "GOOGLE_API_KEY", "the first of its variables that is set"
    assert model('endpoint = "ollama"').api_key_env is None
    assert model('endpoint = "local"').endpoint == "local"


@pytest.mark.parametrize(
    ("table", "key", "value"),
    [
        ('api_key_env = "OTHER"', "api_key_env", "OTHER"),
        ("rename = {}", "rename", {}),
        ('omit = ["n"]', "omit", ("n",)),
    ],
)
def test_a_models_own_keys_beat_the_providers(table: str, key: str, value: Any) -> None:
    assert getattr(model(f'endpoint = "openai"\n{table}'), key) == value


def test_headers_are_added_one_by_one() -> None:
    spec = model('endpoint = "openrouter"\nheaders = { X-OpenRouter-Title = "mine", X-Other = "1" }')
    assert spec.headers == {"X-OpenRouter-Title": "mine", "X-Other": "1"}


def test_a_url_has_no_quirks() -> None:
    spec = model('endpoint = "https://api.openai.com/v1"')
    assert (spec.rename, spec.omit, spec.headers, spec.api_key_env) == ({}, (), {}, None)


def test_a_list_price_is_found_by_the_providers_url() -> None:
    pytest.importorskip("genai_prices")
    assert model('endpoint = "openai"\nmodel = "gpt-5.5"').price is not None


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ('endpoint = "openruoter"', "neither \"local\" nor a provider nor a URL .*; did you mean 'openrouter'"),
        (
            'endpoint = "groq"',
            r"needs a key: export GROQ_API_KEY=\.\.\. \(https://console.groq.com/keys\), or name another",
        ),
        ('endpoint = "openai"\napi_key_env = "NONE"', "environment variable NONE is not set"),
        (
            'endpoint = "local"\nheaders = { Authorization = "Bearer k" }',
            "a key goes into the variable that api_key_env",
        ),
        ('endpoint = "local"\nheaders = { X-A = "a\\nb" }', "cannot be a header"),
        ('endpoint = "local"\nheaders = { "X A" = "a" }', "cannot be a header"),
        ('endpoint = "local"\nomit = "seed"', "omit: "),
        ("endpoint = 3", "endpoint: "),
    ],
)
def test_what_is_wrong_is_said_in_a_line(table: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        model(table)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("pool.toml: [[model]] 1 'a'")


def test_a_file_adds_providers_and_replaces_single_keys(tmp_path: Path) -> None:
    file = tmp_path / "providers.toml"
    file.write_text(
        '[acme]\nurl = "https://llm.acme.example/v1/"\nkeys = ["ACME_KEY"]\n'
        '[openrouter]\nurl = "http://127.0.0.1:9001/v1"\n[openrouter.list]\npath = "/catalogue"\n'
    )
    env = {**KEYS, "ROUTEMOA_PROVIDERS": str(file), "ACME_KEY": "a"}
    assert model('endpoint = "acme"', env).endpoint == "https://llm.acme.example/v1"
    moved = load_providers(env)["openrouter"]
    assert (moved.url, moved.list.path) == ("http://127.0.0.1:9001/v1", "/catalogue")
    assert (moved.title, moved.list.price_unit) == ("OpenRouter", 1e6), "the other keys stay"
    assert model('endpoint = "openrouter"', env).headers == {"X-OpenRouter-Title": "RouteMoA"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[acme]\nkeys = []", "missing key"),
        ('[acme]\nurl = "acme"', "is not a URL of HTTP"),
        ('[acme]\nurl = "http://a/v1"\nheader = 1', "unknown key 'header'; did you mean 'headers'"),
        ('[local]\nurl = "http://a/v1"', "must be a table with the name of a provider"),
        ("acme = 1", "must be a table"),
        ("[acme", "not valid TOML"),
    ],
)
def test_a_wrong_file_of_providers(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "providers.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_providers({"ROUTEMOA_PROVIDERS": str(file)})
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        load_providers({"ROUTEMOA_PROVIDERS": str(tmp_path / "none")})


def test_pools_without_a_provider_do_not_read_that_file() -> None:
    parse_pool('[[model]]\nname = "a"\nendpoint = "local"\n', "p", Path("."), {"ROUTEMOA_PROVIDERS": "/nowhere"})
    assert Pool.embedded()
