"""`routemoa scorer show`: describe a scorer, or explain one of its predictions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import numpy as np

from routemoa.cli.options import json_option
from routemoa.cli.terminal.lines import print_line
from routemoa.scoring.predictor import Predictor
from routemoa.scoring.trained import load_trained_scorer, read_manifest, read_training_questions

__all__ = ["show"]

LIKELY_TASKS = 3
NEAREST_QUESTIONS = 5
SHOWN_CHARACTERS = 100  # of each of them


@click.command(short_help="Describe a scorer, or explain one of its predictions.")
@click.argument("folder", metavar="DIR")
@click.argument("query", required=False)
@json_option
def show(folder: str, query: str | None, as_json: bool) -> None:
    """Describe the scorer in DIR, or explain its prediction for QUERY.

    Without QUERY: its card, and for each model the tasks that it is best and worst at and the model most like it. With
    QUERY: the predicted probabilities, their uncertainty, and the nearest training questions.

    \b
    Examples:
      routemoa scorer show my-scorer
      routemoa scorer show my-scorer "Why is the sky blue?"
    """
    predictor = load_trained_scorer(folder).predictor
    if query is not None:
        prediction = _explain_prediction(predictor, folder, query)
        if as_json:
            click.echo(json.dumps(prediction, indent=2))
        else:
            _print_prediction(prediction)
        return
    models = _describe_models(predictor)
    if as_json:
        facts = {name: fact for name, fact in read_manifest(folder).items() if name not in ("files", "models")}
        click.echo(json.dumps({"scorer": folder, **facts, "models": models}, indent=2))
        return
    click.echo((Path(folder) / "card.md").read_text("utf-8"))
    _print_models(models)


def _explain_prediction(predictor: Predictor, folder: str, query: str) -> dict[str, Any]:
    """Return what the scorer predicts for a query, and what it goes by."""
    vector = predictor.embed([query])
    tasks = predictor.classify_tasks(vector)[0]
    scores, uncertainty = predictor.predict_vectors(vector)[0], predictor.estimate_uncertainty(vector)[0]
    seen = read_training_questions(folder)
    similarity = (predictor.embed([s.query for s in seen]) @ vector[0]).astype(float)
    return {
        "tasks": {predictor.tasks[i]: float(tasks[i]) for i in np.argsort(-tasks)},
        "novelty": float(predictor.estimate_novelty(vector)[0]),
        "familiar_below": float(predictor.familiar),
        "models": [
            {
                "model": predictor.models[i],
                "score": float(scores[i]),
                "uncertainty": float(uncertainty[i]),
                "mean": float(predictor.model_means[i]),
            }
            for i in np.argsort(-scores)
        ],
        "panel": [predictor.models[i] for i in predictor.choose_panels(vector)[0]],
        "nearest": [
            {"similarity": float(similarity[i]), "task": seen[i].task, "query": seen[i].query}
            for i in np.argsort(-similarity)[:NEAREST_QUESTIONS]
        ],
    }


def _print_prediction(prediction: dict[str, Any]) -> None:
    likely = ", ".join(f"{task} {share:.2f}" for task, share in list(prediction["tasks"].items())[:LIKELY_TASKS])
    print_line(f"looks like: {likely}")
    novelty, familiar = prediction["novelty"], prediction["familiar_below"]
    note = " (unlike the training questions: shrunk towards the means)" if novelty > familiar else ""
    print_line(f"novelty: {novelty:.2f}; 95 % of the training questions are below {familiar:.2f}{note}")
    for m in prediction["models"]:
        print_line(f"  {m['score']:.3f} ± {m['uncertainty']:.3f}  (mean {m['mean']:.3f})  {m['model']}")
    print_line(f"panel most likely to hold a right answer: {', '.join(prediction['panel'])}")
    print_line("nearest training questions:")
    for near in prediction["nearest"]:
        text = " ".join(near["query"].split())
        shown = text[:SHOWN_CHARACTERS] + ("…" if len(text) > SHOWN_CHARACTERS else "")
        print_line(f"  {near['similarity']:.2f}  {near['task']}: {shown}")


def _describe_models(predictor: Predictor) -> list[dict[str, Any]]:
    """Return each model's strongest and weakest task relative to the others, and the model most like it.

    A model alone has its mean only: these are None.
    """
    if len(predictor.models) < 2:
        nothing = {"strongest": None, "weakest": None, "most_like": None}
        return [
            {"model": name, "mean": float(mean), **nothing}
            for name, mean in zip(predictor.models, predictor.model_means, strict=True)
        ]
    means = predictor.embeddings[: len(predictor.tasks)]
    relative = means - means.mean(axis=1, keepdims=True)
    relative = relative - relative.mean(axis=0, keepdims=True)
    vectors = predictor.embeddings - predictor.embeddings.mean(axis=1, keepdims=True)
    distance = np.linalg.norm(vectors[:, :, None] - vectors[:, None, :], axis=0)
    np.fill_diagonal(distance, np.inf)
    return [
        {
            "model": predictor.models[j],
            "mean": float(predictor.model_means[j]),
            "strongest": _describe_task(predictor, relative[:, j], int(relative[:, j].argmax())),
            "weakest": _describe_task(predictor, relative[:, j], int(relative[:, j].argmin())),
            "most_like": predictor.models[int(distance[j].argmin())],
        }
        for j in np.argsort(-predictor.model_means)
    ]


def _describe_task(predictor: Predictor, relative: Any, task: int) -> dict[str, Any]:
    return {"task": predictor.tasks[task], "relative": float(relative[task])}


def _print_models(models: list[dict[str, Any]]) -> None:
    if len(models) < 2:
        return
    print_line("## Embedding space\n")
    for m in models:
        high, low = (f"{m[end]['task']} ({m[end]['relative']:+.2f})" for end in ("strongest", "weakest"))
        print_line(
            f"{m['model']}: mean {m['mean']:.3f}; strongest on {high}, weakest on {low}; most like {m['most_like']}"
        )
