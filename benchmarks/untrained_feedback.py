"""Replay recorded answers as traffic of a pool without a scorer: what does feedback teach the whole mixture?

    nice python benchmarks/untrained_feedback.py ../shared/data/records --first 20 --json untrained_feedback.json

Five models, drawn for each split, without a trained scorer and without priors, as a new pool of models that no public
table knows. In the first half of the traffic a fifth of the answers get feedback, a tenth of it wrong, and what
`routemoa learn` does for priors runs six times. The second half, which gives no feedback, is answered by the mixture
with and without what was learned: how many choices are right, and how many calls (and dollars, where records know
them) they take. The method was chosen on splits 100 to 115. What callers say:

    thumbs     whether the answer that was given is right
    labels     which of the answers that were asked for are right, as an expected answer would tell
    shuffled   the same labels, given to other answers
    all        which of all five models are right, without noise and without a check: the most to be had
    true       the same of the whole first half
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from msgspec.structs import replace as replace_struct

from routemoa import ModelSpec, Pool
from routemoa.cli.learning.learning_run import learn_from
from routemoa.core.learned.learned_priors import LearnedPriors
from routemoa.core.tables.learning_table import LearningSettings
from routemoa.core.trace import Answer
from routemoa.core.types import Query, Scores
from routemoa.datasets.outcomes import Outcome, read_outcome
from routemoa.datasets.records import Record, read_records
from routemoa.evaluation.replay.simulator import simulate
from routemoa.evaluation.replay.token_counts import CallTotals, ReplayQuestion
from routemoa.evaluation.statistics import bootstrap_interval
from routemoa.judging.pool_judge import load_pool_judge
from routemoa.ledger.trace_store.traces import Feedback, StoredTrace
from routemoa.routing.decision import Decision
from routemoa.routing.exploration import Explorer
from routemoa.routing.latency import CallEstimates
from routemoa.routing.policy import build_policy

SUITES = {"routerbench": ("arc_challenge", "mbpp", "winogrande"), "zeroeval": ("gsm", "math_l5")}
MEMBERS, SHARE, NOISE, RUNS = 5, 0.2, 0.1, 6
MEASURED = 0.98
KINDS = ("thumbs", "labels", "shuffled", "all", "true")


class Mixture:
    """The whole mixture on recorded answers, with what was learned of its members."""

    def __init__(self, pool: Pool, explores: np.random.Generator | None = None) -> None:
        self.pool, learned = pool, pool.learned
        self.prior: Scores = {m.name: (learned.prior if learned else {}).get(m.name) for m in pool}
        self._policy = build_policy(pool.models, pool.mixture, load_pool_judge(pool), ())
        self._explorer = Explorer(pool, explores.random) if explores is not None else None
        self.update, self.is_sufficient = self._policy.update, self._policy.is_sufficient

    def initial(self, predicted: Scores, estimates: CallEstimates, query: Query | None = None) -> Decision:
        decision = self._policy.initial(predicted, estimates, query)
        return decision if self._explorer is None else self._explorer.widen(decision, ())

    def answer(self, record: Record) -> tuple[Answer, CallTotals]:
        """Return the answer to a recorded question, and what its calls took."""
        run = simulate(self, self.prior, ReplayQuestion(record, self.prior), self.pool.mixture)
        text = (record.responses or {}).get(run.trace.choice or "") or ""
        return Answer(text, run.trace), run.totals


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("records", type=Path, help="The folder of the suites.")
    parser.add_argument("--suites", default=",".join(SUITES))
    parser.add_argument("--splits", type=int, default=5)
    parser.add_argument("--first", type=int, default=0, help="The first split.")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for suite in options.suites.split(","):
        paths = [next(options.records.glob(f"{suite}/{task}.*jsonl.gz")) for task in SUITES[suite]]
        records = list(read_records(paths))
        for split in range(options.first, options.first + options.splits):
            for row in replay(records, split):
                rows.append({"suite": suite, "split": split, **row})
                print(json.dumps(rows[-1]), flush=True)
    print_summary(rows)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


def replay(records: Sequence[Record], seed: int) -> list[dict[str, Any]]:
    """Return, for each kind of feedback, how the mixture that learned does beside the one that did not."""
    rng = np.random.default_rng(seed)
    names = dict.fromkeys(m for r in records for m in r.scores)
    known = [m for m in names if sum(is_known(r, m) for r in records) >= MEASURED * len(records)]
    members = [known[i] for i in rng.permutation(len(known))[:MEMBERS]]
    kept = [r for r in records if all(is_known(r, m) for m in members)]
    order = rng.permutation(len(kept))
    traffic = [replace_struct(kept[j], id=str(i)) for i, j in enumerate(order)]
    half = len(traffic) // 2
    specs = tuple(ModelSpec(m, "http://localhost/v1") for m in members)
    pool = Pool(specs, learning=LearningSettings(every="1h"))
    plain = measure(pool, traffic[half:])
    rows = []
    for kind in KINDS:
        learned, taken, outcomes = teach(pool, traffic[:half], kind, seed)
        now = measure(replace(pool, learned=learned), traffic[half:])
        score, calls, cost = (bootstrap_interval((a - b).tolist(), seed) for a, b in zip(now, plain, strict=True))
        rows.append({
            "feedback": kind, "outcomes": outcomes, "taken_over": taken, "measured": len(traffic) - half,
            "learned": learned.prior if learned else {}, "right_before": float(plain[0].mean()),
            "calls_before": float(plain[1].mean()), "right": [score.mean, score.low, score.high],
            "calls": [calls.mean, calls.low, calls.high], "cost_before": float(plain[2].mean()),
            "cost": [cost.mean, cost.low, cost.high],
        })  # fmt: skip
    return rows


def is_known(record: Record, model: str) -> bool:
    return record.scores.get(model) is not None and bool((record.responses or {}).get(model))


def teach(pool: Pool, traffic: Sequence[Record], kind: str, seed: int) -> tuple[LearnedPriors | None, list[str], int]:
    """Return what is learned in the half with feedback, why each step was taken over, and the outcomes."""
    rng = np.random.default_rng(seed)
    mixture, outcomes, taken = Mixture(pool, rng), list[Outcome](), list[str]()
    known: list[Record] = []
    for i, record in enumerate(traffic):
        if rng.random() < SHARE:
            answer, _ = mixture.answer(record)
            said = grade(answer, record, kind, rng)
            outcome = read_outcome(StoredTrace(record.id, float(i), None, answer, (said,)))
            outcomes += [] if outcome is None else [outcome]
            known.append(record)
        if kind not in ("all", "true") and (i + 1) % (len(traffic) // RUNS) == 0:
            found = learn_from(pool, shuffle(outcomes, seed) if kind == "shuffled" else outcomes)
            if found.result is not None and found.result.gain is not None:
                pool = replace(pool, learned=found.learned)
                mixture = Mixture(pool, rng)
                taken.append(found.result.gain)
    if kind in ("all", "true"):
        shown = known if kind == "all" else traffic
        prior = {m.name: float(np.mean([r.scores[m.name] for r in shown])) for m in pool}
        return LearnedPriors(prior=prior), taken, len(shown)
    return pool.learned, taken, len(outcomes)


def grade(answer: Answer, record: Record, kind: str, rng: np.random.Generator) -> Feedback:
    """Return what a caller says, a tenth of it wrong."""
    asked = dict.fromkeys(p.model for layer in answer.trace.layers for p in layer.proposals)
    wrong = {m: rng.random() < NOISE for m in asked}
    labels = {m: abs((record.scores[m] or 0.0) - wrong[m]) for m in asked}
    return Feedback(score=labels[answer.trace.choice or ""]) if kind == "thumbs" else Feedback(labels=labels)


def shuffle(outcomes: Sequence[Outcome], seed: int) -> list[Outcome]:
    """Return the outcomes with all their scores given to other members and queries."""
    values = [s for o in outcomes for s in o.taught.values()]
    mixed = iter(np.random.default_rng(seed).permutation(np.array(values, np.float64)).tolist())
    return [replace_struct(o, taught={m: next(mixed) for m in o.taught}) for o in outcomes]


def measure(pool: Pool, traffic: Sequence[Record]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the score of each choice, the calls that it took, and their dollars, without exploring."""
    mixture = Mixture(pool)
    answers = [mixture.answer(record) for record in traffic]
    scores = [r.scores[a.trace.choice or ""] or 0.0 for r, (a, _) in zip(traffic, answers, strict=True)]
    calls, costs = [totals.calls for _, totals in answers], [totals.cost or 0.0 for _, totals in answers]
    return np.array(scores, np.float64), np.array(calls, np.float64), np.array(costs, np.float64)


