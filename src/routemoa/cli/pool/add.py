"""`routemoa pool add`: add a model to a pool file, with what its provider's live list says of it."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from routemoa.cli.options import edited_pool_option, json_option
from routemoa.cli.terminal.lines import print_line

if TYPE_CHECKING:
    from routemoa.cli.init.discovery import Place
    from routemoa.cli.init.presets import Candidate, Source
    from routemoa.clients.model_lists.reply import ListedModel

__all__ = ["add"]


@click.command(short_help="Add a model to a pool file.")
@click.argument("model", metavar="NAME")
@edited_pool_option
@click.option(
    "--endpoint", metavar="ENDPOINT", help='A provider\'s name, a base URL, or "local"; else NAME begins with it.'
)
@click.option("--as", "own_name", metavar="NAME", help="What the pool calls it; by default the last part of its name.")
@click.option(
    "--api-key-env", metavar="VARIABLE", help="The variable that holds the key, where it is not the usual one."
)
@json_option
def add(
    *,
    model: str,
    pool_file: str | None,
    endpoint: str | None,
    own_name: str | None,
    api_key_env: str | None,
    as_json: bool,
) -> None:
    """Add the model NAME to a pool file, behind its last model; all else stays as it is.

    NAME is PROVIDER/MODEL, or the model's name at --endpoint. The provider's live list gives price and context, else
    the price library; a public table the prior, where it knows the model.

    \b
    Examples:
      routemoa pool add openrouter/qwen/qwen-2.5-72b-instruct
      routemoa pool add qwen2.5:7b --endpoint ollama
      routemoa pool add my-model --endpoint http://127.0.0.1:9001/v1 --as fast
    """
    from routemoa.cli.init.pool_text import build_models, name_models, without_repetition, write_model_table
    from routemoa.cli.pool.pool_file import add_table, find_pool_file
    from routemoa.core.errors import ConfigError
    from routemoa.core.files.toml import load_toml

    file = find_pool_file(pool_file)
    taken = [str(e.get("name")) for e in file.entries]
    endpoint, model = _split_name(model, endpoint)
    candidate = _find_model(endpoint, model, api_key_env, datetime.now(UTC).date())
    same = [e for e in file.entries if e.get("endpoint") == endpoint and e.get("model", e.get("name")) == model]
    if same and own_name is None:
        raise ConfigError(
            f"{file.path}: has it already, as '{same[0]['name']}'; for another member of the same model give --as NAME"
        )
    name = own_name or name_models([candidate], taken)[0]
    if name in taken:
        raise ConfigError(f"{file.path}: the name '{name}' is taken; give another with --as NAME")
    (built,) = build_models(file.path, [candidate], [name])
    said: set[str] = set()
    without_repetition(file.text.splitlines(), said)
    lines = without_repetition(write_model_table(built, guess=False), said)
    entry = load_toml("\n".join(lines), str(file.path))["model"][0]
    file.save(add_table(file.text, lines), [*file.entries, entry])
    for warning in _warnings(candidate):
        print_line(f"{name}: {warning}", err=True)
    if "prior" not in entry:
        print_line(f"{name}: no prior is known; add one, such as  prior = 0.6, or train a scorer", err=True)
    if as_json:
        click.echo(json.dumps({"file": str(file.path), "added": entry}, indent=2))
        return
    print_line(f"{file.path}: added\n")
    click.echo("\n".join(lines))
    print_line(f"\ncheck it with  routemoa pool check --pool {file.path}")


def _split_name(model: str, endpoint: str | None) -> tuple[str, str]:
    """Return the endpoint and the model's name there. Raises ConfigError where no endpoint is named."""
    from routemoa.core.catalog.providers import LOCAL, is_url, load_providers
    from routemoa.core.errors import ConfigError
    from routemoa.core.files.toml import suggest_name

    providers = load_providers()
    if endpoint is not None:
        if endpoint != LOCAL and endpoint not in providers and not is_url(endpoint):
            raise ConfigError(f"--endpoint: '{endpoint}' is unknown; {suggest_name(endpoint, [LOCAL, *providers])}")
        return endpoint, model.removeprefix(f"{endpoint}/") if endpoint in providers else model
    first, _, rest = model.partition("/")
    if first in providers and rest:
        return first, rest
    raise ConfigError(
        f"'{model}': which endpoint? Write PROVIDER/{model} with one of {', '.join(providers)}, or give --endpoint URL"
    )


