"""Code answers compared by what they do: recorded answers to MBPP, run in the sandbox, then replayed.

    .venv/bin/python benchmarks/code_behaviour.py [RECORDS] [--splits 20] [--outputs FILE] [--json FILE]

Each recorded answer's main function is called, in the sandbox, with the inputs that the question and the answers show,
and with small changes of them (some minutes; --outputs keeps what came out, and reads it the next time). Then the
default policy is replayed: prior from one half of the questions, figures from the other, for several splits. A panel of
some members knows only the inputs that the question and these members' answers show, as the engine would.

Pools: all models; without the best; those of accuracy ranks 4 to 8. Rows: best single (chosen on the other half), text
(the default without a sandbox: code is an open question, the leading answer stands in for the aggregator's), behaviour
(`run_code = true`), each with at most five models. "vote of 5" is the group with the most of the best five answers.
Intervals: 95 %, bootstrap over questions of each question's mean over the splits in which it was tested. RECORDS
default to ../shared/data/records/routerbench/mbpp.train.jsonl.gz, of which nothing was used to choose a number.
"""

from __future__ import annotations

import argparse
import gzip
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from routemoa.core.mixture_table import Mixture
from routemoa.core.types import ModelSpec, Scores
from routemoa.datasets.grading.behaviour import observe_behaviour
from routemoa.datasets.records import Record, read_records
from routemoa.evaluation.outcomes import Outcome
from routemoa.evaluation.replay.simulator import simulate
from routemoa.evaluation.replay.token_counts import ReplayQuestion
from routemoa.evaluation.statistics import summarize
from routemoa.judging.answers.behaviour import Behaviour, collect_inputs
from routemoa.judging.answers.code_calls import find_examples
from routemoa.judging.judge_model import JudgeModel
from routemoa.routing.policy import build_policy

RECORDS = Path(__file__).parents[2] / "shared" / "data" / "records" / "routerbench" / "mbpp.train.jsonl.gz"
MAX_MODELS = 5


def observe_records(records: Sequence[Record], kept: Path | None) -> list[dict[str, Behaviour]]:
    """Return {model: what its answer did} for each record; what `kept` holds already is not run again."""
    known: dict[str, dict[str, Behaviour]] = {}
    if kept is not None and kept.exists():
        with gzip.open(kept, "rt", encoding="utf-8") as lines:
            for line in lines:
                plain = json.loads(line)
                known[plain["id"]] = msgspec.convert(plain["behaviours"], dict[str, Behaviour])
    found = []
    for number, record in enumerate(records, 1):
        found.append(known.get(record.id) or observe_record(record))
        if number % 25 == 0:
            print(f"{number} of {len(records)} questions run", file=sys.stderr, flush=True)
    if kept is not None and len(known) < len(records):
        with gzip.open(kept, "wt", encoding="utf-8") as file:
            for record, behaviours in zip(records, found, strict=True):
                file.write(json.dumps({"id": record.id, "behaviours": msgspec.to_builtins(behaviours)}) + "\n")
    return found


def observe_record(record: Record) -> dict[str, Behaviour]:
    """Run all answers to one question on the inputs that the question and the answers show."""
    texts = {m: t for m, t in (record.responses or {}).items() if t}
    examples = find_examples(record.prompt or record.query)
    names = list(dict.fromkeys(example.call.name for example in examples))
    inputs = collect_inputs(examples, list(texts.values()))
    return {m: observe_behaviour(text, inputs, names) for m, text in texts.items()}


def select_pools(records: Sequence[Record]) -> dict[str, list[str]]:
    """Return {name: models, best first}."""
    names = sorted(records[0].scores, key=lambda m: -sum(r.scores[m] or 0.0 for r in records))
    return {"all": names, "without the best": names[1:], "ranks 4 to 8": names[3:8]}


