"""What a policy for open questions gains over the best model alone, and how well a judge tells which answer is better.

A pair is the best model's answer alone ("first") and a policy's answer ("second") to one question. The gain is wins
less losses as a share of the pairs, at equal length, after Dubois et al. 2024 (arXiv 2404.04475):

    P(the policy's answer wins) = sigmoid(policy + length * ln(its length / the other's))
    gain = 2 * sigmoid(policy) - 1

One length coefficient for all policies: it is the judge's. Ties count half. Intervals: 95 %, percentile bootstrap over
the questions, to which one win and one loss of each policy are added, so that a policy that always won has an interval
too (after Agresti and Coull 1998). Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, cast

import numpy as np
from msgspec import Struct
from msgspec.structs import replace
from numpy.typing import NDArray

from routemoa.core.learned.intervals import wilson_interval
from routemoa.judging.compared_pair import ComparedPair
from routemoa.judging.judge_model import OpenEvidence, PairwiseJudge
from routemoa.judging.pairwise import Verdict

__all__ = ["CALL_PRICE", "MIN_LABELS", "MIN_PAIRS", "Interval", "PolicyFigures", "choose_evidence",
           "measure_judge", "measure_policies"]  # fmt: skip

CALL_PRICE = 0.01
"""What a policy must gain for each call that it makes beyond those of the model alone, where no rate is set."""
MIN_PAIRS = 30
"""Fewer compared pairs of a policy are no evidence, and fewer decided ones give no length coefficient."""
MIN_LABELS = 20
"""Fewer labelled pairs do not tell how often a judge is right."""
RESAMPLES = 1000
IMAGINARY = "\0imaginary"
"""The question of the pairs that are added; no real one has such a key."""
PENALTY = 0.04
"""Ridge on each coefficient, a normal prior with a standard deviation of 5: it matters only where length tells all."""
LENGTH_PENALTY = 0.25
"""The same where the judge's length coefficient is wanted: a standard deviation of 2."""

Array = NDArray[np.float64]
OpenPolicyName = Literal["alone", "synthesize", "select"]


class Interval(Struct, frozen=True):
    """An estimate with its 95 % interval."""

    value: float
    low: float
    high: float


class PolicyFigures(Struct, frozen=True, kw_only=True):
    """How a policy did against the best model alone. Gains are shares of the pairs, in [-1, 1]."""

    policy: str
    pairs: int
    """Those whose better answer is known."""
    wins: int
    ties: int
    losses: int
    unknown: int
    """Pairs of which nothing is known: the judge failed, or its reply could not be read."""
    extra_calls: float
    """For each question."""
    extra_cost: float | None
    """Dollars for each question."""
    weight: float = 0.0
    """The pairs that count: settled ones only as far as the others are known."""
    raw: Interval = Interval(0.0, 0.0, 0.0)
    """Wins less losses."""
    gain: Interval = Interval(0.0, 0.0, 0.0)
    """The same at equal length."""
    net: Interval = Interval(0.0, 0.0, 0.0)
    """The same less the price of the calls."""
    price: float = 0.0
    """The mean price of the extra calls, as a share."""
    priced_by: Literal["calls", "dollars"] = "calls"


