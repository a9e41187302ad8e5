"""A crowd is served or told when to come back: a small run of benchmarks/crowd.py, with few descriptors."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests import ROOT


@pytest.mark.alone
def test_a_crowd_gets_answers_or_is_told_when_to_return(tmp_path: Path) -> None:
    found = tmp_path / "crowd.json"
    size = ["--streams", "500", "--seconds", "5", "--few", "20", "--unloaded", "3", "--stream-seconds", "2"]
    command = [sys.executable, str(ROOT / "benchmarks" / "crowd.py"), *size, "--hard", "--json", str(found)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert found.exists(), done.stderr
    figures = json.loads(found.read_text())["figures"]
    loaded, unloaded = figures["loaded"], figures["unloaded"]
    assert loaded["of_our_making"] == unloaded["of_our_making"] == {}, done.stdout
    assert loaded["refused_without_retry_after"] == 0, done.stdout
    assert unloaded["codes"].get("overloaded") is None, "what fits is not refused"
    assert sum(loaded["served"].values()) > 50, done.stdout
    assert loaded["seconds_without_fault"]["p50"] < 3 * unloaded["seconds_without_fault"]["p50"], done.stdout
    assert figures["recovery_s"] < 5, done.stdout
    assert figures["log"]["tracebacks"] == 0, done.stdout
    assert figures["log"]["lines"] < 100, done.stdout
