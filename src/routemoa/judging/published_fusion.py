"""From judgments to scores as published: the mapped prior, confidence and the two fusions. Pure functions.

Source: RouteMoA (arXiv 2601.18130), sections on mapping, self- and cross-assessment and score fusion. Absent evidence
is left out and the remaining weights are scaled up; it is never replaced by a number.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from routemoa.core.trace import Assessment, Layer
from routemoa.core.types import Scores, Token

__all__ = ["cross_score", "fuse_scores", "impute_missing", "map_prior", "mean_token_probability", "weighted_mean"]

Weighted = tuple[float, float | None]
"""A weight and its value; None is absent."""


def map_prior(prior: Mapping[str, float | None]) -> Scores:
    """Return the published mapping of the prior: 0.8 x^1.5 below 0.5, 1 - 0.8 (1 - x)^1.5 from 0.5 up."""
    return {model: None if x is None else _stretch(x) for model, x in prior.items()}


def _stretch(x: float) -> float:
    x = min(max(x, 0.0), 1.0)
    return 0.8 * math.pow(x, 1.5) if x < 0.5 else 1.0 - 0.8 * math.pow(1.0 - x, 1.5)


def mean_token_probability(tokens: Sequence[Token] | None, length: int | None = None) -> float | None:
    """Return exp(mean log-probability), in [0, 1], of the tokens of the first `length` characters.

    None without log-probabilities.
    """
    total, count, characters = 0.0, 0, 0
    for token in tokens or ():
        if length is not None and characters >= length:
            break
        characters += len(token.text)
        total += min(token.logprob, 0.0)
        count += 1
    return math.exp(total / count) if count else None


def impute_missing(scores: Mapping[str, float | None], names: Iterable[str]) -> dict[str, float]:
    """Return the scores of `names`, an unknown one as the mean of the known among them; 0.5 where none is known."""
    given = {name: scores.get(name) for name in names}
    known = [s for s in given.values() if s is not None]
    mean = sum(known) / len(known) if known else 0.5
    return {name: mean if s is None else s for name, s in given.items()}


def weighted_mean(parts: Iterable[Weighted]) -> float | None:
    """Return the weighted mean of the values that are present, or None where none is."""
    known = [(weight, value) for weight, value in parts if value is not None]
    total_weight = sum(weight for weight, _ in known)
    return sum(weight * value for weight, value in known) / total_weight if total_weight else None


def cross_score(subject: str, assessments: Sequence[Assessment]) -> float | None:
    """Return the peer score of the judge with the highest self-score among those that scored `subject`.

    Where no judge has a readable self-score, the mean of the peer scores. A judge never counts for its own answer.
    """
    self_scores = {a.judge: a.value for a in assessments if a.kind == "self"}
    peer_scores = {
        a.judge: a.value
        for a in assessments
        if a.kind == "cross" and a.subject == subject and a.judge != subject and a.value is not None
    }
    confidence = {judge: s for judge in peer_scores if (s := self_scores.get(judge)) is not None}
    if confidence:
        return peer_scores[max(confidence, key=lambda judge: (confidence[judge], judge))]
    return sum(peer_scores.values()) / len(peer_scores) if peer_scores else None


class _Evidence(Struct, frozen=True):
    """What is known of one model after a layer; None is absent."""

    prior: float | None
    earlier_self: float | None
    """The self-score of an earlier layer."""
    latest_self: float | None
    """The self-score of the last layer."""
    cross: float | None
    answered_before: bool
    """Whether the model answered in a layer before the last one."""
    answered_last: bool
    """Whether the model answered in the last layer."""


def fuse_scores(
    prior: Mapping[str, float | None], scores: Mapping[str, float | None], layers: Sequence[Layer], fusion: str
) -> Scores:
    """Return the scores after the last of `layers`: the mapped prior fused with all judgments so far.

    Args:
        prior: mapped prior of every model, in [0, 1] or None.
        scores: the scores before this layer; a model without new evidence keeps its own.
        layers: what happened so far, with assessments; layers after the second bring no judgments.
        fusion: "published-small" or "published-large".
    """
    weigh = _large_pool_weights if fusion == "published-large" else _small_pool_weights
    self_scores = [{a.subject: a.value for a in layer.assessments if a.kind == "self"} for layer in layers]
    answered_before = {p.model for layer in layers[:-1] for p in layer.proposals}
    answered_last = {p.model for p in layers[-1].proposals}
    fused: Scores = {}
    for model, score_before in scores.items():
        latest_self, cross = self_scores[-1].get(model), cross_score(model, layers[-1].assessments)
        if latest_self is None and cross is None:
            fused[model] = score_before
            continue
        earlier_self = next((s[model] for s in reversed(self_scores[:-1]) if s.get(model) is not None), None)
        evidence = _Evidence(
            prior.get(model), earlier_self, latest_self, cross, model in answered_before, model in answered_last
        )
        fused[model] = weighted_mean(weigh(evidence))
    return fused


def _small_pool_weights(evidence: _Evidence) -> list[Weighted]:
    """Weigh router : self : cross = 2 : 1 : 1, with the latest self-score."""
    own = evidence.earlier_self if evidence.latest_self is None else evidence.latest_self
    return [(2, evidence.prior), (1, own), (1, evidence.cross)]


def _large_pool_weights(evidence: _Evidence) -> list[Weighted]:
    """Weigh by whether the model answered in both layers, in the last one only, or before it only."""
    if evidence.answered_last and evidence.answered_before:
        return [
            (0.25, evidence.prior),
            (0.15, evidence.earlier_self),
            (0.15, evidence.latest_self),
            (0.45, evidence.cross),
        ]
    if evidence.answered_last:
        return [(0.9, evidence.prior), (0.1, evidence.latest_self)]
    return [(0.7, evidence.prior), (0.1, evidence.earlier_self), (0.2, evidence.cross)]
