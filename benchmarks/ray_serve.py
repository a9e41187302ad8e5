"""What Ray Serve's proxy costs beside plain replicas, and how it starts more of them under load.

    .venv/bin/python benchmarks/ray_serve.py [--only cost|scaling] [--json benchmarks/results/ray_serve.json]

Needs the extra [ray-serve] and nginx. Cost: a pool of one member (nginx, a stream of 64 tokens at once), a store and a
tenant with a budget, behind two processes of `routemoa serve` that the caller asks in turn, behind Ray Serve with two
replicas, and behind Ray Serve with HAProxy and two replicas. All run at the same time and are asked in turns, A B C
A B C. What is asked is passed through to the member, so that little but the way there is measured. Each process of the
servers has a session of its own, so that Linux shares the cores alike among them, whatever else runs.
Scaling: 32 streams of 2 s at once for a while, one replica
at first, a target of 8 requests under way for each: how many replicas there are each second, and what failed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from importlib.metadata import version
from itertools import cycle, pairwise
from pathlib import Path
from time import perf_counter
from typing import Any

import aiohttp
import psutil
from bars import finish
from gateway_servers import KEY, MODEL, free_port, nginx

WAYS = ("plain", "ray", "haproxy")
SETTINGS = {"one at a time": (1, 100), "16 at once": (16, 480)}
"""Requests at the same time, and in all in each turn."""
ROUNDS = 5
MARK = "ROUTEMOA_RAY_BENCHMARK"
"""The environment variable by which the processes of a cluster are known."""
SERVE = "from ray.serve.scripts import cli; cli()"
SCALING = {"min_replicas": 1, "max_replicas": 4, "target_ongoing_requests": 8}
DELAYS = {"upscale_delay_s": 2, "downscale_delay_s": 10, "metrics_interval_s": 1, "look_back_period_s": 3}
STREAMS = {"first": 0.1, "pieces": 20, "between": 0.1, "faults": 0.0}
LOAD, LOAD_SECONDS, QUIET_SECONDS = 32, 45.0, 60.0


@contextmanager
def plain(folder: Path, pool: Path) -> Iterator[int]:
    """Run `routemoa serve`; give its port."""
    port = free_port()
    command = [sys.executable, "-m", "routemoa", "serve", "--port", str(port), "--pool", str(pool)]
    own = {"BENCHMARK_KEY": KEY, MARK: "plain"}
    log = folder / f"plain-{port}.log"
    with log.open("wb") as out:
        running = subprocess.Popen(
            [*command, "--store", str(folder / "plain.db")],
            stdout=out,
            stderr=out,
            env={**os.environ, **own},
            start_new_session=True,
        )
    try:
        if not asyncio.run(is_answered(port)):
            sys.exit(f"it did not start: {log.read_text(errors='replace')[-2000:]}")
        yield port
    finally:
        running.terminate()
        running.wait(30)


@contextmanager
def ray_serve(
    folder: Path, name: str, args: Mapping[str, Any], options: Mapping[str, Any], env: Mapping[str, str]
) -> Iterator[int]:
    """Run `serve run` with a configuration on a cluster of its own; give the port once the gateway answers."""
    port = free_port()
    served = {
        "name": "routemoa",
        "route_prefix": "/",
        "import_path": "routemoa.gateway.ray_app:app",
        "args": {"store": str(folder / f"{name}.db"), **args},
        "deployments": [{"name": "gateway", **options}],
    }
    config = folder / f"{name}.yaml"
    config.write_text(json.dumps({"http_options": {"port": port}, "applications": [served]}))  # JSON is YAML
    own = {"RAY_ADDRESS": "local", "BENCHMARK_KEY": KEY, MARK: name, "RAY_SERVE_LOG_TO_STDERR": "0", **env}
    command = [sys.executable, "-c", SERVE, "run", str(config)]
    log = folder / f"{name}.log"
    with log.open("wb") as out:
        running = subprocess.Popen(command, stdout=out, stderr=out, env={**os.environ, **own})
    try:
        if not asyncio.run(is_answered(port)):
            sys.exit(f"it did not start: {log.read_text(errors='replace')[-2000:]}")
        yield port
    finally:
        running.send_signal(signal.SIGINT)
        running.wait(60)


async def is_answered(port: int) -> bool:
    """Wait for a server, for two minutes at most; return whether it answers."""
    async with aiohttp.ClientSession() as session:
        for _ in range(600):
            with suppress(aiohttp.ClientError):
                if (await session.get(f"http://127.0.0.1:{port}/healthz")).status == 200:
                    return True
            await asyncio.sleep(0.2)
    return False


async def ask(session: aiohttp.ClientSession, port: int) -> float:
    """Return the seconds to the first token of a stream; it must come whole."""
    body = {"model": MODEL, "messages": [{"role": "user", "content": "req-000001 How long?"}], "stream": True}
    begun, first, text = perf_counter(), None, bytearray()
    async with session.post(
        f"http://127.0.0.1:{port}/v1/chat/completions", json=body, headers={"authorization": f"Bearer {KEY}"}
    ) as response:
        async for piece in response.content.iter_any():
            first = perf_counter() - begun if first is None else first
            text += piece
    if first is None or response.status != 200 or b"[DONE]" not in text[-40:]:
        raise RuntimeError(f"{response.status} {text[-300:]!r}")
    return first


async def ask_many(ports: Sequence[int], at_once: int, requests: int) -> dict[str, float]:
    """Return the milliseconds to the first token, and requests a second."""
    turn, firsts, next_port = asyncio.Semaphore(at_once), list[float](), cycle(ports)

    async def one(session: aiohttp.ClientSession) -> None:
        async with turn:
            firsts.append(await ask(session, next(next_port)))

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        await asyncio.gather(*(one(session) for _ in range(2 * at_once)))  # warm: connections
        firsts.clear()
        begun = perf_counter()
        await asyncio.gather(*(one(session) for _ in range(requests)))
        seconds = perf_counter() - begun
    points = statistics.quantiles(firsts, n=100, method="inclusive")
    return {"p50_ms": 1e3 * points[49], "p99_ms": 1e3 * points[98], "requests_per_second": requests / seconds}


def find_processes(mark: str) -> list[psutil.Process]:
    """Return the processes of a way."""
    found = []
    for running in psutil.process_iter():
        with suppress(psutil.Error):
            found += [running] if running.environ().get(MARK) == mark else []
    return found


def count_cpu(mark: str) -> dict[int, float]:
    """Return the seconds of processor time that each process of a way has used."""
    used = {}
    for running in find_processes(mark):
        with suppress(psutil.Error):
            times = running.cpu_times()
            used[running.pid] = times.user + times.system
    return used


# --- what the proxy costs


def measure_cost(folder: Path) -> dict[str, Any]:
    turns: dict[str, dict[str, list[dict[str, float]]]] = {s: {w: [] for w in WAYS} for s in SETTINGS}
    with ExitStack() as stack:
        _, upstream = stack.enter_context(nginx(folder))
        pool = folder / "pool.toml"
        member = f'name = "{MODEL}"\nendpoint = "http://127.0.0.1:{upstream}/v1"\nprior = 0.5\n'
        prices = "input_price = 1.0\noutput_price = 4.0\n"
        tenant = '[[tenant]]\nname = "acme"\nkey_env = "BENCHMARK_KEY"\nmax_cost_per_day = 1e6\n'
        pool.write_text(f"[[model]]\n{member}{prices}{tenant}")
        ports = {"plain": [stack.enter_context(plain(folder, pool)) for _ in range(2)]}
        for way, env in (("ray", {}), ("haproxy", {"RAY_SERVE_ENABLE_HA_PROXY": "1"})):
            args = {"pool": str(pool), "min_replicas": 2, "max_replicas": 2, "num_cpus": 0.5}
            ports[way] = [stack.enter_context(ray_serve(folder, way, args, {}, env))]
        for setting, (at_once, requests) in SETTINGS.items():
            for _ in range(ROUNDS):
                for way in WAYS:
                    before = count_cpu(way)
                    turn = asyncio.run(ask_many(ports[way], at_once, requests))
                    used = sum(cpu - before.get(pid, 0.0) for pid, cpu in count_cpu(way).items())
                    turns[setting][way].append({**turn, "cpu_ms": 1e3 * used / (requests + 2 * at_once)})
    return {
        setting: {way: {key: describe([t[key] for t in found]) for key in found[0]} for way, found in by_way.items()}
        for setting, by_way in turns.items()
    }


def describe(values: list[float]) -> dict[str, float]:
    """Return the median of the turns, the least and the most."""
    return {
        k: round(v, 2) for k, v in (("median", statistics.median(values)), ("min", min(values)), ("max", max(values)))
    }


# --- more replicas under load


def count_replicas() -> int:
    """Return how many replicas there are."""
    found = 0
    for running in find_processes("scaling"):
        with suppress(psutil.Error):
            found += " ".join(running.cmdline()).startswith("ray::ServeReplica")
    return found


async def load(port: int, timeline: list[tuple[float, int]], outcomes: Counter[str]) -> None:
    """Keep 32 streams running, then none; note each second how many replicas there are."""
    begun = perf_counter()

    async def keep_asking(session: aiohttp.ClientSession) -> None:
        while perf_counter() - begun < LOAD_SECONDS:
            try:
                await ask(session, port)
                outcomes["whole"] += 1
            except (aiohttp.ClientError, RuntimeError) as e:
                outcomes[f"failed: {e}"[:200]] += 1

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        asking = [asyncio.create_task(keep_asking(session)) for _ in range(LOAD)]
        while (at := perf_counter() - begun) < LOAD_SECONDS + QUIET_SECONDS:
            timeline.append((at, await asyncio.to_thread(count_replicas)))
            if at > LOAD_SECONDS and timeline[-1][1] == 1:
                break
            await asyncio.sleep(1)
        await asyncio.gather(*asking)


@contextmanager
def slow_member() -> Iterator[int]:
    """Serve streams of 2 s; give the port."""
    command = [sys.executable, str(Path(__file__).parent / "crowd_endpoints.py"), json.dumps(STREAMS)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        try:
            yield int(running.stdout.readline())
        finally:
            running.kill()


def measure_scaling(folder: Path) -> dict[str, Any]:
    timeline: list[tuple[float, int]] = []
    outcomes: Counter[str] = Counter()
    pool = folder / "scaling.toml"
    with slow_member() as member:
        model = f'[[model]]\nname = "{MODEL}"\nendpoint = "http://127.0.0.1:{member}/m0/v1"\nprior = 0.5\n'
        pool.write_text(f'{model}[[tenant]]\nname = "acme"\nkey_env = "BENCHMARK_KEY"\n')
        options = {"autoscaling_config": {**SCALING, **DELAYS}}
        with ray_serve(folder, "scaling", {"pool": str(pool), "num_cpus": 0.5}, options, {}) as port:
            asyncio.run(load(port, timeline, outcomes))
    changes = [timeline[0], *(now for before, now in pairwise(timeline) if before[1] != now[1])]
    return {
        "streams_at_once": LOAD,
        "load_seconds": LOAD_SECONDS,
        **SCALING,
        **DELAYS,
        "replicas": [{"second": round(at, 1), "replicas": found} for at, found in changes],
        "requests": dict(outcomes),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("cost", "scaling"))
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    results: dict[str, Any] = (
        json.loads(args.json.read_text()) if args.only and args.json and args.json.exists() else {}
    )
    versions = {name: version(name) for name in ("ray", "uvicorn", "starlette")}
    about = {
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "load_before": round(os.getloadavg()[0], 1),
        **versions,
    }
    with tempfile.TemporaryDirectory() as folder:
        if args.only != "scaling":
            results["cost"] = {"about": about, "rounds": ROUNDS, **measure_cost(Path(folder))}
        if args.only != "cost":
            results["scaling"] = {"about": about, **measure_scaling(Path(folder))}
    print(json.dumps(results, indent=2))
    requests = results["scaling"]["requests"] if "scaling" in results else {}
    finish(
        {**results, "missed": [f"scaling: {n} requests {what}" for what, n in requests.items() if what != "whole"]},
        args.json,
    )


if __name__ == "__main__":
    main()
