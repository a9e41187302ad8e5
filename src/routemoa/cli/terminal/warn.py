"""Warnings on standard error: one line each, where the user decides."""

from __future__ import annotations

from collections.abc import Iterable

import click

__all__ = ["clean_line", "print_warnings"]


def print_warnings(warnings: Iterable[str]) -> None:
    """Print each warning; names in it may come from foreign files."""
    for warning in warnings:
        click.echo(f"warning: {clean_line(warning)}", err=True)


def clean_line(text: str) -> str:
    """Return a text on one line, without characters that a terminal would obey."""
    return "".join(c if c.isprintable() else " " for c in text)