def print_summary(rows: list[dict[str, Any]]) -> None:
    """Print how many splits became better and worse with their whole interval, for each suite and feedback."""
    for suite, kind in dict.fromkeys((r["suite"], r["feedback"]) for r in rows):
        found = [r for r in rows if (r["suite"], r["feedback"]) == (suite, kind)]
        better, worse = (sum(r["right"][1] > 0 for r in found), sum(r["right"][2] < 0 for r in found))
        cheaper = sum(r["calls"][2] < 0 and r["right"][2] >= 0 for r in found)
        right = [100 * r["right"][0] for r in found]
        calls, cost = (
            (float(np.mean([r[f"{key}_before"] for r in found])), float(np.mean([r[key][0] for r in found])))
            for key in ("calls", "cost")
        )
        saved = f", dollars {cost[1] / cost[0]:+.0%}" if cost[0] else ""
        taken = sum(bool(r["taken_over"]) for r in found)
        print(f"{suite:12s} {kind:9s} {len(found)} splits, {taken} taken over: right "
              f"{np.mean(right):+.1f} points ({min(right):+.1f} to {max(right):+.1f}), {better} better, {worse} worse; "
              f"calls {calls[0]:.2f} to {sum(calls):.2f}{saved}, {cheaper} fewer and no worse")  # fmt: skip


if __name__ == "__main__":
    main()
