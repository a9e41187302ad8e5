"""From judgments to posterior scores: mapping, confidence and the published fusions. Pure functions.

Source: RouteMoA (arXiv 2601.18130), sections on mapping, self- and cross-assessment and score fusion. Evidence that is
absent is left out and the remaining weights are scaled up; it is never replaced by a number.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from routemoa.core.trace import Assessment, Layer
from routemoa.core.types import Scores, Token

__all__ = ["cross_score", "fuse_scores", "impute_missing", "map_prior", "mean_token_probability", "weighted_mean"]


Presence = Literal["both", "joined", "left"]


def map_prior(prior: Mapping[str, float | None]) -> Scores:
    """The published mapping of the prior: 0.8 x^1.5 below 0.5, 1 - 0.8 (1 - x)^1.5 from 0.5 up."""
    return {m: None if x is None else _stretch(x) for m, x in prior.items()}


def _stretch(x: float) -> float:
    x = min(max(x, 0.0), 1.0)
    return 0.8 * math.pow(x, 1.5) if x < 0.5 else 1.0 - 0.8 * math.pow(1.0 - x, 1.5)


def mean_token_probability(tokens: Sequence[Token] | None, length: int | None = None) -> float | None:
    """exp(mean log-probability) of the first `length` characters' tokens, in [0, 1]; None without log-probabilities."""
    total, count, seen = 0.0, 0, 0
    for token in tokens or ():
        if length is not None and seen >= length:
            break
        seen += len(token.text)
        total += min(token.logprob, 0.0)
        count += 1
    return math.exp(total / count) if count else None


def impute_missing(scores: Mapping[str, float | None], names: Iterable[str]) -> dict[str, float]:
    """The scores of `names`, an unknown one at the mean of the known among them; 0.5 where none is known."""
    given = {name: scores.get(name) for name in names}
    known = [s for s in given.values() if s is not None]
    mean = sum(known) / len(known) if known else 0.5
    return {name: mean if s is None else s for name, s in given.items()}


def weighted_mean(parts: Iterable[tuple[float, float | None]]) -> float | None:
    """Mean of the values that are there, by their weights; None when none is."""
    known = [(w, v) for w, v in parts if v is not None]
    weight = sum(w for w, _ in known)
    return sum(w * v for w, v in known) / weight if weight else None


def cross_score(subject: str, assessments: Sequence[Assessment]) -> float | None:
    """The peer score of the judge with the highest self-score among those who scored `subject`.

    When no judge has a readable self-score, the mean of the peer scores. A judge never counts for its own answer.
    """
    selves = {a.judge: a.value for a in assessments if a.kind == "self"}
    given = {
        a.judge: a.value
        for a in assessments
        if a.kind == "cross" and a.subject == subject and a.judge != subject and a.value is not None
    }
    sure = {j: s for j in given if (s := selves.get(j)) is not None}
    if sure:
        return given[max(sure, key=lambda j: (sure[j], j))]
    return sum(given.values()) / len(given) if given else None


def fuse_scores(
    prior: Mapping[str, float | None], scores: Mapping[str, float | None], layers: Sequence[Layer], fusion: str
) -> Scores:
    """The scores after the last of `layers`: the mapped `prior` fused with all judgments so far.

    Args:
        prior: mapped prior of every model, in [0, 1] or None.
        scores: the scores before this layer; a model without new evidence keeps its own.
        layers: what happened so far, with assessments; layers after the second bring no judgments.
        fusion: "published-small" or "published-large".
    """
    last = layers[-1]
    selves = [{a.subject: a.value for a in layer.assessments if a.kind == "self"} for layer in layers]
    new: Scores = {}
    for model, before in scores.items():
        cross = cross_score(model, last.assessments)
        now = selves[-1].get(model)
        earlier = next((s[model] for s in reversed(selves[:-1]) if s.get(model) is not None), None)
        if now is None and cross is None:
            new[model] = before
        elif fusion == "published-large":
            new[model] = weighted_mean(_large(prior.get(model), earlier, now, cross, _presence(model, layers)))
        else:  # router : self : cross = 2 : 1 : 1, with the latest self-score
            new[model] = weighted_mean([(2, prior.get(model)), (1, earlier if now is None else now), (1, cross)])
    return new


def _presence(model: str, layers: Sequence[Layer]) -> Presence:
    """Whether the model answered in the last layer only, before it only, or in both."""
    earlier = any(p.model == model for layer in layers[:-1] for p in layer.proposals)
    if not any(p.model == model for p in layers[-1].proposals):
        return "left"
    return "both" if earlier else "joined"


def _large(
    router: float | None, earlier: float | None, now: float | None, cross: float | None, presence: Presence
) -> list[tuple[float, float | None]]:
    """The large pool's weights."""
    if presence == "both":
        return [(0.25, router), (0.15, earlier), (0.15, now), (0.45, cross)]
    if presence == "joined":
        return [(0.9, router), (0.1, now)]
    return [(0.7, router), (0.1, earlier), (0.2, cross)]
