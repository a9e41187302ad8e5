"""`routemoa judge calibrate`: measure on the user's own questions what is best done with open ones."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import click
import msgspec

from routemoa import __version__
from routemoa.cli.completion import complete_model
from routemoa.cli.judge.calibrate_options import POLICIES, CalibrateOptions, Calibration, check_options
from routemoa.cli.options import duplicates_option, json_option, max_cost_option, pool_option, say, yes_option
from routemoa.cli.terminal.confirm import confirm_cost, describe_cost
from routemoa.cli.terminal.lines import print_line
from routemoa.cli.terminal.progress import AnswerProgress, StepProgress
from routemoa.cli.terminal.warn import print_warnings
from routemoa.core.errors import BudgetExceeded, RouteMoAError
from routemoa.core.text.plural import counted

if TYPE_CHECKING:
    from routemoa.evaluation.live.call_cache import CallCache
    from routemoa.evaluation.live.open_policies import AnswerPair, Orders
    from routemoa.evaluation.live.runner import UnitKey, WorkUnit
    from routemoa.evaluation.outcomes import Outcome, Run

__all__ = ["calibrate"]


@click.command(short_help="Measure which policy for open questions pays.")
@click.argument("task", metavar="QUESTIONS")
@pool_option
@click.option(
    "--judge",
    metavar="MODEL",
    shell_complete=complete_model,
    help="Model of the pool that compares the answers, in both orders.",
)
@click.option("--labels", metavar="FILE", help="People's labels; a file that is not there is written, to be filled in.")
@click.option(
    "--policies", default=",".join(POLICIES), show_default=True, metavar="LIST", help="What to compare with one model."
)
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Ask the first N questions only.")
@click.option("--out", metavar="FILE", help="The judge file to extend or write; else the pool's, else judge.json.")
@click.option("--folder", metavar="DIR", help="The folder that keeps answers and calls; else calibrate-QUESTIONS.")
@click.option("--concurrency", type=click.IntRange(1), metavar="N", help="Answers at a time; else 4, or 1 if local.")
@click.option("--retry", is_flag=True, help="Repeat the calls that failed.")
@max_cost_option
@duplicates_option
@yes_option
@json_option
def calibrate(**options: Any) -> None:  # click passes a keyword for each option: the fields of CalibrateOptions
    """Measure what is best done with open QUESTIONS on this pool, and how well a judge compares answers.

    To each question the best model answers alone, and each policy of `[mixture] open` answers, too. A model (--judge)
    or people (--labels) say which answer is better. The judge file then holds what each policy gains at equal length,
    less the price of its calls, and `open = "auto"` follows it. A few hundred questions tell; fewer than 30 do not.

    QUESTIONS is a file as for `routemoa collect`; no references are needed. Questions that ask for a result are left
    out. A judge does not rate what it chose itself: `select` needs labels, or another judge than its own.

    The price of a call is `dollars_per_point` of the pool file, else one point for each call more than the one.

    The cost is estimated first. On a terminal you are asked whether to go on; without one, calls that may cost money
    need --max-cost or --yes. --max-cost is never passed. A stopped run continues with the same command and pays for
    nothing twice: DIR/calls.jsonl holds every call.

    \b
    Examples:
      routemoa judge calibrate mine.jsonl --pool pool.toml --judge strong
      routemoa judge calibrate mine.jsonl --labels labels.jsonl      # writes it
      routemoa judge calibrate mine.jsonl --labels labels.jsonl --judge strong
    """
    _run_calibration(check_options(CalibrateOptions(**options)))


def _run_calibration(run: Calibration) -> None:
    from routemoa.cli.judge.calibration_report import finish_calibration
    from routemoa.evaluation.live.cost_estimate import estimate_cost
    from routemoa.evaluation.live.resume import find_answered, start_run
    from routemoa.evaluation.live.runner import plan_units

    options, described = run.options, _describe_run(run)
    answered = find_answered(run.folder, described, run.questions, retry=options.retry, option="--folder")
    units = [u for method in run.methods for u in plan_units(run.questions, (method,), answered)]
    texts = _list_comparisons(run, {(u.method, *u.question.key) for u in units})
    costs = estimate_cost(units, run.pool, run.judge, comparisons=texts, shared=True)
    print_warnings(run.warnings)
    comparers = [f"{run.judge.name} compares in both orders"] if run.judge else []
    comparers += ["people compare"] if options.labels else []
    asked = counted(len(run.questions), "question")
    work = f"{asked}, one model alone and {', '.join(run.policies)}; {', '.join(comparers)}"
    left = "nothing is left"
    if costs.calls:
        left = f"at most {counted(costs.calls, 'call')}; cost at most: {describe_cost(costs)}"
    confirm_cost(f"{work}: {left}", costs, assume_yes=options.yes, max_cost=options.max_cost)
    start_run(run.folder, described, retry=options.retry)
    try:
        pairs, orders = asyncio.run(_answer_and_judge(run, units))
    except (KeyboardInterrupt, RouteMoAError) as e:
        how = " with a higher --max-cost" if isinstance(e, BudgetExceeded) else ""
        print_line(f"{run.folder} keeps the calls so far; run the same command again{how} to continue", err=True)
        raise
    finish_calibration(run, pairs, orders)


def _list_comparisons(run: Calibration, missing: set[UnitKey]) -> list[str]:
    """Return the question of each pair that the judge may still have to compare.

    Args:
        run: what is calibrated.
        missing: the answers that there are not yet.
    """
    from routemoa.evaluation.live.open_policies import ALONE, build_pairs, find_judged, needs_judge

    if run.judge is None:
        return []
    judged = find_judged(run.folder, run.judge.name, (*run.methods, ""), retry=run.options.retry)
    there = [*build_pairs(run.folder, run.questions, run.methods[1:]), *(p for p, _ in run.foreign)]
    left = [p.query for p in there if needs_judge(p, run.judge.name) and p.key not in judged]
    to_come = [q.text for q in run.questions for m in run.methods[1:] if missing & {(ALONE, *q.key), (m, *q.key)}]
    return left + to_come


def _describe_run(run: Calibration) -> Run:
    """Return what run.json says of the run: what calibration itself changes in the pool file is left out."""
    from routemoa.datasets.questions import name_task
    from routemoa.evaluation.live.resume import digest_pool
    from routemoa.evaluation.outcomes import Run

    mixture = msgspec.structs.replace(run.pool.mixture, judge=None, open="auto", dollars_per_point=None)
    return Run(
        kind="live",
        name=name_task(run.options.task),
        methods=run.methods,
        models=tuple(m.name for m in run.pool),
        limit=run.options.limit,
        settings={"pool": digest_pool(replace(run.pool, judge=None, mixture=mixture))},
        notes=("calibration: methods share their calls, so that seconds are not those of a method by itself",),
        version=__version__,
    )


async def _answer_and_judge(run: Calibration, units: Sequence[WorkUnit]) -> tuple[list[AnswerPair], list[Orders]]:
    """Answer what is missing, method by method, so that later ones find the calls of the earlier; then compare."""
    from routemoa.cli.evaluation.live_session import describe_spending, open_call_cache
    from routemoa.evaluation.live.methods import build_live_methods
    from routemoa.evaluation.live.open_policies import build_pairs
    from routemoa.evaluation.live.runner import LiveRun, answer_question, run_units

    limit, retry = run.options.max_cost, run.options.retry
    session = open_call_cache(run.pool, run.folder, limit, purpose="calibrate", shared=True, retry=retry, say=say)
    async with session as cache:
        if units:
            with AnswerProgress(len(units), "answering", "answers") as progress:

                def show(outcome: Outcome) -> None:
                    progress.count(outcome.method, None, outcome.failure)
                    failed = [f"{progress.failed:,} failed"] if progress.failed else []
                    progress.advance(", ".join([*failed, describe_spending(cache.account.spent, cache.unpriced)]))

                live = LiveRun(await build_live_methods(run.methods, run.pool, cache, run.questions), cache)
                answer = partial(answer_question, live=live)
                for method in run.methods:
                    batch = [u for u in units if u.method == method]
                    await run_units(batch, answer, run.folder, concurrency=run.concurrency, on_outcome=show)
        pairs = [*build_pairs(run.folder, run.questions, run.methods[1:]), *(p for p, _ in run.foreign)]
        return pairs, await _judge(run, pairs, cache)


async def _judge(run: Calibration, pairs: Sequence[AnswerPair], cache: CallCache) -> list[Orders]:
    """Return what the judge says of each pair; nothing without a judge."""
    from routemoa.cli.evaluation.live_session import describe_spending
    from routemoa.evaluation.live.open_policies import find_judged, judge_pairs, needs_judge

    if run.judge is None:
        return [(None, None)] * len(pairs)
    earlier = find_judged(run.folder, run.judge.name, (*run.methods, ""), retry=run.options.retry)
    left = {p.key for p in pairs if needs_judge(p, run.judge.name)} - earlier
    if not left:
        return await judge_pairs(pairs, run.judge, cache)
    with StepProgress(len(left), "comparing", "pairs") as progress:

        def show(pair: AnswerPair) -> None:
            if pair.key in left:
                progress.advance(describe_spending(cache.account.spent, cache.unpriced))

        return await judge_pairs(pairs, run.judge, cache, concurrency=run.concurrency, on_judged=show)
