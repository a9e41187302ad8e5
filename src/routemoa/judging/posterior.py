"""Which answer is right? The posterior over the groups of answers, under one model of how models err. Pure functions.

Every group of answers that say the same is a hypothesis (it is right, the others are wrong), and one more is that no
answer is right. Models err together for three reasons:

    difficulty_sd                  the query is difficult for every model alike (Rasch; see `difficulty`)
    error_concentration            popular errors attract: wrong answers coincide as in a Chinese restaurant process
    pairwise_error_correlation     what a pair has beyond that, such as the same weights at two endpoints

All three are learned from records or traces (`routemoa judge fit`).

Sources: Dawid & Skene (1979) for answers as votes of unequal worth; Pitman, Combinatorial stochastic processes (2006),
section 3, for the partition of the wrong ones.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta, Struct

from routemoa.judging.difficulty import DIFFICULTY_WEIGHTS, Curve, prior_log_odds, sigmoid, success_curve

__all__ = [
    "ErrorCorrelation",
    "Posterior",
    "Vote",
    "find_lone_leader",
    "infer",
    "probability_any_right",
    "updated_priors",
]

MIN_PROBABILITY = 1e-12
"""Bound on probabilities, before their logarithm is taken."""


class ErrorCorrelation(Struct, frozen=True, omit_defaults=True):
    """How errors of models come together."""

    difficulty_sd: Annotated[float, Meta(ge=0, le=10)] = 2.0
    """Standard deviation of the difficulty of queries, in log-odds."""
    error_concentration: Annotated[float, Meta(gt=0)] = 5.0
    """Two wrong answers coincide with probability 1 / (1 + error_concentration)."""
    pairwise_error_correlation: dict[str, Annotated[float, Meta(ge=0, le=1)]] = {}
    """For "a|b" (names in order), in [0, 1]: how far an answer of b adds nothing to the same answer of a."""

    def between(self, a: str, b: str) -> float:
        """Return the pairwise error correlation of two models; 0 where none is known."""
        if not self.pairwise_error_correlation:
            return 0.0
        return self.pairwise_error_correlation.get(f"{a}|{b}" if a < b else f"{b}|{a}", 0.0)

    def related_models(self) -> dict[str, list[tuple[str, float]]]:
        """Map each model of a known pair to the others of its pairs, with their correlation."""
        related: dict[str, list[tuple[str, float]]] = {}
        for pair, value in self.pairwise_error_correlation.items():
            a, _, b = pair.partition("|")
            related.setdefault(a, []).append((b, value))
            related.setdefault(b, []).append((a, value))
        return related


class Vote(Struct, frozen=True):
    """One answer as evidence."""

    model: str
    prior: float
    """The model's probability in [0, 1] of a right answer, before any was seen."""
    group: int | None
    """The group of answers that say the same; None where the answer states nothing."""
    weight: float = 1.0
    """Below 1 where the model saw the other answers before it wrote its own."""


class Posterior(Struct, frozen=True):
    """P(hypothesis and difficulty), given the answers."""

    joint: tuple[Curve, ...]
    """Row 0: no answer so far is right. To a closed question, row g + 1: group g is; to an open one, row 1: the leader
    is. Each row holds one value for each difficulty; all of them add up to 1."""
    probabilities: tuple[float, ...]
    """P(group is right)."""
    exclusive: bool = True
    """Whether at most one group is right, as for a closed question."""

    @property
    def leader(self) -> int | None:
        """The group most likely to be right, the earlier one among equals."""
        return max(range(len(self.probabilities)), key=lambda g: (self.probabilities[g], -g), default=None)

    @property
    def leader_probability(self) -> float:
        """P(leader is right)."""
        return max(self.probabilities, default=0.0)


