"""`routemoa learn` and `routemoa traces`, as they are typed: real processes, a real store, a real pool file."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from random import Random
from typing import Any

import pytest

from routemoa.cli.learning.learned_files import hold_lock, undo
from routemoa.cli.pool.pool_file import find_pool_file
from routemoa.core.errors import ConfigError
from routemoa.core.learned.learned_priors import LearnedJudge, LearnedPriors
from routemoa.core.pool_file.pool import Pool
from routemoa.core.tables.traces_table import TraceSettings
from routemoa.core.trace import Answer, Layer, Proposal, Trace
from routemoa.core.types import Query, Scores
from routemoa.core.usage import Usage
from routemoa.datasets.records import read_records
from routemoa.judging.judge_model import Coefficients, JudgeModel, encode_judge_model
from routemoa.judging.pool_judge import load_pool_judge
from routemoa.ledger.trace_store.traces import Feedback, TraceStore, traces_path
from routemoa.scoring.constant import load_scorer

POOL = """# my pool
[[model]]   # the first
name = "a"
endpoint = "http://127.0.0.1:9/v1"
prior = 0.8

[[model]]
name = "b"
endpoint = "http://127.0.0.1:9/v1"
prior = 0.6  # less
"""
PRIOR: Scores = {"a": 0.8, "b": 0.6}


class Clock:
    def __init__(self, start: int) -> None:
        self.now = 1_700_000_000.0 + start

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


def run(*words: str | Path, fails: bool = False) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "routemoa", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert "Traceback" not in done.stderr
    assert (done.returncode != 0) == fails, done.stderr
    return done


def keep(store: Path, count: int, rates: dict[str, float], seed: int, first: int = 0, thumbs: bool = False) -> None:
    """Keep traces in which each member is right at its rate, and label them."""
    traces, draw = TraceStore(traces_path(store), TraceSettings(days=36_500), Clock(first)), Random(seed)
    for i in range(first, first + count):
        texts = {m: "The answer is 4." if draw.random() < rate else f"The answer is {m}5." for m, rate in rates.items()}
        proposals = tuple(Proposal(m, t, Usage(3, 4), 0.5, 0.001) for m, t in texts.items())
        layer = Layer(tuple(texts), proposals)
        chosen = next(iter(texts))
        trace = Trace(Query.from_text(f"What is 2+2, {i}?"), "routemoa", PRIOR, layers=(layer,), choice=chosen, calls=2)
        traces.add(str(i), Answer(texts[chosen], trace), None)
        if i % 500 == 499:
            traces.flush()
    traces.flush()
    draw = Random(seed)
    for i in range(first, first + count):
        right = {m: float(draw.random() < rate) for m, rate in rates.items()}
        said = Feedback(next(iter(right.values()))) if thumbs else Feedback(expected="4", grader="numeric")
        assert traces.add_feedback(str(i), None, said)
    traces.close()


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    path = tmp_path / "pool.toml"
    path.write_text(POOL)
    return path


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "s.db"


def learn(pool: Path, store: Path, *more: str) -> dict[str, Any]:
    printed: dict[str, Any] = json.loads(run("learn", "--pool", pool, "--store", store, "--json", *more).stdout)
    return printed


def log(pool: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (pool.parent / "learned" / "log.jsonl").read_text().splitlines()]


async def _score(pool: Pool) -> Any:
    return await load_scorer(pool).score(Query.from_text("What is 2+2?"), pool.models)


def prior(pool: Path) -> dict[str, float | None]:
    read = Pool.from_toml(pool)
    return dict(asyncio.run(_score(read)))


def test_what_is_better_is_taken_over_and_can_be_undone(pool: Path, store: Path) -> None:
    keep(store, 300, {"a": 0.3, "b": 0.9}, 1)
    before = pool.read_text()
    tried = learn(pool, store, "--dry-run")
    assert (tried["action"], tried["held_out"]["gain"]) == ("would be taken over", "accuracy")
    assert pool.read_text() == before
    assert not (pool.parent / "learned").exists()

    taken = learn(pool, store)
    assert taken["action"] == "taken over"
    assert pool.read_text() == f'{before}\n[learning]\npath = "{taken["path"]}"\n'
    moved = prior(pool)
    assert moved["a"] == pytest.approx(0.3, abs=0.08)
    assert moved["b"] == pytest.approx(0.9, abs=0.08), "a tenth of feedback is taken to be wrong"

    again = learn(pool, store)
    assert again["action"] == "kept", "the same outcomes teach the same, which is not better than itself"
    keep(store, 10, {"a": 0.3, "b": 0.9}, 2, first=300)
    more = learn(pool, store)
    assert (more["action"], more["outcomes"]) == ("kept", 310), "ten more like them move nothing that shows"
    assert [(step["action"], step["figures"]["outcomes"]) for step in log(pool)] == [("taken over", 300), ("kept", 310)]
    assert [file.name for file in (pool.parent / "learned").glob("*.toml")] == [Path(taken["path"]).name]

    run("learn", "--pool", pool, "--undo")
    assert pool.read_text().strip() == before.strip()
    assert prior(pool) == PRIOR
    assert [step["action"] for step in log(pool)] == ["taken over", "kept", "undone"]
    refused = run("learn", "--pool", pool, "--undo", fails=True)
    assert "nothing to undo" in refused.stderr


def test_a_linked_pool_file_keeps_what_was_learned_beside_the_link(pool: Path, store: Path, tmp_path: Path) -> None:
    keep(store, 300, {"a": 0.3, "b": 0.9}, 1)
    link = tmp_path / "here" / "pool.toml"
    link.parent.mkdir()
    link.symlink_to(pool)
    assert (link.parent / learn(link, store)["path"]).is_file()
    assert link.is_symlink()
    assert prior(link)["a"] == pytest.approx(0.3, abs=0.08)
    run("learn", "--pool", link, "--undo")
    assert prior(pool) == PRIOR


def test_undo_goes_back_step_by_step(pool: Path, store: Path) -> None:
    keep(store, 300, {"a": 0.3, "b": 0.9}, 1)
    first = learn(pool, store)["path"]
    keep(store, 1500, {"a": 0.9, "b": 0.3}, 2, first=300)
    second = learn(pool, store)["path"]
    assert first != second
    assert log(pool)[-1]["before"] == first
    run("learn", "--pool", pool, "--undo")
    assert f'path = "{first}"' in pool.read_text()
    run("learn", "--pool", pool, "--undo")
    assert "learning" not in pool.read_text()


def test_priors_that_are_right_are_kept_while_the_judge_model_learns_what_agreement_says(
    pool: Path, store: Path
) -> None:
    keep(store, 400, {"a": 0.8, "b": 0.6}, 7)  # wrong answers never agree
    report = learn(pool, store)
    assert (report["held_out"]["gain"], report["judge"]["better"], report["drift"]) == (None, True, [])
    assert report["judge"]["loss"]["low"] > 0
    assert prior(pool) == PRIOR
    taken = Pool.from_toml(pool)
    assert taken.learned == LearnedPriors(judge=LearnedJudge(Path(report["path"]).stem + ".json", ""))
    judge = load_pool_judge(taken)
    assert judge.models == ("a", "b")
    assert judge.coefficients != JudgeModel().coefficients
    assert "judge: " + str(taken.learned_judge) in run("pool", "show", "--pool", pool).stdout
    assert not learn(pool, store, "--dry-run")["judge"]["better"], "the same outcomes teach the same"

    fitted = pool.parent / "judge.json"
    fitted.write_bytes(encode_judge_model(JudgeModel(Coefficients(votes=0.4))))
    pool.write_text(f'{pool.read_text()}[mixture]\njudge = "judge.json"\n')
    shown = run("learn", "--pool", pool, "--store", store, "--dry-run").stdout
    assert "is left out: the pool's judge file is another one since" in shown
    assert load_pool_judge(Pool.from_toml(pool)).coefficients.votes == 0.4
    run("learn", "--pool", pool, "--undo")
    assert load_pool_judge(Pool.from_toml(pool)) == JudgeModel(Coefficients(votes=0.4))
    assert [step["action"] for step in log(pool)] == ["taken over", "undone"]


def test_thumbs_of_panels_without_priors_are_too_few_and_say_what_teaches(pool: Path, store: Path) -> None:
    pool.write_text(POOL.replace("prior = 0.8", "").replace("prior = 0.6", ""))
    keep(store, 90, {"a": 0.3, "b": 0.9}, 1, thumbs=True)
    report = learn(pool, store)
    assert (report["action"], report["outcomes"]) == ("kept", 90)
    assert report["why"].startswith("0 of 90 outcomes teach; at least 90 are needed;")
    assert "labels or expected answers" in report["why"]


def test_thumbs_that_tell_no_members_apart_are_taken_over_by_their_predictions(pool: Path, store: Path) -> None:
    keep(store, 300, {"a": 0.3}, 4, thumbs=True)
    shown = run("learn", "--pool", pool, "--store", store).stdout
    assert "taken over as learned/" in shown
    assert "the predictions are better; what they do to the answers is not known" in shown
    assert "a: log-odds of its prior -" in shown


def test_history_due_and_lock(pool: Path, store: Path) -> None:
    assert "nothing was learned yet" in run("learn", "--pool", pool, "--history").stdout
    pool.write_text(f'{pool.read_text()}\n[learning]\nevery = "1h"  # by itself\nmin_outcomes = 40\n')
    before = pool.read_text()
    keep(store, 80, {"a": 0.1, "b": 0.95}, 1)
    assert learn(pool, store, "--due")["action"] == "taken over"
    assert 'every = "1h"  # by itself' in pool.read_text()
    assert learn(pool, store, "--due") == {"action": "not due"}
    keep(store, 10, {"a": 0.9, "b": 0.2}, 2, first=80)
    tried = run("learn", "--pool", pool, "--store", store, "--dry-run").stdout
    assert "beside the scorer alone, as they are no better than those of now (90 outcomes)" in tried
    run("learn", "--pool", pool, "--undo")
    assert pool.read_text() == before, "only the path is gone"
    shown = run("learn", "--pool", pool, "--history").stdout.splitlines()
    assert [line.split("  ")[1].split(" ")[0] for line in shown] == ["taken", "undone:"]
    with hold_lock(pool):
        refused = run("learn", "--pool", pool, "--store", store, fails=True)
        assert learn(pool, store, "--due") == {"action": "not due"}  # a worker beside this one is at it
    assert "another `routemoa learn` runs" in refused.stderr


def test_few_outcomes_and_no_store_say_so(pool: Path, store: Path) -> None:
    assert "no traces" in run("learn", "--pool", pool, "--store", store, fails=True).stderr
    with pytest.raises(ConfigError, match="nothing to undo"):
        undo(find_pool_file(str(pool)), 0.0)
    assert not (pool.parent / "learned").exists(), "nothing was written"
    keep(store, 5, {"a": 0.3, "b": 0.9}, 1)
    report = learn(pool, store)
    assert (report["outcomes"], report["action"]) == (5, "kept")
    assert "at least 90" in report["why"]
    assert "routemoa init" in run("learn", "--pool", pool.parent / "none.toml", fails=True).stderr


def test_a_learned_file_that_is_gone_is_one_line_that_names_it(pool: Path, store: Path) -> None:
    keep(store, 300, {"a": 0.3, "b": 0.9}, 1)
    path = pool.parent / learn(pool, store)["path"]
    path.unlink()
    assert "[learning]: path" in run("pool", "show", "--pool", pool, fails=True).stderr


def test_drift_names_the_model_the_time_and_the_change(pool: Path, store: Path) -> None:
    keep(store, 400, {"a": 0.8, "b": 0.6}, 11)
    assert "no drift in 800 scores" in run("traces", "drift", "--store", store).stdout
    keep(store, 300, {"a": 0.3, "b": 0.6}, 12, first=400)
    (found,) = json.loads(run("traces", "drift", "--store", store, "--json").stdout)["drift"]
    assert found["model"] == "a"
    assert found["change"] < -0.2
    assert "a drifts: 78% right until" in run("traces", "drift", "--store", store).stdout
    assert [d["model"] for d in learn(pool, store)["drift"]] == ["a"]


def test_traces_are_exported_as_records_that_others_read(store: Path, tmp_path: Path) -> None:
    keep(store, 40, {"a": 0.8, "b": 0.6}, 3)
    out = tmp_path / "r.jsonl.gz"
    assert "40 records" in run("traces", "export", "--out", out, "--with-feedback", "--store", store).stderr
    records = list(read_records(out))
    assert {len(r.scores) for r in records} == {2}
    assert all(s in (0.0, 1.0) for r in records for s in r.scores.values())
    assert "is there already" in run("traces", "export", "--out", out, "--store", store, fails=True).stderr
    run("grade", out, "--json", tmp_path / "g.json")
    assert json.loads((tmp_path / "g.json").read_text())["agreement"]["all"] == 1.0


def test_traces_are_exported_for_the_judge(store: Path, tmp_path: Path) -> None:
    keep(store, 60, {"a": 0.8, "b": 0.6}, 3)
    out, judge = tmp_path / "t.jsonl", tmp_path / "judge.json"
    export = ("traces", "export", "--with-feedback", "--as", "traces")
    assert "60 traces" in run(*export, "--out", out, "--store", store).stderr
    assert "60 graded queries" in run("judge", "fit", out, "--out", judge).stdout
    assert json.loads(judge.read_text())["fitted"]["queries"] == 60


def test_a_trace_is_shown_with_its_answers_and_feedback(store: Path) -> None:
    keep(store, 3, {"a": 1.0, "b": 0.0}, 3)
    shown = run("traces", "show", "chatcmpl-1", "--store", store).stdout
    for part in ("What is 2+2, 1?", "a, layer 1:", "The answer is b5.", 'feedback: {"expected":"4"'):
        assert part in shown
    assert json.loads(run("traces", "show", "1", "--json", "--store", store).stdout)["answer"]["trace"]["calls"] == 2
    assert "no trace 'x'" in run("traces", "show", "x", "--store", store, fails=True).stderr
