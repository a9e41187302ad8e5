"""`routemoa scorer show`: describe a scorer, or explain one of its predictions."""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np

from routemoa.cli.terminal.lines import print_line
from routemoa.scoring.predictor import Predictor
from routemoa.scoring.trained import load_trained_scorer, read_training_questions

__all__ = ["show"]

NEAREST_QUESTIONS = 5
SHOWN_CHARACTERS = 100  # of each of them


@click.command(short_help="Describe a scorer, or explain one of its predictions.")
@click.argument("folder", metavar="DIR")
@click.argument("query", required=False)
def show(folder: str, query: str | None) -> None:
    """Describe the scorer in DIR, or explain its prediction for QUERY.

    Without QUERY: its card, and for each model the tasks that it is best and worst at and the model most like it. With
    QUERY: the predicted probabilities, their uncertainty, and the nearest training questions.

    \b
    Examples:
      routemoa scorer show my-scorer
      routemoa scorer show my-scorer "Why is the sky blue?"
    """
    predictor = load_trained_scorer(folder).predictor
    if query is None:
        click.echo((Path(folder) / "card.md").read_text("utf-8"))
        _print_models(predictor)
    else:
        _print_prediction(predictor, folder, query)


def _print_prediction(predictor: Predictor, folder: str, query: str) -> None:
    vector = predictor.embed([query])
    tasks = predictor.classify_tasks(vector)[0]
    likely = ", ".join(f"{predictor.tasks[i]} {tasks[i]:.2f}" for i in np.argsort(-tasks)[:3])
    print_line(f"looks like: {likely}")
    novelty = float(predictor.estimate_novelty(vector)[0])
    note = " (unlike the training questions: shrunk towards the means)" if novelty > predictor.familiar else ""
    print_line(f"novelty: {novelty:.2f}; 95 % of the training questions are below {predictor.familiar:.2f}{note}")
    scores, uncertainty = predictor.predict_vectors(vector)[0], predictor.estimate_uncertainty(vector)[0]
    for i in np.argsort(-scores):
        print_line(
            f"  {scores[i]:.3f} ± {uncertainty[i]:.3f}  (mean {predictor.model_means[i]:.3f})  {predictor.models[i]}"
        )
    panel = ", ".join(predictor.models[i] for i in predictor.choose_panels(vector)[0])
    print_line(f"panel most likely to hold a right answer: {panel}")
    print_line("nearest training questions:")
    seen = read_training_questions(folder)
    similarity = (predictor.embed([s.query for s in seen]) @ vector[0]).astype(float)
    for i in np.argsort(-similarity)[:NEAREST_QUESTIONS]:
        text = " ".join(seen[i].query.split())
        shown = text[:SHOWN_CHARACTERS] + ("…" if len(text) > SHOWN_CHARACTERS else "")
        print_line(f"  {similarity[i]:.2f}  {seen[i].task}: {shown}")


def _print_models(predictor: Predictor) -> None:
    """Print each model's strongest and weakest task relative to the others, and the model most like it."""
    if len(predictor.models) < 2:
        return
    means = predictor.embeddings[: len(predictor.tasks)]
    relative = means - means.mean(axis=1, keepdims=True)
    relative = relative - relative.mean(axis=0, keepdims=True)
    vectors = predictor.embeddings - predictor.embeddings.mean(axis=1, keepdims=True)
    distance = np.linalg.norm(vectors[:, :, None] - vectors[:, None, :], axis=0)
    np.fill_diagonal(distance, np.inf)
    print_line("## Embedding space\n")
    for j in np.argsort(-predictor.model_means):
        high, low = int(relative[:, j].argmax()), int(relative[:, j].argmin())
        print_line(
            f"{predictor.models[j]}: mean {predictor.model_means[j]:.3f}; strongest on {predictor.tasks[high]} "
            f"({relative[high, j]:+.2f}), weakest on {predictor.tasks[low]} ({relative[low, j]:+.2f}); "
            f"most like {predictor.models[int(distance[j].argmin())]}"
        )
