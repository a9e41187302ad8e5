"""Evidence for each answer besides the votes: self-assessments, peers' scores, similarity. Pure functions.

Every signal is a number around 0 whose worth in log-odds is a coefficient of the judge model; absent evidence adds
nothing. Judges are not trusted. Each rule below stops one way of gaming them (figures: benchmarks/gaming.py):

    low scores for all others     scores count less their judge's mean; the common level moves no answer past another
    one score for every answer    scores weigh by how far they differ; equal ones weigh nothing
    praise of oneself             a score of one's own answer is no peer's; verbalized doubt counts, praise does not
    praise of each other          where two judges each put the other far above all else, both scores are dropped
    obeying an answer's orders    a judge that puts others above answers that agree with its own counts less
    lies about single answers     peers are combined by a weighted median; a judge that contradicts them counts less
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct

from routemoa.core.trace import Assessment
from routemoa.judging.answers.grouping import Groups
from routemoa.judging.judge_model import JudgeModel, Reliability

__all__ = [
    "Signals",
    "collect_signals",
    "credit_self_assessment",
    "estimate_reliability",
    "signal_log_odds",
]

PEER_SHRINKAGE = 1.0
"""Weight of the doubt against peers: one peer of weight 1 counts half of what many count."""
RELIABILITY_SHRINKAGE = 20
"""Graded judgments' worth of doubt in a judge's reliability."""
RANGE_SCALE = 0.1
"""Range of a judge's scores at which they have half their weight."""
CONTRADICTION_SCALE = 0.15
"""Mean distance from the other judges, of scores less their means, that halves a judge's weight."""
INCONSISTENCY_SCALE = 0.5
"""A score this far above those for answers that agree with the judge's own halves its weight."""
PRAISE_MARGIN = 0.3
"""A score this far above a judge's next highest is praise, which counts only if it is not returned."""

WEIGHT_TOLERANCE = 1e-12
"""Sums of weights this close are equal."""

PeerScores = dict[str, dict[str, float]]
"""Judge -> model whose answer it scores -> score."""
WeightedValue = tuple[float, float]
"""A value and its weight."""


class Signals(Struct, frozen=True):
    """The evidence for one group of answers; None is absent."""

    self_assessment: float | None = None
    """Mean self-assessment, above what is usual for its model."""
    cross_assessment: float | None = None
    """Mean of what peers say, in [-1, 1]."""
    similarity: float | None = None
    """Of the group's most typical answer to an open question: similarity with the others, above the mean of all."""


def collect_signals(
    models: Sequence[str], groups: Groups, assessments: Sequence[Assessment], judge_model: JudgeModel
) -> tuple[Signals, ...]:
    """Return the evidence for each group of answers.

    Args:
        models: the model of each answer.
        groups: which answers say the same.
        assessments: all of the query so far; for a model judged twice, the later judgment counts.
        judge_model: what is known of the judges.
    """
    group_of = dict(zip(models, groups.group_of, strict=True))
    self_assessments = _self_assessments(assessments, judge_model)
    cross_assessments = _cross_assessments(assessments, judge_model, group_of)
    similarities = _relative_similarities(groups)
    signals: list[Signals] = []
    for g in range(1 + max((g for g in groups.group_of if g is not None), default=-1)):
        members = groups.members(g)
        names = [models[i] for i in members]
        signals.append(
            Signals(
                _mean_of_known(self_assessments, names),
                _mean_of_known(cross_assessments, names),
                max((x for i in members if (x := similarities[i]) is not None), default=None),
            )
        )
    return tuple(signals)


def signal_log_odds(signals: Signals, judge_model: JudgeModel, *, verbalized: bool) -> float:
    """Return what the signals add to the log-odds of a group of answers.

    `verbalized` says whether self-assessments are words of the model, or token probabilities.
    """
    c = judge_model.coefficients
    parts = (
        (
            c.verbalized if verbalized else c.logprob,
            credit_self_assessment(signals.self_assessment, verbalized=verbalized),
        ),
        (c.cross, signals.cross_assessment),
        (c.similarity, signals.similarity),
    )
    return c.constant + sum(coefficient * x for coefficient, x in parts if x is not None)


