"""Code answers compared by what they do, through the whole engine: real sockets, the real sandbox."""

from __future__ import annotations

import logging
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from routemoa import RouteMoA
from routemoa.cli.chat.why import explain_answer
from routemoa.cli.terminal.summary import describe_agreement, describe_code_agreement
from routemoa.core import events as t
from routemoa.core.errors import NoSandbox
from routemoa.core.pool_file.pool import Pool
from routemoa.core.tables.mixture_table import Mixture
from routemoa.core.trace import Answer, Trace
from routemoa.core.types import Message, ModelSpec, from_json, to_json
from routemoa.datasets.grading import sandbox
from routemoa.datasets.grading.behaviour import observe_behaviour
from routemoa.datasets.grading.sandbox import run_program
from routemoa.datasets.records import Record
from routemoa.evaluation.replay.recorded import RecordedClient
from routemoa.evaluation.replay.simulator import simulate
from routemoa.evaluation.replay.token_counts import ReplayQuestion
from routemoa.judging.answers.code.behaviour import collect_inputs
from routemoa.judging.judge_model import JudgeModel
from routemoa.mixture.pool_warnings import list_pool_warnings
from routemoa.routing.policy import build_policy
from routemoa.routing.rejudging import rejudge
from routemoa.routing.state import group_panel
from routemoa.testing import FakeEndpoint, ScriptedClient

try:
    run_program("pass")
except NoSandbox as error:
    pytest.skip(f"no sandbox here: {error}", allow_module_level=True)

QUESTION = "Write a function that returns the elements two lists have in common, sorted, without duplicates."
WITH_SETS = (
    "Use sets:\n\n```python\ndef common(a, b):\n    return sorted(set(a) & set(b))\n\n"
    "print(common([3, 1, 2, 3], [2, 3]))  # [2, 3]\n```\nSets drop the duplicates."
)
WITH_LOOPS = (
    "```python\nfrom typing import List\n\ndef shared_elements(first: List[int], second: List[int]) -> List[int]:\n"
    "    found = []\n    for item in first:\n        if item in second and item not in found:\n"
    "            found.append(item)\n    found.sort()\n    return found\n```\n\nE.g. shared_elements([5, 4], [4, 6])"
)
WRONG = "```python\ndef common(x, y):\n    return [e for e in x if e in y]\n```\nFor instance `common([2, 2, 1], [2])`."
CRASHES = "```python\ndef common(x, y):\n    return sorted(x.intersection(y))\n```"


def refuse(*_: object, **__: object) -> None:
    raise AssertionError("code is run")


async def ask(texts: list[str], run_code: bool = True, question: str = QUESTION, **mixture: Any) -> Answer:
    endpoints = [FakeEndpoint(text) for text in texts]
    specs = []
    for name, endpoint in zip("abcd", endpoints, strict=False):
        await endpoint.__aenter__()
        specs.append(ModelSpec(name, endpoint.url, name, prior=0.6, input_price=1.0, output_price=1.0))
    method = RouteMoA(Pool(tuple(specs), Mixture(run_code=run_code, **mixture)))
    try:
        return await method.aask(question)
    finally:
        await method.client.close()
        for endpoint in endpoints:
            await endpoint.__aexit__(None, None, None)


def models_called(trace: Trace) -> list[str]:
    return [p.model for layer in trace.layers for p in layer.proposals]


async def test_two_right_functions_written_differently_agree_and_end_the_loop() -> None:
    answer = await ask([WITH_SETS, WITH_LOOPS, WRONG])
    trace = answer.trace
    assert trace.calls == 2, trace.layers
    assert models_called(trace) in (["a", "b"], ["b", "a"])
    assert str(trace.stop_reason).startswith("agreed: ")
    assert answer.text in (WITH_SETS, WITH_LOOPS)
    agreement = trace.layers[0].agreement
    assert agreement is not None
    assert (set(agreement.models), set(agreement.groups), agreement.failed) == ({"a", "b"}, {0}, ())
    assert agreement.note.startswith("code answers were run on ")
    assert describe_agreement(trace) == "both agree"


async def test_where_they_differ_further_models_answer_without_seeing_them() -> None:
    trace = (await ask([WRONG, WITH_LOOPS, WITH_SETS])).trace
    assert sorted(models_called(trace)) == ["a", "b", "c"]
    assert not any(layer.quoted for layer in trace.layers)
    assert trace.choice in ("b", "c")
    assert trace.aggregator is None
    assert describe_agreement(trace) == "2 of 3 agree, the other differs"
    assert trace.agreement is not None
    assert describe_code_agreement(trace.agreement).endswith(" are compared by their outputs: a; b, c")


async def test_an_answer_that_crashes_falls_behind() -> None:
    trace = (await ask([CRASHES, WITH_LOOPS, WITH_SETS, WRONG])).trace
    first = trace.layers[0]
    assert first.agreement is not None
    assert first.agreement.failed == ("a",)
    assert (first.scores["a"] or 0) < 0.3 < (first.scores["b"] or 0)
    assert trace.choice != "a"


async def test_an_example_of_the_question_tells_right_from_wrong() -> None:
    question = f"{QUESTION}\nassert common([2, 2, 1], [1, 2]) == [1, 2]"
    trace = (await ask([WRONG, WITH_SETS, WITH_LOOPS], question=question)).trace
    agreement = trace.layers[-1].agreement
    assert agreement is not None
    assert agreement.failed == ("a",)
    assert trace.choice in ("b", "c")


