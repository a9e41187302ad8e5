"""Warnings on standard error: one line each, where the user decides."""

from __future__ import annotations

from collections.abc import Iterable

import click

__all__ = ["print_warnings"]


def print_warnings(warnings: Iterable[str]) -> None:
    """Print each warning; names in it may come from foreign files, so that nothing in it is obeyed by a terminal."""
    for warning in warnings:
        click.echo("warning: " + "".join(c if c.isprintable() else " " for c in warning), err=True)
