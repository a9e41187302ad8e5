"""Lines on a terminal: folded between words, also where they come in pieces; in a pipe left as they are."""

from __future__ import annotations

import random
import re
from itertools import pairwise
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from rich.cells import cell_len

from routemoa.cli import cli
from routemoa.cli.terminal.lines import WordFolder
from tests.cli.pseudo_terminal import PseudoTerminal
from tests.cli.test_ask import endpoint, pool

PROSE = "The sky is blue because of the scattering of light by the molecules of the atmosphere, said Rayleigh. " * 3
ANSWER = f"""{PROSE.strip()}
- an item of a list that is long enough to be continued below its own text, not below its marker
  12. an item within it that is long enough to be continued, too, which takes a few more words than these
```python
values = [first_value, second_value, third_value, fourth_value, fifth_value, sixth_value]   # not folded
```
| a row | of a table | which is | longer than a line of this terminal | and stays as it is | to the end |
中文没有空格，所以每个字符之间都可以换行。这样终端就不会在奇怪的地方断开，标点符号也不会出现在行首。
https://example.com/{"long/" * 30}end and a word after it
"""


def fold(text: str, width: int, indent: str = "", *, markdown: bool = False) -> str:
    folder = WordFolder(width, indent, markdown=markdown)
    return folder.feed(text) + folder.finish()


@pytest.mark.parametrize("width", [40, 80, 120])
def test_no_word_is_cut_and_none_is_lost(width: int) -> None:
    folded = fold(PROSE, width, "  ")
    assert folded.split() == PROSE.split()
    lines = folded.splitlines()
    assert max(map(len, lines)) <= width
    assert all(line.startswith("  ") for line in lines[1:])
    for line, following in pairwise(lines):
        assert len(line) + 1 + len(following.split(maxsplit=1)[0]) > width  # no line ends before it has to


def test_code_and_tables_stay_and_lists_hang() -> None:
    lines = fold(ANSWER, 60, markdown=True).splitlines()
    for line in ANSWER.splitlines():
        if line.startswith(("```", "values", "|")):
            assert line in lines
    item = next(i for i, line in enumerate(lines) if line.startswith("- an item"))
    assert lines[item + 1].startswith("  ")
    inner = next(i for i, line in enumerate(lines) if line.startswith("  12. "))
    assert lines[inner + 1].startswith(" " * 6)
    verbatim = ("```", "values", "|", "https")
    assert max(cell_len(line) for line in lines if not line.startswith(verbatim)) <= 60
    assert not any(line.startswith(("，", "。")) for line in lines)


@pytest.mark.parametrize("seed", range(30))
def test_pieces_give_the_same_lines_as_the_whole(seed: int) -> None:
    drawn, folder, parts, start = random.Random(seed), WordFolder(50, markdown=True), [], 0
    while start < len(ANSWER):
        end = start + drawn.randint(1, 15)
        parts.append(folder.feed(ANSWER[start:end]))
        start = end
    assert "".join(parts) + folder.finish() == fold(ANSWER, 50, markdown=True)


def test_a_word_without_an_end_is_not_held_back_for_ever() -> None:
    folder = WordFolder(80, markdown=True)
    written = "".join(folder.feed("x") for _ in range(1000))
    assert len(written) > 900
    assert written + folder.finish() == "x" * 1000


@pytest.mark.parametrize("columns", [80, 120])
def test_an_error_is_folded_on_a_terminal(columns: int) -> None:
    with PseudoTerminal("pool", "show", "--pool", "a-file-that-is-missing.toml", columns=columns) as terminal:
        assert terminal.wait_for_exit() == 2
    lines = [line for line in terminal.screen if line]
    assert lines[0].startswith("routemoa: ")
    assert all(line.startswith("  ") for line in lines[1:])
    assert re.search(r"name a pool file with --pool or ROUTEMOA_POOL", " ".join(" ".join(lines).split()))
    assert all(len(line) <= columns for line in lines)


@pytest.mark.parametrize("columns", [80, 120])
def test_a_streamed_answer_is_folded_on_a_terminal_and_nowhere_else(tmp_path: Path, columns: int) -> None:
    with endpoint(PROSE) as e:
        file = pool(tmp_path, e.url, "a")
        with PseudoTerminal("ask", "Why?", "--pool", file, columns=columns) as terminal:
            assert terminal.wait_for_exit() == 0
        piped = CliRunner().invoke(cli, ["ask", "-q", "Why?", "--pool", file])
    answer = fold(PROSE, columns).splitlines()
    assert terminal.screen[: len(answer)] == answer
    assert piped.stdout.rstrip("\n") == PROSE.rstrip()


def test_no_line_of_the_help_is_wider_than_80_characters() -> None:
    def check(command: click.Command, path: str, parent: click.Context | None) -> None:
        settings = {**command.context_settings, "terminal_width": 80}
        context = click.Context(command, info_name=path.rpartition(" ")[2], parent=parent, **settings)
        assert [line for line in command.get_help(context).splitlines() if len(line) > 80] == [], path
        if isinstance(command, click.Group):
            for name in command.list_commands(context):
                child = command.get_command(context, name)
                assert child is not None
                check(child, f"{path} {name}", context)

    check(cli, "routemoa", None)
