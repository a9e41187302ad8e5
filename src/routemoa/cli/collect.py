"""`routemoa collect`: ask every model of a pool every question of a file, and keep the answers as records."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from routemoa.cli.options import duplicates_option, json_option, pool_option, say, yes_option
from routemoa.cli.terminal.confirm import confirm_cost, describe_cost
from routemoa.cli.terminal.files import check_writable
from routemoa.cli.terminal.progress import AnswerProgress
from routemoa.cli.terminal.table import print_table
from routemoa.clients.connect import connect
from routemoa.core.errors import QueryError
from routemoa.core.pool import Pool
from routemoa.core.types import to_plain
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
from routemoa.datasets.questions import read_questions

__all__ = ["announce_collection", "collect", "run_calls"]

WARN_AFTER = 5  # failures of one model in a row
MAX_REASONS = 3  # of a model's failures that are printed

Failures = dict[str, Counter[str]]
"""Model -> reason -> how often its calls failed for it."""


@click.command(context_settings={"max_content_width": 100})
@click.argument("task", metavar="TASK.jsonl")
@pool_option
@click.option("--out", required=True, metavar="RECORDS", help="The file for the records; gzip where it ends in .gz.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Ask the first N questions only.")
@click.option(
    "--concurrency", type=click.IntRange(1), default=4, show_default=True, metavar="N", help="Calls per endpoint."
)
@click.option("--retry", is_flag=True, help="Repeat the calls that failed.")
@duplicates_option
@yes_option
@json_option
def collect(
    *,
    task: str,
    pool_file: str | None,
    out: str,
    limit: int | None,
    concurrency: int,
    retry: bool,
    allow_duplicates: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Ask every model of a pool every question, and keep answers, scores, costs and seconds as records.

    A line of TASK.jsonl is {"id", "task", "query", "reference"?, "grader"?} with grader exact, numeric, choice,
    contains, math, code, rouge or f1; original lines of GSM8K and ARC are read, too. A call that fails has a null
    score, never a zero.

    An interrupted run continues with the same command and pays for no answer twice: RECORDS.part keeps answers until
    their question is finished.

    \b
    Examples:
      routemoa collect gsm8k_test.jsonl.gz --out gsm8k.records.jsonl --limit 100
      routemoa collect mine.jsonl --pool pool.toml --out mine.jsonl.gz --yes
    """
    check_writable(out)
    if Path(out).absolute() == Path(task).absolute():
        raise QueryError("--out is the task file itself; choose another place")
    pool = Pool.default(pool_file)
    questions = list(read_questions(task, say, allow_duplicates=allow_duplicates))[:limit]
    if not questions:
        raise QueryError(f"{task}: no question in it; for the format see  routemoa collect --help")
    with AnswerCollection(out, questions, [m.name for m in pool], retry=retry) as collection:
        calls = list_remaining_calls(questions, pool.models, collection)
        estimate = estimate_calls(calls)
        announcement = announce_collection(len(questions), len(pool), collection.finished_questions, estimate)
        confirm_cost(announcement, estimate, assume_yes=yes)
        failures = run_calls(pool, calls, collection, concurrency)
        results = summarize_models(questions, pool.models, collection)
        finished = collection.finished_questions
    if as_json:
        counts = {"records": out, "questions": len(questions), "finished": finished, "calls": len(calls)}
        models = {r.model: {k: v for k, v in to_plain(r).items() if k != "model"} for r in results}
        plain = {**counts, "failures": failures, "estimate": to_plain(estimate), "models": models}
        click.echo(json.dumps(plain, indent=2))
    else:
        _print_results(results)
        _print_failures(failures)
        click.echo(f"{finished:,} questions in {out}", err=True)


def announce_collection(questions: int, models: int, finished: int, estimate: Estimate) -> str:
    """Return what is about to be done and what it will cost.

    Args:
        questions: how many there are.
        models: how many there are.
        finished: questions that an earlier run has finished.
        estimate: of the calls that remain.
    """
    earlier = f", {finished:,} of them finished before" if finished else ""
    work = f"{questions:,} questions{earlier}, {models} models: {estimate.calls:,} calls"
    if not estimate.calls:
        return f"{work}; nothing is left to do"
    tokens = f"about {estimate.prompt_tokens:,} tokens in and {estimate.completion_tokens:,} out"
    return f"{work}, {tokens}; cost: {describe_cost(estimate)}"


def run_calls(pool: Pool, calls: Sequence[CollectCall], collection: AnswerCollection, concurrency: int) -> Failures:
    """Make the calls with a progress bar and return the failures; an interrupt keeps the answers so far."""
    progress = AnswerProgress(len(calls), "asking", "calls")

    def show(answer: CollectedAnswer) -> None:
        counts = progress.count(answer.model, answer.score, answer.failure)
        if counts.failures_in_a_row == WARN_AFTER:
            progress.print_line(
                f"{answer.model}: {WARN_AFTER} calls in a row failed, the last with {answer.failure}; stop with Ctrl-C "
                "and correct it, or repeat the failed calls later with --retry"
            )
        progress.advance(f"{progress.failed:,} failed" if progress.failed else "")

    async def run() -> None:
        client = connect(pool)
        try:
            await collect_answers(calls, client, collection, concurrency=concurrency, on_answer=show)
        finally:
            await client.close()

    with progress:
        try:
            asyncio.run(run())
        except KeyboardInterrupt:
            progress.print_line(
                f"{progress.done:,} of {len(calls):,} calls are kept; run the same command again to continue"
            )
            raise
    return {model: counts.failures for model, counts in progress.sources.items() if counts.failures}


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
    print_table(heads, rows, left={"model"})


def _print_failures(failures: Mapping[str, Counter[str]]) -> None:
    for model, reasons in failures.items():
        for reason, count in reasons.most_common(MAX_REASONS):
            click.echo(f"{model}: {count:,} x {reason}", err=True)
