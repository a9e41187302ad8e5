"""What the gateway costs beside others: requests/s and latency of a pass-through, whole and streamed.

    apt-get install nginx-light wrk
    .venv/bin/python benchmarks/gateway.py [--quick] [--json benchmarks/results/gateway.json]

One run, one machine: nginx is the endpoint of all, wrk (one thread) the caller of all, at 1, 16, 64 and 256
connections. In turn, so many rounds: the endpoint itself, RouteMoA with all features (ledger, keys, budgets, prices),
RouteMoA bare (none of them), a bare pass-through of starlette and aiohttp, and LiteLLM's proxy, which is installed into
an environment of its own (left out by name where it cannot be had). One worker each, and RouteMoA with all features
also with so many processes as `--workers 1 2` says. A stream has 64 tokens, which nginx sends at once: what it takes
beyond a whole response, by 64, is what a token costs.

Medians over the rounds. "cpu ms" is the server's processor time of a request, which other work on the machine disturbs
least; the load average stands beside each figure. Exits with 1 when a bar is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import psutil
from bars import finish
from gateway_servers import (
    BARE_PACKAGES,
    KEY,
    LITELLM_PACKAGE,
    MODEL,
    TOKENS,
    ask_once,
    bare,
    install,
    litellm,
    nginx,
    routemoa,
    version_of,
)
from platformdirs import user_cache_path

ALL, BARE, STARLETTE, LITELLM, DIRECT = "RouteMoA", "RouteMoA bare", "starlette bare", "LiteLLM", "nginx itself"
CONNECTIONS = (1, 16, 64, 256)
IDLE_BAR_MB = 60.0
TWO_TIMES_ONE = 1.4
TIMES_LITELLM, SHARE_OF_BARE, ADDED_MS, ADDED_MS_PER_TOKEN = 25.0, 0.6, 0.45, 0.1
SCRIPT = """
wrk.method = "POST"
wrk.body = '%s'
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "Bearer %s"
function done(summary, latency, requests)
  local e = summary.errors
  local failed = e.connect + e.read + e.write + e.status + e.timeout
  io.write(string.format("\\nRESULT %%d %%.3f %%.1f %%.1f %%d\\n", summary.requests,
    summary.requests / summary.duration * 1e6, latency:percentile(50), latency:percentile(99), failed))
end
"""


def run_wrk(port: int, connections: int, seconds: float, script: Path, server: int | None = None) -> dict[str, float]:
    """One measurement; `server`: the process whose time is measured, too."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "30s", "-s", str(script)]
    url = f"http://127.0.0.1:{port}/v1/chat/completions"
    processes = with_children(server)
    before = cpu_seconds(processes)
    said = subprocess.run([*command, url], check=True, capture_output=True, text=True).stdout
    used = cpu_seconds(processes) - before
    count, rate, p50, p99, failed = said.partition("RESULT ")[2].split()
    latency = {"p50_ms": float(p50) / 1e3, "p99_ms": float(p99) / 1e3}
    cpu_ms = 1e3 * used / max(1, int(count))
    measured = {"per_second": float(rate), **latency, "cpu_ms": cpu_ms, "failed": float(failed)}
    return {**measured, "load": round(os.getloadavg()[0], 2)}


def with_children(process: int | None) -> list[psutil.Process]:
    """A server's processes: it may have workers."""
    if process is None:
        return []
    server = psutil.Process(process)
    return [server, *server.children()]


def cpu_seconds(processes: list[psutil.Process]) -> float:
    return sum(float(times.user + times.system) for times in (p.cpu_times() for p in processes))


def write_script(file: Path, *, stream: bool) -> Path:
    body: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": "How long does it take?"}]}
    file.write_text(SCRIPT % (json.dumps(body | ({"stream": True} if stream else {})), KEY))
    return file


Ways = dict[str, Callable[[int], Any]]


def choose_ways(folder: Path, only: list[str] | None, cache: Path, workers: list[int]) -> tuple[Ways, dict[str, str]]:
    """Return how each server is started, given the endpoint's port, and the versions of the others."""
    ways: Ways = {ALL: partial(routemoa, folder, features=True), BARE: partial(routemoa, folder, features=False)}
    for count in workers:
        if count > 1:
            ways[by_workers(count)] = partial(routemoa, folder, features=True, workers=count)
    about = {p: version_of(Path(sys.executable), p) for p in ("starlette", "uvicorn", "aiohttp")}
    if (python := install(cache, "bare", *BARE_PACKAGES)) is None:
        print(f"{STARLETTE} is left out: it cannot be installed into {cache}")
    else:
        ways[STARLETTE] = partial(bare, folder, python=python)
    if not only or LITELLM in only:
        if (python := install(cache, "litellm", LITELLM_PACKAGE)) is None:
            print(f"{LITELLM} is left out: it cannot be installed into {cache}")
        else:
            ways[LITELLM] = partial(litellm, folder, python=python)
            about["litellm"] = version_of(python, "litellm")
    return {name: way for name, way in ways.items() if not only or name in only}, about


def by_workers(count: int) -> str:
    return f"{ALL} by {count}"


