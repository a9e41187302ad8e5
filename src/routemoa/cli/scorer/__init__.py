"""`routemoa scorer`: train on records, evaluate on others, explain a prediction."""

from __future__ import annotations

import json
from time import perf_counter

import click
import numpy as np

from routemoa.cli.scorer.figures import print_figures, read_table, summary
from routemoa.cli.scorer.models import forget, join, learn, probes
from routemoa.cli.scorer.plots import check, draw
from routemoa.cli.scorer.show import show
from routemoa.cli.scorer.train import train
from routemoa.cli.terminal.session import check_writable, write_whole
from routemoa.core.errors import ConfigError
from routemoa.scoring.predictor import Predictor
from routemoa.scoring.trained import load_trained_scorer, read_manifest
from routemoa.training.metrics import Predictions, evaluate_predictions
from routemoa.training.table import Table

__all__ = ["scorer"]


@click.group(context_settings={"max_content_width": 100})
def scorer() -> None:
    """Train a scorer on records, evaluate it on others, explain it, add models to it."""


for command in (train, show, join, probes, learn, forget):
    scorer.add_command(command)


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
    predictor = load_trained_scorer(folder).predictor
    chosen = read_manifest(folder)["chosen"]
    data = _for(predictor, read_table(records))
    said = Predictions.from_predictor(predictor, data.texts)
    figures = evaluate_predictions(said, data, chosen, seed)
    figures["latency_ms"] = _latency(predictor, data.texts)
    if json_file:
        write_whole(json_file, (json.dumps(figures, indent=2, allow_nan=False) + "\n").encode())
    if plot:
        draw(plot, said, data, figures)
    print_figures(summary(figures), figures["ci95"])


def _for(predictor: Predictor, data: Table) -> Table:
    """The records with the scorer's models as columns; models that it does not know are left out."""
    strangers = [m for m in data.models if m not in predictor.models]
    if len(strangers) == len(data.models):
        raise ConfigError(f"the scorer knows none of these models; it knows {', '.join(predictor.models)}")
    if strangers:
        click.echo(f"not known to the scorer, left out: {', '.join(strangers)}", err=True)
    return data.select_models(predictor.models)


def _latency(predictor: Predictor, texts: tuple[str, ...]) -> dict[str, float]:
    predictor.predict(texts[:1])  # the first call pays for what is loaded once
    times: list[float] = []
    for text in texts[:500]:
        begun = perf_counter()
        predictor.predict([text])
        times.append((perf_counter() - begun) * 1e3)
    return {"p50": float(np.quantile(times, 0.5)), "p99": float(np.quantile(times, 0.99))}
