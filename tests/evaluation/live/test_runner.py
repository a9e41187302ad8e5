"""Live runs: resumed after a kill without repeating a call, within a spending limit, refused where they differ."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from routemoa.cli import cli
from routemoa.core.errors import BudgetExceeded, ConfigError, ModelHTTPError, NoSandbox
from routemoa.core.types import Completion, Message, ModelSpec, Request
from routemoa.core.usage import Usage
from routemoa.datasets.questions import Question
from routemoa.evaluation.live.call_cache import CURRENT_QUESTION, CallCache, QuestionRun
from routemoa.evaluation.live.call_file import CALLS, CachedCall
from routemoa.evaluation.live.cost_estimate import estimate_cost
from routemoa.evaluation.live.methods import build_live_methods, live_method_names
from routemoa.evaluation.live.resume import find_answered, start_run
from routemoa.evaluation.live.runner import LiveRun, WorkUnit, answer_question, plan_units, run_units
from routemoa.evaluation.outcomes import Outcome, Run, load_run, read_outcomes
from routemoa.mixture.method_registry import build_method
from routemoa.testing import FakeEndpoint, Fault, ScriptedClient
from tests.conftest import MakePool

ASKED = [Question(f"q{i}", "sums", f"What is {i} + {i}?", None, str(2 * i), "numeric") for i in range(1, 13)]
METHODS = "routemoa,moa,smoa,self-moa,best-single,random,cascade"


def reply(body: dict[str, Any]) -> str:
    """Right, wrong by one, or right on even questions, by model. Judges and moderators get a readable reply."""
    text = body["messages"][-1]["content"]
    if "moderate a debate" in text:
        return '{"best": ["B", "A"], "done": false}'
    number = int(text.split("What is ")[1].split(" +")[0]) if "What is " in text else 0
    wrong = body["model"] == "c" or (body["model"] == "b" and number % 2)
    answer = f"The answer is {2 * number + wrong}."
    return answer + ('\n<assessment>{"self": 0.7}</assessment>' if "assessment" in text else "")


def pool_file(folder: Path, url: str, extra: str = "") -> Path:
    path = folder / "pool.toml"
    priors = {"a": 0.7, "b": 0.6, "c": 0.5}
    path.write_text(
        "\n".join(
            f'[[model]]\nname = "{m}"\nendpoint = "{url}"\nprior = {p}\ninput_price = 1.0\noutput_price = 10.0\n'
            "parameters = { max_tokens = 50 }"
            for m, p in priors.items()
        )
        + extra
    )
    return path


def task_file(folder: Path, asked: list[Question] = ASKED) -> Path:
    path = folder / "sums.jsonl"
    path.write_bytes(b"".join(msgspec.json.encode(q) + b"\n" for q in asked))
    return path


async def start(*arguments: object, **env: str) -> asyncio.subprocess.Process:
    command = [sys.executable, "-c", "from routemoa.cli import main; main()", "bench", *map(str, arguments)]
    return await asyncio.create_subprocess_exec(
        *command, env=os.environ | env, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )


def read_calls(folder: Path) -> list[CachedCall]:
    return [msgspec.json.decode(line, type=CachedCall) for line in (folder / CALLS).read_bytes().splitlines()]


TABLE = ("accuracy", "ci95", "calls", "prompt_tokens", "completion_tokens", "cost", "failed", "n")


def summary_table(folder: Path) -> dict[str, Any]:
    """All of the run's figures but its seconds, which no two runs share."""
    return {m: {k: f[k] for k in TABLE} for m, f in load_run(folder).summary["methods"].items()}


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
async def test_a_killed_run_goes_on_to_the_same_table_and_makes_no_call_twice(
    tmp_path: Path, how: signal.Signals
) -> None:
    async with FakeEndpoint(reply, Fault(first_byte=0.01, between=0.002)) as endpoint:
        arguments = [task_file(tmp_path), "--pool", pool_file(tmp_path, endpoint.url), "--methods", METHODS, "--yes"]
        whole = await start(*arguments, "--out", tmp_path / "whole")
        _, stderr = await whole.communicate()
        assert whole.returncode == 0, stderr.decode()
        alone = len(endpoint.requests)

        killed = await start(*arguments, "--out", tmp_path / "killed")
        while len(endpoint.requests) < alone + alone // 2:
            assert killed.returncode is None
            await asyncio.sleep(0.005)
        killed.send_signal(how)
        _, stderr = await killed.communicate()
        assert killed.returncode == (130 if how == signal.SIGINT else -9)
        if how == signal.SIGINT:
            assert b"run the same command again to continue" in stderr
        before = read_calls(tmp_path / "killed")
        assert 0 < len(before) < alone
        cut = endpoint.gone
        again = await start(*arguments, "--out", tmp_path / "killed")
        _, stderr = await again.communicate()
        assert again.returncode == 0, stderr.decode()

    keys = Counter(p.key for p in read_calls(tmp_path / "killed"))
    assert max(keys.values()) == 1
    assert read_calls(tmp_path / "killed")[: len(before)] == before
    assert {p.key for p in read_calls(tmp_path / "killed")} == {p.key for p in read_calls(tmp_path / "whole")}
    # The endpoint saw again only what the kill had cut off in the middle of its answer.
    assert len(endpoint.requests) - 2 * alone <= max(cut, 12)
    assert summary_table(tmp_path / "killed") == summary_table(tmp_path / "whole")
    assert summary_table(tmp_path / "whole")["best-single"]["accuracy"] == 1.0
    units = [(o.method, o.id) for o in read_outcomes(tmp_path / "killed")]
    assert len(units) == len(set(units)) == 7 * len(ASKED)


