"""Code answers compared by what they do: recorded answers to MBPP, run in the sandbox, then replayed.

    .venv/bin/python benchmarks/code_behaviour.py [RECORDS] [--splits 10] [--outputs FILE] [--json FILE]

Each recorded answer's main function is called, in the sandbox, with the inputs that the question and the answers show,
and with small changes of them (some minutes; --outputs keeps what came out, and reads it the next time). Then the
default policy is replayed: prior from one half of the questions, figures from the other, for several splits. A panel of
some members knows only the inputs that the question and these members' answers show, as the engine would.

Pools: all models; without the best; those of accuracy ranks 4 to 8. Rows: best single (chosen on the other half), text
(the default without a sandbox: code is an open question, the leading answer stands in for the aggregator's), behaviour
(`run_code = true`), also with a judge model fitted on the other half; each with at most five models. "vote of 5" is the
group with the most of the best five answers. `failed_shift`: the log-odds by which an answer that crashes is less
likely right than its model's others, on the even and on the odd questions.
Intervals: 95 %, bootstrap over questions of each question's mean over the splits in which it was tested. RECORDS
default to ../shared/data/records/routerbench/mbpp.train.jsonl.gz. Not a clean test: while the
reader was written these records were looked at, and one rule (which answers count as code) was changed because of them.
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
from msgspec.structs import replace

sys.path.insert(0, str(Path(__file__).with_name("replay")))  # the folder beside this script

from splits import learn_judge_model

from routemoa.core.tables.mixture_table import Mixture
from routemoa.core.types import Scores
from routemoa.datasets.grading.behaviour import observe_behaviour
from routemoa.datasets.records import Record, read_records
from routemoa.evaluation.outcomes import Outcome
from routemoa.evaluation.replay.methods import Replay
from routemoa.evaluation.replay.token_counts import ReplayQuestion
from routemoa.evaluation.statistics import summarize
from routemoa.judging.answers.code.behaviour import Behaviour, collect_inputs, has_failed
from routemoa.judging.answers.code.code_calls import find_examples

RECORDS = Path(__file__).parents[2] / "shared" / "data" / "records" / "routerbench" / "mbpp.train.jsonl.gz"
MAX_MODELS = 5
MIXTURE = Mixture(max_models=MAX_MODELS)
BEST_SINGLE = "best single"
Behaviours = dict[str, Behaviour]
"""Model -> what its answer did."""


def observe_records(records: Sequence[Record], kept: Path | None) -> list[Behaviours]:
    """Return {model: what its answer did} for each record; what `kept` holds already is not run again."""
    known: dict[str, Behaviours] = {}
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


def observe_record(record: Record) -> Behaviours:
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


def run_pool(records: Sequence[Record], found: Sequence[Behaviours], models: list[str], splits: int) -> dict[str, Any]:
    """Return the figures of one pool."""
    as_text = [ReplayQuestion(record, models) for record in records]
    as_run = [ReplayQuestion(record, models, behaviours=b) for record, b in zip(records, found, strict=True)]
    outcomes: list[Outcome] = []
    first_two: dict[str, list[float]] = defaultdict(list)
    stops: Counter[str] = Counter()
    for seed in range(splits):
        order = np.random.default_rng(seed).permutation(len(records))
        train, test = np.split(order, [len(records) // 2])
        right = {m: sum(records[i].scores[m] or 0.0 for i in train) for m in models}
        prior: Scores = {m: (r + 1) / (len(train) + 2) for m, r in right.items()}
        best_first = tuple(sorted(models, key=lambda m: -right[m]))
        replay = Replay([as_run[i] for i in train], tuple(models), [prior] * len(train), best_first, MIXTURE)
        fitted = learn_judge_model(replay, prior, seed)
        rows = {
            "text": replace(replay, questions=[as_text[i] for i in test], priors=[prior] * len(test)),
            "behaviour": replace(replay, questions=[as_run[i] for i in test], priors=[prior] * len(test)),
        }
        rows["behaviour, judge fitted"] = replace(rows["behaviour"], judge_model=fitted)
        for row, part in rows.items():
            for outcome, run in zip(part.run(["routemoa"], seed), part.simulate_policy("routemoa", seed), strict=True):
                outcomes.append(replace(outcome, method=row))
                if row == "behaviour" and run.decision.stop is not None:
                    stops[run.decision.stop.kind.value] += 1
        for i in test:
            outcomes += compare_simply(as_run[i], best_first, seed)
            pair = as_run[i].compare_code(best_first[:2])
            kind = "uncompared" if pair is None else "agree" if len(set(pair.groups)) == 1 else "differ"
            first_two[kind].append(records[i].scores[best_first[0]] or 0.0)
    return {"models": models, **summarize_rows(outcomes), "first_two": describe_pairs(first_two), "stops": dict(stops)}


def compare_simply(question: ReplayQuestion, best_first: Sequence[str], seed: int) -> list[Outcome]:
    """Return the baselines on one question: the best model, the vote of five, whether any of five is right."""
    scores = question.record.scores
    five = best_first[:MAX_MODELS]
    rows: list[tuple[str, float | None, int]] = [
        ("vote of 5", scores[vote(question, five)], len(five)),
        ("any of 5", max(scores[m] or 0.0 for m in five), len(five)),
        (BEST_SINGLE, scores[best_first[0]], 1),
    ]
    record = question.record
    return [Outcome(row, record.task, record.id, right, calls=calls, seed=seed) for row, right, calls in rows]


def summarize_rows(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Return accuracy, calls and the difference from the best single model in points, for each row."""
    summary = summarize(outcomes, 0)
    believed = [o for o in outcomes if o.confidence is not None and o.right is not None]
    rows: dict[str, Any] = {}
    for row, figures in summary["methods"].items():
        rows[row] = {"accuracy": 100 * figures["accuracy"], "calls": figures["calls"]}
        if pair := summary["paired"].get(f"{row}|{BEST_SINGLE}"):
            rows[row] |= {"points": 100 * pair["difference"], "ci95": [100 * x for x in pair["ci95"]]}
        if own := [(o.confidence, o.right) for o in believed if o.method == row]:
            rows[row]["believed"], rows[row]["found"] = (float(x) for x in np.mean(np.array(own, np.float64), axis=0))
    return {"rows": rows}


