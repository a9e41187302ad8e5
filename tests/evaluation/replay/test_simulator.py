"""Methods on recorded answers: which models are called, what it costs, and the figures of a study."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest
from click.testing import CliRunner, Result
from msgspec.structs import replace

from routemoa.cli import cli
from routemoa.core.errors import ConfigError
from routemoa.core.pool_file.pool import Pool
from routemoa.core.tables.mixture_table import Mixture
from routemoa.core.types import Message, ModelSpec, Query, Scores, to_json
from routemoa.datasets.records import Record
from routemoa.evaluation.outcomes import Outcome, load_run, read_outcomes
from routemoa.evaluation.replay.methods import METHODS, Replay
from routemoa.evaluation.replay.pool_sizes import sample_pool, simulate_sizes
from routemoa.evaluation.replay.recorded import RecordedClient, SimulatedJudge
from routemoa.evaluation.replay.simulator import simulate
from routemoa.evaluation.replay.token_counts import ReplayQuestion
from routemoa.evaluation.statistics import compute_savings, summarize
from routemoa.judging.judge_model import JudgeModel
from routemoa.mixture import prompts
from routemoa.mixture.engine import RouteMoA
from routemoa.routing.policy import build_policy

MODELS = ("a", "b", "c", "d", "e", "f")
RATES = (0.7, 0.65, 0.6, 0.55, 0.5, 0.45)


def make_records(count: int, seed: int = 0, *, priced: bool = True) -> list[Record]:
    """Questions that each model gets right at its rate, independently; a call costs a cent and takes a second."""
    rng = Random(seed)
    out: list[Record] = []
    for i in range(count):
        right = {m: float(rng.random() < p) for m, p in zip(MODELS, RATES, strict=True)}
        responses: dict[str, str | None] = {
            m: f"So it must be.\nThe answer is {i if ok else 1000 + rng.randrange(40)}." for m, ok in right.items()
        }
        costs: dict[str, float | None] | None = dict.fromkeys(MODELS, 0.01) if priced else None
        seconds: dict[str, float | None] | None = dict.fromkeys(MODELS, 1.0) if priced else None
        out.append(
            Record(
                f"q{seed}-{i}",
                "sums",
                f"What is {i} plus nothing?",
                dict(right),
                responses=responses,
                costs=costs,
                seconds=seconds,
            )
        )
    return out


def make_replay(records: list[Record], *, auc: float | None = None, **mixture: object) -> Replay:
    priors: list[Scores] = [dict(zip(MODELS, RATES, strict=True)) for _ in records]
    pages = [ReplayQuestion(r, MODELS) for r in records]
    return Replay(pages, MODELS, priors, MODELS, Mixture(**mixture), judge_auc=auc)  # type: ignore[arg-type]


def by_method(found: Sequence[Outcome]) -> dict[str, list[Outcome]]:
    out: dict[str, list[Outcome]] = {}
    for o in found:
        out.setdefault(o.method, []).append(o)
    return out


def mean_score(found: list[Outcome]) -> float:
    return sum(o.right or 0.0 for o in found) / len(found)


def test_growing_on_disagreement_beats_one_model_and_nothing_beats_the_oracle() -> None:
    found = by_method(make_replay(make_records(300)).run(METHODS, 0))
    assert mean_score(found["routemoa"]) > mean_score(found["best-single"]) + 0.05
    assert mean_score(found["oracle"]) >= max(mean_score(found[m]) for m in METHODS)
    assert all(2 <= o.calls <= 6 for o in found["routemoa"])
    assert {o.calls for o in found["moa"]} == {19}
    assert found["moa"][0].cost == pytest.approx(0.19)
    assert found["moa"][0].seconds == 4.0  # three layers and the aggregator, one after the other
    assert found["fixed-best-3"][0].seconds == 1.0  # three at the same time
    assert found["vote-all"][0].right == found["moa"][0].right
    assert sum(o.calls for o in found["random"]) == sum(o.calls for o in found["routemoa"])
    assert all(o.calls == 9 or len(o.layers[-1]) == 0 or o.calls == 6 for o in found["routemoa-no-early-stop"])


def test_an_outcome_says_how_it_came_about() -> None:
    one = replace(make_replay(make_records(3)), keep_texts=True).run(("routemoa", "moa"), 0)[0]
    assert one.choice in MODELS
    assert one.layers[0] == ("a", "b")
    assert one.confidence is not None
    assert 0.0 < one.confidence <= 1.0
    assert one.stop
    assert one.prior["a"] == 0.7
    assert set(one.model_scores) == set(MODELS)
    assert one.text is not None
    assert one.query.startswith("What is 0")


def test_the_simulator_does_what_the_engine_does() -> None:
    """With judges and without, in fresh and in refining layers: the same calls and choices as the real engine."""
    records = make_records(12, 4, priced=False)
    for later, auc in (("fresh", None), ("refine", 0.8)):
        mixture = Mixture(later_layers=later)  # type: ignore[arg-type]
        specs = tuple(ModelSpec(m, "local", m, prior=p) for m, p in zip(MODELS, RATES, strict=True))
        judge = None if auc is None else SimulatedJudge(auc)
        engine = RouteMoA(
            Pool(specs, mixture), RecordedClient(records, judge.score if judge else None), judge_model=JudgeModel()
        )
        replay = make_replay(records, auc=auc, later_layers=later)
        for record, mine in zip(records, replay.simulate_policy("routemoa", 0), strict=True):
            theirs = engine.ask(record.query).trace
            assert [layer.selected for layer in mine.trace.layers] == [layer.selected for layer in theirs.layers]
            assert mine.trace.choice == theirs.choice
            assert mine.trace.stop_reason == theirs.stop_reason


def test_prompts_are_as_long_as_when_they_are_rendered() -> None:
    record = replace(make_records(1)[0], prompt='Look:\n<answer id="A">')
    record = replace(record, responses={**(record.responses or {}), "b": " ---\nI obey.\n---\n"})
    question, conversation = ReplayQuestion(record, MODELS), Query.from_text(record.prompt or "").messages
    texts = [question.texts[m] for m in MODELS]

    def rendered(messages: Sequence[Message]) -> float:
        return sum(len(m.content) for m in messages) / 4

    asked = prompts.ReplyFormat(True, prompts.candidate_labels(6))
    assert question.count_proposal("a").prompt_tokens == rendered(prompts.proposal_messages(conversation))
    assert question.count_proposal("a", MODELS, asked).prompt_tokens == rendered(
        prompts.proposal_messages(conversation, texts, asked)
    )
    assert question.count_aggregation("a", MODELS, "a").prompt_tokens == rendered(
        prompts.aggregation_messages(conversation, texts)
    )
    assert question.count_moderation("a", MODELS, 3).prompt_tokens == rendered(
        prompts.moderation_messages(conversation, texts, 3)
    )
    assert (
        question.count_proposal("a", reply_format=prompts.ReplyFormat(True)).completion_tokens
        > question.count_proposal("a").completion_tokens
        == len(texts[0]) / 4
    )


def test_dense_mixtures_are_counted_with_all_answers_quoted_in_every_later_layer() -> None:
    replay = make_replay(make_records(4))
    page, dense = replay.questions[0], replay.run(("moa",), 0)[0]
    first, later = page.count_proposal("a"), page.count_proposal("a", MODELS)
    longest = max(page.count_proposal(m).completion_tokens for m in MODELS)
    assert (
        dense.prompt_tokens
        == 6 * first.prompt_tokens + 12 * later.prompt_tokens + page.count_aggregation("a", MODELS, "a").prompt_tokens
    )
    assert dense.path_tokens == 3 * longest + first.completion_tokens
    saved = compute_savings(replay.run(("routemoa", "moa"), 0), "routemoa", "moa", 0)
    assert set(saved) == {"calls", "tokens", "path_tokens", "cost", "latency"}
    assert all(s["ci95"][0] <= s["saved"] <= s["ci95"][1] for s in saved.values())


def test_what_the_records_do_not_know_stays_unknown() -> None:
    figures = summarize(make_replay(make_records(20, priced=False)).run(("routemoa", "moa"), 0), 0)
    for f in figures["methods"].values():
        assert f["cost"] is None
        assert f["latency"] is None
        assert f["tokens"] == f["prompt_tokens"] + f["completion_tokens"] > 0


def test_a_model_without_an_answer_is_replaced_and_no_model_left_is_a_failure() -> None:
    record = make_records(1)[0]
    silent = replace(record, responses={**(record.responses or {}), "a": ""}, scores={**record.scores, "a": None})
    prior: Scores = dict(zip(MODELS, RATES, strict=True))
    policy = build_policy([ModelSpec(m, "local", m) for m in MODELS], Mixture(), JudgeModel(), ())
    trace = simulate(policy, prior, ReplayQuestion(silent, MODELS)).trace
    assert "a" not in {p.model for layer in trace.layers for p in layer.proposals}
    assert [f.model for f in trace.layers[0].failures] == ["a"]
    assert len(trace.layers[0].proposals) == 2
    unanswered = replace(record, responses=dict.fromkeys(MODELS, ""), scores=dict.fromkeys(MODELS))
    for o in make_replay([unanswered]).run(METHODS, 0):
        assert o.right == 0.0, o.method
        assert o.failure, o.method
    alone = make_replay([silent]).run(("best-single",), 0)[0]
    assert (alone.right, alone.failure is not None, alone.calls) == (0.0, True, 1)


def test_an_ungraded_answer_is_left_out_and_never_wrong() -> None:
    records = [replace(r, scores={**r.scores, "a": None}) for r in make_records(6)]
    found = make_replay(records[:3]).run(("best-single",), 0) + make_replay(make_records(3, 9)).run(("best-single",), 0)
    assert [o.right for o in found[:3]] == [None] * 3
    f = summarize(found, 0)["methods"]["best-single"]
    assert (f["n"], f["failed"]) == (3, 0)
    ungraded = summarize(found[:3], 0)["methods"]["best-single"]
    assert (ungraded["n"], ungraded["accuracy"], ungraded["ci95"]) == (0, None, [None, None])


def test_methods_are_compared_on_the_questions_they_share() -> None:
    def made_up(method: str, ids: Sequence[int], right: float) -> list[Outcome]:
        return [Outcome(method, "t", str(i), right) for i in ids]

    a, b, c = made_up("a", range(6), 1.0), made_up("b", range(4, 9), 0.0), made_up("c", range(20, 22), 1.0)
    failed = Outcome("b", "t", "8", None, failure="time")
    figures = summarize([*a, *b[:-1], failed, *c], 0)
    assert figures["methods"]["a"]["n"] == 6
    assert figures["methods"]["b"]["failed"] == 1
    assert figures["methods"]["a"]["ci95"] == pytest.approx([0.6097, 1.0], abs=1e-4), "six of six are not certain"
    assert figures["paired"]["a|b"] == {
        "difference": 1.0,
        "ci95": [pytest.approx(0.3424, abs=1e-4), 1.0],
        "p": 0.5,
        "n": 2,
    }
    assert "a|c" not in figures["paired"]
    assert summarize([*reversed(a), failed, *reversed(b[:-1]), *c], 0) == figures


def test_pools_of_several_sizes_lie_in_each_other() -> None:
    assert set(sample_pool(MODELS, 3, 1)) < set(sample_pool(MODELS, 5, 1))
    assert sample_pool(MODELS, 3, 1) != sample_pool(MODELS, 3, 2)
    lines = simulate_sizes(
        make_replay(make_records(30)), ("routemoa", "moa", "best-single", "single:a"), (3, 6, 44), 0, 2
    )
    assert set(lines) == {"routemoa", "moa", "best-single"}
    assert [p["models"] for p in lines["moa"]] == [3, 6]
    assert [p["calls"] for p in lines["moa"]] == [10, 19]
    assert set(lines["moa"][0]) == {
        "models", "accuracy", "ci95", "calls", "tokens", "path_tokens", "cost", "seconds"
    }  # fmt: skip


def test_a_cascade_goes_by_cost_and_stops_when_sure() -> None:
    records = [
        replace(r, costs=dict(zip(MODELS, (6.0, 5.0, 4.0, 3.0, 2.0, 1.0), strict=True))) for r in make_records(40)
    ]
    found = make_replay(records).run(("cascade",), 0)
    assert all(o.layers[0] == ("f",) for o in found)
    assert any(o.stop and o.stop.startswith("agreed") for o in found)
    judged = make_replay(records, auc=0.8).run(("cascade",), 0)
    assert any(o.stop and o.stop.startswith("confident") for o in judged)


def test_simulated_judges_help_and_what_is_not_asked_for_does_not() -> None:
    replay = make_replay(make_records(150, 6), auc=0.95, later_layers="refine", stop_confidence=1.0)
    found = by_method(replay.run(("routemoa", "routemoa-no-cross", "routemoa-no-self"), 0))
    assert mean_score(found["routemoa"]) > mean_score(found["routemoa-no-cross"])
    runs = replay.simulate_policy("routemoa-no-self", 0)
    assert not [a for w in runs for layer in w.trace.layers for a in layer.assessments if a.kind == "self"]
    assert [a for w in runs for layer in w.trace.layers for a in layer.assessments if a.kind == "cross"]


@pytest.fixture(scope="module")
def scorer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    there = tmp_path_factory.mktemp("evaluate")
    write_records(there / "train.jsonl", make_records(120, 1))
    assert run("scorer", "train", str(there / "train.jsonl"), "--out", str(there / "scorer")).exit_code == 0
    return there / "scorer"


def write_records(path: Path, records: list[Record]) -> str:
    path.write_bytes(b"".join(to_json(r) + b"\n" for r in records))
    return str(path)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments)


def test_the_command_is_deterministic_and_its_json_has_the_public_keys(scorer: Path, tmp_path: Path) -> None:
    test = write_records(tmp_path / "test.jsonl", make_records(80, 2))
    file = tmp_path / "one.json"
    words = ("evaluate", test, "--scorer", str(scorer), "--methods", "routemoa,moa", "--json")
    printed = run(*words, "-")
    assert printed.exit_code == 0, printed.output
    done = run(*words, str(file))
    assert done.exit_code == 0, done.output
    assert printed.stdout_bytes == file.read_bytes(), "the figures alone, and the same bytes"
    figures = json.loads(file.read_text())
    routers = {"scorer", "knn", "cluster-lookup", "task-lookup"}
    always = {"best-single", "fixed-best-3", "random", "shuffled", "oracle", *routers}
    assert set(figures["methods"]) == {"routemoa", "moa", *always}
    assert set(figures["headroom"]["gap_closed"]) == {"routemoa", *routers}
    for f in figures["methods"].values():
        assert set(f) >= {"accuracy", "ci95", "calls", "tokens", "cost", "latency", "n"}
        assert f["ci95"][0] <= f["accuracy"] <= f["ci95"][1]
    over_best = figures["paired"]["routemoa|best-single"]
    assert set(over_best) >= {"difference", "ci95", "p"}
    assert figures["headroom"]["gains"]["routemoa"]["ci95"] == pytest.approx(over_best["ci95"]), (
        "one gain, one interval"
    )
    assert any("no aggregator writes" in note for note in figures["notes"])
    assert "routemoa over best-single" in done.output


def test_what_cannot_be_replayed_says_why(scorer: Path, tmp_path: Path) -> None:
    test = write_records(tmp_path / "test.jsonl", make_records(5, 2))
    for methods, why in (
        ("oracles", "'oracles' cannot be replayed; did you mean 'oracle'?"),
        ("self-moa", "records hold one of each"),
        ("single:z", "names no model here"),
    ):
        unknown = run("evaluate", test, "--scorer", str(scorer), "--methods", methods)
        assert isinstance(unknown.exception, ConfigError)
        assert why in str(unknown.exception)
    unscored = run("evaluate", test)
    assert unscored.exit_code == 2
    assert "routemoa scorer train" in unscored.output, "what is missing, and how it is made"
    size = run("evaluate", test, "--scorer", str(scorer), "--sizes", "3,x")
    assert "'x' is not a number of models" in str(size.exception)
    bare = write_records(tmp_path / "bare.jsonl", [replace(r, responses=None) for r in make_records(5, 2)])
    nothing = run("evaluate", bare, "--scorer", str(scorer))
    assert isinstance(nothing.exception, ConfigError)
    assert "no record holds an answer" in str(nothing.exception)
    unmeasured = [replace(r, scores=dict.fromkeys(r.scores)) for r in make_records(5, 2)]
    nothing = run("evaluate", write_records(tmp_path / "null.jsonl", unmeasured), "--scorer", str(scorer))
    assert "nothing was measured" in str(nothing.exception)


def test_a_folder_holds_all_that_a_report_needs(scorer: Path, tmp_path: Path) -> None:
    test = write_records(tmp_path / "test.jsonl", make_records(20, 2))
    done = run(
        "evaluate", test, "--scorer", str(scorer), "--methods", "routemoa,moa,routemoa-no-aggregator,single:b",
        "--seeds", "2", "--sizes", "3,6", "--out", str(tmp_path / "run"),
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    one, found = load_run(tmp_path / "run"), list(read_outcomes(tmp_path / "run"))
    assert (one.kind, one.name, one.seeds) == ("replay", "test", 2)
    assert one.models == MODELS
    assert "routemoa-no-aggregator" not in one.methods
    assert any("left out" in note for note in one.notes)
    assert len({o.key for o in found}) == len(found) == 20 * (len(one.methods) + 2)  # random and shuffled: two seeds
    assert one.summary["methods"] == summarize(found, 0)["methods"]
    assert [p["models"] for p in one.scale["routemoa"]] == [3, 6]
    assert all(o.query for o in found)


def test_dollars_come_from_list_prices_where_the_name_is_known(tmp_path: Path) -> None:
    priced = pytest.importorskip("routemoa.evaluation.replay.list_prices")
    pytest.importorskip("genai_prices")
    assert priced.load_list_prices(["gpt-4o-mini-2024-07-18", "somebody's-7b"]) == {
        "gpt-4o-mini-2024-07-18": priced.ListPrice(0.15, 0.6)
    }
    names = dict(zip(MODELS, ("gpt-4o-2024-08-06", "claude-3-haiku-20240307", "x", "y", "z", "v"), strict=True))

    def renamed(records: list[Record]) -> list[Record]:
        return [
            replace(
                r,
                scores={names[m]: s for m, s in r.scores.items()},
                responses={names[m]: t for m, t in (r.responses or {}).items()},
            )
            for r in records
        ]

    write_records(tmp_path / "train.jsonl", renamed(make_records(60, 1, priced=False)))
    assert run("scorer", "train", str(tmp_path / "train.jsonl"), "--out", str(tmp_path / "s")).exit_code == 0
    test = write_records(tmp_path / "test.jsonl", renamed(make_records(20, 2, priced=False)))
    file = tmp_path / "f.json"
    done = run(
        "evaluate", test, "--scorer", str(tmp_path / "s"), "--methods", "routemoa,moa", "--prices", "library",
        "--json", str(file),
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    figures = json.loads(file.read_text())
    assert figures["unpriced"] == ["x", "y", "z", "v"]
    assert figures["methods"]["moa"]["cost"] is None
    assert figures["priced"]["models"] == ["gpt-4o-2024-08-06", "claude-3-haiku-20240307"]
    assert figures["priced"]["methods"]["moa"]["cost"] > figures["priced"]["methods"]["routemoa"]["cost"] > 0


def test_the_same_bytes_whatever_the_hash_seed(scorer: Path, tmp_path: Path) -> None:
    test = write_records(tmp_path / "test.jsonl", make_records(30, 2))
    written: list[bytes] = []
    for number in ("1", "2"):
        folder = tmp_path / number
        command = [
            sys.executable, "-c", "from routemoa.cli import main; main()", "evaluate", test, "--scorer", str(scorer),
            "--judges", "0.8",
            "--methods", ",".join(METHODS), "--sizes", "3,6", "--seeds", "2",
            "--json", str(tmp_path / f"{number}.json"), "--out", str(folder),
        ]  # fmt: skip
        done = subprocess.run(
            command, env={**os.environ, "PYTHONHASHSEED": number}, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        files = [tmp_path / f"{number}.json", folder / "outcomes.jsonl", folder / "run.json"]
        written.append(b"".join(file.read_bytes() for file in files))
    assert written[0] == written[1]
