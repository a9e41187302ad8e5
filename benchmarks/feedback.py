"""Replay recorded suites as traffic with feedback: does learning from it choose better than the scorer alone?

    nice python benchmarks/feedback.py ../shared/data/records --suites routerdc,ulab --json feedback.json
    nice python benchmarks/feedback.py ../shared/data/records --suites routerbench,zeroeval,mmlu_pro

A scorer is trained, and the rest is traffic. In its first half callers send feedback on a fifth of the answers, a tenth
of it wrong, and what `routemoa learn` does runs six times. On the second half, which gives no feedback, the choices
with and without what was learned are compared. What the scorer was trained on:

    same       a third of the questions of the suite: traffic as in training
    small      a hundred of them
    new:TASK   questions of the suite's other tasks, while all traffic is of this one

What callers say, of a panel of three, the best by the prior:

    thumbs     whether the answer that was chosen is right
    expected   the right answer, which grades the whole panel, and one further member on one of twenty queries

Two figures say what can be had at all: `shuffled` learns from the same scores given to other outcomes, and `all` fits
the true scores of all members on the same fifth, without a check. A member displaces the choice of the scorer alone
where it is better by two points, as in the engine. With --fallen the member that is chosen most often answers half of
its right answers wrong in all traffic.
"""

from __future__ import annotations

import argparse
import json
import pickle
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from routemoa.core.learned.learned_priors import LearnedPriors
from routemoa.core.types import Scores
from routemoa.datasets.records import Record, read_records
from routemoa.evaluation.shadow import HeldOut, compare_priors
from routemoa.evaluation.statistics import bootstrap_interval
from routemoa.scoring.learned import correct_priors
from routemoa.training.cross_fit import CrossFit, Lesson, cross_fit, predict_lifted
from routemoa.training.fast_recipe import train_fast
from routemoa.training.prior_shifts import TaughtQuery, fit_priors
from routemoa.training.table import Table, build_table

