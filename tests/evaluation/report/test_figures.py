"""The report's figures: what is unknown stays unknown, differences are on shared questions."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from msgspec.structs import replace

from routemoa.cli import cli
from routemoa.core.errors import ConfigError
from routemoa.core.system.installation import install_command
from routemoa.core.text.dollars import format_dollars
from routemoa.evaluation.formatting import format_points
from routemoa.evaluation.outcomes import OUTCOMES, Outcome, Run, save_run
from routemoa.evaluation.report.figures import Report, build_report
from routemoa.evaluation.report.method_rows import group_outcomes, pareto_front
from routemoa.evaluation.statistics import summarize

HOSTILE = (
    "</script><script>window.taken=1</script>",
    "<img src=x onerror=window.taken=1>",
    '"><svg onload=window.taken=1>$x$ ${y} &amp;',
    "a -- b <!-- c\x00\x1b[31m\u202e",
)
METHODS = (
    "routemoa",
    "moa",
    "best-single",
    "cascade",
    "single:good",
    "routemoa-no-scorer",
    "routemoa-no-self",
    "oracle",
)


def replay_run(*, hostile: bool = False, seeds: int = 2, questions: int = 60) -> tuple[Run, list[Outcome]]:
    """A replay of two tasks and three models in which everything is known."""
    rng = Random(3)
    names = HOSTILE[:3] if hostile else ("good", "middling", "poor")
    tasks = (HOSTILE[3], HOSTILE[0]) if hostile else ("algebra", "poems")
    scale = {"all": {"routemoa": [_point(k) for k in (2, 4, 16, 32)], "moa": [_point(k) for k in (2, 4, 16, 32)]}}
    run = Run(
        kind="replay", name=HOSTILE[1] if hostile else "two tasks", methods=METHODS, models=names, seeds=seeds,
        notes=(HOSTILE[0] if hostile else "replayed",), scale=scale,
    )  # fmt: skip
    outcomes = []
    for number in range(questions):
        right = {name: float(rng.random() < p) for name, p in zip(names, (0.7, 0.6, 0.3), strict=True)}
        for seed in range(seeds):
            outcomes += [_outcome(m, tasks[number % 2], number, seed, right, rng, hostile) for m in METHODS]
    return run, outcomes


def _point(models: int) -> dict[str, Any]:
    known = {"accuracy": 0.6, "ci95": [0.5, 0.7], "calls": 2.0, "tokens": 300.0 + models}
    return {"models": models, **known, "cost": None, "seconds": None, "path_tokens": 1.0}


def _outcome(
    method: str, task: str, number: int, seed: int, right: dict[str, float], rng: Random, hostile: bool
) -> Outcome:
    best, *others = right
    layers: tuple[tuple[str, ...], ...] = ((best,),)
    if method == "moa":
        layers = (tuple(right),) * 3
    elif method.startswith("routemoa"):
        layers = ((best, others[0]), (others[1],))[: 1 + number % 2]
    called = [m for layer in layers for m in layer]
    choice = max(right, key=lambda m: right[m]) if method == "oracle" else rng.choice(called)
    return Outcome(
        method, task, str(number), right[choice], calls=len(called), prompt_tokens=50.0 * len(called),
        completion_tokens=20.0 * len(called), path_tokens=20.0 * len(layers), cost=0.001 * len(called),
        seconds=1.5 * len(layers), seed=seed, query=HOSTILE[1] if hostile else f"What is {number}?",
        reference=HOSTILE[2] if hostile else str(number), text=HOSTILE[0] if hostile else f"It is {number}.",
        layers=layers, choice=choice, confidence=rng.random() if method == "routemoa" else None,
        stop=f"agreed: {best} at 0.{number}" if method == "routemoa" else None, model_scores=dict(right),
    )  # fmt: skip


def unfinished_run() -> tuple[Run, list[Outcome]]:
    """A live run that was stopped: no prices, no times, a third of the questions for moa, a failure."""
    run, found = replay_run(seeds=1, questions=30)
    ran = {"routemoa": 30, "moa": 10, "best-single": 30}
    kept = [o for o in found if int(o.id) < ran.get(o.method, 0)]
    bare = [replace(o, cost=None, seconds=None, model_scores={}, confidence=None, stop=None) for o in kept]
    bare[0] = replace(bare[0], failure="timed out", right=0.0, text=None, completion_tokens=None, choice=None)
    bare[3] = replace(bare[3], right=None)
    return replace(run, kind="live", seeds=1, scale={}, methods=("routemoa", "moa", "best-single", "cascade")), bare


def report_of(run: Run, outcomes: list[Outcome]) -> Report:
    return build_report(run, outcomes, summarize(outcomes, 0))


def make_outcomes(of: list[tuple[str, float | None]], questions: int = 40) -> list[Outcome]:
    """Outcomes of methods that are right on a share of the questions; each takes a call and a dollar."""
    return [
        Outcome(name, "t", str(i), None if share is None else float(i < share * questions), calls=1, cost=1.0)
        for name, share in of
        for i in range(questions)
    ]


RUN = Run(kind="live", name="r", methods=("routemoa", "best-single"), models=("a",))


@pytest.mark.parametrize(
    ("ours", "theirs", "verdict", "words"),
    [
        (0.9, 0.5, "better", "Better: on 40 questions RouteMoA is 40.0 points more accurate than the best single"),
        (0.5, 0.9, "worse", "Worse: on 40 questions RouteMoA is 40.0 points less accurate"),
        (0.55, 0.5, "open", "No significant difference on 40 questions: RouteMoA and the best"),
        (None, 0.5, "unknown", "Unknown: no question was graded"),
    ],
)
def test_the_headline_says_no_more_than_the_interval(
    ours: float | None, theirs: float, verdict: str, words: str
) -> None:
    found = report_of(RUN, make_outcomes([("routemoa", ours), ("best-single", theirs)])).headline
    assert found.verdict == verdict
    assert words in found.sentence
    assert ("includes zero" in found.sentence) == (verdict == "open")
    assert "1.00 times the dollars" in found.sentence
    assert "; tokens and seconds cannot be compared." in found.sentence


def test_without_a_single_model_or_without_the_mixture_the_answer_is_unknown() -> None:
    assert report_of(RUN, make_outcomes([("routemoa", 0.5)])).headline.verdict == "unknown"
    assert report_of(RUN, make_outcomes([("moa", 0.5)])).headline.sentence.startswith("Unknown: routemoa itself")
    alone = report_of(RUN, make_outcomes([("routemoa", 0.9), ("single:a", 0.2), ("single:b", 0.5)]))
    assert alone.baseline == "single:b"
    assert any("flatters it" in caveat for caveat in alone.caveats)


def test_means_and_ratios_are_unknown_when_one_question_is_and_never_zero() -> None:
    outcomes = make_outcomes([("routemoa", 0.5), ("best-single", 0.5)])
    outcomes[0] = replace(outcomes[0], cost=None)
    found = report_of(RUN, outcomes)
    ours, theirs = found.rows
    assert ours.means["cost"] is None
    assert ours.unknown["cost"] == 1
    assert theirs.means["cost"] == 1.0
    assert found.headline.ratios["cost"] is None
    assert any("Dollars are unknown for routemoa" in caveat for caveat in found.caveats)


def test_spending_is_compared_on_the_questions_of_both() -> None:
    run, outcomes = unfinished_run()
    found = report_of(run, outcomes)
    assert found.headline.dense_ratios["calls"] is not None
    moa = next(r for r in found.rows if r.method == "moa")
    assert (moa.n, found.questions) == (10, 30)
    assert any("moa 10 of 30, cascade none of 30" in caveat for caveat in found.caveats)
    times = group_outcomes(outcomes).ratios("moa", "routemoa")
    shared = [o for o in outcomes if int(o.id) < 10]
    calls = Counter({m: sum(o.calls for o in shared if o.method == m) for m in ("moa", "routemoa")})
    assert times["calls"] == pytest.approx(calls["moa"] / calls["routemoa"])


def test_helped_and_hurt_count_each_question_once_with_examples() -> None:
    outcomes = make_outcomes([("routemoa", 0.5), ("best-single", 0.25)], 80)
    outcomes = [replace(o, right=1.0 - (o.right or 0)) if o.id in ("0", "79") else o for o in outcomes]
    (task,) = report_of(RUN, outcomes).tasks
    assert (task.n, task.helped, task.hurt) == (80, 20, 0)
    assert len(task.helpful) == 10
    assert all(e.ours.right == 1 and e.theirs.right == 0 for e in task.helpful)


def test_calibration_measures_the_distance_to_what_came_true() -> None:
    outcomes = [replace(o, confidence=0.85) for o in make_outcomes([("routemoa", 0.6)], 50)]
    outcomes.append(replace(outcomes[0], id="x", confidence=1.0))
    found = report_of(RUN, outcomes).calibration
    assert found is not None
    assert found.n == 51
    assert found.ece == pytest.approx(50 / 51 * 0.25)
    assert [b.n for b in found.bins] == [50, 1]
    assert found.bins[0].ci95[0] < 0.6 < found.bins[0].ci95[1]


def test_models_called_and_reasons_to_stop() -> None:
    run, outcomes = replay_run()
    found = report_of(run, outcomes)
    assert found.chosen is not None
    assert found.chosen.called["good"] == {"algebra": 1.0, "poems": 1.0}
    assert found.chosen.by_layer["poor"] == {"1": 0.0, "2": 1.0}
    assert sum(row["poems"] for row in found.chosen.final.values()) == pytest.approx(1)
    assert [(s.kind, s.n) for s in found.stops] == [("agreed", 120)]
    assert [(x.layer, x.reached, x.ended) for x in found.layers] == [(1, 120, 60), (2, 60, 60)]
    assert all((x.right or 0) <= (x.any_right or 0) for x in found.layers)


def test_ablations_that_were_not_run_are_named() -> None:
    run, outcomes = replay_run()
    found = {a.part: a for a in report_of(run, outcomes).ablations}
    assert list(found) == ["scorer", "self", "cross", "reranking", "early-stop", "aggregator"]
    assert found["scorer"].gap is not None
    assert found["cross"].row is None


def test_growth_is_read_with_and_without_the_name_of_a_pool() -> None:
    run, outcomes = replay_run()
    named = report_of(run, outcomes).scale
    bound = {"oracle": [{"models": 1, "ci95": [None, None]}]}
    bare = report_of(replace(run, scale=run.scale["all"] | bound), outcomes).scale
    assert [(c.pool, c.method, len(c.points)) for c in named] == [("all", "routemoa", 4), ("all", "moa", 4)]
    assert [c.pool for c in bare] == ["two tasks"] * 3
    assert named[0].points == bare[0].points


def test_the_front_leaves_out_what_another_beats() -> None:
    points = {"dear": (9.0, 0.9), "cheap": (1.0, 0.5), "same": (1.0, 0.4), "beaten": (5.0, 0.5), "middle": (4.0, 0.8)}
    assert pareto_front(points) == ["cheap", "middle", "dear"]


def test_figures_read_well() -> None:
    assert [format_dollars(x) for x in (0.0, 0.000057, 0.0123, 3.2, 1234.5)] == [
        "$0",
        "$0.000057",
        "$0.012",
        "$3.20",
        "$1,234.50",
    ]
    assert [format_dollars(x, 4) for x in (1e-7, 0.0000248, 0.05)] == ["$0.0000001", "$0.0000248", "$0.05"]
    assert format_dollars(float("inf")) == "$inf"
    assert [format_points(x) for x in (-0.00001, 0.0213, -0.2)] == ["+0.0", "+2.1", "−20.0"]


def write_run(path: Path, run: Run, outcomes: list[Outcome]) -> str:
    save_run(path, run)
    (path / OUTCOMES).write_bytes(b"\n".join(map(msgspec.json.encode, outcomes)) + b"\n")
    return str(path)


def test_the_terminal_has_the_answer_and_every_method(tmp_path: Path) -> None:
    done = CliRunner().invoke(cli, ["report", write_run(tmp_path, *replay_run()), "--json", str(tmp_path / "f.json")])
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert "RouteMoA" in lines[0]
    for method in METHODS:
        assert any(line.startswith(method) for line in lines)
    assert "note: " in done.stderr
    figures = json.loads((tmp_path / "f.json").read_text())
    assert {r["method"] for r in figures["rows"]} == set(METHODS)


def test_the_page_is_written_and_its_place_said(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    file = tmp_path / "report.html"
    done = CliRunner().invoke(cli, ["report", write_run(tmp_path, *unfinished_run()), "--html", str(file)])
    assert done.exit_code == 0, done.output
    assert str(file) in done.stderr
    assert file.read_text().startswith("<!doctype html>")


def test_what_is_missing_is_named_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = CliRunner().invoke(cli, ["report", str(tmp_path)])
    assert isinstance(nothing.exception, ConfigError)
    assert "routemoa bench" in str(nothing.exception)
    save_run(tmp_path, RUN)
    empty = CliRunner().invoke(cli, ["report", str(tmp_path)])
    assert "no outcome yet" in str(empty.exception)
    for name in ("matplotlib", "matplotlib.figure"):
        monkeypatch.setitem(__import__("sys").modules, name, None)
    write_run(tmp_path, *replay_run())
    bare = CliRunner().invoke(cli, ["report", str(tmp_path), "--html", str(tmp_path / "r.html")])
    assert f"run  {install_command('plot')}" in str(bare.exception)
    assert not (tmp_path / "r.html").exists()
