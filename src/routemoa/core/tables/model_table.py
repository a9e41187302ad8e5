"""The `[[model]]` tables of a pool file: read, checked, and placed as seen from a region."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import msgspec

from routemoa.core.catalog.providers import describe_missing_key, expand_endpoint
from routemoa.core.errors import ConfigError
from routemoa.core.files.toml import check_range, parse_table
from routemoa.core.models.endpoint import MAX_PRICE, Endpoint, mark_far
from routemoa.core.models.model_spec import ModelSpec
from routemoa.core.models.patience import check_patience
from routemoa.core.tables.candidates import expand_candidates
from routemoa.core.tables.endpoints_table import find_missing_keys, read_endpoints

__all__ = ["METHODS", "Absence", "Members", "parse_models", "place_models"]

METHODS = ("routemoa", "moa", "smoa", "self-moa", "best-single", "random", "cascade")
"""The methods that use the whole pool (routemoa.mixture.method_registry builds them); no model may have such a name."""
MODEL_RANGES = (
    ("input_price", 0, MAX_PRICE, "dollars per million tokens"),
    ("output_price", 0, MAX_PRICE, "dollars per million tokens"),
    ("cached_price", 0, MAX_PRICE, "dollars per million tokens"),
    ("cache_write_price", 0, MAX_PRICE, "dollars per million tokens"),
    ("request_price", 0, MAX_PRICE, "dollars per request"),
    ("context", 1, None, "tokens"),
    ("latency", 0, None, "seconds"),
    ("prior", 0, 1, "a probability"),
    ("samples", 1, 32, "a number of samples"),
    ("orders", 1, 8, "a number of orders"),
    ("code_samples", 1, 32, "a number of samples"),
)
"""Key of `[[model]]`, its lowest and highest value, and its unit."""


class Absence(NamedTuple):
    """Why a member of the file cannot be asked."""

    kind: Literal["key", "weights"]
    why: str
    """One line: what is missing, and what to do."""


class Members(NamedTuple):
    """The models of a file, and what is missing of them."""

    models: list[ModelSpec]
    absent: dict[str, Absence]
    """Members whose key is not set, with what to do."""
    absent_endpoints: dict[str, dict[str, str]]
    """Member -> endpoint whose key is not set -> what to do, where another endpoint is left."""


def parse_models(entries: Any, source: str, env: Mapping[str, str]) -> Members:
    """Return the models, and of those whose key is not set what to do."""
    if not isinstance(entries, list) or not entries:
        raise ConfigError(f'{source}: no model; add one with [[model]], name = "...", endpoint = "..."')
    found = Members([], {}, {})
    for number, entry in enumerate(entries, 1):
        where = f"{source}: [[model]] {number}"
        member = _parse_model(entry, where, env)
        missing = _find_missing(entry, member, f"{where} '{member.name}'", env)
        for spec in expand_candidates(member):
            if any(m.name == spec.name for m in found.models):
                raise ConfigError(f"{where}: name '{spec.name}' is taken already; names are unique")
            found.models.append(spec)
            if missing and len(missing) == max(1, len(member.endpoints)):
                found.absent[spec.name] = Absence("key", next(iter(missing.values())))
            elif missing:
                found.absent_endpoints[spec.name] = missing
    return found


def _parse_model(entry: Any, where: str, env: Mapping[str, str]) -> ModelSpec:
    if isinstance(entry, dict) and isinstance(entry.get("name"), str):
        where = f"{where} '{entry['name']}'"
    if isinstance(entry, dict):
        entry = expand_endpoint(read_endpoints(entry, where, env), where, env)
    spec = parse_table(entry, ModelSpec, where)
    if not spec.name.strip():
        raise ConfigError(f"{where}: name is empty; give the model a name")
    if spec.name in METHODS:
        raise ConfigError(f"{where}: name '{spec.name}' is the name of a method; choose another")
    for key, low, high, unit in MODEL_RANGES:
        check_range(f"{where}: {key}", getattr(spec, key), low, high, unit)
    check_patience(spec.patience, f"{where}: patience")
    tables: list[ModelSpec | Endpoint] = [spec, *spec.endpoints]
    for table in tables:
        _check_fields(table, where)
    for key in ("cached_price", "cache_write_price", "request_price"):
        if getattr(spec, key) is not None and None in (spec.input_price, spec.output_price):
            raise ConfigError(f"{where}: {key} is part of a price; give input_price and output_price, too")
    for name, value in (header for table in tables for header in table.headers.items()):
        _check_header(f"{where}: headers: {name}", name, value)
    if spec.local and spec.input_price is None and spec.output_price is None:  # there is no bill
        spec = msgspec.structs.replace(spec, input_price=0.0, output_price=0.0)
    return msgspec.structs.replace(spec, model=spec.model or spec.name)


def _check_fields(spec: ModelSpec | Endpoint, where: str) -> None:
    """Check the names in `omit` and `rename`. Raises ConfigError."""
    for name in (*spec.omit, *spec.rename, *spec.rename.values()):
        if name in ("model", "messages"):
            raise ConfigError(f"{where}: '{name}' is in every request and can neither be left out nor renamed")
    if (role := spec.rename.get("system")) not in (None, "user", "developer"):
        raise ConfigError(f'{where}: rename: the role \'system\' becomes "user" or "developer", not "{role}"')


def _check_header(where: str, name: str, value: str) -> None:
    """Check that a header can be sent and holds no key. Raises ConfigError."""
    if name.lower() in ("authorization", "content-type", "content-length", "transfer-encoding", "host"):
        raise ConfigError(f"{where}: is set for each call; a key goes into the variable that api_key_env names")
    if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", name) or not re.fullmatch(r"[\x20-\x7e]*", value):
        raise ConfigError(f"{where}: cannot be a header; use printable ASCII on one line")


def _find_missing(entry: Any, member: ModelSpec, where: str, env: Mapping[str, str]) -> dict[str, str]:
    """Return for each endpoint whose key is not set what to do; a member's only endpoint has the member's name."""
    if member.endpoints:
        return find_missing_keys(member.endpoints, member.api_key_env, where, env)
    if member.api_key_env is None or env.get(member.api_key_env):
        return {}
    return {member.name: f"{where}: {describe_missing_key(entry, member.api_key_env, env)}"}


def place_models(models: Sequence[ModelSpec], region: str | None, without: Mapping[str, Any]) -> list[ModelSpec]:
    """Return the models as seen from a region, without the endpoints that are named in `without`."""

    def place(m: ModelSpec) -> ModelSpec:
        left = [e for e in m.endpoints if e.name not in without.get(m.name, ())]
        return msgspec.structs.replace(m, endpoint=left[0].url, endpoints=mark_far(left, region)) if left else m

    return [place(m) for m in models]
