"""Baselines on one recorded question: fixed panels, votes, the dense mixtures, the cascade and the oracle. Pure.

No model writes in a replay. Where a method has an aggregator, the majority's answer stands in: it is the evidence that
an aggregator has, and all mixtures here are treated alike.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

from msgspec import Struct

from routemoa.evaluation.replay.recorded import JudgedAnswer, SimulatedJudge
from routemoa.evaluation.replay.token_counts import CallTotals, ReplayQuestion, combine_parallel
from routemoa.mixture import prompts
from routemoa.mixture.baselines.call_plan import PlannedCall, Stage, plan_moa, plan_smoa
from routemoa.mixture.baselines.cascade import SPOKEN
from routemoa.mixture.prompts import ReplyFormat

__all__ = ["MethodResult", "majority_vote", "run_cascade", "run_moa", "run_oracle", "run_panel", "run_smoa"]


class MethodResult(Struct, frozen=True):
    """The result of a method on one question."""

    choice: str | None
    """The model whose answer is chosen."""
    totals: CallTotals
    layers: tuple[tuple[str, ...], ...]
    """The models called in each layer."""
    stop: str
    """The reason to stop."""
    aggregator: str | None = None
    confidence: float | None = None
    """The posterior of the chosen answer, in [0, 1]."""


def majority_vote(question: ReplayQuestion, members: Sequence[str]) -> str | None:
    """Return the first member of the largest group of equal answers; None where no member answered.

    An answer that states no result has no vote; where none states one, the first answer is chosen.
    """
    counts = Counter(g for m in members if (g := question.group_of.get(m)) is not None)
    most = max(counts.values(), default=0)
    leading = {group for group, count in counts.items() if count == most}
    if leading:
        return next(m for m in members if question.group_of.get(m) in leading)
    answered = [m for m in members if m in question.texts]
    scored = [m for m in members if question.record.scores.get(m) is not None]
    return next(iter(answered or scored), None)


def run_panel(question: ReplayQuestion, members: Sequence[str]) -> MethodResult:
    """Call all members once and take the majority's answer."""
    totals = combine_parallel(question.count_proposal(m) for m in members)
    stop = f"one layer: the vote of {len(members)}"
    return MethodResult(majority_vote(question, members), totals, (tuple(members),), stop)


def run_moa(question: ReplayQuestion, members: Sequence[str], layers: int) -> MethodResult:
    """Run Mixture-of-Agents: all members in every layer, shown all answers of the layer before, and an aggregator.

    A model gives the same answer in each layer, since only one is recorded. `members` are best first.
    """
    answering = [m for m in members if m in question.texts]
    if not answering:
        return run_panel(question, members)
    stages = plan_moa(members, layers, answering, answering[0])
    totals = _count_stages(question, stages)
    return MethodResult(
        majority_vote(question, members),
        totals,
        layers=(tuple(members), *[tuple(answering)] * (layers - 1)),
        stop=f"last layer: {layers} of {layers}",
        aggregator=answering[0],
    )


def run_smoa(question: ReplayQuestion, members: Sequence[str], layers: int, keep: int) -> MethodResult:
    """Run Sparse Mixture-of-Agents: all members with roles, a moderator that keeps the best answers, an aggregator.

    The moderator keeps the answers of the largest groups, those of the best models first, and ends the debate when
    more than half of the answers are equal. `members` are best first.
    """
    answering = [m for m in members if m in question.texts]
    if not answering:
        return run_panel(question, members)
    counts = Counter(g for m in answering if (g := question.group_of[m]) is not None)
    votes = {m: 0 if (g := question.group_of[m]) is None else counts[g] for m in answering}
    kept = sorted(answering, key=lambda m: -votes[m])[:keep]
    has_majority = max(counts.values(), default=0) > len(answering) / 2
    ran = 1 if has_majority else layers
    stages = plan_smoa(members, layers, answering, answering[0], kept, ended_after=ran)
    totals = _count_stages(question, stages, len(kept), {m: _role_length(i) for i, m in enumerate(members)})
    last_layer = f"last layer: {layers} of {layers}"
    stop = f"ended by the moderator after layer {ran}" if has_majority else last_layer
    called = (tuple(members), *[tuple(answering)] * (ran - 1))
    return MethodResult(majority_vote(question, members), totals, called, stop, answering[0])


def _count_stages(
    question: ReplayQuestion,
    stages: Iterable[Stage[str]],
    keep: int = 0,
    roles: Mapping[str, int] = MappingProxyType({}),
) -> CallTotals:
    """Add up the calls of a dense mixture.

    Args:
        keep: how many answers the moderator keeps.
        roles: the characters of each model's role.
    """

    def count(call: PlannedCall[str]) -> CallTotals:
        if call.kind == "moderation":
            return question.count_moderation(call.model, call.shown, keep)
        if call.kind == "aggregation":  # the best shown answer stands in for the text that no model wrote
            return question.count_aggregation(call.model, call.shown, call.shown[0])
        return question.count_proposal(call.model, call.shown, system_length=roles.get(call.model, 0))

    return sum((combine_parallel(map(count, stage)) for stage in stages), CallTotals())


def run_cascade(question: ReplayQuestion, members: Sequence[str], judge: SimulatedJudge | None) -> MethodResult:
    """Call one model after the other, in the order of `members`, until an answer is confident.

    With a judge the model's own score decides, as live (`mixture.baselines.Cascade`). Without one, an answer is final
    once a second model gives it too.
    """
    reply_format = ReplyFormat(self_score=True)
    totals, answered, stop = CallTotals(), list[str](), "last model: none was sure"
    self_scores: dict[str, float] = {}
    for model in members:
        totals += question.count_proposal(model, reply_format=reply_format)
        if model not in question.texts:
            continue
        answered.append(model)
        if judge is not None:
            answer = JudgedAnswer(model, question.texts[model], question.record.scores.get(model))
            score = judge.score(model, question.record.id, answer)
            self_scores[model] = -1.0 if score is None else score
            if self_scores[model] >= SPOKEN:
                stop = f"confident: {model} at {self_scores[model]:.3f}"
                break
        elif (group := question.group_of[model]) is not None and any(
            question.group_of[other] == group for other in answered[:-1]
        ):
            stop = f"agreed: {model} gave an answer that was given before"
            break
    called = tuple((m,) for m in members[: totals.calls])
    if not answered:
        return MethodResult(majority_vote(question, members), totals, called, "no model answered")
    choice = max(answered, key=lambda m: (self_scores.get(m, 0.0), answered.index(m)))
    return MethodResult(choice, totals, called, stop)


def run_oracle(question: ReplayQuestion, members: Sequence[str]) -> MethodResult:
    """Call the model with the best recorded score, the first of `members` among equals: an upper bound for routing."""
    scores = question.record.scores
    candidates = [m for m in members if scores.get(m) is not None] or [m for m in members if m in question.texts]
    best = max(candidates, key=lambda m: scores.get(m) or 0.0, default=None)
    called = members[:1] if best is None else (best,)
    totals = combine_parallel(question.count_proposal(m) for m in called)
    return MethodResult(best, totals, (tuple(called),), "the scores were looked at")


def _role_length(number: int) -> int:
    """Return the characters of the system text that gives a model its role."""
    return len(prompts.role_prompt(prompts.ROLES[number % len(prompts.ROLES)]))
