"""Compare two sets of priors on outcomes that neither was trained on: which one would have chosen better. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from routemoa.core.types import Scores
from routemoa.datasets.records import Record
from routemoa.evaluation.statistics import MeanInterval, bootstrap_interval, gain_interval
from routemoa.judging.published_fusion import impute_missing

__all__ = ["MIN_COMPARED", "Choice", "HeldOut", "ShadowResult", "compare_priors"]

MIN_COMPARED = 30
"""Queries that tell members apart, below which choices are not compared, and queries, below which nothing is."""
EQUAL = 0.01
"""Accuracies count as equal where the interval excludes a loss of more than a point."""


class Choice(Struct, frozen=True):
    """The member whose answer is given, and what its query cost."""

    model: str
    cost: float | None = None
    """Dollars; None is unknown."""


class HeldOut(Struct, frozen=True):
    """One outcome, what two sets of priors predicted, and what the mixture made of them."""

    record: Record
    before: Scores
    after: Scores
    taught: Scores | None = None
    """The scores that predictions are compared with; None: the record's."""
    chosen: tuple[Choice | None, Choice | None] | None = None
    """What the whole mixture gives under the old priors and the new, where that is known; None takes the member with
    the highest prior."""


class ShadowResult(Struct, frozen=True):
    """How a new set of priors does beside the old one; intervals are 95 % bootstrap over queries."""

    queries: int
    compared: int
    """Queries with the scores of at least two members, and of both choices."""
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

    Only answers that were scored are compared. Better predictions count where the choice is no worse on average.
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
        old, new = outcome.chosen or _choose(outcome, scores)
        if old is None or new is None or old.model not in scores or new.model not in scores:
            continue
        telling += len(set(scores.values())) > 1
        differences.append(scores[new.model] - scores[old.model])
        if old.cost is not None and new.cost is not None:
            saved.append(old.cost - new.cost)
    result = ShadowResult(
        len(held_out),
        len(differences),
        telling,
        gain_interval(differences, seed) if differences else None,
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


def _choose(outcome: HeldOut, scores: Mapping[str, float]) -> tuple[Choice, Choice]:
    """Return the members with the highest prior, old and new; one without any ranks at the mean of the others."""
    costs = outcome.record.costs or {}
    ranked = [impute_missing(priors, scores) for priors in (outcome.before, outcome.after)]
    old, new = (max(scores, key=priors.__getitem__) for priors in ranked)
    return Choice(old, costs.get(old)), Choice(new, costs.get(new))


def _prediction_gain(outcome: HeldOut, scores: Mapping[str, float]) -> float | None:
    """Return by how much the squared error falls, on average over the members; None where no prior is known."""
    gains = [
        (before - score) ** 2 - (after - score) ** 2
        for model, score in scores.items()
        if (before := outcome.before.get(model)) is not None and (after := outcome.after.get(model)) is not None
    ]
    return sum(gains) / len(gains) if gains else None
