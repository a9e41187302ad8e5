"""Replay recorded answers as traffic with feedback: does `routemoa learn` make the shown P(right) truer?

    nice python benchmarks/judge_feedback.py ../shared/data/records --splits 5

ZeroEval's GSM8K and MATH level 5. A third of the questions gives each model's prior on each task, its mean score. The
rest is traffic, which a panel of the five best by the prior answers. In its first half a fifth of the answers' panels
is graded by an expected answer, a tenth of the grades wrong; `routemoa learn` fits and compares. On the other half,
which gives no feedback, the default judge model is compared with the one that was fitted, whether it was taken over or
not, by the true scores. `shuffled` learns from the grades of other panels on the same task. With --copies the second
and third member of each panel repeat the first one's answer, as where one model stands behind three names.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from random import Random

from msgspec.structs import replace

from routemoa.cli.learning.judge_learning import learn_judge
from routemoa.core.pool_file.pool import Pool
from routemoa.core.trace import Layer, Proposal, Trace
from routemoa.core.types import ModelSpec, Query, Scores
from routemoa.core.usage import Usage
from routemoa.datasets.records import Record, read_records
from routemoa.evaluation.statistics import MeanInterval, bootstrap_interval
from routemoa.judging.judge_model import JudgeModel
from routemoa.judging.pool_judge import PoolJudge
from routemoa.training.judge.outcome_fit import JudgedPanel, RecordedPanel, judge_trace

TASKS = ("gsm", "math_l5")
PANEL, SHARE, NOISE = 5, 0.2, 0.1
MEASURED = 0.98
"""Of the questions, that a model must have answered."""
SMALLEST = 0.01
"""A shown probability nearer to 0 or 1 than this is taken as this far away."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("records", type=Path, help="The folder of the suites.")
    parser.add_argument("--splits", type=int, default=5)
    parser.add_argument("--copies", action="store_true")
    options = parser.parse_args()
    data = {task: list(read_records([options.records / "zeroeval" / f"{task}.jsonl.gz"])) for task in TASKS}
    for split in range(options.splits):
        taught, served = split_traffic(data, split, copies=options.copies)
        for kind in ("expected", "shuffled"):
            print(f"split {split}, {kind}: {replay(taught, served, Random(split), shuffles=kind == 'shuffled')}")


def split_traffic(
    data: dict[str, list[Record]], seed: int, *, copies: bool
) -> tuple[list[RecordedPanel], list[RecordedPanel]]:
    """Return the panels of both halves of the traffic, with true scores."""
    draw = Random(seed)
    halves: tuple[list[RecordedPanel], list[RecordedPanel]] = ([], [])
    for records in data.values():
        order = draw.sample(records, len(records))
        third = len(order) // 3
        prior = measure_priors(order[:third])
        for i, record in enumerate(order[third:]):
            halves[i % 2].append(ask(copy_first(record, prior) if copies else record, prior))
    return halves


def measure_priors(records: list[Record]) -> dict[str, float]:
    """Return the mean score of each model that answered nearly all."""
    scores: dict[str, list[float]] = {}
    for record in records:
        for model, score in record.scores.items():
            if score is not None and (record.responses or {}).get(model):
                scores.setdefault(model, []).append(score)
    known = {m: (sum(s) + 1) / (len(s) + 2) for m, s in scores.items() if len(s) >= MEASURED * len(records)}
    return dict(sorted(known.items(), key=lambda item: -item[1])[:PANEL])


def copy_first(record: Record, prior: dict[str, float]) -> Record:
    """Return a record in which the second and third member repeat what the first one says."""
    first, *copies = list(prior)[:3]
    texts = dict(record.responses or {})
    same = {m: texts[first] for m in copies if first in texts}
    scores = record.scores | dict.fromkeys(copies, record.scores.get(first))
    return replace(record, responses=texts | same, scores=scores)


def ask(record: Record, prior: dict[str, float]) -> RecordedPanel:
    """Return the answers of the panel to a question."""
    texts = {m: t for m in prior if (t := (record.responses or {}).get(m)) and record.scores.get(m) is not None}
    proposals = tuple(Proposal(m, t, Usage(0, 0), None, None) for m, t in texts.items())
    layers = (Layer(tuple(texts), proposals),)
    trace = Trace(Query.from_text(record.query), "routemoa", dict(prior), layers=layers)
    return RecordedPanel(trace, {m: record.scores[m] for m in texts})


def replay(taught: list[RecordedPanel], served: list[RecordedPanel], draw: Random, *, shuffles: bool) -> str:
    """Learn from the one half, and return how the fit does on the other."""
    said = [RecordedPanel(p.trace, add_noise(p.scores, draw)) for p in taught if draw.random() < SHARE]
    if shuffles:
        said = shuffle(said, draw)
    names = dict.fromkeys(m for p in (*taught, *served) for m in p.trace.prior)
    specs = tuple(ModelSpec(m, "http://127.0.0.1:9/v1") for m in names)
    now = JudgeModel()
    found = learn_judge(Pool(specs), PoolJudge(now, now), said)
    if found is None:
        return f"{len(said)} outcomes are too few"
    losses, gains = list[float](), list[float]()
    for panel in served:
        before, after = (judge_trace(panel.trace, j, specs, verbalized=True) for j in (now, found.judge_model))
        losses.append(measure_loss(before, panel.scores) - measure_loss(after, panel.scores))
        gains.append((panel.scores.get(after.choice or "") or 0.0) - (panel.scores.get(before.choice or "") or 0.0))
    taken = "taken over" if found.result.better else "kept"
    loss, gain = bootstrap_interval(losses, 0), bootstrap_interval(gains, 0)
    return f"{len(said)} outcomes, {taken}; log-loss lower by {show(loss)}, accuracy {show(gain, 100)} points"


def add_noise(scores: Scores, draw: Random) -> Scores:
    """Return grades of which a tenth are wrong."""
    return {m: s if s is None or draw.random() >= NOISE else 1.0 - s for m, s in scores.items()}


def shuffle(panels: list[RecordedPanel], draw: Random) -> list[RecordedPanel]:
    """Return each panel with the grades of another one of the same members."""
    places: dict[tuple[str, ...], list[int]] = {}
    for i, panel in enumerate(panels):
        places.setdefault(tuple(panel.scores), []).append(i)
    source = {i: j for same in places.values() for i, j in zip(same, draw.sample(same, len(same)), strict=True)}
    return [RecordedPanel(panel.trace, panels[source[i]].scores) for i, panel in enumerate(panels)]


def measure_loss(judged: JudgedPanel, scores: Scores) -> float:
    """Return the mean log-loss of the shown probabilities."""
    losses = [
        -math.log(max(p if right else 1.0 - p, SMALLEST))
        for m, right in scores.items()
        if right is not None and (p := judged.probabilities.get(m)) is not None
    ]
    return sum(losses) / len(losses) if losses else 0.0


def show(interval: MeanInterval, scale: float = 1.0) -> str:
    """Return a mean with its interval."""
    return f"{scale * interval.mean:+.3f} ({scale * interval.low:+.3f} to {scale * interval.high:+.3f})"


if __name__ == "__main__":
    main()
