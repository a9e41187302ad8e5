"""What speaks for each answer besides the votes: self-assessments, peers' scores, likeness. Pure functions.

Every piece is a number around 0 whose worth in log-odds is a coefficient (`Judging`): absent evidence adds nothing.
Judges are robust by construction, each rule against one way of gaming them (figures: benchmarks/gaming.py):

    talking all others down        scores count less their judge's mean; the level of all moves nobody past another
    one score for everybody        scores weigh by how far they differ; equal ones weigh nothing
    praising oneself               one's view of oneself is no peer's view; spoken doubt counts, spoken praise does not
    praising each other            two judges who each put the other far above all else say nothing about each other
    obeying an answer's orders     who puts others above those that say what it says itself counts less
    lies about single answers      peers are combined by a weighted median; who contradicts the others counts less
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct

from routemoa.core.trace import Assessment
from routemoa.judging.answers.grouping import Groups
from routemoa.judging.posterior import ErrorCorrelation

__all__ = [
    "Coefficients",
    "JudgeModel",
    "Reliability",
    "Signals",
    "collect_signals",
    "credit_self_assessment",
    "estimate_reliability",
    "signal_log_odds",
]

PEERS = 1.0  # a score's worth of doubt: one peer counts half of what many count
CONTRARY = 0.15  # mean distance from the other judges (of scores less their means) that halves a judge's weight
SPREAD = 0.1  # between a judge's highest and lowest score: this much halves its weight
OWN = 0.5  # a score this far above those for answers that say what the judge itself says halves its weight
FAVOUR = 0.3  # a score this far above a judge's next highest is a favour, which is not returned for nothing


class Coefficients(Struct, frozen=True):
    """Log-odds that an answer is right, per unit of each signal; a conditional logit (McFadden 1974) over the answers.

    `votes` multiplies the log-odds of prior and agreement; `self` and `cross` are per unit of a score in [0, 1] above
    what is usual; `likeness` per unit of likeness with the other answers to an open question.
    """

    constant: float = 0.0
    votes: float = 0.85
    verbalized: float = 0.5
    logprob: float = 2.0
    cross: float = 2.5
    similarity: float = 1.0
    informed_vote: float = 0.5  # what the vote of a model counts that had the other answers in view


class Reliability(Struct, frozen=True):
    """How a model judges: `bias` is its mean score, `weight` in [0, 1] how well its scores tell right from wrong."""

    bias: float | None = None
    weight: float = 1.0


class JudgeModel(Struct, frozen=True):
    """All that is learned about judging; the defaults are for a pool of which nothing is known yet.

    `judges` are models as judges of others, `selves` as judges of themselves.
    """

    coefficients: Coefficients = Coefficients()
    correlation: ErrorCorrelation = ErrorCorrelation()
    peer_judges: dict[str, Reliability] = {}
    self_judges: dict[str, Reliability] = {}
    fitted: dict[str, float | int | str] = {}  # on what, and what it is worth: for people


class Signals(Struct, frozen=True):
    """The evidence for one group of answers; None is absent. `own` is the self-assessment above what is usual."""

    self_assessment: float | None = None
    cross_assessment: float | None = None
    similarity: float | None = None


def collect_signals(
    models: Sequence[str], groups: Groups, assessments: Sequence[Assessment], judge_model: JudgeModel
) -> tuple[Signals, ...]:
    """The evidence for each group of answers.

    Args:
        models: who gave each answer.
        groups: which answers say the same.
        assessments: all of the query so far; for a model judged twice, the later judgment counts.
        judging: what is known of the judges.
    """
    count = 1 + max((g for g in groups.group_of if g is not None), default=-1)
    own, cross = (
        _own(assessments, judge_model),
        _cross(assessments, judge_model, dict(zip(models, groups.group_of, strict=True))),
    )
    usual = [x for x in groups.similarity if x is not None]
    middle = sum(usual) / len(usual) if len(usual) > 2 else None  # of two answers each is as like as the other
    out: list[Signals] = []
    for g in range(count):
        places = groups.members(g)
        names = [models[i] for i in places]
        alike = [x - middle for i in places if middle is not None and (x := groups.similarity[i]) is not None]
        out.append(Signals(_mean(own, names), _mean(cross, names), max(alike, default=None)))
    return tuple(out)


def signal_log_odds(signals: Signals, judge_model: JudgeModel, *, verbalized: bool) -> float:
    """What the signals add to an answer's log-odds."""
    c = judge_model.coefficients
    parts = (
        (c.verbalized if verbalized else c.logprob, credit_self_assessment(signals.self_assessment, verbalized=verbalized)),
        (c.cross, signals.cross_assessment),
        (c.similarity, signals.similarity),
    )
    return c.constant + sum(w * x for w, x in parts if x is not None)


def credit_self_assessment(own: float | None, *, verbalized: bool) -> float | None:
    """What of a self-assessment counts: of a spoken one only doubt, since praise costs nothing to say."""
    return min(own, 0.0) if verbalized and own is not None else own


def estimate_reliability(scored: Sequence[tuple[float, float]]) -> Reliability:
    """What graded judgments say of a judge: pairs of its score and how right the answer was, both in [0, 1].

    The weight is Somers' D (2 AUC - 1), drawn to 0 by twenty judgments' worth of doubt; None of a judge is its mean.
    """
    if not scored:
        return Reliability()
    bias = sum(s for s, _ in scored) / len(scored)
    yes, no = [s for s, y in scored if y > 0.5], [s for s, y in scored if y <= 0.5]
    if not yes or not no:
        return Reliability(bias, 0.0)
    wins = sum((a > b) - (a < b) for a in yes for b in no) / (len(yes) * len(no))
    return Reliability(bias, max(0.0, wins) * len(scored) / (len(scored) + 20))


