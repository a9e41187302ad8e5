"""Measure the processor time that a row of a batch takes on each engine, by process.

    .venv/bin/python benchmarks/batch_per_core.py [--turns 3] [--rows 3000] [--nodes 2] [--processes 1] \
        [--kill-seconds 10] [--empty] [--json FILE]

Needs the extra [ray]. The engines work in turns, local, Ray, local, Ray, on the endpoints of batch.py without faults;
64 rows at a time. `steady` is from 15 to 97 % of the rows, so that starts do not count; `whole` is all, the start of
the cluster's raylets left out. Each node has one worker. As many processes answer on both sides with --nodes 1, or with
--processes 2: two local ones at the same time, each with half of the rows. With --empty each row but the first names a
model that there is not: what is left is the engine. With --kill-seconds Ray workers are killed as in batch.py.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from time import monotonic
from typing import Any

import psutil
from bars import finish
from batch import MEMBERS, SOME_FAILED, start_nodes, write_input, write_pool
from faulty import Spec
from job_watch import RowCount, Watch, look
from served import endpoints

ENGINES = ("local", "ray")
BAR = 0.9
LOOK_SECONDS = 0.1
STEADY = 0.15, 0.97


def cpu_of(watch: Watch) -> dict[str, float]:
    """Return the CPU seconds of each part so far."""
    parts: dict[str, float] = {}
    for part, seconds in watch.seen.values():
        parts[part] = parts.get(part, 0.0) + seconds
    return parts


def subtract(late: dict[str, float], early: dict[str, float], rows: int) -> dict[str, float]:
    """Return the milliseconds of each part for a row."""
    return {part: round(1e3 * (seconds - early.get(part, 0.0)) / rows, 3) for part, seconds in late.items()}


async def run(
    commands: Mapping[Path, list[str]], roots: list[psutil.Process], rows: int, kill_seconds: float
) -> dict[str, Any]:
    """Run one job, or its parts at the same time, each in the process that writes a folder; return what a row took."""
    watch, counts, looks = Watch(), [RowCount(out) for out in commands], list[tuple[int, dict[str, float]]]()
    before = Watch()
    look([*roots], before, 0)
    processes = [await asyncio.create_subprocess_exec(*c, stdout=subprocess.DEVNULL) for c in commands.values()]
    own, last_kill = [*roots, *(psutil.Process(p.pid) for p in processes)], monotonic()
    while any(p.returncode is None for p in processes):
        await asyncio.sleep(LOOK_SECONDS)
        done = sum([await asyncio.to_thread(count.update) for count in counts])
        workers = await asyncio.to_thread(look, own, watch, done)
        looks.append((done, cpu_of(watch)))
        if workers and 0 < kill_seconds < monotonic() - last_kill:
            workers[watch.worker_kills % len(workers)].kill()
            watch.worker_kills, last_kill = watch.worker_kills + 1, monotonic()
    ends = [p.returncode for p in processes]
    if not {0, SOME_FAILED}.issuperset(ends) or sum(count.update() for count in counts) != rows:
        sys.exit(f"{[*commands.values()]}: ended with {ends} after {[count.rows for count in counts]} rows")
    first = next(found for found in looks if found[0] >= STEADY[0] * rows)
    last = next(found for found in looks if found[0] >= STEADY[1] * rows)
    steady = subtract(last[1], first[1], last[0] - first[0])
    whole = subtract(cpu_of(watch), cpu_of(before), rows)
    return {
        "load": round(psutil.getloadavg()[0], 1),
        "worker_kills": watch.worker_kills,
        "steady_ms": round(sum(steady.values()), 3),
        "steady_parts_ms": steady,
        "whole_ms": round(sum(whole.values()), 3),
    }


async def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    source, pool = folder / "in.jsonl", folder / "pool.toml"
    write_input(source, options.rows)
    if options.empty:
        first, rest = source.read_text().split("\n", 1)  # a job begins only where some row can be asked
        source.write_text(first + "\n" + rest.replace('"model": "routemoa"', '"model": "absent"'))
    sources = {"local": split_file(source, options.processes), "ray": [source]}
    runs: dict[str, list[dict[str, Any]]] = {engine: [] for engine in ENGINES}
    async with endpoints(Spec(MEMBERS), folder) as upstream:
        write_pool(pool, upstream.port)
        with ExitStack() as stack:
            places = {engine: stack.enter_context(start_nodes(engine, options.nodes)) for engine in ENGINES}
            for turn in range(options.turns):
                for engine, (extra, roots) in places.items():
                    commands: dict[Path, list[str]] = {}
                    for part, path in enumerate(sources[engine]):
                        out = folder / f"{engine}-{turn}-{part}"
                        command = [sys.executable, "-m", "routemoa", "batch", str(path), "--pool", str(pool), *extra]
                        command += ["--json", "--concurrency", str(64 // len(sources[engine]))]
                        commands[out] = [*command, "--max-cost", "1000", "--out", str(out)]
                    runs[engine].append(await run(commands, roots, options.rows, options.kill_seconds))
                    print(engine, json.dumps(runs[engine][-1]), file=sys.stderr)
    return {"runs": runs}


def split_file(path: Path, parts: int) -> list[Path]:
    """Return the paths of so many files that have its lines in turn."""
    lines = path.read_text().splitlines(keepends=True)
    paths = [path.with_name(f"part-{i}.jsonl") for i in range(parts)]
    for i, part in enumerate(paths):
        part.write_text("".join(lines[i::parts]))
    return paths


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--rows", type=int, default=3000)
    parser.add_argument("--nodes", type=int, default=2)
    parser.add_argument("--processes", type=int, default=1, help="of the local engine, at the same time")
    parser.add_argument("--kill-seconds", type=float, default=0.0, help="between two kills of a Ray worker; 0: none")
    parser.add_argument("--empty", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # what is installed has its bytecode, so each start finds it
    with tempfile.TemporaryDirectory() as folder:
        os.environ["ROUTEMOA_STORE"] = str(Path(folder) / "store.db")
        results = asyncio.run(measure(options, Path(folder)))
    for figure in ("steady_ms", "whole_ms"):
        medians = {e: statistics.median(run[figure] for run in results["runs"][e]) for e in ENGINES}
        results[figure] = {**medians, "ray_of_local": round(medians["local"] / medians["ray"], 3)}
    reached = results["whole_ms" if options.kill_seconds else "steady_ms"]["ray_of_local"]
    missed = [f"Ray answers {reached:.0%} of what local does"] if reached < BAR and not options.empty else []
    results |= {"rows": options.rows, "nodes": options.nodes, "processes": options.processes, "empty": options.empty}
    results["missed"] = missed
    shown = ("rows", "nodes", "processes", "empty", "steady_ms", "whole_ms")
    print(json.dumps({name: results[name] for name in shown}, indent=2))
    finish(results, options.json)


if __name__ == "__main__":
    main()
