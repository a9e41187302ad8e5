"""Which answer is right, and what would one more answer tell? One model of how models err. Pure functions.

    t ~ N(0, spread^2)                        how easy the query is for everybody: errors of models come together
    P(m right | t) = sigmoid(a_m + t)         a_m such that, over all t, it is the prior of m
    wrong answers coincide as in a Chinese restaurant process of concentration `scatter`: popular errors attract

Every group of answers that say the same is a hypothesis (it is right, the others are wrong), and one more is that
nobody is right. Two numbers, learned from records or traces (`routemoa judge fit`), hold all the correlation there is
between models in general; `kinship` holds what pairs have beyond it (the same weights at two endpoints).

Sources: Rasch, Probabilistic models for some intelligence and attainment tests (1960), for the shared difficulty;
Dawid & Skene (1979) for answers as votes of unequal worth; Pitman, Combinatorial stochastic processes (2006), section
3, for the partition of the wrong ones. Difficulties are integrated over by Gauss-Hermite quadrature with nine nodes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from operator import mul
from typing import Annotated

from msgspec import Meta, Struct

__all__ = [
    "ErrorCorrelation",
    "Posterior",
    "Vote",
    "expected_gains",
    "infer",
    "prior_log_odds",
    "probability_any_right",
    "updated_priors",
]

# Nodes and weights of a standard normal variable (probabilists' Hermite polynomials).
DIFFICULTY_NODES = (
    -4.512745863399783, -3.20542900285647, -2.07684797867783, -1.0232556637891326, 0.0,
    1.0232556637891326, 2.07684797867783, 3.20542900285647, 4.512745863399783,
)  # fmt: skip
DIFFICULTY_WEIGHTS = (
    2.2345844007746607e-05, 0.0027891413212317692, 0.04991640676521782, 0.24409750289493953, 0.40634920634920635,
    0.24409750289493953, 0.04991640676521782, 0.0027891413212317692, 2.2345844007746607e-05,
)  # fmt: skip
MAX_PRIOR = 0.98  # no prior is believed beyond this, or below its complement
MAX_LOOKAHEAD = 6  # further answers that are looked ahead
TINY = 1e-12  # less probable than this is impossible


class ErrorCorrelation(Struct, frozen=True, omit_defaults=True):
    """How errors of models come together: the two numbers above, and pairs beyond them.

    `kinship` of "a|b" (names in order) is in [0, 1]: how far an answer of b adds nothing to the same one of a.
    """

    difficulty_sd: Annotated[float, Meta(ge=0, le=10)] = 2.0
    error_concentration: Annotated[float, Meta(gt=0)] = 5.0
    pairwise_error_correlation: dict[str, Annotated[float, Meta(ge=0, le=1)]] = {}

    def between(self, a: str, b: str) -> float:
        """Kinship of two models, 0 where none is known."""
        return (
            self.pairwise_error_correlation.get(f"{a}|{b}" if a < b else f"{b}|{a}", 0.0)
            if self.pairwise_error_correlation
            else 0.0
        )

    def related_models(self) -> dict[str, list[tuple[str, float]]]:
        """Every model with its kin and how near each is."""
        found: dict[str, list[tuple[str, float]]] = {}
        for pair, near in self.pairwise_error_correlation.items():
            a, _, b = pair.partition("|")
            found.setdefault(a, []).append((b, near))
            found.setdefault(b, []).append((a, near))
        return found


class Vote(Struct, frozen=True):
    """One answer as evidence: who gave it, its prior in [0, 1], and the group of answers that say the same.

    `weight` is below 1 where the answer was written with the others in view.
    """

    model: str
    prior: float
    group: int | None
    weight: float = 1.0


class Posterior(Struct, frozen=True):
    """P(hypothesis and difficulty): row 0 is that no answer so far is right, row g + 1 that group g is.

    Of an open question more than one answer may be right: then `right` holds each group's own probability, and `joint`
    only whether the leader is right.
    """

    joint: tuple[tuple[float, ...], ...]
    probabilities: tuple[float, ...]
    exclusive: bool = True

    @property
    def leader(self) -> int | None:
        """The group most likely to be right, the earlier one among equals."""
        return max(range(len(self.probabilities)), key=lambda g: (self.probabilities[g], -g), default=None)

    @property
    def leader_probability(self) -> float:
        """P(the leader is right)."""
        return max(self.probabilities, default=0.0)


def infer(
    votes: Sequence[Vote],
    correlation: ErrorCorrelation,
    evidence: Sequence[float] = (),
    *,
    vote_coefficient: float = 1.0,
    closed: bool = True,
) -> Posterior:
    """The probability that each group of answers is right.

    Args:
        votes: one for each answer; groups are numbered from 0.
        correlation: of the models' errors.
        evidence: for each group, log-odds of what speaks for it besides the votes; missing is none.
        trust: what the votes add to the log-odds of a group's best prior is multiplied with, learned: below 1 where
            they claim too much. One answer alone is as likely right as its prior.
        closed: whether at most one group is right, and answers that coincide support each other.
    """
    count = 1 + max((v.group for v in votes if v.group is not None), default=-1)
    said = [*evidence, *[0.0] * (count - len(evidence))]
    if not closed:
        return _open(votes, correlation, said, count)
    right, wrong = _likelihoods([v.prior for v in votes], correlation.difficulty_sd)
    members: list[list[int]] = [[i for i, v in enumerate(votes) if v.group == g] for g in range(count)]
    counts = _counts(votes, correlation)
    sizes = [sum(counts[i] for i in group) for group in members]
    nobody = [
        math.log(w) + sum(c * each[k] for c, each in zip(counts, wrong, strict=True)) for k, w in enumerate(DIFFICULTY_WEIGHTS)
    ]
    logs = [[x + _coincide(sizes, correlation.error_concentration) for x in nobody]]
    for g, group in enumerate(members):
        rest = _coincide([s for h, s in enumerate(sizes) if h != g], correlation.error_concentration)
        logs.append([
            x + rest + sum(counts[i] * (right[i][k] - wrong[i][k]) for i in group)
            for k, x in enumerate(nobody)
        ])  # fmt: skip
    own = [prior_log_odds(max(votes[i].prior for i in group)) for group in members]
    return _weighed(logs, own, said, vote_coefficient)


def expected_gains(posterior: Posterior, priors: Sequence[float], correlation: ErrorCorrelation) -> list[float]:
    """By how much P(the answer that is chosen is right) is expected to rise with the next 1, 2, ... of `priors`.

    The truth, where it is not the leader, wins once as many of the further answers name it as its odds are behind; how
    many do is binomial at each difficulty. Wrong answers that happen to coincide among the further ones are left out.
    Further ones count as equals, at their mean; one that is too weak for that is not listened to, so gains never fall.
    """
    if not posterior.exclusive or len(posterior.joint) < 2:
        return _open_gains(posterior, priors, correlation)
    rows = posterior.joint
    totals = [sum(row) for row in rows]
    leader = 1 + (posterior.leader or 0)
    out: list[float] = []
    for r in range(1, min(len(priors), MAX_LOOKAHEAD) + 1):
        chance = _mean_chance(tuple(priors[:r]), correlation.difficulty_sd)
        votes = [_vote(p, correlation.error_concentration) for p in chance]
        gain = 0.0
        for h, row in enumerate(rows):
            if h == leader or totals[h] < TINY:
                continue
            behind = math.log(max(totals[leader], TINY) / totals[h])
            vote = sum(map(mul, row, votes)) / totals[h]
            need = max(1, math.floor(behind / vote) + 1)
            if need <= r:
                gain += sum(x * _at_least(need, r, p) for x, p in zip(row, chance, strict=True))
        out.append(max([gain, *out[-1:]]))
    return out


def updated_priors(posterior: Posterior, priors: Sequence[float], correlation: ErrorCorrelation) -> list[float]:
    """P(right) of models not heard yet: their priors, given how difficult the answers so far make the query look."""
    difficulty = [sum(row[k] for row in posterior.joint) for k in range(len(DIFFICULTY_NODES))]
    return [
        sum(w * c for w, c in zip(difficulty, _curve(_kept(p), correlation.difficulty_sd), strict=True)) for p in priors
    ]


def probability_any_right(priors: Sequence[float], correlation: ErrorCorrelation) -> float:
    """P(at least one of these models answers well), their errors correlated by difficulty."""
    total = 0.0
    for k, w in enumerate(DIFFICULTY_WEIGHTS):
        nobody = 1.0
        for p in priors:
            nobody *= 1.0 - _curve(_kept(p), correlation.difficulty_sd)[k]
        total += w * (1.0 - nobody)
    return min(total, 1.0)


def _weighed(logs: list[list[float]], own: Sequence[float], said: Sequence[float], trust: float) -> Posterior:
    """Joint probabilities of rows of logarithms: their odds against row 0, tempered beyond `own`, and the evidence."""
    tops = [max(row) for row in logs]
    totals = [t + math.log(sum(math.exp(x - t) for x in row)) for t, row in zip(tops, logs, strict=True)]
    odds = [0.0, *(o + trust * (t - totals[0] - o) + e for t, o, e in zip(totals[1:], own, said, strict=True))]
    top = max(odds)
    weights = [math.exp(x - top) for x in odds]
    scale = sum(weights)
    joint = tuple(
        tuple(w / scale * math.exp(x - t) for x in row) for row, w, t in zip(logs, weights, totals, strict=True)
    )
    return Posterior(joint, tuple(w / scale for w in weights[1:]))


def _open(votes: Sequence[Vote], correlation: ErrorCorrelation, said: Sequence[float], count: int) -> Posterior:
    """Each group by its best member's prior and the evidence; who agrees with whom says nothing by itself."""
    right: list[float] = []
    for g in range(count):
        right.append(_sigmoid(prior_log_odds(max(v.prior for v in votes if v.group == g)) + said[g]))
    if not right:
        return Posterior((DIFFICULTY_WEIGHTS,), (), False)
    sure = max(right)
    best = max((v.prior for v in votes), default=0.5)
    curve = _curve(_kept(best), correlation.difficulty_sd)
    yes, no = (
        [w * p for w, p in zip(DIFFICULTY_WEIGHTS, curve, strict=True)],
        [w * (1 - p) for w, p in zip(DIFFICULTY_WEIGHTS, curve, strict=True)],
    )
    return Posterior(
        (tuple(x * (1 - sure) / sum(no) for x in no), tuple(x * sure / sum(yes) for x in yes)), tuple(right), False
    )


