"""List prices from the library `genai-prices`, for models to which the pool file gives no price.

A price is looked up by the model's endpoint and name, so that a self-hosted model never gets a list price because of
its name. Only the data in the package is read; nothing is fetched. The library is imported only where it can help.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime, time
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from msgspec.structs import replace

from routemoa.core.models.pricing import Price, Rate, Tier
from routemoa.core.types import ModelSpec

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, ModelPrice

__all__ = [
    "Listing",
    "find_listing",
    "find_price",
    "has_price_library",
    "price_hint",
    "price_sources",
    "with_list_prices",
]

RELEASE_DATES = {"0.2.3": "2026-11-10"}
"""Release of the library -> its day in the package index; its data carry no date of their own."""
CACHE_WRITE_KEYS = ("cache_write_mtok", "cache_write_5m_mtok", "cache_write_1h_mtok")
OUTPUT_KEYS = ("output_mtok", "output_reasoning_mtok")
UNBOUNDED_KEYS = ("output_citation_mtok",)
"""Charged without being requested, by counts that are in no usage figure."""


class Listing(NamedTuple):
    """What the library knows of a model at a provider's endpoint."""

    price: Price | None
    context: int | None
    """Tokens of prompt and answer together."""
    deprecated: bool


def with_list_prices(models: Iterable[ModelSpec], now: datetime | None = None) -> tuple[ModelSpec, ...]:
    """Return the models, with list prices where the pool file gives none and the library knows the endpoint.

    Args:
        models: the models of a pool file.
        now: the moment whose prices apply; by default the current time.
    """
    now = now or datetime.now(UTC)
    return tuple(_add_list_price(m, now) if _may_be_listed(m) and has_price_library() else m for m in models)


def price_sources(models: Iterable[ModelSpec]) -> dict[str, str]:
    """Return model name -> where its price comes from, and its date; models without a price are left out."""
    return {m.name: str(m.price) for m in models if m.price is not None}


def price_hint(model: ModelSpec) -> str:
    """Return how to give a price to a model that has none, as the end of an error message."""
    hint = "add input_price and output_price to the pool file"
    if not _may_be_listed(model) or has_price_library():
        return hint
    from routemoa.core.system.installation import install_command

    return f"{hint}, or get list prices with  {install_command('prices')}"


def has_price_library() -> bool:
    """Return whether `genai-prices` is installed."""
    return find_spec("genai_prices") is not None


def find_price(model: str, at: datetime) -> Price | None:
    """Return a model's price at its maker's own endpoint, at one moment; None where the library does not know it."""
    from genai_prices.data_snapshot import get_snapshot

    try:
        _, found = get_snapshot().find_provider_model(model, None, None, None)
    except LookupError:
        return None
    return _to_price([found.get_prices(at)], "")


def find_listing(endpoint: str, model: str) -> Listing | None:
    """Return what the library knows of a model that is served at a public endpoint; None where it knows nothing."""
    if not has_price_library() or not _is_public(endpoint) or (info := _find_model_info(endpoint, model)) is None:
        return None
    return Listing(_price_of(info, datetime.now(UTC)), info.context_window, bool(info.deprecated))


def _may_be_listed(model: ModelSpec) -> bool:
    """Return whether a model lacks a price and has a public endpoint; the library knows no others."""
    if model.local or (model.input_price, model.output_price) != (None, None):
        return False
    return _is_public(model.endpoint)


def _is_public(endpoint: str) -> bool:
    url = urlsplit(endpoint)
    return url.scheme == "https" and bool(re.search(r"\.[a-z-]+$", url.hostname or ""))


def _add_list_price(model: ModelSpec, now: datetime) -> ModelSpec:
    """Return the model with its list price, or as it is where the library has none."""
    info = _find_model_info(model.endpoint, model.model or model.name)
    if info is None or (price := _price_of(info, now)) is None:
        return model
    return replace(model, list_price=price, input_price=price.input.base, output_price=price.output.base)


def _price_of(info: ModelInfo, now: datetime) -> Price | None:
    from genai_prices import __version__

    return _to_price(_prices_on_day(info, now), f"genai-prices {__version__}", _price_date(info, __version__))


