"""Completion in real shells on a pseudo-terminal: what the Tab key makes of a line."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

from routemoa.cli import COMMANDS, cli
from routemoa.cli.completion import SHELLS
from routemoa.core.pool_file.pool import METHODS

POOL = """
[[model]]
name = "fast"
endpoint = "http://127.0.0.1:9/v1"
api_key_env = "A_KEY_THAT_IS_NOT_SET"
[[model]]
name = "qwen:7b"
endpoint = "local"
[[model]]
name = "two words; rm"
endpoint = "local"
"""
SETUP = {
    "bash": 'eval "$(routemoa completion bash)"; bind -x \'"\\C-x": echo "<$READLINE_LINE>"\'\n',
    "zsh": "autoload -Uz compinit; compinit -u -d $HOME/dump; unsetopt zle_bracketed_paste; "
    'eval "$(routemoa completion zsh)"; show() { print -r -- "<$BUFFER>" }; zle -N show; bindkey "^X" show\n',
}
COMMAND = {"bash": ["bash", "--norc", "--noprofile", "-i"], "zsh": ["zsh", "-f", "-i"]}


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """An environment whose `routemoa` is the one under test, in a folder with a pool file."""
    (tmp_path / "pool.toml").write_text(POOL)
    (tmp_path / "bin").mkdir()
    script = tmp_path / "bin" / "routemoa"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m routemoa "$@"\n')
    script.chmod(0o755)
    kept = {k: v for k, v in os.environ.items() if k in ("PYTHONPATH", "LANG", "LD_LIBRARY_PATH", "PYENV_VERSION")}
    return {**kept, "PATH": f"{script.parent}:/usr/bin:/bin", "HOME": str(tmp_path), "TERM": "dumb", "PS1": "$ "}


class Terminal:
    """A shell on a pseudo-terminal."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.shown = ""

    def send(self, keys: str) -> None:
        os.write(self._fd, keys.encode())

    def read_until(self, pattern: str) -> str:
        """Read until a pattern appears; return its first group."""
        until = time.monotonic() + 30
        while not (found := re.search(pattern, self.shown)):
            assert time.monotonic() < until, f"{pattern} not in {self.shown!r}"
            if select.select([self._fd], [], [], 0.2)[0]:
                self.shown += os.read(self._fd, 65536).decode(errors="replace")
        self.shown = self.shown[found.end() :]
        return found[1]


@contextmanager
def open_shell(shell: str, environment: dict[str, str], folder: Path) -> Iterator[Terminal]:
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} here")
    controller, terminal = pty.openpty()
    process = subprocess.Popen(
        COMMAND[shell],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        cwd=folder,
        env=environment,
        start_new_session=True,
    )
    os.close(terminal)
    try:
        shown = Terminal(controller)
        shown.send(SETUP[shell])
        shown.send('echo re"ady"\n')
        shown.read_until("(\nready)")
        yield shown
    finally:
        process.kill()
        process.wait()
        os.close(controller)


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_the_tab_key_completes_a_line(shell: str, environment: dict[str, str], tmp_path: Path) -> None:
    with open_shell(shell, environment, tmp_path) as terminal:
        for typed, completed in [
            ("routemoa comp", "routemoa completion "),
            ("routemoa ask --max-co", "routemoa ask --max-cost "),
            ("routemoa pool pri", "routemoa pool prices "),
            ("routemoa completion z", "routemoa completion zsh "),
            ("routemoa ask --method casc", "routemoa ask --method cascade "),
            ("routemoa ask --method single:sm", "routemoa ask --method single:smollm2-135m "),
            ("routemoa ask --method=single:sm", "routemoa ask --method=single:smollm2-135m "),
            ("routemoa ask --pool pool.toml --method single:f", "routemoa ask --pool pool.toml --method single:fast "),
            (
                "routemoa ask --pool pool.toml --method single:q",
                "routemoa ask --pool pool.toml --method single:qwen:7b ",
            ),
            ("routemoa bench --methods moa,casc", "routemoa bench --methods moa,cascade "),
            ("routemoa ask --pool po", "routemoa ask --pool pool.toml "),
            ("routemoa ask --pool=po", "routemoa ask --pool=pool.toml "),
            ("routemoa collect po", "routemoa collect pool.toml "),
        ]:
            terminal.send(typed + "\t\x18")
            assert terminal.read_until(r"<(routemoa[^>]*)>").replace("\\:", ":") == completed
            terminal.send("\x15")  # the next line


