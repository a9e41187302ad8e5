"""Open questions on recorded answers: what each policy of `[mixture] open` brings beside the best single system.

    .venv/bin/python benchmarks/open_answers.py [--records FILE] [--halves 40]
        [--json benchmarks/results/open_answers.json]

AlpacaEval 2's recorded systems: a score is GPT-4-turbo's preference over one reference answer, in [0, 1]. Each half of
the questions gives the priors (each system's mean) and the best single system; the other half is replayed through the
policy. Points: mean score of the chosen answers less the best single system's, on the same questions. "lc": the same,
length-controlled: what an answer's length adds, by a linear fit of all systems' scores within each question and system
on tanh(ln(length / reference's length)), is taken off. Intervals: 2.5 % and 97.5 % of the halves.

Judges are simulated on the length-controlled score. "60", "65", "75": right so often in each order, independently.
"o1-mini": as recorded by JudgeBench, its orders differ on 31 % of the pairs, and it is right on 86 % of the others. A
judge's accuracy where its orders agree is told to the policy, as a calibration would find it.

Pools: the FuseChat trio, the Claude trio, ranks 11 to 20 (of mean score), all; panels of 3 and of 5 where there are so
many. The ceiling is the best of the panel's answers by the length-controlled score.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

from routemoa.core.mixture_table import Mixture
from routemoa.core.types import ModelSpec, Scores
from routemoa.datasets.records import Record, read_records
from routemoa.evaluation.replay.simulator import SimulatedComparer, simulate
from routemoa.evaluation.replay.token_counts import ReplayQuestion
from routemoa.judging.judge_model import JudgeModel, PairwiseJudge
from routemoa.judging.pairwise import Verdict
from routemoa.routing.policy import build_policy

RECORDS = Path(__file__).parents[2] / "shared" / "data" / "records" / "alpaca" / "alpaca.train.jsonl.gz"
REFERENCE = "gpt4_1106_preview"
FUSECHAT = ("FuseChat-Gemma-2-9B-Instruct", "FuseChat-Llama-3.1-8B-Instruct", "FuseChat-Qwen-2.5-7B-Instruct")
CLAUDE = ("claude-2", "claude", "claude-instant-1.2")
JUDGES = {"60": 0.60, "65": 0.65, "75": 0.75}
O1_MINI_DIFFERS, O1_MINI_RIGHT = 0.31, 0.86


def length_effect(record: Record, model: str) -> float:
    texts = record.responses or {}
    return math.tanh(math.log(max(1, len(texts[model] or "")) / max(1, len(texts[REFERENCE] or ""))))


def control_length(records: Sequence[Record], models: Sequence[str]) -> dict[tuple[str, str], float]:
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


def simulated_judge(
    name: str, record: Record, fair: dict[tuple[str, str], float], seed: int
) -> Callable[[str, str], Verdict | None]:
    """Return a judge of one question; the same pair in the same order always gets the same verdict."""

    def compare(first: str, second: str) -> Verdict | None:
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


def replay_half(
    records: Sequence[Record],
    members: Sequence[str],
    fair: dict[tuple[str, str], float],
    mixture: Mixture,
    judge: str | None,
    seed: int,
) -> dict[str, float]:
    """Learn priors on one random half of the questions, replay the other, and return means over it."""
    shuffled = [*records]
    Random(seed).shuffle(shuffled)
    learn, test = shuffled[: len(shuffled) // 2], shuffled[len(shuffled) // 2 :]
    prior: Scores = {m: statistics.fmean(s for r in learn if (s := r.scores.get(m)) is not None) for m in members}
    best = max(members, key=lambda m: prior[m] or 0.0)
    known = PairwiseJudge() if judge is None else PairwiseJudge(agreed_accuracy(judge))
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
        rows: dict[str, Any] = {}
        runs: list[tuple[str, int, str | None]] = [("balanced", 3, None), ("refine, as before", 3, None)]
        runs += [(f"select, judge {j}", k, j) for k in (3, 5) if k <= len(members) for j in (*JUDGES, "o1-mini")]
        for label, size, judge in runs:
            mixture = Mixture(open="select", top_k=size) if judge else Mixture()
            mixture = Mixture(later_layers="refine") if label.startswith("refine") else mixture
            halves = [replay_half(records, members, fair, mixture, judge, seed) for seed in range(args.halves)]
            row = {k: statistics.fmean(h[k] for h in halves) for k in halves[0]}
            lc = sorted(h["lc"] for h in halves)
            cut = max(0, round(0.025 * len(lc)))
            row |= {"lc_low": lc[cut], "lc_high": lc[-1 - cut]}
            rows[f"{label}, panel of {size}"] = {k: round(v, 3) for k, v in row.items()}
            print(
                f"{pool:15} {label:22} of {size}: {row['points']:+5.1f} points, lc {row['lc']:+5.1f} "
                f"[{row['lc_low']:+.1f}, {row['lc_high']:+.1f}] of {row['ceiling']:+.1f} possible, "
                f"{row['calls']:.2f} calls, {row['judge_calls']:.2f} of the judge",
                flush=True,
            )
        results[pool] = rows
    if args.json:
        args.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
