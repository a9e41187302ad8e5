"""`routemoa pool join`: add a live model to the scorer by asking it the most informative questions."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from routemoa.cli.completion import complete_model
from routemoa.cli.options import load_pool, max_cost_option, pool_option, yes_option
from routemoa.cli.terminal.lines import print_line
from routemoa.core.text.plural import counted

if TYPE_CHECKING:
    from routemoa.core.pool_file.pool import Pool
    from routemoa.datasets.questions import Question
    from routemoa.scoring.trained import TrainingQuestion

__all__ = ["join"]

CONCURRENCY = 4  # calls at a time


@click.command(short_help="Add a live model to the scorer by asking it questions.")
@click.argument("name", shell_complete=complete_model)
@pool_option
@click.option("--scorer", "folder", metavar="DIR", help="The scorer to extend; by default the pool's own.")
@click.option("--out", metavar="DIR2", help="The folder to write; by default the scorer's own.")
@click.option("-n", "count", type=click.IntRange(10), default=48, show_default=True, help="How many questions to ask.")
@max_cost_option
@yes_option
def join(  # click passes a keyword for each option
    *,
    name: str,
    pool_file: str | None,
    folder: str | None,
    out: str | None,
    count: int,
    max_cost: float | None,
    yes: bool,
) -> None:
    """Ask the pool's model NAME the most informative questions, grade its answers, and add it to the scorer.

    The other models are not retrained. The answers are kept beside the new scorer, as DIR2.NAME.jsonl; an interrupted
    run continues with the same command and pays for no answer twice. The cost is estimated first; without a terminal,
    calls that may cost money need --max-cost or --yes.

    \b
    Example:
      routemoa pool join my-model --pool pool.toml --out my-scorer
    """
    from routemoa.cli.scorer.join import choose_probes, join_records
    from routemoa.cli.terminal.files import check_writable_folder
    from routemoa.core.errors import ConfigError, ModelError
    from routemoa.datasets.records import read_records

    pool = load_pool(pool_file)
    pool.require_keys()
    source = _find_scorer(pool, name, folder)
    target = out or str(source)
    check_writable_folder(target)
    questions = [_to_question(probe) for probe in choose_probes(source, count, graded=True)]
    answers = f"{target.rstrip('/')}.{name.replace('/', '_')}.jsonl"
    _collect_answers(pool, name, questions, answers, assume_yes=yes, max_cost=max_cost)
    try:
        records = list(read_records(answers))
        scores = [s for r in records if (s := r.scores.get(name)) is not None]
        if not scores:
            raise ModelError(name, f"no answer could be graded; its answers are in {answers}")
        join_records(source, records, target, [answers])
    except ConfigError as e:
        raise ConfigError(f"{e}; its answers are kept in {answers}") from e
    print_line(f"{target}: knows {name} now ({sum(scores):g} of {counted(len(scores), 'answer')} right)", err=True)
    if target != str(pool.scorer):
        click.echo(f'write into {pool.source}:\n\n[scorer]\npath = "{Path(target).absolute()}"', file=sys.stderr)


def _find_scorer(pool: Pool, name: str, folder: str | None) -> Path:
    """Return the folder of the scorer to extend. Raises ConfigError where the model cannot join it."""
    from routemoa.core.errors import ConfigError
    from routemoa.scoring.trained import load_trained_scorer

    source = Path(folder) if folder else pool.scorer
    if name not in pool:
        raise ConfigError(f"{pool.source}: no model '{name}'; it has {', '.join(m.name for m in pool)}")
    if source is None:
        raise ConfigError(f"{pool.source}: no [scorer] path; name a scorer with --scorer DIR")
    if load_trained_scorer(source).knows(pool[name]):
        raise ConfigError(f"the scorer in {source} knows '{name}' already; nothing to do")
    return source


def _to_question(probe: TrainingQuestion) -> Question:
    from routemoa.datasets.grading import suggest_grader
    from routemoa.datasets.questions import Question

    grader = suggest_grader(probe.reference, probe.query) if probe.reference else None
    return Question(probe.id, probe.task, probe.query, probe.prompt, probe.reference, grader)


def _collect_answers(
    pool: Pool, name: str, questions: list[Question], path: str, *, assume_yes: bool, max_cost: float | None
) -> None:
    """Ask the model the questions that it has not answered in the file yet."""
    from routemoa.cli.collect import announce_collection
    from routemoa.cli.collect_run import CollectionRun, run_calls
    from routemoa.cli.terminal.confirm import confirm_cost, require_prices
    from routemoa.datasets.collection import AnswerCollection
    from routemoa.datasets.collector import estimate_calls, list_remaining_calls

    require_prices([pool[name]], max_cost)
    with AnswerCollection(path, questions, [name], retry=True) as collection:
        calls = list_remaining_calls(questions, [pool[name]], collection)
        estimate = estimate_calls(calls)
        announcement = announce_collection(len(questions), 1, collection.finished_questions, estimate)
        confirm_cost(announcement, estimate, assume_yes=assume_yes, max_cost=max_cost)
        run_calls(CollectionRun(pool, calls, collection, "join", CONCURRENCY, max_cost))
