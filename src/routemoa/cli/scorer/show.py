"""`routemoa scorer show`: what a scorer is, and why it says what it says."""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np

from routemoa.scoring.predictor import Predictor
from routemoa.scoring.trained import load_trained_scorer, read_training_questions

__all__ = ["show"]

NEAREST = 5


@click.command()
@click.argument("folder", metavar="DIR")
@click.argument("query", required=False)
def show(folder: str, query: str | None) -> None:
    """What the scorer in DIR is, or what it predicts for QUERY, how sure it is of it, and from what.

    Without QUERY: its card, and its embedding space: what each model is good at, and whom it is like.
    """
    predictor = load_trained_scorer(folder).predictor
    if query is None:
        click.echo((Path(folder) / "card.md").read_text("utf-8"))
        _space(predictor)
    else:
        _explain(predictor, folder, query)


def _explain(predictor: Predictor, folder: str, query: str) -> None:
    vector = predictor.embed([query])
    tasks = predictor.classify_tasks(vector)[0]
    likely = ", ".join(f"{predictor.tasks[i]} {tasks[i]:.2f}" for i in np.argsort(-tasks)[:3])
    click.echo(f"looks like: {likely}")
    strange = float(predictor.estimate_novelty(vector)[0])
    note = " (unlike the training questions: drawn towards the means)" if strange > predictor.familiar else ""
    click.echo(f"unknown: {strange:.2f}; {predictor.familiar:.2f} covers 95 % of the training questions{note}")
    scores, doubt = predictor.predict_vectors(vector)[0], predictor.estimate_uncertainty(vector)[0]
    for i in np.argsort(-scores):
        click.echo(f"  {scores[i]:.3f} ± {doubt[i]:.3f}  (mean {predictor.model_means[i]:.3f})  {predictor.models[i]}")
    panel = ", ".join(predictor.models[i] for i in predictor.choose_panels(vector)[0])
    click.echo(f"best panel, any of them right: {panel}")
    click.echo("nearest training questions:")
    seen = read_training_questions(folder)
    closeness = (predictor.embed([s.query for s in seen]) @ vector[0]).astype(float)
    for i in np.argsort(-closeness)[:NEAREST]:
        text = " ".join(seen[i].query.split())
        click.echo(f"  {closeness[i]:.2f}  {seen[i].task}: {text[:100]}{'…' if len(text) > 100 else ''}")


def _space(predictor: Predictor) -> None:
    """Every model's strongest and weakest task beside the others, and the model that is most like it."""
    if len(predictor.models) < 2:
        return
    means = predictor.embeddings[: len(predictor.tasks)]
    beside = means - means.mean(axis=1, keepdims=True)
    beside = beside - beside.mean(axis=0, keepdims=True)
    vectors = predictor.embeddings - predictor.embeddings.mean(axis=1, keepdims=True)
    distance = np.linalg.norm(vectors[:, :, None] - vectors[:, None, :], axis=0)
    np.fill_diagonal(distance, np.inf)
    click.echo("## Embedding space\n")
    for j in np.argsort(-predictor.model_means):
        high, low = int(beside[:, j].argmax()), int(beside[:, j].argmin())
        click.echo(
            f"{predictor.models[j]}: mean {predictor.model_means[j]:.3f}; strongest on {predictor.tasks[high]} "
            f"({beside[high, j]:+.2f}), weakest on {predictor.tasks[low]} ({beside[low, j]:+.2f}); "
            f"most like {predictor.models[int(distance[j].argmin())]}"
        )