async def test_a_saved_trace_is_judged_again_without_running_code(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = await ask([WRONG, WITH_LOOPS, WITH_SETS])
    trace = from_json(to_json(answer.trace), Trace)
    assert trace == answer.trace

    monkeypatch.setattr(sandbox, "_run_isolated", refuse)
    again = rejudge(trace, Mixture(), JudgeModel())
    assert (again.choice, again.changed, again.layers) == (trace.choice, False, len(trace.layers))
    assert group_panel(trace).closed


async def test_without_run_code_the_question_is_open_and_the_trace_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "_run_isolated", refuse)
    answer = await ask([WITH_SETS, WITH_LOOPS], run_code=False, open="synthesize")
    trace = answer.trace
    notes = {layer.agreement.note for layer in trace.layers if layer.agreement}
    assert notes == {"code answers are compared as text: run_code is off"}
    assert not group_panel(trace).closed
    assert "run_code is off" in str([node.label for node in explain_answer(answer).children])


async def test_an_answer_alone_is_compared_with_nothing_and_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "_run_isolated", refuse)
    answer = await ask([WITH_SETS], run_code=False)
    assert answer.trace.agreement is None
    assert "compared" not in str([node.label for node in explain_answer(answer).children])


async def test_without_a_sandbox_nothing_is_run_and_the_trace_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    marker = tmp_path / "ran"
    hostile = f"```python\nopen({str(marker)!r}, 'w').write('x')\ndef f(a):\n    open({str(marker)!r}, 'w')\nf(1)\n```"
    monkeypatch.setenv("PATH", str(tmp_path))
    sandbox._isolation_command.cache_clear()
    try:
        with caplog.at_level(logging.WARNING):
            trace = (await ask([hostile, hostile])).trace
        warnings = list_pool_warnings(Pool((), Mixture(run_code=True)))
        assert len(warnings) == 1
        assert "apt-get install bubblewrap" in warnings[0]
    finally:
        sandbox._isolation_command.cache_clear()
    agreement = trace.layers[0].agreement
    assert agreement is not None
    assert "there is no sandbox on this machine" in agreement.note
    assert agreement.models == ()
    assert "apt-get install bubblewrap" in caplog.text
    assert not marker.exists()


async def test_with_a_sandbox_nothing_of_an_answer_reaches_this_machine(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    hostile = f"```python\nopen({str(marker)!r}, 'w').write('x')\ndef f(a):\n    open({str(marker)!r}, 'w')\nf(1)\n```"
    assert list_pool_warnings(Pool((), Mixture(run_code=True))) == []
    trace = (await ask([hostile, WITH_SETS])).trace
    assert trace.layers[-1].agreement is not None
    assert not marker.exists()


@pytest.mark.parametrize("texts", list(permutations([WITH_SETS, WITH_LOOPS, WRONG, CRASHES], 3))[::3])
async def test_a_replay_with_recorded_behaviours_does_as_the_engine(texts: tuple[str, ...]) -> None:
    responses: dict[str, str | None] = dict(zip("abc", texts, strict=True))
    record = Record("q", "code", QUESTION, dict.fromkeys("abc", 1.0), responses=responses)
    specs, mixture = tuple(ModelSpec(n, "http://x", n, prior=0.6) for n in "abc"), Mixture(run_code=True)
    answer = await RouteMoA(Pool(specs, mixture), RecordedClient([record])).answer(QUESTION)
    inputs = collect_inputs((), texts)
    behaviours = {m: observe_behaviour(text, inputs) for m, text in zip("abc", texts, strict=True)}
    question = ReplayQuestion(record, "abc", behaviours=behaviours)
    policy = build_policy(specs, mixture, JudgeModel(), ())
    run = simulate(policy, dict.fromkeys("abc", 0.6), question, mixture)
    assert run.trace.choice == answer.trace.choice
    assert run.trace.stop_reason == answer.trace.stop_reason
    assert [layer.agreement for layer in run.trace.layers] == [layer.agreement for layer in answer.trace.layers]


async def test_examples_of_earlier_turns_are_not_those_of_this_question() -> None:
    turns = [
        Message("user", "Write tripled. assert tripled([1], [2]) == 7"),
        Message("assistant", "No."),
        Message("user", QUESTION),
    ]
    pool = Pool(tuple(ModelSpec(n, "http://x", n, prior=0.6) for n in "ab"), Mixture(run_code=True))
    trace = (await RouteMoA(pool, ScriptedClient({"a": WITH_SETS, "b": WITH_LOOPS})).aask(messages=turns)).trace
    assert trace.agreement is not None
    assert trace.agreement.failed == ()
    assert "on 10 inputs" in trace.agreement.note


async def test_the_published_loops_compare_texts_as_published(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "_run_isolated", refuse)
    mixture = Mixture(fusion="published-small", run_code=True)
    pool = Pool(tuple(ModelSpec(n, "http://x", n, prior=0.6) for n in "ab"), mixture)
    trace = (await RouteMoA(pool, ScriptedClient({"a": WITH_SETS, "b": WITH_LOOPS})).answer(QUESTION)).trace
    assert all(layer.agreement is None for layer in trace.layers)


async def test_answers_that_are_no_code_are_not_touched() -> None:
    pool = Pool(tuple(ModelSpec(n, "http://x", n, prior=0.6) for n in "ab"), Mixture(run_code=True))
    events = [e async for e in RouteMoA(pool, ScriptedClient(dict.fromkeys("ab", "The answer is 4."))).stream("2+2?")]
    assert not any(isinstance(e, t.CodeCompared) for e in events)
