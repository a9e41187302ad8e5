"""What a reader should hold against the figures, in plain words."""

from __future__ import annotations

from collections.abc import Sequence

from routemoa.evaluation.outcomes import Run
from routemoa.evaluation.report.table import Cases, Row

__all__ = ["FEW", "caveats", "missing"]

FEW = 200  # questions, below which a difference of a few points cannot be told from chance
NAMES = {"cost": "Dollars", "seconds": "Seconds", "tokens": "Tokens", "completion_tokens": "Tokens written"}
WHY = {
    "cost": "no price is known for a model that was called",
    "tokens": "nobody counted both the read and the written ones",
    "completion_tokens": "nobody counted them",
    "path_tokens": "nobody counted them",
    "seconds": "the records hold no times",
}


def missing(measure: str, rows: Sequence[Row]) -> str | None:
    """Why a figure is unknown, and for whom; None where everybody has it."""
    without = [r for r in rows if measure in r.unknown]
    if not without:
        return None
    whom = "every method" if len(without) == len(rows) else ", ".join(r.method for r in without)
    some = [r for r in without if r.unknown[measure] < r.n]
    said = f"{NAMES.get(measure, 'Tokens on the critical path')} are unknown for {whom}, because {WHY[measure]}"
    return f"{said} ({some[0].method}: for {some[0].unknown[measure]:,} answers)." if some else f"{said}."


def caveats(run: Run, found: Cases, rows: Sequence[Row], against: str | None, seeds: int) -> tuple[str, ...]:
    """The run's own notes, and those that its figures call for."""
    count = len({key for of in found.values() for key in of})
    said = [*run.notes, *_partial(run, rows, count)]
    if count < FEW:
        said.append(f"Few questions ({count:,}): a difference of a few points cannot be told from chance.")
    ours = next((r for r in rows if r.method == "routemoa"), None)
    if ours and ours.gap and ours.gap.low <= 0 <= ours.gap.high:
        said.append(f"The interval of the difference between routemoa and {against} includes zero: it may be chance.")
    if against and against != "best-single":
        said.append(
            f"{against} stands for the best single model: it did best on these very questions, which flatters it."
        )
    if against is None:
        said.append("No single model was run: nothing says whether the mixture is worth its calls.")
    said += [why for measure in ("cost", "seconds", "tokens") if (why := missing(measure, rows))]
    said += _spent(rows)
    if "oracle" in found:
        said.append("The oracle picks with the answers in hand. Nobody can reach it; it bounds what choosing can give.")
    if any(r.group == "single" for r in rows) and against == "best-single":
        said.append("best-single was chosen on other questions; the best of single:... here is known only afterwards.")
    said.append(_seeds(run, seeds))
    if any(r.means["seconds"] for r in rows):
        said.append("Seconds were taken on one machine under one load; elsewhere they differ, the calls do not.")
    said.append("Intervals are over these questions only: other tasks, prompts and models may behave otherwise.")
    return tuple(said)


def _partial(run: Run, rows: Sequence[Row], count: int) -> list[str]:
    short = [r for r in rows if r.n < count]
    absent = [m for m in run.methods if m not in {r.method for r in rows}]
    said = []
    if short or absent:
        counts = [f"{r.method} {r.n:,} of {count:,}" for r in short] + [f"{m} none of {count:,}" for m in absent]
        said.append(f"This run is not finished: {', '.join(counts)} questions. Differences are on questions both have.")
    elif run.limit and count < run.limit:
        said.append(f"{count:,} questions were run, though {run.limit:,} were allowed.")
    return said


def _spent(rows: Sequence[Row]) -> list[str]:
    said = []
    if rows and all(r.means["cost"] == 0 for r in rows):
        said.append("Nobody charged anything: these models ran here, and electricity and hardware are not counted.")
    if failed := [r for r in rows if r.failed]:
        said.append(
            "A failure counts as a wrong answer: " + ", ".join(f"{r.method} {r.failed:,}" for r in failed) + "."
        )
    if open_ := [r for r in rows if r.ungraded]:
        counts = ", ".join(f"{r.method} {r.ungraded:,}" for r in open_)
        said.append(f"Answers that could not be graded are left out of accuracies: {counts}.")
    return said


def _seeds(run: Run, seeds: int) -> str:
    if run.kind == "live":
        return "A live run: each question was asked once, and a model may answer otherwise the next time."
    times = "one seed" if seeds == 1 else f"the mean of {seeds} seeds"
    return f"A replay on recorded answers, {times}: nobody was called for it."
