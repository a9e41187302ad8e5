"""`routemoa collect`: ask every model of a pool every question of a file, and keep the answers as records."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from routemoa.cli.options import (
    duplicates_option,
    json_option,
    load_pool,
    max_cost_option,
    pool_option,
    say,
    yes_option,
)
from routemoa.cli.terminal.confirm import confirm_cost, describe_cost, require_prices
from routemoa.cli.terminal.files import check_writable
from routemoa.cli.terminal.lines import print_line
from routemoa.cli.terminal.progress import AnswerProgress
from routemoa.cli.terminal.session import open_run_client
from routemoa.cli.terminal.table import print_table
from routemoa.cli.terminal.warn import print_warnings
from routemoa.core.errors import BudgetExceeded, QueryError
from routemoa.core.plural import counted
from routemoa.core.pool import Pool
from routemoa.core.printable import printable
from routemoa.core.types import Scores, to_plain
from routemoa.datasets.collection import AnswerCollection, CollectedAnswer
from routemoa.datasets.collector import (
    CollectCall,
    Estimate,
    ModelResult,
    collect_answers,
    estimate_calls,
    list_remaining_calls,
    summarize_models,
)
from routemoa.datasets.questions import Question, read_questions

__all__ = ["CollectionRun", "announce_collection", "collect", "run_calls"]

WARN_AFTER = 5  # failures of one model in a row
MAX_REASONS = 3  # of a model's failures that are printed

Failures = dict[str, Counter[str]]
"""Model -> reason -> how often its calls failed for it."""


@click.command(context_settings={"max_content_width": 100})
@click.argument("task", metavar="QUESTIONS")
@pool_option
@click.option("--out", required=True, metavar="RECORDS", help="The file for the records; gzip where it ends in .gz.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Ask the first N questions only.")
@click.option(
    "--concurrency", type=click.IntRange(1), default=4, show_default=True, metavar="N", help="Calls per endpoint."
)
@click.option("--samples", type=click.IntRange(1, 32), metavar="N", help="Ask each model N times, as candidates.")
@click.option("--efforts", metavar="LIST", help="Ask each model at these reasoning efforts, such as low,high.")
@click.option("--retry", is_flag=True, help="Repeat the calls that failed.")
@max_cost_option
@duplicates_option
@yes_option
@json_option
def collect(  # click passes a keyword for each option
    *,
    task: str,
    pool_file: str | None,
    out: str,
    limit: int | None,
    concurrency: int,
    samples: int | None,
    efforts: str | None,
    retry: bool,
    max_cost: float | None,
    allow_duplicates: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Ask every model of a pool every question, and keep answers, scores, costs and seconds as records.

    QUESTIONS is a file of JSON lines, CSV or Parquet (extra [parquet]) with "query" and, as you have them, "id",
    "task", "reference" and "grader": exact, numeric, choice, contains, math, code, rouge or f1. Columns with usual
    other names (question, prompt, answer, ...) are read as these, and so are the files of GSM8K and ARC. A call that
    fails has a null score, never a zero.

    The cost is estimated first. On a terminal you are asked whether to go on; without one, calls that may cost money
    need --max-cost or --yes. --max-cost is never passed: the most that a call can cost is set aside before it is made.

    An interrupted run continues with the same command and pays for no answer twice: RECORDS.part keeps answers until
    their question is finished.

    \b
    Examples:
      routemoa collect gsm8k_test.jsonl.gz --out gsm8k.records.jsonl --limit 100
      routemoa collect gsm8k_test.jsonl.gz --out samples.jsonl --samples 5
      routemoa collect mine.csv --pool pool.toml --out mine.jsonl.gz --max-cost 2
    """
    check_writable(out)
    if Path(out).absolute() == Path(task).absolute():
        raise QueryError("--out is the task file itself; choose another place")
    pool = _load_candidates(pool_file, samples, efforts)
    questions = _read_task(task, limit, allow_duplicates=allow_duplicates)
    require_prices(pool, max_cost)
    with AnswerCollection(out, questions, [m.name for m in pool], retry=retry) as collection:
        calls = list_remaining_calls(questions, pool.models, collection)
        estimate = estimate_calls(calls)
        announcement = announce_collection(len(questions), len(pool), collection.finished_questions, estimate)
        confirm_cost(announcement, estimate, assume_yes=yes, max_cost=max_cost)
        run = CollectionRun(pool, calls, collection, "collect", concurrency, max_cost)
        failures = run_calls(run)
        results = summarize_models(questions, pool.models, collection)
        finished = collection.finished_questions
        warnings = warn_of_dominance(questions, collection)
    if as_json:
        counts = {"records": out, "questions": len(questions), "finished": finished, "calls": len(calls)}
        plain = {**counts, "failures": failures, "estimate": to_plain(estimate), "models": _by_model(results)}
        click.echo(json.dumps({**plain, "warnings": warnings}, indent=2))
    else:
        _print_results(results)
        _print_failures(failures)
        print_line(f"{counted(finished, 'question')} in {out}", err=True)
    print_warnings(warnings)