def _find_model_info(endpoint: str, model: str) -> ModelInfo | None:
    """Return the library's entry of a model at the provider that serves `endpoint`."""
    from genai_prices.data_snapshot import get_snapshot

    providers = get_snapshot().providers
    for provider in providers:
        if _matches_endpoint(provider.api_pattern, endpoint) and (
            found := provider.find_model(model, all_providers=providers)
        ):
            return found
    return None


def _matches_endpoint(pattern: str, endpoint: str) -> bool:
    """Return whether a provider's pattern matches a URL: its whole host, and the path where the pattern has one."""
    url = urlsplit(endpoint)
    origin = f"{url.scheme}://{url.hostname}"
    text = origin + url.path if "/" in pattern.partition("://")[2] else origin
    found = re.match(pattern, text)
    return found is not None and (found[0].endswith((".", "/")) or text[found.end() : found.end() + 1] in ("", "/"))


def _prices_on_day(info: ModelInfo, now: datetime) -> list[ModelPrice]:
    """Return all prices that apply at some hour of the day: some providers are cheaper off-peak."""
    if not isinstance(info.prices, list):
        return [info.prices]
    limits = [c.constraint for c in info.prices if hasattr(c.constraint, "start_time")]
    hours = [time(), *(getattr(limit, name) for limit in limits for name in ("start_time", "end_time"))]
    moments = [datetime.combine(now.date(), hour.replace(tzinfo=hour.tzinfo or UTC)) for hour in hours]
    return [info.get_prices(moment) for moment in moments]


def _price_date(info: ModelInfo, version: str) -> str | None:
    """Return the day on which the library's authors checked the price, else the release's; None is unknown."""
    checked = getattr(info, "prices_checked", None)
    return checked.isoformat() if checked else RELEASE_DATES.get(version)


def _to_price(prices: list[ModelPrice], source: str, day: str | None = None) -> Price | None:
    """Merge several prices into the highest; None unless both input and output tokens have a price."""
    tables = [{k: v for k, v in vars(p).items() if v is not None} for p in prices]
    if any(key in table for table in tables for key in UNBOUNDED_KEYS):
        return None
    inputs = [_highest_rate(table, ["input_mtok"]) for table in tables]
    outputs = [_highest_rate(table, OUTPUT_KEYS) for table in tables]
    if None in inputs or None in outputs:
        return None
    return Price(
        _merge_rates(inputs),
        _merge_rates(outputs),
        _cache_rate(tables, ["cache_read_mtok"], inputs),
        _cache_rate(tables, CACHE_WRITE_KEYS, inputs),
        max(float(t.get("requests_kcount", 0)) / 1000 for t in tables),
        source,
        day,
        one_hour_cache=any("cache_write_1h_mtok" in table for table in tables),
    )


def _cache_rate(tables: list[dict[str, Any]], keys: Iterable[str], inputs: list[Rate | None]) -> Rate | None:
    """Return the rate of cached tokens; a price without a rate for them charges them as input."""
    own = [_highest_rate(table, keys) for table in tables]
    return _merge_rates([a or b for a, b in zip(own, inputs, strict=True)]) if any(own) else None


def _highest_rate(table: dict[str, Any], keys: Iterable[str]) -> Rate | None:
    rates: list[Rate | None] = [_to_rate(table[key]) for key in keys if key in table]
    return _merge_rates(rates) if rates else None


def _to_rate(value: Any) -> Rate:
    """Convert the library's decimal, or its tiers, in which passing a threshold changes the rate of the whole call."""
    if not hasattr(value, "tiers"):
        return Rate(float(value))
    return Rate(float(value.base), tuple(Tier(t.start, float(t.price)) for t in value.tiers))


def _merge_rates(found: list[Rate | None]) -> Rate:
    """Return a rate that is, at every length of a prompt, the highest of those given."""
    rates = [rate for rate in found if rate]
    starts = sorted({tier.start for rate in rates for tier in rate.tiers})
    tiers = tuple(Tier(start, max(rate.at(start + 1) for rate in rates)) for start in starts)
    return Rate(max(rate.base for rate in rates), tiers)
