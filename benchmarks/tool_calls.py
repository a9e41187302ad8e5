"""Tool calls of a panel: recorded proposals, grouped by the set of calls, replayed through the policy.

    .venv/bin/python benchmarks/tool_calls.py TRAIN TEST [--halves 10] [--json FILE]

BFCL records: `responses` are JSON lists of calls, `no_call` are the models that call nothing. What is learned (each
model's promise, the correlation of errors, what agreement is worth) comes from TRAIN; all figures are from TEST. Where
both are the same file, its questions are halved at random, `--halves` times.

Pools: all models; without the best five of TRAIN; ranks 11 to 24 of TRAIN ("middling"). Rows: best single (of TRAIN),
votes of the best 3, 5 and 9, a random panel of RouteMoA's size, RouteMoA's panels given to other questions (shuffled),
RouteMoA as it is by default (`balanced`), under `quality` and `cheap`, the oracle. A vote is won by the largest group
of equal sets, the better model's among equals. Intervals: 95 %, bootstrap over questions; `gain` is the paired
difference to best single, in points.
"""

from __future__ import annotations

import argparse
import gzip
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
from msgspec.structs import replace

sys.path.insert(0, str(Path(__file__).with_name("replay")))  # the folder beside this script

from splits import learn_judge_model

from routemoa.core.tables.mixture_table import Mixture
from routemoa.core.tools import ToolCall
from routemoa.core.types import Scores
from routemoa.datasets.records import Record
from routemoa.evaluation.outcomes import Outcome
from routemoa.evaluation.replay.baselines import run_panel
from routemoa.evaluation.replay.methods import Replay
from routemoa.evaluation.replay.token_counts import ReplayQuestion
from routemoa.evaluation.statistics import summarize

PREFERENCES: tuple[Literal["quality", "cheap"], ...] = ("quality", "cheap")
BEST_SINGLE = "best single"
NAMES = {"routemoa": "routemoa", "random": "random panel", "shuffled": "shuffled", "oracle": "oracle"}
VOTES = (3, 5, 9)
NOTHING = "(no call)"

Proposed = dict[str, tuple[ToolCall, ...]]


def read_questions(path: Path) -> list[tuple[Record, Proposed]]:
    """Return the records with the calls that each model proposes; one that cannot be read has no proposal."""
    data = path.read_bytes()
    lines = (gzip.decompress(data) if path.suffix == ".gz" else data).splitlines()
    questions = []
    for row in map(json.loads, filter(None, lines)):
        silent = set(row.get("no_call") or ())
        proposed = {m: () if m in silent else parse_calls(text) for m, text in (row["responses"] or {}).items()}
        known = {m: calls for m, calls in proposed.items() if calls is not None}
        texts = {m: row["responses"][m] or NOTHING for m in known}
        scores = {m: row["scores"].get(m) for m in row["scores"]}
        query = row.get("query") or json.dumps(row.get("functions"))
        questions.append((Record(id=row["id"], task=row["task"], query=query, scores=scores, responses=texts), known))
    return questions


def parse_calls(text: str | None) -> tuple[ToolCall, ...] | None:
    """Return the calls of a recorded answer: a JSON list, or text that is no call; None where a call is broken."""
    try:
        found = json.loads(text or "")
    except ValueError:
        return ()
    if not isinstance(found, list):
        return ()
    calls = []
    for entry in found:
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
            return None
        calls.append(ToolCall(entry["name"], msgspec.json.encode(entry.get("arguments")).decode()))
    return tuple(calls)


def select_pools(train: Sequence[tuple[Record, Proposed]]) -> dict[str, list[str]]:
    """Return {name: models, best first}."""
    names = [m for m in train[0][0].scores if all(r.scores.get(m) is not None for r, _ in train)]
    names.sort(key=lambda m: -sum(r.scores[m] or 0.0 for r, _ in train))
    return {"all": names, "without-5": names[5:], "middling": names[10:24]}


def run_half(
    train: Sequence[tuple[Record, Proposed]], test: Sequence[tuple[Record, Proposed]], models: list[str], seed: int
) -> list[Outcome]:
    """Learn from `train`, return the outcomes of `test`."""
    right = {m: sum(r.scores[m] or 0.0 for r, _ in train) for m in models}
    prior: Scores = {m: (right[m] + 1) / (len(train) + 2) for m in models}
    best_first = tuple(sorted(models, key=lambda m: -right[m]))
    learning = [ReplayQuestion(r, models, tool_calls=calls) for r, calls in train]
    questions = [ReplayQuestion(r, models, tool_calls=calls) for r, calls in test]
    replay = Replay(learning, tuple(models), [prior] * len(learning), best_first, Mixture())
    judge_model = learn_judge_model(replay, prior, seed)
    replay = replace(replay, questions=questions, priors=[prior] * len(questions), judge_model=judge_model)
    outcomes = [replace(o, method=NAMES[o.method]) for o in replay.run(NAMES, seed)]
    for prefer in PREFERENCES:
        other = replace(replay, mixture=Mixture(prefer=prefer))
        outcomes += [replace(o, method=f"routemoa, {prefer}") for o in other.run(["routemoa"], seed)]
    for question in questions:
        record = question.record
        for size in (1, *VOTES):
            choice = run_panel(question, best_first[:size]).choice if size > 1 else best_first[0]
            row = BEST_SINGLE if size == 1 else f"vote of {size}"
            score = 0.0 if choice is None else record.scores[choice]
            outcomes.append(Outcome(row, record.task, record.id, score, calls=size, seed=seed))
    return [replace(o, seed=seed) for o in outcomes]


def summarize_rows(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Return {method: accuracy, its interval, calls, gain over best single}; accuracies in per cent."""
    summary = summarize(outcomes, 0)
    rows: dict[str, Any] = {}
    for row, figures in summary["methods"].items():
        pair, sign = summary["paired"].get(f"{row}|{BEST_SINGLE}"), 1
        if pair is None:
            pair, sign = summary["paired"].get(f"{BEST_SINGLE}|{row}"), -1
        rows[row] = {
            "accuracy": 100 * figures["accuracy"],
            "ci95": [100 * x for x in figures["ci95"]],
            "calls": figures["calls"],
        }
        if pair is not None:
            rows[row]["gain"] = 100 * sign * pair["difference"]
            rows[row]["gain_ci95"] = sorted(100 * sign * x for x in pair["ci95"])
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("train", type=Path)
    parser.add_argument("test", type=Path)
    parser.add_argument("--halves", type=int, default=10, help="where TRAIN and TEST are the same file")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    train = read_questions(options.train)
    same = options.train.resolve() == options.test.resolve()
    test = train if same else read_questions(options.test)
    figures: dict[str, Any] = {}
    pairs = []
    for seed in range(options.halves if same else 1):
        order = np.random.default_rng(seed).permutation(len(train))
        first, second = np.split(order, [len(train) // 2])
        pairs.append(([train[i] for i in first], [train[i] for i in second]) if same else (train, test))
    for name in ("all", "without-5", "middling"):
        outcomes = [o for seed, (a, b) in enumerate(pairs) for o in run_half(a, b, select_pools(a)[name], seed)]
        figures[name] = rows = summarize_rows(outcomes)
        print(f"\n{name}: {len(select_pools(train)[name])} models")
        for row, f in rows.items():
            gain = f"{f['gain']:+.1f} ({f['gain_ci95'][0]:+.1f} to {f['gain_ci95'][1]:+.1f})" if "gain" in f else ""
            print(f"  {row:18} {f['accuracy']:5.1f} %  {f['calls']:5.2f} calls  {gain}", flush=True)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
