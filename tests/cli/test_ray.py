"""The heavy commands on a real Ray cluster: the same bytes and rows as here, one budget, no call paid for twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from routemoa.cli import cli
from routemoa.cli.ray_cluster import RayEngine, leave_out_engine
from routemoa.datasets.jsonl import read_lines
from routemoa.datasets.questions import Question
from routemoa.datasets.records import Record, read_records
from routemoa.evaluation.live.call_file import ABANDONED
from routemoa.evaluation.replay.study import prepare_replay
from tests.evaluation.live.test_runner import ASKED, read_calls, reply, task_file
from tests.gateway.batches.job_setup import endpoint_in_thread, write_pool
from tests.ray_cluster import RayCluster

METHODS = "moa,self-moa,best-single"  # the others cancel calls that are not needed, sooner or later
PRICE = 0.008  # dollars of a call: 4 words in, 4 out


def run(*arguments: object, status: int = 0) -> str:
    done = CliRunner().invoke(cli, [str(a) for a in arguments])
    assert done.exit_code == status, done.output
    return done.output


def read_bytes(path: Path) -> dict[str, bytes]:
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    return {p.name: p.read_bytes() for p in files}


def make_records(path: Path, first: int) -> Path:
    records = [
        Record(
            str(i),
            "even" if i % 2 else "odd",
            f"What is {i} + {i}?",
            {"a": float(i % 2), "b": float(i % 3 > 0), "c": float(i % 5 > 0)},
            responses={m: f"The answer is {2 * i + (i % n == 0)}." for m, n in (("a", 2), ("b", 3), ("c", 5))},
            reference=str(2 * i),
        )
        for i in range(first, first + 60)
    ]
    path.write_bytes(b"".join(msgspec.json.encode(r) + b"\n" for r in records))
    return path


@pytest.mark.usefixtures("ray_connection")
def test_what_is_computed_has_the_same_bytes(tmp_path: Path) -> None:
    train, test = make_records(tmp_path / "train.jsonl", 0), make_records(tmp_path / "test.jsonl", 100)
    out = tmp_path / "out"  # of both engines, as its name is written down
    commands = (
        ("scorer", "train", train, "--out", out),
        ("judge", "fit", train, "--out", out),
    )
    for command in commands:
        run(*command)
        here = read_bytes(out)
        (out.unlink() if out.is_file() else out.rename(tmp_path / "scorer"))
        run(*command, "--engine", "ray")
        assert read_bytes(out) == here
        (out.unlink() if out.is_file() else out.rename(tmp_path / "again"))
    import ray

    replay = prepare_replay(
        list(read_records([test])), tmp_path / "scorer", None, use_list_prices=False, judge_auc=0.8, keep_texts=False
    ).replay  # `evaluate` itself takes seconds for its intervals
    assert replay.run(["routemoa", "random"], 0, 3, engine=RayEngine(ray)) == replay.run(["routemoa", "random"], 0, 3)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Return records or outcomes without what no two runs share: seconds, and the order in which answers came."""
    rows = [msgspec.json.decode(line) for _, line in read_lines(path, lambda _: None)]
    return [{k: v for k, v in row.items() if k not in ("seconds", "layers")} for row in rows]