async def test_a_finished_run_makes_no_call_and_takes_more_questions(tmp_path: Path) -> None:
    async with FakeEndpoint(reply) as endpoint:
        file, out = pool_file(tmp_path, endpoint.url), tmp_path / "run"
        some = [task_file(tmp_path), "--pool", file, "--methods", "best-single", "--yes", "--out", out]
        assert (await (await start(*some, "--limit", 5)).wait()) == 0
        assert len(endpoint.requests) == 5
        _, stderr = await (await start(*some, "--limit", 5)).communicate()
        assert len(endpoint.requests) == 5
        assert b"nothing is left to do" in stderr
        await (await start(*some, "--limit", 8)).communicate()
        assert len(endpoint.requests) == 8
        assert load_run(out).summary["methods"]["best-single"]["n"] == 8
        _, stderr = await (await start(*some, "--seed", 3)).communicate()
        assert b"holds another run (seed)" in stderr
        assert len(endpoint.requests) == 8


async def test_failures_are_a_column_of_their_own_and_retried_when_wanted(tmp_path: Path) -> None:
    async with FakeEndpoint(reply, [Fault(status=400)]) as endpoint:
        file, out = pool_file(tmp_path, endpoint.url), tmp_path / "run"
        arguments = [task_file(tmp_path), "--pool", file, "--methods", "single:a", "--yes", "--out", out]
        arguments += ["--concurrency", 1]
        await (await start(*arguments)).communicate()
        figures = load_run(out).summary["methods"]["single:a"]
        assert (figures["failed"], figures["n"]) == (1, 12)
        assert figures["accuracy"] == pytest.approx(11 / 12)
        await (await start(*arguments)).communicate()
        assert load_run(out).summary["methods"]["single:a"]["failed"] == 1  # kept, not asked again in silence
        await (await start(*arguments, "--retry")).communicate()
        figures = load_run(out).summary["methods"]["single:a"]
        assert (figures["failed"], figures["accuracy"]) == (0, 1.0)