def _open_gains(belief: Posterior, priors: Sequence[float], correlation: ErrorCorrelation) -> list[float]:
    """The first of the further answers that is right where the leader is not, if it is recognised."""
    lost = belief.joint[0]
    out: list[float] = []
    nobody = [1.0] * len(DIFFICULTY_WEIGHTS)
    seen = 1.0 / (1 + len(belief.probabilities))  # that the one right answer among so many is recognised
    for p in priors[:MAX_LOOKAHEAD]:
        nobody = [x * (1.0 - c) for x, c in zip(nobody, _curve(_kept(p), correlation.difficulty_sd), strict=True)]
        out.append(seen * sum(x * (1.0 - n) for x, n in zip(lost, nobody, strict=True)))
    return out


def _counts(votes: Sequence[Vote], correlation: ErrorCorrelation) -> list[float]:
    """What each vote counts: less for kin of one that came before in its group, and for answers not independent."""
    out: list[float] = []
    for i, vote in enumerate(votes):
        before = [v.model for v in votes[:i] if v.group == vote.group and v.group is not None]
        nearest = max((correlation.between(vote.model, name) for name in before), default=0.0)
        first = vote.group is not None and not before  # it copied nobody
        out.append((1.0 if first else vote.weight) * (1.0 - nearest))
    return out


