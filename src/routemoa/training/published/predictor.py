"""Turn the result of the published recipe into a `Predictor`: one task, and the query's own vector as features.

    phi(q) = [1, x],  raw = x . k_m = cos(E(q), k_m),  score = sigmoid(slope * raw + shift_m)

Far from the training questions the cosine is drawn towards the model's mean cosine, as in the fast recipe.
"""

from __future__ import annotations

import numpy as np

from routemoa.scoring.encoder import Encoder
from routemoa.scoring.mean_scores import average_scores
from routemoa.scoring.predictor import Floats, Predictor
from routemoa.training.linear import fit_span
from routemoa.training.panels import build_panels
from routemoa.training.published.finetune import PublishedScorer
from routemoa.training.table import Table

__all__ = ["build_predictor"]

SPAN_PENALTY = 10.0
"""Of the ridge that says how much is known of a direction."""


def build_predictor(published: PublishedScorer, data: Table) -> Predictor:
    """Return the predictor of a fine-tuned scorer; `data` is what it was trained on."""
    encoder = Encoder.load(published.folder)
    x = encoder.encode(data.texts)
    count, width = len(data.models), x.shape[1]
    span = fit_span(x, SPAN_PENALTY)
    panels = build_panels(data.scores, np.ones((len(x), 1), np.float32), average_scores(data.scores)[None, :])
    return Predictor(
        models=data.models,
        tasks=("all",),
        idf=np.zeros(0, np.float32),
        task_weights=np.zeros((width, 1), np.float32),
        task_bias=np.zeros(1, np.float32),
        space=np.eye(width, dtype=np.float32),
        embeddings=np.vstack([np.zeros((1, count), np.float32), published.embeddings.T]),
        common=np.zeros(width, np.float32),
        center=np.concatenate([np.ones(1, np.float32), x.mean(0)]),
        spread=_measure_spread(data),
        directions=span.directions,
        strengths=span.strengths,
        familiar=span.familiar,
        slope=published.slope,
        shift=published.shift,
        panels=panels.members.astype(np.float32),
        panel_values=panels.values,
        task_costs=np.full((1, count), np.nan, np.float32),
        logits=1.0,
        encoder=encoder,
    )


def _measure_spread(data: Table) -> Floats:
    """Return the standard deviation of each model's means on the records' tasks, M."""
    tasks = np.array(data.tasks)
    means = [average_scores(data.scores[tasks == t]) for t in dict.fromkeys(data.tasks)]
    spread: Floats = np.std(means, axis=0)
    return spread