def describe_pairs(first_two: dict[str, list[float]]) -> dict[str, Any]:
    """Return how often the first two agree or differ, and how often the first is right then."""
    count = sum(map(len, first_two.values()))
    return {k: {"share": len(v) / count, "first_right": 100 * float(np.mean(v))} for k, v in first_two.items()}


def vote(question: ReplayQuestion, panel: Sequence[str]) -> str:
    """Return the best model of the group with most answers; the best model's group among equals."""
    agreement = question.compare_code(panel)
    if agreement is None:
        return panel[0]
    sizes = Counter(g for m, g in zip(panel, agreement.groups, strict=True) if m not in agreement.failed)
    chosen = max(sizes, key=lambda g: (sizes[g], -agreement.groups.index(g)), default=agreement.groups[0])
    return panel[agreement.groups.index(chosen)]


def measure_pairs(records: Sequence[Record], found: Sequence[Behaviours], models: Sequence[str]) -> dict[str, Any]:
    """Return, over all pairs of answers, how often those that agree or differ are both right, both wrong or unlike."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    failed: Counter[tuple[bool, float]] = Counter()
    for record, behaviours in zip(records, found, strict=True):
        question = ReplayQuestion(record, models, behaviours=behaviours)
        for a, b in combinations(question.texts, 2):
            agreement = question.compare_code([a, b])
            kind = "not code" if agreement is None else "failed" if agreement.failed else "differ"
            kind = "agree" if agreement is not None and len(set(agreement.groups)) == 1 else kind
            right = [record.scores[m] or 0.0 for m in (a, b)]
            counts[kind][{0.0: "both wrong", 2.0: "both right"}.get(sum(right), "one right")] += 1
            for model, score in zip((a, b), right, strict=True):
                failed[agreement is not None and model in agreement.failed, score] += 1
    shares = {
        k: {name: n / c.total() for name, n in sorted(c.items())} | {"pairs": c.total()} for k, c in counts.items()
    }
    right_if = {f: failed[f, 1.0] / max(1, failed[f, 0.0] + failed[f, 1.0]) for f in (False, True)}
    return {**shares, "right_where_run": right_if[False], "right_where_failed": right_if[True]}


def measure_failed_shift(
    records: Sequence[Record], found: Sequence[Behaviours], models: Sequence[str]
) -> list[dict[str, float]]:
    """Return, for each half of the questions, the log-odds to add to a model's mean score where its answer fails."""
    halves: list[dict[str, float]] = []
    for half in (slice(0, None, 2), slice(1, None, 2)):
        rows = list(zip(records[half], found[half], strict=True))
        prior = {m: float(np.mean([r.scores[m] for r, _ in rows])) for m in models}
        failing = [(m, r.scores[m] or 0.0) for r, b in rows for m in b if has_failed(b[m])]
        odds = np.array([np.log(prior[m] / (1 - prior[m])) for m, _ in failing])
        right = float(np.mean([score for _, score in failing]))
        shifts = np.arange(-5, 1, 0.01)
        believed = np.array([(1 / (1 + np.exp(-(odds + x)))).mean() for x in shifts])
        shift = float(shifts[np.abs(believed - right).argmin()])
        halves.append({"answers": len(failing), "right": right, "shift": round(shift, 2)})
    return halves


def print_pool(name: str, figures: dict[str, Any]) -> None:
    print(f"\n{name}: {len(figures['models'])} models")
    for row, values in figures["rows"].items():
        interval = f"[{values['ci95'][0]:+.1f}, {values['ci95'][1]:+.1f}]" if "ci95" in values else ""
        gain = f"{values['points']:+.1f} {interval}" if interval else ""
        believed = f"believed {values['believed']:.2f}, found {values['found']:.2f}" if "believed" in values else ""
        print(f"  {row:<24} {values['accuracy']:5.1f}  {values['calls']:.2f} calls  {gain:<20} {believed}")
    for kind, values in figures["first_two"].items():
        print(f"  first two {kind}: {values['share']:.0%}, the first is right {values['first_right']:.0f} %")
    print(f"  {figures['stops']}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("records", nargs="?", type=Path, default=RECORDS)
    parser.add_argument("--splits", type=int, default=10)
    parser.add_argument("--outputs", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    records = list(read_records(options.records))
    behaviours = observe_records(records, options.outputs)
    pools = select_pools(records)
    figures: dict[str, Any] = {
        "command": "python benchmarks/code_behaviour.py --json benchmarks/results/code_behaviour.json",
        "records": options.records.name,
        "questions": len(records),
        "splits": options.splits,
        "max_models": MAX_MODELS,
        "pairs": measure_pairs(records, behaviours, pools["all"]),
        "failed_shift": measure_failed_shift(records, behaviours, pools["all"]),
        "failures": dict(Counter(b.failure for found in behaviours for b in found.values() if b.failure)),
        "pools": {},
    }
    print(json.dumps({k: figures[k] for k in ("pairs", "failed_shift", "failures")}, indent=1))
    for name, models in pools.items():
        figures["pools"][name] = run_pool(records, behaviours, models, options.splits)
        print_pool(name, figures["pools"][name])
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
