"""A job on a real Ray cluster of two nodes: the folder, the dollars and the budget are those of the local engine."""

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
from urllib.parse import urlsplit

import pytest
from click.testing import CliRunner

from routemoa.cli import cli
from routemoa.core.errors import ConfigError
from tests.gateway.batches.job_setup import chat_row, endpoint_in_thread, read_lines, write_pool, write_rows
from tests.ray_cluster import RayCluster

pytest.importorskip("ray", reason="needs the extra [ray]")


def start(*args: object) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "routemoa", "batch", *map(str, args), "--json", "--engine", "ray"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def report_of(process: subprocess.Popen[bytes], status: int = 0) -> dict[str, Any]:
    out, said = process.communicate(timeout=120)
    assert process.returncode == status, said.decode()
    report: dict[str, Any] = json.loads(out)
    return report


def test_each_row_once_whatever_is_killed_and_no_overshoot(ray_cluster: RayCluster, tmp_path: Path) -> None:
    """A worker is killed, then the command; the command is run again, with too small a budget first."""
    seen: Counter[str] = Counter()

    def reply(body: dict[str, Any]) -> str:
        seen[f"{body['model']} {body['messages'][-1]['content']}"] += 1
        time.sleep(0.005)
        return "The answer is 4."

    count, price = 120, 0.011  # dollars of a call: 7 words in, 4 out
    with endpoint_in_thread(reply) as endpoint:
        pool = write_pool(tmp_path / "pool.toml", endpoint.url, names=("a",))
        rows = (chat_row(f"r{i}", f"Question {i}: 2 + 2 is what?") for i in range(count))
        source, out = write_rows(tmp_path / "in.jsonl", *rows), tmp_path / "out"
        args = (source, "--pool", pool, "--out", out, "--address", ray_cluster.address, "--concurrency", 16)

        stopped = report_of(start(*args, "--max-cost", 0.8), status=1)
        assert 0 < stopped["answered"] < count
        assert sum(seen.values()) * price <= 0.8  # overshoot 0
        assert stopped["cost"] == pytest.approx(sum(seen.values()) * price)

        driver = start(*args, "--max-cost", 50)
        asked = sum(seen.values())
        while sum(seen.values()) < asked + 20:
            time.sleep(0.05)
        ray_cluster.find_workers("RowWorker")[0].kill()
        asked = sum(seen.values())
        while sum(seen.values()) < asked + 20:  # the other worker goes on
            time.sleep(0.05)
        os.kill(driver.pid, signal.SIGKILL)
        driver.communicate()
        done = report_of(start(*args, "--max-cost", 50))
    assert (done["answered"], done["failed"]) == (count, 0)
    results = read_lines(out / "results.jsonl")
    assert sorted(row["row"] for row in results) == list(range(count))
    assert len({line["custom_id"] for line in read_lines(out / "output.jsonl")}) == count
    assert len(read_lines(out / "calls.jsonl")) == 1  # the totals: no answer is kept once all rows have results
    assert sum(n - 1 for n in seen.values()) <= 2 * 2 * 24  # rows that were under way when something was killed
    billed = price * sum(seen.values())
    assert done["cost"] <= billed + 1e-9
    assert billed <= done["cost"] + done["uncertain"] + 1e-9


def test_an_address_without_a_cluster_is_said(tmp_path: Path) -> None:
    pool = write_pool(tmp_path / "pool.toml", "http://127.0.0.1:9/v1")
    source = write_rows(tmp_path / "in.jsonl", chat_row("x"))
    args = (source, "--pool", pool, "--out", tmp_path / "out", "--yes", "--engine", "ray", "--address")
    with endpoint_in_thread(lambda _: "") as other:  # such as Ray's dashboard
        for port, why in (("9", "refused"), (urlsplit(other.url).port, "another program listens there")):
            done = CliRunner().invoke(cli, ["batch", *map(str, args), f"127.0.0.1:{port}"])
            assert isinstance(done.exception, ConfigError)
            assert "no Ray cluster there" in str(done.exception)
            assert why in str(done.exception)
