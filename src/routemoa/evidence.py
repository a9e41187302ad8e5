"""What speaks for each answer besides the votes: self-assessments, peers' scores, likeness. Pure functions.

Every piece is a number around 0 whose worth in log-odds is a coefficient (`Judging`): absent evidence adds nothing.
Judges are robust by construction: a judge's own mean is taken off its scores (who talks everybody down says nothing),
its view of its own answer is never a peer's view, the peers are combined by a weighted median (one or two who lie do
not move it far), and who contradicts the others of the same query counts less.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct

from routemoa.answers import Groups
from routemoa.belief import Correlation
from routemoa.types import Assessment

__all__ = ["Coefficients", "Judging", "Reliability", "Signals", "log_odds", "reliable", "signals"]

PEERS = 1.0  # a score's worth of doubt: one peer counts half of what many count
CONTRARY = 0.15  # mean distance from the other judges (of scores less their means) that halves a judge's weight


class Coefficients(Struct, frozen=True):
    """Log-odds that an answer is right, per unit of each signal; a conditional logit (McFadden 1974) over the answers.

    `votes` multiplies the log-odds of prior and agreement; `self` and `cross` are per unit of a score in [0, 1] above
    what is usual; `likeness` per unit of likeness with the other answers to an open question.
    """

    constant: float = 0.0
    votes: float = 0.85
    spoken: float = 0.5
    logprob: float = 2.0
    cross: float = 3.0
    likeness: float = 1.0
    copied: float = 0.5  # what the vote of a model counts that had the other answers in view


class Reliability(Struct, frozen=True):
    """How a model judges: `bias` is its mean score, `weight` in [0, 1] how well its scores tell right from wrong."""

    bias: float | None = None
    weight: float = 1.0


class Judging(Struct, frozen=True):
    """All that is learned about judging; the defaults are for a pool of which nothing is known yet.

    `judges` are models as judges of others, `selves` as judges of themselves.
    """

    coefficients: Coefficients = Coefficients()
    correlation: Correlation = Correlation()
    judges: dict[str, Reliability] = {}
    selves: dict[str, Reliability] = {}
    fitted: dict[str, float | int | str] = {}  # on what, and what it is worth: for people


class Signals(Struct, frozen=True):
    """The evidence for one group of answers; None is absent. `own` is the self-assessment above what is usual."""

    own: float | None = None
    cross: float | None = None
    likeness: float | None = None


def signals(
    models: Sequence[str], groups: Groups, assessments: Sequence[Assessment], judging: Judging
) -> tuple[Signals, ...]:
    """The evidence for each group of answers.

    Args:
        models: who gave each answer.
        groups: which answers say the same.
        assessments: all of the query so far; for a model judged twice, the later judgment counts.
        judging: what is known of the judges.
    """
    count = 1 + max((g for g in groups.of if g is not None), default=-1)
    own, cross = _own(assessments, judging), _cross(assessments, judging)
    usual = [x for x in groups.likeness if x is not None]
    middle = sum(usual) / len(usual) if len(usual) > 2 else None  # of two answers each is as like as the other
    out: list[Signals] = []
    for g in range(count):
        places = groups.members(g)
        names = [models[i] for i in places]
        alike = [x - middle for i in places if middle is not None and (x := groups.likeness[i]) is not None]
        out.append(Signals(_mean(own, names), _mean(cross, names), max(alike, default=None)))
    return tuple(out)


def log_odds(found: Signals, judging: Judging, *, spoken: bool) -> float:
    """What the signals add to an answer's log-odds."""
    c = judging.coefficients
    parts = (
        (c.spoken if spoken else c.logprob, found.own),
        (c.cross, found.cross),
        (c.likeness, found.likeness),
    )
    return c.constant + sum(w * x for w, x in parts if x is not None)


def reliable(scored: Sequence[tuple[float, float]]) -> Reliability:
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


def _own(assessments: Sequence[Assessment], judging: Judging) -> dict[str, float]:
    """Each model's latest self-assessment, less its bias; where that is unknown, less the mean of this query's."""
    said = {a.judge: a.value for a in assessments if a.kind == "self" and a.value is not None}
    usual = sum(said.values()) / len(said) if len(said) > 1 else None
    out: dict[str, float] = {}
    for model, value in said.items():
        known = judging.selves.get(model)
        middle = usual if known is None or known.bias is None else known.bias
        if middle is not None:
            out[model] = (value - middle) * (known.weight if known else 1.0)
    return out


def _cross(assessments: Sequence[Assessment], judging: Judging) -> dict[str, float]:
    """Peers' view of each model's answer: the weighted median of their scores less their means, drawn to 0."""
    given: dict[str, dict[str, float]] = {}
    for a in assessments:
        if a.kind == "cross" and a.judge != a.subject and a.value is not None:
            given.setdefault(a.judge, {})[a.subject] = a.value
    centred = {judge: c for judge, scores in given.items() if (c := _centred(scores, judging.judges.get(judge)))}
    weights = {judge: _weight(judge, centred, judging.judges.get(judge)) for judge in centred}
    out: dict[str, float] = {}
    for subject in dict.fromkeys(s for scores in centred.values() for s in scores):
        views = [(c[subject], weights[judge]) for judge, c in centred.items() if subject in c]
        total = sum(w for _, w in views)
        if total > 0:
            out[subject] = _median(views) * total / (total + PEERS)
    return out


def _centred(scores: Mapping[str, float], known: Reliability | None) -> dict[str, float]:
    """A judge's scores less its bias; of a judge not known, less its mean here, which takes at least two scores."""
    if known is not None and known.bias is not None:
        usual = known.bias
    elif len(scores) > 1:
        usual = sum(scores.values()) / len(scores)
    else:
        return {}
    return {subject: value - usual for subject, value in scores.items()}


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
