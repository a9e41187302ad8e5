"""The table of providers: what `endpoint = "openrouter"` stands for, and how a provider lists its models.

The facts are in `providers.toml`, which says when they were checked. $ROUTEMOA_PROVIDERS names a file of the same shape
that adds providers or replaces single keys.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from routemoa.core.errors import ConfigError
from routemoa.core.files.toml import load_toml, parse_table, suggest_name

__all__ = [
    "LOCAL",
    "PROVIDERS_VARIABLE",
    "ListFormat",
    "Provider",
    "describe_missing_key",
    "expand_endpoint",
    "is_url",
    "load_providers",
]

LOCAL = "local"
"""The endpoint of the embedded runtime."""
PROVIDERS_VARIABLE = "ROUTEMOA_PROVIDERS"


class ListFormat(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a provider's list of models is, and which field of an entry says what. Paths of fields have dots."""

    path: str = "/models"
    """Relative to the provider's base URL."""
    key_header: str | None = None
    """The header that holds the key; None for a bearer token."""
    headers: dict[str, str] = {}
    check: str | None = None
    """A path that only a good key may read, where the list itself is public."""
    remaining: str | None = None
    """The dollars that the key may still spend, in the reply of `check`."""
    next: str | None = None
    """The address of the next page."""
    id: str = "id"
    strip: str = ""
    """The beginning of an id that is not part of the model's name."""
    created: str = "created"
    context: tuple[str, ...] = ()
    input_price: str | None = None
    output_price: str | None = None
    cached_price: str | None = None
    cache_write_price: str | None = None
    request_price: str | None = None
    price_unit: float = 1.0
    """Dollars per million tokens that a 1 in the list stands for."""
    kind: str | None = None
    """What the model is for."""
    chat_kinds: tuple[Any, ...] = ()
    """The values of `kind` that chat models have."""
    not_chat: tuple[str, ...] = ()
    """Patterns of the names of models that this provider serves under other paths than chat."""
    input_modalities: str | None = None
    output_modalities: str | None = None
    vision: str | None = None
    """A flag: the model reads images."""
    tools: str | None = None
    """A flag: the model can call tools; or the list of parameters that it takes."""
    deprecated: tuple[str, ...] = ()
    """A date, a flag or a text."""
    replacement: str | None = None
    size: str | None = None
    """The model's size as text, such as "8.0B"."""
    parameter_count: str | None = None
    hosted: str | None = None
    """Set where a local server only passes calls on to a host elsewhere."""