def infer(
    votes: Sequence[Vote],
    correlation: ErrorCorrelation,
    evidence: Sequence[float] = (),
    *,
    vote_coefficient: float = 1.0,
    lone_leader: float = 0.0,
    closed: bool = True,
) -> Posterior:
    """Return the posterior over the groups of answers.

    Args:
        votes: one for each answer; groups are numbered from 0.
        correlation: of the models' errors.
        evidence: for each group, log-odds of what speaks for it besides the votes; missing is none.
        vote_coefficient: multiplies what the votes add to the log-odds of a group's best prior. Learned: below 1 where
            votes claim too much. One answer alone is as likely right as its prior, whatever the coefficient.
        lone_leader: log-odds added to the answer of `find_lone_leader`.
        closed: whether at most one group is right, and answers that coincide support each other.
    """
    count = 1 + max((v.group for v in votes if v.group is not None), default=-1)
    groups = [[i for i, v in enumerate(votes) if v.group == g] for g in range(count)]
    best_priors = [max(votes[i].prior for i in members) for members in groups]
    log_odds_evidence = [*evidence, *[0.0] * (count - len(evidence))]
    if not closed:
        return _infer_open(votes, best_priors, log_odds_evidence, correlation)
    if lone_leader and (leader := find_lone_leader(votes)) is not None:
        log_odds_evidence[leader] += lone_leader
    log_joint = _log_joint(votes, groups, correlation)
    return _normalize(log_joint, best_priors, log_odds_evidence, vote_coefficient)


def find_lone_leader(votes: Sequence[Vote]) -> int | None:
    """Return the group of the model with the best prior, where it stands alone against answers that agree."""
    leader = max(votes, key=lambda vote: vote.prior, default=None)
    if leader is None or leader.group is None or sum(vote.prior == leader.prior for vote in votes) > 1:
        return None
    sizes = Counter(vote.group for vote in votes if vote.group is not None)
    return leader.group if sizes[leader.group] == 1 and max(sizes.values()) > 1 else None


def updated_priors(posterior: Posterior, priors: Sequence[float], correlation: ErrorCorrelation) -> list[float]:
    """Return P(right) of models that have not answered: their priors, given how difficult the query looks by now."""
    difficulty = [sum(column) for column in zip(*posterior.joint, strict=True)]
    return [
        sum(w * p for w, p in zip(difficulty, success_curve(prior, correlation.difficulty_sd), strict=True))
        for prior in priors
    ]


def probability_any_right(priors: Sequence[float], correlation: ErrorCorrelation) -> float:
    """Return P(at least one of these models answers right), their errors correlated by difficulty."""
    curves = [success_curve(prior, correlation.difficulty_sd) for prior in priors]
    total = 0.0
    for k, weight in enumerate(DIFFICULTY_WEIGHTS):
        all_wrong = 1.0
        for curve in curves:
            all_wrong *= 1.0 - curve[k]
        total += weight * (1.0 - all_wrong)
    return min(total, 1.0)


# A closed question: one hypothesis is true.


def _log_joint(
    votes: Sequence[Vote], groups: Sequence[Sequence[int]], correlation: ErrorCorrelation
) -> list[list[float]]:
    """Return log P(answers and difficulty | hypothesis): a row for each hypothesis, first that all are wrong."""
    curves = [success_curve(v.prior, correlation.difficulty_sd) for v in votes]
    log_right = [[math.log(max(p, MIN_PROBABILITY)) for p in curve] for curve in curves]
    log_wrong = [[math.log(max(1 - p, MIN_PROBABILITY)) for p in curve] for curve in curves]
    weights = _effective_weights(votes, correlation)
    sizes = [sum(weights[i] for i in members) for members in groups]
    all_wrong = [
        math.log(w) + sum(c * log_p[k] for c, log_p in zip(weights, log_wrong, strict=True))
        for k, w in enumerate(DIFFICULTY_WEIGHTS)
    ]
    partition = _log_partition_probability(sizes, correlation.error_concentration)
    rows = [[x + partition for x in all_wrong]]
    for g, members in enumerate(groups):
        wrong_sizes = [size for h, size in enumerate(sizes) if h != g]
        partition = _log_partition_probability(wrong_sizes, correlation.error_concentration)
        rows.append([
            x + partition + sum(weights[i] * (log_right[i][k] - log_wrong[i][k]) for i in members)
            for k, x in enumerate(all_wrong)
        ])  # fmt: skip
    return rows