def _load_candidates(pool_file: str | None, samples: int | None, efforts: str | None) -> Pool:
    """Return the pool with each model as the candidates that the options name. Raises ConfigError."""
    pool = load_pool(pool_file)
    pool.require_keys()
    levels = [level.strip() for level in (efforts or "").split(",") if level.strip()]
    return pool.with_candidates(samples, levels)


def _read_task(task: str, limit: int | None, *, allow_duplicates: bool) -> list[Question]:
    """Return the questions of a file, at least one. Raises QueryError."""
    questions = list(read_questions(task, say, allow_duplicates=allow_duplicates))[:limit]
    if not questions:
        raise QueryError(f"{task}: no question in it; for the format see  routemoa collect --help")
    return questions


def warn_of_dominance(questions: Sequence[Question], collection: AnswerCollection) -> list[str]:
    """Return a warning where one model dominates the others, so that a mixture will not help."""
    from routemoa.evaluation.dominance import describe_dominance, find_dominating_model  # brings numpy

    scores: list[Scores] = [{m: a.score for m, a in collection.answers.get(q.key, {}).items()} for q in questions]
    found = find_dominating_model(scores, [q.task for q in questions])
    return [describe_dominance(found)] if found else []


def announce_collection(questions: int, models: int, finished: int, estimate: Estimate) -> str:
    """Return what is about to be done and what it will cost.

    Args:
        questions: how many there are.
        models: how many there are.
        finished: questions that an earlier run has finished.
        estimate: of the calls that remain.
    """
    earlier = f", {finished:,} of them finished before" if finished else ""
    asked = f"{counted(questions, 'question')}{earlier}, {counted(models, 'model')}"
    work = f"{asked}: {counted(estimate.calls, 'call')}"
    if not estimate.calls:
        return f"{work}; nothing is left to do"
    tokens = f"about {estimate.prompt_tokens:,} tokens in and {estimate.completion_tokens:,} out"
    return f"{work}, {tokens}; cost: {describe_cost(estimate)}"


@dataclass(frozen=True)
class CollectionRun:
    """The calls that a collection lacks, and how to make them."""

    pool: Pool
    calls: Sequence[CollectCall]
    collection: AnswerCollection
    purpose: str
    """In the ledger."""
    concurrency: int
    """Calls at a time to one endpoint."""
    max_cost: float | None
    """Dollars, those of the answers that are there included."""


def run_calls(run: CollectionRun) -> Failures:
    """Make the calls with a progress bar and return the failures; an interrupt keeps the answers so far.

    Raises:
        BudgetExceeded: the next call could pass `max_cost`.
    """
    calls = run.calls
    progress = AnswerProgress(len(calls), "asking", "calls")

    def show(answer: CollectedAnswer) -> None:
        counts = progress.count(answer.model, answer.score, answer.failure)
        if counts.failures_in_a_row == WARN_AFTER:
            progress.print_line(
                f"{answer.model}: {WARN_AFTER} calls in a row failed, the last with {answer.failure}; stop with Ctrl-C "
                "and correct it, or repeat the failed calls later with --retry"
            )
        progress.advance(f"{progress.failed:,} failed" if progress.failed else "")

    with progress:
        try:
            asyncio.run(_make_calls(run, show))
        except (KeyboardInterrupt, BudgetExceeded) as e:
            how = " with a higher --max-cost" if isinstance(e, BudgetExceeded) else ""
            kept = f"{progress.done:,} of {counted(len(calls), 'call')} kept"
            progress.print_line(f"{kept}; run the same command again{how} to continue")
            raise
    return {model: counts.failures for model, counts in progress.sources.items() if counts.failures}


async def _make_calls(run: CollectionRun, on_answer: Callable[[CollectedAnswer], None]) -> None:
    """Make the calls within the limit, and write them to the ledger."""
    collection = run.collection
    async with open_run_client(
        run.pool,
        run.purpose,
        run.max_cost,
        spent=collection.spent,
        on_unknown_cost=collection.add_unknown_cost,
    ) as client:
        await collect_answers(run.calls, client, collection, concurrency=run.concurrency, on_answer=on_answer)


def _by_model(results: Sequence[ModelResult]) -> dict[str, dict[str, Any]]:
    return {r.model: {k: v for k, v in to_plain(r).items() if k != "model"} for r in results}


def _print_results(results: Sequence[ModelResult]) -> None:
    rows = [
        [
            r.model,
            "-" if r.accuracy is None else f"{r.accuracy:.3f}",
            str(r.graded),
            str(r.answered),
            str(r.failed),
            "unknown" if r.cost is None else f"{r.cost:.4f}",
            "-" if r.seconds is None else f"{r.seconds:.2f}",
        ]
        for r in results
    ]
    heads = ["model", "accuracy", "graded", "answered", "failed", "dollars", "seconds each"]
    print_table(heads, rows, left={"model"}, optional=["answered", "seconds each", "graded", "dollars"])


def _print_failures(failures: Mapping[str, Counter[str]]) -> None:
    for model, reasons in failures.items():
        for reason, count in reasons.most_common(MAX_REASONS):
            print_line(f"{model}: {count:,} x {printable(reason)}", err=True)
