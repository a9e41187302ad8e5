"""`routemoa batch` from the command line: exactly one result a row, within the budget, after any end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from routemoa.cli import cli
from routemoa.core.errors import BudgetExceeded, ConfigError
from routemoa.datasets.jsonl import RecordsError
from routemoa.testing import FakeEndpoint, Fault
from tests.gateway.batches.job_setup import chat_row, endpoint_in_thread, read_lines, small_disk, write_pool, write_rows


def batch(*args: object) -> Result:
    return CliRunner().invoke(cli, ["batch", *(str(a) for a in args)])


@pytest.fixture(scope="module")
def endpoint() -> Iterator[FakeEndpoint]:
    with endpoint_in_thread() as served:
        yield served


@pytest.fixture
def pool(endpoint: FakeEndpoint, tmp_path: Path) -> Path:
    return write_pool(tmp_path / "pool.toml", endpoint.url)


def results_of(out: Path) -> dict[str, dict[str, Any]]:
    """Return the results by id; each row has one."""
    rows = [*read_lines(out / "results.jsonl"), *read_lines(out / "failed.jsonl")]
    assert max(Counter(row["row"] for row in rows).values()) == 1
    return {row["id"]: row for row in rows}


def test_a_batch_file_gets_results_and_openais_files(pool: Path, tmp_path: Path) -> None:
    rows: list[dict[str, Any] | str] = [
        *(chat_row(f"r{i}") for i in range(4)),
        chat_row("r1"),
        "no row",
        chat_row("m", model="a"),
        chat_row("n", model="nope"),
        {"nothing": 1},
    ]
    source, out = write_rows(tmp_path / "in.jsonl", *rows), tmp_path / "out"
    done = batch(source, "--pool", pool, "--out", out, "--yes", "--json")
    assert done.exit_code == 3, done.output  # some rows failed
    report = json.loads(done.stdout)
    assert (report["rows"], report["answered"], report["failed"], report["remaining"]) == (9, 5, 4, 0)
    first = results_of(out)["r0"]
    assert (first["answer"], first["error"], first["trace"]["method"]) == ("The answer is 4.", None, "routemoa")
    assert sum(row["cost"] for row in read_lines(out / "results.jsonl")) == pytest.approx(report["cost"])
    output, errors = read_lines(out / "output.jsonl"), read_lines(out / "errors.jsonl")
    assert {line["custom_id"] for line in output} == {"r0", "r1", "r2", "r3", "m"}
    assert output[0]["response"]["body"]["choices"][0]["message"]["content"] == "The answer is 4."
    assert {line["error"]["code"] for line in errors} == {"duplicate_id", "invalid_request", "model_not_found"}
    assert "and 1 other reason\n" in batch(source, "--pool", pool, "--out", out, "--yes").stderr
    assert "repeat them with --retry-failed" not in done.stdout  # JSON alone


def test_questions_become_parquet_and_the_same_command_does_nothing_more(
    endpoint: FakeEndpoint, pool: Path, tmp_path: Path
) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    write_rows(folder / "a.jsonl", {"id": "1", "query": "2+2?"}, {"id": "2", "query": "2+3?"})
    (folder / "b.csv").write_text("id,question\n3,2+5?\n")
    args = (folder, "--pool", pool, "--out", out, "--yes", "--format", "parquet", "--method", "a", "--no-traces")
    assert batch(*args).exit_code == 0
    import pyarrow.parquet

    found = pyarrow.parquet.read_table(out / "results-00000.parquet").to_pylist()
    last = max(found, key=lambda r: r["id"])
    assert (last["id"], last["task"], last["answer"], last["trace"]) == ("3", "b", "The answer is 4.", None)
    asked = len(endpoint.requests)
    again = batch(*args)
    assert "nothing is left to do" in again.stderr
    assert len(endpoint.requests) == asked
    assert not (out / "output.jsonl").exists()


def test_failed_rows_are_apart_and_can_be_repeated(tmp_path: Path) -> None:
    broken = True

    def reply(body: dict[str, Any]) -> str | Fault:
        return Fault(status=400, message="no") if broken and "2" in body["messages"][-1]["content"] else "4"

    with endpoint_in_thread(reply) as endpoint:
        pool = write_pool(tmp_path / "pool.toml", endpoint.url, names=("a",))
        source = write_rows(tmp_path / "in.jsonl", *({"id": f"{i}", "query": f"Q{i}"} for i in range(4)))
        args = (source, "--pool", pool, "--out", tmp_path / "out", "--yes")
        done = batch(*args)
        assert done.exit_code == 3
        assert "3 answered, 1 failed" in done.stdout
        assert batch(*args[:-1], "--retry-failed").exit_code == 1  # without consent nothing is forgotten
        assert "no model could answer: a: HTTP 400: no" in done.stderr
        failed = read_lines(tmp_path / "out" / "failed.jsonl")
        assert [(f["id"], f["place"].rpartition(":")[2]) for f in failed] == [("2", "3")]
        broken = False
        asked = len(endpoint.requests)
        assert "4 answered, 0 failed" in batch(*args, "--retry-failed").stdout
        assert len(endpoint.requests) == asked + 1


def test_the_budget_holds_for_the_whole_job_and_more_of_it_goes_on(tmp_path: Path) -> None:
    """A call costs at most about $0.2 ($1 for 1,000 tokens) and 0.01 in the end."""
    with endpoint_in_thread() as endpoint:
        pool = write_pool(tmp_path / "pool.toml", endpoint.url, names=("a",))
        source = write_rows(tmp_path / "in.jsonl", *(chat_row(f"r{i}") for i in range(60)))
        args = (source, "--pool", pool, "--out", tmp_path / "out", "--json")
        stopped = batch(*args, "--max-cost", 0.4)
        assert isinstance(stopped.exception, BudgetExceeded)
        assert "run the same command again with a higher --max-cost to continue" in stopped.stderr
        report = json.loads(stopped.stdout)
        assert 0 < report["answered"] < 60
        assert report["cost"] <= 0.4
        assert len(endpoint.requests) * 0.009 == pytest.approx(report["cost"])
        done = batch(*args, "--max-cost", 5)
        assert done.exit_code == 0, done.output
        assert json.loads(done.stdout)["cost"] == pytest.approx(60 * 0.009)
        assert len(endpoint.requests) == 60  # nothing was paid for twice


def test_a_job_that_is_killed_goes_on_and_pays_for_no_finished_call_twice(tmp_path: Path) -> None:
    seen: Counter[str] = Counter()
    lock = threading.Lock()

    def reply(body: dict[str, Any]) -> str:
        with lock:
            seen[f"{body['model']} {body['messages'][-1]['content']}"] += 1
        return "The answer is 4."

    with endpoint_in_thread(reply, Fault(between=0.01)) as endpoint:
        pool = write_pool(tmp_path / "pool.toml", endpoint.url)
        source = write_rows(tmp_path / "in.jsonl", *(chat_row(f"r{i}", f"Question {i}: 2 + 2?") for i in range(60)))
        out = tmp_path / "out"
        command = [sys.executable, "-m", "routemoa", "batch", str(source), "--pool", str(pool), "--out", str(out)]
        command += ["--yes", "--concurrency", "4", "--json"]
        for kill in (signal.SIGKILL, signal.SIGINT):
            before = len(seen)
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            while len(seen) < before + 20 and process.poll() is None:
                time.sleep(0.02)
            process.send_signal(kill)
            said = process.communicate()[1].decode()
            assert process.returncode in (-9, 130), said
            assert kill == signal.SIGKILL or "run the same command again to continue" in said
            with open(out / "results.jsonl", "ab") as file:
                file.write(b'{"row": 59, "id":')  # torn, as a machine that stops leaves it
        done = subprocess.run(command, capture_output=True, check=True)
    report = json.loads(done.stdout)
    assert (report["answered"], report["failed"]) == (60, 0)
    assert set(results_of(out)) == {f"r{i}" for i in range(60)}
    again = sum(n - 1 for n in seen.values())
    assert again <= 2 * 4 * 2  # the rows that were under way, with two calls each
    billed = 0.012 * sum(seen.values())
    assert report["cost"] <= billed + 1e-9
    assert billed <= report["cost"] + report["uncertain"] + 1e-9


def test_what_cannot_be_done_is_said_in_one_line(pool: Path, tmp_path: Path) -> None:
    source = write_rows(tmp_path / "in.jsonl", chat_row("x"))
    out = tmp_path / "out"
    wrong: list[tuple[tuple[object, ...], str]] = [
        ((tmp_path / "missing.jsonl", "--out", out), "there is no such file or folder"),
        ((tmp_path, "--out", source), "choose another folder"),
        ((source, "--out", out, "--method", "gpt"), "--method: 'gpt' is unknown; known: routemoa, "),
        ((source, "--out", out), "add --max-cost DOLLARS, or --yes"),
    ]
    for args, said in wrong:
        found = batch(*args, "--pool", pool)
        assert isinstance(found.exception, ConfigError)
        assert said in str(found.exception)


def test_what_holds_no_row_to_ask_is_refused_before_anything_is_called(
    endpoint: FakeEndpoint, pool: Path, tmp_path: Path
) -> None:
    """Also one such file of a folder; a row that cannot be asked beside others fails alone."""
    folder, asked = tmp_path / "in", len(endpoint.requests)
    folder.mkdir()
    question, table = write_rows(folder / "a.jsonl", {"query": "2+2?"}), folder / "b.csv"
    table.write_text("name,city\nBob,Rome\n")
    unknown = write_rows(tmp_path / "unknown.jsonl", chat_row("x", model="gpt"), chat_row("y", stream=True))
    wrong: list[tuple[Path, *tuple[str, ...]]] = [
        (folder, "b.csv:1: the first line names no column query (or question, prompt, ", "but name, city"),
        (
            write_rows(tmp_path / "keys.jsonl", {"name": "Bob", "city": "Rome"}),
            "it has name, city, and a row has query",
        ),
        (unknown, "no row can be asked, of 2 rows; ", "unknown.jsonl:1: The model 'gpt' does not exist."),
        (write_rows(tmp_path / "array.jsonl", "[1, 2]"), "array.jsonl:1: not a JSON object"),
        (write_rows(tmp_path / "empty.jsonl"), "no row in it"),
    ]
    for source, *said in wrong:
        found = batch(source, "--pool", pool, "--out", tmp_path / "out", "--yes")
        assert isinstance(found.exception, ConfigError), found.output
        assert all(words in str(found.exception) for words in said), found.exception
    assert len(endpoint.requests) == asked
    assert not (tmp_path / "out").exists()
    write_rows(question, {"query": "2+2?"}, {"name": "Bob"})
    table.unlink()
    assert batch(folder, "--pool", pool, "--out", tmp_path / "out", "--yes").exit_code == 3


def test_a_folder_belongs_to_one_job(pool: Path, tmp_path: Path) -> None:
    source, out = write_rows(tmp_path / "in.jsonl", chat_row("x")), tmp_path / "out"
    assert batch(source, "--pool", pool, "--out", out, "--yes").exit_code == 0
    other = batch(source, "--pool", pool, "--out", out, "--yes", "--method", "a")
    assert "this job began with no --method" in str(other.exception)
    write_rows(source, chat_row("x"), chat_row("y"))
    changed = batch(source, "--pool", pool, "--out", out, "--yes")
    assert "holds the results of another input" in str(changed.exception)


@pytest.mark.alone
def test_memory_stays_the_same_however_many_rows_there_are(endpoint: FakeEndpoint, pool: Path, tmp_path: Path) -> None:
    """All rows but one fail before a call is made: what is measured is what reads rows and writes results."""
    sizes = []
    for rows in (1_000, 12_000):
        text = "x" * 2_000
        source = tmp_path / f"{rows}.jsonl"
        with open(source, "w") as file:
            for i in range(rows):
                file.write(json.dumps(chat_row(f"r{i}", text, model="none" if i else "a")) + "\n")
        script = "import atexit, resource, sys; from routemoa.cli import cli; "
        script += (
            "atexit.register(lambda: print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)); cli(sys.argv[1:])"
        )
        args = ["batch", str(source), "--pool", str(pool), "--out", str(tmp_path / f"out{rows}"), "--yes", "--json"]
        done = subprocess.run([sys.executable, "-c", script, *args], capture_output=True, check=False, env=os.environ)
        assert done.returncode == 3, done.stderr
        sizes.append(int(done.stdout.split()[-1]))
    assert sizes[1] - sizes[0] < 16_000  # kilobytes; the larger input has 25,000


def test_a_full_disk_is_said_and_costs_no_answer(pool: Path, tmp_path: Path) -> None:
    """First a place for the calls alone, then one for the results but not for OpenAI's files."""
    source, out = write_rows(tmp_path / "in.jsonl", *(chat_row(f"r{i}", model="a") for i in range(10))), tmp_path / "o"
    with small_disk(out, "16k") as resize:
        for size in ("20k", "24k", "28k", "32k", "36k", "40k"):
            resize(size)
            done = batch(source, "--pool", pool, "--out", out, "--max-cost", "100", "--concurrency", "1")
            is_said = isinstance(done.exception, RecordsError) and "make room for it" in str(done.exception)
            assert done.exit_code == 0 or is_said, done.exception
        resize("4m")
        done = batch(source, "--pool", pool, "--out", out, "--max-cost", "100", "--json")
        report = json.loads(done.stdout)
        assert (report["answered"], len(read_lines(out / "output.jsonl"))) == (10, 10)
        assert report["uncertain"] < 7 * 0.2  # at most a call for each full disk
