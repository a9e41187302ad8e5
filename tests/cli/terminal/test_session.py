"""The answer on a terminal: a line with a clock while it is waited for, then the answer, then one line about it."""

from __future__ import annotations

import io
import re
import sys
import time
from pathlib import Path

import pytest

from routemoa.cli.terminal.session import AnswerWriter
from routemoa.core.events import AnswerDelta, ProposalDelta, ProposalFinished
from routemoa.core.trace import Proposal
from routemoa.core.usage import Usage
from routemoa.testing import Fault
from tests.cli.pseudo_terminal import PseudoTerminal
from tests.cli.test_ask import endpoint, pool

CLOCK = re.compile(r"asking [^\n(]*\((\d+) s\)")


LEADER = ("ask", "2+2?", "--stream-mode", "leader")


def two_pools(tmp_path: Path, fast: str, slow: str) -> str:
    """Write a pool of a at one endpoint and b at another."""
    pool(tmp_path, fast, "a")
    text = (tmp_path / "pool.toml").read_text()
    pool(tmp_path, slow, "b")
    file = tmp_path / "both.toml"
    file.write_text(text + (tmp_path / "pool.toml").read_text())
    return str(file)


def test_a_clock_runs_until_the_answer_begins_and_is_erased(tmp_path: Path) -> None:
    with (
        endpoint(faults=Fault(first_byte=2.2)) as e,
        PseudoTerminal("ask", "2+2?", "--pool", pool(tmp_path, e.url)) as terminal,
    ):
        terminal.wait_for("The answer is 4.")
        assert terminal.wait_for_exit() == 0
    assert len(set(CLOCK.findall(terminal.raw.partition("The answer is 4.")[0]))) >= 2
    shown = [line for line in terminal.screen if line]
    assert shown[0] == "The answer is 4."
    assert re.fullmatch(r"asked a, b · both agree · \d\.\d s · cost unknown · why: -v", shown[1])
    assert len(shown) == 2


def test_no_clock_returns_below_an_answer_while_none_is_asked(tmp_path: Path) -> None:
    with (
        endpoint() as e,
        PseudoTerminal("ask", "Write a poem.", "--pool", pool(tmp_path, e.url, "a")) as terminal,
    ):
        assert terminal.wait_for_exit() == 0
    written = terminal.raw.partition("The answer is 4.")[2]
    assert "asked a alone" in written
    assert not re.search(r"choosing|deciding|\(\d+ s\)", written)


def test_the_clock_goes_on_below_an_answer_while_others_are_asked(tmp_path: Path) -> None:
    with (
        endpoint() as fast,
        endpoint(faults=Fault(first_byte=2.2)) as slow,
        PseudoTerminal(*LEADER, "--pool", two_pools(tmp_path, fast.url, slow.url)) as terminal,
    ):
        terminal.wait_for("The answer is 4.")
        terminal.wait_for("asking b, a answered")
        assert "The answer is 4." in terminal.screen
        assert terminal.wait_for_exit() == 0
    after = terminal.raw.partition("The answer is 4.")[2]
    assert len(set(CLOCK.findall(after))) >= 2
    assert [line[:20] for line in terminal.screen if line] == ["The answer is 4.", "asked a, b · both ag"]


def test_a_better_answer_follows_below_the_leading_one(tmp_path: Path) -> None:
    with (
        endpoint(lambda body: "The answer is 5." if body["model"] == "a" else "The answer is 4.") as e,
        PseudoTerminal(*LEADER, "--pool", pool(tmp_path, e.url, "abcd")) as terminal,
    ):
        assert terminal.wait_for_exit() == 0
    screen = terminal.screen
    first, last = screen.index("The answer is 5."), screen.index("The answer is 4.")
    assert first < last
    assert screen[last - 2].endswith("better answer:")
    assert "asking" not in "\n".join(screen)


def test_escape_sequences_of_a_model_do_not_reach_the_terminal(tmp_path: Path) -> None:
    with (
        endpoint("The \x1b[31mred\x1b]0;title\x07 answer is \x9b2J4.\r\n", Fault(sliced=True)) as e,
        PseudoTerminal("ask", "2+2?", "--pool", pool(tmp_path, e.url)) as terminal,
    ):
        assert terminal.wait_for_exit() == 0
    assert "The red answer is 4." in terminal.screen
    for sequence in ("\x1b[31m", "\x1b]0;", "\x07", "\x9b"):
        assert sequence not in terminal.raw


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_the_steps_fit_the_terminal(tmp_path: Path, columns: int) -> None:
    with (
        endpoint(faults=Fault(first_byte=1.0)) as e,
        PseudoTerminal("ask", "-v", "2+2?", "--pool", pool(tmp_path, e.url), columns=columns) as terminal,
    ):
        assert terminal.wait_for_exit() == 0
    assert CLOCK.search(terminal.text)
    screen = terminal.screen
    assert "asking" not in "\n".join(screen)
    assert re.fullmatch(r"  model +prior +\$/M out +seconds +why", screen[1])
    assert screen[screen.index("answer") + 1] == "The answer is 4."


def test_an_interrupt_leaves_the_terminal_as_it_was(tmp_path: Path) -> None:
    with (
        endpoint(faults=Fault(first_byte=30)) as e,
        PseudoTerminal("ask", "2+2?", "--pool", pool(tmp_path, e.url)) as terminal,
    ):
        terminal.wait_for("asking a, b")
        terminal.send("\x03")
        assert terminal.wait_for_exit() == 130
    assert [line for line in terminal.screen if line] == ["interrupted"]
    assert terminal.raw.rindex("\x1b[?25h") > terminal.raw.rindex("\x1b[?25l")  # the cursor is shown again


@pytest.mark.alone
def test_a_long_answer_in_many_pieces_is_linear_work(monkeypatch: pytest.MonkeyPatch) -> None:
    def seconds(pieces: int) -> float:
        writer = AnswerWriter()
        writer.live = True
        begun = time.perf_counter()
        for _ in range(pieces):
            writer.add(AnswerDelta("word "))
        text = ("word " * pieces).strip()
        writer.add(ProposalFinished(1, Proposal("a", text, Usage(), None, None)))
        for _ in range(pieces):
            writer.add(ProposalDelta(1, "b", "word "))
        return time.perf_counter() - begun

    monkeypatch.setattr(sys, "stdout", io.StringIO())
    short = min(seconds(2_000) for _ in range(3))
    assert seconds(40_000) < 80 * short