async def test_the_spending_limit_holds_for_the_whole_run(tmp_path: Path) -> None:
    async with FakeEndpoint(reply, Fault(first_byte=0.01)) as endpoint:
        file, out = pool_file(tmp_path, endpoint.url), tmp_path / "run"
        arguments = [task_file(tmp_path), "--pool", file, "--methods", "moa", "--yes", "--out", out]
        stopped = await start(*arguments, "--max-cost", 0.01)
        _, stderr = await stopped.communicate()
        assert stopped.returncode == 1
        assert b"could pass the limit" in stderr
        assert b"run the same command again with a higher --max-cost to continue" in stderr
        assert 0.004 < sum(p.charged for p in read_calls(out)) <= 0.01
        assert not [p for p in read_calls(out) if p.kind == "Abandoned"]  # what was under way went on to its end
        await (await start(*arguments, "--max-cost", 0.01)).wait()
        assert sum(p.charged for p in read_calls(out)) <= 0.01  # earlier runs count
        again = await start(*arguments, "--max-cost", 1.0)
        _, stderr = await again.communicate()
        assert again.returncode == 0, stderr.decode()
        assert load_run(out).summary["methods"]["moa"]["n"] == 12
        free = pool_file(tmp_path, endpoint.url, '\n[[model]]\nname = "d"\nendpoint = "http://127.0.0.1:9/v1"\n')
        bare = await start(task_file(tmp_path), "--pool", free, "--max-cost", 1, "--out", tmp_path / "other")
        _, stderr = await bare.communicate()
        assert b"--max-cost needs prices, and d has none" in stderr


class Priced:
    """A client whose answers have the given lengths, up to the limit that the request sets."""

    def __init__(self, lengths: list[int]) -> None:
        self.lengths = lengths

    async def stream(self, model: ModelSpec, request: Request) -> Any:
        await asyncio.sleep(0)
        words = self.lengths.pop() if self.lengths else 1
        read = sum(len(m.content) for m in request.messages)
        yield Completion("x", Usage(read, min(words, 100)))

    async def close(self) -> None: ...


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.integers(0, 200), min_size=1, max_size=40), st.floats(1e-5, 0.01), st.floats(0, 50), st.floats(0, 50)
)
def test_whatever_the_answers_the_limit_is_never_passed(
    tmp_path_factory: pytest.TempPathFactory, lengths: list[int], limit: float, read: float, written: float
) -> None:
    spec = ModelSpec("m", "http://x", "m", input_price=read, output_price=written, parameters={"max_tokens": 100})
    folder = tmp_path_factory.mktemp("calls")

    async def call(cache: CallCache, text: str) -> None:
        CURRENT_QUESTION.set(QuestionRun("m", "t", text))
        try:
            async for _ in cache.stream(spec, Request((Message("user", text),))):
                pass
        except BudgetExceeded:
            pass

    async def all_calls() -> None:
        with CallCache.open(Priced(list(lengths)), folder, limit) as cache:
            await asyncio.gather(*(call(cache, f"question {i}") for i in range(len(lengths))))
            assert cache.account.spent <= limit * (1 + 1e-9)
            assert cache.account.reserved == pytest.approx(0.0, abs=1e-12)
        assert sum(p.charged for p in read_calls(folder)) <= limit * (1 + 1e-9)

    asyncio.run(all_calls())


async def test_what_failed_fails_again_from_the_file_and_an_abandoned_call_is_counted(tmp_path: Path) -> None:
    spec = ModelSpec("m", "http://x", "m", input_price=1.0, output_price=1.0)
    request = Request((Message("user", "hello"),))
    client = ScriptedClient({"m": [ModelHTTPError("m", "HTTP 429", status=429), "late"]}, delay=0.05)
    with CallCache.open(client, tmp_path, 1.0) as cache:
        CURRENT_QUESTION.set(QuestionRun("x", "t", "1"))
        with pytest.raises(ModelHTTPError):
            await anext(cache.stream(spec, request))
        task = asyncio.create_task(_all(cache, spec, request))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        # Its cost is unknown, so the most counts: five bytes and what a template adds, and the longest answer there is.
        assert cache.account.spent == pytest.approx((5 + 4 + 32 + 4096) / 1e6)
        assert client.calls[-1].request.parameters == {"max_tokens": 4096}
    with CallCache.open(client, tmp_path, 1.0) as cache:
        CURRENT_QUESTION.set(QuestionRun("x", "t", "1"))
        with pytest.raises(ModelHTTPError) as error:
            await anext(cache.stream(spec, request))
        assert error.value.status == 429
        assert len(client.calls) == 2
        assert (await _all(cache, spec, request))[-1] == "late"  # called again
        assert len(client.calls) == 3


