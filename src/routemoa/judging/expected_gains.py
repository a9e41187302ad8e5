"""What would further answers tell? The expected gain in P(chosen answer is right) from calling more models. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate
from operator import mul

from msgspec import Struct

from routemoa.judging.difficulty import Curve, mean_success_curve, success_curve
from routemoa.judging.posterior import ErrorCorrelation, Posterior

__all__ = ["MAX_LOOKAHEAD", "expected_gains"]

MAX_LOOKAHEAD = 6
"""Further answers that are considered at most."""
MIN_PROBABILITY = 1e-12
"""A less probable hypothesis is impossible."""
MIN_AGREEMENT_LOG_ODDS = 0.5
"""One more right answer adds at least this to the log-odds of the truth."""
SUCCESS_BOUNDS = (0.05, 0.95)
"""Of a model's success where its log-odds are taken: no model is so good, or so bad, that one answer settles all."""


def expected_gains(
    posterior: Posterior, priors: Sequence[float], correlation: ErrorCorrelation, vote_weight: float = 1.0
) -> list[float]:
    """Return by how much P(chosen answer is right) is expected to rise with the next 1, 2, ... of `priors`.

    At most MAX_LOOKAHEAD values, which never fall. `vote_weight` multiplies the log-odds that an agreeing answer adds.
    """
    considered = priors[:MAX_LOOKAHEAD]
    if not posterior.exclusive or len(posterior.joint) < 2:
        return _open_gains(posterior, considered, correlation)
    return _closed_gains(posterior, considered, correlation, vote_weight)


class _Challenger(Struct, frozen=True):
    """A hypothesis of a closed question that may win against the leader."""

    joint: Curve
    probability: float
    deficit: float
    """Log-odds by which it is behind the leader."""


def _closed_gains(
    posterior: Posterior, priors: Sequence[float], correlation: ErrorCorrelation, vote_weight: float
) -> list[float]:
    """Return the gains for a closed question, where answers that agree with the truth add up.

    The truth, where it is not the leader, wins once as many of the further answers name it as its deficit takes; how
    many do is binomial at each difficulty. That wrong ones among the further answers coincide by chance is left out.
    Further models count as equals, at their mean. A model too weak for that need not be followed, so gains never fall.
    """
    challengers = _challengers(posterior)
    gains: list[float] = []
    for calls in range(1, len(priors) + 1):
        success = mean_success_curve(priors[:calls], correlation.difficulty_sd)
        agreement = [vote_weight * _agreement_log_odds(p, correlation.error_concentration) for p in success]
        gain = 0.0
        for challenger in challengers:
            log_odds_per_answer = sum(map(mul, challenger.joint, agreement)) / challenger.probability
            needed = max(1, math.floor(challenger.deficit / log_odds_per_answer) + 1)
            if needed <= calls:
                gain += sum(
                    x * _binomial_tail(needed, calls, p) for x, p in zip(challenger.joint, success, strict=True)
                )
        gains.append(gain)
    return list(accumulate(gains, max))


def _challengers(posterior: Posterior) -> list[_Challenger]:
    totals = [sum(row) for row in posterior.joint]
    leader = 1 + (posterior.leader or 0)
    return [
        _Challenger(row, total, math.log(max(totals[leader], MIN_PROBABILITY) / total))
        for h, (row, total) in enumerate(zip(posterior.joint, totals, strict=True))
        if h != leader and total >= MIN_PROBABILITY
    ]


def _agreement_log_odds(success: float, error_concentration: float) -> float:
    """Return the log-odds that one more right answer adds to the truth."""
    low, high = SUCCESS_BOUNDS
    p = min(max(success, low), high)
    return max(MIN_AGREEMENT_LOG_ODDS, math.log(p / (1 - p) * (1 + error_concentration)))


def _binomial_tail(k: int, n: int, p: float) -> float:
    """Return P(at least k of n trials succeed)."""
    if k == 1:
        return 1 - (1 - p) ** n
    return sum(math.comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(k, n + 1))


def _open_gains(posterior: Posterior, priors: Sequence[float], correlation: ErrorCorrelation) -> list[float]:
    """Return the gains for an open question: a further answer is right where the leader is not, and is recognized.

    The one right answer is recognized with one chance in as many as there are groups, itself included.
    """
    leader_wrong = posterior.joint[0]
    recognized = 1.0 / (1 + len(posterior.probabilities))
    gains: list[float] = []
    all_wrong = [1.0] * len(leader_wrong)
    for prior in priors:
        curve = success_curve(prior, correlation.difficulty_sd)
        all_wrong = [x * (1.0 - p) for x, p in zip(all_wrong, curve, strict=True)]
        gains.append(recognized * sum(x * (1.0 - q) for x, q in zip(leader_wrong, all_wrong, strict=True)))
    return gains