SHARE, NOISE = 0.2, 0.1
"""Of answers that get feedback, and of feedback that is wrong."""
MIN_OUTCOMES = 90
"""Below which `routemoa learn` does nothing."""
PANEL = 3
EXPLORE = 0.05
"""The share of queries on which one further member is asked, as `[learning] explore` has it."""
RUNS = 6
"""Of `routemoa learn`, in the half with feedback."""
HYSTERESIS = 0.02
MAX_TRAINING = 2000
MIN_TRAFFIC = 600
"""Questions of a task that is served as new."""
SUITES = {
    "routerdc": ["gsm8k", "humaneval", "arc_challenge", "cmmlu", "mmlu"],
    "routerbench": ["arc_challenge", "mbpp", "winogrande"],
    "zeroeval": ["gsm", "math_l5", "mmlu_redux"],
    "mmlu_pro": ["mmlu_pro"],
    "ulab": ["dcrouter"],
}
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Traffic:
    """Queries in their order. Sizes: N queries, M models, T tasks of the scorer."""

    models: tuple[str, ...]
    tasks: tuple[str, ...]
    scores: Floats
    """N x M."""
    priors: Floats
    """N x M."""
    shares: Floats
    """N x T: P(task | query)."""

    def lesson(self, i: int, scores: Scores) -> Lesson:
        """Return a query with what is known of the members' answers."""
        prior: Scores = dict(zip(self.models, self.priors[i].tolist(), strict=True))
        return Lesson(float(i), prior, scores, dict(zip(self.tasks, self.shares[i].tolist(), strict=True)))

    def choose(self, i: int, learned: LearnedPriors) -> list[int]:
        """Return the members by what was learned, best first; the scorer's own choice is displaced by clear leads."""
        prior = self.lesson(i, {}).prior
        tasks = dict(zip(self.tasks, self.shares[i].tolist(), strict=True))
        now = correct_priors(learned, prior, tasks)
        values = np.array([now[m] or 0.0 for m in self.models])
        values[int(self.priors[i].argmax())] += HYSTERESIS
        return [int(k) for k in np.argsort(-values, kind="stable")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("records", type=Path, help="The folder of the suites.")
    parser.add_argument("--suites", default="routerdc,ulab")
    parser.add_argument("--splits", type=int, default=5)
    parser.add_argument("--fallen", action="store_true")
    parser.add_argument("--cache", type=Path, help="Where predictions are kept between runs.")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for suite in options.suites.split(","):
        data, parts = read_suite(options.records, suite)
        for setting, training in list_settings(parts):
            for split in range(options.splits):
                file = options.cache / f"{suite}-{setting.replace('/', '-')}-{split}.pickle" if options.cache else None
                traffic = prepare(data, parts, setting, training, split, file)
                for kind in ("thumbs", "expected", "shuffled", "all"):
                    row = {"suite": suite, "setting": setting, "split": split, "feedback": kind}
                    row |= replay(traffic, split, kind, fallen=options.fallen)
                    rows.append(row)
                    print(describe(row), flush=True)
    print_summary(rows)
    if options.json:
        options.json.write_text(json.dumps({"fallen": options.fallen, "rows": rows}, indent=1) + "\n")


def read_suite(folder: Path, suite: str) -> tuple[Table, NDArray[np.str_]]:
    """Return the questions that all models of a suite were measured on, and the task of each."""
    records: list[Record] = []
    parts: list[str] = []
    for name in SUITES[suite]:
        path = next(folder.glob(f"{suite}/{name}.*jsonl.gz"))
        found = list(read_records([path]))
        records += found
        parts += [r.task.split("/")[-1] if len(SUITES[suite]) == 1 else name for r in found]
    data = build_table(records)
    measured = ~np.isnan(data.scores)
    data = data.select_models([m for m, share in zip(data.models, measured.mean(0), strict=True) if share > 0.98])
    rows = np.flatnonzero(~np.isnan(data.scores).any(axis=1))
    return data.select_rows(rows), np.array(parts)[rows]


def list_settings(parts: NDArray[np.str_]) -> Iterator[tuple[str, int | None]]:
    """Yield what the scorer is trained on: a name, and the number of questions of the suite, None for other tasks."""
    yield "same", len(parts) // 3
    yield "small", 100
    tasks = [task for task, count in sorted(Counter(parts.tolist()).items()) if count >= MIN_TRAFFIC]
    if len(set(parts.tolist())) > 1:
        yield from ((f"new:{task}", None) for task in tasks)


def prepare(
    data: Table, parts: NDArray[np.str_], setting: str, training: int | None, seed: int, file: Path | None
) -> Traffic:
    """Train a scorer, and return the rest as traffic with its predictions."""
    if file is not None and file.exists():
        kept: Traffic = pickle.loads(file.read_bytes())
        return kept
    rng = np.random.default_rng(seed)
    if training is None:
        inside = parts == setting.removeprefix("new:")
        taught = rng.permutation(np.flatnonzero(~inside))[:MAX_TRAINING]
        served = rng.permutation(np.flatnonzero(inside))
    else:
        order = rng.permutation(len(parts))
        taught, served = order[:training], order[training:]
    predictor = train_fast(data.select_rows(taught), seed).predictor
    rest = data.select_rows(served)
    vectors = predictor.embed(rest.texts)
    traffic = Traffic(
        predictor.models,
        predictor.tasks,
        rest.select_models(predictor.models).scores.astype(np.float64),
        predictor.predict_vectors(vectors).astype(np.float64),
        predictor.classify_tasks(vectors).astype(np.float64),
    )
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(pickle.dumps(traffic))
    return traffic


def replay(traffic: Traffic, seed: int, kind: str, *, fallen: bool) -> dict[str, Any]:
    """Return how the choices in the second half differ from those of the scorer alone, in mean score."""
    rng = np.random.default_rng(seed)
    if fallen:
        favourite = Counter(traffic.priors.argmax(axis=1).tolist()).most_common(1)[0][0]
        traffic.scores[np.random.default_rng(seed).random(len(traffic.scores)) < 0.5, favourite] = 0.0
    half = len(traffic.scores) // 2
    said, wrong = rng.random(half) < SHARE, rng.random((half, len(traffic.models))) < NOISE
    explores = rng.random(half)
    learned, lessons, taken = LearnedPriors(), list[Lesson](), list[str]()
    for i in range(half):
        if said[i]:
            ranked = traffic.choose(i, learned)
            panel = ranked[: 1 if kind == "thumbs" else PANEL]
            if kind != "thumbs" and explores[i] < EXPLORE and len(ranked) > PANEL:
                panel.append(ranked[PANEL + int(explores[i] / EXPLORE * (len(ranked) - PANEL))])
            seen = np.abs(traffic.scores[i] - wrong[i])
            lessons.append(traffic.lesson(i, {traffic.models[k]: float(seen[k]) for k in panel}))
        if (i + 1) % max(1, half // RUNS) == 0 and len(lessons) >= MIN_OUTCOMES and kind != "all":
            shown = shuffle(lessons, seed) if kind == "shuffled" else lessons
            fitted, gain = learn(shown, learned)
            if gain is not None:
                learned = fitted
                taken.append(gain)
    if kind == "all":
        true = [
            TaughtQuery(e.prior, dict(zip(traffic.models, traffic.scores[int(e.at)].tolist(), strict=True)), e.tasks)
            for e in lessons
        ]
        learned = fit_priors(true)
    later = range(half, len(traffic.scores))
    chosen = np.array([traffic.choose(i, learned)[0] for i in later])
    alone = traffic.scores[half:][np.arange(len(later)), traffic.priors[half:].argmax(axis=1)]
    interval = bootstrap_interval((traffic.scores[half:][np.arange(len(later)), chosen] - alone).tolist(), seed)
    return {
        "outcomes": len(lessons),
        "measured": len(later),
        "alone": float(alone.mean()),
        "taken_over": taken,
        "mean": interval.mean,
        "low": interval.low,
        "high": interval.high,
    }


def learn(lessons: list[Lesson], now: LearnedPriors) -> tuple[LearnedPriors, str | None]:
    """Return what `routemoa learn` learns, and why it takes it over; None where it does not."""
    fit = cross_fit(lessons)
    gain = compare(lessons, fit, now)
    if gain is None and now not in (fit.learned, LearnedPriors()):
        gain = compare(lessons, fit, LearnedPriors())
    return fit.learned, gain


def compare(lessons: list[Lesson], fit: CrossFit, now: LearnedPriors) -> str | None:
    """Return what is better about what lessons teach than about other priors; None where nothing is."""
    held_out = [
        HeldOut(Record("i", "t", "q", lesson.scores), before, after)
        for lesson, before, after in zip(lessons, predict_lifted(lessons, now), fit.after, strict=True)
    ]
    return compare_priors(held_out).gain


def shuffle(lessons: list[Lesson], seed: int) -> list[Lesson]:
    """Return the lessons with all their scores given to other members and queries."""
    values = [s for lesson in lessons for s in lesson.scores.values()]
    mixed = iter(np.random.default_rng(seed).permutation(np.array(values, np.float64)).tolist())
    return [Lesson(e.at, e.prior, {m: next(mixed) for m in e.scores}, e.tasks) for e in lessons]


def describe(row: dict[str, Any]) -> str:
    return (
        f"{row['suite']} {row['setting']} split {row['split']} {row['feedback']}: {row['outcomes']} outcomes, "
        f"alone {row['alone']:.3f}, {100 * row['mean']:+.1f} ({100 * row['low']:+.1f} to {100 * row['high']:+.1f}) "
        f"points on {row['measured']}; taken over: {', '.join(row['taken_over']) or 'nothing'}"
    )


def print_summary(rows: list[dict[str, Any]]) -> None:
    """Print how many splits were better and worse with their whole interval, for each setting and feedback."""
    for suite, setting, kind in dict.fromkeys((r["suite"], r["setting"], r["feedback"]) for r in rows):
        found = [r for r in rows if (r["suite"], r["setting"], r["feedback"]) == (suite, setting, kind)]
        better, worse = sum(r["low"] > 0 for r in found), sum(r["high"] < 0 for r in found)
        mean = 100 * sum(r["mean"] for r in found) / len(found)
        print(f"{suite:12s} {setting:20s} {kind:9s} {better} better, {worse} worse of {len(found)}, mean {mean:+.1f}")


if __name__ == "__main__":
    main()
