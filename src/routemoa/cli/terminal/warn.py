"""Warnings on standard error: one line each, where the user decides."""

from __future__ import annotations

from collections.abc import Iterable

from routemoa.cli.terminal.lines import print_line
from routemoa.core.text.printable import printable

__all__ = ["print_warnings"]


def print_warnings(warnings: Iterable[str]) -> None:
    """Print each warning; names in it may come from foreign files."""
    for warning in warnings:
        print_line("warning: " + printable(warning).replace("\n", " "), err=True)
