"""`routemoa pool show`: the models of a pool, and what chooses, judges, limits and mixes them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from routemoa.cli.options import json_option, load_pool, pool_option
from routemoa.cli.terminal.lines import print_line
from routemoa.core.tables.mixture_table import Mixture
from routemoa.core.text.plural import counted
from routemoa.core.text.urls import hide_userinfo

if TYPE_CHECKING:
    from routemoa.core.models.endpoint import Endpoint
    from routemoa.core.pool_file.pool import Pool
    from routemoa.core.types import ModelSpec

__all__ = ["show"]

HEADS = ["name", "endpoint", "model", "$/M in / out", "context", "latency", "prior", "key", "weights"]
OPTIONAL = ["key", "latency", "context", "weights", "model", "endpoint"]  # left out first where they do not fit

ENDPOINT_HEADS = ["name", "endpoint", "url", "region", "priority", "weight", "$/M in / out", "key"]
ENDPOINT_OPTIONAL = ["$/M in / out", "region", "weight", "priority"]

MEANING = {
    False: "calls the models likely to answer well, more only where that is expected to pay, and stops when sure",
    True: "calls the best models in layers, with the constants of arXiv 2601.18130",
}
"""Whether the fusion is a published one -> what the mixture does."""


@click.command(short_help="Show the models of a pool and how they are mixed.")
@pool_option
@json_option
def show(pool_file: str | None, as_json: bool) -> None:
    """Show the models of a pool and how they are mixed, without calling a model.

    Prices are dollars per million tokens, input / output; a dash is an unknown figure. Below the table: the scorer, the
    judge model, the limits and the mixture, and what each does. Warnings say what does not fit: a key that is not
    set, a scorer or a judge file of other models, models of one family only.

    \b
    Example:
      routemoa pool show --pool pool.toml
    """
    from routemoa.cli.pool.parts import describe_judge, describe_limits, describe_scorer, describe_tenants
    from routemoa.cli.terminal.table import print_table
    from routemoa.cli.terminal.warn import print_warnings
    from routemoa.mixture.pool_warnings import list_pool_warnings

    pool = load_pool(pool_file, needs_keys=False)
    warnings = list_pool_warnings(pool)
    if as_json:
        click.echo(json.dumps(_to_plain(pool) | {"warnings": warnings}, indent=2))
        print_warnings(warnings)
        return
    print_table(HEADS, [_make_row(m, pool) for m in pool], title=pool.source, optional=_optional_columns(pool))
    if rows := [_make_endpoint_row(place, e, pool) for m in pool for place, e in zip(m.places, m.endpoints)]:  # noqa: B905  (none where there is one)
        print_table(ENDPOINT_HEADS, rows, title="endpoints", optional=ENDPOINT_OPTIONAL)
    parts = (describe_scorer(pool), describe_judge(pool), describe_limits(pool.limits), describe_tenants(pool))
    for line in (*parts, _describe_mixture(pool)):
        if line:
            print_line(line)
    print_warnings(warnings)


def _to_plain(pool: Pool) -> dict[str, Any]:
    from msgspec import to_builtins
    from msgspec.structs import fields

    from routemoa.cli.pool.parts import describe_judge_plainly, known_models

    keys = [f.name for f in fields(pool.models[0]) if f.encode_name == f.name]
    models = [
        {key: to_builtins(getattr(m, key)) for key in keys}
        | {"weights": _weights_state(m, pool), "key_missing": m.name in pool.absent}
        | ({"endpoints_without_key": list(missing)} if (missing := pool.absent_endpoints.get(m.name)) else {})
        for m in pool
    ]
    m = pool.mixture
    mixture = {name: getattr(m, name) for name in m.__struct_fields__} | {
        "layers": m.max_layers,
        "top_k": m.max_layer_models,
        "margin": m.selection_margin,
        "tie": m.preference.tie,
        "target": m.preference.target,
        "stop_confidence": m.confidence_threshold,
    }
    limits = {name: getattr(pool.limits, name) for name in pool.limits.__struct_fields__}
    return {
        "source": pool.source,
        "models": models,
        "mixture": mixture,
        "scorer": None if pool.scorer is None else {"path": str(pool.scorer), "known": known_models(pool)},
        "judge": describe_judge_plainly(pool),
        "limits": limits,
        "tenants": len(pool.tenants),
    }


def _make_endpoint_row(place: ModelSpec, endpoint: Endpoint, pool: Pool) -> list[str]:
    where = [hide_userinfo(place.endpoint), endpoint.region or "-", str(endpoint.priority), f"{endpoint.weight:g}"]
    return [place.name, str(place.place), *where, _format_prices(place), _key_state(place, pool)]


def _format_prices(m: ModelSpec) -> str:
    is_unpriced = m.input_price is None and m.output_price is None
    return "unknown" if is_unpriced else f"{_format_price(m.input_price)} / {_format_price(m.output_price)}"


def _make_row(m: ModelSpec, pool: Pool) -> list[str]:
    context = "-" if m.context is None else str(m.context)
    latency = "-" if m.latency is None else f"{m.latency:.2f} s"
    prior = "-" if m.prior is None else f"{m.prior:.2f}"
    weights = _weights_state(m, pool) or "-"
    endpoint = f"{len(m.endpoints)} endpoints" if len(m.endpoints) > 1 else hide_userinfo(m.endpoint)
    key = _key_state(m, pool) if not m.endpoints or m.name in pool.absent else "-"
    return [m.name, endpoint, m.model, _format_prices(m), context, latency, prior, key, weights]


def _optional_columns(pool: Pool) -> list[str]:
    """Return what is left out first; a key that is missing is worth its column."""
    return [*(name for name in OPTIONAL if name != "key"), "key"] if pool.absent else OPTIONAL


def _key_state(model: ModelSpec, pool: Pool) -> str:
    """Return the variable of a model's key, and whether it is missing."""
    if model.api_key_env is None:
        return "-"
    missing = model.name in pool.absent or model.place in pool.absent_endpoints.get(model.name, ())
    return f"{model.api_key_env} missing" if missing else model.api_key_env


