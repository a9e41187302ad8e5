"""The contract's laws on a running server: a small run of benchmarks/contract.py, with its endpoints' count."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests import ROOT


@pytest.mark.alone
def test_no_contract_is_overshot(tmp_path: Path) -> None:
    found = tmp_path / "contract.json"
    options = ["--requests", "120", "--control", "0", "--at-once", "16", "--json", str(found)]
    command = [sys.executable, str(ROOT / "benchmarks" / "contract.py"), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert found.exists(), done.stderr
    figures = json.loads(found.read_text())["figures"]
    assert not any(figures["over"].values()), done.stdout
    assert figures["neither"] == {}, done.stdout
    assert figures["calls_left_running"] == figures["strangers"] == 0, done.stdout
    assert not any("internal_error" in code for code in figures["errors"]), done.stdout
    assert figures["answered"] > 30
    assert figures["errors_before_a_call"] > 5, "contracts too small for anything are refused before anything is spent"
    # Not 64 at once: so many at one moment wait .1 s before their own clocks start, and are half of so small a run.
    assert figures["late_over_5_percent"] <= 1, done.stdout
