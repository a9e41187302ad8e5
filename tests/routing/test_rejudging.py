"""Saved traces under another policy: the same policy changes nothing, another one may, and no model is called."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from msgspec.structs import replace

from routemoa.cli import cli
from routemoa.core.errors import ConfigError
from routemoa.core.pool_file.pool import Pool
from routemoa.core.tables.mixture_table import Mixture
from routemoa.core.trace import Answer, Trace
from routemoa.core.types import ModelSpec, Query, to_json
from routemoa.datasets.jsonl import RecordsError
from routemoa.datasets.records import Record
from routemoa.evaluation.replay.recorded import RecordedClient, SimulatedJudge
from routemoa.judging.judge_model import JudgeModel, PairwiseJudge, encode_judge_model
from routemoa.judging.judge_model import read_judge_model as read_judging
from routemoa.mixture.engine import RouteMoA
from routemoa.routing.rejudging import rejudge

MODELS = "abcdef"


def make_records(count: int = 60) -> list[Record]:
    """Questions that `a` to `f` answer, each right with a rate of its own; wrong answers differ."""
    out: list[Record] = []
    for i in range(count):
        right = {m: (i * 7 + 13 * j) % 10 >= 2 + j // 2 for j, m in enumerate(MODELS)}
        responses: dict[str, str | None] = {
            m: f"The answer is {i if ok else 1000 + 10 * i + j}." for j, (m, ok) in enumerate(right.items())
        }
        out.append(
            Record(f"q{i}", "t", f"Question {i}?", {m: float(ok) for m, ok in right.items()}, responses=responses)
        )
    return out


def pool(**mixture: object) -> Pool:
    specs = [ModelSpec(m, "local", m, prior=0.7 - 0.03 * j) for j, m in enumerate(MODELS)]
    return Pool(tuple(specs), Mixture(**mixture))  # type: ignore[arg-type]


async def collect_answers(**mixture: object) -> list[Answer]:
    client = RecordedClient(make_records(), SimulatedJudge(0.8).score)
    mixed = RouteMoA(pool(**mixture), client)
    return [await mixed.answer(Query.from_text(r.query)) for r in make_records()]


def write_traces(path: Path, answers: list[Answer], *, graded: bool = True) -> str:
    lines = [json.loads(to_json(a)) for a in answers]
    for line, record in zip(lines, make_records(), strict=True):
        if graded:
            line["scores"] = record.scores
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return str(path)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["judge", *arguments])


@pytest.mark.parametrize(
    "mixture", [{}, {"fusion": "published-small"}, {"prefer": "quality", "later_layers": "refine"}]
)
async def test_the_policy_of_the_record_changes_nothing(mixture: dict[str, object]) -> None:
    for answer in await collect_answers(**mixture):
        again = rejudge(answer.trace, Mixture(**mixture), JudgeModel())  # type: ignore[arg-type]
        assert not again.changed
        assert again.stop_reason == answer.trace.stop_reason
        assert again.scores == pytest.approx(answer.trace.layers[-1].scores)
        assert again.choice == answer.trace.choice


async def test_another_policy_stops_sooner_and_a_longer_one_says_that_the_record_ends() -> None:
    answers = await collect_answers(prefer="quality")
    cheap = [rejudge(a.trace, Mixture(prefer="cheap"), JudgeModel()) for a in answers]
    assert sum(c.calls for c in cheap) < sum(a.trace.calls for a in answers)
    assert any(c.changed for c in cheap)
    short = [
        rejudge(replace(a.trace, layers=a.trace.layers[:1]), Mixture(prefer="quality"), JudgeModel()) for a in answers
    ]
    assert any("the record ends here" in s.stop_reason for s in short)


def test_a_trace_without_layers_is_no_choice() -> None:
    again = rejudge(Trace(Query.from_text("x"), "routemoa"), Mixture(), JudgeModel())
    assert (again.choice, again.text, again.changed) == (None, None, False)


async def test_replay_prints_a_line_for_each_trace(tmp_path: Path) -> None:
    file = write_traces(tmp_path / "traces.jsonl", await collect_answers(fusion="published-small"))
    policy = tmp_path / "policy.toml"
    policy.write_text('[mixture]\nfusion = "published-small"\n')
    done = run("replay", file, "--policy", str(policy), "--json")
    assert done.exit_code == 0, done.output
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(lines) == len(make_records())
    assert all(set(line) == {"choice", "text", "scores", "stop_reason", "changed"} for line in lines)
    assert not any(line["changed"] for line in lines)
    assert all(line["text"] == f"The answer is {line['text'][14:-1]}." for line in lines)
    table = run("replay", file)
    assert "60 traces" in table.stdout
    assert "accuracy on 60 graded traces" in table.stdout


async def test_a_bad_line_is_named_and_the_others_are_judged(tmp_path: Path) -> None:
    file = tmp_path / "traces.jsonl"
    write_traces(file, await collect_answers())
    file.write_text('{"text": 1}\n' + file.read_text())
    done = run("replay", str(file), "--json")
    assert isinstance(done.exception, RecordsError)
    assert "traces.jsonl:1:" in str(done.exception)
    assert len(done.stdout.splitlines()) == len(make_records())
    file.write_text("\n")
    assert "no trace in it" in str(run("replay", str(file)).exception)


def test_a_policy_with_an_unknown_key_is_refused(tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text("[mixture]\nprefers = 'cheap'\n")
    done = run("replay", str(tmp_path / "none.jsonl"), "--policy", str(policy))
    assert isinstance(done.exception, ConfigError)
    assert "did you mean 'prefer'?" in str(done.exception)


async def test_fit_writes_a_judge_that_a_pool_can_name(tmp_path: Path) -> None:
    file = write_traces(tmp_path / "traces.jsonl", await collect_answers(later_layers="refine"))
    out = tmp_path / "judge.json"
    calibrated = PairwiseJudge(accuracy=0.8, model="a", pairs=40)
    out.write_bytes(encode_judge_model(JudgeModel(pairwise_judge=calibrated)))
    done = run("fit", file, "--out", str(out))
    assert done.exit_code == 0, done.output
    assert read_judging(out).pairwise_judge == calibrated, "what was paid for to calibrate stays"
    assert "60 graded queries" in done.stdout
    assert "each half judged with a fit on the other half" in done.stdout
    found = read_judging(out)
    assert found.peer_judges
    assert all(0 <= r.weight <= 1 for r in (*found.peer_judges.values(), *found.self_judges.values()))
    toml = tmp_path / "pool.toml"
    toml.write_text('[[model]]\nname = "a"\nendpoint = "local"\n[mixture]\njudge = "judge.json"\n')
    mixture = RouteMoA(Pool.from_toml(toml), RecordedClient(make_records()))
    assert mixture.policy.judge_model == found  # type: ignore[attr-defined]


async def test_fit_grades_by_reference_and_takes_records(tmp_path: Path) -> None:
    lines = [json.loads(to_json(a)) for a in await collect_answers()]
    for i, line in enumerate(lines):
        line["reference"] = str(i)
    file = tmp_path / "traces.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert run("fit", str(file), "--out", str(tmp_path / "j.json")).exit_code == 0
    kept = tmp_path / "records.jsonl"
    kept.write_bytes(b"".join(to_json(r) + b"\n" for r in make_records()))
    done = run("fit", str(kept), "--json", "--out", str(tmp_path / "j.json"))
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    assert result["judging"]["correlation"]["difficulty_sd"] >= 0
    assert result["held_out"]["self"]["auc"] is None  # records hold no judgment


async def test_too_few_graded_traces_say_what_is_missing(tmp_path: Path) -> None:
    file = write_traces(tmp_path / "traces.jsonl", await collect_answers(), graded=False)
    done = run("fit", file, "--out", str(tmp_path / "j.json"))
    assert isinstance(done.exception, ConfigError)
    assert "60 lines without a grade" in str(done.exception)
    assert not (tmp_path / "j.json").exists()
