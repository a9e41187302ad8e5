"""Makes the clients' environments in .venv-clients: `python -m tests.clients.real.install`.

Each is made from a lock file; what is up to date is left alone. Where a lock cannot be installed as a whole, its
packages are tried one by one, and those that cannot be had are named: their clients are skipped.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Collection
from pathlib import Path
from time import monotonic

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
ENVIRONMENTS = ROOT / ".venv-clients"
PLUGIN = ROOT / "plugins" / "llm-routemoa"
LOCKS = {"python": "requirements", "aider": "requirements-aider"}


def program(environment: str) -> Path:
    """Return the interpreter of an environment; it may not exist."""
    if environment == "node":
        return Path(shutil.which("node") or ENVIRONMENTS / "node" / "node")
    return ENVIRONMENTS / environment / "bin" / "python"


def install_python(name: str, lock: str) -> None:
    """Make an environment of Python packages."""
    folder = ENVIRONMENTS / name
    uv = shutil.which("uv")
    if not program(name).exists():
        python = _find_python()
        _run([uv, "venv", "-q", "--python", python, str(folder)] if uv else [python, "-m", "venv", str(folder)])
    pip = [uv, "pip", "install", "-q", "--python", str(program(name))] if uv else [str(program(name)), "-m", "pip"]
    pip = pip if uv else [*pip, "install", "-q", "--disable-pip-version-check"]
    locked = HERE / f"{lock}.txt"
    if not _run([*pip, "--no-deps", "-r", str(locked)]):  # the lock names all: pip need not look for them
        for line in (HERE / f"{lock}.in").read_text().splitlines():
            if line and not line.startswith("#") and not _run([*pip, "-c", str(locked), line]):
                print(f"skipped: {line} cannot be had", flush=True)
    if name == "python" and not _run([*pip, "--no-deps", str(PLUGIN)]):
        print("skipped: llm-routemoa cannot be built", flush=True)


def _find_python() -> str:
    """Return a Python that all clients run on; aider needs one below 3.13."""
    names = [sys.executable] if sys.version_info < (3, 13) else ["python3.12", "python3.11", sys.executable]
    return next(found for found in map(shutil.which, names) if found)


def install_node() -> None:
    """Make the folder of Node packages, with our scripts in it: modules are found from a script's folder upwards."""
    folder = ENVIRONMENTS / "node"
    npm = shutil.which("npm")
    if not npm or not shutil.which("node"):
        print("skipped: there is no node here", flush=True)
        return
    folder.mkdir(exist_ok=True)
    for file in (HERE / "node").iterdir():
        shutil.copy(file, folder)
    if not _run([npm, "ci", "--silent", "--no-fund", "--no-audit", "--ignore-scripts"], folder):
        print("skipped: the packages of node cannot be had", flush=True)


def _run(command: list[str | None], folder: Path = ROOT) -> bool:
    """Run a command; say what it said where it failed."""
    done = subprocess.run([c for c in command if c], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"{' '.join(c for c in command if c)[:120]}: {(done.stderr or done.stdout)[-500:]}", flush=True)
    return not done.returncode


def _digest(*paths: Path) -> str:
    """Return what the inputs of an environment hold."""
    files = sorted(f for path in paths for f in (path.rglob("*") if path.is_dir() else [path]) if f.is_file())
    kept = [f for f in files if not re.search(r"__pycache__|_cache/|\.egg-info|/build/", str(f))]
    return hashlib.sha256(b"".join(f.read_bytes() for f in kept)).hexdigest()


def make_environments(names: Collection[str] = ("python", "aider", "node")) -> None:
    """Make every environment of the names whose lock has changed."""
    ENVIRONMENTS.mkdir(exist_ok=True)
    works: list[tuple[str, list[Path], Callable[[], None]]] = [
        ("python", [HERE / "requirements.txt", PLUGIN], lambda: install_python("python", LOCKS["python"])),
        ("aider", [HERE / "requirements-aider.txt"], lambda: install_python("aider", LOCKS["aider"])),
        ("node", [HERE / "node"], install_node),
    ]
    for name, inputs, make in works:
        stamp, now = ENVIRONMENTS / f"{name}.stamp", _digest(*inputs)
        if name not in names or (stamp.exists() and stamp.read_text() == now):
            continue
        began = monotonic()
        make()
        stamp.write_text(now)
        print(f"{name}: {monotonic() - began:.0f} s", flush=True)


if __name__ == "__main__":
    make_environments()
