"""`routemoa scorer`: train on records, evaluate on others, explain a prediction."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from time import perf_counter
from typing import Any

import click
import numpy as np

from routemoa.cli.scorer_models import forget, join, learn, probes
from routemoa.cli.scorer_show import show
from routemoa.cli.session import check_writable, write_whole
from routemoa.errors import ConfigError
from routemoa.predictor import Predictor
from routemoa.records import read
from routemoa.train.assess import Said, assess, known
from routemoa.train.fast import fit
from routemoa.train.folder import save, seen
from routemoa.train.plots import check, draw
from routemoa.train.table import Table, table
from routemoa.trained import load, manifest

__all__ = ["scorer"]


@click.group(context_settings={"max_content_width": 100})
def scorer() -> None:
    """Train a scorer on records, evaluate it on others, explain it, add models to it."""


for command in (show, join, probes, learn, forget):
    scorer.add_command(command)


@scorer.command()
@click.argument("records", nargs=-1, required=True)
@click.option("--out", required=True, metavar="DIR", help="The folder to write.")
@click.option("--recipe", type=click.Choice(["fast"]), default="fast", show_default=True)
@click.option("--seed", default=0, show_default=True, help="Decides folds and clusters.")
def train(records: tuple[str, ...], out: str, recipe: str, seed: int) -> None:
    """Train on RECORDS (JSON lines, plain or gzip) and write a folder that `[scorer] path` can name.

    Every choice is made by cross-validation inside the records; the figures shown and kept in card.md are
    cross-validated too. Figures on other questions: routemoa scorer evaluate.
    """
    check_writable(out)
    data = _table(records)
    begun = perf_counter()
    fitted = fit(data, seed, lambda line: click.echo(line, err=True))
    chosen = known(data) | {"rates": fitted.choices.pop("rates")}
    said = Said(fitted.crossed, fitted.panels, fitted.predictor.costs(data.texts))
    summary = _summary(assess(said, data, chosen, seed))
    facts = {
        "recipe": recipe,
        "seed": seed,
        "choices": fitted.choices,
        "command": "routemoa " + shlex.join(sys.argv[1:]),
        "questions": len(data.texts),
        "chosen": chosen,
        "cross_validated": summary,
        "features": "lexical only: no encoder",
    }
    try:
        save(Path(out), fitted.predictor, facts, records, seen(data, fitted.predictor, fitted.surprise))
    except OSError as e:
        raise ConfigError(f"--out {out}: {e.strerror or e}") from e
    _print_figures(summary)
    click.echo(f"{out}: written in {perf_counter() - begun:.0f} s; lexical features only, no encoder", err=True)


@scorer.command()
@click.argument("folder", metavar="DIR")
@click.argument("records", nargs=-1, required=True)
@click.option(
    "--json", "json_file", metavar="FILE", help="Write all figures to FILE, with intervals, tasks and models."
)
@click.option("--plot", metavar="FILE", help="Draw reliability, hit rate and cost against quality: .png or .svg.")
@click.option("--seed", default=0, show_default=True, help="Decides the shuffled control and the resampling.")
def evaluate(folder: str, records: tuple[str, ...], json_file: str | None, plot: str | None, seed: int) -> None:
    """Measure the scorer in DIR on RECORDS it was not trained on.

    Accuracy is the true score of the first choice; it stands beside the best single model, the task lookup and the
    best fixed three (chosen on the training records), random, a shuffled control, and the oracle.
    """
    check_writable(json_file)
    if plot:
        check_writable(plot)
        check(plot)
    predictor = load(folder).predictor
    chosen = manifest(folder)["chosen"]
    data = _for(predictor, _table(records))
    said = Said.by(predictor, data.texts)
    figures = assess(said, data, chosen, seed)
    figures["latency_ms"] = _latency(predictor, data.texts)
    if json_file:
        write_whole(json_file, (json.dumps(figures, indent=2, allow_nan=False) + "\n").encode())
    if plot:
        draw(plot, said, data, figures)
    _print_figures(_summary(figures), figures["ci95"])


def _table(records: tuple[str, ...]) -> Table:
    data = table(list(read(records)))
    if not data.texts:
        raise ConfigError(f"{', '.join(records)}: no record; see docs/scorer.md for the format")
    return data


def _for(predictor: Predictor, data: Table) -> Table:
    """The records with the scorer's models as columns; models that it does not know are left out."""
    strangers = [m for m in data.models if m not in predictor.models]
    if len(strangers) == len(data.models):
        raise ConfigError(f"the scorer knows none of these models; it knows {', '.join(predictor.models)}")
    if strangers:
        click.echo(f"not known to the scorer, left out: {', '.join(strangers)}", err=True)
    return data.of(predictor.models)


def _latency(predictor: Predictor, texts: tuple[str, ...]) -> dict[str, float]:
    predictor.predict(texts[:1])  # the first call pays for what is loaded once
    times: list[float] = []
    for text in texts[:500]:
        begun = perf_counter()
        predictor.predict([text])
        times.append((perf_counter() - begun) * 1e3)
    return {"p50": float(np.quantile(times, 0.5)), "p99": float(np.quantile(times, 0.99))}


def _summary(figures: dict[str, Any]) -> dict[str, Any]:
    """What is shown and kept in the card."""
    costs = {f"cost_{k}": v for k, v in figures.get("cost", {}).items() if k != "curve"}
    plain: dict[str, Any] = {k: v for k, v in figures.items() if isinstance(v, float | int | str)}
    summary: dict[str, Any] = plain | figures["calibration"] | {"macro_accuracy": figures["macro"]["accuracy"]} | costs
    return summary


def _print_figures(figures: dict[str, Any], intervals: dict[str, Any] | None = None) -> None:
    for name, value in figures.items():
        between = (intervals or {}).get(name)
        tail = f"   {between[0]:.4f} to {between[1]:.4f}" if between else ""
        click.echo(f"{name:26} {value:.4f}{tail}" if isinstance(value, float) else f"{name:26} {value}")
