"""A server that is killed loses no charge: a small run of benchmarks/kill.py."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests import ROOT


def test_totals_survive_sigkill(tmp_path: Path) -> None:
    found = tmp_path / "kill.json"
    command = [sys.executable, str(ROOT / "benchmarks" / "kill.py"), "--kills", "2", "--json", str(found)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert found.exists(), done.stderr
    results = json.loads(found.read_text())
    assert results["missed"] == [], done.stdout
    assert results["requests"]["answered"] > 30
    assert all(sum(r["finished"].values()) > 0 for r in results["rounds"])
    assert done.returncode == 0, done.stdout + done.stderr
