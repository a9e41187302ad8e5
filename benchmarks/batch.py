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
Every 10 s a line says how far the job is. After Ctrl-C the JSON has what is known so far, and `"interrupted": true`.
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
from pathlib import Path
from random import Random
from time import monotonic
from typing import Any

import psutil
from bars import finish
from faulty import Faults, Member, Spec
from job_watch import RowCount, Watch, look
from served import Running, endpoints

MEMBERS = tuple(
    Member(name, 5.0 * price, 20.0 * price, first_token=0.02, between=0.002, right=0.8)
    for name, price in (("mini", 0.2), ("middle", 1.0), ("grand", 3.0))
)
FAULTS = Faults(refused=0.02, reset=0.01, cut=0.01, garbage=0.005, error=0.005)
FLAT_BYTES = 24 * 2**20
LOOK_SECONDS = 0.25
SOME_FAILED = 3


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


async def run(
    command: list[str], count: RowCount, roots: list[psutil.Process], watch: Watch, after: float | None = None
) -> int | None:
    """Run the command; kill it after so many seconds, where given. Return its status, None where it was killed."""
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    began = last_kill = monotonic()
    own = [*roots, psutil.Process(process.pid)]
    waiting = asyncio.create_task(process.communicate())
    try:
        while not waiting.done():
            await asyncio.wait({waiting}, timeout=LOOK_SECONDS)
            rows = await asyncio.to_thread(count.update)
            workers = await asyncio.to_thread(look, own, watch, rows)
            watch.tell()
            if roots and workers and 0 < watch.worker_seconds < monotonic() - last_kill:
                with suppress(psutil.Error):
                    Random(watch.worker_kills).choice(workers).kill()
                watch.worker_kills, last_kill = watch.worker_kills + 1, monotonic()
            if after is not None and monotonic() - began > after and rows and process.returncode is None:
                process.send_signal(signal.SIGKILL)
                await waiting
                return None
    finally:
        watch.seconds += monotonic() - began
        if process.returncode is None:  # Ctrl-C
            with suppress(ProcessLookupError):
                process.terminate()
            await process.wait()
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


@contextmanager
def start_nodes(engine: str, count: int = 2) -> Iterator[tuple[list[str], list[psutil.Process]]]:
    """Start a cluster of so many raylets of a CPU each for Ray; yield the options and the processes of it."""
    if engine == "local":
        yield [], []
        return
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        for _ in range(count - 1):
            cluster.add_node(num_cpus=1)
        cluster.wait_for_nodes()
        yield ["--engine", "ray", "--address", cluster.address], [psutil.Process()]
    finally:
        cluster.shutdown()  # type: ignore[no-untyped-call]


async def billed(upstream: Running) -> float:
    return sum(bill.dollars for bill in await upstream.bills())


async def measure(options: argparse.Namespace, folder: Path, watch: Watch, results: dict[str, Any]) -> None:
    """Run the job, and one with half of its budget; what is known goes into `results` as it comes."""
    source, pool, out = folder / "in.jsonl", folder / "pool.toml", folder / "out"
    write_input(source, options.rows)
    random, count, missed = Random(options.seed), RowCount(out), results["missed"]
    async with endpoints(Spec(MEMBERS, FAULTS, options.seed), folder) as upstream:
        write_pool(pool, upstream.port)
        with start_nodes(options.engine) as (extra, roots):
            base = [sys.executable, "-m", "routemoa", "batch", str(source), "--pool", str(pool), "--json", *extra]
            base += ["--concurrency", str(options.concurrency)]
            whole = [*base, "--out", str(out), "--max-cost", "1000"]
            for _ in range(options.kills if options.engine == "local" else min(1, options.kills)):
                if await run(whole, count, roots, watch, options.part * random.uniform(0.5, 1.5)) is not None:
                    break
                watch.kills += 1
                print(f"killed {watch.kills} times, {count.update()} rows are done", file=sys.stderr)
            shell = ["/bin/sh", "-c", 'out=$1; shift; exec "$@" > "$out"', "sh", str(folder / "report.json"), *whole]
            status = await run(shell, count, roots, watch)
            results["report"] = report = json.loads(await asyncio.to_thread((folder / "report.json").read_text))
            results["billed"] = bills = await billed(upstream)
            missed += [f"the last part ended with status {status}"] if status not in (0, SOME_FAILED) else []
            missed += [*check_results(out, options.rows), *check_bills(report, bills)]
            await upstream.forget()
            results["limit"] = limit = bills / 2
            half = [*base, "--out", str(folder / "half"), "--max-cost", f"{limit:.6f}"]
            status = await run(half, RowCount(folder / "half"), [], Watch())
            spent = await billed(upstream)
    missed += [f"a job with half the budget ended with {status}"] if status != 1 else []
    missed += [f"overshoot: ${spent:.6f} of ${limit:.6f}"] if spent > limit else []
    growth = watch.find_growth(options.rows)
    missed += [f"memory grew by {growth / 2**20:.0f} MB"] if growth > FLAT_BYTES else []
    results |= {"billed_under_limit": spent, "overshoot": max(0.0, spent - limit)}


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
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # what is installed has its bytecode, so each start finds it
    watch = Watch(worker_seconds=options.worker_seconds)
    results: dict[str, Any] = {"rows": options.rows, "engine": options.engine, "machine": platform.platform()}
    results["missed"] = []
    with tempfile.TemporaryDirectory() as folder:
        try:
            asyncio.run(measure(options, Path(folder), watch, results))
        except KeyboardInterrupt:
            results |= {"interrupted": True, "rows_done": watch.rows}
            results["missed"].append(f"interrupted after {watch.rows:,} of {options.rows:,} rows")
    results |= {**watch.describe(options.rows), "load": psutil.getloadavg()}
    print(json.dumps(results, indent=2))
    finish(results, options.json)


if __name__ == "__main__":
    main()
