"""Learning to judge from graded traces: how errors come together, who judges well, what each signal is worth. Numpy.

Everything is few numbers, strongly drawn to what is believed beforehand, since traces are few: two for the
correlation, one bias and one weight a judge, a coefficient a signal.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations

import numpy as np
from msgspec import Struct
from msgspec.structs import asdict, replace
from numpy.typing import NDArray

from routemoa.core.trace import Assessment, Trace
from routemoa.core.types import Scores
from routemoa.datasets.records import Record
from routemoa.judging.answers.grouping import Groups, group_answers
from routemoa.judging.evidence import collect_signals, credit_self_assessment, estimate_reliability
from routemoa.judging.judge_model import Coefficients, JudgeModel, Reliability
from routemoa.judging.fusion import impute_missing
from routemoa.judging.multiple_choice import count_options, limit_to_options
from routemoa.judging.posterior import ErrorCorrelation, Vote, infer
from routemoa.judging.difficulty import DIFFICULTY_NODES, DIFFICULTY_WEIGHTS, prior_log_odds
from routemoa.routing.decision import current_assessments, latest_answers, models_with_context
from routemoa.training.metrics import measure_calibration

__all__ = ["GradedPanel", "fit_error_correlation", "fit_judge_model", "build_graded_panels", "build_graded_panel", "measure_signals", "describe_judge_model", "collect_signal_pairs"]

DIFFICULTY_SDS = tuple(np.arange(0.0, 3.51, 0.25))
PRIOR_PAIRS = 5.0  # pairs of wrong answers' worth of the usual rate of coincidence
PRIOR_COINCIDENCE = 1.0 / 6.0  # that rate: a scatter of 5
COEFFICIENT_PENALTIES = np.array([4.0, 20.0, 1.0, 1.0, 1.0])  # what a coefficient's distance from its default costs
INFORMED_VOTES = (0.0, 0.25, 0.5, 0.75, 1.0)  # what the vote of a model may be worth that had the other answers in view
MIN_SHARED_ERRORS = 30  # questions that both of a pair got wrong, at least, to learn kinship from

Array = NDArray[np.float64]
SignalPairs = dict[str, list[tuple[float, float]]]
"""Signal -> pairs of what it said of an answer and how right the answer was, both in [0, 1]."""


class GradedPanel(Struct, frozen=True):
    """One query: who answered what in which layer, the judgments, and how right each answer was, in [0, 1]."""

    prior: Mapping[str, float | None]
    models: tuple[str, ...]
    groups: Groups
    right: tuple[float | None, ...]
    assessments: tuple[Assessment, ...]
    had_context: tuple[bool, ...]
    options: int | None = None  # of a multiple-choice question


def build_graded_panel(trace: Trace, right: Mapping[str, float | None]) -> GradedPanel:
    """What is learned from one trace; `right` is for each model's latest answer."""
    proposals = latest_answers(trace)
    saw = models_with_context(trace)
    return GradedPanel(
        trace.prior,
        tuple(p.model for p in proposals),
        group_answers([p.text for p in proposals]),
        tuple(right.get(p.model) for p in proposals),
        current_assessments(trace),
        tuple(p.model in saw for p in proposals),
        count_options(trace.query.text),
    )


def build_graded_panels(records: Sequence[Record]) -> list[GradedPanel]:
    """Recorded answers as queries without judgments; the prior of a model is its mean score over them."""
    if not records:
        return []
    names = list(dict.fromkeys(m for r in records for m in r.scores))
    known = {m: [s for r in records if (s := r.scores.get(m)) is not None] for m in names}
    prior: Scores = {m: (sum(v) + 1) / (len(v) + 2) for m, v in known.items()}
    out: list[GradedPanel] = []
    for record in records:
        said = {m: t for m, t in (record.responses or {}).items() if t and record.scores.get(m) is not None}
        if len(said) > 1:
            right = tuple(record.scores[m] for m in said)
            out.append(
                GradedPanel(
                    prior,
                    tuple(said),
                    group_answers(list(said.values())),
                    right,
                    (),
                    (False,) * len(said),
                    count_options(record.query),
                )
            )
    return out