def measure_policies(
    pairs: Sequence[ComparedPair], dollars_per_point: float | None = None, seed: int = 0
) -> list[PolicyFigures]:
    """Return the figures of each policy that was compared, in the order of the pairs; none without a known pair.

    Args:
        pairs: of all policies.
        dollars_per_point: of the mixture, which prices the calls; None prices each at CALL_PRICE.
        seed: of the bootstrap.
    """
    imaginary = _add_imaginary(pairs)
    names = list(dict.fromkeys(p.policy for p in imaginary))
    if not names:
        return []
    known = [*imaginary, *(p for p in pairs if p.policy in names and p.result is not None)]
    x = np.array([[*(float(p.policy == n) for n in names), p.log_length] for p in known])
    won = np.array([{"first": 0.0, "tie": 0.5, "second": 1.0}[p.result or "tie"] for p in known])
    by_cost = dollars_per_point is not None and all(p.extra_cost is not None for p in known)
    rate = dollars_per_point if by_cost and dollars_per_point else 1.0
    price = np.array([CALL_PRICE * ((p.extra_cost or 0.0) / rate if by_cost else p.extra_calls) for p in known])
    member, weights = x[:, : len(names)], _weigh(known, pairs)
    start = fit_logistic(x, won, weights)
    is_real = np.array([p.question != IMAGINARY for p in known])

    def estimate(weights: Array) -> Array:
        """Return raw gain, gain and net gain of each policy, 3 x policies."""
        share = member * weights[:, None]
        total = np.maximum(share.sum(axis=0), 1e-9)
        gain = np.tanh(fit_logistic(x, won, weights, start)[: len(names)] / 2)
        return np.array([(share.T @ (2 * won - 1)) / total, gain, gain - (share.T @ price) / total])

    value = estimate(weights)
    value[0] = estimate(weights * is_real)[0]
    drawn = np.array([estimate(w * weights) for w in _draw_weights(known, seed)])
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    prices = (member.T @ (price * weights)) / (member.T @ weights)
    figures = []
    for i, name in enumerate(names):
        raw, gain, net = (Interval(*(round(float(v[k, i]), 4) for v in (value, low, high))) for k in range(3))
        mine = [p for p in pairs if p.policy == name]
        figures.append(
            replace(
                _count_results(mine),
                weight=round(float(member[is_real, i] @ weights[is_real]), 1),
                raw=raw,
                gain=gain,
                net=net,
                price=round(float(prices[i]), 4),
                priced_by="dollars" if by_cost else "calls",
            )
        )
    return figures


def choose_evidence(figures: Sequence[PolicyFigures], judge: str, models: Sequence[str]) -> OpenEvidence | None:
    """Return what the figures say about open questions; None where too few pairs were compared.

    The policy with the highest net gain of those whose interval is above 0, else "alone" with the best one's figures.

    Args:
        figures: of the policies.
        judge: what compared the answers.
        models: those of the pool.
    """
    enough = [f for f in figures if f.weight >= MIN_PAIRS]
    paying = [f for f in enough if f.net.low > 0]
    if not enough:
        return None
    best = max(paying or enough, key=lambda f: f.net.value)
    policy, measured = (best.policy, "") if paying else ("alone", best.policy)
    return OpenEvidence(
        cast(OpenPolicyName, policy),
        best.net.value,
        best.net.low,
        best.net.high,
        best.pairs,
        judge,
        measured,
        tuple(models),
    )


def measure_judge(pairs: Sequence[ComparedPair], model: str, before: PairwiseJudge | None = None) -> PairwiseJudge:
    """Return how well a model compares answers; what cannot be told from these pairs stays as it was before.

    Its accuracy is the share of labelled pairs on which its orders agree and the label is the same; ties, of either,
    are left out. The length coefficient is fitted on the pairs that it decided, beside what their policies and labels
    explain.
    """
    before = PairwiseJudge() if before is None else before.of_model(model)
    asked = [p for p in pairs if None not in p.orders]
    decided = [p for p in asked if p.judged not in (None, "tie")]
    labelled = [p for p in decided if p.label in ("first", "second")]
    length, accuracy = before.length, (before.accuracy, before.accuracy_low, before.accuracy_high)
    if len(decided) >= MIN_PAIRS:
        names = sorted({p.policy for p in decided} - {""})
        rows = [[*(float(p.policy == n) for n in names), _sign(p.label), p.log_length] for p in decided]
        preferred = np.array([float(p.judged == "second") for p in decided])
        length = float(fit_logistic(np.array(rows), preferred, np.ones(len(decided)), penalty=LENGTH_PENALTY)[-1])
    if len(labelled) >= MIN_LABELS:
        share = sum(p.judged == p.label for p in labelled) / len(labelled)
        accuracy = share, *wilson_interval(share, len(labelled))
    consistent = sum(_agree(p) for p in asked)
    rounded = [None if a is None else round(a, 4) for a in accuracy]
    return PairwiseJudge(
        rounded[0],
        round(length, 4),
        before.difficulty_sd,
        model,
        rounded[1],
        rounded[2],
        round(consistent / len(asked), 4) if asked else before.consistency,
        len(asked) or before.pairs,
    )


