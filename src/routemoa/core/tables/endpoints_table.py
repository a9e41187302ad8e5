"""The `endpoints` of a `[[model]]` entry: several places where one model answers."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from routemoa.core.catalog.providers import describe_missing_key, expand_endpoint
from routemoa.core.errors import ConfigError
from routemoa.core.files.toml import check_range, parse_table
from routemoa.core.models.endpoint import MAX_PRICE, PRICE_KEYS, Endpoint

__all__ = ["REGION_VARIABLE", "find_missing_keys", "read_endpoints"]

REGION_VARIABLE = "ROUTEMOA_REGION"
"""The environment variable that says where this process runs; it goes before `[gateway] region`."""
MAX_ENDPOINTS = 100


def read_endpoints(entry: Mapping[str, Any], where: str, env: Mapping[str, str]) -> dict[str, Any]:
    """Return a `[[model]]` entry with its `endpoints` as complete tables, and the first one's URL as its `endpoint`.

    Args:
        entry: the table as the file has it; one without `endpoints` is returned as it is.
        where: the place, for errors.
        env: the environment in which providers' keys are looked for.

    Raises:
        ConfigError: there is an `endpoint` as well, or an endpoint is wrong.
    """
    if "endpoints" not in entry:
        return dict(entry)
    if "endpoint" in entry:
        raise ConfigError(f"{where}: has `endpoint` and `endpoints`; move the URL of `endpoint` into `endpoints`")
    given = entry["endpoints"]
    if not isinstance(given, list) or not 0 < len(given) <= MAX_ENDPOINTS:
        raise ConfigError(
            f"{where}: endpoints: must be a list of 1 to {MAX_ENDPOINTS} URLs or tables, such as "
            'endpoints = ["http://a.example/v1", "http://b.example/v1"]'
        )
    found = [_read_endpoint(item, number, f"{where}: endpoints {number}", env) for number, item in enumerate(given, 1)]
    _check_unique(found, where)
    return {**entry, "endpoint": found[0].url, "endpoints": [msgspec.to_builtins(e) for e in found]}


def _read_endpoint(item: Any, number: int, where: str, env: Mapping[str, str]) -> Endpoint:
    """Read one endpoint: its URL, or a table. Raises ConfigError."""
    if isinstance(item, str):
        item = {"url": item}
    if not isinstance(item, dict):
        raise ConfigError(f'{where}: must be a URL, or a table such as {{ url = "http://a.example/v1", weight = 2 }}')
    if item.get("url") == "local":
        raise ConfigError(f'{where}: "local" is the embedded runtime, of which there is one; use `endpoint = "local"`')
    endpoint = parse_table(item, Endpoint, where)
    expanded = expand_endpoint({**item, "endpoint": endpoint.url}, where, env)
    expanded["url"] = expanded.pop("endpoint")
    endpoint = parse_table({"name": str(number), **expanded}, Endpoint, where)
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", endpoint.name):
        raise ConfigError(f"{where}: name: use up to 64 letters, digits, '.', '_' and '-', or leave the key out")
    check_range(f"{where}: priority", endpoint.priority, 0, 1000, "a number, the lowest is called first")
    if not (0.0 < endpoint.weight < math.inf):
        raise ConfigError(
            f"{where}: weight = {endpoint.weight} is out of range; it is a share, more than 0, or left out"
        )
    for key in PRICE_KEYS:
        check_range(f"{where}: {key}", getattr(endpoint, key), 0, MAX_PRICE, "dollars")
    prices = [key for key in PRICE_KEYS if getattr(endpoint, key) is not None]
    if prices and (endpoint.input_price is None or endpoint.output_price is None):
        raise ConfigError(f"{where}: {prices[0]} is part of a price; give input_price and output_price, too")
    return endpoint


def _check_unique(endpoints: Sequence[Endpoint], where: str) -> None:
    """Check that no name and no place is there twice. Raises ConfigError."""
    names: set[str] = set()
    places: set[tuple[str, str | None, str | None]] = set()
    for number, e in enumerate(endpoints, 1):
        place = (e.url.rstrip("/"), e.model, e.api_key_env)
        if e.name in names:
            raise ConfigError(f"{where}: endpoints {number}: name '{e.name}' is taken already; names are unique")
        if place in places:
            raise ConfigError(
                f"{where}: endpoints {number}: is there twice; use `weight` for a larger share of the calls"
            )
        names.add(e.name)
        places.add(place)


def find_missing_keys(
    endpoints: Sequence[Endpoint], member_key: str | None, where: str, env: Mapping[str, str]
) -> dict[str, str]:
    """Return the endpoints whose key is not set, by name: what to do."""
    missing: dict[str, str] = {}
    for e in endpoints:
        variable = member_key if e.api_key_env is None else e.api_key_env
        if variable and not env.get(variable):
            why = describe_missing_key({"api_key_env": variable}, variable, env)
            missing[e.name] = f"{where}: endpoint '{e.name}': {why}"
    return missing
