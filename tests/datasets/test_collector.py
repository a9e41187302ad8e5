"""Collecting: however it is interrupted, both files are whole and no call is repeated."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from routemoa.cli import cli
from routemoa.core.errors import ModelHTTPError
from routemoa.core.pool_file.pool import Pool
from routemoa.core.types import Completion
from routemoa.core.usage import Usage
from routemoa.datasets import questions
from routemoa.datasets.collection import AnswerCollection
from routemoa.datasets.collector import (
    CollectCall,
    ask_model,
    collect_answers,
    estimate_calls,
    list_remaining_calls,
    summarize_models,
)
from routemoa.datasets.questions import Question
from routemoa.datasets.records import Record, RecordsError, read_records
from routemoa.testing import Fault, ScriptedClient
from tests.cli.test_ask import ROUTEMOA, endpoint, pool
from tests.conftest import MakePool

ASKED = [Question(str(i), "t", f"{i} + 1 = ?", reference=str(i + 1), grader="numeric") for i in range(6)]


def collect(path: Path, asked: list[Question], members: Pool, client: Any, **options: Any) -> list[Record]:
    with AnswerCollection(path, asked, [m.name for m in members], retry=options.pop("retry", False)) as collection:
        asyncio.run(
            collect_answers(
                list_remaining_calls(asked, members.models, collection),
                partial(ask_model, client=client),
                collection,
                **options,
            )
        )
    return sorted(read_records(path), key=lambda r: r.id)


# --- questions


def task_file(tmp_path: Path, *lines: dict[str, Any] | str) -> Path:
    file = tmp_path / "gsm.jsonl"
    file.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines))
    return file


def test_questions_are_read_from_three_shapes(tmp_path: Path) -> None:
    file = task_file(
        tmp_path,
        {"id": "x", "task": "t", "query": "2+2?", "reference": "4", "grader": "exact", "more": 1},
        {"query": "Capital of France?", "reference": "Paris"},
        {"query": "Write a poem."},
        {"question": "How many?", "answer": "1 + 1 = <<1+1=2>>2\n#### 1,002"},
        {"id": "M1", "question": "Which?", "choices": {"text": ["fog", "rain"], "label": ["1", "2"]}, "answerKey": "2"},
    )
    explicit, free, ungraded, gsm, arc = questions.read_questions(file)
    assert explicit == Question("x", "t", "2+2?", None, "4", "exact")
    assert free == Question("gsm-2", "gsm", "Capital of France?", None, "Paris", "contains")
    assert ungraded.grade("Roses are red") is None
    assert (gsm.id, gsm.query, gsm.reference, gsm.grader) == ("gsm-4", "How many?", "1,002", "numeric")
    assert gsm.text.startswith("How many?\n")
    assert (arc.id, arc.query, arc.reference) == ("M1", "Which?\nA. fog\nB. rain", "B")
    assert arc.grade("The answer is B.") == 1.0


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "not valid JSON"),
        ("[]", "not a JSON object"),
        ({"id": "1"}, "query is missing"),
        ({"query": "q", "id": [1]}, "id is missing, empty or not text"),
        ({"query": "q", "reference": ["4"]}, "reference must be text"),
        ({"query": "q", "reference": "4", "grader": "fuzzy"}, "known: exact, numeric, choice, contains"),
        ({"query": "q", "reference": "many", "grader": "numeric"}, "cannot be graded as numeric"),
        ({"question": "q", "answer": "4 ####"}, "#### number"),
        ({"question": "q", "input": "r"}, "query may be question or input; call the right column query"),
        ({"question": "q", "choices": {"text": ["a"], "label": ["A"]}, "answerKey": "B"}, "answerKey"),
        ({"question": "q", "choices": {"text": ["a"], "label": ["A", "B"]}, "answerKey": "A"}, "as many of text as of"),
    ],
)
def test_a_bad_question_is_named(tmp_path: Path, line: Any, reason: str) -> None:
    with pytest.raises(RecordsError, match=r"gsm\.jsonl:2: ") as e:
        list(questions.read_questions(task_file(tmp_path, {"query": "good"}, line)))
    assert reason in str(e.value)


@pytest.mark.parametrize(
    "names",
    [("question", "answer"), ("prompt", "expected"), ("Problem", "Solution"), ("query", "answer"), ("text", "gold")],
)
def test_json_lines_are_read_as_a_table_of_the_same_names_is(tmp_path: Path, names: tuple[str, str]) -> None:
    query, reference = names
    (table := tmp_path / "mine.csv").write_text(f"id,{query},{reference}\n7,2+2?,4\n8,Capital of Peru?,Lima\n")
    rows = [{"id": 7, query: "2+2?", reference: 4}, {"id": "8", query: "Capital of Peru?", reference: "Lima"}]
    (lines := tmp_path / "mine.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    said: dict[Path, list[str]] = {table: [], lines: []}
    read = {file: list(questions.read_questions(file, said[file].append)) for file in said}
    assert read[lines] == read[table]
    assert [(q.query, q.reference, q.grader) for q in read[lines]] == [
        ("2+2?", "4", "numeric"),
        ("Capital of Peru?", "Lima", "contains"),
    ]
    assert [line.partition(": ")[2] for line in said[lines]] == [line.partition(": ")[2] for line in said[table]]
    assert len(said[lines]) == 1


def test_a_question_asked_twice_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecordsError, match="is already on line 1"):
        list(questions.read_questions(task_file(tmp_path, {"query": "q", "id": "1"}, {"query": "r", "id": "1"})))


# --- planning


def test_the_estimate_uses_prices_and_limits_and_names_unpriced_models(make_pool: MakePool) -> None:
    priced = make_pool("a", input_price=1.0, output_price=2.0, system="1234").models[0]
    unpriced = make_pool("b").models[0]
    question = Question("1", "t", "12345678")
    one = estimate_calls([CollectCall(question, priced)])
    assert (one.calls, one.prompt_tokens, one.completion_tokens) == (1, 3, 300)
    assert one.cost == pytest.approx((3 * 1.0 + 300 * 2.0) / 1e6)
    both = estimate_calls([CollectCall(question, priced), CollectCall(question, unpriced)])
    assert both.cost is None
    assert both.unpriced == ("b",)
    assert both.known_cost == pytest.approx(one.known_cost)
    assert estimate_calls([]).cost == 0.0


# --- collecting


def test_answers_scores_costs_and_failures_become_records(tmp_path: Path, make_pool: MakePool) -> None:
    members = make_pool("right", "wrong", "down", "empty", input_price=1.0, output_price=1.0)
    script: dict[str, Any] = {
        "right": lambda _, r: "4" if "poem" in r.messages[-1].content else str(int(r.messages[-1].content[0]) + 1),
        "wrong": Completion("It is 99.", Usage(10, 20), "stop"),
        "down": ModelHTTPError("down", "HTTP 500", status=500),
        "empty": Completion(" ", Usage(10, 0), "length"),
    }
    asked = [*ASKED[:2], Question("free", "t", "A poem?")]
    out = tmp_path / "r.jsonl.gz"
    first, second, free = collect(out, asked, members, ScriptedClient(script))
    assert first.scores == second.scores == {"right": 1.0, "wrong": 0.0, "down": None, "empty": None}
    assert free.scores == dict.fromkeys(first.scores)
    assert first.responses == {"right": "1", "wrong": "It is 99."}
    assert first.reference == "1"
    assert first.costs is not None
    assert first.costs["wrong"] == pytest.approx(30e-6)
    assert "down" not in first.costs
    assert set(first.seconds or {}) == {"right", "wrong"}
    assert not Path(f"{out}.part").exists()
    with AnswerCollection(out, asked, [m.name for m in members]) as collection:
        found = {t.model: t for t in summarize_models(asked, members.models, collection)}
    assert (found["right"].accuracy, found["wrong"].accuracy, found["down"].accuracy) == (1.0, 0.0, None)
    assert (found["right"].graded, found["right"].answered, found["down"].failed) == (2, 3, 3)


def test_each_endpoint_has_its_own_concurrency(tmp_path: Path, make_pool: MakePool) -> None:
    peak: Counter[str] = Counter()
    running: Counter[str] = Counter()

    class Counting(ScriptedClient):
        async def stream(self, model: Any, request: Any) -> Any:
            running[model.endpoint] += 1
            peak[model.endpoint] = max(peak[model.endpoint], running[model.endpoint])
            try:
                async for piece in super().stream(model, request):
                    yield piece
            finally:
                running[model.endpoint] -= 1

    one, two = make_pool("a", "b"), make_pool("c", endpoint="http://127.0.0.1:8/v1")
    members = Pool((*one, *two))
    collect(tmp_path / "r", ASKED, members, Counting(dict.fromkeys("abc", "1"), delay=0.01), concurrency=3)
    assert set(peak.values()) == {3}


def test_a_larger_pool_calls_only_the_new_model(tmp_path: Path, make_pool: MakePool) -> None:
    out = tmp_path / "r.jsonl"
    before = collect(out, ASKED, make_pool("a"), ScriptedClient({"a": "1"}))
    client = ScriptedClient({"b": "2"})
    after = collect(out, ASKED, make_pool("a", "b"), client)
    assert [c.model for c in client.calls] == ["b"] * 6
    assert [r.responses for r in after] == [{"a": "1", "b": "2"}] * 6
    assert [r.seconds["a"] for r in after if r.seconds] == [r.seconds["a"] for r in before if r.seconds]
    assert collect(out, ASKED, make_pool("a"), ScriptedClient({})) == after  # a smaller pool takes nothing away


def test_failures_stay_null_until_they_are_retried(tmp_path: Path, make_pool: MakePool) -> None:
    out, members = tmp_path / "r.jsonl", make_pool("a", "b")
    down = ScriptedClient({"a": "1", "b": ModelHTTPError("b", "HTTP 500", status=500)})
    collect(out, ASKED, members, down)
    unused = ScriptedClient({})
    collect(out, ASKED, members, unused)
    assert unused.calls == []
    better = ScriptedClient({"b": "2"})
    found = collect(out, ASKED, members, better, retry=True)
    assert [c.model for c in better.calls] == ["b"] * 6
    assert [r.scores["b"] is not None for r in found] == [True] * 6
    collect(tmp_path / "all.jsonl", ASKED, make_pool("b"), down)  # nothing but failures
    again = collect(tmp_path / "all.jsonl", ASKED, make_pool("b"), better, retry=True)
    assert [r.responses for r in again] == [{"b": "2"}] * 6


def test_another_question_under_the_same_id_is_refused(tmp_path: Path, make_pool: MakePool) -> None:
    out = tmp_path / "r.jsonl"
    collect(out, ASKED, make_pool("a"), ScriptedClient({"a": "1"}))
    before = out.read_bytes()
    with pytest.raises(RecordsError, match="holds another question as task 't', id '0'"):
        AnswerCollection(out, [Question("0", "t", "something else")], ["a"])
    assert out.read_bytes() == before


def test_an_answer_that_cannot_be_written_ends_the_run(tmp_path: Path, make_pool: MakePool) -> None:
    members = make_pool("a", "b")
    client = ScriptedClient({"a": "1", "b": "2"}, delay=0.01)
    with AnswerCollection(tmp_path / "r", ASKED, ["a", "b"]) as collection:
        collection._pending.close()
        remaining = list_remaining_calls(ASKED, members.models, collection)
        with pytest.raises(ValueError, match="closed"):
            asyncio.run(collect_answers(remaining, partial(ask_model, client=client), collection))
    assert client.running == 0


def test_a_cancelled_run_continues_without_repeating_a_call(tmp_path: Path, make_pool: MakePool) -> None:
    out, members = tmp_path / "r.jsonl", make_pool("a", "b")
    done: list[str] = []

    class Over(Exception):
        pass

    def stop(outcome: Any) -> None:
        done.append(outcome.model + outcome.id)
        if len(done) == 5:
            raise Over

    first = ScriptedClient({"a": "1", "b": "2"})
    with pytest.raises(Over):
        collect(out, ASKED, members, first, concurrency=1, on_answer=stop)
    assert out.exists()
    assert Path(f"{out}.part").exists()
    second = ScriptedClient({"a": "1", "b": "2"})
    assert len(collect(out, ASKED, members, second)) == 6
    assert len(first.calls) + len(second.calls) == 12
    assert not Path(f"{out}.part").exists()


# --- the command


def questions_file(tmp_path: Path, count: int) -> str:
    return str(
        task_file(tmp_path, *[{"id": str(i), "query": f"{i} + 1 = ?", "reference": str(i + 1)} for i in range(count)])
    )


def command(*arguments: str, **options: Any) -> Result:
    return CliRunner().invoke(cli, ["collect", *arguments], **options)


def wait_for(file: Path, size: int) -> None:
    until = time.monotonic() + 20
    while not file.exists() or file.read_bytes().count(b"\n") < size:
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_killed_run_continues_without_repeating_a_call(tmp_path: Path, how: signal.Signals) -> None:
    out, count = tmp_path / "r.jsonl", 15
    with endpoint("The answer is 1.", Fault(first_byte=0.1)) as e:
        arguments = [
            "collect",
            questions_file(tmp_path, count),
            "--pool",
            pool(tmp_path, e.url),
            "--out",
            str(out),
            "-y",
        ]
        env = {k: v for k, v in os.environ.items() if k != "ROUTEMOA_POOL"}
        process = subprocess.Popen([*ROUTEMOA, *arguments], stderr=subprocess.PIPE, text=True, env=env)
        wait_for(Path(f"{out}.part"), 6)
        process.send_signal(how)
        stderr = process.communicate(timeout=20)[1]
        time.sleep(0.3)  # calls under way end at the endpoint
        part = Path(f"{out}.part")
        kept = [json.loads(line) for line in part.read_text().splitlines()] if part.exists() else []
        kept += [{"model": m, "id": r.id} for r in read_records(out) for m in r.scores]
        if how == signal.SIGINT:
            assert process.returncode == 130
            assert "calls kept; run the same command again to continue" in stderr
        asked = Counter(f"{r['model']} {r['messages'][-1]['content']}" for r in e.requests)
        answered = {f"{o['model']} {o['id']} + 1 = ?" for o in kept}
        again = subprocess.run([*ROUTEMOA, *arguments], capture_output=True, text=True, env=env, check=True)
        total = Counter(f"{r['model']} {r['messages'][-1]['content']}" for r in e.requests)
    assert set(asked) >= answered
    assert {q for q, n in total.items() if n > 1} <= set(asked) - answered  # only what the kill cut off
    assert all(total[q] == 1 for q in answered)
    assert f"{2 * count - len(answered)} calls" in again.stderr
    assert sorted(int(r.id) for r in read_records(out)) == list(range(count))
    assert all(set(r.scores) == {"a", "b"} for r in read_records(out))
    assert not part.exists()


def test_the_command_shows_cost_progress_and_results(tmp_path: Path) -> None:
    def reply(body: dict[str, Any]) -> str:
        return "The answer is 1." if body["model"] == "a" else "B"

    out = tmp_path / "r.jsonl"
    with endpoint(reply) as e:
        arguments = [questions_file(tmp_path, 10), "--pool", pool(tmp_path, e.url), "--out", str(out), "--limit", "5"]
        arguments += ["--yes"]
        done = command(*arguments)
        assert done.exit_code == 0, done.output
        assert len(e.requests) == 10
        again = command(*arguments, "--json")
        assert len(e.requests) == 10
    assert "5 questions, 2 models: 10 calls" in done.stderr
    assert "cost: unknown: no price for a, b" in done.stderr
    assert "10 of 10 calls" in done.stderr
    table = [line.split() for line in done.stdout.splitlines()]
    assert table[1][:6] == ["a", "0.200", "5", "5", "0", "unknown"]
    assert table[2][:3] == ["b", "0.000", "5"]
    plain = json.loads(again.stdout)
    assert plain["calls"] == 0
    assert plain["finished"] == 5
    assert plain["models"]["a"]["accuracy"] == 0.2
    assert "nothing is left to do" in again.stderr


def test_failures_are_shown_with_their_reasons(tmp_path: Path) -> None:
    with endpoint(faults=Fault(status=401, message="who are you?")) as e:
        arguments = [questions_file(tmp_path, 6), "--pool", pool(tmp_path, e.url, "a"), "--out", str(tmp_path / "r")]
        done = command(*arguments, "--yes")
    assert done.exit_code == 0
    assert "a: 5 calls in a row failed, the last with Refused: HTTP 401: who are you?" in done.stderr
    assert "a: 6 x Refused: HTTP 401" in done.stderr
    assert [r.scores for r in read_records(tmp_path / "r")] == [{"a": None}] * 6


@pytest.mark.parametrize(("words", "answer", "calls"), [([], "n\n", 0), ([], "y\n", 2), (["--yes"], "", 2)])
def test_a_terminal_asks_before_calls_that_cost_money(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], answer: str, calls: int
) -> None:
    monkeypatch.setattr("routemoa.cli.terminal.confirm.is_interactive", lambda: True)
    out = tmp_path / "r.jsonl"
    with endpoint() as e:
        arguments = [questions_file(tmp_path, 1), "--pool", pool(tmp_path, e.url), "--out", str(out), *words]
        done = command(*arguments, input=answer)
        assert len(e.requests) == calls
    assert ("Go on?" in done.stderr) is not bool(words)
    assert [p.name for p in tmp_path.glob("r.jsonl*")] == (["r.jsonl"] if calls else [])


def test_wrong_arguments_fail_before_any_call(tmp_path: Path) -> None:
    file, members = questions_file(tmp_path, 1), pool(tmp_path, "http://127.0.0.1:9/v1")
    for arguments, message in [
        ([file, "--pool", members, "--out", str(tmp_path / "no" / "r")], "its folder does not exist"),
        ([file, "--pool", members, "--out", file], "--out is the task file itself"),
        ([str(tmp_path / "none"), "--pool", members, "--out", str(tmp_path / "r")], "cannot be read"),
        ([os.devnull, "--pool", members, "--out", str(tmp_path / "r")], "no question in it"),
    ]:
        assert message in str(command(*arguments).exception)
    assert not (tmp_path / "r").exists()
