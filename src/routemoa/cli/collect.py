"""`routemoa collect`: ask every model of a pool every question of a file, and keep the answers as records."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import click

from routemoa.cli.collect_run import CollectionRun, run_calls
from routemoa.cli.options import (
    duplicates_option,
    json_option,
    load_pool,
    max_cost_option,
    pool_option,
    say,
    yes_option,
)
from routemoa.cli.ray_cluster import engine_options
from routemoa.cli.terminal.confirm import confirm_cost, describe_cost, require_prices
from routemoa.cli.terminal.files import check_writable
from routemoa.cli.terminal.lines import print_line
from routemoa.cli.terminal.table import print_table
from routemoa.cli.terminal.warn import print_warnings
from routemoa.core.errors import ConfigError, QueryError
from routemoa.core.pool_file.pool import Pool
from routemoa.core.text.dollars import format_dollars
from routemoa.core.text.plural import counted
from routemoa.core.text.printable import printable
from routemoa.core.types import Scores, to_plain
from routemoa.datasets.collection import AnswerCollection
from routemoa.datasets.collector import (
    Estimate,
    ModelResult,
    estimate_calls,
    list_remaining_calls,
    summarize_models,
)
from routemoa.datasets.questions import Question, read_questions

__all__ = ["announce_collection", "collect"]

MAX_REASONS = 3  # of a model's failures that are printed


@dataclass(frozen=True)
class CollectOptions:
    """The arguments and options of `routemoa collect`."""

    task: str
    pool_file: str | None
    out: str
    limit: int | None
    concurrency: int
    samples: int | None
    efforts: str | None
    retry: bool
    max_cost: float | None
    engine: Literal["local", "ray"]
    address: str | None
    allow_duplicates: bool
    yes: bool
    as_json: bool


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
@engine_options
@duplicates_option
@yes_option
@json_option
def collect(**options: Any) -> None:  # click passes a keyword for each option: the fields of CollectOptions
    """Ask every model of a pool every question, and keep answers, scores, costs and seconds as records.

    QUESTIONS is a file of JSON lines, CSV or Parquet (extra [parquet]) with "query" and, as you have them, "id",
    "task", "reference" and "grader": exact, numeric, choice, contains, math, code, rouge or f1. Columns with usual
    other names (question, prompt, answer, ...) are read as these, and so are the files of GSM8K and ARC. A call that
    fails has a null score, never a zero.

    The cost is estimated first. On a terminal you are asked whether to go on; without one, calls that may cost money
    need --max-cost or --yes. --max-cost is never passed: the most that a call can cost is set aside before it is made.

    An interrupted run continues with the same command and pays for no answer twice: RECORDS.part keeps answers until
    their question is finished. The records are in the order of the questions.

    --engine ray makes the calls and grades the answers on a cluster; calls at a time are those of all workers together.

    \b
    Examples:
      routemoa collect gsm8k_test.jsonl.gz --out gsm8k.records.jsonl --limit 100
      routemoa collect gsm8k_test.jsonl.gz --out samples.jsonl --samples 5
      routemoa collect mine.csv --pool pool.toml --out mine.jsonl.gz --max-cost 2
    """
    _collect(CollectOptions(**options))


def _collect(options: CollectOptions) -> None:
    _check_out(options.out, options.task)
    pool = _load_candidates(options.pool_file, options.samples, options.efforts)
    members = len({m.member or m.name for m in pool})
    questions = _read_task(options.task, options.limit, allow_duplicates=options.allow_duplicates)
    require_prices(pool, options.max_cost)
    with AnswerCollection(options.out, questions, [m.name for m in pool], retry=options.retry) as collection:
        calls = list_remaining_calls(questions, pool.models, collection)
        estimate = estimate_calls(calls)
        announcement = announce_collection(
            len(questions), members, collection.finished_questions, estimate, candidates=len(pool)
        )
        confirm_cost(announcement, estimate, assume_yes=options.yes, max_cost=options.max_cost)
        run = CollectionRun(
            pool, calls, collection, "collect", options.concurrency, options.max_cost, options.engine, options.address
        )
        failures = run_calls(run)
        results = summarize_models(questions, pool.models, collection)
        finished = collection.finished_questions
        warnings = warn_of_dominance(questions, collection)
    if options.as_json:
        counts = {"records": options.out, "questions": len(questions), "finished": finished, "calls": len(calls)}
        plain = {**counts, "failures": failures, "estimate": to_plain(estimate), "models": _by_model(results)}
        click.echo(json.dumps({**plain, "warnings": warnings}, indent=2))
    else:
        _print_collected(results, failures, f"{counted(finished, 'question')} in {options.out}")
    print_warnings(warnings)


def _check_out(out: str, task: str) -> None:
    """Check that records can be written to a file of their own. Raises ConfigError, QueryError."""
    check_writable(out)
    if Path(out).absolute() == Path(task).absolute():
        raise QueryError("--out is the task file itself; choose another place")


def _load_candidates(pool_file: str | None, samples: int | None, efforts: str | None) -> Pool:
    """Return the pool with each model as the candidates that the options name. Raises ConfigError."""
    pool = load_pool(pool_file, needs_learned=False)  # a scorer is trained on what is collected here
    pool.require_keys()
    levels = [level.strip() for level in (efforts or "").split(",")] if efforts is not None else []
    for level in levels:
        if not level.replace("-", "").replace("_", "").isalnum():
            raise ConfigError(f"--efforts: '{level}' is no reasoning effort; write e.g. low,high")
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


def announce_collection(questions: int, models: int, finished: int, estimate: Estimate, *, candidates: int = 0) -> str:
    """Return what is about to be done and what it will cost.

    Args:
        questions: how many there are.
        models: how many there are.
        finished: questions that an earlier run has finished.
        estimate: of the calls that remain.
        candidates: as how many the models are asked, with their samples and efforts.
    """
    earlier = f", {finished:,} of them finished before" if finished else ""
    several = f" as {candidates:,} candidates" if candidates > models else ""
    asked = f"{counted(questions, 'question')}{earlier}, {counted(models, 'model')}{several}"
    work = f"{asked}: {counted(estimate.calls, 'call')}"
    if not estimate.calls:
        return f"{work}; nothing is left to do"
    tokens = f"about {estimate.prompt_tokens:,} tokens in and {estimate.completion_tokens:,} out"
    return f"{work}, {tokens}; cost: {describe_cost(estimate)}"


def _by_model(results: Sequence[ModelResult]) -> dict[str, dict[str, Any]]:
    return {r.model: {k: v for k, v in to_plain(r).items() if k != "model"} for r in results}


def _print_collected(results: Sequence[ModelResult], failures: Mapping[str, Counter[str]], summary: str) -> None:
    _print_results(results)
    _print_failures(failures)
    print_line(summary, err=True)


def _print_results(results: Sequence[ModelResult]) -> None:
    rows = [
        [
            r.model,
            "-" if r.accuracy is None else f"{r.accuracy:.3f}",
            str(r.graded),
            str(r.answered),
            str(r.failed),
            "unknown" if r.cost is None else format_dollars(r.cost).removeprefix("$"),
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