def fit_judge_model(data: Sequence[GradedPanel], *, verbalized: bool = True) -> JudgeModel:
    """Everything that is learned about judging, from graded queries."""
    found = JudgeModel(
        correlation=fit_error_correlation(data), peer_judges=_fit_reliabilities(data, "cross"), self_judges=_fit_reliabilities(data, "self")
    )
    return replace(found, coefficients=_fit_coefficients(data, found, verbalized))


def fit_error_correlation(data: Sequence[GradedPanel]) -> ErrorCorrelation:
    """Spread by maximum likelihood of who was right together; scatter by how often wrong answers coincide; kinship."""
    spread = _fit_difficulty_sd(data)
    same = total = 0
    pairs: dict[tuple[str, str], list[bool]] = {}
    for one in data:
        if not one.groups.closed:
            continue
        wrong = [
            (m, g)
            for m, g, y in zip(one.models, one.groups.group_of, one.right, strict=True)
            if g is not None and y == 0.0
        ]
        for (a, g), (b, h) in combinations(wrong, 2):
            same, total = same + (g == h), total + 1
            pairs.setdefault((a, b) if a < b else (b, a), []).append(g == h)
    rate = (same + PRIOR_PAIRS * PRIOR_COINCIDENCE) / (total + PRIOR_PAIRS)
    scatter = float(np.clip((1 - rate) / max(rate, 1e-6), 0.5, 50.0))
    kinship: dict[str, float] = {}
    for (a, b), together in sorted(pairs.items()):
        excess = (sum(together) - rate * len(together)) / (len(together) + MIN_SHARED_ERRORS) / (1 - rate)
        error = np.sqrt(rate * (1 - rate) * len(together)) / (len(together) + MIN_SHARED_ERRORS) / (1 - rate)
        if len(together) >= MIN_SHARED_ERRORS and excess > max(0.1, 3 * error):
            kinship[f"{a}|{b}"] = round(float(min(excess, 1.0)), 3)
    return ErrorCorrelation(round(spread, 3), round(scatter, 3), kinship)


def _fit_difficulty_sd(data: Sequence[GradedPanel]) -> float:
    nodes, weights = np.array(DIFFICULTY_NODES), np.log(np.array(DIFFICULTY_WEIGHTS))
    usual = ErrorCorrelation().difficulty_sd
    best, chosen = -np.inf, usual
    for spread in DIFFICULTY_SDS:
        total = -2.0 * (spread - usual) ** 2 if len(data) < 200 else 0.0  # few queries: near what is usual
        for one in data:
            pairs = [(p, y) for p, y in zip(_impute_priors(one), one.right, strict=True) if y is not None]
            if len(pairs) < 2:
                continue
            p = np.clip(np.array([x for x, _ in pairs]), 0.02, 0.98)
            y = np.array([y for _, y in pairs])
            ability = np.log(p / (1 - p)) * np.sqrt(1 + 0.346 * spread**2)
            logit = ability[:, None] + spread * nodes
            logs = weights + (y[:, None] * logit - np.logaddexp(0, logit)).sum(0)
            total += float(np.logaddexp.reduce(logs))
        if total > best:
            best, chosen = total, float(spread)
    return chosen


def _impute_priors(one: GradedPanel) -> list[float]:
    known = impute_missing(one.prior, dict.fromkeys([*one.prior, *one.models]))
    return [known[m] for m in one.models]


def _fit_reliabilities(data: Iterable[GradedPanel], kind: str) -> dict[str, Reliability]:
    """Each model's bias and weight as a judge of others (cross) or of itself (self)."""
    scored: dict[str, list[tuple[float, float]]] = {}
    for one in data:
        truth = dict(zip(one.models, one.right, strict=True))
        for a in one.assessments:
            y = truth.get(a.subject)
            if a.kind == kind and a.value is not None and y is not None and (kind == "self" or a.judge != a.subject):
                scored.setdefault(a.judge, []).append((a.value, y))
    found = {m: estimate_reliability(pairs) for m, pairs in sorted(scored.items())}
    return {m: Reliability(None if r.bias is None else round(r.bias, 4), round(r.weight, 4)) for m, r in found.items()}


