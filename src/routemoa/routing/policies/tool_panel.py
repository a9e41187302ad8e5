"""How a panel decides on calls of tools: smaller than on answers, and sure sooner. Pure.

Equal sets of calls are stronger evidence than equal results: on recorded calls (BFCL, half of the questions) the first
two models agree on 70 to 80 % and are then right 97 to 98 % of the time, and beyond four calls nothing was gained.
Where two of three agree, a fourth can only even it, and is asked under `prefer = "quality"` alone.
"""

from __future__ import annotations

from msgspec.structs import replace

from routemoa.core.tables.mixture_table import Mixture
from routemoa.judging.judge_model import JudgeModel

__all__ = ["call_vote_weight", "judge_calls", "mix_calls"]

MAX_MODELS, MAX_MODELS_FOR_QUALITY = 4, 5
SURE = 0.95
"""The posterior above which a set of calls stands, except under `prefer = "quality"`."""
VOTES = 0.75
"""What agreement on calls is worth at least; learned from answers it may be less."""


def mix_calls(mixture: Mixture) -> Mixture:
    """Return the mixture as it decides on calls of tools."""
    if mixture.prefer == "quality":
        return replace(mixture, max_models=min(mixture.max_models, MAX_MODELS_FOR_QUALITY))
    sure = SURE if mixture.stop_confidence is None else mixture.stop_confidence
    return replace(mixture, max_models=min(mixture.max_models, MAX_MODELS), stop_confidence=sure)


def judge_calls(judge_model: JudgeModel) -> JudgeModel:
    """Return the judge model as it is for calls of tools."""
    known = judge_model.coefficients
    return replace(judge_model, coefficients=replace(known, votes=max(known.votes, VOTES)))


def call_vote_weight(mixture: Mixture, judge_model: JudgeModel) -> float | None:
    """Return what an agreeing call counts for in the look-ahead; None looks further, at full weight."""
    return None if mixture.prefer == "quality" else judge_model.coefficients.votes
