"""Readings of a changed pool file under load: how many requests are dropped.

    .venv/bin/python benchmarks/reloads.py [--minutes 10] [--per-minute 10] [--callers 16] [--workers 2] [--json FILE]

The server is a process of its own. Callers ask one member and the mixture, half of them for streams, one request after
the other, while the pool file changes: a member comes, another goes. Bar: no request fails or is cut, and memory grows
by no more than 20 % between the first minute and the last.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
from pathlib import Path
from time import monotonic
from typing import Any

from bars import finish
from openai import AsyncOpenAI
from served import serving

from routemoa.testing import FakeEndpoint, Fault

WORDS = 40
GROWTH = 1.2
MARGIN = 3.0
"""Seconds before the end at which the last file is written, so that its reading is under load too."""
MEMBER = '[[model]]\nname = "{}"\nendpoint = "{}"\nprior = 0.6\n'


def write(file: Path, url: str, number: int) -> None:
    """Write a pool of three members, the third another one each time."""
    fresh = file.with_suffix(".new")
    fresh.write_text("".join(MEMBER.format(name, url) for name in ("a", "b", f"c{number % 7}")))
    os.replace(fresh, file)


async def ask(sdk: AsyncOpenAI, number: int) -> bool:
    """Ask once; return whether the whole answer came."""
    message: Any = [{"role": "user", "content": "Why?"}]
    model = ("routemoa", "a")[number % 2]
    if number % 4 < 2:
        done = await sdk.chat.completions.create(model=model, messages=message)
        text = done.choices[0].message.content or ""
    else:
        stream = await sdk.chat.completions.create(model=model, messages=message, stream=True)
        text = "".join([c.choices[0].delta.content or "" async for c in stream if c.choices])
    return text.count("word") == WORDS


async def measure(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    file = folder / "pool.toml"
    failures: list[str] = []
    served = 0
    options = ("--pool", str(file), "--no-store", "--workers", str(args.workers))

    async with FakeEndpoint("word " * WORDS, Fault(between=0.01)) as upstream:
        write(file, upstream.url, 0)
        async with serving(folder / "log", *options) as server:
            sdk = AsyncOpenAI(base_url=f"http://127.0.0.1:{server.port}/v1", api_key="unused", max_retries=0)
            end = monotonic() + 60.0 * args.minutes

            async def caller(number: int) -> None:
                nonlocal served
                while monotonic() < end:
                    try:
                        whole = await ask(sdk, number)
                    except Exception as e:
                        failures.append(f"{type(e).__name__}: {e}"[:200])
                        await asyncio.sleep(0.5)
                        continue
                    served += whole
                    if not whole:
                        failures.append("an answer was cut")

            callers = [asyncio.create_task(caller(n)) for n in range(args.callers)]
            memory, total = [], round(args.minutes * args.per_minute)
            for readings in range(1, total + 1):
                await asyncio.sleep(max(0.0, end - monotonic() - (total - readings) * 60.0 / args.per_minute - MARGIN))
                write(file, upstream.url, readings)
                processes = [server.about, *server.about.children()]
                memory.append(sum(p.memory_info().rss for p in processes) / 2**20)
            await asyncio.gather(*callers)
            await sdk.close()
            log = server.log.read_text()
    minute = max(1, round(args.per_minute))
    return {
        "served": served,
        "failures": failures[:10],
        "dropped": len(failures),
        "files_written": total,
        "taken_over": log.count("was read again") // args.workers,
        "memory_mb": {"first_minute": round(memory[min(minute, len(memory)) - 1], 1), "end": round(memory[-1], 1)},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--per-minute", type=float, default=10.0)
    parser.add_argument("--callers", type=int, default=16)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = asyncio.run(measure(args, Path(folder)))
    for name, value in figures.items():
        print(f"{name}: {value}")
    memory = figures["memory_mb"]
    missed = [f"{figures['dropped']} requests were dropped"] if figures["dropped"] else []
    if figures["taken_over"] < 0.8 * figures["files_written"] - 1:
        missed.append(f"{figures['taken_over']} of {figures['files_written']} files were taken over")
    if memory["end"] > GROWTH * memory["first_minute"]:
        missed.append(f"memory grew: {memory}")
    about = {"minutes": args.minutes, "per_minute": args.per_minute, "callers": args.callers, "workers": args.workers}
    finish({"about": about, "figures": figures, "missed": missed}, args.json)


if __name__ == "__main__":
    main()
