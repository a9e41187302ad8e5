"""Open questions on recorded answers: what each policy of `[mixture] open` brings beside the best single system.

    .venv/bin/python benchmarks/open_answers.py [--records FILE] [--halves 40]
        [--bound] [--pool NAME]
        [--json benchmarks/results/open_answers.json]

AlpacaEval 2's recorded systems: a score is GPT-4-turbo's preference over one reference answer, in [0, 1]. Each half of
the questions gives the priors (each system's mean) and the best single system; the other half is replayed through the
policy. Points: mean score of the chosen answers less the best single system's, on the same questions. "lc": the same,
length-controlled: what an answer's length adds, by a linear fit of all systems' scores within each question and system
on tanh(ln(length / reference's length)), is taken off. Intervals: 2.5 % and 97.5 % of the halves.

Judges are simulated on the length-controlled score. "60", "65", "75": right so often in each order, independently.
"o1-mini": as recorded by JudgeBench, its orders differ on 31 % of the pairs, and it is right on 86 % of the others. A
judge's accuracy where its orders agree is told to the policy, as a calibration would find it. "50" tosses a coin.
"longer" always prefers the longer answer; what it is worth is measured on the first half (`measure_judge`).

Pools: the FuseChat trio, the Claude trio, ranks 11 to 20 (of mean score), all; panels of 3 and of 5 where there are so
many. The ceiling is the best of the panel's answers by the length-controlled score.

--bound adds, for panels of 3, what a decision table could bring: for each outcome of all three pairs in both orders (27
of them, six calls of the judge) one answer, by its place among the priors. "reach" fits the table to the first half by
the length-controlled scores that the policy never sees; "bound" fits it to the very half that it is measured on, which
no rule of these verdicts beats. Both are exact expectations over the judge's verdicts.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
from collections.abc import Callable, Sequence
from itertools import combinations, product
from pathlib import Path
from random import Random
from typing import Any

from routemoa.core.tables.mixture_table import Mixture
from routemoa.core.types import ModelSpec, Scores
from routemoa.datasets.records import Record, read_records
from routemoa.evaluation.replay.simulator import SimulatedComparer, simulate
from routemoa.evaluation.replay.token_counts import ReplayQuestion
from routemoa.judging.compared_pair import ComparedPair
from routemoa.judging.judge_model import JudgeModel, PairwiseJudge
from routemoa.judging.pairwise import Verdict
from routemoa.routing.policy import build_policy
from routemoa.training.judge.open_policies import measure_judge

RECORDS = Path(__file__).parents[2] / "shared" / "data" / "records" / "alpaca" / "alpaca.train.jsonl.gz"
REFERENCE = "gpt4_1106_preview"
FUSECHAT = ("FuseChat-Gemma-2-9B-Instruct", "FuseChat-Llama-3.1-8B-Instruct", "FuseChat-Qwen-2.5-7B-Instruct")
CLAUDE = ("claude-2", "claude", "claude-instant-1.2")
JUDGES = {"50": 0.50, "60": 0.60, "65": 0.65, "75": 0.75}
O1_MINI_DIFFERS, O1_MINI_RIGHT = 0.31, 0.86
LONGER = "longer"

Fair = dict[tuple[str, str], float]
"""(question, model) -> score without what its length adds."""


def length_effect(record: Record, model: str) -> float:
    texts = record.responses or {}
    return math.tanh(math.log(max(1, len(texts[model] or "")) / max(1, len(texts[REFERENCE] or ""))))


def control_length(records: Sequence[Record], models: Sequence[str]) -> Fair:
    """Return (question, model) -> score without what its length adds, by least squares within question and system."""
    cells = {
        (r.id, m): (length_effect(r, m), s)
        for r in records
        for m in models
        if (s := r.scores.get(m)) is not None and (r.responses or {}).get(m)
    }
    x, y = _center(cells, 0), _center(cells, 1)
    slope = sum(x[k] * y[k] for k in cells) / sum(v * v for v in x.values())
    return {k: score - slope * effect for k, (effect, score) in cells.items()}


def _center(cells: dict[tuple[str, str], tuple[float, float]], place: int) -> dict[tuple[str, str], float]:
    values = {k: v[place] for k, v in cells.items()}
    for _ in range(20):  # alternating projections onto both sets of means
        for part in (0, 1):
            groups: dict[str, list[float]] = {}
            for k, v in values.items():
                groups.setdefault(k[part], []).append(v)
            means = {g: statistics.fmean(vs) for g, vs in groups.items()}
            values = {k: v - means[k[part]] for k, v in values.items()}
    return values


def simulated_judge(name: str, record: Record, fair: Fair, seed: int) -> Callable[[str, str], Verdict | None]:
    """Return a judge of one question; the same pair in the same order always gets the same verdict."""

    lengths = {m: len(text or "") for m, text in (record.responses or {}).items()}

    def compare(first: str, second: str) -> Verdict | None:
        if name == LONGER:
            return "first" if lengths[first] > lengths[second] else "second"
        truth: Verdict = "first" if fair[record.id, first] >= fair[record.id, second] else "second"
        other: Verdict = "second" if truth == "first" else "first"
        if name in JUDGES:
            lot = Random(f"{seed}:{record.id}:{first}:{second}").random()
            return truth if lot < JUDGES[name] else other
        pair = Random(f"{seed}:{record.id}:{sorted((first, second))}")
        if pair.random() < O1_MINI_DIFFERS:
            return "first"  # the first place wins: its orders differ
        return truth if pair.random() < O1_MINI_RIGHT else other

    return compare


def agreed_accuracy(name: str) -> float:
    if name not in JUDGES:
        return O1_MINI_RIGHT
    p = JUDGES[name]
    return p * p / (p * p + (1 - p) ** 2)


def calibrate(name: str, records: Sequence[Record], members: Sequence[str], fair: Fair, seed: int) -> PairwiseJudge:
    """Return what is known of a judge: for "longer" what labelled pairs of the first half show, else its accuracy."""
    if name != LONGER:
        return PairwiseJudge(agreed_accuracy(name))
    pairs = []
    for record in records:
        judge, texts = simulated_judge(name, record, fair, seed), record.responses or {}
        for first, second in combinations(members[:3], 2):
            label: Verdict = "first" if fair[record.id, first] >= fair[record.id, second] else "second"
            ratio = math.log(max(1, len(texts[second] or "")) / max(1, len(texts[first] or "")))
            orders = judge(first, second), judge(second, first)
            pairs.append(ComparedPair(record.id, "select", ratio, orders=orders, label=label))
    return measure_judge(pairs, "simulated")


def verdict_chances(name: str) -> tuple[float, float, float]:
    """Return how often a judge's two orders name the better answer, contradict each other, and name the worse one."""
    if name not in JUDGES:
        decided = 1 - O1_MINI_DIFFERS
        return decided * O1_MINI_RIGHT, O1_MINI_DIFFERS, decided * (1 - O1_MINI_RIGHT)
    p = JUDGES[name]
    return p * p, 2 * p * (1 - p), (1 - p) ** 2


