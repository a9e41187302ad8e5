"""`routemoa ask` in a process of its own, over a real endpoint: for a person and for a script."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from routemoa.core.pool_file.pool import METHODS
from routemoa.core.trace import Answer
from routemoa.core.types import from_json
from routemoa.testing import FakeEndpoint, Fault

SPOKEN = '[mixture]\nself_assessment = "spoken"\n'
"""Each model assesses its own answer in words."""
ROUTEMOA = [sys.executable, "-c", "from routemoa.cli import main; main()"]
Ask = Callable[..., subprocess.CompletedProcess[str]]


@contextmanager
def endpoint(reply: Any = "The answer is 4.", faults: Any = ()) -> Iterator[FakeEndpoint]:
    """A FakeEndpoint in a thread of its own, for processes that are run and waited for."""
    ready, finished = threading.Event(), threading.Event()
    endpoints: list[FakeEndpoint] = []

    async def serve() -> None:
        async with FakeEndpoint(reply, faults) as e:
            endpoints.append(e)
            ready.set()
            await asyncio.to_thread(finished.wait)

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    ready.wait(5)
    try:
        yield endpoints[0]
    finally:
        finished.set()
        thread.join(5)


def pool(tmp_path: Path, url: str, names: str = "ab", mixture: str = "") -> str:
    file = tmp_path / "pool.toml"
    members = "".join(f'[[model]]\nname = "{n}"\nendpoint = "{url}"\nprior = 0.6\n' for n in names)
    file.write_text(members + mixture)
    return str(file)


def run(*args: str, stdin: str | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("ROUTEMOA") or k == "ROUTEMOA_STORE"} | env
    return subprocess.run(
        [*ROUTEMOA, *args], capture_output=True, text=True, input=stdin or "", timeout=60, check=False, env=environment
    )


def test_the_answer_alone_is_on_standard_output(tmp_path: Path) -> None:
    with endpoint() as e:
        done = run("ask", "2+2?", "--pool", pool(tmp_path, e.url))
    assert done.stdout == "The answer is 4.\n"
    assert re.fullmatch(r"asked a, b · both agree · \d+\.\d s · cost unknown · why: -v\n", done.stderr)
    assert done.returncode == 0


def test_verbose_shows_the_steps(tmp_path: Path) -> None:
    with endpoint() as e:
        done = run("ask", "-v", "2+2?", "--pool", pool(tmp_path, e.url, mixture=SPOKEN))
    assert done.stdout == "The answer is 4.\n"
    for words in ("prior", "layer 1", "judges its own answer", "new ranking", "stops: agreed", "a dense MoA"):
        assert words in done.stderr
    assert done.returncode == 0


def test_quiet_prints_nothing_else_and_the_pool_may_come_from_the_environment(tmp_path: Path) -> None:
    with endpoint() as e:
        done = run("ask", "-q", "-", stdin="2+2?\n", ROUTEMOA_POOL=pool(tmp_path, e.url))
        assert e.requests[0]["messages"][-1]["content"].startswith("2+2?\n")
    assert (done.stdout, done.stderr, done.returncode) == ("The answer is 4.\n", "", 0)


def test_json_is_one_object_with_the_public_keys(tmp_path: Path) -> None:
    trace_file = tmp_path / "trace.json"
    with endpoint() as e:
        file = pool(tmp_path, e.url, mixture=SPOKEN)
        done = run("ask", "2+2?", "--json", "--pool", file, "--trace", str(trace_file), "--prefer", "balanced")
    whole = json.loads(done.stdout)
    trace = whole["trace"]
    assert whole["text"] == "The answer is 4."
    assert trace["query"]["prefer"] == "balanced"
    assert trace["prior"] == {"a": 0.6, "b": 0.6}
    layer = trace["layers"][0]
    ending = {"finish_reason", "refusal", "thought_length", "tool_calls", "thought", "logprobs"}
    assert {"model", "text", "usage", "latency", "cost", "endpoint", *ending} == set(layer["proposals"][0])
    assert {"judge", "subject", "kind", "value"} == set(layer["assessments"][0])
    assert {"model", "performance", "cost", "latency", "why"} == set(layer["ranking"][0])
    counts = {"prompt_tokens", "completion_tokens", "cached_tokens", "written_tokens"}
    assert {*counts, "reasoning_tokens", "reported_cost", "problem"} == set(trace["usage"])
    assert trace["calls"] == 2
    assert trace["cost"] is None  # the file gives no price
    assert trace["aggregator"] is None
    assert trace["stop_reason"].startswith("agreed")
    assert json.loads(trace_file.read_text()) == whole
    assert from_json(done.stdout, Answer).text == whole["text"]


def test_one_model_alone(tmp_path: Path) -> None:
    with endpoint("Hello <assessment> there.") as e:
        done = run("ask", "hi", "--json", "--method", "single:b", "--system", "S", "--pool", pool(tmp_path, e.url))
        assert e.requests[0]["messages"] == [{"role": "system", "content": "S"}, {"role": "user", "content": "hi"}]
    whole = json.loads(done.stdout)
    assert whole["text"] == "Hello <assessment> there."
    assert whole["trace"]["calls"] == 1
    assert whole["trace"]["method"] == "single:b"


def test_the_dense_mixture_over_a_real_socket(tmp_path: Path) -> None:
    def reply(body: dict[str, Any]) -> str:
        turn = body["messages"][-1]["content"]
        return "Four." if "one final answer" in turn else f"An answer after {turn.count('<answer id=')} others."

    with endpoint(reply) as e:
        done = run(
            "ask", "-v", "2+2?", "--method", "moa", "--pool", pool(tmp_path, e.url), "--trace", str(tmp_path / "t")
        )
        assert len(e.requests) == 2 * 3 + 1
    assert done.stdout == "Four.\n", done.stderr
    for words in ("layer 3: calls a, b (2 of 2 models)", "stops: last layer: 3 of 3", "aggregator: a", "7 calls"):
        assert words in done.stderr
    trace = json.loads((tmp_path / "t").read_text())["trace"]
    assert trace["method"] == "moa"
    assert trace["calls"] == 7
    assert trace["usage"]["completion_tokens"] > 0
    assert [len(layer["proposals"]) for layer in trace["layers"]] == [2, 2, 2]


def test_calls_outside_layers_and_several_samples_are_shown(tmp_path: Path) -> None:
    with endpoint("The answer is [b]4[/].") as e:
        smoa = run("ask", "2+2?", "-v", "--method", "smoa", "--pool", pool(tmp_path, e.url))
        samples = run("ask", "2+2?", "-v", "--method", "self-moa", "--pool", pool(tmp_path, e.url))
    for words in ("roles: calls a", "moderator: calls a", "The answer is [b]4[/]."):
        assert words in smoa.stderr
    assert "layer 1: calls a 3 times (1 of 2 models)" in samples.stderr
    assert samples.stdout == smoa.stdout == "The answer is [b]4[/].\n"


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["ask", "x", "--pool", "nowhere.toml"], 2, "nowhere.toml: cannot be read"),
        (["ask", "  "], 2, "the question is empty"),
        (["ask"], 2, "the question is empty"),
        (["ask", "x", "--method", "singel:a"], 2, "did you mean 'single:a'?"),
        (["ask", "x", "--trace", "/nowhere/at/all.json"], 2, "cannot be written"),
        (["ask", "x", "--prefer", "best"], 2, "'best' is not one of 'quality', 'balanced', 'cheap', 'fast'"),
        (["ask", "x", "--nonsense"], 2, "No such option"),
        (["aks"], 2, "aks"),
        (["ask", "x", "-q", "-v"], 2, "exclude each other"),
        (["ask", "-", "--messages", "-"], 2, "cannot both be read"),
        (["ask", "--messages", "nowhere.json"], 2, "nowhere.json: it cannot be read"),
        (["ask", "--messages", "/"], 2, "it cannot be read"),
    ],
)
def test_wrong_use_is_one_line(tmp_path: Path, args: list[str], code: int, words: str) -> None:
    done = run(*args, ROUTEMOA_POOL=pool(tmp_path, "http://127.0.0.1:9/v1"))
    assert done.returncode == code
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_when_all_models_fail_every_reason_is_shown_and_the_trace_is_kept(tmp_path: Path) -> None:
    trace_file = tmp_path / "trace.json"
    with endpoint(faults=Fault(status=401, message="who are you?")) as e:
        done = run("ask", "x", "-q", "--trace", str(trace_file), "--pool", pool(tmp_path, e.url))
    assert done.returncode == 1
    assert "a, b: HTTP 401: who are you?" in done.stderr
    assert len(json.loads(trace_file.read_text())["trace"]["layers"][0]["failures"]) == 2


def test_an_unreachable_endpoint_names_file_key_and_fix(tmp_path: Path) -> None:
    file = pool(tmp_path, "http://127.0.0.1:9/v1", "a")
    done = run("ask", "x", "-q", "--pool", file)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    for words in ("a: http://127.0.0.1:9/v1 cannot be reached: Connection refused", "`endpoint`", file, "pool check"):
        assert words in done.stderr


def test_an_interrupt_leaves_nothing_broken(tmp_path: Path) -> None:
    trace_file = tmp_path / "trace.json"
    with endpoint(faults=Fault(first_byte=30)) as e:
        command = [*ROUTEMOA, "ask", "2+2?", "--trace", str(trace_file), "--pool", pool(tmp_path, e.url)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        wait_until(lambda: e.open_requests == 2)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=10)
        wait_until(lambda: e.open_requests == 0)
    assert process.returncode == 130
    assert out == ""
    assert err.rstrip().endswith("interrupted")
    assert "Traceback" not in err
    assert json.loads(trace_file.read_text())["trace"]["layers"][0]["selected"] == ["a", "b"]


def test_model_output_is_never_markup(tmp_path: Path) -> None:
    with endpoint("[bold]The answer[/] is [link=http://evil]4[/link]. \x1b[31mred") as e:
        done = run("ask", "x", "-vv", "--pool", pool(tmp_path, e.url))
    assert "[bold]The answer[/]" in done.stderr
    assert "red" in done.stderr
    assert "\x1b" not in done.stderr


@pytest.mark.parametrize("verbosity", [(), ("-v",), ("-vv",), ("-q",)])
def test_what_an_endpoint_says_cannot_steer_the_terminal(tmp_path: Path, verbosity: tuple[str, ...]) -> None:
    with endpoint(faults=Fault(status=400, message="no \x1b]0;title\x07\x1b[2Jroom")) as e:
        done = run("ask", "x", *verbosity, "--pool", pool(tmp_path, e.url))
    assert "HTTP 400: no room" in done.stderr
    assert "\x1b" not in done.stderr
    assert "\x07" not in done.stderr


def test_a_terminal_that_lacks_a_character_shows_another(tmp_path: Path) -> None:
    with endpoint("Grüße, 世界!") as e:
        for option in ("-q", "-v", "-vv"):
            done = run("ask", "x", option, "--pool", pool(tmp_path, e.url), PYTHONIOENCODING="ascii")
            assert (done.returncode, done.stdout) == (0, "Gr??e, ??!\n"), done.stderr


def test_very_verbose_shows_every_call_word_for_word(tmp_path: Path) -> None:
    def reply(body: dict[str, Any]) -> str:
        return 'The answer is 4.\n\nIt is even.\n<assessment>{"self": 0.75}</assessment>'

    with endpoint(reply) as e:
        file = pool(tmp_path, e.url, mixture=SPOKEN)
        done = run("ask", "-vv", "2+2?", "--system", "Be brief.", "--pool", file)
    for words in (
        "Be brief.",
        "Reply in two parts",
        '{"self": 0.75}</assessment>',
        "It is even.",
        "call of a, proposal",
    ):
        assert words in done.stderr
    assert done.stdout == "The answer is 4.\n\nIt is even.\n"


def test_the_limits_say_what_they_leave_out_and_not_more(tmp_path: Path) -> None:
    """b is left out of layer 1 and called in layer 2; c is never called."""

    def reply(body: dict[str, Any]) -> str:
        return f"The answer is {ord(body['model'][0])}."

    with endpoint(reply) as e:
        file = pool(tmp_path, e.url, "abc")
        steps = run("ask", "-v", "2+2?", "--max-calls", "2", "--pool", file).stderr
        dense = run("ask", "-v", "2+2?", "--max-calls", "2", "--method", "moa", "--pool", file).stderr
        line = run("ask", "2+2?", "--max-calls", "2", "--method", "moa", "--pool", file).stderr
    assert "layer 1 without b: only 2 more calls are" in steps
    assert "layer 2: calls b" in steps
    assert "not called" not in steps
    assert "c not called: all 2 calls" in dense
    assert "failed" not in dense
    assert line.startswith("asked a, b · they differ · the answer is a's · the limits left out c · ")


def test_a_failed_model_is_named_in_the_line(tmp_path: Path) -> None:
    with endpoint(lambda body: "The answer is 4.", faults=[Fault(status=400)]) as e:
        done = run("ask", "2+2?", "--method", "moa", "--pool", pool(tmp_path, e.url, "abc"))
    assert re.match(r"asked \w, \w; \w failed · both agree · ", done.stderr)


@pytest.mark.alone
def test_help_is_fast_and_has_examples() -> None:
    times = []
    for _ in range(3):
        begun = time.perf_counter()
        done = run("--help")
        times.append(time.perf_counter() - begun)
    assert "Start here" in done.stdout
    assert min(times) < 0.3
    shown = " ".join(run("ask", "--help").stdout.split())
    assert "Examples" in shown
    assert f"{', '.join(METHODS)}, or single:MODEL" in shown


def wait_until(condition: Callable[[], bool]) -> None:
    for _ in range(500):
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError("it did not happen within ten seconds")


def test_a_question_without_quotes_is_answered_with_the_line_that_has_them() -> None:
    done = run("ask", "Why", "isn't", "it", "green?")
    assert done.returncode == 2
    assert done.stdout == ""
    assert """Quote the question:  routemoa ask 'Why isn'"'"'t it green?'""" in done.stderr


@pytest.mark.parametrize(
    ("words", "meant"),
    [(["aks"], "ask"), (["pool", "shwo"], "show"), (["scorer", "tain"], "train"), (["judge", "fti"], "fit")],
)
def test_a_misspelled_command_gets_the_one_that_was_meant(words: list[str], meant: str) -> None:
    done = run(*words)
    assert done.returncode == 2
    assert f"There is no command '{words[-1]}'; did you mean {meant}?" in done.stderr


def test_a_pool_file_that_is_here_and_not_named_is_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    pool_commands = (["pool", "show"], ["pool", "check"], ["pool", "prices"])
    for command in (*pool_commands, ["ask", "Hi"], ["collect", "q.jsonl", "--out", "o", "--yes"]):
        (tmp_path / "pool.toml").unlink(missing_ok=True)
        (tmp_path / "q.jsonl").write_text('{"query": "Hi"}\n')
        note = "note: pool.toml is here and not used; use it with  --pool pool.toml"
        cache = {"ROUTEMOA_CACHE": str(tmp_path / "empty")}
        assert note not in run(*command, **cache).stderr
        (tmp_path / "pool.toml").write_text('[[model]]\nname = "a"\nendpoint = "http://127.0.0.1:9/v1"\n')
        assert note in run(*command, **cache).stderr, command
        assert note not in run(*command, "--pool", "pool.toml", **cache).stderr
