"""Measure the processor time that a row of a batch takes on each engine, by process, without kills.

    .venv/bin/python benchmarks/batch_per_core.py [--turns 3] [--rows 3000] [--nodes 2] [--empty] [--json FILE]

Needs the extra [ray]. The engines work in turns, local, Ray, local, Ray, on the endpoints of batch.py without faults;
64 rows at a time. `steady` is from 15 to 97 % of the rows, so that starts do not count; `whole` is all, the start of
the cluster's raylets left out. Each node has one worker: with --nodes 1 as many processes answer as locally. With
--empty each row but the first names a model that there is not: what is left is the engine.
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
from contextlib import ExitStack
from pathlib import Path
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


async def run(command: list[str], out: Path, roots: list[psutil.Process], rows: int) -> dict[str, Any]:
    """Run one job; return what a row took."""
    watch, count, looks = Watch(), RowCount(out), list[tuple[int, dict[str, float]]]()
    before = Watch()
    look([*roots], before, 0)
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.DEVNULL)
    own = [*roots, psutil.Process(process.pid)]
    while process.returncode is None:
        await asyncio.sleep(LOOK_SECONDS)
        done = await asyncio.to_thread(count.update)
        await asyncio.to_thread(look, own, watch, done)
        looks.append((done, cpu_of(watch)))
    if process.returncode not in (0, SOME_FAILED) or count.update() != rows:
        sys.exit(f"{' '.join(command)}: ended with {process.returncode} after {count.rows} rows")
    first = next(found for found in looks if found[0] >= STEADY[0] * rows)
    last = next(found for found in looks if found[0] >= STEADY[1] * rows)
    steady = subtract(last[1], first[1], last[0] - first[0])
    whole = subtract(cpu_of(watch), cpu_of(before), rows)
    return {
        "load": round(psutil.getloadavg()[0], 1),
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
    runs: dict[str, list[dict[str, Any]]] = {engine: [] for engine in ENGINES}
    async with endpoints(Spec(MEMBERS), folder) as upstream:
        write_pool(pool, upstream.port)
        with ExitStack() as stack:
            places = {engine: stack.enter_context(start_nodes(engine, options.nodes)) for engine in ENGINES}
            for turn in range(options.turns):
                for engine, (extra, roots) in places.items():
                    out = folder / f"{engine}-{turn}"
                    command = [sys.executable, "-m", "routemoa", "batch", str(source), "--pool", str(pool), *extra]
                    command += ["--json", "--concurrency", "64", "--max-cost", "1000", "--out", str(out)]
                    runs[engine].append(await run(command, out, roots, options.rows))
                    print(engine, json.dumps(runs[engine][-1]), file=sys.stderr)
    return {"runs": runs}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--rows", type=int, default=3000)
    parser.add_argument("--nodes", type=int, default=2)
    parser.add_argument("--empty", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["ROUTEMOA_STORE"] = str(Path(folder) / "store.db")
        results = asyncio.run(measure(options, Path(folder)))
    for figure in ("steady_ms", "whole_ms"):
        medians = {e: statistics.median(run[figure] for run in results["runs"][e]) for e in ENGINES}
        results[figure] = {**medians, "ray_of_local": round(medians["local"] / medians["ray"], 3)}
    reached = results["steady_ms"]["ray_of_local"]
    missed = [f"Ray answers {reached:.0%} of what local does"] if reached < BAR and not options.empty else []
    results |= {"rows": options.rows, "nodes": options.nodes, "empty": options.empty, "missed": missed}
    print(json.dumps({name: results[name] for name in ("rows", "nodes", "empty", "steady_ms", "whole_ms")}, indent=2))
    finish(results, options.json)


if __name__ == "__main__":
    main()
