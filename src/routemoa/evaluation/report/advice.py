"""What to do after a run, in a few sentences: which method, which pool, how many more questions. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from routemoa.core.catalog.families import find_family
from routemoa.evaluation.dominance import Dominance
from routemoa.evaluation.formatting import format_points, shorten
from routemoa.evaluation.outcomes import Run
from routemoa.evaluation.power import ALPHA, NOTICEABLE, POWER, SampleSize, estimate_sample_size
from routemoa.evaluation.report.findings import ModelShares
from routemoa.evaluation.report.headline import OURS, Headline
from routemoa.evaluation.report.method_rows import (
    MEASURES,
    AccuracyGap,
    GroupedOutcomes,
    MethodOutcomes,
    MethodRow,
    mean_score,
)

__all__ = ["Advice", "build_advice", "name_single_model"]

EQUAL_SPENDING = 0.05
"""Spending that differs by less counts as equal."""
MIN_QUESTIONS = 20
"""Below so many questions a model that was never called may still be of use."""
SMALL_ROOM = 0.02
"""Of the accuracy: what a perfect choice must add for a better choice to be worth looking for."""
MAX_NAMED = 4
SPENDING = ("cost", "tokens", "completion_tokens", "seconds", "path_tokens", "calls")
"""Measures by which two methods are compared; the first that is known counts."""


class Advice(Struct, frozen=True):
    """What to do; each a sentence or two."""

    method: str
    pool: str | None
    questions: str | None
    sample: SampleSize | None = None
    """What the sentence about the questions rests on."""

    @property
    def sentences(self) -> tuple[str, ...]:
        """Return what there is to say, in order."""
        return tuple(text for text in (self.method, self.pool, self.questions) if text)


def build_advice(
    run: Run,
    grouped: GroupedOutcomes,
    figures: Mapping[str, Any],
    *,
    headline: Headline,
    rows: Sequence[MethodRow],
    chosen: ModelShares | None,
    dominance: Dominance | None,
) -> Advice:
    """Return what follows from a run.

    Args:
        run: what was run.
        grouped: its outcomes.
        figures: the summary of the same outcomes.
        headline: the comparison with the best single model.
        rows: of all methods.
        chosen: how often models were called.
        dominance: the model that dominates the pool.
    """
    sample = None
    if OURS in grouped and headline.baseline is not None:
        sample = estimate_sample_size(list_differences(grouped[OURS], grouped[headline.baseline]))
    row_of = {row.method: row for row in rows}
    return Advice(
        _advise_method(grouped, headline, _find_better(rows, figures), dominance),
        _advise_pool(run, row_of, chosen),
        None if sample is None or not sample.asked else _advise_questions(headline, sample),
        sample,
    )


def list_differences(ours: MethodOutcomes, theirs: MethodOutcomes) -> list[float]:
    """Return the difference of two methods' mean scores on each question that was graded for both."""
    pairs = [(mean_score(outcomes), mean_score(theirs[key])) for key, outcomes in ours.items() if key in theirs]
    return [a - b for a, b in pairs if a is not None and b is not None]


def name_single_model(grouped: GroupedOutcomes, baseline: str) -> str:
    """Return the method that calls the model behind a baseline: best-single is `single:NAME` where one is known."""
    if baseline.startswith("single:"):
        return baseline
    models = Counter(o.choice for outcomes in grouped[baseline].values() for o in outcomes if o.choice)
    return f"single:{next(iter(models))}" if len(models) == 1 else baseline


def _advise_method(
    grouped: GroupedOutcomes, headline: Headline, better: str | None, dominance: Dominance | None
) -> str:
    """Return which method to use; `better` is one that is more accurate than ours, by more than chance."""
    if OURS not in grouped:
        return f"Run {OURS}, too: this run cannot say whether a mixture is worth it."
    if headline.baseline is None:
        return f"Run best-single, too: without it this run cannot say whether {OURS} is worth its calls."
    if headline.gap is None:
        return "Give the questions a reference and a grader: nothing was graded, so nothing can be compared."
    if dominance is not None:
        return f"Use `single:{dominance.model}`: it dominates this pool, and a mixture will not help."
    single = name_single_model(grouped, headline.baseline)
    if better or headline.verdict == "worse":
        winner = single if better in (None, headline.baseline) else better
        return f"Use `{winner}`: on these questions it is more accurate than `{OURS}`, by more than chance."
    return _weigh_spending(single, headline)


