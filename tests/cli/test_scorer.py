"""`routemoa scorer` from the command line: train, evaluate, show, join, probes, learn, forget."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner, Result

from routemoa.cli import cli
from routemoa.cli.scorer.figures import warn_of_few_questions
from routemoa.datasets.records import Record
from routemoa.scoring.trained import load_trained_scorer
from routemoa.training.table import build_table
from tests.scoring.test_trained import made


def routemoa(*args: object) -> Result:
    return CliRunner().invoke(cli, [str(a) for a in args])


def keep(path: Path, records: list[Record]) -> Path:
    path.write_bytes(b"".join(msgspec.json.encode(r) + b"\n" for r in records))
    return path


def priced(records: list[Record]) -> list[Record]:
    """With references, and with costs: `poet` is ten times as dear as the others."""
    costs: dict[str, float | None] = {"adder": 0.001, "poet": 0.01, "middling": 0.001}
    return [msgspec.structs.replace(r, costs=costs, reference="42") for r in records]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    there = tmp_path_factory.mktemp("cli")
    records = keep(there / "r.jsonl", priced(made(200)))
    found = routemoa("scorer", "train", records, "--out", there / "s", "--json", "-")
    assert found.exit_code == 0, found.output
    report = json.loads(found.stdout)  # no table before or after it
    assert report["questions"] == 200
    assert 0 < report["cross_validated"]["accuracy"] <= 1
    assert report["warnings"] == []
    return there / "s"


def test_evaluate_writes_every_figure(folder: Path, tmp_path: Path) -> None:
    test, out = keep(tmp_path / "t.jsonl", priced(made(120, seed=9))), tmp_path / "f.json"
    found = routemoa("scorer", "evaluate", folder, test, "--json", out)
    assert found.exit_code == 0, found.output
    figures = json.loads(out.read_text())
    for name in (
        "n", "accuracy", "best_single", "best_single_model", "task_lookup", "random", "shuffled", "oracle", "hit_at_1",
        "hit_at_3", "any_correct_at_3", "fixed_best_3_any_correct", "calibration", "per_task", "macro", "per_model",
        "cost", "latency_ms", "knn", "cluster_lookup", "headroom",
    ):  # fmt: skip
        assert name in figures
    assert set(figures["macro"]["calibration"]) == {"ece", "brier", "auc"}
    assert 0 < figures["cost"]["at_97"] <= figures["cost"]["at_99"] * 1.001
    assert figures["ci95"]["accuracy"][0] <= figures["accuracy"] <= figures["ci95"]["accuracy"][1]
    assert "0.9" in found.output
    headroom = figures["headroom"]
    assert set(headroom["gap_closed"]) == set(headroom["gains"]) == {"scorer", "knn", "cluster_lookup", "task_lookup"}
    assert headroom["one_minus_beta_ci95"][0] < headroom["one_minus_beta"] < headroom["one_minus_beta_ci95"][1]
    assert headroom["gap_closed"]["knn"]["share"] > 0.5
    assert headroom["no_router_helps"] is None
    assert "1 - beta" in found.output


def test_evaluate_says_where_no_router_helps(folder: Path, tmp_path: Path) -> None:
    """`poet`, the best on the training records, gets everything right, and no other model anything."""
    sure = [msgspec.structs.replace(r, scores={"adder": 0.0, "poet": 1.0, "middling": 0.0}) for r in made(400, seed=9)]
    found = routemoa("scorer", "evaluate", folder, keep(tmp_path / "t.jsonl", sure), "--json", tmp_path / "f.json")
    assert "no router can help here: use poet alone" in found.output
    figures = json.loads((tmp_path / "f.json").read_text())
    assert any(w == figures["headroom"]["no_router_helps"] for w in figures["warnings"])


def test_evaluate_draws(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    test, picture = keep(tmp_path / "t.jsonl", priced(made(120, seed=9))), tmp_path / "p.svg"
    assert routemoa("scorer", "evaluate", folder, test, "--plot", picture).exit_code == 0
    assert picture.stat().st_size > 10_000
    refused = routemoa("scorer", "evaluate", folder, test, "--plot", tmp_path / "p.pdf")
    assert refused.exit_code != 0
    assert ".png or .svg" in str(refused.exception)


def test_show_explains(folder: Path) -> None:
    found = routemoa("scorer", "show", folder, "How much is 5 plus 7, please add the numbers?")
    assert "looks like: sums" in found.output
    assert "nearest training questions" in found.output
    assert found.output.index("adder") < found.output.index("poet")
    assert "strongest on sums" in routemoa("scorer", "show", folder).output
    told = json.loads(routemoa("scorer", "show", folder, "How much is 5 plus 7?", "--json").stdout)
    assert told["models"][0]["model"] == "adder"
    assert told["panel"]
    assert len(told["nearest"]) == 5
    card = json.loads(routemoa("scorer", "show", folder, "--json").stdout)
    assert {m["model"]: m["strongest"]["task"] for m in card["models"]}["adder"] == "sums"
    assert card["cross_validated"]["n"] == 200


def test_probes_are_lines_for_collect(folder: Path) -> None:
    lines = [json.loads(line) for line in routemoa("scorer", "probes", folder, "-n", 12).output.splitlines()]
    assert len({(q["task"], q["id"]) for q in lines}) == 12
    assert {q["task"] for q in lines} == {"sums", "words"}
    assert lines[0]["reference"] == "42"


def test_a_model_joins_from_its_probes(folder: Path, tmp_path: Path) -> None:
    """A model like `adder`, which the scorer has never seen."""
    chosen = {json.loads(line)["id"] for line in routemoa("scorer", "probes", folder, "-n", 48).output.splitlines()}
    answers = [
        msgspec.structs.replace(r, scores={"late": r.scores["adder"]}, costs=None) for r in made(200) if r.id in chosen
    ]
    out = tmp_path / "joined"
    found = routemoa("scorer", "join", folder, keep(tmp_path / "late.jsonl", answers), "--out", out, "--json", "-")
    assert found.exit_code == 0, found.output
    assert json.loads(found.stdout) == {"scorer": str(out), "joined": ["late"]}
    p = load_trained_scorer(out).predictor
    assert p.models == ("adder", "poet", "middling", "late")
    texts = [r.query for r in made(100, seed=4)]
    scores = p.predict(texts)
    assert np.abs(scores[:, 3] - scores[:, 0]).mean() < 0.12
    np.testing.assert_allclose(scores[:, :3], load_trained_scorer(folder).predictor.predict(texts), atol=2e-3)
    card = (out / "card.md").read_text()
    assert "late.jsonl (joined: late)" in card
    assert "r.jsonl\n" in card, "what it was first trained on"
    again = routemoa("scorer", "join", out, tmp_path / "late.jsonl", "--out", out)
    assert "nothing to join" in str(again.exception)
    few = keep(tmp_path / "few.jsonl", [msgspec.structs.replace(r, scores={"few": 1.0}) for r in answers[:3]])
    assert "at least 10" in str(routemoa("scorer", "join", folder, few, "--out", out).exception)


def test_it_learns_within_bounds_and_forgets(folder: Path, tmp_path: Path) -> None:
    """`adder` has broken down since it was measured: it gets every sum wrong."""
    texts = [r.query for r in made(60, seed=6)]
    before = load_trained_scorer(folder).predictor.predict(texts)
    news = [msgspec.structs.replace(r, scores={"adder": 0.0}) for r in made(160, seed=5) if r.task == "sums"]
    found = routemoa("scorer", "learn", folder, keep(tmp_path / "n.jsonl", news))
    assert found.exit_code == 0, found.output
    assert "adder drifts: 0% right in its last 50 outcomes" in found.output
    after = load_trained_scorer(folder).predictor.predict(texts)
    sums = np.array([t.startswith("How much") for t in texts])
    assert (after[sums, 0] < before[sums, 0] - 0.05).all()
    assert np.abs(after[:, 1:] - before[:, 1:]).max() == 0
    assert np.abs(after - before).max() < 0.5
    again = routemoa("scorer", "learn", folder, tmp_path / "n.jsonl").output
    assert f"{len(news)} outcomes were learned before and count once" in again
    assert (load_trained_scorer(folder).predictor.predict(texts) == after).all()
    corrected = [msgspec.structs.replace(r, scores={"adder": 1.0}) for r in news]
    routemoa("scorer", "learn", folder, keep(tmp_path / "c.jsonl", corrected))
    assert (load_trained_scorer(folder).predictor.predict(texts)[sums, 0] > after[sums, 0]).all()
    assert "forgotten" in routemoa("scorer", "forget", folder).output
    routemoa("scorer", "learn", folder, tmp_path / "n.jsonl", "--json", tmp_path / "l.json")
    told = json.loads((tmp_path / "l.json").read_text())
    assert told["outcomes"] == len(news)
    assert told["mean_changes"]["adder"] < 0
    assert [(d["model"], d["actual"]) for d in told["drifts"]] == [("adder", 0.0)]
    routemoa("scorer", "forget", folder)
    assert (load_trained_scorer(folder).predictor.predict(texts) == before).all()


def test_bad_input_is_explained(folder: Path, tmp_path: Path) -> None:
    strange = keep(tmp_path / "x.jsonl", [Record("1", "t", "q", {"unknown": 1.0})])
    assert "knows none of these models" in str(routemoa("scorer", "evaluate", folder, strange).exception)
    (tmp_path / "bad.jsonl").write_text('{"id": "1"}\nnot json\n')
    failed = str(routemoa("scorer", "train", tmp_path / "bad.jsonl", "--out", tmp_path / "o").exception)
    assert "bad.jsonl:1: task is missing" in failed
    assert "bad.jsonl:2" in failed
    nothing = keep(tmp_path / "n.jsonl", [Record("1", "t", "q", {"a": None})])
    assert "nothing was measured" in str(routemoa("scorer", "train", nothing, "--out", tmp_path / "o").exception)
    one = keep(tmp_path / "1.jsonl", [Record("1", "t", "q", {"a": 1.0})])
    assert "one question teaches" in str(routemoa("scorer", "train", one, "--out", tmp_path / "o").exception)
    empty = tmp_path / "empty.jsonl"
    empty.write_text("")
    assert "no record" in str(routemoa("scorer", "train", empty, "--out", tmp_path / "o").exception)
    assert "no record" in str(routemoa("scorer", "learn", folder, empty).exception)


@pytest.mark.parametrize(("questions", "warned"), [(8, True), (120, False)])
def test_training_on_a_handful_of_questions_warns_of_its_figures(questions: int, warned: bool) -> None:
    table = build_table(
        [Record(str(i), "t", f"What is {i} + {i}?", {"a": float(i % 2), "b": 1.0}) for i in range(questions)]
    )
    warnings = warn_of_few_questions(table)
    assert bool(warnings) is warned
    assert all("8 questions and mean nothing" in warning for warning in warnings)
