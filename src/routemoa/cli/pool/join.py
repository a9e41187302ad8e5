"""`routemoa pool join`: a live model becomes known to the scorer, by asking it the most telling questions."""

from __future__ import annotations

import sys
from pathlib import Path

import click

__all__ = ["join"]


@click.command()
@click.argument("name")
@click.option("--pool", "pool_file", metavar="FILE", help="Pool file; else $ROUTEMOA_POOL, else the embedded pool.")
@click.option("--scorer", "folder", metavar="DIR", help="The scorer to extend; by default the pool's own.")
@click.option("--out", metavar="DIR2", help="The folder to write; by default the scorer's own, NAME added to it.")
@click.option("-n", "count", type=click.IntRange(10), default=48, show_default=True, help="How many questions to ask.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask whether the cost is all right.")
def join(*, name: str, pool_file: str | None, folder: str | None, out: str | None, count: int, yes: bool) -> None:
    """Ask the pool's model NAME the most telling questions, grade its answers, and add it to the scorer.

    The answers are kept beside the new scorer, as DIR2.NAME.jsonl; after an interruption the same command goes on and
    pays for no answer twice. The other models are not retrained.

    \b
    Example:
      routemoa pool join my-model --pool pool.toml --out my-scorer
    """
    from routemoa.cli.collect import Watch, announcement, on_terminal, run_calls
    from routemoa.cli.scorer.models import join_records, pick
    from routemoa.cli.terminal.session import check_writable
    from routemoa.core.errors import ConfigError, ModelError
    from routemoa.core.pool import Pool
    from routemoa.datasets.collection import AnswerCollection
    from routemoa.datasets.collector import estimate_calls, list_remaining_calls
    from routemoa.datasets.questions import asked
    from routemoa.datasets.records import read_records
    from routemoa.scoring.trained import load_trained_scorer

    pool = Pool.default(pool_file)
    source = Path(folder) if folder else pool.scorer
    if name not in pool:
        raise ConfigError(f"{pool.source}: no model '{name}'; it has {', '.join(m.name for m in pool)}")
    if source is None:
        raise ConfigError(f"{pool.source}: no [scorer] path; name a scorer with --scorer DIR")
    if load_trained_scorer(source).knows(pool[name]):
        raise ConfigError(f"the scorer in {source} knows '{name}' already; nothing to do")
    target = out or str(source)
    check_writable(target)
    questions = [asked(s.id, s.task, s.query, s.prompt, s.reference) for s in pick(source, count, graded=True)]
    answers = f"{target.rstrip('/')}.{name.replace('/', '_')}.jsonl"
    with AnswerCollection(answers, questions, [name], retry=True) as gathered:
        calls = list_remaining_calls(questions, [pool[name]], gathered)
        costs = estimate_calls(calls)
        click.echo(announcement(len(questions), 1, gathered.finished_questions, costs), err=True)
        if calls and costs.cost != 0 and not yes and on_terminal():
            click.confirm("Go on?", abort=True, err=True)
        with Watch(calls) as watch:
            run_calls(pool, calls, gathered, 4, watch)
    try:
        records = list(read_records(answers))
        scores = [s for r in records if (s := r.scores.get(name)) is not None]
        if not scores:
            raise ModelError(name, f"no answer could be graded; its answers are in {answers}")
        join_records(source, records, target, [answers])
    except ConfigError as e:
        raise ConfigError(f"{e}; its answers are kept in {answers}") from e
    click.echo(f"{target}: knows {name} now ({sum(scores):g} of {len(scores)} probes right)", err=True)
    if target != str(pool.scorer):
        click.echo(f'write into {pool.source}:\n\n[scorer]\npath = "{Path(target).absolute()}"', file=sys.stderr)