def run_pool(
    questions: Sequence[ReplayQuestion], behaviours: Sequence[dict[str, Behaviour]], models: list[str], splits: int
) -> dict[str, Any]:
    """Return the figures of one pool."""
    outcomes: list[Outcome] = []
    first_two: dict[str, list[float]] = defaultdict(list)
    stops: Counter[str] = Counter()
    beliefs: list[tuple[float, float]] = []
    for seed in range(splits):
        order = np.random.default_rng(seed).permutation(len(questions))
        train, test = np.split(order, [len(questions) // 2])
        right = {m: sum(questions[i].record.scores[m] or 0.0 for i in train) for m in models}
        prior: Scores = {m: (r + 1) / (len(train) + 2) for m, r in right.items()}
        best_first = sorted(models, key=lambda m: -right[m])
        for i in test:
            question = questions[i]
            scores = question.record.scores
            for row in ("text", "behaviour"):
                question.behaviours = behaviours[i] if row == "behaviour" else None
                run = simulate(policy_of(models), prior, question, Mixture(max_models=MAX_MODELS))
                choice = run.decision.choice
                outcomes.append(make_outcome(row, question, scores[choice] if choice else 0.0, len(run.panel), seed))
                if row == "behaviour" and run.decision.stop is not None and choice:
                    stops[run.decision.stop.kind.value] += 1
                    beliefs.append((run.decision.scores[choice] or 0.0, scores[choice] or 0.0))
            voted = vote(question, best_first[:MAX_MODELS])
            outcomes.append(make_outcome("vote of 5", question, scores[voted], MAX_MODELS, seed))
            best = max(scores[m] or 0.0 for m in best_first[:MAX_MODELS])
            outcomes.append(make_outcome("any of 5", question, best, MAX_MODELS, seed))
            outcomes.append(make_outcome("best single", question, scores[best_first[0]], 1, seed))
            pair = question.compare_code(best_first[:2])
            kind = "uncompared" if pair is None else "agree" if len(set(pair.groups)) == 1 else "differ"
            first_two[kind].append(scores[best_first[0]] or 0.0)
    summary = summarize(outcomes, 0)
    return {
        "models": models,
        "rows": {row: {"accuracy": 100 * f["accuracy"], "calls": f["calls"]} for row, f in summary["methods"].items()},
        "over_best_single": {
            row: {
                "points": 100 * summary["paired"][f"{row}|best single"]["difference"],
                "ci95": [100 * x for x in summary["paired"][f"{row}|best single"]["ci95"]],
            }
            for row in ("text", "behaviour", "vote of 5")
        },
        "first_two": {
            kind: {"share": len(v) / sum(map(len, first_two.values())), "first_right": 100 * float(np.mean(v))}
            for kind, v in first_two.items()
        },
        "stops": dict(stops),
        "believed": {"mean": float(np.mean([b for b, _ in beliefs])), "right": float(np.mean([r for _, r in beliefs]))},
    }


def policy_of(models: Sequence[str]) -> Any:
    """Return the default policy of a pool, with at most five models."""
    return build_policy([ModelSpec(m, "local", m) for m in models], Mixture(max_models=MAX_MODELS), JudgeModel(), ())


def make_outcome(row: str, question: ReplayQuestion, right: float | None, calls: int, seed: int) -> Outcome:
    return Outcome(row, question.record.task, question.record.id, right, calls=calls, seed=seed)


def vote(question: ReplayQuestion, panel: Sequence[str]) -> str:
    """Return the best model of the group with most answers; the best model's group among equals."""
    agreement = question.compare_code(panel)
    if agreement is None:
        return panel[0]
    sizes = Counter(g for m, g in zip(panel, agreement.groups, strict=True) if m not in agreement.failed)
    chosen = max(sizes, key=lambda g: (sizes[g], -agreement.groups.index(g)), default=agreement.groups[0])
    return panel[agreement.groups.index(chosen)]


def measure_pairs(questions: Sequence[ReplayQuestion], behaviours: Sequence[dict[str, Behaviour]]) -> dict[str, Any]:
    """Return, over all pairs of answers, how often those that agree or differ are both right, both wrong or unlike."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    failed: Counter[tuple[bool, float]] = Counter()
    for question, found in zip(questions, behaviours, strict=True):
        question.behaviours = found
        for a, b in combinations(question.texts, 2):
            agreement = question.compare_code([a, b])
            kind = "not code" if agreement is None else "failed" if agreement.failed else "differ"
            kind = "agree" if agreement is not None and len(set(agreement.groups)) == 1 else kind
            right = [question.record.scores[m] or 0.0 for m in (a, b)]
            counts[kind][{0.0: "both wrong", 2.0: "both right"}.get(sum(right), "one right")] += 1
            for model, score in zip((a, b), right, strict=True):
                failed[agreement is not None and model in agreement.failed, score] += 1
    shares = {
        k: {name: n / c.total() for name, n in sorted(c.items())} | {"pairs": c.total()} for k, c in counts.items()
    }
    right_if = {f: failed[f, 1.0] / max(1, failed[f, 0.0] + failed[f, 1.0]) for f in (False, True)}
    return {**shares, "right_where_run": right_if[False], "right_where_failed": right_if[True]}


def print_pool(name: str, figures: dict[str, Any]) -> None:
    print(f"\n{name}: {len(figures['models'])} models")
    for row, values in figures["rows"].items():
        gain = figures["over_best_single"].get(row)
        text = f"{gain['points']:+.1f} [{gain['ci95'][0]:+.1f}, {gain['ci95'][1]:+.1f}]" if gain else ""
        print(f"  {row:<12} {values['accuracy']:5.1f}  {values['calls']:.2f} calls  {text}")
    for kind, values in figures["first_two"].items():
        print(f"  first two {kind}: {values['share']:.0%}, the first is right {values['first_right']:.0f} %")
    print(f"  believed {figures['believed']['mean']:.2f}, right {figures['believed']['right']:.2f}; {figures['stops']}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("records", nargs="?", type=Path, default=RECORDS)
    parser.add_argument("--splits", type=int, default=20)
    parser.add_argument("--outputs", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    records = list(read_records(options.records))
    behaviours = observe_records(records, options.outputs)
    pools = select_pools(records)
    questions = [ReplayQuestion(record, pools["all"]) for record in records]
    figures: dict[str, Any] = {
        "command": "python benchmarks/code_behaviour.py --json benchmarks/results/code_behaviour.json",
        "records": options.records.name,
        "questions": len(records),
        "splits": options.splits,
        "max_models": MAX_MODELS,
        "pairs": measure_pairs(questions, behaviours),
        "failures": dict(Counter(b.failure for found in behaviours for b in found.values() if b.failure)),
        "pools": {},
    }
    print(json.dumps({k: figures[k] for k in ("pairs", "failures")}, indent=1))
    for name, models in pools.items():
        figures["pools"][name] = run_pool(questions, behaviours, models, options.splits)
        print_pool(name, figures["pools"][name])
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