class _PanelRegression(Struct, frozen=True):
    """One query for the regression, G groups. `closed`: at most one is right.

    `x` is G x 5 (constant, votes beyond the best prior, own, cross, likeness; 0 where absent), `base` the log-odds of
    each group's best prior, `right` in [0, 1], NaN where nobody graded it.
    """

    x: Array
    base: Array
    right: Array
    closed: bool

    def probabilities(self, weights: Array) -> Array:
        """P(right) of each group."""
        odds = np.exp(np.clip(self.x @ weights + self.base, -30, 30))
        found: Array = odds / (1.0 + (odds.sum() if self.closed else odds))
        return found

    def impute_right(self, p: Array) -> Array:
        """`right`; what nobody graded is as likely right as `p` has it, given what was graded."""
        known = ~np.isnan(self.right)
        left = (1 - self.right[known].sum()) / max(1 - p[known].sum(), 1e-9) if self.closed else 1.0
        found: Array = np.where(known, self.right, left * p)
        return found


def _build_regression(one: GradedPanel, judging: JudgeModel, spoken: bool) -> _PanelRegression | None:
    """What the regression sees of a query; None where nothing is graded or nobody states a result."""
    count = 1 + max((g for g in one.groups.group_of if g is not None), default=-1)
    if not count or all(y is None for y in one.right):
        return None
    copied = judging.coefficients.informed_vote
    votes = [
        Vote(m, p, g, copied if saw else 1.0)
        for m, p, g, saw in zip(one.models, _impute_priors(one), one.groups.group_of, one.had_context, strict=True)
    ]
    belief = infer(votes, limit_to_options(judging.correlation, one.options), closed=one.groups.closed)
    found = collect_signals(one.models, one.groups, one.assessments, judging)
    x, base, y = np.zeros((count, 5)), np.zeros(count), np.zeros(count)
    for g in range(count):
        nobody = sum(belief.joint[0]) if one.groups.closed else 1 - belief.probabilities[g]
        base[g] = prior_log_odds(max(v.prior for v in votes if v.group == g))
        beyond = np.log(max(belief.probabilities[g], 1e-9) / max(nobody, 1e-9)) - base[g]
        own = credit_self_assessment(found[g].self_assessment, verbalized=spoken) or 0.0
        x[g] = (1.0, beyond, own, found[g].cross_assessment or 0.0, found[g].similarity or 0.0)
        known = [k for i in one.groups.members(g) if (k := one.right[i]) is not None]
        y[g] = sum(known) / len(known) if known else np.nan
    if one.groups.closed:
        y /= max(1.0, float(np.nansum(y)))
    return _PanelRegression(x, base, y, one.groups.closed)


def _fit_coefficients(data: Sequence[GradedPanel], judging: JudgeModel, spoken: bool) -> Coefficients:
    """The conditional logit for each worth of a vote that was not independent; the likeliest is kept."""
    worths = INFORMED_VOTES if any(any(one.had_context) for one in data) else (judging.coefficients.informed_vote,)
    found: list[tuple[float, Coefficients]] = []
    for worth in worths:
        start = replace(judging.coefficients, informed_vote=worth)
        found.append(_fit_conditional_logit(data, replace(judging, coefficients=start), spoken))
    return min(found, key=lambda pair: pair[0])[1]