async def _all(cache: CallCache, spec: ModelSpec, request: Request) -> list[str]:
    return [p.text async for p in cache.stream(spec, request) if isinstance(p, Completion)]


@pytest.mark.alone
async def test_time_goes_on_where_it_was_interrupted(tmp_path: Path) -> None:
    spec = ModelSpec("m", "http://x", "m")
    client = ScriptedClient({"m": "hello"}, delay=0.2)
    first, second = Request((Message("user", "one"),)), Request((Message("user", "two"),))
    with CallCache.open(client, tmp_path) as cache:
        CURRENT_QUESTION.set(QuestionRun("x", "t", "1"))
        await _all(cache, spec, first)
    with CallCache.open(client, tmp_path) as cache:
        question_run = QuestionRun("x", "t", "1")
        CURRENT_QUESTION.set(question_run)
        await _all(cache, spec, first)
        await _all(cache, spec, second)
        assert 0.4 <= question_run.elapsed_seconds() < 0.8
        CURRENT_QUESTION.set(other := QuestionRun("x", "t", "2"))
        await _all(cache, spec, first)  # asked once for all questions: not this one's time
        assert other.elapsed_seconds() < 0.1
    assert len(client.calls) == 2


async def test_the_estimate_bounds_what_every_method_takes(tmp_path: Path) -> None:
    async with FakeEndpoint(reply) as endpoint:
        from routemoa.clients.connect import connect
        from routemoa.core.pool_file.pool import Pool

        pool = Pool.from_toml(pool_file(tmp_path, endpoint.url))
        for name in live_method_names(pool):
            units = [WorkUnit(name, q) for q in ASKED[:3]]
            most = estimate_cost(units, pool)
            folder = tmp_path / name.replace(":", "_")
            folder.mkdir()
            with CallCache.open(connect(pool), folder) as cache:
                live = LiveRun(await build_live_methods([name], pool, cache, ASKED), cache)
                await run_units(units, partial(answer_question, live=live), folder)
                await cache.close()
            roles = name == "smoa"  # written once for all questions
            assert len(read_calls(folder)) <= most.calls + roles
            assert most.cost is not None
            assert sum(p.cost or 0.0 for p in read_calls(folder)) <= most.cost * 1.1


async def test_a_part_that_is_taken_away_is_not_used(tmp_path: Path, make_pool: MakePool) -> None:
    pool = make_pool("a", "b", "c", prior=0.5, mixture={"prefer": "quality", "self_assessment": "spoken"})
    names = [n for n in live_method_names(pool) if n.startswith("routemoa-no-")]
    assert len(names) == 6
    prompts: dict[str, str] = {}
    for name in ["routemoa", *names]:
        client = ScriptedClient({m: f"The answer is {i}." for i, m in enumerate("abc")})  # no two agree
        folder = tmp_path / name
        folder.mkdir()
        with CallCache.open(client, folder) as cache:
            live = LiveRun(await build_live_methods([name], pool, cache, ASKED), cache)
            await run_units([WorkUnit(name, ASKED[0])], partial(answer_question, live=live), folder)
        prompts[name] = "\n".join(m.content for c in client.calls for m in c.request.messages)
        outcome = next(read_outcomes(folder))
        assert (outcome.method, outcome.failure) == (name, None)
        if name == "routemoa-no-early-stop":
            assert {m for layer in outcome.layers for m in layer} == {"a", "b", "c"}
        if name == "routemoa-no-aggregator":
            assert outcome.aggregator is None
    assert '"self": P' in prompts["routemoa"]
    assert '"self": P' not in prompts["routemoa-no-self"]
    assert '"scores"' not in prompts["routemoa-no-cross"]