class Provider(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A provider, or a server of one's own on its usual port."""

    title: str
    url: str
    """The base URL of its OpenAI-compatible API."""
    name: str = ""
    """What stands as `endpoint` in a pool file."""
    url_env: str | None = None
    """A variable with another base URL, which the provider's own tools read as well."""
    price_url: str | None = None
    """Where the price library knows its models, if `url` is that of a gateway."""
    keys: tuple[str, ...] = ()
    """Environment variables that may hold its key, the usual one first; none where it needs no key."""
    key_page: str | None = None
    billing_page: str | None = None
    docs: str | None = None
    local: bool = False
    """A server on this machine: its calls have no bill."""
    port_owner: str | None = None
    headers: dict[str, str] = {}
    rename: dict[str, str] = {}
    """Field of a request -> the provider's name for it."""
    omit: tuple[str, ...] = ()
    """Fields of a request that the provider refuses."""
    least_tokens: int = 1
    """The smallest limit of output tokens that it takes."""
    list: ListFormat = ListFormat()

    def find_key_variable(self, env: Mapping[str, str]) -> str | None:
        """Return the variable that holds its key: the first that is set in `env`; None where none is."""
        return next((name for name in self.keys if env.get(name, "").strip()), None)


def load_providers(env: Mapping[str, str] = os.environ) -> dict[str, Provider]:
    """Return the providers by name: the built-in ones, with those of the file that $ROUTEMOA_PROVIDERS names over them.

    Raises:
        ConfigError: that file cannot be read, or is wrong.
    """
    tables = dict(_load_builtin())
    if path := env.get(PROVIDERS_VARIABLE):
        try:
            text = Path(path).expanduser().read_text("utf-8-sig")
        except (OSError, UnicodeDecodeError) as e:
            reason = e.strerror if isinstance(e, OSError) else "it is not UTF-8 text"
            raise ConfigError(f"{path}: cannot be read: {reason}; correct or unset {PROVIDERS_VARIABLE}") from e
        for name, table in load_toml(text, path).items():
            if name == LOCAL or is_url(name) or not isinstance(table, dict):
                raise ConfigError(f"{path}: [{name}]: must be a table with the name of a provider")
            tables[name] = _merge(tables.get(name, {"title": name}), table)
    return {name: _parse_provider(name, table, path or "providers.toml") for name, table in tables.items()}


def is_url(endpoint: str) -> bool:
    """Return whether an endpoint is a URL of HTTP."""
    try:
        url = urlsplit(endpoint)
    except ValueError:
        return False
    return url.scheme in ("http", "https") and bool(url.netloc)


def expand_endpoint(entry: Mapping[str, Any], where: str, env: Mapping[str, str]) -> dict[str, Any]:
    """Return a `[[model]]` entry with its provider's URL, key, headers and quirks; its own keys stay as they are.

    Args:
        entry: the table as the file has it, with or without a provider's name as its endpoint.
        where: the place, for errors.
        env: the environment in which the key is looked for.

    Raises:
        ConfigError: the endpoint is no URL, no provider and not "local".
    """
    endpoint = entry.get("endpoint")
    if not isinstance(endpoint, str) or endpoint == LOCAL or is_url(endpoint):
        return dict(entry)
    providers = load_providers(env)
    if (provider := providers.get(endpoint)) is None:
        raise ConfigError(
            f"{where}: endpoint '{endpoint}' is neither \"local\" nor a provider nor a URL such as "
            f'"http://127.0.0.1:9001/v1"; {suggest_name(endpoint, [LOCAL, *providers])}'
        )
    defaults: dict[str, Any] = {"rename": provider.rename, "omit": list(provider.omit)}
    if provider.keys and "api_key_env" not in entry:
        defaults["api_key_env"] = provider.find_key_variable(env) or provider.keys[0]
    own_headers = entry.get("headers", {})
    if provider.headers and isinstance(own_headers, dict):
        entry = {**entry, "headers": {**provider.headers, **own_headers}}
    return {**defaults, **entry, "endpoint": provider.url}


def describe_missing_key(entry: Mapping[str, Any], variable: str, env: Mapping[str, str]) -> str:
    """Return what is missing where the variable of a `[[model]]` entry's key is not set, and what to do."""
    provider = None if "api_key_env" in entry else load_providers(env).get(str(entry.get("endpoint")))
    if provider is None:
        return f"api_key_env: environment variable {variable} is not set; export it, or remove the key"
    page = f" ({provider.key_page})" if provider.key_page else ""
    return (
        f"endpoint '{provider.name}' needs a key: export {variable}=...{page}, or name another variable with "
        "api_key_env"
    )


@cache
def _load_builtin() -> Mapping[str, Any]:
    text = resources.files("routemoa.core.catalog").joinpath("providers.toml").read_text("utf-8")
    return load_toml(text, "providers.toml")


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return a provider's table with the keys of another over it; the keys of `list` one by one, too."""
    merged = {**base, **over}
    if isinstance(base.get("list"), dict) and isinstance(over.get("list"), dict):
        merged["list"] = {**base["list"], **over["list"]}
    return merged


def _parse_provider(name: str, table: Mapping[str, Any], source: str) -> Provider:
    where = f"{source}: [{name}]"
    provider = parse_table({**table, "name": name}, Provider, where)
    if not is_url(provider.url):
        raise ConfigError(
            f"{where}: url '{provider.url}' is not a URL of HTTP; write e.g. \"https://gateway.example/v1\""
        )
    return msgspec.structs.replace(provider, url=provider.url.rstrip("/"))
