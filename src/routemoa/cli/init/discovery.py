"""Find what can answer: providers whose key is set, servers on their usual ports, model files."""

from __future__ import annotations

import asyncio
import importlib.util
import re
from collections.abc import Collection, Mapping
from datetime import date
from pathlib import Path
from urllib.parse import urlsplit

from msgspec import Struct
from msgspec.structs import replace

from routemoa.cli.init.gguf_files import find_model_files, measure_memory
from routemoa.cli.init.presets import Source
from routemoa.clients.model_lists.fetch import ListFailed, ListProblem, ModelList, fetch_model_list
from routemoa.clients.model_lists.reply import ListedModel
from routemoa.core.catalog.price_list import find_listing
from routemoa.core.catalog.providers import LOCAL, Provider, is_url
from routemoa.core.errors import MissingExtra

__all__ = ["Finding", "Place", "describe_problem", "find_sources", "list_models", "list_places", "with_library_prices"]

FILES = Provider("GGUF files", "http://127.0.0.1", LOCAL, local=True)
"""The embedded runtime, in the shape of a provider."""
OWN_SERVER = "routemoa"
"""What our own server names as the owner of its models."""


class Place(Struct, frozen=True):
    """Where a provider might answer."""

    provider: Provider
    url: str
    key_variable: str | None = None
    moved: bool = False
    """The URL is not that of the table."""


class Finding(Struct, frozen=True):
    """What was found at a place: models, or what stands in the way."""

    title: str
    where: str
    """The key's variable, the URL or the files, in words."""
    source: Source | None = None
    problem: str | None = None
    """One line: what happened and what to do."""


def list_places(providers: Mapping[str, Provider], env: Mapping[str, str]) -> list[Place]:
    """Return the places to look at: each provider whose key is set, each server of one's own."""
    places = []
    for provider in providers.values():
        variable = provider.find_key_variable(env)
        if provider.local or variable:
            other = _read_url(provider, env)
            places.append(Place(provider, other or provider.url, variable, other is not None))
    servers = {p.url for p in places if p.provider.local}
    return [p for p in places if p.provider.local or not p.moved or p.url not in servers]


async def find_sources(
    places: Collection[Place], env: Mapping[str, str], today: date, *, with_files: bool
) -> list[Finding]:
    """Ask all places for their models at the same time, and look for model files; return what was found."""
    work = [_look(place, env, today) for place in places]
    found = await asyncio.gather(*work, asyncio.to_thread(_look_for_files, env) if with_files else _nothing())
    return [finding for finding in found if finding is not None]


async def list_models(place: Place, env: Mapping[str, str], today: date) -> ModelList:
    """Return the live list of a place. Raises ListFailed."""
    key = env.get(place.key_variable, "").strip() if place.key_variable else None
    return await fetch_model_list(place.provider, place.url, key or None, today)


def describe_problem(place: Place, problem: ListProblem, reason: str) -> str:
    """Return in one line why a provider cannot be used, and what to do."""
    provider, variable = place.provider, place.key_variable or "its variable"
    match problem:
        case ListProblem.KEY:
            page = f" at {provider.key_page}" if provider.key_page else ""
            return f"{provider.title}: the key in {variable} is refused ({reason}); make one{page} and export it"
        case ListProblem.BALANCE:
            page = f" at {provider.billing_page}" if provider.billing_page else ""
            return f"{provider.title}: the account has no credit ({reason}); add some{page}"
        case ListProblem.UNREACHABLE:
            remedy = "start it" if provider.local else "check the network (a proxy goes into HTTPS_PROXY)"
            return f"{provider.title}: {reason}; {remedy}, then try again"
    return f"{provider.title}: {reason}" + (f"; see {provider.docs}" if provider.docs else "")


def with_library_prices(source: Source) -> Source:
    """Return a source with the prices, contexts and ends from the price library where the list does not say them."""
    models, url = [], source.provider.price_url or source.provider.url
    for model in source.models:
        priced = model.input_price is not None and model.output_price is not None
        listing = None if priced and model.context else find_listing(url, model.id)
        if listing is None:
            models.append(model)
            continue
        context = model.context or listing.context
        ended = model.deprecated or ("deprecated, says the price library" if listing.deprecated else None)
        price = None if priced else listing.price
        if price is None:
            models.append(replace(model, context=context, deprecated=ended))
            continue
        models.append(
            replace(
                model,
                input_price=price.input.base,
                output_price=price.output.base,
                cached_price=None if price.cached is None else price.cached.base,
                cache_write_price=None if price.cache_write is None else price.cache_write.base,
                price_source=str(price),
                context=context,
                deprecated=ended,
            )
        )
    return replace(source, models=tuple(models))


async def _nothing() -> None:
    return None


async def _look(place: Place, env: Mapping[str, str], today: date) -> Finding | None:
    """Return what is at a place; None for a server that is not running or is not the one that it might be."""
    provider = place.provider
    where = f"key in {place.key_variable}" if place.key_variable else place.url
    if place.moved and place.key_variable:
        where = f"{place.url}, {where}"
    try:
        found = await list_models(place, env, today)
    except ListFailed as e:
        if provider.local and (not place.moved or e.problem != ListProblem.UNREACHABLE):
            return None
        return Finding(provider.title, where, None, describe_problem(place, e.problem, e.reason))
    owners = {m.owner for m in found.models}
    if OWN_SERVER in owners:
        return None  # a pool that asks itself would never end
    title, endpoint = provider.title, provider.name
    if provider.port_owner and provider.port_owner not in owners:
        title, endpoint = "Server", place.url  # another program on the same port
    elif place.moved:
        endpoint = place.url
    models: tuple[ListedModel, ...] = found.models
    if provider.local:
        models = tuple(replace(m, input_price=0.0, output_price=0.0) for m in models)
    source = Source(
        provider, endpoint, models, f"{provider.title}'s list of {today}", place.key_variable, found.no_balance
    )
    source = source if provider.local or place.moved else with_library_prices(source)
    problem = describe_problem(place, ListProblem.BALANCE, "its key may spend $0") if found.no_balance else None
    return Finding(title, where, source, problem)


def _look_for_files(env: Mapping[str, str]) -> Finding | None:
    """Return the model files; None where there are none."""
    models = find_model_files(env, Path.home(), Path.cwd(), measure_memory())
    if not models:
        return None
    where = f"{len(models)} file{'s' if len(models) > 1 else ''}"
    if importlib.util.find_spec("xllamacpp") is None:
        return Finding(FILES.title, where, None, f"{FILES.title}: {MissingExtra('xllamacpp', 'local')}")
    free = tuple(replace(m, input_price=0.0, output_price=0.0) for m in models)
    return Finding(FILES.title, where, Source(FILES, LOCAL, free))


def _read_url(provider: Provider, env: Mapping[str, str]) -> str | None:
    """Return the base URL that the provider's own variable gives; None where it gives none or that of the table.

    OLLAMA_HOST may be a host, a port or both, and an address to listen on, which is no address to call.
    """
    value = env.get(provider.url_env or "", "").strip().rstrip("/")
    if not value:
        return None
    if provider.local:
        default = urlsplit(provider.url)
        text = value if "//" in value else f"http://{value}"
        try:
            parts = urlsplit(text)
            port = parts.port or default.port
        except ValueError:
            return None
        host = parts.hostname or "127.0.0.1"
        host = "127.0.0.1" if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host  # noqa: S104
        value = f"{parts.scheme}://{host}:{port}{parts.path or default.path}"
    value = re.sub(r"//localhost\b", "//127.0.0.1", value)
    return value if is_url(value) and value != provider.url else None
