"""Telling the cost of a run before it begins, and asking for consent on a terminal."""

from __future__ import annotations

import sys

import click

from routemoa.datasets.collector import Estimate

__all__ = ["confirm_cost", "describe_cost", "is_interactive"]


def confirm_cost(announcement: str, estimate: Estimate, *, assume_yes: bool) -> None:
    """Print what is about to be done; on a terminal, ask whether to go on where it may cost money.

    Raises:
        click.Abort: the answer is no.
    """
    click.echo(announcement, err=True)
    if estimate.calls and estimate.cost != 0 and not assume_yes and is_interactive():
        click.confirm("Go on?", abort=True, err=True)


def describe_cost(estimate: Estimate) -> str:
    """Return the dollars of an estimate in words."""
    if estimate.cost is None:
        unknown = f"unknown: no price for {', '.join(estimate.unpriced)}"
        return unknown + (f"; the others about ${estimate.known_cost:,.4g}" if estimate.known_cost else "")
    return f"about ${estimate.cost:,.4g}" if estimate.cost else "nothing"


def is_interactive() -> bool:
    """Return whether standard input is a terminal."""
    return sys.stdin.isatty()