def table_gains(records: Sequence[Record], panel: Sequence[str], fair: Fair, name: str) -> list[list[float]]:
    """Return, for each outcome of all pairs, what each answer brings beyond the first one's, times its probability."""
    right, tie, wrong = verdict_chances(name)
    pairs = list(combinations(range(len(panel)), 2))
    outcomes = list(product(range(3), repeat=len(pairs)))
    gains = [[0.0] * len(panel) for _ in outcomes]
    for record in records:
        scores = [100 * fair[record.id, m] for m in panel]
        chances = [(right, tie, wrong) if scores[i] >= scores[j] else (wrong, tie, right) for i, j in pairs]
        for row, outcome in zip(gains, outcomes, strict=True):
            chance = math.prod(c[o] for c, o in zip(chances, outcome, strict=True)) / len(records)
            for place, score in enumerate(scores):
                row[place] += chance * (score - scores[0])
    return gains


def bound_half(records: Sequence[Record], members: Sequence[str], fair: Fair, name: str, seed: int) -> dict[str, float]:
    """Return the points of the table fitted to the first half and of that fitted to the half it is measured on."""
    learn, test = split_half(records, seed)
    panel = sorted(members, key=lambda m: -mean_score(learn, m))[:3]
    fitted, measured = (table_gains(half, panel, fair, name) for half in (learn, test))
    reach = sum(row[best_place(known)] for known, row in zip(fitted, measured, strict=True))
    return {"reach": reach, "bound": sum(max(row) for row in measured)}


def best_place(row: Sequence[float]) -> int:
    return max(range(len(row)), key=lambda i: (round(row[i], 9), -i))


def mean_score(records: Sequence[Record], model: str) -> float:
    return statistics.fmean(s for r in records if (s := r.scores.get(model)) is not None)


