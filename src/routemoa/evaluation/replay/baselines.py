"""The other methods on one record: fixed panels and votes, the dense mixtures, the cascade, the oracle. Pure.

Nobody writes in a replay: where an aggregator would, the answer that most gave stands in. It is what an aggregator
has to go by, and every mixture here is treated so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from msgspec import Struct

from routemoa.evaluation.replay.recorded import JudgedAnswer, SimulatedJudge
from routemoa.evaluation.replay.token_counts import CallTotals, ReplayQuestion, combine_parallel
from routemoa.mixture import prompts
from routemoa.mixture.baselines.cascade import SPOKEN
from routemoa.mixture.prompts import ReplyFormat

__all__ = ["MethodResult", "majority_vote", "run_cascade", "run_moa", "run_oracle", "run_panel", "run_smoa"]


class MethodResult(Struct, frozen=True):
    """Whose answer stands, what it took, and how it came about."""

    choice: str | None
    totals: CallTotals
    layers: tuple[tuple[str, ...], ...]
    stop: str
    aggregator: str | None = None
    confidence: float | None = None


def majority_vote(page: ReplayQuestion, members: Sequence[str]) -> str | None:
    """Whose answer the most members gave, ties to the one named first; None where nobody answered.

    An answer that states no result has no vote; where none has, the first answer stands.
    """
    counts = Counter(g for m in members if (g := page.group_of.get(m)) is not None)
    top = max(counts.values(), default=0)
    leading = {g for g, n in counts.items() if n == top}
    if leading:
        return next(m for m in members if page.group_of.get(m) in leading)
    told = [m for m in members if m in page.texts] or [m for m in members if page.record.scores.get(m) is not None]
    return told[0] if told else None


def run_panel(page: ReplayQuestion, members: Sequence[str]) -> MethodResult:
    """One layer, asked for answers alone, and the majority of them."""
    spent = combine_parallel(page.count_proposal(m) for m in members)
    return MethodResult(
        majority_vote(page, members), spent, (tuple(members),), f"one layer: the vote of {len(members)}"
    )


def run_moa(page: ReplayQuestion, members: Sequence[str], layers: int) -> MethodResult:
    """Mixture-of-Agents: everybody in every layer, shown all answers of the layer before, and one aggregator.

    A model writes the same in each layer: only one answer of each is recorded. `members` are best first.
    """
    able = [m for m in members if m in page.texts]
    if not able:
        return run_panel(page, members)
    later = combine_parallel(page.count_proposal(m, able) for m in able)
    spent = combine_parallel(page.count_proposal(m) for m in members)
    for _ in range(layers - 1):
        spent += later
    spent += page.count_aggregation(able[0], able, able[0])
    stages = (tuple(members), *[tuple(able)] * (layers - 1))
    return MethodResult(majority_vote(page, members), spent, stages, f"last layer: {layers} of {layers}", able[0])


def run_smoa(page: ReplayQuestion, members: Sequence[str], layers: int, keep: int) -> MethodResult:
    """Sparse Mixture-of-Agents: everybody in a role, a moderator keeps the best and ends the debate, an aggregator.

    The moderator goes by what a replay knows: it keeps answers that most gave, of the best models first, and ends the
    debate when more than half of all say the same. `members` are best first.
    """
    able = [m for m in members if m in page.texts]
    if not able:
        return run_panel(page, members)
    counts = Counter(g for m in able if (g := page.group_of[m]) is not None)
    backing = {m: 0 if (g := page.group_of[m]) is None else counts[g] for m in able}
    kept = sorted(able, key=lambda m: -backing[m])[:keep]
    agreed = max(counts.values(), default=0) > len(able) / 2
    spent, stages, shown = CallTotals(), [], list[str]()
    for number in range(1, layers + 1):
        cast = members if number == 1 else able
        spent += combine_parallel(page.count_proposal(m, shown, system=_role(members.index(m))) for m in cast)
        stages.append(tuple(cast))
        shown = kept
        if number < layers or len(able) > keep:
            spent += page.count_moderation(able[0], able, min(keep, len(able)))
        if agreed:
            break
    spent += page.count_aggregation(able[0], kept, kept[0])
    stop = f"ended by the moderator after layer {len(stages)}" if agreed else f"last layer: {layers} of {layers}"
    return MethodResult(majority_vote(page, members), spent, tuple(stages), stop, able[0])


def run_cascade(page: ReplayQuestion, members: Sequence[str], judge: SimulatedJudge | None) -> MethodResult:
    """One after the other, the cheapest first; `members` come in that order.

    With a judge a model's own score decides, as live (`mixture.baselines.Cascade`). Records hold none: without a judge
    an answer stands once a second model gives it too.
    """
    asked = ReplyFormat(self_score=True)
    spent, heard, stop = CallTotals(), list[str](), "last model: none was sure"
    sure: dict[str, float] = {}
    for m in members:
        spent += page.count_proposal(m, reply_format=asked)
        if m not in page.texts:
            continue
        heard.append(m)
        if judge is not None:
            own = judge.score(m, page.record.id, JudgedAnswer(m, page.texts[m], page.record.scores.get(m)))
            sure[m] = -1.0 if own is None else own
            if sure[m] >= SPOKEN:
                stop = f"confident: {m} at {sure[m]:.3f}"
                break
        elif (says := page.group_of[m]) is not None and any(page.group_of[o] == says for o in heard[:-1]):
            stop = f"agreed: {m} gave an answer that was given before"
            break
    done = tuple((m,) for m in members[: spent.calls])
    if not heard:
        return MethodResult(majority_vote(page, members), spent, done, "no model answered")
    choice = max(heard, key=lambda m: (sure.get(m, 0.0), heard.index(m)))
    return MethodResult(choice, spent, done, stop)


def run_oracle(page: ReplayQuestion, members: Sequence[str]) -> MethodResult:
    """The model that is known to be right, the best of `members` first: what no method can beat."""
    known = [m for m in members if page.record.scores.get(m) is not None] or [m for m in members if m in page.texts]
    best = max(known, key=lambda m: page.record.scores.get(m) or 0.0, default=None)
    called = members[:1] if best is None else (best,)
    return MethodResult(
        best, combine_parallel(page.count_proposal(m) for m in called), (tuple(called),), "the scores were looked at"
    )


def _role(number: int) -> int:
    """Characters of the system text that gives a model its role."""
    return len(prompts.role_prompt(prompts.ROLES[number % len(prompts.ROLES)]))