def _coincide(sizes: Sequence[float], scatter: float) -> float:
    """Log-probability that wrong answers fall into groups of these sizes."""
    total = sum(sizes)
    if not total:
        return 0.0
    lonely = len(sizes) * math.log(scatter) + math.lgamma(scatter) - math.lgamma(scatter + total)
    return lonely + sum(math.lgamma(s) for s in sizes)


def _vote(chance: float, scatter: float) -> float:
    """Log-odds that one more right answer adds, at least a half."""
    p = min(max(chance, 0.05), 0.95)
    return max(0.5, math.log(p / (1 - p) * (1 + scatter)))


def _at_least(k: int, n: int, p: float) -> float:
    """P(a binomial variable of n trials is k or more)."""
    if k == 1:
        return 1 - (1 - p) ** n
    return sum(math.comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(k, n + 1))


def _likelihoods(priors: Sequence[float], spread: float) -> tuple[list[tuple[float, ...]], list[tuple[float, ...]]]:
    """Log-probabilities of being right and of being wrong at each difficulty, for each prior."""
    curves = [_curve(_kept(p), spread) for p in priors]
    return (
        [tuple(math.log(max(c, 1e-12)) for c in curve) for curve in curves],
        [tuple(math.log(max(1 - c, 1e-12)) for c in curve) for curve in curves],
    )


def _mean_chance(priors: tuple[float, ...], spread: float) -> list[float]:
    curves = [_curve(_kept(p), spread) for p in priors]
    return [sum(c[k] for c in curves) / len(curves) for k in range(len(DIFFICULTY_NODES))]


def _kept(prior: float) -> float:
    return round(min(max(prior, 1 - MAX_PRIOR), MAX_PRIOR), 4)


@lru_cache(maxsize=4096)
def _curve(prior: float, spread: float) -> tuple[float, ...]:
    """P(right) at each difficulty, whose mean is about the prior (the logistic-normal approximation)."""
    ability = math.log(prior / (1 - prior)) * math.sqrt(1 + 0.346 * spread * spread)
    return tuple(_sigmoid(ability + spread * x) for x in DIFFICULTY_NODES)


def prior_log_odds(prior: float) -> float:
    """Log-odds of a prior, which is not believed beyond certainty."""
    p = _kept(prior)
    return math.log(p / (1 - p))


def _sigmoid(x: float) -> float:
    return 0.5 * (1.0 + math.tanh(0.5 * x))
