"""Check that a batch answers each row exactly once, whatever is killed, and spends no more than it may.

    .venv/bin/python benchmarks/batch.py [--rows 5000] [--kills 5] [--json benchmarks/results/batch.json]
    .venv/bin/python benchmarks/batch.py --engine ray      # two raylets on this machine (extra ray)

The endpoints (faulty.py) fail in 5 % of the calls and count what they bill. `routemoa batch` runs on them with a limit
in dollars. With the local engine its process is killed (SIGKILL) again and again, with Ray a worker is killed every
10 s and the driver once; each time the same command goes on. At the end:

- every row has exactly one result, and every custom_id is in output.jsonl or errors.jsonl, once
- what the job says it spent is at most what the endpoints billed, and that is at most the spending plus what the job
  counts for calls that were cut off
- a job whose limit is half of that stops below it: the endpoints have billed no more than the limit (overshoot 0)
- memory stays flat: the process is no larger at the end than at a tenth of its rows, but for 24 MB

Rows for each second of CPU time that all processes of the job took stand beside. Exits with 1 when one does not hold.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from time import monotonic
from typing import Any

import psutil
from bars import finish
from faulty import Faults, Member, Spec
from served import Running, endpoints

MEMBERS = tuple(
    Member(name, 5.0 * price, 20.0 * price, first_token=0.02, between=0.002, right=0.8)
    for name, price in (("mini", 0.2), ("middle", 1.0), ("grand", 3.0))
)
FAULTS = Faults(refused=0.02, reset=0.01, cut=0.01, garbage=0.005, error=0.005)
FLAT_BYTES = 24 * 2**20
LOOK_SECONDS = 0.25
PARTS = {"RowWorker": "worker", "Keeper": "keeper", "routemoa batch": "command"}  # in a command line -> part of a job


@dataclass
class Watch:
    """What the processes of a job took, over all of its parts."""

    seconds: float = 0.0
    kills: int = 0
    worker_seconds: float = 10.0  # between two kills of a Ray worker
    sizes: list[tuple[int, int]] = field(default_factory=list)  # rows so far and bytes of the largest process
    seen: dict[int, tuple[str, float]] = field(
        default_factory=dict
    )  # process -> its part, CPU seconds at the last look

    def cpu_of_parts(self) -> dict[str, float]:
        """CPU seconds of all processes, by what they are."""
        parts: dict[str, float] = {}
        for part, seconds in self.seen.values():
            parts[part] = parts.get(part, 0.0) + seconds
        return {part: round(seconds, 1) for part, seconds in parts.items()}


def write_input(path: Path, rows: int) -> None:
    random = Random(0)
    with open(path, "w", encoding="utf-8") as file:
        for i in range(rows):
            text = f"req-{i:06d}: What is {random.randint(1, 999)} + {random.randint(1, 999)}?"
            body = {"model": "routemoa", "messages": [{"role": "user", "content": text}]}
            row = {"custom_id": f"row-{i}", "method": "POST", "url": "/v1/chat/completions", "body": body}
            file.write(json.dumps(row) + "\n")


def write_pool(path: Path, port: int) -> None:
    path.write_text(
        "".join(
            f'[[model]]\nname = "{m.name}"\nendpoint = "http://127.0.0.1:{port}/{m.name}/v1"\n'
            f"input_price = {m.input_price}\noutput_price = {m.output_price}\nprior = {m.right}\n"
            f"parameters = {{max_tokens = 64}}\n"
            for m in MEMBERS
        )
    )


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


async def run(
    command: list[str], count: RowCount, roots: list[psutil.Process], watch: Watch, after: float | None = None
) -> int | None:
    """Run the command; kill it after so many seconds, where given. Return its status, None where it was killed."""
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    began = last_kill = monotonic()
    own = [*roots, psutil.Process(process.pid)]
    waiting = asyncio.create_task(process.communicate())
    while not waiting.done():
        await asyncio.wait({waiting}, timeout=LOOK_SECONDS)
        rows = await asyncio.to_thread(count.update)
        workers = await asyncio.to_thread(look, own, watch, rows)
        if roots and workers and 0 < watch.worker_seconds < monotonic() - last_kill:
            with suppress(psutil.Error):
                Random(watch.kills).choice(workers).kill()
            watch.kills, last_kill = watch.kills + 1, monotonic()
        if after is not None and monotonic() - began > after and rows and process.returncode is None:
            process.send_signal(signal.SIGKILL)
            await waiting
            watch.seconds += monotonic() - began
            return None
    watch.seconds += monotonic() - began
    said = (await waiting)[1].decode()
    if process.returncode:
        print(f"ended with {process.returncode}: {said[-1500:]}", file=sys.stderr)
    return process.returncode


def check_results(folder: Path, rows: int) -> list[str]:
    """Return what is wrong with the results."""
    missed = []
    numbers: Counter[int] = Counter()
    ids: Counter[str] = Counter()
    for name in ("results.jsonl", "failed.jsonl"):
        with open(folder / name, "rb") as file:
            for line in file:
                row = json.loads(line)
                numbers[row["row"]] += 1
                if row["id"] != f"row-{row['row']}":
                    missed.append(f"row {row['row']} has the result of {row['id']}")
    for name in ("output.jsonl", "errors.jsonl"):
        with open(folder / name, "rb") as file:
            ids.update(json.loads(line)["custom_id"] for line in file)
    if len(numbers) != rows or set(numbers.values()) != {1}:
        missed.append(f"{len(numbers)} of {rows} rows have results, {sum(n > 1 for n in numbers.values())} several")
    if len(ids) != rows or set(ids.values()) != {1}:
        missed.append(f"{len(ids)} of {rows} custom_ids are in the output files")
    return missed


def find_growth(watch: Watch, rows: int) -> int:
    """Return by how many bytes the largest process grew from a tenth of the rows to the end."""
    early = [size for done, size in watch.sizes if rows * 0.1 <= done <= rows * 0.3]
    late = [size for done, size in watch.sizes if done >= rows * 0.8]
    return max(late, default=0) - max(early, default=0) if early and late else 0


@contextmanager
def two_nodes(engine: str) -> Iterator[tuple[list[str], list[psutil.Process]]]:
    """Start a cluster of two raylets for Ray; yield the options and the processes of it."""
    if engine == "local":
        yield [], []
        return
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        cluster.add_node(num_cpus=1)
        cluster.wait_for_nodes()
        yield ["--engine", "ray", "--address", cluster.address], [psutil.Process()]
    finally:
        cluster.shutdown()  # type: ignore[no-untyped-call]


async def billed(upstream: Running) -> float:
    return sum(bill.dollars for bill in await upstream.bills())


async def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    source, pool, out = folder / "in.jsonl", folder / "pool.toml", folder / "out"
    write_input(source, options.rows)
    watch, random, count = Watch(worker_seconds=options.worker_seconds), Random(options.seed), RowCount(out)
    async with endpoints(Spec(MEMBERS, FAULTS, options.seed), folder) as upstream:
        write_pool(pool, upstream.port)
        with two_nodes(options.engine) as (extra, roots):
            base = [sys.executable, "-m", "routemoa", "batch", str(source), "--pool", str(pool), "--json", *extra]
            base += ["--concurrency", str(options.concurrency)]
            whole = [*base, "--out", str(out), "--max-cost", "1000"]
            kills = 0
            for _ in range(options.kills if options.engine == "local" else min(1, options.kills)):
                if await run(whole, count, roots, watch, options.part * random.uniform(0.5, 1.5)) is not None:
                    break
                kills += 1
                print(f"killed {kills} times, {count.update()} rows are done", file=sys.stderr)
            shell = ["/bin/sh", "-c", 'out=$1; shift; exec "$@" > "$out"', "sh", str(folder / "report.json"), *whole]
            status = await run(shell, count, roots, watch)
            report = json.loads(await asyncio.to_thread((folder / "report.json").read_text))
            bills = await billed(upstream)
            missed = [f"the last part ended with status {status}"] if status else []
            missed += [*check_results(out, options.rows), *check_bills(report, bills)]
            await upstream.forget()
            limit = bills / 2
            half = [*base, "--out", str(folder / "half"), "--max-cost", f"{limit:.6f}"]
            status = await run(half, RowCount(folder / "half"), [], Watch())
            spent = await billed(upstream)
    missed += [f"a job with half the budget ended with {status}"] if status != 1 else []
    missed += [f"overshoot: ${spent:.6f} of ${limit:.6f}"] if spent > limit else []
    cpu = sum(seconds for _, seconds in watch.seen.values())
    growth = find_growth(watch, options.rows)
    missed += [f"memory grew by {growth / 2**20:.0f} MB"] if growth > FLAT_BYTES else []
    return {
        "rows": options.rows,
        "engine": options.engine,
        "machine": platform.platform(),
        "kills": kills,
        "worker_kills": watch.kills,
        "seconds": round(watch.seconds, 1),
        "cpu_seconds": round(cpu, 1),
        "cpu_seconds_of": watch.cpu_of_parts(),
        "rows_per_cpu_second": round(options.rows / cpu, 1) if cpu else None,
        "report": report,
        "billed": bills,
        "limit": limit,
        "billed_under_limit": spent,
        "overshoot": max(0.0, spent - limit),
        "growth_bytes": growth,
        "load": psutil.getloadavg(),
        "missed": missed,
    }


def check_bills(report: dict[str, Any], bills: float) -> list[str]:
    """Return what is wrong with what the job says that it spent, beside what the endpoints billed."""
    missed, rounding = [], 1e-6 * bills
    if report["cost"] > bills + rounding:
        missed.append(f"the job says ${report['cost']:.6f}, and the endpoints billed ${bills:.6f}")
    if bills > report["cost"] + report["uncertain"] + rounding:
        missed.append(f"billed ${bills:.6f}, more than ${report['cost']:.6f} and ${report['uncertain']:.6f}")
    return missed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=5000)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--part", type=float, default=8.0, help="mean seconds between two kills of the job")
    parser.add_argument("--worker-seconds", type=float, default=10.0, help="between two kills of a Ray worker; 0: none")
    parser.add_argument("--concurrency", type=int, default=32)
    parser.add_argument("--engine", choices=["local", "ray"], default="local")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        results = asyncio.run(measure(options, Path(folder)))
    print(json.dumps(results, indent=2))
    finish(results, options.json)


if __name__ == "__main__":
    main()
