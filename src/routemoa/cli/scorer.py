"""`routemoa scorer`: train on records, evaluate on others, and explain a prediction."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from time import perf_counter
from typing import Any

import click
import numpy as np

from routemoa.cli.session import check_writable, write_whole
from routemoa.errors import ConfigError
from routemoa.records import read
from routemoa.train.assess import assess, known
from routemoa.train.fast import Table, fit, table
from routemoa.train.folder import save
from routemoa.trained import Predictor, load

__all__ = ["scorer"]


@click.group(context_settings={"max_content_width": 100})
def scorer() -> None:
    """Train a scorer on records, evaluate it on others, explain a prediction."""


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
    data = _table(records)
    begun = perf_counter()
    fitted = fit(data, seed, lambda line: click.echo(line, err=True))
    chosen = known(data.scores, data.tasks, data.models)
    figures = assess(fitted.crossed, data.scores, data.tasks, data.models, chosen, seed)
    summary = {k: v for k, v in figures.items() if isinstance(v, float | int | str)} | figures["calibration"]
    facts = {
        "recipe": recipe,
        "seed": seed,
        "shrink": fitted.shrink,
        "command": "routemoa " + shlex.join(sys.argv[1:]),
        "questions": len(data.texts),
        "chosen": chosen,
        "cross_validated": summary,
        "features": "lexical only: no encoder",
    }
    try:
        save(Path(out), fitted.predictor, facts, records)
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
@click.option("--seed", default=0, show_default=True, help="Decides the shuffled control and the resampling.")
def evaluate(folder: str, records: tuple[str, ...], json_file: str | None, seed: int) -> None:
    """Measure the scorer in DIR on RECORDS it was not trained on.

    Accuracy is the true score of the first choice; it stands beside the best single model, the task lookup and the
    best fixed three (chosen on the training records), random, a shuffled control, and the oracle.
    """
    check_writable(json_file)
    predictor = load(folder).predictor
    chosen = json.loads((Path(folder) / "manifest.json").read_text("utf-8"))["chosen"]
    data = _for(predictor, _table(records))
    figures = assess(predictor.predict(data.texts), data.scores, data.tasks, data.models, chosen, seed)
    figures["latency_ms"] = _latency(predictor, data.texts)
    if json_file:
        write_whole(json_file, (json.dumps(figures, indent=2, allow_nan=False) + "\n").encode())
    _print_figures({k: v for k, v in figures.items() if isinstance(v, float | int | str)} | figures["calibration"])


@scorer.command()
@click.argument("folder", metavar="DIR")
@click.argument("query", required=False)
def show(folder: str, query: str | None) -> None:
    """What the scorer in DIR is, or what it predicts for QUERY and how sure it is of it."""
    predictor = load(folder).predictor
    if query is None:
        click.echo((Path(folder) / "card.md").read_text("utf-8"))
        return
    vector = predictor.embed([query])
    tasks = predictor.tasks_of(vector)[0]
    likely = ", ".join(f"{predictor.tasks[i]} {tasks[i]:.2f}" for i in np.argsort(-tasks)[:3])
    click.echo(f"looks like: {likely}")
    strange = float(predictor.unknown(vector)[0])
    note = " (unlike the training questions: drawn towards the means)" if strange > predictor.familiar else ""
    click.echo(f"unknown: {strange:.2f}; {predictor.familiar:.2f} covers 95 % of the training questions{note}")
    scores = predictor.predict([query])[0]
    for i in np.argsort(-scores):
        click.echo(f"  {scores[i]:.3f}  (mean {predictor.means[i]:.3f})  {predictor.models[i]}")


def _table(records: tuple[str, ...]) -> Table:
    data = table(list(read(records)))
    if not data.texts:
        raise ConfigError(f"{', '.join(records)}: no record; see docs/scorer.md for the format")
    return data


def _for(predictor: Predictor, data: Table) -> Table:
    """The records with the scorer's models as columns; models that it does not know are left out."""
    column = {m: i for i, m in enumerate(data.models)}
    strangers = [m for m in data.models if m not in predictor.models]
    if len(strangers) == len(data.models):
        raise ConfigError(f"the scorer knows none of these models; it knows {', '.join(predictor.models)}")
    if strangers:
        click.echo(f"not known to the scorer, left out: {', '.join(strangers)}", err=True)
    scores = np.full((len(data.texts), len(predictor.models)), np.nan, np.float32)
    for j, model in enumerate(predictor.models):
        if model in column:
            scores[:, j] = data.scores[:, column[model]]
    return Table(data.texts, data.tasks, predictor.models, scores)


def _latency(predictor: Predictor, texts: tuple[str, ...]) -> dict[str, float]:
    times: list[float] = []
    for text in texts[:500]:
        begun = perf_counter()
        predictor.predict([text])
        times.append((perf_counter() - begun) * 1e3)
    return {"p50": float(np.quantile(times, 0.5)), "p99": float(np.quantile(times, 0.99))}


def _print_figures(figures: dict[str, Any]) -> None:
    for name, value in figures.items():
        click.echo(f"{name:26} {value:.4f}" if isinstance(value, float) else f"{name:26} {value}")
