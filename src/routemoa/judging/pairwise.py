"""What a judge's comparison of two answers is worth, and the knock-out that it decides. Pure.

A judge is asked in both orders, after Zheng et al. 2023 (arXiv 2306.05685, section 3.4), and believed where it agrees
with itself. Its word is evidence against the priors of the two models, not instead of them: on JudgeBench o1-mini was
right on 86 % of the pairs on which its orders agreed, and reward models on 59 to 65 %.
"""

from __future__ import annotations

import math
import re
from typing import Literal

from routemoa.judging.judge_model import PairwiseJudge

__all__ = ["ASSUMED_ACCURACY", "Verdict", "beats", "combine_orders", "parse_verdict"]

Verdict = Literal["first", "second", "tie"]

ASSUMED_ACCURACY = 0.75
"""How often a judge of which nothing was measured is right where its orders agree: between the recorded judges of
JudgeBench, which are right on 59 to 86 % of the pairs."""
CERTAIN = 0.99
"""No judge and no prior counts as surer than this."""
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


def beats(
    verdict: Verdict | None,
    priors: tuple[float | None, float | None],
    lengths: tuple[int, int],
    judge: PairwiseJudge,
) -> bool:
    """Return whether the second answer displaces the first; without a verdict, or at a tie, the first one stands.

        log-odds = log-odds of the judge + log-odds of the second model's prior over the first's
                   - length coefficient * ln(length of the second / length of the first)

    Args:
        verdict: of both orders together.
        priors: P(good answer) of the two models; where one is None, they count as equal.
        lengths: of the two answers, in characters.
        judge: how well it judges; its length coefficient takes away what it gives to an answer for its length alone.
    """
    if verdict != "second":
        return False
    evidence = _log_odds(ASSUMED_ACCURACY if judge.accuracy is None else judge.accuracy)
    first, second = priors
    if first is not None and second is not None:
        evidence += _log_odds(second) - _log_odds(first)
    return evidence - judge.length * math.log(max(1, lengths[1]) / max(1, lengths[0])) > 0.0


def _log_odds(probability: float) -> float:
    bounded = min(CERTAIN, max(1.0 - CERTAIN, probability))
    return math.log(bounded / (1.0 - bounded))
