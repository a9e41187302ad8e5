"""The part of a run of learning that fits the judge model on outcomes, and compares it with the one in use."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from routemoa.core.pool_file.pool import Pool
from routemoa.core.text.plural import counted
from routemoa.evaluation.shadow_judge import JudgeShadow, ShadowedPanel, compare_judges
from routemoa.judging.judge_model import JudgeModel
from routemoa.judging.pool_judge import PoolJudge, digest_judge_file
from routemoa.training.judge.outcome_fit import RecordedPanel, fit_on_outcomes
from routemoa.training.prior_shifts import NOISE

__all__ = ["FittedJudge", "explain_judge", "learn_judge"]


class FittedJudge(Struct, frozen=True):
    """A judge model that outcomes teach, and how it does beside the one in use."""

    judge_model: JudgeModel
    base: str
    """The digest of the pool's own judge model, which the fit started from."""
    result: JudgeShadow


def learn_judge(pool: Pool, judge: PoolJudge, panels: Sequence[RecordedPanel]) -> FittedJudge | None:
    """Return what outcomes teach of judging; None where they are too few, or the pool's policy does not follow it."""
    mixture = pool.mixture
    if len(panels) < pool.learning.min_outcomes or not mixture.is_adaptive:
        return None
    fit = fit_on_outcomes(panels, judge.base, judge.judge_model, pool.models, verbalized=mixture.assesses_in_words)
    shadowed = [
        ShadowedPanel(panel.scores, before.probabilities, after.probabilities, before.choice, after.choice)
        for panel, before, after in zip(panels, fit.before, fit.after, strict=True)
    ]
    result = compare_judges(shadowed, NOISE)
    models = tuple(dict.fromkeys(p.model for panel in panels for lay in panel.trace.layers for p in lay.proposals))
    facts: dict[str, float | int | str] = {"outcomes": len(panels)}
    if result.loss is not None:
        facts["log_loss_gain_held_out"] = round(result.loss.mean, 4)
    return FittedJudge(replace(fit.judge_model, fitted=facts, models=models), digest_judge_file(pool.judge), result)


def explain_judge(result: JudgeShadow) -> str:
    """Return why a judge model is taken over, or is not, in one line."""
    said = f"the judge model, on {counted(result.outcomes, 'outcome')}"
    if result.better:
        return f"{said}: its probabilities are truer, and the choice is no worse"
    if result.loss is not None and result.loss.low > 0:
        return f"{said}: its probabilities are truer, but the choice is worse or they are too few"
    return f"{said}: its probabilities are not truer with their whole interval"