def measure(args: argparse.Namespace, folder: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """All figures: kind of response -> server -> connections -> medians; and the memory of idle servers."""
    found: dict[str, Any] = {"whole": {}, "streamed": {}, "idle_mb": {}}
    ways, about = choose_ways(folder, args.only, args.environments, args.workers)
    with ExitStack() as endpoint:
        whole, streamed = endpoint.enter_context(nginx(folder))
        for kind, upstream in (("whole", whole), ("streamed", streamed)):
            script = write_script(folder / f"{kind}.lua", stream=kind == "streamed")
            runs: dict[str, dict[int, list[dict[str, float]]]] = defaultdict(lambda: defaultdict(list))
            with ExitStack() as servers:
                ports: dict[str, tuple[int, int | None]] = {DIRECT: (upstream, None)}
                for name, way in ways.items():
                    ports[name] = port, pid = servers.enter_context(way(upstream))
                    time.sleep(0.5)
                    memory = sum(p.memory_info().rss for p in with_children(pid))
                    found["idle_mb"][name] = round(memory / 2**20, 1)
                    is_stream = kind == "streamed"
                    assert (b"[DONE]" if is_stream else b"forty") in ask_once(port, stream=is_stream), name
                    run_wrk(port, 16, 1, script)  # warm
                for _ in range(args.rounds):
                    for name, (port, process) in ports.items():
                        for connections in args.connections:
                            runs[name][connections].append(run_wrk(port, connections, args.seconds, script, process))
            found[kind] = {name: {str(c): median_of(r) for c, r in of.items()} for name, of in runs.items()}
    return found, about


def median_of(runs: list[dict[str, float]]) -> dict[str, float]:
    return {key: round(statistics.median(r[key] for r in runs), 3) for key in runs[0]}


def derive(found: dict[str, Any]) -> dict[str, float]:
    """The figures that the bars are about; those for which a server is missing are left out."""
    whole, streamed = found["whole"], found["streamed"]
    out: dict[str, float] = {}
    if ALL not in whole:
        return out
    ours = whole[ALL]
    if LITELLM in whole and "16" in ours:
        out["times_litellm_at_16"] = ours["16"]["per_second"] / whole[LITELLM]["16"]["per_second"]
    if STARLETTE in whole and "16" in ours:
        out["share_of_bare_at_16"] = ours["16"]["per_second"] / whole[STARLETTE]["16"]["per_second"]
    if by_workers(2) in whole:
        for connections in sorted({"16", "64"} & set(ours)):
            one, two = (of[connections]["per_second"] for of in (ours, whole[by_workers(2)]))
            out[f"two_workers_times_one_at_{connections}"] = two / one
    if "1" in ours:
        out["added_p50_ms"] = ours["1"]["p50_ms"] - whole[DIRECT]["1"]["p50_ms"]
        stream = streamed[ALL]["1"]["p50_ms"] - streamed[DIRECT]["1"]["p50_ms"]
        out["added_ms_per_token"] = (stream - out["added_p50_ms"]) / TOKENS
    out["idle_mb"] = found["idle_mb"][ALL]
    return {name: round(value, 4) for name, value in out.items()}


def missed(found: dict[str, Any], figures: dict[str, float]) -> list[str]:
    """The bars that were not held; no request of ours may fail."""
    failed = [
        f"{kind}: {name} failed {r['failed']:.0f} requests at {connections} connections"
        for kind in ("whole", "streamed")
        for name in found[kind]
        if name.startswith(ALL)
        for connections, r in found[kind].get(name, {}).items()
        if r["failed"]
    ]
    least = {"times_litellm_at_16": TIMES_LITELLM, "share_of_bare_at_16": SHARE_OF_BARE}
    least["two_workers_times_one_at_16"] = TWO_TIMES_ONE
    most = {"added_p50_ms": ADDED_MS, "added_ms_per_token": ADDED_MS_PER_TOKEN, "idle_mb": IDLE_BAR_MB}
    return (
        failed
        + [f"{k} is {figures[k]}, not at least {bar}" for k, bar in least.items() if figures.get(k, bar) < bar]
        + [f"{k} is {figures[k]}, not at most {bar}" for k, bar in most.items() if figures.get(k, bar) > bar]
    )


def print_table(found: dict[str, Any], connections: list[int]) -> None:
    for kind in ("whole", "streamed"):
        print(f"{kind:16}" + "".join(f"{f'{c} connections':>35}" for c in connections))
        print(" " * 16 + "   req/s  p50 ms p99 ms cpu ms load" * len(connections))
        for name, of in found[kind].items():
            cells = (of[str(c)] for c in connections)
            print(
                f"{name:16}"
                + "".join(
                    f"{r['per_second']:8.0f}{r['p50_ms']:8.2f}{r['p99_ms']:7.1f}{r['cpu_ms']:7.2f}{r['load']:5.1f}"
                    for r in cells
                )
            )
    print("idle memory     " + "   ".join(f"{name} {mb} MB" for name, mb in found["idle_mb"].items()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0, help="of one measurement")
    parser.add_argument("--connections", type=int, nargs="+", default=list(CONNECTIONS))
    parser.add_argument("--only", nargs="+", metavar="SERVER", help=f"of {ALL!r}, {BARE!r}, {STARLETTE!r}, {LITELLM!r}")
    parser.add_argument("--workers", type=int, nargs="+", default=[1], metavar="N", help="of RouteMoA: 1 2 for both")
    parser.add_argument("--quick", action="store_true", help="one round of a second each, at 1 and 16 connections")
    parser.add_argument(
        "--environments",
        type=Path,
        default=user_cache_path("routemoa") / "benchmarks",
        help="the folder of LiteLLM's environment",
    )
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    if shutil.which("wrk") is None:
        sys.exit("benchmarks/gateway.py needs wrk:  apt-get install nginx-light wrk")
    if args.quick:
        args.rounds, args.seconds, args.connections = 1, 1.0, [1, 16]
    with tempfile.TemporaryDirectory() as folder:
        found, versions = measure(args, Path(folder))
    print_table(found, args.connections)
    figures = derive(found)
    print("   ".join(f"{name} {value:g}" for name, value in figures.items()))
    about = {"python": platform.python_version(), "rounds": args.rounds, "seconds": args.seconds, **versions}
    finish({"about": about, "figures": found, "bars": figures, "missed": missed(found, figures)}, args.json)


if __name__ == "__main__":
    main()