def _fit_conditional_logit(data: Sequence[GradedPanel], judging: JudgeModel, spoken: bool) -> tuple[float, Coefficients]:
    """The loss, and the coefficients by Newton's method; a ridge draws each to its default.

    Of a closed question one answer is right at most; of an open one each answer stands alone against being wrong.
    """
    start = judging.coefficients
    default = np.array(
        [start.constant, start.votes, start.verbalized if spoken else start.logprob, start.cross, start.similarity]
    )
    queries = [q for one in data if (q := _build_regression(one, judging, spoken)) is not None]
    at = default.copy()
    loss = 0.0
    for _ in range(30):
        slope, curve = COEFFICIENT_PENALTIES * (at - default), np.diag(COEFFICIENT_PENALTIES)
        loss = float(0.5 * COEFFICIENT_PENALTIES @ (at - default) ** 2)
        for q in queries:
            p = q.probabilities(at)
            right = q.impute_right(p)
            slope += q.x.T @ (p - right)
            spread = np.diag(p) - np.outer(p, p) if q.closed else np.diag(p * (1 - p))
            curve += q.x.T @ (spread @ q.x)
            loss -= float(right @ np.log(np.maximum(p, 1e-9)))
            rest, wrong = (1 - right.sum(), 1 - p.sum()) if q.closed else (1 - right, 1 - p)
            loss -= float(np.sum(rest * np.log(np.maximum(wrong, 1e-9))))
        step = np.linalg.solve(curve, slope)
        at -= np.clip(step, -1.0, 1.0)
        if float(np.abs(step).max()) < 1e-6:
            break
    at[2:] = np.maximum(at[2:], 0.0)  # what speaks for an answer never counts against it
    at[1] = np.clip(at[1], 0.0, 1.0)  # nor do votes claim too little: only tasks mixed up look so
    at = np.round(at, 4)
    own = {"verbalized": float(at[2])} if spoken else {"logprob": float(at[2])}
    learned = replace(
        start, constant=float(at[0]), votes=float(at[1]), cross=float(at[3]), similarity=float(at[4]), **own
    )
    return loss, learned


def collect_signal_pairs(data: Sequence[GradedPanel], judging: JudgeModel, *, spoken: bool = True) -> SignalPairs:
    """What the posterior and each signal alone say of every answer, and how right it was."""
    said: SignalPairs = {k: [] for k in ("posterior", "prior", "votes", "self", "cross")}
    c = judging.coefficients
    weights = np.array([c.constant, c.votes, c.verbalized if spoken else c.logprob, c.cross, c.similarity])
    for one in data:
        if (query := _build_regression(one, judging, spoken)) is None:
            continue
        p = query.probabilities(weights)
        evidence = collect_signals(one.models, one.groups, one.assessments, judging)
        for prior, g, y in zip(_impute_priors(one), one.groups.group_of, one.right, strict=True):
            if y is None or g is None:
                continue
            said["posterior"].append((float(p[g]), y))
            said["prior"].append((prior, y))
            said["votes"].append((sum(h == g for h in one.groups.group_of) / len(one.models), y))
            for name, value in (("self", evidence[g].self_assessment), ("cross", evidence[g].cross_assessment)):
                if value is not None:
                    said[name].append((0.5 + value / 2, y))
    return said


def measure_signals(*parts: SignalPairs) -> dict[str, dict[str, float | None]]:
    """Calibration of what was told of several parts together: ece, brier, auc of each signal (None: unknown)."""
    out: dict[str, dict[str, float | None]] = {}
    for name in parts[0]:
        pairs = np.array([pair for part in parts for pair in part[name]], np.float32).reshape(-1, 2)
        out[name] = measure_calibration(pairs[:, 0], pairs[:, 1])
    return out


def describe_judge_model(judging: JudgeModel) -> list[str]:
    """The learned numbers in lines for a person."""
    c = asdict(judging.coefficients)
    lines = ["log-odds per unit: " + ", ".join(f"{k} {v:g}" for k, v in c.items())]
    cor = judging.correlation
    coincide = 1 / (1 + cor.error_concentration)
    lines.append(f"difficulty spread {cor.difficulty_sd:g} logits; two wrong answers coincide {coincide:.0%}")
    lines += [f"kinship {pair.replace('|', ' and ')}: {k:.2f}" for pair, k in cor.pairwise_error_correlation.items()]
    return lines