def split_half(records: Sequence[Record], seed: int) -> tuple[list[Record], list[Record]]:
    """Return the half to learn on and the half to measure on."""
    shuffled = [*records]
    Random(seed).shuffle(shuffled)
    return shuffled[: len(shuffled) // 2], shuffled[len(shuffled) // 2 :]


def replay_half(
    records: Sequence[Record],
    members: Sequence[str],
    fair: Fair,
    mixture: Mixture,
    judge: str | None,
    seed: int,
) -> dict[str, float]:
    """Learn priors on one random half of the questions, replay the other, and return means over it."""
    learn, test = split_half(records, seed)
    prior: Scores = {m: mean_score(learn, m) for m in members}
    best = max(members, key=lambda m: prior[m] or 0.0)
    by_prior = sorted(members, key=lambda m: -(prior[m] or 0.0))
    known = PairwiseJudge() if judge is None else calibrate(judge, learn, by_prior, fair, seed)
    specs = [ModelSpec(m, "local", m, prior=prior[m]) for m in members]
    policy = build_policy(specs, mixture, JudgeModel(pairwise_judge=known), ())
    rows: list[tuple[float, ...]] = []
    for record in test:
        comparer = SimulatedComparer(simulated_judge(judge, record, fair, seed), known) if judge else None
        run = simulate(policy, prior, ReplayQuestion(record, members), mixture, comparer=comparer)
        choice = run.trace.choice or best
        top = max(fair[record.id, m] for m in run.panel)
        rows.append(
            (
                100 * ((record.scores[choice] or 0.0) - (record.scores[best] or 0.0)),
                100 * (fair[record.id, choice] - fair[record.id, best]),
                100 * (top - fair[record.id, best]),
                len(run.panel),
                2 * len(run.trace.comparisons),
            )
        )
    names = ("points", "lc", "ceiling", "calls", "judge_calls")
    return {name: statistics.fmean(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=Path, default=RECORDS)
    parser.add_argument("--halves", type=int, default=40)
    parser.add_argument("--bound", action="store_true", help="add what a decision table could bring")
    parser.add_argument("--pool", help='only this one, as "Claude trio"')
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    records = [r for r in read_records(args.records) if (r.responses or {}).get(REFERENCE)]
    systems = [m for m in records[0].scores if m != REFERENCE and (records[0].responses or {}).get(m)]
    fair = control_length(records, systems)
    records = [r for r in records if all((r.id, m) in fair for m in systems)]
    ranked = sorted(systems, key=lambda m: -statistics.fmean(r.scores[m] or 0.0 for r in records))
    pools: dict[str, Sequence[str]] = {
        "FuseChat trio": [m for m in FUSECHAT if m in systems],
        "Claude trio": [m for m in CLAUDE if m in systems],
        "ranks 11 to 20": ranked[10:20],
        "all": ranked,
    }
    results: dict[str, Any] = {"records": args.records.name, "questions": len(records), "halves": args.halves}
    print(f"{len(records)} questions, {len(systems)} systems, {args.halves} halves\n")
    for pool, members in pools.items():
        if args.pool not in (None, pool):
            continue
        rows: dict[str, Any] = {}
        runs: list[tuple[str, int, str | None]] = [("balanced", 3, None), ("refine, as before", 3, None)]
        runs += [
            (f"select, judge {j}", k, j) for k in (3, 5) if k <= len(members) for j in (*JUDGES, "o1-mini", LONGER)
        ]
        for label, size, judge in runs:
            mixture = Mixture(open="select", top_k=size) if judge else Mixture()
            mixture = Mixture(later_layers="refine") if label.startswith("refine") else mixture
            halves = [replay_half(records, members, fair, mixture, judge, seed) for seed in range(args.halves)]
            row = {k: statistics.fmean(h[k] for h in halves) for k in halves[0]}
            lc = sorted(h["lc"] for h in halves)
            cut = max(0, round(0.025 * len(lc)))
            row |= {"lc_low": lc[cut], "lc_high": lc[-1 - cut]}
            if args.bound and judge not in (None, LONGER) and size == 3:
                bounds = [bound_half(records, members, fair, judge, seed) for seed in range(args.halves)]
                row |= {k: statistics.fmean(b[k] for b in bounds) for k in bounds[0]}
            rows[f"{label}, panel of {size}"] = {k: round(v, 3) for k, v in row.items()}
            print(
                f"{pool:15} {label:22} of {size}: {row['points']:+5.1f} points, lc {row['lc']:+5.1f} "
                f"[{row['lc_low']:+.1f}, {row['lc_high']:+.1f}] of {row['ceiling']:+.1f} possible, "
                f"{row['calls']:.2f} calls, {row['judge_calls']:.2f} of the judge"
                + (f"; tables: {row['reach']:+.2f}, at most {row['bound']:+.2f}" if "bound" in row else ""),
                flush=True,
            )
        results[pool] = rows
    if args.json:
        args.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