@pytest.mark.usefixtures("ray_connection")
def test_collected_rows_are_the_same_whatever_is_killed_and_no_overshoot(
    ray_cluster: RayCluster, tmp_path: Path
) -> None:
    """A worker is killed and the budget is reached, then the command is interrupted, then this process goes on."""
    seen: Counter[str] = Counter()
    kills: list[bool] = []

    def answer(body: dict[str, Any]) -> str:
        seen[f"{body['model']} {body['messages'][-1]['content']}"] += 1
        if kills and len(seen) > 8 and (workers := ray_cluster.find_workers("CollectWorker")):
            kills.clear()
            workers[0].kill()
        time.sleep(0.01)
        return "The answer is 4."

    questions = [Question(str(i), "t", f"{i} + 2 = ?", None, "4", "numeric") for i in range(100)]
    out, whole = tmp_path / "out.jsonl", tmp_path / "whole.jsonl"
    with endpoint_in_thread(answer) as endpoint:
        pool = write_pool(tmp_path / "pool.toml", endpoint.url)
        command = ("collect", task_file(tmp_path, questions), "--pool", pool, "--yes", "--concurrency", 2, "--out")
        run(*command, whole)
        assert [row["id"] for row in read_rows(whole)] == [q.id for q in questions]

        seen.clear()
        kills.append(True)
        said = run(*command, out, "--engine", "ray", "--max-cost", 0.6, status=1)
        assert "run the same command again with a higher --max-cost" in said
        assert not kills
        spent = seen.total() * PRICE
        assert spent <= 0.6

        before = seen.total()
        words = [sys.executable, "-m", "routemoa", *map(str, command), out, "--engine", "ray", "--max-cost", 30]
        process = subprocess.Popen(
            [*map(str, words), "--address", ray_cluster.address],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        while seen.total() < before + 20:
            assert process.poll() is None
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C on a terminal, which reaches the whole group
        _, stderr = process.communicate(timeout=60)
        assert process.returncode == 130, stderr.decode()
        assert b"run the same command again to continue" in stderr
        assert b"Traceback" not in stderr
        run(*command, out)
    assert sorted(read_rows(out), key=lambda row: int(row["id"])) == read_rows(whole)
    assert seen.total() <= 2 * len(questions) + 2 * 4  # what was under way when something was stopped
    until = time.monotonic() + 30
    while ray_cluster.find_workers("CollectWorker"):
        assert time.monotonic() < until
        time.sleep(0.1)


@pytest.mark.usefixtures("ray_connection")
def test_a_benchmark_has_the_same_outcomes_and_keeps_each_call_once(ray_cluster: RayCluster, tmp_path: Path) -> None:
    """Also where a worker is killed: calls that had ended are found by the next one."""
    seen: Counter[str] = Counter()
    kills: list[bool] = []

    def answer(body: dict[str, Any]) -> str:
        seen[json.dumps(body, sort_keys=True)] += 1
        if kills and len(seen) > 30 and (workers := ray_cluster.find_workers("BenchWorker")):
            kills.clear()
            workers[0].kill()
        return reply(body)

    with endpoint_in_thread(answer) as endpoint:
        pool = write_pool(tmp_path / "pool.toml", endpoint.url, names=("a", "b", "c"))
        command = ("bench", task_file(tmp_path, ASKED[:6]), "--pool", pool, "--methods", METHODS, "--max-cost", 100)
        run(*command, "--out", tmp_path / "here")
        calls = seen.total()
        seen.clear()
        kills.append(True)
        run(*command, "--out", tmp_path / "there", "--engine", "ray")
        assert not kills
    assert sort_rows(tmp_path / "there" / "outcomes.jsonl") == sort_rows(tmp_path / "here" / "outcomes.jsonl")
    finished = Counter(c.key for c in read_calls(tmp_path / "there") if c.kind != ABANDONED)
    assert set(finished.values()) == {1}
    assert seen.total() <= calls + 4 * 6  # what the lost worker had under way


def sort_rows(path: Path) -> list[dict[str, Any]]:
    """Return what does not depend on when calls ended."""
    rows = [{name: row[name] for name in ("method", "id", "right", "text")} for row in read_rows(path)]
    return sorted(rows, key=lambda row: (row["method"], row["id"]))


def test_what_is_written_down_names_no_engine() -> None:
    words = ["scorer", "train", "a", "--engine", "ray", "--address=auto", "--out", "b", "--address", "x"]
    assert leave_out_engine(words) == ["scorer", "train", "a", "--out", "b"]


@pytest.mark.parametrize("words", [("--address", "auto"), ("--engine", "local", "--address", "auto")])
def test_an_address_that_nothing_would_use_is_refused(words: tuple[str, ...]) -> None:
    result = CliRunner().invoke(cli, ["batch", "in.jsonl", "--out", "out", *words])
    assert result.exit_code == 2
    assert "add --engine ray" in result.output
