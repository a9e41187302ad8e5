"""What a judge's comparison of two answers is worth, and the knock-out that it decides. Pure.

    selection = AnswerSelection("judge", answers, prior, reliability)
    for first, second in selection:
        selection.record(prefers(first, second), prefers(second, first))
    best, *others = selection.answers

A judge is asked in both orders, after Zheng et al. 2023 (arXiv 2306.05685, section 3.4), and believed where it agrees
with itself. Its word is evidence against the priors of the two models, not instead of them: on JudgeBench o1-mini was
right on 86 % of the pairs on which its orders agreed, and reward models on 59 to 65 %.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from msgspec import Struct

from routemoa.core.trace import Comparison, Proposal
from routemoa.core.types import Scores
from routemoa.judging.difficulty import DIFFICULTY_WEIGHTS, prior_log_odds, sigmoid, success_curve
from routemoa.judging.judge_model import PairwiseJudge

__all__ = [
    "ASSUMED_ACCURACY",
    "AnswerSelection",
    "Contestant",
    "KnockOut",
    "Verdict",
    "combine_orders",
    "parse_verdict",
]

Verdict = Literal["first", "second", "tie"]

ASSUMED_ACCURACY = 0.75
"""How often a judge of which nothing was measured is right where its orders agree: between the recorded judges of
JudgeBench, which are right on 59 to 86 % of the pairs."""
MAX_CONTESTANTS = 9
"""Answers of a knock-out: as many as a panel has by default."""
_MARKED = re.compile(r"\[\[\s*(A|B|C|tie)\s*\]\]", re.IGNORECASE)
_BARE = re.compile(r"\W*(A|B|C|tie)\W*", re.IGNORECASE)
_VERDICTS: dict[str, Verdict] = {"a": "first", "b": "second", "c": "tie", "tie": "tie"}


def parse_verdict(reply: str) -> Verdict | None:
    """Return which answer a reply prefers, "first" where that is A; None where it cannot be read."""
    marked = _MARKED.findall(reply)
    if not marked and (bare := _BARE.fullmatch(reply.strip())):
        marked = [bare[1]]
    return _VERDICTS[marked[-1].casefold()] if marked else None


def combine_orders(forwards: Verdict | None, backwards: Verdict | None) -> Verdict | None:
    """Return what both verdicts on a pair say together: "tie" where they contradict each other, None where one lacks.

    Args:
        forwards: of the pair as it is.
        backwards: of the pair in the other order.
    """
    if forwards is None or backwards is None:
        return None
    turned: Verdict = {"first": "second", "second": "first", "tie": "tie"}[backwards]  # type: ignore[assignment]
    return forwards if forwards == turned else "tie"


class Contestant(Struct, frozen=True):
    """An answer to an open question."""

    prior: float | None
    """P(good answer) of its model; None is unknown, and then it counts as the mean of the others."""
    length: int
    """Characters."""


class KnockOut:
    """Which answers to compare next, and which one is best by the verdicts so far.

    Each answer is good or not; the priors and the difficulty that the models share (`difficulty`) say how likely. A
    judge that agrees with itself prefers the better answer with the probability of its accuracy:

        P(first preferred) = sigmoid(judge * (first good - second good) + length * ln(first's length / second's))

    with `judge` the log-odds of its accuracy and `length` its length coefficient (a Bradley-Terry model with a
    covariate, as AlpacaEval's length-controlled win rates). The answer most likely good is the champion, and meets the
    next one that could displace it.

    Args:
        answers: by prior, best first; at most MAX_CONTESTANTS of them take part.
        judge: how well it judges.
    """

    def __init__(self, answers: Sequence[Contestant], judge: PairwiseJudge) -> None:
        self._answers = answers[:MAX_CONTESTANTS]
        self._judge = judge
        known = [a.prior for a in self._answers if a.prior is not None]
        mean = sum(known) / len(known) if known else 0.5
        priors = [mean if a.prior is None else a.prior for a in self._answers]
        self._weights = _joint_prior(priors, judge.difficulty_sd)
        self._met: set[int] = set()

    @property
    def champion(self) -> int:
        """The answer most likely good, the earlier one among equals."""
        return _best(_marginals(self._weights, len(self._answers)))

    def next_pair(self) -> tuple[int, int] | None:
        """Return the champion and the answer to compare it with; None where no verdict could change the champion."""
        champion = self.champion
        for other in range(len(self._answers)):
            if other == champion or other in self._met:
                continue
            if _best(_marginals(self._update(champion, other, "second"), len(self._answers))) != champion:
                return champion, other
        return None

    def record(self, pair: tuple[int, int], verdict: Verdict | None) -> None:
        """Note what the judge said of a pair; a tie or no verdict changes nothing."""
        first, second = pair
        self._met.add(second)
        if verdict is not None and verdict != "tie":
            self._weights = self._update(first, second, verdict)
            self._met.add(first if verdict == "second" else second)

    def _update(self, first: int, second: int, verdict: Verdict) -> dict[int, float]:
        """Return the weight of each set of good answers after a verdict."""
        accuracy = ASSUMED_ACCURACY if self._judge.accuracy is None else self._judge.accuracy
        judge = prior_log_odds(accuracy)
        lengths = max(1, self._answers[first].length), max(1, self._answers[second].length)
        for_length = self._judge.length * math.log(lengths[0] / lengths[1])
        sign = 1.0 if verdict == "first" else -1.0
        return {
            good: weight * sigmoid(sign * (judge * ((good >> first & 1) - (good >> second & 1)) + for_length))
            for good, weight in self._weights.items()
        }


class AnswerSelection:
    """Selects one of several answers to an open question. Iterating gives the pairs to compare, one after the other.

    Each pair must be settled with `record` before the next one: it depends on the verdicts so far.

    Args:
        judge: the model that compares, or what stands for it.
        answers: by prior, best first; the first one stands at a tie and where the judge says nothing.
        prior: P(good answer) of each model.
        reliability: how well the judge judges.
    """

    def __init__(self, judge: str, answers: Sequence[Proposal], prior: Scores, reliability: PairwiseJudge) -> None:
        self._judge = judge
        self._answers = tuple(answers)
        self._knockout = KnockOut([Contestant(prior.get(a.model), len(a.text)) for a in answers], reliability)
        self._pair: tuple[int, int] | None = None

    def __iter__(self) -> Iterator[tuple[Proposal, Proposal]]:
        while (pair := self._knockout.next_pair()) is not None:
            self._pair = pair
            yield self._answers[pair[0]], self._answers[pair[1]]

    def record(self, forwards: Verdict | None, backwards: Verdict | None) -> Comparison:
        """Note what the judge said of the last pair, in its order and in the other one; return the comparison."""
        if self._pair is None:
            raise ValueError("no pair was given out")
        pair, self._pair = self._pair, None
        self._knockout.record(pair, combine_orders(forwards, backwards))
        first, second = (self._answers[i].model for i in pair)
        return Comparison(self._judge, (first, second), (forwards, backwards), self.answers[0].model)

    @property
    def answers(self) -> tuple[Proposal, ...]:
        """The answers, the winner so far first."""
        champion = self._answers[self._knockout.champion]
        return (champion, *(a for a in self._answers if a is not champion))


def _joint_prior(priors: Sequence[float], difficulty_sd: float) -> dict[int, float]:
    """Return the probability of each set of good answers; bit i stands for answer i."""
    curves = [success_curve(p, difficulty_sd) for p in priors]
    weights: dict[int, float] = {}
    for good in range(1 << len(priors)):
        total = 0.0
        for node, weight in enumerate(DIFFICULTY_WEIGHTS):
            chances = [curve[node] if good >> i & 1 else 1.0 - curve[node] for i, curve in enumerate(curves)]
            total += weight * math.prod(chances)
        weights[good] = total
    return weights


def _marginals(weights: Mapping[int, float], count: int) -> list[float]:
    """Return P(good) of each answer, up to a common factor."""
    return [sum(weight for good, weight in weights.items() if good >> i & 1) for i in range(count)]


def _best(values: Sequence[float]) -> int:
    return max(range(len(values)), key=lambda i: (round(values[i], 12), -i))
