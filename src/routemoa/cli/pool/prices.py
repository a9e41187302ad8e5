"""`routemoa pool prices`: what each model costs, where that is known from, and how old it is."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import click

from routemoa.cli.terminal.table import print_table

if TYPE_CHECKING:
    from routemoa.core.pricing import Price
    from routemoa.core.types import ModelSpec

__all__ = ["prices"]

HEADS = ["name", "input", "output", "cached", "written", "a request", "long prompts", "source", "date", "age"]


@click.command()
@click.option("--pool", "pool_file", metavar="FILE", help="Pool file; else $ROUTEMOA_POOL, else the embedded pool.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead.")
def prices(*, pool_file: str | None, as_json: bool) -> None:
    """Show what each model costs, where that is known from, and how old it is. No model is called.

    In dollars per million tokens (a request: dollars): from the pool file, else from the library genai-prices, which
    knows the models behind public endpoints. A dash is nothing of its own: cached and written tokens then cost as much
    as any other.
    """
    from routemoa.core.pool import Pool
    from routemoa.core.price_list import price_hint

    pool = Pool.default(pool_file)
    today = datetime.now(UTC).date()
    if as_json:
        models = [_plain(m, today) for m in pool]
        click.echo(json.dumps({"source": pool.source, "models": models}, indent=2))
        return
    print_table(pool.source, HEADS, [_row(m, today) for m in pool])
    for model in pool:
        if model.price is None:
            click.echo(f"{model.name}: no price is known; {price_hint(model)}", err=True)


def _plain(model: ModelSpec, today: date) -> dict[str, Any]:
    """A model's line as JSON; rates without tiers are numbers, unknown ones null."""
    from routemoa.core.price_list import price_hint

    price = model.price
    if price is None:
        return {"name": model.name, "price": None, "remedy": price_hint(model)}
    rates = {"input": price.input, "output": price.output, "cached": price.cached, "written": price.cache_write}
    return {
        "name": model.name,
        "price": {key: None if rate is None else rate.base for key, rate in rates.items()} | {"request": price.request},
        "tiers": [{"above": start, **_above(price, start)} for start in _starts(price)],
        "source": price.source,
        "date": price.date,
        "age_days": _age(price, today),
    }


def _row(model: ModelSpec, today: date) -> list[str]:
    price = model.price
    if price is None:
        return [model.name, "unknown", *["-"] * (len(HEADS) - 2)]
    rates = [price.input, price.output, price.cached, price.cache_write]
    age = _age(price, today)
    return [
        model.name,
        *("-" if rate is None else f"{rate.base:g}" for rate in rates),
        f"{price.request:g}" if price.request else "-",
        "; ".join(_words(start, _above(price, start)) for start in _starts(price)) or "-",
        price.source,
        price.date or "-",
        "-" if age is None else f"{age} day{'' if age == 1 else 's'}",
    ]


def _words(start: int, rates: dict[str, float]) -> str:
    return f"over {start:,} tokens: " + ", ".join(f"{key} {rate:g}" for key, rate in rates.items())


def _starts(price: Price) -> list[int]:
    rates = [price.input, price.output, price.cached, price.cache_write]
    return sorted({tier.start for rate in rates if rate for tier in rate.tiers})


def _above(price: Price, start: int) -> dict[str, float]:
    """The rates of a prompt just longer than `start`, where they are others than those of a short one."""
    rates = {"input": price.input, "output": price.output, "cached": price.cached, "written": price.cache_write}
    return {key: rate.at(start + 1) for key, rate in rates.items() if rate and rate.at(start + 1) != rate.base}


def _age(price: Price, today: date) -> int | None:
    return None if price.date is None else (today - date.fromisoformat(price.date)).days
