"""`routemoa demo`: answer three questions with the embedded models, step by step, and check the answers."""

from __future__ import annotations

import asyncio
from importlib import resources
from pathlib import Path

import click

from routemoa.cli.options import max_cost_option, yes_option
from routemoa.cli.terminal.files import check_writable

__all__ = ["demo"]


@click.command(context_settings={"max_content_width": 100})
@click.option("--pool", "pool_file", metavar="FILE", help="Pool file; by default the demo's own four members.")
@click.option("--random", "at_random", is_flag=True, help="Ask three other questions, one of each kind, by chance.")
@click.option("--seed", type=int, metavar="N", help="Of --random: the same questions again.")
@click.option("--svg", metavar="FILE", help="Also write a picture of the whole output to FILE, as SVG.")
@max_cost_option
@yes_option
def demo(
    *, pool_file: str | None, at_random: bool, seed: int | None, svg: str | None, max_cost: float | None, yes: bool
) -> None:
    """Answer three questions with two small models on this machine, show every step, and check the answers.

    Missing models are downloaded first (1.2 GB, once). They are four members: one of them also answers under two other
    prompts. The three questions are chosen because they show the three ways
    the mixture works: an easy one that one model answers alone; one on which members disagree and more are called; and
    a function, which is run against its examples in a sandbox. --random asks others.

    At the end stand the figures: the mixture beside the best single model and a dense mixture of agents, on these
    questions and on 96 recorded ones.

    \b
    Examples:
      routemoa demo
      routemoa demo --random
      routemoa demo --pool pool.toml
    """
    from routemoa.cli.demo.questions import chosen_questions, load_questions, random_questions
    from routemoa.cli.demo.show import run_demo
    from routemoa.cli.members.weights import fetch_missing
    from routemoa.cli.terminal.confirm import confirm_questions
    from routemoa.core.pool_file.pool import Pool

    check_writable(svg)
    pool = Pool.from_toml(pool_file or Path(str(resources.files("routemoa.cli.demo"))) / "pool.toml")
    pool.require_keys()
    questions = load_questions()
    asked = random_questions(questions, seed) if at_random or seed is not None else chosen_questions(questions)
    confirm_questions(pool, [q.query for q in asked], assume_yes=yes, max_cost=max_cost)
    if any(m.local for m in pool):
        fetch_missing(pool)
    asyncio.run(run_demo(pool, asked, svg, is_own_pool=pool_file is None, max_cost=max_cost))
