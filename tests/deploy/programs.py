"""Finds the programs that the files of deploy/ are for: on the path, or in .venv-deploy (`make test-deploy`)."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOLS = ROOT / ".venv-deploy/bin"


def find_program(name: str, how: str = "run  make test-deploy") -> str:
    """Return the path of a program; skip the test, by its name, where there is none."""
    found = shutil.which(name, path=os.pathsep.join([str(TOOLS), os.environ["PATH"]]))
    if found is None:
        pytest.skip(f"no {name} here: {how}")
    return found


def run(*command: str | Path, cwd: Path = ROOT, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, with these variables beside the others."""
    environment = os.environ | (env or {})
    return subprocess.run(
        list(map(str, command)), cwd=cwd, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
