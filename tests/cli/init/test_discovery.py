"""Where init looks, and what it says about what it cannot use."""

from __future__ import annotations

from datetime import date

import pytest

from routemoa.cli.init.discovery import Place, describe_problem, find_sources, list_places, with_library_prices
from routemoa.cli.init.presets import Source
from routemoa.clients.model_lists.fetch import ListProblem
from routemoa.clients.model_lists.reply import ListedModel
from routemoa.core.catalog.providers import load_providers

PROVIDERS = load_providers({})
TODAY = date(2026, 11, 26)


def urls(**env: str) -> dict[str, str]:
    return {p.provider.name: p.url for p in list_places(PROVIDERS, env)}


def test_keys_and_usual_ports() -> None:
    local = {name: p.url for name, p in PROVIDERS.items() if p.local}
    assert urls() == local
    assert urls(GROQ_API_KEY="k", OPENAI_API_KEY=" ") == {"groq": PROVIDERS["groq"].url, **local}
    assert {p.key_variable for p in list_places(PROVIDERS, {"GOOGLE_API_KEY": "k"})} == {"GOOGLE_API_KEY", None}


@pytest.mark.parametrize(
    ("value", "url"),
    [
        ("0.0.0.0", "http://127.0.0.1:11434/v1"),
        ("0.0.0.0:11500", "http://127.0.0.1:11500/v1"),
        ("10.0.0.5", "http://10.0.0.5:11434/v1"),
        ("box:9000", "http://box:9000/v1"),
        (":11500", "http://127.0.0.1:11500/v1"),
        ("https://box.example", "https://box.example:11434/v1"),
        ("http://localhost:11434", "http://127.0.0.1:11434/v1"),
        ("[::1]:11434", "http://[::1]:11434/v1"),
        ("box:none", "http://127.0.0.1:11434/v1"),
        ("", "http://127.0.0.1:11434/v1"),
    ],
)
def test_the_host_of_ollama(value: str, url: str) -> None:
    assert urls(OLLAMA_HOST=value)["ollama"] == url


def test_a_moved_provider_on_a_port_of_ones_own_is_that_server() -> None:
    found = urls(OPENAI_API_KEY="k", OPENAI_BASE_URL="http://localhost:11434/v1")
    assert "openai" not in found
    assert found["ollama"] == "http://127.0.0.1:11434/v1"


async def test_servers_that_are_not_there_are_not_spoken_of() -> None:
    places = [Place(p, "http://127.0.0.1:9/v1") for p in PROVIDERS.values() if p.local]
    assert await find_sources(places, {}, TODAY, with_files=False) == []
    (moved,) = await find_sources(
        [Place(PROVIDERS["ollama"], "http://127.0.0.1:9/v1", moved=True)], {}, TODAY, with_files=False
    )
    assert moved.problem is not None
    assert "start it, then try again" in moved.problem


@pytest.mark.parametrize("problem", list(ListProblem))
@pytest.mark.parametrize("name", list(PROVIDERS))
def test_each_problem_is_one_line_with_a_next_step(name: str, problem: ListProblem) -> None:
    line = describe_problem(Place(PROVIDERS[name], "http://x/v1", "SOME_KEY"), problem, "HTTP 400: no")
    assert line.startswith(f"{PROVIDERS[name].title}: ")
    assert "\n" not in line
    assert "HTTP 400: no" in line
    assert "https://" in line or "HTTPS_PROXY" in line or "start it" in line or PROVIDERS[name].local


def test_the_price_library_fills_what_the_list_leaves_open() -> None:
    pytest.importorskip("genai_prices")
    listed = (
        ListedModel("gpt-6-astra"),
        ListedModel("gpt-5.4-mini", input_price=1.0, output_price=2.0),
        ListedModel("unheard-of"),
    )
    filled = with_library_prices(Source(PROVIDERS["openai"], "openai", listed, "its list"))
    astra, mini, unheard = filled.models
    assert astra.input_price is not None
    assert astra.context is not None
    assert (mini.input_price, mini.context is not None) == (1.0, True), "the list's own price stands"
    assert unheard == ListedModel("unheard-of")
    assert str(astra.price_source).startswith("genai-prices ")
    assert mini.price_source is None
    ended = with_library_prices(Source(PROVIDERS["cerebras"], "cerebras", (ListedModel("llama3.1-8b"),), ""))
    assert ended.models[0].deprecated == "deprecated, says the price library"