def _own(assessments: Sequence[Assessment], judging: JudgeModel) -> dict[str, float]:
    """Each model's latest self-assessment, less its bias; where that is unknown, less the mean of this query's."""
    said = {a.judge: a.value for a in assessments if a.kind == "self" and a.value is not None}
    usual = sum(said.values()) / len(said) if len(said) > 1 else None
    out: dict[str, float] = {}
    for model, value in said.items():
        known = judging.self_judges.get(model)
        middle = usual if known is None or known.bias is None else known.bias
        if middle is not None:
            out[model] = (value - middle) * (known.weight if known else 1.0)
    return out


def _cross(assessments: Sequence[Assessment], judging: JudgeModel, said: Mapping[str, int | None]) -> dict[str, float]:
    """Peers' view of each model's answer, in [-1, 1]: how it compares, and the level of all where that is known.

    Both are weighted medians drawn to 0. The level is the same for all, so no judge can move an answer past another by
    talking all of them up or down.
    """
    given: dict[str, dict[str, float]] = {}
    for a in assessments:
        if a.kind == "cross" and a.judge != a.subject and a.value is not None:
            given.setdefault(a.judge, {})[a.subject] = a.value
    fair = {judge: scores for judge, scores in _without_favours(given).items() if len(scores) > 1 and _spread(scores)}
    centred = {judge: _less(scores, _mean_of(scores)) for judge, scores in fair.items()}
    weights = {
        judge: _spread(scores) * _loyalty(judge, scores, said) * _weight(judge, centred, judging.peer_judges.get(judge))
        for judge, scores in fair.items()
    }
    level = _drawn([
        (_mean_of(scores) - known.bias, known.weight)
        for judge, scores in given.items()
        if (known := judging.peer_judges.get(judge)) and known.bias is not None
    ])  # fmt: skip
    out: dict[str, float] = {}
    for subject in dict.fromkeys(s for scores in given.values() for s in scores):
        found = _drawn([(c[subject], weights[judge]) for judge, c in centred.items() if subject in c])
        if found is not None or level is not None:
            out[subject] = min(max((found or 0.0) + (level or 0.0), -1.0), 1.0)
    return out


def _drawn(views: Sequence[tuple[float, float]]) -> float | None:
    """Weighted median of (value, weight), drawn to 0 where there is little weight; None without any."""
    total = sum(w for _, w in views)
    return _median(views) * total / (total + PEERS) if total > 0 else None


def _less(scores: Mapping[str, float], usual: float) -> dict[str, float]:
    return {subject: value - usual for subject, value in scores.items()}


def _mean_of(scores: Mapping[str, float]) -> float:
    return sum(scores.values()) / len(scores)


def _without_favours(given: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """All scores but those by which two judges put each other far above everybody else."""

    def favours(judge: str, subject: str) -> bool:
        scores = given.get(judge, {})
        rest = [value for other, value in scores.items() if other != subject]
        return subject in scores and bool(rest) and scores[subject] - max(rest) > FAVOUR

    return {
        judge: {s: value for s, value in scores.items() if not (favours(judge, s) and favours(s, judge))}
        for judge, scores in given.items()
    }


def _spread(scores: Mapping[str, float]) -> float:
    """In [0, 1): how far a judge tells answers apart."""
    apart = max(scores.values()) - min(scores.values())
    return apart / (apart + SPREAD)


def _loyalty(judge: str, scores: Mapping[str, float], said: Mapping[str, int | None]) -> float:
    """Less than 1 for a judge who puts another answer above those that say what its own says: it believes neither."""
    same = [v for s, v in scores.items() if said.get(s) is not None and said.get(s) == said.get(judge)]
    rest = [v for s, v in scores.items() if said.get(s) != said.get(judge)]
    behind = max(0.0, max(rest) - sum(same) / len(same)) if same and rest else 0.0
    return 1.0 / (1.0 + (behind / OWN) ** 2)


def _weight(judge: str, centred: Mapping[str, Mapping[str, float]], known: Reliability | None) -> float:
    """Learned reliability, and less for a judge who contradicts the others of this query (at least two of them)."""
    distances: list[float] = []
    for subject, value in centred[judge].items():
        others = [(c[subject], 1.0) for other, c in centred.items() if other != judge and subject in c]
        if len(others) > 1:
            distances.append(abs(value - _median(others)))
    apart = sum(distances) / len(distances) if distances else 0.0
    return (known.weight if known else 1.0) / (1.0 + (apart / CONTRARY) ** 2)


def _median(views: Sequence[tuple[float, float]]) -> float:
    """Weighted median of (value, weight), interpolated between the two in the middle."""
    ordered = sorted(views)
    half, before = sum(w for _, w in ordered) / 2, 0.0
    for i, (value, weight) in enumerate(ordered):
        before += weight
        if before > half + 1e-12:
            return value
        if abs(before - half) <= 1e-12:
            return (value + ordered[min(i + 1, len(ordered) - 1)][0]) / 2
    return ordered[-1][0] if ordered else 0.0


def _mean(values: Mapping[str, float], names: Sequence[str]) -> float | None:
    known = [values[n] for n in names if n in values]
    return sum(known) / len(known) if known else None
