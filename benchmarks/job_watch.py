"""How far a batch job is, and what its processes take.

benchmarks/job_watch.py is imported by batch.py, and prints a line about a job every 10 s.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

import psutil

__all__ = ["RowCount", "Watch", "look"]

TELL_SECONDS = 10.0
PARTS = {"RowWorker": "worker", "Keeper": "keeper", "routemoa batch": "command"}  # in a command line -> part of a job


@dataclass
class Watch:
    """What the processes of a job took, over all of its parts."""

    seconds: float = 0.0
    kills: int = 0
    worker_kills: int = 0
    worker_seconds: float = 10.0  # between two kills of a Ray worker
    sizes: list[tuple[int, int]] = field(default_factory=list)  # rows so far and bytes of the largest process
    seen: dict[int, tuple[str, float]] = field(
        default_factory=dict
    )  # process -> its part, CPU seconds at the last look
    told: tuple[float, int] = field(default_factory=lambda: (monotonic(), 0))  # when, and how many rows there were

    @property
    def rows(self) -> int:
        """Rows that are done."""
        return self.sizes[-1][0] if self.sizes else 0

    def tell(self) -> None:
        """Print how far the job is, every 10 s."""
        (before, earlier), now = self.told, monotonic()
        if now - before >= TELL_SECONDS:
            rows, size = self.sizes[-1]
            speed = (rows - earlier) / (now - before)
            print(f"{rows:,} rows, {speed:.1f} rows/s, largest process {size / 2**20:.0f} MB", file=sys.stderr)
            self.told = now, rows

    def find_growth(self, rows: int) -> int:
        """Return by how many bytes the largest process grew from a tenth of so many rows to the end."""
        early = [size for done, size in self.sizes if rows * 0.1 <= done <= rows * 0.3]
        late = [size for done, size in self.sizes if done >= rows * 0.8]
        return max(late, default=0) - max(early, default=0) if early and late else 0

    def describe(self, rows: int) -> dict[str, Any]:
        """Return what was seen so far, of a job of so many rows."""
        cpu = sum(seconds for _, seconds in self.seen.values())
        return {
            "kills": self.kills,
            "worker_kills": self.worker_kills,
            "seconds": round(self.seconds, 1),
            "cpu_seconds": round(cpu, 1),
            "cpu_seconds_of": self.cpu_of_parts(),
            "rows_per_cpu_second": round(self.rows / cpu, 1) if cpu else None,
            "growth_bytes": self.find_growth(rows),
        }

    def cpu_of_parts(self) -> dict[str, float]:
        """CPU seconds of all processes, by what they are."""
        parts: dict[str, float] = {}
        for part, seconds in self.seen.values():
            parts[part] = parts.get(part, 0.0) + seconds
        return {part: round(seconds, 1) for part, seconds in parts.items()}


class RowCount:
    """Counts the results in a folder as they come."""

    def __init__(self, folder: Path) -> None:
        self._paths = {folder / name: 0 for name in ("results.jsonl", "failed.jsonl")}
        self.rows = 0

    def update(self) -> int:
        for path, offset in self._paths.items():
            if path.exists():
                with open(path, "rb") as file:
                    file.seek(offset)
                    data = file.read()
                self.rows += data.count(b"\n")
                self._paths[path] = offset + len(data)
        return self.rows


def look(roots: list[psutil.Process], watch: Watch, rows: int) -> list[psutil.Process]:
    """Note CPU and memory of a job's processes, all that this one started; return its Ray workers."""
    found, workers, largest = [p for p in roots if p.pid != os.getpid()], [], 0
    for root in roots:
        with suppress(psutil.Error):
            found += root.children(recursive=True)
    for process in {p.pid: p for p in found}.values():
        with suppress(psutil.Error):
            name = " ".join(process.cmdline())
            if "faulty.py" in name:
                continue
            times = process.cpu_times()
            part = next((label for word, label in PARTS.items() if word in name), "ray itself")
            watch.seen[process.pid] = part, times.user + times.system
            if part == "worker":
                workers.append(process)
            if part != "ray itself":
                largest = max(largest, process.memory_info().rss)
    watch.sizes.append((rows, largest))
    return workers
