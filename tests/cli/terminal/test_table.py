"""Tables leave out columns where the terminal is narrow, and cut no word."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from rich.text import Text

from routemoa.cli.terminal.table import fit_table

HEADS = ["model", "prior", "$/M out", "seconds", "why"]
ROWS = [
    ["qwen-2.5-72b-instruct", "0.800", "0.35", "unknown", "best"],
    ["中文模型", "0.715", "12.5", "1.4", "within the noise of qwen-2.5-72b-instruct, which was ahead"],
]


def render(width: int, **options: list[str]) -> tuple[list[str], list[str]]:
    """Return the lines of the table and the columns it left out."""
    console = Console(file=io.StringIO(), width=width)
    rows = [[Text(cell) for cell in row] for row in ROWS]
    table, dropped = fit_table(HEADS, rows, width, left={"model", "why"}, folded={"why"}, **options)
    console.print(table)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines(), dropped


@pytest.mark.parametrize("width", [50, 60, 70, 80, 100, 120, 200])
def test_no_word_is_cut_and_no_line_is_too_long(width: int) -> None:
    lines, dropped = render(width, optional=["seconds", "$/M out", "prior"])
    assert max(map(len, lines)) <= width
    words = " ".join(lines).split()
    for head, *cells in zip(HEADS, *ROWS, strict=True):
        for word in " ".join([head, *cells]).split():
            assert (word in words) == (head not in dropped) or word == "best", word


def test_columns_go_in_the_order_given_and_only_as_many_as_must() -> None:
    dropped = [render(width, optional=["seconds", "$/M out", "prior"])[1] for width in (120, 70, 69, 61, 50)]
    assert dropped == [[], [], ["seconds"], ["seconds"], ["prior", "$/M out", "seconds"]]


def test_in_a_wide_terminal_nothing_is_folded() -> None:
    lines, dropped = render(200, optional=["why"])
    assert len(lines) == 3
    assert dropped == []


def test_a_word_that_is_wider_than_the_terminal_is_folded_rather_than_lost() -> None:
    console = Console(file=io.StringIO(), width=10)
    name = "a-name-of-thirty-characters-or"
    table, dropped = fit_table(["m"], [[Text(name)]], 10, left={"m"}, folded={"m"}, optional=[])
    console.print(table)
    assert isinstance(console.file, io.StringIO)
    assert "".join(console.file.getvalue().split()) == f"m{name}"
    assert dropped == []
