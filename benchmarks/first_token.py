"""Time to the first token: RouteMoA's stream beside the one model that writes it, through `routemoa serve`.

    .venv/bin/python benchmarks/first_token.py [--only scripted|embedded] [--json benchmarks/results/first_token.json]

The same prompts, in turns and in an order that is drawn: the leading model passed through by its name, `best-single`,
and RouteMoA. (a) scripted endpoints in a process of their own (faulty.py without faults), which give their first token
after 30 or 200 ms; one request at a time, and eight at once. A panel of three is asked in the mode `leader`, a model
that the gate chooses alone in the default mode, `final`. (b) the embedded pool, warm, in the mode `leader`; every
prompt begins with a token of its own, so that no prompt cache knows it. Three seeds each.

Bar: RouteMoA <= 1.1 x single + 5 ms, at the median and at the 95th percentile. Exits with 1 when it is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import platform
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

from bars import finish
from faulty import Member, Spec
from served import Running, Serving, cuts, endpoints, post, read, serving

SEEDS = (0, 1, 2)
FACTOR, SLACK = 1.1, 0.005  # of the bar; the slack in seconds
PANEL = ("m0", "m1", "m2")
QUESTIONS = (
    "What is {a} + {b}?",
    "Name {b} is even or odd, and say why.",
    "Which is larger, {a} or {b}? Say why.",
    "Write a Python function that adds {a} to its argument.",
    "Write a Python function that tells whether a number divides by {b}.",
    "What is the capital of France?",
    "A train goes {a} km in 2 hours. How fast is it?",
    "Why is the sky blue?",
)
numbers = count()


def question(lots: Random) -> str:
    """Never the same beginning twice."""
    asked = lots.choice(QUESTIONS).format(a=lots.randint(10, 99), b=lots.randint(10, 99))
    return f"req-{next(numbers):06d} {asked}"


async def first(port: int, model: str, text: str, tokens: int, mode: str = "leader") -> tuple[float, dict[str, Any]]:
    """Seconds to the first token, and what the server says of the answer."""
    body: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": text}], "stream": True}
    body |= {"max_tokens": tokens} | ({"routemoa": {"stream_mode": mode}} if model == "routemoa" else {})
    reply = await post(port, body)
    found = read(reply, stream=True)
    assert reply.first is not None, (model, reply.status, reply.body[-500:])
    assert not found.wrong, (model, found)
    return reply.first - reply.sent, found.about


async def compare(  # a benchmark's own settings
    port: int, ways: Sequence[str], prompts: int, lots: Random, mode: str, at_once: int = 1
) -> dict[str, list[float]]:
    """Seconds to the first token, by the name of the model asked."""
    times: dict[str, list[float]] = defaultdict(list)
    turn = asyncio.Semaphore(at_once)

    async def one(way: str, asked: Random) -> None:
        async with turn:
            seconds, _ = await first(port, way, question(asked), 400, mode)
            times[way].append(seconds)

    jobs = []
    for _ in range(prompts):
        seed = lots.random()  # the same question for each way, under another token
        for way in lots.sample(ways, len(ways)):
            jobs.append((way, Random(seed)))
    await asyncio.gather(*(one(*job) for job in jobs))
    return times


def verdict(times: dict[str, list[float]], single: str) -> dict[str, Any]:
    """Both percentiles of all ways, and whether the bar is held."""
    found = {way: cuts(seconds) for way, seconds in times.items()}
    out: dict[str, Any] = {"seconds": found, "runs": {way: len(s) for way, s in times.items()}, "single": single}
    for point in ("p50", "p95"):
        alone, leader = found[single][point], found["routemoa"][point]
        out[point] = {"ratio": round(leader / alone, 3), "held": leader <= FACTOR * alone + SLACK}
    return out


# --- (a) scripted endpoints


def write_pool(file: Path, behind: Running, fusion: str, *, alone: bool = False) -> None:
    """Members whose priors are low enough that a panel of three is asked at once, or the first is enough alone."""
    out = ["[mixture]", f'fusion = "{fusion}"', "top_k = 3"]
    for place, name in enumerate(PANEL):
        prior = (0.97 if place == 0 else 0.5) if alone else 0.56 - place * 0.03
        out += ["[[model]]", f'name = "{name}"', f'endpoint = "{behind.url(name)}"', f"prior = {prior:.2f}"]
        out += ["input_price = 1.0", "output_price = 4.0"]
    file.write_text("\n".join(out) + "\n")


async def scripted(prompts: int, folder: Path) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    for first_token in (0.03, 0.2):
        members = tuple(Member(name, 1.0, 4.0, first_token=first_token, between=0.003, right=0.9) for name in PANEL)
        for fusion, mode in (("adaptive", "leader"), ("published-small", "leader"), ("adaptive", "final")):
            async with endpoints(Spec(members, jitter=0.0, tokens=40), folder) as behind:
                write_pool(file := folder / f"{fusion}-{mode}.toml", behind, fusion, alone=mode == "final")
                options = ("--pool", str(file), "--store", str(folder / f"{fusion}-{mode}-{first_token}.db"))
                async with serving(folder / "server.log", *options) as server:
                    for at_once in (1, 8):
                        what = "one alone" if mode == "final" else fusion
                        name = f"{1e3 * first_token:.0f} ms, {what}, {mode}, {at_once} at once"
                        figures[name] = await one_scripted(server, behind, prompts, at_once, mode)
    return figures


async def one_scripted(server: Serving, behind: Running, prompts: int, at_once: int, mode: str) -> dict[str, Any]:
    ways = ("m0", "best-single", "routemoa")
    await compare(server.port, ways, 5, Random(99), mode)  # warm: connections, imports
    times: dict[str, list[float]] = defaultdict(list)
    await behind.forget()
    for seed in SEEDS:
        for way, seconds in (await compare(server.port, ways, prompts, Random(seed), mode, at_once)).items():
            times[way] += seconds
    mixed = len(await behind.bills()) - 2 * len(SEEDS) * prompts
    return {**verdict(times, "m0"), "calls_of_a_mixture": round(mixed / (len(SEEDS) * prompts), 2)}


# --- (b) the embedded pool


async def embedded(prompts: int, folder: Path) -> dict[str, Any]:
    """Each prompt is asked of RouteMoA first or last; the single model is the one that led there."""
    async with serving(folder / "server.log", "--store", str(folder / "embedded.db")) as server:
        names = ("smollm2-135m", "coder-0.5b", "coder-1.5b")
        for _ in range(2):
            for name in (*names, "routemoa"):
                await first(server.port, name, question(Random(0)), 24)
        times: dict[str, list[float]] = defaultdict(list)
        leaders: dict[str, int] = defaultdict(int)
        calls = 0
        for seed in SEEDS:
            lots = Random(seed)
            for _ in range(prompts):
                asked = lots.random()
                both: dict[str, float] = {}
                _, about = await first(server.port, "routemoa", question(Random(asked)), 24)  # who leads here
                leader = lead(about)
                leaders[leader] += 1
                for way in lots.sample((leader, "routemoa"), 2):
                    both[way], about = await first(server.port, way, question(Random(asked)), 24)
                    calls += about.get("calls", 0)
                times["single"].append(both[leader])
                times["routemoa"].append(both["routemoa"])
    found = {**verdict(times, "single"), "leaders": dict(leaders)}
    pairs = zip(times["routemoa"], times["single"], strict=True)
    found["ratio_of_pairs"] = cuts([a / b for a, b in pairs])
    return {"embedded pool, one at a time": {**found, "calls_of_a_mixture": round(calls / (len(SEEDS) * prompts), 2)}}


def lead(about: dict[str, Any]) -> str:
    """Whose answer was streamed first."""
    return str(about.get("leader") or about["proposers"][0])


async def measure(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    if args.only != "embedded":
        figures |= await scripted(args.prompts, folder)
    if args.only != "scripted":
        figures |= await embedded(max(2, args.prompts // 4), folder)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=40, help="for each seed; a quarter of them on the embedded pool")
    parser.add_argument("--only", choices=("scripted", "embedded"))
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = asyncio.run(measure(args, Path(folder)))
    missed = []
    print(f"{'':42} {'single':>17} {'best-single':>17} {'RouteMoA':>17}   ratio p50, p95   (p50 p95, ms)")
    for name, r in figures.items():
        ways = (r["single"], "best-single", "routemoa")
        cells = [
            f"{1e3 * s['p50']:8.1f} {1e3 * s['p95']:8.1f}" if (s := r["seconds"].get(w)) else " " * 17 for w in ways
        ]
        print(f"{name:42} {' '.join(cells)}   {r['p50']['ratio']:.3f} {r['p95']['ratio']:.3f}", end="")
        print(f"   {r['calls_of_a_mixture']} calls a mixture, {r['runs']['routemoa']} runs")
        missed += [
            f"{name}: {point} is {r[point]['ratio']} x single" for point in ("p50", "p95") if not r[point]["held"]
        ]
    about = {"seeds": SEEDS, "bar": f"{FACTOR} x single + {SLACK} s", "python": platform.python_version()}
    finish({"about": about, "figures": figures, "missed": missed}, args.json)


if __name__ == "__main__":
    main()