def fit_logistic(x: Array, y: Array, weights: Array, start: Array | None = None, *, penalty: float = PENALTY) -> Array:
    """Return the coefficients of a weighted logistic regression with a small ridge, by Newton's method.

    Args:
        x: N x K.
        y: N outcomes in [0, 1].
        weights: N.
        start: K coefficients near the solution, where they are known.
        penalty: the ridge on each coefficient.
    """
    coefficients = np.zeros(x.shape[1]) if start is None else start.copy()
    ridge = penalty * np.eye(x.shape[1])
    for _ in range(50):
        p = 1 / (1 + np.exp(-np.clip(x @ coefficients, -30, 30)))
        gradient = x.T @ (weights * (p - y)) + penalty * coefficients
        hessian = x.T @ (x * (weights * p * (1 - p))[:, None]) + ridge
        step = np.clip(np.linalg.solve(hessian, gradient), -2.0, 2.0)
        coefficients -= step
        if float(np.abs(step).max()) < 1e-4:
            break
    return coefficients


def _count_results(pairs: Sequence[ComparedPair]) -> PolicyFigures:
    """Return the counts of one policy's pairs."""
    known = [p for p in pairs if p.result is not None]
    results = [p.result for p in known]
    costs = [p.extra_cost for p in known if p.extra_cost is not None]
    return PolicyFigures(
        policy=pairs[0].policy,
        pairs=len(known),
        wins=results.count("second"),
        ties=results.count("tie"),
        losses=results.count("first"),
        unknown=len(pairs) - len(known),
        extra_calls=float(np.mean([p.extra_calls for p in known])),
        extra_cost=float(np.mean(costs)) if len(costs) == len(known) else None,
    )


def _add_imaginary(pairs: Sequence[ComparedPair]) -> list[ComparedPair]:
    """Return a win and a loss of each policy of which something is known beyond what is settled.

    Their calls are those of the policy on average, so that they change no price.
    """
    imaginary: list[ComparedPair] = []
    for name in dict.fromkeys(p.policy for p in pairs if p.policy):
        mine = [p for p in pairs if p.policy == name and p.result is not None]
        open_pairs = [p for p in pairs if p.policy == name and p.settled is None]
        if not mine or (open_pairs and all(p.result is None for p in open_pairs)):
            continue
        calls, costs = float(np.mean([p.extra_calls for p in mine])), [p.extra_cost for p in mine]
        cost = None if None in costs else float(np.mean([c or 0.0 for c in costs]))
        verdicts: tuple[Verdict, ...] = ("first", "second")
        imaginary += [
            ComparedPair(IMAGINARY, name, 0.0, settled=v, extra_calls=calls, extra_cost=cost) for v in verdicts
        ]
    return imaginary


def _weigh(known: Sequence[ComparedPair], pairs: Sequence[ComparedPair]) -> Array:
    """Return the weight of each known pair: a settled one counts as far as the other pairs of its policy are known.

    Else, where people labelled a few pairs only, the ties that need no label would outnumber what they found.
    """
    shares: dict[str, float] = {}
    for name in {p.policy for p in known}:
        results = [p.result for p in pairs if p.policy == name and p.settled is None]
        shares[name] = sum(r is not None for r in results) / len(results) if results else 1.0
    return np.array([shares[p.policy] if p.settled and p.question != IMAGINARY else 1.0 for p in known])


def _draw_weights(pairs: Sequence[ComparedPair], seed: int) -> Array:
    """Return RESAMPLES x N: how often each pair is drawn, where whole questions are drawn with replacement."""
    units = [p.question if p.question != IMAGINARY else f"{IMAGINARY}{i}" for i, p in enumerate(pairs)]
    index: Mapping[str, int] = {q: i for i, q in enumerate(dict.fromkeys(units))}
    drawn = np.random.default_rng(seed).multinomial(len(index), np.full(len(index), 1 / len(index)), RESAMPLES)
    return drawn[:, [index[q] for q in units]].astype(np.float64)


def _sign(label: Verdict | None) -> float:
    return {"second": 1.0, "first": -1.0}.get(label or "", 0.0)


def _agree(pair: ComparedPair) -> bool:
    """Return whether the verdicts of both orders are the same; two ties are, too."""
    forwards, backwards = pair.orders
    return backwards == {"first": "second", "second": "first", "tie": "tie"}.get(forwards or "")
