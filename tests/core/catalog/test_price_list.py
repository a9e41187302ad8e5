"""Which prices are known, what a call costs, and that it never costs more than its worst case."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routemoa.core.catalog import price_list as prices
from routemoa.core.catalog.price_list import price_hint, price_sources, with_list_prices
from routemoa.core.errors import ConfigError
from routemoa.core.models.pricing import Price, Rate, Tier
from routemoa.core.pool_file.pool import parse_pool
from routemoa.core.system.installation import install_command
from routemoa.core.types import ModelSpec
from routemoa.core.usage import Usage

genai = pytest.importorskip("genai_prices.types")

OPENROUTER = "https://openrouter.ai/api/v1"
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)

tokens = st.integers(0, 2_000_000)
dollars = st.floats(0, 200, allow_nan=False)
tiers = st.lists(st.builds(Tier, st.integers(0, 1_500_000), dollars), max_size=3).map(
    lambda found: tuple(sorted(found, key=lambda t: t.start))
)
rates = st.builds(Rate, dollars, tiers)
anything = st.builds(Price, rates, rates, st.none() | rates, st.none() | rates, st.floats(0, 1))


@st.composite
def usual(draw: st.DrawFn) -> Price:
    """Long prompts cost more and cached tokens less, as with nearly all prices."""
    starts = sorted(draw(st.sets(st.integers(0, 1_500_000), max_size=3)))

    def rate() -> Rate:
        base, *more = sorted(draw(st.lists(dollars, min_size=len(starts) + 1, max_size=len(starts) + 1)))
        return Rate(base, tuple(map(Tier, starts, more)))

    whole = rate()
    share = draw(st.floats(0, 1))
    cached = Rate(share * whole.base, tuple(Tier(t.start, share * t.rate) for t in whole.tiers))
    return Price(whole, rate(), draw(st.none() | st.just(cached)), request=draw(st.floats(0, 1)))


def spec(price: Price) -> ModelSpec:
    return ModelSpec("m", "http://x/v1", "m", list_price=price)


@given(anything, tokens, tokens, st.data())
def test_no_call_costs_more_than_the_worst_of_its_bounds(
    price: Price, most: int, cap: int, data: st.DataObject
) -> None:
    prompt, completion = data.draw(st.integers(0, most)), data.draw(st.integers(0, cap))
    cached = data.draw(st.none() | st.integers(0, prompt))
    written = data.draw(st.none() | st.integers(0, prompt - (cached or 0)))
    cost, worst = spec(price).cost(Usage(prompt, completion, cached, written)), spec(price).worst_cost(most, cap)
    assert cost is not None
    assert worst is not None
    assert 0 <= cost <= worst


@given(usual(), tokens, tokens, st.data())
def test_usual_prices_only_grow_with_tokens_and_the_cache_never_adds_cost(
    price: Price, most: int, cap: int, data: st.DataObject
) -> None:
    prompt, completion = data.draw(st.integers(0, most)), data.draw(st.integers(0, cap))
    cached = data.draw(st.none() | st.integers(0, prompt))
    cost, bound = spec(price).cost(Usage(prompt, completion, cached)), spec(price).cost(Usage(most, cap))
    assert cost is not None
    assert bound is not None
    assert cost <= bound == spec(price).worst_cost(most, cap)


def test_cached_and_written_tokens_tiers_and_requests_are_priced_as_such() -> None:
    price = Price(Rate(2.0, (Tier(1000, 4.0),)), Rate(10.0), Rate(0.2), Rate(2.5), 0.01)
    assert price.cost(1000, 0) == pytest.approx(0.012)
    assert price.cost(1001, 0) == pytest.approx(0.01 + 1001 * 4e-6)
    assert price.cost(1000, 100, 600, 300) == pytest.approx(0.01 + (100 * 2 + 600 * 0.2 + 300 * 2.5 + 100 * 10) / 1e6)
    assert price.cost(0, 0) == 0  # refused
    assert price.cost(10, 0, 50, 50) == pytest.approx(0.01 + 2e-6)  # absurd counts are no more than the prompt
    without = Price(Rate(2.0), Rate(10.0))
    assert without.cost(1000, 0, 600, 300) == without.cost(1000, 0)


def test_missing_is_none() -> None:
    model = ModelSpec("m", "local", "m", input_price=1.0, output_price=2.0)
    assert model.cost(Usage(10, 10)) == pytest.approx(3e-5)
    assert model.cost(Usage(None, 10)) is model.cost(Usage(10, None)) is None
    half = ModelSpec("m", "local", "m", input_price=1.0)
    assert half.price is None
    assert half.cost(Usage(1, 1)) is half.worst_cost(1, 1) is None


# --- the library


def test_the_endpoint_decides_and_not_the_name() -> None:
    known = with_list_prices([ModelSpec("gpt", "https://api.openai.com/v1", "gpt-4o")], NOW)[0]
    assert known.price is not None
    assert (known.input_price, known.output_price) == (known.price.input.base, known.price.output.base)
    assert known.price.cached is not None
    assert known.price.cached.base < known.price.input.base
    for endpoint in (
        "http://127.0.0.1:8000/v1",
        "http://localhost:8000/v1",
        "https://10.0.0.3/v1",
        "https://vllm/v1",
        "https://vllm.example.org/v1",
        "https://api.openai.com.example.org/v1",
        "https://proxy.example.org/x.googleapis.com/v1",
    ):
        for name in ("gpt-4o", "gemini-2.5-pro"):
            assert with_list_prices([ModelSpec("own", endpoint, name)], NOW)[0].price is None, endpoint
    assert with_list_prices([ModelSpec("x", "https://api.openai.com/v1", "gpt-4o-lookalike")], NOW)[0].price is None
    assert with_list_prices([ModelSpec("gpt-4o", "local", "gpt-4o")], NOW)[0].price is None


def test_the_pool_files_price_goes_before_the_listed_one() -> None:
    own = ModelSpec("gpt", "https://api.openai.com/v1", "gpt-4o", input_price=0.5, output_price=1.0)
    half = ModelSpec("gpt", "https://api.openai.com/v1", "gpt-4o", input_price=0.5)
    assert with_list_prices([own, half], NOW) == (own, half)
    listed = with_list_prices([ModelSpec("gpt", "https://api.openai.com/v1", "gpt-4o")], NOW)[0]
    sources = price_sources([own, half, listed])
    assert sources["gpt"] == str(listed.price)
    assert price_sources([own, half]) == {"gpt": "pool file"}


def test_the_date_is_that_of_the_data_and_never_today() -> None:
    import genai_prices

    found = with_list_prices([ModelSpec("c", OPENROUTER, "anthropic/claude-sonnet-4.5")], NOW)[0].price
    assert found is not None
    assert found.source == f"genai-prices {genai_prices.__version__}"
    assert found.date == prices.RELEASE_DATES[genai_prices.__version__], "a new release: put its day into prices.DAYS"
    assert found.date < date.today().isoformat()
    assert [t.start for t in found.input.tiers] == [200_000]
    assert found.input.at(200_001) == 2 * found.input.at(200_000)


def listed(prices_: Any) -> Price | None:
    info = genai.ModelInfo(id="m", match=genai.ClauseEquals("m"), prices=prices_)
    return prices._to_price(prices._prices_on_day(info, NOW), "library", "2026-11-10")


def model_price(**keys: object) -> Any:
    return genai.ModelPrice(**{k: Decimal(str(v)) if isinstance(v, int | float) else v for k, v in keys.items()})


def test_what_an_endpoint_does_not_report_counts_as_the_highest_price() -> None:
    night = genai.TimeOfDateConstraint(time(0, 30, tzinfo=UTC), time(16, 30, tzinfo=UTC))
    day, off = model_price(input_mtok=2, output_mtok=4), model_price(input_mtok=1, output_mtok=2, cache_read_mtok=0.1)
    off_peak = listed([genai.ConditionalPrice(prices=day), genai.ConditionalPrice(night, prices=off)])
    assert off_peak is not None
    assert (off_peak.input, off_peak.output, off_peak.cached) == (Rate(2.0), Rate(4.0), Rate(2.0))
    thinking = listed(model_price(input_mtok=1, output_mtok=2, output_reasoning_mtok=3))
    assert thinking is not None
    assert thinking.output == Rate(3.0)
    writing = listed(model_price(input_mtok=1, output_mtok=2, cache_write_mtok=1.25, cache_write_1h_mtok=2))
    assert writing is not None
    assert (writing.cache_write, writing.one_hour_cache) == (Rate(2.0), True)


def test_a_price_begins_on_its_day() -> None:
    old, new = model_price(input_mtok=1, output_mtok=2), model_price(input_mtok=3, output_mtok=4)
    for start, wanted in ((date(2026, 11, 20), 3.0), (date(2026, 11, 21), 1.0)):
        later = genai.ConditionalPrice(genai.StartDateConstraint(start), prices=new)
        found = listed([genai.ConditionalPrice(prices=old), later])
        assert found is not None
        assert found.input == Rate(wanted)


def test_requests_and_tiers_are_read_as_the_library_models_them() -> None:
    tiered = genai.TieredPrices(Decimal(1), [genai.Tier(200, Decimal(2)), genai.Tier(100, Decimal("1.5"))])
    found = listed(model_price(input_mtok=tiered, output_mtok=2, requests_kcount=12, web_searches_kcount=10))
    assert found is not None
    assert found.request == pytest.approx(0.012)
    assert found.input == Rate(1.0, (Tier(100, 1.5), Tier(200, 2.0)))
    assert listed(model_price(input_mtok=1)) is None  # an embedding: it says nothing about answers
    assert listed(model_price()) is None
    assert listed(model_price(input_mtok=1, output_mtok=2, output_citation_mtok=2)) is None


def test_our_dollars_are_the_librarys_for_every_model_it_lists() -> None:
    from genai_prices import Usage as Theirs
    from genai_prices.data_snapshot import get_snapshot

    compared = 0
    for provider in get_snapshot().providers:
        for info in provider.models:
            if isinstance(info.prices, list) or "output_reasoning_mtok" in vars(info.prices):
                continue
            found = listed(info.prices)
            if found is None:
                continue
            for prompt in (1000, 150_000, 300_000):
                cached = 600 if "cache_read_mtok" in vars(info.prices) else 0
                theirs = info.prices.calc_price(
                    Theirs(input_tokens=prompt, output_tokens=500, cache_read_tokens=cached or None)
                )
                assert found.cost(prompt, 500, cached) == pytest.approx(float(theirs["total_price"])), info.id
            compared += 1
    assert compared > 1000


# --- the pool file


def pool_of(keys: str, endpoint: str = OPENROUTER) -> ModelSpec:
    (model,) = parse_pool(f'[[model]]\nname = "m"\nendpoint = "{endpoint}"\n{keys}', "pool.toml", Path("."), {})
    return model


def test_a_pool_file_sets_cached_written_and_request_prices() -> None:
    model = pool_of(
        "input_price = 1.0\noutput_price = 2.0\ncached_price = 0.1\ncache_write_price = 1.5\nrequest_price = 0.01"
    )
    assert model.cost(Usage(1000, 0, 600, 100)) == pytest.approx(0.01 + (300 + 60 + 150) / 1e6)
    assert model.worst_cost(1000, 0) == pytest.approx(0.01 + 1500 / 1e6)
    assert price_sources([model]) == {"m": "pool file"}


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ("cached_price = 0.1", "cached_price is part of a price; give input_price and output_price, too"),
        ("request_price = -1.0", "request_price = -1.0 is out of range; it is dollars per request"),
        ("request_price = 1e308", "is dollars per request, from 0 to 1000000"),
        ("latency = inf", "latency = inf is out of range"),
        ("listed = { input = 1.0 }", "unknown key 'listed'"),
        ('"-listed" = { input = 1.0 }', "unknown key '-listed'"),
        ('cache_control = "yes"', "cache_control: "),
    ],
)
def test_a_wrong_key_is_one_line(keys: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=r"\[\[model\]\] 1 'm'") as caught:
        pool_of(keys)
    assert reason in str(caught.value)


def test_the_library_is_imported_only_where_it_can_help() -> None:
    code = "import sys; from pathlib import Path; from routemoa.core.pool_file.pool import parse_pool\n"
    code += "parse_pool(sys.argv[1], 'pool.toml', Path('.'), {}); print('genai_prices' in sys.modules)"
    head = '[[model]]\nname = "m"\nendpoint = '
    for text, wanted in (
        (f'{head}"http://127.0.0.1:9/v1"', "False"),
        (f'{head}"{OPENROUTER}"\ninput_price = 1.0\noutput_price = 1.0', "False"),
        (f'{head}"local"', "False"),
        (f'{head}"{OPENROUTER}"', "True"),
    ):
        printed = subprocess.run([sys.executable, "-c", code, text], capture_output=True, text=True, check=True).stdout
        assert printed.strip() == wanted, text


def test_without_the_library_a_price_is_unknown_and_the_hint_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prices, "has_price_library", lambda: False)
    bare = ModelSpec("gpt", "https://api.openai.com/v1", "gpt-4o")
    assert with_list_prices([bare]) == (bare,)
    assert install_command("prices") in price_hint(bare)
    assert "pip" not in price_hint(ModelSpec("own", "http://127.0.0.1:9/v1", "gpt-4o"))