def test_fish_completes_a_line(environment: dict[str, str], tmp_path: Path) -> None:
    if shutil.which("fish") is None:
        pytest.skip("no fish here")

    def complete(line: str) -> list[str]:
        code = f"routemoa completion fish | source; complete -C '{line}'"
        done = subprocess.run(
            ["fish", "--no-config", "-c", code],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        assert done.stderr == ""
        return [row.split("\t")[0] for row in done.stdout.splitlines()]

    assert complete("routemoa comp") == ["completion"]
    assert complete("routemoa ask --max-co") == ["--max-cost"]
    assert complete("routemoa ask --method=single:sm") == ["--method=single:smollm2-135m"]
    assert complete("routemoa ask --method single:sm") == ["single:smollm2-135m"]
    assert complete("routemoa ask --pool pool.toml --method single:") == ["single:fast", "single:qwen:7b"]
    assert complete("routemoa bench --methods moa,casc") == ["moa,cascade"]
    assert complete("routemoa ask --pool po") == ["pool.toml"]


OURS = {"routemoa.cli.completion", "routemoa.cli.command_group"}  # no command is in them


@pytest.mark.parametrize("shell", SHELLS)
def test_completing_a_command_imports_none(shell: str, environment: dict[str, str], tmp_path: Path) -> None:
    variables = {"_ROUTEMOA_COMPLETE": f"{shell}_complete", "COMP_WORDS": "routemoa ", "COMP_CWORD": "1"}
    if shell == "fish":
        variables["COMP_CWORD"] = ""
    code = "import sys; sys.argv[0] = 'routemoa'; from routemoa.cli import main\ntry: main()\nexcept SystemExit: pass\n"
    code += "print(*sorted(sys.modules), file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", code], env={**environment, **variables}, capture_output=True, text=True, check=True
    )
    assert all(name in done.stdout for name in COMMANDS)
    loaded = done.stderr.split()
    assert not [name for name in loaded if name.startswith("routemoa.cli.") and name not in OURS]
    assert not {"msgspec", "rich", "asyncio", "numpy"} & set(loaded)


@pytest.mark.parametrize("content", ["", "no toml [", "model = 3", "[[model]]\nprior = 1", "[model]\nname = 'a'"])
def test_a_pool_that_cannot_be_read_completes_the_methods_only(
    content: str, environment: dict[str, str], tmp_path: Path
) -> None:
    file = tmp_path / "broken.toml"
    file.write_text(content)
    for pool in (file, tmp_path / "none.toml", tmp_path):
        variables = {
            "_ROUTEMOA_COMPLETE": "zsh_complete",
            "COMP_WORDS": f"routemoa ask --pool {pool} --method ",
            "COMP_CWORD": "5",
        }
        done = subprocess.run(
            ["routemoa"], env={**environment, **variables}, capture_output=True, text=True, check=True
        )
        assert done.stderr == ""
        assert tuple(done.stdout.split("\n")[1::3]) == METHODS


def test_the_help_says_where_each_script_goes() -> None:
    shown = CliRunner().invoke(cli, ["completion", "--help"]).output
    assert all(f"routemoa completion {shell}" in shown for shell in SHELLS)


def test_the_module_runs_as_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "routemoa", "--version"], capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stdout.startswith("routemoa, version ")
