"""Compare two sets of priors on outcomes that neither was trained on: which one would have chosen better. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from routemoa.core.types import Scores
from routemoa.datasets.records import Record
from routemoa.evaluation.statistics import MeanInterval, bootstrap_interval

__all__ = ["MIN_COMPARED", "HeldOut", "ShadowResult", "compare_priors"]

MIN_COMPARED = 30
"""Queries that tell members apart, below which choices are not compared, and queries, below which nothing is."""
EQUAL = 0.01
"""Accuracies count as equal where the interval excludes a loss of more than a point."""


class HeldOut(Struct, frozen=True):
    """One outcome, and what two sets of priors predicted."""

    record: Record
    before: Scores
    after: Scores
    taught: Scores | None = None
    """The scores that predictions are compared with; None: the record's."""


class ShadowResult(Struct, frozen=True):
    """How a new set of priors does beside the old one; intervals are 95 % bootstrap over queries."""

    queries: int
    compared: int
    """Queries with the scores of at least two members."""
    telling: int
    """Of these, queries on which the members' scores differ."""
    accuracy: MeanInterval | None
    """Mean score of the new choice minus the old one's, over those compared; None where there are none."""
    saved: MeanInterval | None
    """Dollars a query that the new choice saves, over those whose costs are known; None where there are none."""
    prediction: MeanInterval | None
    """By how much the Brier score of the priors falls, over all outcomes; None where no prior is known to both."""
    gain: str | None
    """What is better with its interval above 0: "accuracy", "cost" or "prediction"; None where nothing is."""


def compare_priors(held_out: Sequence[HeldOut], seed: int = 0) -> ShadowResult:
    """Return how the new priors do beside the old ones.

    A choice is the member with the highest prior, of those whose answer to the query was scored. Better predictions
    count where the choice is no worse on average.
    """
    differences: list[float] = []
    saved: list[float] = []
    predictions: list[float] = []
    telling = 0
    for outcome in held_out:
        taught = outcome.record.scores if outcome.taught is None else outcome.taught
        scores = {m: s for m, s in taught.items() if s is not None}
        if (gain := _prediction_gain(outcome, scores)) is not None:
            predictions.append(gain)
        if len(scores) < 2:
            continue
        old, new = _choose(outcome.before, scores), _choose(outcome.after, scores)
        telling += len(set(scores.values())) > 1
        differences.append(scores[new] - scores[old])
        costs = outcome.record.costs or {}
        old_cost, new_cost = costs.get(old), costs.get(new)
        if old_cost is not None and new_cost is not None:
            saved.append(old_cost - new_cost)
    result = ShadowResult(
        len(held_out),
        len(differences),
        telling,
        bootstrap_interval(differences, seed) if differences else None,
        bootstrap_interval(saved, seed) if saved else None,
        bootstrap_interval(predictions, seed) if predictions else None,
        None,
    )
    return _with_gain(result)


def _with_gain(result: ShadowResult) -> ShadowResult:
    accuracy, saved, prediction = result.accuracy, result.saved, result.prediction
    gain = None
    if result.telling >= MIN_COMPARED and accuracy is not None:
        is_equal = accuracy.mean >= 0 and accuracy.low >= -EQUAL
        if accuracy.low > 0:
            gain = "accuracy"
        elif is_equal and saved is not None and saved.low > 0:
            gain = "cost"
    if gain is None and result.queries >= MIN_COMPARED and prediction is not None and prediction.low > 0:
        gain = "prediction" if accuracy is None or accuracy.mean >= 0 else None
    return replace(result, gain=gain)


def _choose(priors: Scores, scores: Mapping[str, float]) -> str:
    """Return the member with the highest prior; one without any ranks at the mean of the others."""
    known = [p for m in scores if (p := priors.get(m)) is not None]
    mean = sum(known) / len(known) if known else 0.5

    def rank(model: str) -> float:
        prior = priors.get(model)
        return mean if prior is None else prior

    return max(scores, key=rank)


def _prediction_gain(outcome: HeldOut, scores: Mapping[str, float]) -> float | None:
    """Return by how much the squared error falls, on average over the members; None where no prior is known."""
    gains = [
        (before - score) ** 2 - (after - score) ** 2
        for model, score in scores.items()
        if (before := outcome.before.get(model)) is not None and (after := outcome.after.get(model)) is not None
    ]
    return sum(gains) / len(gains) if gains else None