def credit_self_assessment(value: float | None, *, verbalized: bool) -> float | None:
    """Return what of a self-assessment counts: of a verbalized one only doubt, since praise costs nothing."""
    return min(value, 0.0) if verbalized and value is not None else value


def estimate_reliability(graded_scores: Sequence[tuple[float, float]]) -> Reliability:
    """Estimate a judge's reliability from pairs of its score and how right the answer was, both in [0, 1].

    The weight is Somers' D (2 AUC - 1), shrunk to 0; it is 0 for a judge that is worse than chance.
    """
    if not graded_scores:
        return Reliability()
    count = len(graded_scores)
    bias = sum(score for score, _ in graded_scores) / count
    of_right = [score for score, truth in graded_scores if truth > 0.5]
    of_wrong = [score for score, truth in graded_scores if truth <= 0.5]
    if not of_right or not of_wrong:
        return Reliability(bias, 0.0)
    somers_d = sum((a > b) - (a < b) for a in of_right for b in of_wrong) / (len(of_right) * len(of_wrong))
    return Reliability(bias, max(0.0, somers_d) * count / (count + RELIABILITY_SHRINKAGE))


def _self_assessments(assessments: Sequence[Assessment], judge_model: JudgeModel) -> dict[str, float]:
    """Return each model's latest self-assessment less its bias, by its reliability.

    Where the bias is unknown, the mean of this query's takes its place, if there are at least two.
    """
    latest = {a.judge: a.value for a in assessments if a.kind == "self" and a.value is not None}
    mean = sum(latest.values()) / len(latest) if len(latest) > 1 else None
    signals: dict[str, float] = {}
    for model, value in latest.items():
        reliability = judge_model.self_judges.get(model)
        usual = mean if reliability is None or reliability.bias is None else reliability.bias
        if usual is not None:
            signals[model] = (value - usual) * (reliability.weight if reliability else 1.0)
    return signals


def _relative_similarities(groups: Groups) -> list[float | None]:
    """Return each answer's similarity less the mean; of two answers each is as similar as the other: None."""
    known = [x for x in groups.similarity if x is not None]
    if len(known) <= 2:
        return [None] * len(groups.similarity)
    mean = sum(known) / len(known)
    return [None if x is None else x - mean for x in groups.similarity]


def _cross_assessments(
    assessments: Sequence[Assessment], judge_model: JudgeModel, group_of: Mapping[str, int | None]
) -> dict[str, float]:
    """Return the peers' view of each model's answer, in [-1, 1]: how it compares, plus the level of all answers.

    Both are shrunk weighted medians. The level is the same for all answers, so no judge can move one past another by
    scoring all of them high or low.
    """
    scores = _peer_scores(assessments)
    believed = _without_mutual_praise(scores)
    range_weights = {judge: _range_weight(given) for judge, given in believed.items()}
    centered = {judge: _center(given) for judge, given in believed.items() if range_weights[judge]}
    weights = {
        judge: range_weights[judge]
        * _consistency_weight(judge, believed[judge], group_of)
        * _agreement_weight(judge, centered, judge_model.peer_judges.get(judge))
        for judge in centered
    }
    level = _level_of_all(scores, judge_model.peer_judges)
    views: dict[str, float] = {}
    for subject in dict.fromkeys(subject for given in scores.values() for subject in given):
        comparisons = [(given[subject], weights[judge]) for judge, given in centered.items() if subject in given]
        comparison = _shrunk_median(comparisons)
        if comparison is not None or level is not None:
            views[subject] = min(max((comparison or 0.0) + (level or 0.0), -1.0), 1.0)
    return views


def _peer_scores(assessments: Sequence[Assessment]) -> PeerScores:
    """Return each judge's latest scores of other models' answers."""
    scores: PeerScores = {}
    for a in assessments:
        if a.kind == "cross" and a.judge != a.subject and a.value is not None:
            scores.setdefault(a.judge, {})[a.subject] = a.value
    return scores


