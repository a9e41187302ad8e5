"""Nothing is spent by surprise: `collect`, `bench`, `demo`, `pool join` on a terminal, without one, in the ledger.

The commands run in processes of their own, on a pseudo-terminal where the user is asked.
"""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from routemoa.cli import cli
from routemoa.core.pool_file.pool import Pool
from routemoa.ledger import default_path, read_calls
from routemoa.testing import Fault
from tests.cli.in_process import run_in_process
from tests.cli.test_ask import ROUTEMOA, endpoint

COMMANDS = ("collect", "bench", "demo", "join")
PRICES = {
    "priced": "input_price = 1.0\noutput_price = 10.0\n",
    "unpriced": "",
    "free": "input_price = 0.0\noutput_price = 0.0\n",
}
NOTHING = "nothing was asked"
LONGEST = 50
"""Tokens of every answer, and the most that the pool file allows."""


def reply(body: dict[str, Any]) -> str:
    """Answer in LONGEST words, which the endpoint counts as tokens."""
    words = [w.strip("?") for w in body["messages"][-1]["content"].split()]
    answer = f"The answer is {sum(int(w) for w in words if w.isdigit()) or 12}."
    return answer + " so" * (LONGEST - 4)


def arrange(
    folder: Path, command: str, url: str, prices: str, parameters: str = f"max_tokens = {LONGEST}"
) -> list[str]:
    """Write what a command reads, and return its arguments."""
    model = f'endpoint = "{url}"\nprior = 0.6\nparameters = {{ {parameters} }}\n{PRICES[prices]}'
    text = "".join(f'[[model]]\nname = "{n}"\n{model}' for n in ("new", "other"))
    text += f'[scorer]\npath = "{Pool.embedded().scorer}"\n' if command == "join" else ""
    (folder / "pool.toml").write_text(text)
    tasks = [
        {"id": str(i), "task": "t", "query": f"{i} + 1 ?", "reference": str(i + 1), "grader": "numeric"}
        for i in range(6)
    ]
    (folder / "task.jsonl").write_text("".join(json.dumps(t) + "\n" for t in tasks))
    return {
        "collect": ["collect", "task.jsonl", "--out", "records.jsonl"],
        "bench": ["bench", "task.jsonl", "--out", "run", "--methods", "single:new,moa"],
        "demo": ["demo"],
        "join": ["pool", "join", "new", "--out", "scorer", "-n", "10"],
    }[command] + ["--pool", "pool.toml"]


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command without a terminal."""
    return run_in_process(*arguments, folder=folder)


def run_on_terminal(folder: Path, keys: str, *arguments: str) -> tuple[int, str, bytes]:
    """Run a command on a pseudo-terminal, with standard output in a file; return its code, screen and output."""
    controller, terminal = pty.openpty()
    out = folder / "stdout"
    with out.open("wb") as stdout:
        process = subprocess.Popen(
            [*ROUTEMOA, *arguments], cwd=folder, stdin=terminal, stderr=terminal, stdout=stdout, start_new_session=True
        )
    os.close(terminal)
    screen, until, answered = "", time.monotonic() + 30, False
    while time.monotonic() < until:
        if "[y/N]: " in screen and not answered:
            time.sleep(0.3)  # until readline has set up the terminal, which drops an earlier Ctrl-D
            if keys == "\x03":  # the pseudo-terminal is not the controlling one of the process
                process.send_signal(signal.SIGINT)
            else:
                os.write(controller, keys.encode())
            answered = True
        if select.select([controller], [], [], 0.1)[0]:
            try:
                screen += os.read(controller, 65536).decode(errors="replace")
            except OSError:  # the other end is closed
                break
        elif process.poll() is not None:
            break
    os.close(controller)
    return process.wait(10), screen, out.read_bytes()


@pytest.mark.parametrize("prices", ["priced", "unpriced"])
@pytest.mark.parametrize("command", COMMANDS)
def test_without_a_terminal_money_needs_a_flag(command: str, prices: str, tmp_path: Path) -> None:
    with endpoint(reply) as e:
        arguments = arrange(tmp_path, command, e.url, prices)
        before = set(tmp_path.iterdir())
        done = run(tmp_path, *arguments)
        assert e.requests == []
    assert done.returncode == 2
    assert f"routemoa: {NOTHING}" in done.stderr
    assert "--max-cost" in done.stderr
    assert "--yes" in done.stderr
    assert "calls" in done.stderr.splitlines()[0], "the estimate comes first"
    assert ("about $" if prices == "priced" else "unknown: no price for new") in done.stderr.splitlines()[0]
    assert set(tmp_path.iterdir()) == before, "and nothing is left behind"


@pytest.mark.parametrize(
    ("prices", "flags"), [("priced", ["--yes"]), ("priced", ["--max-cost", "5"]), ("unpriced", ["-y"]), ("free", [])]
)
@pytest.mark.parametrize("command", COMMANDS)
def test_with_a_flag_or_free_models_the_calls_are_made_and_stand_in_the_ledger(
    command: str, prices: str, flags: list[str], tmp_path: Path
) -> None:
    with endpoint(reply) as e:
        done = run(tmp_path, *arrange(tmp_path, command, e.url, prices), *flags)
        made = len(e.requests)
    assert done.returncode == 0, done.stderr
    assert made
    calls = list(read_calls(default_path()))
    assert len(calls) == made
    assert {c.purpose for c in calls} == {command}
    assert {c.outcome for c in calls} == {"ok"}
    methods = {"collect": {"single:new", "single:other"}, "bench": {"single:new", "moa"}, "join": {"single:new"}}
    assert {c.method for c in calls} == methods.get(command, {"routemoa"})
    shown = CliRunner().invoke(cli, ["ledger", "--by", "purpose", "--json"])
    assert [(g["group"], g["calls"]) for g in json.loads(shown.output)["groups"]] == [(command, made)]


@pytest.mark.parametrize("command", COMMANDS)
def test_no_on_a_terminal_asks_nothing(command: str, tmp_path: Path) -> None:
    with endpoint(reply) as e:
        arguments = arrange(tmp_path, command, e.url, "priced")
        before = {p.name for p in tmp_path.iterdir()} | {"stdout"}
        for keys, code in (("n\r", 1), ("\r", 1), ("\x04", 130), ("\x03", 130)):
            done, screen, output = run_on_terminal(tmp_path, keys, *arguments, "--max-cost", "5")
            assert (done, e.requests) == (code, []), screen
            assert NOTHING in screen.split("Go on?")[1]
            assert "Traceback" not in screen
            assert output.strip() == b""
    assert {p.name for p in tmp_path.iterdir()} == before


def test_yes_on_a_terminal_goes_on(tmp_path: Path) -> None:
    with endpoint(reply) as e:
        arguments = arrange(tmp_path, "collect", e.url, "priced")
        code, screen, output = run_on_terminal(tmp_path, "y\r", *arguments, "--json")
        assert (code, len(e.requests)) == (0, 12), screen
        assert json.loads(output)["calls"] == 12
        _, again, _ = run_on_terminal(tmp_path, "", *arguments)
        assert "Go on?" not in again, "nothing is left to do"


def test_a_question_that_cannot_be_seen_is_not_asked(tmp_path: Path) -> None:
    """Standard input is a terminal, but standard error goes into a file."""
    controller, terminal = pty.openpty()
    with endpoint(reply) as e:
        arguments = arrange(tmp_path, "collect", e.url, "priced")
        done = subprocess.run(
            [*ROUTEMOA, *arguments],
            cwd=tmp_path,
            stdin=terminal,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert e.requests == []
    os.close(controller)
    os.close(terminal)
    assert done.returncode == 2
    assert NOTHING in done.stderr


def test_the_embedded_pool_and_local_files_need_no_consent(tmp_path: Path) -> None:
    from routemoa.cli.terminal.confirm import confirm_questions

    (tmp_path / "pool.toml").write_text('[[model]]\nname = "mine"\nendpoint = "local"\nmodel = "mine.gguf"\n')
    confirm_questions(Pool.embedded(), ["Why?"])
    confirm_questions(Pool.from_toml(tmp_path / "pool.toml"), ["Why?"], max_cost=1.0)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("cost", ["0", "-1", "nan", "inf", "much"])
def test_a_limit_is_an_amount_of_money(command: str, cost: str, tmp_path: Path) -> None:
    with endpoint(reply) as e:
        done = run(tmp_path, *arrange(tmp_path, command, e.url, "priced"), "--max-cost", cost)
        assert e.requests == []
    assert done.returncode == 2
    assert "--max-cost" in done.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_a_limit_needs_prices(command: str, tmp_path: Path) -> None:
    with endpoint(reply) as e:
        done = run(tmp_path, *arrange(tmp_path, command, e.url, "unpriced"), "--max-cost", "1")
        assert e.requests == []
    assert done.returncode == 2
    assert "--max-cost needs prices, and new" in done.stderr


def bill(requests: list[dict[str, Any]]) -> float:
    """Return the dollars of an endpoint that charges for every request it received, whatever became of it."""
    words = sum(len(m["content"].split()) for body in requests for m in body["messages"])
    return (words * 1.0 + len(requests) * LONGEST * 10.0) / 1e6


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    "faults",
    [(), [Fault(reset=True), Fault(), Fault(cut_after=1)] * 40, Fault(no_usage=True), Fault(first_byte=0.05)],
    ids=["well", "cut", "uncounted", "slow"],
)
def test_the_limit_is_never_passed(command: str, faults: Any, tmp_path: Path) -> None:
    """Calls that are cut off, repeated or not counted by the endpoint count as the most that they can have cost."""
    limit, stops = 0.004, 0
    with endpoint(reply, faults) as e:
        arguments = [*arrange(tmp_path, command, e.url, "priced"), "--max-cost", str(limit)]
        for _ in range(2):  # the same command again: what was spent before counts
            before = 0 if command != "demo" else len(e.requests)
            done = run(tmp_path, *arguments)
            stops += "could pass the limit" in done.stderr
            assert "Traceback" not in done.stderr, done.stderr
            assert all(body["max_tokens"] <= LONGEST for body in e.requests)
            assert bill(e.requests[before:]) <= limit
        assert e.requests
    assert stops or command == "demo", "the limit is low enough to matter"


def test_an_interrupted_run_counts_what_it_cut_off(tmp_path: Path) -> None:
    limit = 0.004
    with endpoint(reply, Fault(between=0.02)) as e:
        arguments = [*arrange(tmp_path, "collect", e.url, "priced"), "--max-cost", str(limit), "--concurrency", "1"]
        for _ in range(4):
            seen = len(e.requests)
            process = subprocess.Popen([*ROUTEMOA, *arguments], cwd=tmp_path, stdin=subprocess.DEVNULL)
            while process.poll() is None and len(e.requests) == seen:
                time.sleep(0.02)
            process.send_signal(2)
            process.wait(20)
        assert bill(e.requests) <= limit
        done = run(tmp_path, *arguments[:-3], "5")
        assert done.returncode == 0, done.stderr
    assert not (tmp_path / "records.jsonl.part").exists()
    assert max(Counter((b["model"], b["messages"][-1]["content"]) for b in e.requests).values()) <= 7


def test_the_module_is_the_one_under_test() -> None:
    code = "import routemoa; print(routemoa.__file__)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert Path(shown.strip()).parents[1] == Path(__file__).parents[2] / "src"
