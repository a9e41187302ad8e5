"""Nothing is spent by surprise: the cost of a run is shown before it begins, and the user agrees to it."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import click

from routemoa.cli.terminal.lines import print_line
from routemoa.core.errors import ConfigError
from routemoa.core.text.dollars import format_dollars
from routemoa.core.text.plural import counted

if TYPE_CHECKING:
    from routemoa.core.pool_file.pool import Pool
    from routemoa.core.types import ModelSpec
    from routemoa.datasets.collector import Estimate

__all__ = ["Declined", "confirm_cost", "confirm_questions", "describe_cost", "is_interactive", "require_prices"]

NOTHING_ASKED = "nothing was asked"


class Declined(click.ClickException):
    """The answer to the question about cost was no."""

    def __init__(self) -> None:
        super().__init__(NOTHING_ASKED)

    def show(self, file: Any = None) -> None:
        """Print what came of it: no error, but what was wanted."""
        click.echo(self.message, err=True, file=file)


def confirm_cost(
    announcement: str, estimate: Estimate, *, assume_yes: bool = False, max_cost: float | None = None
) -> None:
    """Print what is about to be done and get consent for it, unless it costs nothing for certain.

    Args:
        announcement: what is about to be done, with the estimate in words.
        estimate: of the calls.
        assume_yes: --yes was given, which is consent.
        max_cost: of --max-cost, in dollars, which is consent where there is no terminal to ask on.

    Raises:
        Declined: the answer on the terminal was no.
        ConfigError: there is no terminal to ask on, and neither option was given.
    """
    limit = "" if max_cost is None or not estimate.calls else f"; stops before {format_dollars(max_cost, 4)}"
    print_line(announcement + limit, err=True)
    if not estimate.calls or estimate.cost == 0 or assume_yes:
        return
    if is_interactive():
        _ask_on_terminal()
    elif max_cost is None:
        raise ConfigError(
            f"{NOTHING_ASKED}: these calls may cost money, and there is no terminal to ask on; add --max-cost DOLLARS, "
            "or --yes"
        )


def confirm_questions(
    pool: Pool,
    questions: Sequence[str],
    *,
    assume_yes: bool = False,
    max_cost: float | None = None,
) -> None:
    """Get consent for answering questions; print nothing where the pool is free.

    Raises:
        Declined: the answer on the terminal was no.
        ConfigError: there is no terminal to ask on, or --max-cost was given and a model has no price.
    """
    require_prices(pool, max_cost)
    if all(m.price is not None and m.worst_cost(1000, 1000) == 0 for m in pool):
        return
    from routemoa.datasets.questions import Question
    from routemoa.evaluation.live.cost_estimate import estimate_cost
    from routemoa.evaluation.live.runner import plan_units

    asked = [Question(str(i), "questions", text) for i, text in enumerate(questions)]
    estimate = estimate_cost(plan_units(asked, ("routemoa",), ()), pool)
    announcement = (
        f"{counted(len(asked), 'question')} with {pool.source}: at most {counted(estimate.calls, 'call')}; "
        f"cost at most: {describe_cost(estimate)}"
    )
    confirm_cost(announcement, estimate, assume_yes=assume_yes, max_cost=max_cost)


def require_prices(models: Iterable[ModelSpec], max_cost: float | None) -> None:
    """Raise ConfigError where --max-cost was given and a model has no price: its calls could not be counted."""
    unpriced = [] if max_cost is None else [m for m in models if m.price is None]
    if unpriced:
        from routemoa.core.catalog.price_list import price_hint

        names = ", ".join(m.name for m in unpriced)
        raise ConfigError(f"--max-cost needs prices, and {names} has none; {price_hint(unpriced[0])}")


def describe_cost(estimate: Estimate) -> str:
    """Return the dollars of an estimate in words."""
    if estimate.cost is None:
        unknown = f"unknown: no price for {', '.join(estimate.unpriced)}"
        return unknown + (f"; the others about {format_dollars(estimate.known_cost, 4)}" if estimate.known_cost else "")
    return f"about {format_dollars(estimate.cost, 4)}" if estimate.cost else "nothing"


def is_interactive() -> bool:
    """Return whether a question can be asked: it is written to standard error and answered on standard input."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def _ask_on_terminal() -> None:
    """Ask whether to go on. Raises Declined."""
    try:
        agreed = click.confirm("Go on?", err=True)
    except click.Abort:  # Ctrl-C, or the end of the input
        print_line(NOTHING_ASKED, err=True)
        raise
    if not agreed:
        raise Declined