def _without_mutual_praise(scores: PeerScores) -> PeerScores:
    """Drop the scores by which two judges put each other far above every other answer."""

    def praises(judge: str, subject: str) -> bool:
        given = scores.get(judge, {})
        others = [score for other, score in given.items() if other != subject]
        return subject in given and bool(others) and given[subject] - max(others) > PRAISE_MARGIN

    return {
        judge: {s: score for s, score in given.items() if not (praises(judge, s) and praises(s, judge))}
        for judge, given in scores.items()
    }


def _level_of_all(scores: PeerScores, peer_judges: Mapping[str, Reliability]) -> float | None:
    """Return how far judges of known bias score above it; None without any."""
    return _shrunk_median([
        (_mean(given) - reliability.bias, reliability.weight)
        for judge, given in scores.items()
        if (reliability := peer_judges.get(judge)) and reliability.bias is not None
    ])  # fmt: skip


def _range_weight(given: Mapping[str, float]) -> float:
    """Return how far a judge tells answers apart, in [0, 1): 0 for one score, or for equal ones."""
    if len(given) < 2:
        return 0.0
    score_range = max(given.values()) - min(given.values())
    return score_range / (score_range + RANGE_SCALE)


def _consistency_weight(judge: str, given: Mapping[str, float], group_of: Mapping[str, int | None]) -> float:
    """Return less than 1 for a judge that puts another answer above those that agree with its own.

    Such a judge believes neither; it may have obeyed an instruction in an answer.
    """
    own_group = group_of.get(judge)
    agreeing = [score for s, score in given.items() if group_of.get(s) is not None and group_of.get(s) == own_group]
    differing = [score for s, score in given.items() if group_of.get(s) != own_group]
    lead = max(0.0, max(differing) - sum(agreeing) / len(agreeing)) if agreeing and differing else 0.0
    return 1.0 / _distance_penalty(lead, INCONSISTENCY_SCALE)


def _agreement_weight(judge: str, centered: PeerScores, reliability: Reliability | None) -> float:
    """Return the learned reliability, less for a judge that contradicts the others (at least two) of this query."""
    distances: list[float] = []
    for subject, value in centered[judge].items():
        others = [(given[subject], 1.0) for other, given in centered.items() if other != judge and subject in given]
        if len(others) > 1:
            distances.append(abs(value - _weighted_median(others)))
    distance = sum(distances) / len(distances) if distances else 0.0
    return (reliability.weight if reliability else 1.0) / _distance_penalty(distance, CONTRADICTION_SCALE)


def _distance_penalty(distance: float, scale: float) -> float:
    """Return what to divide a weight by: 1 at no distance, 2 at `scale`."""
    return 1.0 + (distance / scale) ** 2


def _shrunk_median(views: Sequence[WeightedValue]) -> float | None:
    """Return the weighted median, shrunk to 0 where there is little weight; None without any."""
    total = sum(weight for _, weight in views)
    return _weighted_median(views) * total / (total + PEER_SHRINKAGE) if total > 0 else None


def _weighted_median(views: Sequence[WeightedValue]) -> float:
    """Return the weighted median; where it falls between two values, their mean."""
    ordered = sorted(views)
    half, cumulative = sum(weight for _, weight in ordered) / 2, 0.0
    for i, (value, weight) in enumerate(ordered):
        cumulative += weight
        if cumulative > half + WEIGHT_TOLERANCE:
            return value
        if abs(cumulative - half) <= WEIGHT_TOLERANCE:
            upper, _ = ordered[min(i + 1, len(ordered) - 1)]
            return (value + upper) / 2
    return max((value for value, _ in ordered), default=0.0)


def _center(given: Mapping[str, float]) -> dict[str, float]:
    """Return scores less their judge's mean."""
    mean = _mean(given)
    return {subject: score - mean for subject, score in given.items()}


def _mean(given: Mapping[str, float]) -> float:
    return sum(given.values()) / len(given)


def _mean_of_known(values: Mapping[str, float], names: Sequence[str]) -> float | None:
    known = [values[name] for name in names if name in values]
    return sum(known) / len(known) if known else None
