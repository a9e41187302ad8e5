"""A server that is killed forgets no dollar: a small run of benchmarks/kill.py."""

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
    told = json.loads(found.read_text())
    assert told["missed"] == [], done.stdout
    assert told["requests"]["answered"] > 30
    assert all(sum(r["finished"].values()) > 0 for r in told["rounds"])
    assert done.returncode == 0, done.stdout + done.stderr