def _weigh_spending(single: str, headline: Headline) -> str:
    """Return which of two methods to use where neither is worse than the other by more than chance, or ours better."""
    measure, ratio = _compare_spending(headline.ratios)
    label = MEASURES[measure]
    if headline.verdict == "better":
        price = "" if ratio is None else f", at {ratio:.2f} times the {label}"
        return f"Use `{OURS}`: it is more accurate than `{single}`, by more than chance{price}."
    if ratio is None or abs(ratio - 1) <= EQUAL_SPENDING:
        spending = "" if ratio is None else f", and both take about the same {label}"
        return f"Use `{single}` or `{OURS}`: these questions show no difference{spending}."
    cheaper, other, times = (single, OURS, ratio) if ratio > 1 else (OURS, single, 1 / ratio)
    return (
        f"Use `{cheaper}` until more questions show a difference: `{other}` takes {times:.2f} times the {label} and is "
        "not more accurate, as far as these show."
    )


def _find_better(rows: Sequence[MethodRow], figures: Mapping[str, Any]) -> str | None:
    """Return the most accurate usable method that beats ours by more than chance; None without any.

    With many methods one is ahead by chance, so the level is divided by their number (Bonferroni).
    """
    usable = [row for row in rows if row.group in ("baseline", "single") and row.accuracy is not None]
    better: dict[str, float] = {}
    for row in usable:
        gap = AccuracyGap.between(figures, row.method, OURS)
        if gap and gap.low > 0 and (gap.p or 0.0) * len(usable) < ALPHA:
            better[row.method] = gap.difference
    return max(better, key=lambda method: better[method], default=None)


def _compare_spending(ratios: Mapping[str, float | None]) -> tuple[str, float | None]:
    """Return the first measure of SPENDING that is known, and our share of the baseline's."""
    known = [(m, ratio) for m in SPENDING if (ratio := ratios.get(m))]
    return known[0] if known else (SPENDING[0], None)


def _advise_pool(run: Run, row_of: Mapping[str, MethodRow], chosen: ModelShares | None) -> str | None:
    """Return which models to leave out or to add; None where nothing follows."""
    families = {find_family(model) for model in run.models}
    if len(run.models) > 1 and len(families) == 1 and None not in families:
        return f"Add a model of another family: all are {families.pop()}, and models of one family err together."
    ours, oracle = row_of.get(OURS), row_of.get("oracle")
    if ours and oracle and ours.accuracy is not None and oracle.accuracy is not None:
        room = oracle.accuracy - ours.accuracy
        if room < SMALL_ROOM:
            return (
                f"To get further, add a model with other strengths: even a perfect choice among these answers would "
                f"gain only {format_points(room)} points."
            )
    if chosen is None or not ours or sum(chosen.tasks.values()) < MIN_QUESTIONS:
        return None
    called = [m for m, shares in chosen.called.items() if any(shares.values())]
    idle = [m for m in run.models if m not in called]
    if idle and len(called) == 1:
        return (
            f"Add models that are better than {shorten(called[0])} at some of these questions: {OURS} called it alone."
        )
    if idle:
        names = ", ".join(shorten(m) for m in idle[:MAX_NAMED])
        more = f" and {len(idle) - MAX_NAMED} more" if len(idle) > MAX_NAMED else ""
        return (
            f"Leave {names}{more} out of the pool: {OURS} called {'it' if len(idle) == 1 else 'them'} for no question."
        )
    return None


def _advise_questions(headline: Headline, sample: SampleSize) -> str:
    """Return how many more questions would make the difference significant, or why none are needed."""
    if headline.gap is not None and headline.gap.is_significant:
        return f"{sample.asked:,} questions are enough: the difference is significant."
    if sample.more:
        return (
            f"About {_round_up(sample.more):,} more questions would make a difference as large as this one "
            f"({format_points(sample.difference)} points) significant, with a chance of {100 * POWER:.0f} %; "
            f"{sample.asked:,} were asked."
        )
    points, planned = f"{100 * NOTICEABLE:.0f} points", _round_up(max(0, sample.needed_for_noticeable - sample.asked))
    target = (
        f"about {planned:,} more would show a difference of {points}"
        if planned
        else f"these are enough to show a difference of {points}"
    )
    why = sample.why or "the difference is at the edge of significance"
    return f"How many more questions it would take cannot be estimated, because {why}; {target}."


def _round_up(count: int) -> int:
    """Round to two digits, upwards: the estimate is no more precise."""
    unit = int("1".ljust(len(str(count)) - 1, "0"))
    return -(-count // unit) * unit
