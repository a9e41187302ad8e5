"""List the caveats of a report, in plain words."""

from __future__ import annotations

from collections.abc import Sequence

from routemoa.core.text.plural import counted
from routemoa.evaluation.outcomes import Run
from routemoa.evaluation.report.method_rows import GroupedOutcomes, MethodRow

__all__ = ["UNFINISHED", "explain_unknown", "list_caveats"]

FEW_QUESTIONS = 200
"""Below so many questions, chance alone explains a difference of a few points."""
UNFINISHED = "This run is not finished"
"""How the caveat of an unfinished run begins."""
SUBJECTS = {"cost": "Dollars", "seconds": "Seconds", "tokens": "Tokens", "completion_tokens": "Output tokens"}
REASONS = {
    "cost": "a model that was called has no known price, or a call was cancelled before its tokens were counted",
    "tokens": "an endpoint did not count them, or a call was cancelled before that",
    "completion_tokens": "they were not counted",
    "path_tokens": "they were not counted",
    "seconds": "the records hold no times",
}


def explain_unknown(measure: str, rows: Sequence[MethodRow]) -> str | None:
    """Return a sentence that says for which methods a measure is unknown, and why; None where all have it."""
    without = [row for row in rows if measure in row.unknown]
    if not without:
        return None
    methods = "every method" if len(without) == len(rows) else ", ".join(row.method for row in without)
    subject = SUBJECTS.get(measure, "Tokens on the critical path")
    sentence = f"{subject} are unknown for {methods}, because {REASONS[measure]}"
    partly = next((row for row in without if row.unknown[measure] < row.n), None)
    if partly is None:
        return f"{sentence}."
    count = partly.unknown[measure]
    return f"{sentence} ({partly.method}: for {counted(count, 'answer')})."


def list_caveats(
    run: Run, grouped: GroupedOutcomes, rows: Sequence[MethodRow], baseline: str | None, seeds: int
) -> tuple[str, ...]:
    """Return the run's own notes, followed by the caveats that its figures call for."""
    count = len({question for questions in grouped.values() for question in questions})
    caveats = [*run.notes, *_incomplete_run(run, rows, count)]
    if count < FEW_QUESTIONS:
        caveats.append(f"Few questions ({count:,}): chance alone can explain a difference of a few points.")
    caveats += _baseline_caveats(rows, baseline)
    caveats += [why for measure in ("cost", "seconds", "tokens") if (why := explain_unknown(measure, rows))]
    caveats += _counting_caveats(rows)
    if "oracle" in grouped:
        caveats.append("The oracle chooses with the scores known: it is an upper bound, not a usable method.")
    if any(row.group == "single" for row in rows) and baseline == "best-single":
        caveats.append("best-single was chosen on other questions; which single:NAME is best here is known only now.")
    caveats.append(_sampling(run, seeds))
    if any(row.means["seconds"] for row in rows):
        caveats.append("Seconds were measured on one machine under one load; elsewhere they differ, the calls do not.")
    caveats.append("Intervals are over these questions only: other tasks, prompts and models may give other results.")
    return tuple(caveats)


def _incomplete_run(run: Run, rows: Sequence[MethodRow], count: int) -> list[str]:
    partial = [row for row in rows if row.n < count]
    absent = [m for m in run.methods if m not in {row.method for row in rows}]
    if partial or absent:
        counts = [f"{row.method} {row.n:,} of {count:,}" for row in partial]
        counts += [f"{method} none of {count:,}" for method in absent]
        return [f"{UNFINISHED}: {', '.join(counts)} questions. Differences are on the questions that both have."]
    if run.limit and count < run.limit:
        return [f"{counted(count, 'question was', 'questions were')} run, though the limit was {run.limit:,}."]
    return []


def _baseline_caveats(rows: Sequence[MethodRow], baseline: str | None) -> list[str]:
    """Return caveats about the comparison with the best single model."""
    if baseline is None:
        return ["No single model was run: the report cannot say whether the mixture is worth its calls."]
    caveats = []
    ours = next((row for row in rows if row.method == "routemoa"), None)
    if ours and ours.gap and not ours.gap.is_significant:
        caveats.append(
            f"The interval of the difference between routemoa and {baseline} includes zero: it may be chance."
        )
    if baseline != "best-single":
        caveats.append(
            f"{baseline} stands for the best single model: it was chosen on these very questions, which flatters it."
        )
    return caveats


def _counting_caveats(rows: Sequence[MethodRow]) -> list[str]:
    """Return caveats about free models, failures and ungraded answers."""
    caveats = []
    if rows and all(row.means["cost"] == 0 for row in rows):
        caveats.append("No call cost anything: these models ran here, and electricity and hardware are not counted.")
    if failed := [row for row in rows if row.failed]:
        counts = ", ".join(f"{row.method} {row.failed:,}" for row in failed)
        caveats.append(f"A failure counts as a wrong answer: {counts}.")
    if ungraded := [row for row in rows if row.ungraded]:
        counts = ", ".join(f"{row.method} {row.ungraded:,}" for row in ungraded)
        caveats.append(f"Answers that could not be graded are left out of accuracies: {counts}.")
    return caveats


def _sampling(run: Run, seeds: int) -> str:
    if run.kind == "live":
        return "A live run: each question was asked once, and a model may answer differently the next time."
    runs = "one seed" if seeds == 1 else f"the mean of {seeds} seeds"
    return f"A replay on recorded answers, {runs}: no model was called."
