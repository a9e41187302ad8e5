"""On a terminal: at most three questions, and what their answers lead to."""

from __future__ import annotations

import os
import pty
import select
import sys
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import pytest

from routemoa.core.catalog.providers import load_providers
from tests.cli.init.recorded import KEY, Machine, Recorded, make_machine, recorded_providers


@pytest.fixture
def providers() -> Iterator[Recorded]:
    with recorded_providers() as served:
        yield served


def machine(folder: Path, providers: Recorded, *names: str) -> Machine:
    table = providers.write_table(folder / "providers.toml", *names)
    known = load_providers({})
    return make_machine(folder, table, **{known[n].keys[0]: KEY for n in names if known[n].keys})


def converse(machine: Machine, answers: list[tuple[str, str]], *arguments: str) -> tuple[str, int]:
    """Run `routemoa init` on a terminal, answer each question once it is there; return the screen and the code."""
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(machine.folder)
        code = "from routemoa.cli import main; main()"
        os.execvpe(sys.executable, [sys.executable, "-c", code, "init", *arguments], {**machine.env, "TERM": "dumb"})
    screen, waiting, deadline = "", list(answers), monotonic() + 60
    seen = 0
    while monotonic() < deadline:
        if not select.select([terminal], [], [], 0.5)[0]:
            continue
        try:
            data = os.read(terminal, 65536)
        except OSError:
            break
        if not data:
            break
        screen += data.decode("utf-8", "replace")
        if waiting and waiting[0][0] in screen[seen:]:
            seen = len(screen)
            os.write(terminal, f"{waiting.pop(0)[1]}\n".encode())
    os.close(terminal)
    _, status = os.waitpid(child, 0)
    assert not waiting, f"not asked: {waiting}\n{screen}"
    return screen, os.waitstatus_to_exitcode(status)


def test_three_questions_at_most(tmp_path: Path, providers: Recorded) -> None:
    here = machine(tmp_path, providers, "openrouter", "ollama")
    (here.folder / "pool.toml").write_text("# old\n")
    screen, code = converse(here, [("Overwrite it?", "y"), ("Preset [balanced]", "cheap"), ("Try them now", "y")])
    assert code == 0, screen
    assert "[y/N]" in screen, "the safe answer is the default"
    assert "cheap" in screen
    assert "at most $" in screen
    assert "answer: 9.9" in screen
    assert 'prefer = "cheap"' in (here.folder / "pool.toml").read_text()


def test_no_is_no(tmp_path: Path, providers: Recorded) -> None:
    here = machine(tmp_path, providers, "openrouter")
    screen, code = converse(here, [("Preset", ""), ("Try them now", "n")])
    assert code == 0, screen
    assert providers.asked == []
    assert 'prefer = "balanced"' in (here.folder / "pool.toml").read_text()
    (here.folder / "pool.toml").write_text("# old\n")
    screen, code = converse(here, [("Overwrite it?", "")])
    assert code == 1
    assert "nothing was written" in screen
    assert (here.folder / "pool.toml").read_text() == "# old\n"


def test_a_wrong_answer_is_asked_again(tmp_path: Path, providers: Recorded) -> None:
    here = machine(tmp_path, providers, "openrouter")
    screen, code = converse(here, [("Preset", "good"), ("Preset", "best")], "--no-probe")
    assert code == 0, screen
    assert "'good' is not one of" in screen
    assert 'prefer = "quality"' in (here.folder / "pool.toml").read_text()


def test_only_models_of_this_machine_need_no_preset(tmp_path: Path, providers: Recorded) -> None:
    screen, code = converse(machine(tmp_path, providers, "ollama"), [("Try them now", "y")])
    assert code == 0, screen
    assert "That costs nothing" in screen
