"""`judge calibrate` on real sockets: what it writes, what it never counts as evidence, and a resume that pays once."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest

from routemoa.core.tables.mixture_table import Mixture
from routemoa.evaluation.live.call_file import CALLS, CachedCall
from routemoa.judging.judge_model import Coefficients, JudgeModel, encode_judge_model, read_judge_model
from routemoa.routing.policies.open_answers import choose_open_policy
from routemoa.testing import FakeEndpoint, Fault
from tests.cli.in_process import run_in_process

QUESTIONS = 60
TOPICS = [f"Write a short poem about thing{i}." for i in range(QUESTIONS)]
QUOTED = re.compile(r'<answer id="[AB]">\n(.*?)\n</answer>', re.DOTALL)


def reply(body: dict[str, Any]) -> str:
    """Write a text of its own for each model and topic; the judge prefers what was written from several answers."""
    text = body["messages"][-1]["content"]
    if "[[A]]" in text:
        a, b = QUOTED.findall(text)[:2]
        if ("Written" in a) == ("Written" in b):
            return "[[C]]"
        return "[[A]]" if "Written" in a else "[[B]]"
    topic = re.search(r"thing\d+", text)
    assert topic is not None
    model, number = body["model"], int(topic[0].removeprefix("thing"))
    if "quoted answers against each other" in text:
        return f"Written by {model} of {topic[0]}: the best lines of all. Read them aloud." + " Again." * (number % 9)
    verse = {
        "a": "Waves roll onward, grey and cold. Gulls cry over empty harbours.",
        "b": "Birds sing loudly in the woods. Moss grows thick on every trunk.",
        "c": "Snow lies deep tonight. Lanterns glimmer behind frozen windows.",
    }
    return f"{verse.get(model, 'Stones.')} This was {topic[0]}" + ", and so it went on" * (number % 4) + "."


def arrange(folder: Path, url: str, mixture: str = "") -> list[str]:
    models = {"a": 0.7, "b": 0.6, "c": 0.5, "strong": 0.1}
    (folder / "pool.toml").write_text(
        "\n".join(
            f'[[model]]\nname = "{m}"\nendpoint = "{url}"\nprior = {p}\ninput_price = 1.0\noutput_price = 10.0\n'
            "parameters = { max_tokens = 50 }"
            for m, p in models.items()
        )
        + f"\n[mixture]\n{mixture}\n"
    )
    lines = [{"id": f"q{i}", "task": "poems", "query": q} for i, q in enumerate(TOPICS)]
    lines.append({"id": "sum", "task": "poems", "query": "How many legs have 3 spiders?"})
    (folder / "poems.jsonl").write_text("".join(json.dumps(x) + "\n" for x in lines))
    return ["poems.jsonl", "--pool", "pool.toml"]


async def start(folder: Path, *arguments: str) -> asyncio.subprocess.Process:
    command = [sys.executable, "-m", "routemoa", "judge", "calibrate", *arguments]
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(
        *command, cwd=folder, stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe
    )


async def run(folder: Path, *arguments: str) -> tuple[int | None, str, str]:
    done = await asyncio.to_thread(run_in_process, "judge", "calibrate", *arguments, folder=folder)
    return done.returncode, done.stdout, done.stderr


def read_calls(folder: Path) -> list[CachedCall]:
    return [msgspec.json.decode(x, type=CachedCall) for x in (folder / CALLS).read_bytes().splitlines()]


async def test_the_judge_file_says_what_pays_and_keeps_what_it_held(tmp_path: Path) -> None:
    fitted = JudgeModel(coefficients=Coefficients(votes=0.5), models=("a", "b", "c", "strong"))
    (tmp_path / "judge.json").write_bytes(encode_judge_model(fitted))
    async with FakeEndpoint(reply) as endpoint:
        arguments = arrange(tmp_path, endpoint.url, 'judge = "judge.json"')
        code, out, err = await run(tmp_path, *arguments, "--judge", "strong", "--yes", "--json")
        assert code == 0, err
        sent = len(endpoint.requests)
        again = await run(tmp_path, *arguments, "--judge", "strong", "--yes", "--json")
        assert len(endpoint.requests) == sent  # a finished run pays for nothing, though its pool names the judge file
        assert "nothing is left" in again[2]
    assert json.loads(again[1])["policies"] == json.loads(out)["policies"]
    assert "a result is asked for: 1 of 61 questions" in err
    found = json.loads(out)
    synthesize, select = found["policies"]
    assert (synthesize["policy"], synthesize["wins"], synthesize["pairs"]) == ("synthesize", QUESTIONS, QUESTIONS)
    assert synthesize["extra_calls"] == 3.0  # two more of the panel, and the aggregator
    assert select["wins"] == select["losses"] == 0
    assert found["auto"]["policy"] == "synthesize"
    model = read_judge_model(tmp_path / "judge.json")
    assert model.coefficients.votes == 0.5
    assert model.open_evidence is not None
    assert model.open_evidence.policy == "synthesize"
    assert model.open_evidence.judge == "strong"
    assert model.pairwise_judge.model == "strong"
    assert model.pairwise_judge.consistency == 1.0
    assert model.pairwise_judge.accuracy is None
    assert choose_open_policy(Mixture(), model).name == "synthesize"
    # One call for each question and model, though three methods asked: later methods find what the first one paid for.
    first = Counter((c.id, c.model) for c in read_calls(tmp_path / "calibrate-poems") if c.method == "routemoa-alone")
    other = Counter((c.id, c.model) for c in read_calls(tmp_path / "calibrate-poems") if c.method == "routemoa-select")
    assert set(first.values()) == {1}
    assert not [key for key in other if key[1] == "b"]  # synthesize had asked b


@pytest.mark.parametrize("policies", [[], ["--policies", "select"]])
async def test_a_judge_is_no_evidence_for_its_own_choices(policies: list[str], tmp_path: Path) -> None:
    async with FakeEndpoint(reply) as endpoint:
        arguments = [*arrange(tmp_path, endpoint.url, 'judge_model = "strong"'), "--limit", "3", *policies]
        code, out, err = await run(tmp_path, *arguments, "--judge", "strong", "--yes")
        assert "select is left out: strong chooses its answers, and would only agree with itself" in err
        if policies:
            assert (code, endpoint.requests) == (2, [])
        else:
            assert code == 0
            assert "select" not in out
            assert "3 compared pairs of a policy are no evidence" in err


async def test_people_label_the_pairs(tmp_path: Path) -> None:
    labels = tmp_path / "labels.jsonl"
    async with FakeEndpoint(reply) as endpoint:
        arguments = [*arrange(tmp_path, endpoint.url), "--labels", "labels.jsonl", "--policies", "synthesize", "--yes"]
        code, out, err = await run(tmp_path, *arguments)
        assert code == 0, err
        assert f"{QUESTIONS} pairs to label" in err
        assert not (tmp_path / "judge.json").exists()
        lines = [json.loads(x) for x in labels.read_text().splitlines()]
        assert {x["winner"] for x in lines} == {None}
        written = [("first" if "Written" in x["first"] else "second") for x in lines]
        assert 15 < written.count("first") < 45  # the order tells nothing
        sent = len(endpoint.requests)
        for line, winner in zip(lines, written, strict=True):  # people prefer the model alone
            line["winner"] = "second" if winner == "first" else "first"
            if line["id"] in ("q1", "q2", "q3"):  # a label may leave out all but the question
                for key in ("query", "first", "second", "policy", "task"):
                    del line[key]
        labels.write_text("".join(json.dumps(x) + "\n" for x in lines))
        code, out, err = await run(tmp_path, *arguments)
        assert code == 0, err
        assert len(endpoint.requests) == sent
        assert 'open = "auto" now means alone: synthesize gained -' in out
        evidence = read_judge_model(tmp_path / "judge.json").open_evidence
        assert evidence is not None
        assert (evidence.policy, evidence.measured, evidence.judge) == ("alone", "synthesize", "labels")
        assert evidence.high < 0

        code, out, err = await run(tmp_path, *arguments, "--judge", "strong")  # the judge contradicts them
        assert code == 0, err
        judge = read_judge_model(tmp_path / "judge.json").pairwise_judge
        assert (judge.accuracy, judge.accuracy_low, judge.model) == (0.0, 0.0, "strong")
        assert judge.accuracy_high is not None
        assert 0 < judge.accuracy_high < 0.1


async def test_labels_that_are_not_filled_in_are_told_before_any_call(tmp_path: Path) -> None:
    async with FakeEndpoint(reply) as endpoint:
        arguments = arrange(tmp_path, endpoint.url)
        code, _, err = await run(tmp_path, *arguments, "--labels", "poems.jsonl", "--yes")
        assert code == 2
        assert f'poems.jsonl: none of its {QUESTIONS + 1} lines has a label: set "winner"' in err
        assert endpoint.requests == []
        (tmp_path / "poems.jsonl").write_text("")
        code, _, err = await run(tmp_path, *arguments, "--judge", "strong")
        assert code == 2
        assert "poems.jsonl: no question in it" in err


async def test_answers_that_are_the_same_need_no_labels(tmp_path: Path) -> None:
    async with FakeEndpoint("The sea is calm and wide, and the waves are small today.") as endpoint:
        arguments = [*arrange(tmp_path, endpoint.url), "--labels", "labels.jsonl", "--limit", "3", "--yes"]
        code, _, err = await run(tmp_path, *arguments)
        assert code == 0, err
        assert "nothing to label" in err
        assert not (tmp_path / "labels.jsonl").exists()


async def test_labelled_pairs_from_elsewhere_measure_the_judge(tmp_path: Path) -> None:
    foreign = [
        {"id": f"x{i}", "query": f"Describe thing{i}.", "first": "Written well.", "second": "Plain.", "winner": "first"}
        for i in range(40)
    ]
    (tmp_path / "labels.jsonl").write_text("".join(json.dumps(x) + "\n" for x in foreign))
    async with FakeEndpoint(reply) as endpoint:
        arguments = [*arrange(tmp_path, endpoint.url), "--limit", "2", "--policies", "synthesize", "--yes"]
        code, _, err = await run(tmp_path, *arguments, "--judge", "strong", "--labels", "labels.jsonl")
    assert code == 0, err
    judge = read_judge_model(tmp_path / "judge.json").pairwise_judge
    assert (judge.accuracy, judge.pairs) == (1.0, 42)


async def test_ctrl_c_loses_nothing_and_pays_for_nothing_twice(tmp_path: Path) -> None:
    async with FakeEndpoint(reply, Fault(first_byte=0.01)) as endpoint:
        arguments = [*arrange(tmp_path, endpoint.url), "--judge", "strong", "--yes", "--limit", "20"]
        assert (await run(tmp_path, *arguments, "--folder", "whole", "--out", "whole.json"))[0] == 0
        alone = len(endpoint.requests)
        for share in (0.3, 0.9):  # while answering, and while comparing
            until = len(endpoint.requests) + int(alone * share) - (int(alone * 0.3) if share == 0.9 else 0)
            process = await start(tmp_path, *arguments, "--folder", "killed", "--out", "killed.json")
            while len(endpoint.requests) < until:
                assert process.returncode is None
                await asyncio.sleep(0.005)
            process.send_signal(signal.SIGINT)
            _, err = await process.communicate()
            assert process.returncode == 130
            assert b"run the same command again to continue" in err
            assert not (tmp_path / "killed.json").exists()
        code, _, err2 = await run(tmp_path, *arguments, "--folder", "killed", "--out", "killed.json")
        assert code == 0, err2
        assert len(endpoint.requests) - 2 * alone <= endpoint.gone + 8  # only what was cut off in the middle
    calls = read_calls(tmp_path / "killed")
    assert max(Counter((c.request, c.occurrence) for c in calls).values()) == 1
    assert (tmp_path / "killed.json").read_bytes() == (tmp_path / "whole.json").read_bytes()


async def test_nothing_is_spent_without_consent(tmp_path: Path) -> None:
    async with FakeEndpoint(reply) as endpoint:
        arguments = arrange(tmp_path, endpoint.url)
        code, _, err = await run(tmp_path, *arguments, "--judge", "strong")
        assert code == 2
        assert "nothing was asked" in err
        code, _, err = await run(tmp_path, *arguments)
        assert code == 2
        assert "--judge MODEL (of a, b, c, strong), or --labels FILE" in err
        code, _, err = await run(tmp_path, *arguments, "--judge", "nobody-here")
        assert code == 2
        assert "no model of the pool" in err
        assert endpoint.requests == []
        code, _, err = await run(tmp_path, *arguments, "--judge", "strong", "--max-cost", "0.01")
        assert "run the same command again with a higher --max-cost to continue" in err
        assert code == 1
        spent = sum(c.cost or 0.0 for c in read_calls(tmp_path / "calibrate-poems"))
        assert 0 < spent <= 0.01
        assert not (tmp_path / "judge.json").exists()


async def test_a_judge_that_failed_is_asked_again_with_retry_only(tmp_path: Path) -> None:
    answers = 2 * 4  # two questions: three of the panel and the aggregator
    async with FakeEndpoint(reply, [Fault()] * answers + [Fault(status=400)] * 4) as endpoint:
        arguments = [*arrange(tmp_path, endpoint.url), "--limit", "2", "--policies", "synthesize", "--judge", "strong"]
        code, out, err = await run(tmp_path, *arguments, "--yes", "--json")
        assert code == 0, err
        assert json.loads(out)["policies"] == []  # nothing is known
        assert "0 compared pairs of a policy are no evidence" in err
        await run(tmp_path, *arguments, "--yes")
        assert len(endpoint.requests) == answers + 4
        assert (await run(tmp_path, *arguments, "--retry"))[0] == 2  # consent is needed again
        code, out, err = await run(tmp_path, *arguments, "--yes", "--json", "--retry")
        assert "at most 4 calls" in err
        assert len(endpoint.requests) == answers + 8
        assert json.loads(out)["policies"][0]["wins"] == 2
