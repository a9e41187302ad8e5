"""Warnings stand where the user decides: on standard error, under `warnings` in the JSON, and in the run's folder."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from routemoa.cli import cli
from routemoa.core.types import to_json
from routemoa.datasets.records import Record, read_records
from routemoa.evaluation.outcomes import load_run
from routemoa.judging.judge_model import read_judge_model
from routemoa.testing import FakeEndpoint

SEEN = "questions are among those that"


def routemoa(*args: object) -> Result:
    return CliRunner().invoke(cli, [str(a) for a in args])


def done(*args: object) -> Result:
    result = routemoa(*args)
    assert result.exit_code == 0, result.output
    return result


def records(start: int, count: int, prefix: str = "q") -> list[Record]:
    """`strong` is right on nine questions of ten, `middling` and `weak` on fewer of the same questions."""
    made = []
    for i in range(start, start + count):
        scores: dict[str, float | None] = {
            "strong": float(i % 10 != 0), "middling": float(i % 10 in (1, 2, 3, 4, 5)), "weak": float(i % 10 == 1),
        }  # fmt: skip
        texts: dict[str, str | None] = {m: f"The answer is {i if s else i + 1}." for m, s in scores.items()}
        made.append(Record(f"{prefix}{i}", "t", f"What is {i} times one?", scores, None, texts, str(i)))
    return made


def write(path: Path, lines: list[Any]) -> Path:
    path.write_bytes(b"".join(to_json(line) + b"\n" for line in lines))
    return path


@pytest.fixture(scope="module")
def scorer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    there = tmp_path_factory.mktemp("warnings")
    result = done("scorer", "train", write(there / "r.jsonl", records(0, 120)), "--out", there / "s")
    assert "warning: strong dominates this pool" in result.stderr
    return there / "s"


def test_scorer_evaluate_on_training_records(scorer: Path, tmp_path: Path) -> None:
    # half of them again, under other ids
    test, out = write(tmp_path / "t.jsonl", records(60, 120, "new")), tmp_path / "f.json"
    result = done("scorer", "evaluate", scorer, test, "--json", out)
    figures = json.loads(out.read_text())
    assert f"60 of 120 {SEEN} the scorer in {scorer} was trained on" in figures["warnings"][0]
    assert f"warning: {figures['warnings'][0]}" in result.stderr
    assert "warning" not in result.stdout
    other = done("scorer", "evaluate", scorer, write(tmp_path / "o.jsonl", records(200, 80)))
    assert SEEN not in other.stderr


def test_what_a_scorer_has_learned_counts_as_trained(scorer: Path, tmp_path: Path) -> None:
    from shutil import copytree

    copy = Path(copytree(scorer, tmp_path / "copy"))
    learned = write(tmp_path / "l.jsonl", records(500, 30))
    assert SEEN not in done("scorer", "evaluate", copy, learned).stderr
    done("scorer", "learn", copy, learned)
    assert f"all 30 {SEEN}" in done("scorer", "evaluate", copy, learned).stderr


def test_evaluate_warns_of_scorer_judge_and_dominance_and_the_report_shows_it(scorer: Path, tmp_path: Path) -> None:
    train, policy = write(tmp_path / "train.jsonl", records(0, 60)), tmp_path / "policy.toml"
    done("judge", "fit", train, "--out", tmp_path / "judge.json")
    assert read_judge_model(tmp_path / "judge.json").models == ("strong", "middling", "weak")
    policy.write_text('[mixture]\njudge = "judge.json"\n')
    out, run = tmp_path / "f.json", tmp_path / "run"
    test = write(tmp_path / "t.jsonl", records(40, 120))
    result = done("evaluate", test, "--scorer", scorer, "--policy", policy, "--json", out, "--out", run)
    overlap, judge, routers, dominance = json.loads(out.read_text())["warnings"]
    assert "no router helps here" in routers
    assert f"80 of 120 {SEEN} the scorer" in overlap
    assert f"20 of 120 {SEEN} the judge model was trained on" in judge
    assert "strong dominates this pool" in dominance
    assert "the mixture differs from it by" in dominance
    for warning in (overlap, judge, routers, dominance):
        assert f"warning: {warning}" in result.stderr
    assert load_run(run).warnings == (overlap, judge, routers)
    shown = done("report", run, "--json", tmp_path / "report.json")
    assert f"warning: {overlap}" in shown.stderr
    assert "What to do" in shown.stdout
    assert "- Use `single:strong`: it dominates this pool" in shown.stdout
    assert json.loads((tmp_path / "report.json").read_text())["warnings"] == [overlap, judge, routers, dominance]
    pytest.importorskip("jinja2")
    pytest.importorskip("matplotlib")
    done("report", run, "--html", tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "80 of 120 questions are among those" in page
    assert "use <code>single:strong</code>" in page


def test_a_judge_file_of_an_earlier_version_is_silently_fine(scorer: Path, tmp_path: Path) -> None:
    (tmp_path / "judge.json").write_text('{"judges": {"strong": {"bias": 0.5}}}')
    (tmp_path / "policy.toml").write_text('[mixture]\njudge = "judge.json"\n')
    test = write(tmp_path / "t.jsonl", records(300, 60))
    assert SEEN not in done("evaluate", test, "--scorer", scorer, "--policy", tmp_path / "policy.toml").stderr


def pool_file(folder: Path, url: str, scorer: Path | None, extra: str = "") -> Path:
    file = folder / "pool.toml"
    models = "".join(
        f'[[model]]\nname = "{m}"\nendpoint = "{url}"\ninput_price = 0.0\noutput_price = 0.0\n'
        for m in ("strong", "middling", "weak")
    )
    file.write_text(models + (f'[scorer]\npath = "{scorer}"\n' if scorer else "") + extra)
    return file


def reply(body: dict[str, Any]) -> str:
    text = body["messages"][-1]["content"]
    number = int(text.split("What is ")[1].split(" ")[0])
    right = {"strong": number % 10 != 0, "middling": number % 10 in (1, 2, 3), "weak": number % 10 == 1}
    return f"The answer is {number if right[body['model']] else number + 1}."


async def test_bench_warns_before_and_keeps_it_in_the_run(scorer: Path, tmp_path: Path) -> None:
    keys = ("id", "task", "query", "reference")
    task = write(tmp_path / "t.jsonl", [{k: getattr(r, k) for k in keys} for r in records(115, 10)])
    async with FakeEndpoint(reply) as endpoint:
        pool, out, figures = pool_file(tmp_path, endpoint.url, scorer), tmp_path / "run", tmp_path / "f.json"
        options = ("bench", task, "--pool", pool, "--out", out, "--json", figures, "--methods")
        result = await asyncio.to_thread(done, *options, "routemoa,single:strong")
        warning = f"5 of 10 {SEEN} the scorer in {scorer} was trained on"
        assert result.stderr.index(warning) < result.stderr.index("10 questions, 2 methods")
        assert warning in json.loads(figures.read_text())["warnings"][0]
        assert warning in load_run(out).warnings[0]
        alone = await asyncio.to_thread(done, *options[:4], "--methods", "single:weak", "--out", tmp_path / "other")
        assert SEEN not in alone.stderr  # it asks no scorer


async def test_collect_reads_csv_and_names_a_dominating_model(tmp_path: Path) -> None:
    rows = "".join(f"What is {i} times one?,{i}\n" for i in range(1, 121))
    (tmp_path / "mine.csv").write_text("question,answer\n" + rows)
    async with FakeEndpoint(reply) as endpoint:
        pool, out = pool_file(tmp_path, endpoint.url, None), tmp_path / "r.jsonl"
        options = ("collect", tmp_path / "mine.csv", "--pool", pool, "--out", out)
        result = await asyncio.to_thread(done, *options, "--json")
        assert "read question as query, answer as reference" in result.stderr
        assert result.stderr.count("read question as query") == 1
        (warning,) = json.loads(result.stdout)["warnings"]
        assert "strong dominates this pool, and a mixture will not help here: use `single:strong`" in warning
        assert f"warning: {warning}" in result.stderr
        assert next(read_records(out)).reference == "1"
        again = await asyncio.to_thread(done, *options)
        assert "nothing is left to do" in again.stderr
        assert f"warning: {warning}" in again.stderr
        assert len(endpoint.requests) == 360


async def test_bench_reads_csv(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("id;query;reference\na;What is 3 times one?;3\n")
    async with FakeEndpoint(reply) as endpoint:
        pool = pool_file(tmp_path, endpoint.url, None)
        options = ("--pool", pool, "--methods", "single:strong", "--out", tmp_path / "o")
        result = await asyncio.to_thread(done, "bench", tmp_path / "mine.csv", *options)
    assert load_run(tmp_path / "o").name == "mine"
    assert "100.0%" in result.stdout


def test_names_from_foreign_files_obey_no_terminal(tmp_path: Path) -> None:
    def renamed(record: Record) -> Record:
        scores = {"\x1b[31mbad\n" if m == "strong" else m: s for m, s in record.scores.items()}
        return Record(record.id, record.task, record.query, scores)

    train = write(tmp_path / "r.jsonl", [renamed(r) for r in records(0, 80)])
    result = done("scorer", "train", train, "--out", tmp_path / "s")
    (line,) = (line for line in result.stderr.splitlines() if line.startswith("warning: "))
    assert "bad  dominates this pool" in line
    assert "[31m" not in line
    assert "\x1b" not in line


# --- pools


def test_pool_show_says_what_each_part_does(scorer: Path, tmp_path: Path) -> None:
    pool = pool_file(tmp_path, "http://127.0.0.1:9/v1", scorer, "[limits]\nmax_cost = 0.01\nmax_seconds = 20\n")
    result = done("pool", "show", "--pool", pool)
    *_, scorer_line, judge, limits, mixture = result.stdout.splitlines()
    assert scorer_line.startswith(f"scorer: {scorer}, knows 3 of 3 models: predicts from the query how likely")
    assert judge.startswith("judge: the default: weighs agreement")
    assert limits.startswith("limits: at most $0.01, at most 20 s a request")
    assert mixture.startswith("mixture: at most 9 layers")
    assert mixture.endswith("stops when sure")
    assert result.stderr == ""
    plain = json.loads(done("pool", "show", "--pool", pool, "--json").stdout)
    assert plain["scorer"] == {"path": str(scorer), "known": ["strong", "middling", "weak"]}
    assert plain["limits"]["max_cost"] == 0.01
    assert plain["limits"]["max_calls"] is None
    assert (plain["judge"], plain["tenants"], plain["warnings"]) == (None, 0, [])


def test_pool_show_and_check_warn_of_what_does_not_fit(scorer: Path, tmp_path: Path) -> None:
    file = tmp_path / "pool.toml"
    at = 'endpoint = "http://127.0.0.1:9/v1"'
    (tmp_path / "judge.json").write_bytes(msgspec.json.encode({"peer_judges": {"other": {"bias": 0.5}}}))
    file.write_text(
        f'[[model]]\nname = "qwen2.5-7b"\n{at}\n[[model]]\nname = "qwen3-32b"\n{at}\n'
        f'[mixture]\njudge = "judge.json"\n[scorer]\npath = "{scorer}"\n'
    )
    result = done("pool", "show", "--pool", file)
    family, unknown, judge = (line for line in result.stderr.splitlines() if line.startswith("warning: "))
    assert "both models are of one family (qwen)" in family
    assert "knows none of these models (it knows strong, middling, weak)" in unknown
    assert f"--pool {file}" in unknown
    assert "is of another pool: it was fitted on other" in judge
    assert "knows 0 of 2 models" in result.stdout
    for command in ("show", "check"):
        plain = json.loads(routemoa("pool", command, "--pool", file, "--json").stdout)
        assert [f"warning: {w}" for w in plain["warnings"]] == [family, unknown, judge]
