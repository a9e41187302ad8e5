"""Install the libraries of a lock file and this package into the environment of the Python that runs this.

    .venv/bin/python .ci/install.py requirements.lock

Quiet, pip stands still for a minute; else it prints some three hundred lines. On a terminal this shows one line that
moves; elsewhere a line every few seconds. Where pip fails, all that it printed is shown.
"""

from __future__ import annotations

import re
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Iterable
from pathlib import Path

PIP = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--progress-bar", "off"]
LINE_SECONDS = 5.0  # between two lines where there is no terminal
TICK_SECONDS = 0.2
WIDTH = 78


class Progress:
    """What pip is doing: read from its output, shown with the seconds that have passed."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.text = "starting pip"
        self.output: list[str] = []
        self._found = 0
        self._installing: int | None = None
        self._before = count_installed()
        self._started = self._printed = time.monotonic()

    def read_all(self, lines: Iterable[str]) -> None:
        """Take pip's output."""
        for line in lines:
            self.read(line)

    def read(self, line: str) -> None:
        """Take a line of pip's output."""
        self.output.append(line)
        if match := re.match(r"(?:Collecting|Requirement already satisfied:|Processing \S*/)\s*([\w.]+)", line):
            self._found += 1
            self.text = f"{self._found} of {self.total}: {match[1]}"
        elif match := re.match(r"\s+Downloading ([\w.]+)-\S+ \(([^)]+)\)", line):
            self.text = f"{self._found} of {self.total}: downloading {match[1]} ({match[2]})"
        elif line.startswith("Installing collected packages:"):
            self._installing = line.count(",") + 1

    def show(self, *, end: bool = False) -> None:
        """Show the state."""
        if self._installing is not None and not end:
            done = min(count_installed() - self._before, self._installing)
            self.text = f"unpacking {done} of {self._installing}"
        seconds = time.monotonic() - self._started
        line = f"{seconds:4.0f} s  {self.text}"[:WIDTH]
        if sys.stdout.isatty():
            print(f"\r{line:<{WIDTH}}", end="\n" if end else "", flush=True)
        elif end or time.monotonic() - self._printed >= LINE_SECONDS:
            self._printed = time.monotonic()
            print(line, flush=True)


def count_installed() -> int:
    """Return how many libraries the environment holds."""
    return sum(1 for _ in Path(sysconfig.get_path("purelib")).glob("*.dist-info"))


def count_locked(lock: Path) -> int:
    """Return how many libraries of a lock file belong on this machine."""
    from pip._vendor.packaging.requirements import Requirement

    lines = re.findall(r"^([\w.-]+==[^\\\n]*?)\s*\\?$", lock.read_text("utf-8"), re.MULTILINE)
    markers = [Requirement(line).marker for line in lines]
    return sum(marker is None or marker.evaluate() for marker in markers)


def run_pip(arguments: list[str], progress: Progress) -> int:
    """Run pip, show its progress, and return its exit status."""
    with subprocess.Popen(
        [*PIP, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as pip:
        reader = threading.Thread(target=progress.read_all, args=(pip.stdout,))
        reader.start()
        while reader.is_alive():
            progress.show()
            reader.join(TICK_SECONDS)
        return pip.wait()


def main(lock: Path) -> int:
    """Install both; return pip's exit status."""
    progress = Progress(count_locked(lock))
    for arguments in (["--require-hashes", "-r", str(lock)], ["--no-deps", "--no-build-isolation", "-e", "."]):
        if status := run_pip(arguments, progress):
            print("".join(["\n", *progress.output]), file=sys.stderr)
            print("pip failed: see above. Run the same again to continue.", file=sys.stderr)
            return status
    progress.text = f"{count_installed()} libraries in {Path(sys.prefix).name}"
    progress.show(end=True)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(Path(sys.argv[1])))
    except KeyboardInterrupt:
        print("\ninterrupted; run the same again to continue", file=sys.stderr)
        sys.exit(130)
