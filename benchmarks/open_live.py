"""Open questions, live: the policies of `[mixture] open` and dense mixtures beside the best single model.

    .venv/bin/python benchmarks/open_live.py --pool pool.toml --judge NAME --max-cost 5 [--questions FILE]
        [--limit 40] [--methods LIST] [--labels FILE] [--max-tokens N] [--folder DIR] [--json FILE] [--yes]

Every method answers every question that does not ask for a result (by default AlpacaEval's own prompts, from the
shared records). A judge, a model of
the pool, compares each method's answer with the best single model's in both orders. Wins less losses, as counted and at
equal length, with 95 % intervals (`routemoa.training.judge.open_policies`, as in `routemoa judge calibrate`). What the
judge is worth is measured on labelled pairs, as `judge calibrate --labels` takes them: {"id", "query", "first",
"second", "winner"}; `--known N` makes N of the records, whose winner GPT-4-turbo's scores tell (at least .5 apart).
Where a method's answer was chosen by the judge itself (`select`), its word says nothing and is not asked for.

Seconds: each method by itself, one question at a time; calls are not shared. "to slowest": a method's seconds as a
multiple of those of the slowest answer in its own first layer; medians, and the greatest.

The cost is estimated first, and asked about. The folder keeps every call: the same command continues a run.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import msgspec

from routemoa.cli.evaluation.live_session import open_call_cache
from routemoa.cli.judge.calibration_report import describe_judge, print_policies
from routemoa.cli.terminal.confirm import confirm_cost, describe_cost, require_prices
from routemoa.core.errors import RouteMoAError
from routemoa.core.pool_file.pool import Pool
from routemoa.core.types import ModelSpec, to_plain
from routemoa.datasets.jsonl import read_lines
from routemoa.datasets.pair_labels import PairLabel, read_labels
from routemoa.datasets.questions import Question, read_questions
from routemoa.datasets.records import read_records
from routemoa.evaluation.live.cost_estimate import estimate_cost
from routemoa.evaluation.live.labelled_pairs import foreign_pairs
from routemoa.evaluation.live.methods import build_live_methods
from routemoa.evaluation.live.open_policies import (
    AnswerPair,
    Orders,
    build_pairs,
    compare_pairs,
    judge_pairs,
    select_open_questions,
)
from routemoa.evaluation.live.resume import digest_pool, find_answered, start_run
from routemoa.evaluation.live.runner import TRACES, LiveRun, TraceLine, WorkUnit, answer_question, plan_units, run_units
from routemoa.evaluation.outcomes import Outcome, Run, read_outcomes
from routemoa.judging.pairwise import Verdict
from routemoa.training.judge.open_policies import measure_judge, measure_policies

RECORDS = Path(__file__).parents[2] / "shared" / "data" / "records" / "alpaca" / "alpaca.train.jsonl.gz"
SINGLE = "best-single"
METHODS = "best-single,routemoa-alone,routemoa-synthesize,routemoa-select,moa,self-moa"
CLEAR = 0.5
"""How far the scores of two recorded answers are apart where one is taken to be better."""
MAX_KNOWN = 1500
"""Characters of such an answer: a small judge must hold both."""


def known_pairs(count: int) -> list[PairLabel]:
    """Return pairs of recorded answers of which one is clearly better, in an order drawn by lot."""
    rng, labels = Random(0), []
    for record in rng.sample(list(read_records(RECORDS)), count):
        said = record.responses or {}
        texts = {m: t for m, t in said.items() if t and len(t) <= MAX_KNOWN and record.scores.get(m) is not None}
        pairs = [(a, b) for a in texts for b in texts if (record.scores[a] or 0) - (record.scores[b] or 0) >= CLEAR]
        if pairs:
            better, worse = rng.choice(pairs)
            winner: Verdict = rng.choice(("first", "second"))
            first, second = (better, worse) if winner == "first" else (worse, better)
            labels.append(
                PairLabel(f"known-{record.id}", winner, None, None, record.query, texts[first], texts[second])
            )
    return labels


def measure_latency(folder: Path, methods: Sequence[str], questions: Sequence[Question]) -> dict[str, Any]:
    """Return what each method took on average, and its seconds as a multiple of its first layer's slowest answer."""
    keys = {q.key for q in questions}
    outcomes: dict[str, list[Outcome]] = {m: [] for m in methods}
    for outcome in read_outcomes(folder):
        if outcome.method in outcomes and (outcome.task, outcome.id) in keys and not outcome.failure:
            outcomes[outcome.method].append(outcome)
    slowest: dict[tuple[str, str, str], float] = {}
    for _, line in read_lines(folder / TRACES, lambda _: None):
        saved = msgspec.json.decode(line, type=TraceLine)
        times = [p.latency for p in saved.trace.layers[0].proposals if p.latency] if saved.trace.layers else []
        if times:
            slowest[saved.method, saved.task, saved.id] = max(times)
    rows: dict[str, Any] = {}
    for method, found in outcomes.items():
        ratios = [
            o.seconds / slowest[method, o.task, o.id] for o in found if o.seconds and (method, o.task, o.id) in slowest
        ]
        costs = [o.cost for o in found]
        rows[method] = {
            "answers": len(found),
            "seconds": round(statistics.fmean(o.seconds or 0.0 for o in found), 2) if found else None,
            "to_slowest_median": round(statistics.median(ratios), 2) if ratios else None,
            "to_slowest_max": round(max(ratios), 2) if ratios else None,
            "calls": round(statistics.fmean(o.calls for o in found), 2) if found else None,
            "dollars": None if None in costs or not costs else statistics.fmean(c or 0.0 for c in costs),
            "tokens": None if any(o.tokens is None for o in found) or not found else round(
                statistics.fmean(o.tokens or 0.0 for o in found)
            ),
            "characters": round(statistics.fmean(len(o.text or "") for o in found)) if found else None,
        }  # fmt: skip
    return rows


