"""Whose price is known: the pool file's, else the one that the library `genai-prices` lists, else unknown.

The library is asked by the member's endpoint and model, so that a model of one's own never gets a list price for its
name. Only the data that comes with the package counts; nothing is fetched. It is imported where it can help.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime, time
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from msgspec.structs import replace

from routemoa.core.pricing import Price, Rate, Tier
from routemoa.core.types import ModelSpec

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, ModelPrice

__all__ = ["find_price", "has_price_library", "price_hint", "price_sources", "with_list_prices"]

RELEASE_DATES = {"0.2.3": "2026-11-10"}
"""When a release of the library came out, according to the package index: its data say of themselves no day."""
WRITES = ("cache_write_mtok", "cache_write_5m_mtok", "cache_write_1h_mtok")
ANSWERS = ("output_mtok", "output_reasoning_mtok")
BESIDES = ("output_citation_mtok",)  # charged without being asked for, and by what no usage figure shows


def with_list_prices(models: Iterable[ModelSpec], now: datetime | None = None) -> tuple[ModelSpec, ...]:
    """The models, with the library's price where the pool file gives none and the library knows the endpoint."""
    return tuple(_priced(m, now or datetime.now(UTC)) if _may_be_listed(m) and has_price_library() else m for m in models)


def price_sources(models: Iterable[ModelSpec]) -> dict[str, str]:
    """Model name -> where its price comes from and of what day it is; models without a price are not there."""
    return {m.name: str(m.price) for m in models if m.price is not None}


def price_hint(model: ModelSpec) -> str:
    """How to give a price to a model that has none."""
    write = "add input_price and output_price to the pool file"
    return f"{write}, or  pip install 'routemoa[prices]'" if _may_be_listed(model) and not has_price_library() else write


def has_price_library() -> bool:
    """Whether the library is there."""
    return find_spec("genai_prices") is not None


def find_price(model: str, at: datetime) -> Price | None:
    """The price at the endpoint of a model's maker, in one moment; None for a name that the library does not know."""
    from genai_prices.data_snapshot import get_snapshot

    try:
        _, found = get_snapshot().find_provider_model(model, None, None, None)
    except LookupError:
        return None
    return _to_price([found.get_prices(at)], "")


def _may_be_listed(model: ModelSpec) -> bool:
    """Whether a price is wanted, and the endpoint is one that the public can reach: the library knows no others."""
    if model.local or (model.input_price, model.output_price) != (None, None):
        return False
    url = urlsplit(model.endpoint)
    return url.scheme == "https" and bool(re.search(r"\.[a-z-]+$", url.hostname or ""))


def _priced(model: ModelSpec, now: datetime) -> ModelSpec:
    from genai_prices import __version__

    info = _find(model.endpoint, model.model or model.name)
    if info is None:
        return model
    price = _to_price(_prices_on_day(info, now), f"genai-prices {__version__}", _day(info, __version__))
    if price is None:
        return model
    return replace(model, list_price=price, input_price=price.input.base, output_price=price.output.base)


def _find(endpoint: str, model: str) -> ModelInfo | None:
    """A model of the provider that answers at `endpoint`."""
    from genai_prices.data_snapshot import get_snapshot

    providers = get_snapshot().providers
    for provider in providers:
        if _answers_at(provider.api_pattern, endpoint) and (
            found := provider.find_model(model, all_providers=providers)
        ):
            return found
    return None


def _answers_at(pattern: str, endpoint: str) -> bool:
    """Whether a provider's pattern means this URL: its whole host, and the path only where the pattern has one."""
    url = urlsplit(endpoint)
    origin = f"{url.scheme}://{url.hostname}"
    text = origin + url.path if "/" in pattern.partition("://")[2] else origin
    found = re.match(pattern, text)
    return found is not None and (found[0].endswith((".", "/")) or text[found.end() : found.end() + 1] in ("", "/"))


def _prices_on_day(info: ModelInfo, now: datetime) -> list[ModelPrice]:
    """All the prices that apply at some hour of the day: some providers are cheaper off-peak."""
    if not isinstance(info.prices, list):
        return [info.prices]
    limits = [c.constraint for c in info.prices if hasattr(c.constraint, "start_time")]
    hours = [time(), *(getattr(limit, name) for limit in limits for name in ("start_time", "end_time"))]
    moments = [datetime.combine(now.date(), hour.replace(tzinfo=hour.tzinfo or UTC)) for hour in hours]
    return [info.get_prices(moment) for moment in moments]


def _day(info: ModelInfo, version: str) -> str | None:
    """The day on which the library's makers saw the price, else that of the release; None where neither is known."""
    checked = getattr(info, "prices_checked", None)
    return checked.isoformat() if checked else RELEASE_DATES.get(version)


def _to_price(prices: list[ModelPrice], source: str, day: str | None = None) -> Price | None:
    """The dearest reading of several prices; None unless it says what is read and what is written costs."""
    tables = [{k: v for k, v in vars(p).items() if v is not None} for p in prices]
    if any(key in table for table in tables for key in BESIDES):
        return None
    read = [_dearest(table, ["input_mtok"]) for table in tables]
    said = [_dearest(table, ANSWERS) for table in tables]
    if None in read or None in said:
        return None
    return Price(
        _join(read),
        _join(said),
        # Where one of the prices has no rate of its own for the cache, its tokens cost as much as any other.
        _cache(tables, ["cache_read_mtok"], read),
        _cache(tables, WRITES, read),
        max(float(t.get("requests_kcount", 0)) / 1000 for t in tables),
        source,
        day,
        one_hour_cache=any("cache_write_1h_mtok" in table for table in tables),
    )


def _cache(tables: list[dict[str, Any]], keys: Iterable[str], read: list[Rate | None]) -> Rate | None:
    own = [_dearest(table, keys) for table in tables]
    return _join([a or b for a, b in zip(own, read, strict=True)]) if any(own) else None


def _dearest(table: dict[str, Any], keys: Iterable[str]) -> Rate | None:
    rates: list[Rate | None] = [_rate(table[key]) for key in keys if key in table]
    return _join(rates) if rates else None


def _rate(value: Any) -> Rate:
    """The library's decimal, or its tiers, in which passing a threshold changes the rate of the whole call."""
    if not hasattr(value, "tiers"):
        return Rate(float(value))
    return Rate(float(value.base), tuple(Tier(t.start, float(t.price)) for t in value.tiers))


def _join(found: list[Rate | None]) -> Rate:
    """At every length of a prompt the dearest of them."""
    rates = [rate for rate in found if rate]
    starts = sorted({tier.start for rate in rates for tier in rate.tiers})
    tiers = tuple(Tier(start, max(rate.at(start + 1) for rate in rates)) for start in starts)
    return Rate(max(rate.base for rate in rates), tiers)
