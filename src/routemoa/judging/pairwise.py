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
from collections.abc import Iterator, Sequence
from itertools import combinations
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
SMALLEST_GAIN = 1e-9
"""Of P(good answer): less is an error of rounding."""
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
    covariate, as AlpacaEval's length-controlled win rates). The answer most likely good is the champion. The next pair
    is the one whose verdict is expected to gain most: P(good) of the champion after it less that of the champion now.
    Where no verdict could change the champion the knock-out ends, so a judge that is right half of the time is never
    asked. A champion meets answers again that lost to another one, as long as that could change the choice.

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
        self._all_good = _sum_supersets(self._weights)
        self._met: set[tuple[int, int]] = set()

    @property
    def champion(self) -> int:
        """The answer most likely good, the earlier one among equals."""
        return _best([self._all_good[1 << i] for i in self._places])

    def next_pair(self) -> tuple[int, int] | None:
        """Return the pair whose verdict gains most, the champion first; None where no verdict could change it."""
        champion = self.champion
        gains = {
            pair: self._expect_gain(pair, champion) for pair in combinations(self._places, 2) if pair not in self._met
        }
        pair = max(gains, key=lambda pair: round(gains[pair], 9), default=None)
        if pair is None or gains[pair] < SMALLEST_GAIN:
            return None
        return pair if pair[1] != champion else (pair[1], pair[0])

    def record(self, pair: tuple[int, int], verdict: Verdict | None) -> None:
        """Note what the judge said of a pair; a tie or no verdict changes nothing."""
        self._met.add((min(pair), max(pair)))
        if verdict is None or verdict == "tie":
            return
        first, second = pair
        likelihood = self._likelihood(pair, verdict)
        weights = [w * likelihood[(good >> first & 1) - (good >> second & 1)] for good, w in enumerate(self._weights)]
        total = sum(weights)
        self._weights = [w / total for w in weights]
        self._all_good = _sum_supersets(self._weights)

    @property
    def _places(self) -> range:
        return range(len(self._answers))

    def _expect_gain(self, pair: tuple[int, int], champion: int) -> float:
        """Return by how much a verdict is expected to raise P(good) of the answer that is chosen.

        Args:
            pair: which is compared.
            champion: now.
        """
        all_good = self._all_good
        first, second = 1 << pair[0], 1 << pair[1]
        gain = 0.0
        for verdict in ("first", "second"):
            likelihood = self._likelihood(pair, verdict)
            chances = []  # of each answer to be good and the verdict to be this one
            for bit in (1 << i for i in self._places):
                both = all_good[bit | first | second]
                only_first, only_second = all_good[bit | first] - both, all_good[bit | second] - both
                equal = all_good[bit] - only_first - only_second
                chances.append(only_first * likelihood[1] + only_second * likelihood[-1] + equal * likelihood[0])
            gain += max(chances) - chances[champion]
        return gain

    def _likelihood(self, pair: tuple[int, int], verdict: Verdict) -> dict[int, float]:
        """Return P(verdict) where the first alone is good (1), both or none are (0), the second alone is (-1)."""
        accuracy = ASSUMED_ACCURACY if self._judge.accuracy is None else self._judge.accuracy
        judge = prior_log_odds(max(0.5, accuracy))  # one that is wrong more often than right is no oracle reversed
        first, second = (max(1, self._answers[i].length) for i in pair)
        for_length = self._judge.length * math.log(first / second)
        sign = 1.0 if verdict == "first" else -1.0
        return {better: sigmoid(sign * (judge * better + for_length)) for better in (1, 0, -1)}


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


def _joint_prior(priors: Sequence[float], difficulty_sd: float) -> list[float]:
    """Return the probability of each set of good answers; bit i of its place stands for answer i."""
    curves = [success_curve(p, difficulty_sd) for p in priors]
    weights = []
    for good in range(1 << len(priors)):
        total = 0.0
        for node, weight in enumerate(DIFFICULTY_WEIGHTS):
            chances = [curve[node] if good >> i & 1 else 1.0 - curve[node] for i, curve in enumerate(curves)]
            total += weight * math.prod(chances)
        weights.append(total)
    return weights


def _sum_supersets(weights: Sequence[float]) -> list[float]:
    """Return for each set the weight of all sets that hold it: the probability that its answers are good."""
    sums, bit = list(weights), 1
    while bit < len(sums):
        for good in range(len(sums)):
            if not good & bit:
                sums[good] += sums[good | bit]
        bit <<= 1
    return sums


def _best(values: Sequence[float]) -> int:
    return max(range(len(values)), key=lambda i: (round(values[i], 12), -i))