def _effective_weights(votes: Sequence[Vote], correlation: ErrorCorrelation) -> list[float]:
    """Return how many independent votes each one counts as, in [0, 1].

    Less where the model saw the other answers, unless its own is the first of its group: then it copied none. Less,
    too, where its errors correlate with those of an earlier model of its group.
    """
    weights: list[float] = []
    for i, vote in enumerate(votes):
        earlier = [v.model for v in votes[:i] if v.group == vote.group and v.group is not None]
        nearest = max((correlation.between(vote.model, model) for model in earlier), default=0.0)
        opens_group = vote.group is not None and not earlier
        weights.append((1.0 if opens_group else vote.weight) * (1.0 - nearest))
    return weights


def _log_partition_probability(sizes: Sequence[float], concentration: float) -> float:
    """Return the log-probability that wrong answers fall into groups of these sizes (Chinese restaurant process)."""
    total = sum(sizes)
    if not total:
        return 0.0
    new_groups = len(sizes) * math.log(concentration) + math.lgamma(concentration) - math.lgamma(concentration + total)
    return new_groups + sum(math.lgamma(size) for size in sizes)


def _normalize(
    log_joint: Sequence[Sequence[float]],
    best_priors: Sequence[float],
    evidence: Sequence[float],
    vote_coefficient: float,
) -> Posterior:
    """Return the posterior of a closed question.

    Each group's log-odds against row 0 are those of its best prior, the weighted rest of what the votes say, and the
    evidence. The difficulty keeps its distribution under each hypothesis.
    """
    totals = [_log_sum_exp(row) for row in log_joint]
    log_odds = [
        0.0,
        *(
            prior + vote_coefficient * (total - totals[0] - prior) + e
            for total, prior, e in zip(totals[1:], map(prior_log_odds, best_priors), evidence, strict=True)
        ),
    ]
    probabilities = _softmax(log_odds)
    joint = tuple(
        tuple(p * math.exp(x - total) for x in row)
        for row, p, total in zip(log_joint, probabilities, totals, strict=True)
    )
    return Posterior(joint, tuple(probabilities[1:]))


def _log_sum_exp(values: Sequence[float]) -> float:
    top = max(values)
    return top + math.log(sum(math.exp(x - top) for x in values))


def _softmax(log_odds: Sequence[float]) -> list[float]:
    top = max(log_odds)
    weights = [math.exp(x - top) for x in log_odds]
    total = sum(weights)
    return [w / total for w in weights]


# An open question: each group is right or wrong by itself.


def _infer_open(
    votes: Sequence[Vote], best_priors: Sequence[float], evidence: Sequence[float], correlation: ErrorCorrelation
) -> Posterior:
    """Judge each group by its best member's prior and the evidence; agreement says nothing by itself."""
    probabilities = tuple(sigmoid(prior_log_odds(p) + e) for p, e in zip(best_priors, evidence, strict=True))
    if not probabilities:
        return Posterior((DIFFICULTY_WEIGHTS,), (), False)
    leader_probability = max(probabilities)
    curve = success_curve(max(v.prior for v in votes), correlation.difficulty_sd)
    right = [w * p for w, p in zip(DIFFICULTY_WEIGHTS, curve, strict=True)]
    wrong = [w * (1 - p) for w, p in zip(DIFFICULTY_WEIGHTS, curve, strict=True)]
    total_right, total_wrong = sum(right), sum(wrong)
    joint = (
        tuple(x * (1 - leader_probability) / total_wrong for x in wrong),
        tuple(x * leader_probability / total_right for x in right),
    )
    return Posterior(joint, probabilities, False)
