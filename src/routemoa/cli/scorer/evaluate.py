"""`routemoa scorer evaluate`: measure a scorer on records that it was not trained on."""

from __future__ import annotations

import json
from time import perf_counter
from typing import Any

import click
import numpy as np

from routemoa.cli.options import duplicates_option, json_file_option
from routemoa.cli.scorer.figures import print_figures, read_table, summarize_figures, to_scores, warn_of_dominance
from routemoa.cli.scorer.plots import check_plot, draw_plot
from routemoa.cli.terminal.files import STDOUT, check_writable, write_figures
from routemoa.cli.terminal.headroom import print_headroom, warn_of_no_gain
from routemoa.cli.terminal.lines import print_line
from routemoa.cli.terminal.warn import print_warnings
from routemoa.cli.terminal.working import show_working
from routemoa.core.errors import ConfigError
from routemoa.core.text.plural import counted
from routemoa.evaluation.dominance import MIN_GAIN
from routemoa.evaluation.headroom import format_headroom, measure_headroom
from routemoa.evaluation.trained_questions import warn_of_training
from routemoa.scoring.predictor import Predictor
from routemoa.scoring.router_baselines import fit_to_training_questions
from routemoa.scoring.trained import load_trained_scorer, read_manifest, read_training_questions
from routemoa.training.metrics import BaselineChoices, Predictions, evaluate_predictions, look_up_tasks
from routemoa.training.table import Table

__all__ = ["evaluate"]

TIMED_QUERIES = 500


@click.command(short_help="Measure a scorer on records that it was not trained on.")
@click.argument("folder", metavar="DIR")
@click.argument("records", nargs=-1, required=True)
@json_file_option
@duplicates_option
@click.option("--plot", metavar="FILE", help="Draw reliability, hit rate and cost against quality: .png or .svg.")
@click.option("--seed", default=0, show_default=True, help="Seed for the shuffled control and the resampling.")
def evaluate(  # click passes a keyword for each option
    *, folder: str, records: tuple[str, ...], allow_duplicates: bool, json_file: str | None, plot: str | None, seed: int
) -> None:
    """Measure the scorer in DIR on RECORDS that it was not trained on.

    Accuracy is the true score of the model that the scorer ranks first. It is compared with the best single model, the
    best model of each task and of each cluster, nearest neighbours and the best fixed three (all learned from the
    training records), a random model, a shuffled control, the oracle, and 1 - beta: the share of questions that some
    model gets right (of the best five in multiple choice). Where no router can help, a warning says so.

    \b
    Example:
      routemoa scorer evaluate my-scorer test.jsonl --plot scorer.svg
    """
    check_writable(json_file)
    if plot:
        check_writable(plot)
        check_plot(plot)
    with show_working("reading the records") as working:
        predictor = load_trained_scorer(folder).predictor
        chosen = read_manifest(folder)["chosen"]
        data = _select_known_models(predictor, read_table(records, allow_duplicates=allow_duplicates))
        baselines = fit_to_training_questions(predictor, read_training_questions(folder), seed)
        if baselines is None:
            print_line(f"{folder}: made before scores were kept in it, so without knn and cluster_lookup", err=True)
        working.begin(f"predicting {counted(len(data.texts), 'question')}")
        predictions = Predictions.from_predictor(predictor, data.texts, baselines)
        figures = evaluate_predictions(predictions, data, chosen, seed)
        figures["headroom"] = _measure_headroom(predictor, predictions, data, chosen, seed)
        figures["latency_ms"] = _measure_latency(predictor, data.texts)
    overlap = warn_of_training(list(zip(data.texts, data.prompts, strict=True)), folder)
    gain = ((figures["headroom"] or {}).get("gains") or {}).get("scorer")
    is_routing_useless = gain is not None and gain["gain"] < MIN_GAIN
    figures["warnings"] = [
        *overlap,
        *_warn_of_missing_scores(data, chosen),
        *warn_of_no_gain(figures["headroom"]),
        *(warn_of_dominance(data) if is_routing_useless else []),
    ]
    if json_file:
        write_figures(json_file, (json.dumps(figures, indent=2, allow_nan=False) + "\n").encode())
    if plot:
        draw_plot(plot, predictions, data, figures)
    if json_file != STDOUT:
        print_figures(summarize_figures(figures), figures["ci95"])
        print_headroom(figures["headroom"])
    print_warnings(figures["warnings"])


def _measure_headroom(
    predictor: Predictor, predictions: Predictions, data: Table, chosen: BaselineChoices, seed: int
) -> dict[str, Any] | None:
    """Measure what the scorer and the routers beside it gain of what can be gained."""
    means = dict(zip(predictor.models, predictor.model_means.tolist(), strict=True))
    best_first = sorted(data.models, key=lambda m: (m != chosen["best_single"], -means[m]))
    firsts = {"task_lookup": look_up_tasks(data, chosen), **predictions.first_choices(data.scores)}
    rows = to_scores(data)
    routed = {name: [rows[i][data.models[j]] for i, j in enumerate(columns)] for name, columns in firsts.items()}
    routed["scorer"] = routed.pop("accuracy")
    return format_headroom(measure_headroom(rows, data.texts, best_first, routed, seed=seed))


def _warn_of_missing_scores(data: Table, chosen: BaselineChoices) -> list[str]:
    """Say so where the best single model's accuracy is over fewer questions than the others'."""
    best = chosen["best_single"]
    measured = int((~np.isnan(data.scores[:, data.models.index(best)])).sum()) if best in data.models else 0
    if measured in (0, len(data.texts)):
        return []
    return [
        f"{best} was measured on {measured} of {counted(len(data.texts), 'question')}, and its accuracy is over these "
        "alone; the gains over the best single model compare on the same questions"
    ]


def _select_known_models(predictor: Predictor, data: Table) -> Table:
    """Return the records with the scorer's models as columns, without models that it does not know."""
    unknown = [m for m in data.models if m not in predictor.models]
    if len(unknown) == len(data.models):
        raise ConfigError(f"the scorer knows none of these models; it knows {', '.join(predictor.models)}")
    if unknown:
        print_line(f"unknown to the scorer, left out: {', '.join(unknown)}", err=True)
    return data.select_models(predictor.models)


def _measure_latency(predictor: Predictor, texts: tuple[str, ...]) -> dict[str, float]:
    """Return the median and 99th percentile of a prediction, in milliseconds."""
    predictor.predict(texts[:1])  # the first call loads what the others share
    milliseconds: list[float] = []
    for text in texts[:TIMED_QUERIES]:
        started = perf_counter()
        predictor.predict([text])
        milliseconds.append((perf_counter() - started) * 1e3)
    return {"p50": float(np.quantile(milliseconds, 0.5)), "p99": float(np.quantile(milliseconds, 0.99))}