def _weights_state(model: ModelSpec, pool: Pool) -> str | None:
    """Return whether a local model's file is there, in words; None for a remote model."""
    from routemoa.clients.weights import load_manifest

    if not model.local:
        return None
    if weight := load_manifest().get(model.model):
        return "fetched" if weight.is_fetched else f"not fetched ({weight.bytes / 1e6:,.0f} MB)"
    return "file" if (pool.directory / model.model).expanduser().is_file() else "file missing"


def _describe_mixture(pool: Pool) -> str:
    m, panel = pool.mixture, min(pool.mixture.max_layer_models, len(pool))
    beside = "".join(f", {setting}" for setting in _list_settings(pool))
    if m.published:
        selection = f"margin {m.selection_margin:g}"
    elif m.tuned is not None:
        reached = m.tuned.mix.average(m.tuned.point)
        return (
            f"mixture: tuned policy {m.policy}, {m.tuned.dial}: {reached.quality:.3f} of the accuracy of "
            f"{m.tuned.best_single} at {reached.cost:.3f} of its cost, on {m.tuned.questions} questions{beside}"
        )
    elif m.dollars_per_point or m.seconds_per_point:
        rates = ((m.dollars_per_point, "$"), (m.seconds_per_point, " s"))
        worth = " and ".join(f"{rate:g}{unit}" for rate, unit in rates if rate)
        selection = f"a point of probability is worth {worth}"
    else:
        selection = f"prefer {m.prefer}, {counted(min(m.max_models, len(pool)), 'model')} in all"
    return (
        f"mixture: at most {counted(m.max_layers, 'layer')} of {counted(panel, 'model')}, {selection}, "
        f"stop above {m.confidence_threshold:g}, self-assessment {m.self_assessment}, "
        f"aggregator {m.aggregator}, fusion {m.fusion}{beside}: {MEANING[m.published]}"
    )


def _list_settings(pool: Pool) -> list[str]:
    """Return the settings of open questions and of code that the file changes, in words."""
    m, default = pool.mixture, Mixture()
    shown = [] if m.open == default.open else [f"open questions: {m.open}"]
    if m.judge_model != default.judge_model:
        shown.append(f"{m.judge_model} compares answers")
    return [*shown, "code is run in a sandbox"] if m.run_code else shown


def _format_price(price: float | None) -> str:
    return "-" if price is None else f"{price:g}"