def test_every_method_begins_as_often_and_what_is_there_is_left_out() -> None:
    units = plan_units(ASKED, ["x", "y", "z"], {("x", "sums", "q1")})
    assert len(units) == 35
    assert Counter(u.method for u in units)["y"] == 12
    assert [u.method for u in units[2:5]] == ["y", "z", "x"]


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    base: Any = {"kind": "live", "name": "sums", "methods": ("a",), "models": ("m",)}
    start_run(tmp_path, Run(**base, settings={"pool": "1"}))
    with pytest.raises(ConfigError, match="another run \\(pool\\)"):
        find_answered(tmp_path, Run(**base, settings={"pool": "2"}), ASKED)
    with pytest.raises(ConfigError, match="another run \\(task\\)"):
        find_answered(tmp_path, Run(**base | {"name": "x"}, settings={"pool": "1"}), ASKED)
    (tmp_path / "outcomes.jsonl").write_bytes(
        msgspec.json.encode(Outcome("a", "sums", "q1", 1.0, query="What is love?")) + b"\n"
    )
    with pytest.raises(ConfigError, match="another question as sums, q1"):
        find_answered(tmp_path, Run(**base, settings={"pool": "1"}), ASKED)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gsm8"], "neither a task nor a file; did you mean 'gsm8k'?"),
        (["nosuch.jsonl"], "there is no file of that name, nor a task; known: arc-challenge"),
        (["TASK", "--methods", "best"], "'best' is unknown; known: routemoa"),
        (["TASK", "--methods", ","], "name at least one"),
        (["TASK", "--judge", "nobody"], "'nobody' is no model of the pool"),
        (["JUDGED"], "name a model of the pool with --judge"),
    ],
)
def test_mistakes_are_reported_before_any_call(tmp_path: Path, arguments: list[str], message: str) -> None:
    (tmp_path / "judged.jsonl").write_text(
        '{"id": "1", "task": "t", "query": "Write a poem.", "reference": "Roses", "grader": "judge"}\n'
    )
    names = {"TASK": str(task_file(tmp_path)), "JUDGED": str(tmp_path / "judged.jsonl")}
    pool = pool_file(tmp_path, "http://127.0.0.1:9/v1")
    out = str(tmp_path / "run")
    given_ = [names.get(a, a) for a in arguments]
    result = CliRunner().invoke(cli, ["bench", *given_, "--pool", str(pool), "--out", out])
    assert isinstance(result.exception, ConfigError)
    assert message in str(result.exception)


def test_without_a_sandbox_no_model_is_called_for_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from routemoa.datasets.grading import sandbox

    sandbox._isolation_command.cache_clear()
    monkeypatch.setenv("PATH", str(tmp_path))
    code = Question("1", "code", "Double x.", None, "assert f(1) == 2", "code")
    pool = pool_file(tmp_path, "http://127.0.0.1:9/v1")
    out = tmp_path / "run"
    asked = str(task_file(tmp_path, [code]))
    result = CliRunner().invoke(cli, ["bench", asked, "--pool", str(pool), "--out", str(out)])
    sandbox._isolation_command.cache_clear()
    assert isinstance(result.exception, NoSandbox)
    assert "apt-get install bubblewrap" in str(result.exception)
    assert not out.exists()


async def test_a_judge_compares_with_the_reference_both_ways_round(tmp_path: Path, make_pool: MakePool) -> None:
    pool = make_pool("writer", "judge")

    def verdict(_: ModelSpec, request: Request) -> str:
        text = request.messages[-1].content
        if "Compare the two" not in text:
            return "Roses are red."
        first = text.split('<answer id="A">')[1].split("</answer>")[0]
        fair = "[[A]]" if "Roses are red." in first else "[[B]]"
        return {"fair": fair, "place": "[[A]]", "mute": "hm"}[text.split("\n")[0]]

    for kind, right in (("fair", 1.0), ("place", 0.5), ("mute", None)):
        client = ScriptedClient({"writer": "Roses are red.", "judge": verdict})
        folder = tmp_path / kind
        folder.mkdir()
        asked = Question("1", "poems", kind, None, "Violets.", "judge")  # the judge of this test does as it is asked
        with CallCache.open(client, folder) as cache:
            method = build_method(pool, "single:writer", cache)
            live = LiveRun({"m": method}, cache, judge=pool["judge"])
            await run_units([WorkUnit("m", asked)], partial(answer_question, live=live), folder)
        assert next(read_outcomes(folder)).right == right
        assert len([p for p in read_calls(folder) if p.model == "judge"]) == 2