def _find_model(endpoint: str, model: str, variable: str | None, today: date) -> Candidate:
    """Return the model as its endpoint lists it. Raises ConfigError where it cannot be had there."""
    from routemoa.cli.init.discovery import FILES, Place, with_library_prices
    from routemoa.cli.init.names import find_score, parse_name
    from routemoa.cli.init.presets import Candidate, Source
    from routemoa.clients.model_lists.reply import ListedModel
    from routemoa.core.catalog.providers import LOCAL, Provider, load_providers
    from routemoa.core.errors import ConfigError

    if endpoint == LOCAL:
        _check_weights(model)
        listed = ListedModel(model, input_price=0.0, output_price=0.0)
        return Candidate(Source(FILES, LOCAL, (listed,)), listed, parse_name(model), None)
    provider = load_providers().get(endpoint)
    known = provider is not None
    provider = provider or Provider(endpoint, endpoint)
    variable = variable or provider.find_key_variable(os.environ)
    if provider.keys and variable is None:
        page = f" ({provider.key_page})" if provider.key_page else ""
        raise ConfigError(f"{provider.title}: export {provider.keys[0]}=...{page}, then add the model again")
    source = _fetch_source(Place(provider, provider.url, variable), endpoint, today, must=known)
    source = with_library_prices(source) if known and not provider.local else source
    listed = _choose(source, model)
    return Candidate(source, listed, name := parse_name(model), find_score(name))


def _check_weights(model: str) -> None:
    """Raise ConfigError where a model of the embedded runtime is neither one of its weights nor a file."""
    from routemoa.clients.weights import list_chat_weights
    from routemoa.core.errors import ConfigError
    from routemoa.core.files.toml import suggest_name

    known = list_chat_weights()
    if model in known:
        return
    if model.lower().endswith(".gguf") or "/" in model:
        if not Path(model).expanduser().is_file():
            print_line(f"{model}: there is no such file yet", err=True)
        return
    raise ConfigError(f"'{model}' is neither a GGUF file nor a model that can be fetched; {suggest_name(model, known)}")


def _fetch_source(place: Place, endpoint: str, today: date, *, must: bool) -> Source:
    """Return an endpoint with its live list; without it where that is not to be had and need not be."""
    from msgspec.structs import replace

    from routemoa.cli.init.discovery import describe_problem, list_models
    from routemoa.cli.init.presets import Source
    from routemoa.clients.model_lists.fetch import ListFailed
    from routemoa.core.errors import ConfigError

    models: Sequence[ListedModel] = ()
    try:
        models = asyncio.run(list_models(place, os.environ, today)).models
    except ListFailed as e:
        if must:
            raise ConfigError(describe_problem(place, e.problem, e.reason)) from e
        print_line(f"{endpoint}: gave no list of models ({e.reason}); the model is added as named", err=True)
    if place.provider.local:
        models = [replace(m, input_price=0.0, output_price=0.0) for m in models]
    return Source(
        place.provider, endpoint, tuple(models), f"{place.provider.title}'s list of {today}", place.key_variable
    )


def _choose(source: Source, model: str) -> ListedModel:
    """Return the model's entry. Raises ConfigError where the list has others only."""
    from difflib import get_close_matches

    from routemoa.clients.model_lists.reply import ListedModel
    from routemoa.core.errors import ConfigError

    by_id = {m.id: m for m in source.models}
    found = by_id.get(model) or by_id.get(f"{model}:latest")
    if found is not None or not by_id:
        return found or ListedModel(model)
    ends = [i for i in by_id if i.endswith(f"/{model}")]
    close = [*ends, *get_close_matches(model, by_id, 3)][:3]
    hint = f"did you mean {' or '.join(close)}?" if close else f"it has {', '.join(list(by_id)[:5])}, ..."
    raise ConfigError(f"{source.provider.title} lists no model '{model}'; {hint}")


def _warnings(candidate: Candidate) -> list[str]:
    """Return what should be known of a model that is added."""
    listed, name = candidate.listed, candidate.name
    return [
        text
        for text, applies in (
            (f"{listed.deprecated}", listed.deprecated is not None),
            ("it is not for chat, says its list", listed.chat is False),
            ("it is free, and limited to a few calls a minute", listed.free and not candidate.source.local),
            ("it is a preview: it may change or vanish", "preview" in name.marks),
        )
        if applies
    ]