async def answer_and_judge(
    args: argparse.Namespace,
    pool: Pool,
    units: Sequence[WorkUnit],
    questions: Sequence[Question],
    judge: ModelSpec | None,
) -> tuple[list[AnswerPair], list[Orders], list[Verdict | None]]:
    """Answer what is missing, one question at a time, then compare; return pairs, verdicts and labels."""
    methods = args.methods.split(",")
    known = foreign_pairs(args.known_labels, {q.id for q in questions}) if judge else []
    async with open_call_cache(pool, args.folder, args.max_cost, say=print) as cache:
        live = LiveRun(await build_live_methods(methods, pool, cache, questions), cache)
        done = 0

        def show(outcome: Outcome) -> None:
            nonlocal done
            done += 1
            print(f"{done} of {len(units)}: {outcome.method}, {outcome.id}, {outcome.seconds or 0:.1f} s", flush=True)

        await run_units(units, partial(answer_question, live=live), args.folder, concurrency=1, on_outcome=show)
        others = [m for m in methods if m != SINGLE]
        pairs = [*build_pairs(args.folder, questions, others, alone=SINGLE), *(p for p, _ in known)]
        labels: list[Verdict | None] = [*[None] * (len(pairs) - len(known)), *(v for _, v in known)]
        if judge is None:
            return pairs, [(None, None)] * len(pairs), labels
        one_at_a_time = 1 if judge.local else 4
        return pairs, await judge_pairs(pairs, judge, cache, concurrency=one_at_a_time), labels


def load_pool(args: argparse.Namespace) -> Pool:
    pool = Pool.default(args.pool)
    if args.max_tokens:
        models = tuple(
            msgspec.structs.replace(m, parameters={**m.parameters, "max_tokens": args.max_tokens}) for m in pool
        )
        pool = replace(pool, models=models)
    return pool


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pool", help="pool file; else $ROUTEMOA_POOL, else the embedded pool")
    parser.add_argument("--judge", help="model of the pool that compares; without one only cost and time are measured")
    parser.add_argument("--questions", type=Path, default=RECORDS)
    parser.add_argument("--limit", type=int, default=40)
    parser.add_argument("--methods", default=METHODS)
    parser.add_argument("--labels", type=Path, help="labelled pairs that measure the judge")
    parser.add_argument("--known", type=int, default=0, help="measure the judge on so many recorded pairs")
    parser.add_argument("--max-tokens", type=int, help="of each answer")
    parser.add_argument("--max-cost", type=float)
    parser.add_argument("--yes", action="store_true")
    parser.add_argument("--folder", type=Path, default=Path("open-live"))
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    args.known_labels = [*(read_labels(args.labels) if args.labels else []), *known_pairs(args.known)]
    return args


def main() -> None:
    args = parse_arguments()
    pool = load_pool(args)
    judge = pool[args.judge] if args.judge else None
    require_prices(pool, args.max_cost)
    asked = [Question(q.id, q.task, q.query, q.prompt) for q in read_questions(args.questions)]
    questions = select_open_questions(asked)[: args.limit]
    methods = args.methods.split(",")
    run = Run(
        kind="live", name="open-live", methods=tuple(methods), models=tuple(m.name for m in pool),
        settings={"pool": digest_pool(pool)},
    )  # fmt: skip
    units = plan_units(questions, methods, find_answered(args.folder, run, questions, option="--folder"))
    texts = [q.text for q in questions for m in methods if m != SINGLE] + [x.query or "" for x in args.known_labels]
    costs = estimate_cost(units, pool, judge, comparisons=texts)
    work = f"{len(questions)} questions, {len(methods)} methods: at most {costs.calls:,} calls"
    confirm_cost(f"{work}; cost at most: {describe_cost(costs)}", costs, assume_yes=args.yes, max_cost=args.max_cost)
    start_run(args.folder, run)
    pairs, orders, labels = asyncio.run(answer_and_judge(args, pool, units, questions, judge))
    compared = compare_pairs(pairs, orders, {i: v for i, v in enumerate(labels) if v})
    figures = measure_policies(compared, pool.mixture.dollars_per_point)
    latency = measure_latency(args.folder, methods, questions)
    for method, row in latency.items():
        print(f"{method:20} " + ", ".join(f"{k} {v}" for k, v in row.items()))
    print_policies(figures)
    measured = measure_judge(compared, judge.name) if judge else None
    if measured:
        print(describe_judge(measured))
    if args.json:
        results = {"questions": len(questions), "methods": latency, "policies": to_plain(figures)}
        results |= {"judge": to_plain(measured), "pool": pool.source, "max_tokens": args.max_tokens}
        args.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    try:
        main()
    except RouteMoAError as e:
        sys.exit(f"open_live: {e}")
    except KeyboardInterrupt:
        sys.exit("open_live: stopped; the same command continues")
