"""`routemoa pool prices`: what each model costs, where that is known from, and how old it is."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import click

from routemoa.cli.options import json_option, load_pool, pool_option
from routemoa.cli.terminal.lines import print_line
from routemoa.core.text.plural import counted

if TYPE_CHECKING:
    from routemoa.core.models.pricing import Price, Rate
    from routemoa.core.types import ModelSpec

__all__ = ["prices"]

RATES = {"input": "input", "output": "output", "cached": "cached", "written": "cache write"}
"""JSON key of a rate -> its column."""
HEADS = ["name", *RATES.values(), "per call", "long prompts", "source", "date", "age"]
OPTIONAL = ["age", "long prompts", "per call", "cache write", "cached", "date", "source"]  # left out first


@click.command(short_help="Show what each model costs and where its price comes from.")
@pool_option
@json_option
def prices(*, pool_file: str | None, as_json: bool) -> None:
    """Show what each model costs, where its price comes from and how old it is, without calling a model.

    Prices are dollars per million tokens, and dollars per call. They come from the pool file, else from the library
    genai-prices, which knows the models behind public endpoints. A dash is no price of its own: cached and cache-write
    tokens then cost as much as other input.

    \b
    Example:
      routemoa pool prices --pool pool.toml
    """
    from routemoa.cli.terminal.table import print_table
    from routemoa.core.catalog.price_list import price_hint

    pool = load_pool(pool_file, needs_keys=False)
    today = datetime.now(UTC).date()
    if as_json:
        models = [_to_plain(m, today) for m in pool]
        click.echo(json.dumps({"source": pool.source, "models": models}, indent=2))
        return
    print_table(HEADS, [_make_row(m, today) for m in pool], title=pool.source, optional=OPTIONAL)
    for model in pool:
        if model.price is None:
            print_line(f"{model.name}: no price is known; {price_hint(model)}", err=True)


def _to_plain(model: ModelSpec, today: date) -> dict[str, Any]:
    """Return a model's prices as JSON; null is no rate of its own."""
    from routemoa.core.catalog.price_list import price_hint

    price = model.price
    if price is None:
        return {"name": model.name, "price": None, "remedy": price_hint(model)}
    base = {key: None if rate is None else rate.base for key, rate in _rates(price).items()}
    return {
        "name": model.name,
        "price": base | {"request": price.request},
        "tiers": [{"above": start, **_rates_above(price, start)} for start in _tier_starts(price)],
        "source": price.source,
        "date": price.date,
        "age_days": _age_in_days(price, today),
    }


def _make_row(model: ModelSpec, today: date) -> list[str]:
    price = model.price
    if price is None:
        return [model.name, "unknown", *["-"] * (len(HEADS) - 2)]
    age = _age_in_days(price, today)
    return [
        model.name,
        *("-" if rate is None else f"{rate.base:g}" for rate in _rates(price).values()),
        f"{price.request:g}" if price.request else "-",
        "; ".join(_describe_tier(start, _rates_above(price, start)) for start in _tier_starts(price)) or "-",
        price.source,
        price.date or "-",
        "-" if age is None else counted(age, "day"),
    ]


def _rates(price: Price) -> dict[str, Rate | None]:
    """Return the rates by the keys of RATES."""
    return dict(zip(RATES, (price.input, price.output, price.cached, price.cache_write), strict=True))


def _tier_starts(price: Price) -> list[int]:
    """Return the prompt lengths, in tokens, above which another rate holds."""
    return sorted({tier.start for rate in _rates(price).values() if rate for tier in rate.tiers})


def _rates_above(price: Price, start: int) -> dict[str, float]:
    """Return the rates of a prompt just longer than `start` that differ from those of a short one."""
    rates = {key: rate for key, rate in _rates(price).items() if rate}
    return {key: rate.at(start + 1) for key, rate in rates.items() if rate.at(start + 1) != rate.base}


def _describe_tier(start: int, rates: dict[str, float]) -> str:
    return f"over {start:,} tokens: " + ", ".join(f"{RATES[key]} {rate:g}" for key, rate in rates.items())


def _age_in_days(price: Price, today: date) -> int | None:
    return None if price.date is None else (today - date.fromisoformat(price.date)).days
