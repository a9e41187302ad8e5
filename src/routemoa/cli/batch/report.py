"""What a batch has come to so far, what it will take, and how both are said."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from msgspec.structs import replace

from routemoa.cli.terminal.progress import StepProgress
from routemoa.core.pool_file.pool import METHODS, Pool
from routemoa.core.text.dollars import format_dollars
from routemoa.datasets.collector import Estimate
from routemoa.datasets.questions import Question
from routemoa.evaluation.live.cost_estimate import estimate_cost
from routemoa.evaluation.live.runner import WorkUnit
from routemoa.gateway.batches.jobs.job import InputSummary

__all__ = ["BatchReport", "describe_progress", "estimate_rows"]


@dataclass
class BatchReport:
    """What came of a job so far, its earlier parts included."""

    rows: int
    answered: int = 0
    failed: int = 0
    calls: int = 0
    cost: float = 0.0
    """Dollars of the calls whose cost is known."""
    uncertain: float = 0.0
    """Dollars that calls of unknown cost can have cost at most."""
    unpriced: int = 0
    seconds: float = 0.0
    """Of this part."""
    files: list[str] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)
    """Why rows failed."""

    @property
    def finished(self) -> int:
        """Return how many rows have a result."""
        return self.answered + self.failed

    def to_plain(self) -> dict[str, Any]:
        """Return the figures as JSON has them."""
        return {**vars(self), "remaining": self.rows - self.finished, "reasons": dict(self.reasons.most_common(20))}


def estimate_rows(pool: Pool, summary: InputSummary, models: dict[str, int], remaining: int) -> Estimate:
    """Return the most that rows can take: each asks what it names a question of the mean length."""
    text = "x" * (summary.characters // summary.rows)
    total = Estimate(0, 0, 0, 0.0, 0.0, ())
    for name, count in models.items():
        if name not in METHODS and name not in pool:
            continue  # its rows fail, and cost nothing
        method = name if name in METHODS else f"single:{name}"
        one = estimate_cost([WorkUnit(method, Question("1", "batch", text))], pool)
        share = count * remaining / summary.rows
        cost = None if one.cost is None or total.cost is None else total.cost + one.cost * share
        total = replace(
            total,
            calls=total.calls + round(one.calls * share),
            prompt_tokens=total.prompt_tokens + round(one.prompt_tokens * share),
            completion_tokens=total.completion_tokens + round(one.completion_tokens * share),
            cost=cost,
            known_cost=total.known_cost + one.known_cost * share,
            unpriced=tuple(dict.fromkeys((*total.unpriced, *one.unpriced))),
        )
    return total


def describe_progress(progress: StepProgress, steps: int, seconds: float, spent: float, report: BatchReport) -> str:
    """Return what a job has spent, what it will spend and how long it will take, from what it took so far.

    Args:
        progress: of this part.
        steps: rows that have just ended, which it does not count yet.
        seconds: of this part.
        spent: dollars of this part.
        report: of the whole job.
    """
    done, left = progress.done + steps, progress.total - progress.done - steps
    parts = [format_dollars(report.cost, 4)]
    if left:
        parts[0] += f" of about {format_dollars(report.cost + spent / done * left, 4)}"
        parts.append(f"{format_seconds(seconds / done * left)} left")
    return ", ".join([*parts, *([f"{report.failed:,} failed"] if report.failed else [])])


def format_seconds(seconds: float) -> str:
    """Return a duration in words that are short: 40 s, 5 min, 3.2 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
