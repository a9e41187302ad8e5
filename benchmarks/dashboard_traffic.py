"""Two weeks of traffic for the pictures of the dashboard: recorded answers, replayed through a real server.

benchmarks/dashboard_traffic.py is imported by dashboard_walk.py, dashboard_pages.py and dashboard_soak.py. The members
are endpoints of this machine that give the answers recorded by ZeroEval (MATH, level 5); their priors are their mean
scores there, and their prices are examples. Feedback says which answers were right. The times of the ledger and of the
traces are then spread over two weeks, so that there are days to show.
"""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
from PIL import Image

from routemoa.testing import FakeEndpoint, Fault

ROOT = Path(__file__).parents[1]
RECORDS = ROOT.parent / "shared" / "data" / "records" / "zeroeval" / "math_l5.jsonl.gz"
MEMBERS = {
    "qwen2.5-72b": ("Qwen2.5-72B-Instruct", 0.60, 0.35, 0.40),
    "gemini-1.5-flash": ("gemini-1.5-flash-exp-0827", 0.55, 0.075, 0.30),
    "gpt-4o-mini": ("gpt-4o-mini-2024-07-18", 0.52, 0.15, 0.60),
    "llama-3.1-70b": ("Meta-Llama-3.1-70B-Instruct", 0.44, 0.35, 0.40),
}
"""Name -> its name in the records, its prior, dollars per million tokens of prompt and of answer."""
QUESTIONS = 150
ORDER = 3
AT_ONCE = 6
DAYS = 14
BUDGET = "[totals]\nmax_cost_per_day = 0.5\nmax_cost_per_month = 5.0\n"
RUN = "from routemoa.cli import main; main()"
SPREAD = {"store.db": ("calls", "began", "id"), "store-traces.db": ("traces", "at", "number")}


def read_rows(records: Path, count: int = QUESTIONS) -> list[dict[str, Any]]:
    """Return questions that all members have answered, in an order that does not go by difficulty."""
    with gzip.open(records, "rt") as lines:
        rows = [row for row in map(json.loads, lines) if all(row["responses"].get(m[0]) for m in MEMBERS.values())]
    random.Random(ORDER).shuffle(rows)
    return rows[:count]


def as_text(answer: str) -> str:
    """Return a recorded answer, which is a JSON object, as prose."""
    found = re.search(r'"reasoning":\s*"(.*?)",?\s*"answer":\s*"?(.*?)"?\s*\}', answer, re.DOTALL)
    return answer if found is None else f"{found[1].replace(chr(92) + 'n', chr(10))}\n\nThe answer is {found[2]}."


class Endpoints:
    """The members, which answer as recorded; `pace` is how long a piece of an answer takes, in seconds."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self._rows = {row["query"]: row for row in rows}

    @asynccontextmanager
    async def open(self, pace: float, first: float | None = None) -> AsyncIterator[str]:
        """Yield the tables of a pool file; the first piece comes after `first` seconds."""
        async with AsyncExitStack() as stack:
            tables = []
            for name, (recorded, prior, prompt, completion) in MEMBERS.items():
                member = FakeEndpoint(
                    partial(self._reply, recorded),
                    Fault(first_byte=first, between=pace) if first else Fault(between=pace),
                )
                url = (await stack.enter_async_context(member)).url
                prices = f"input_price = {prompt}\noutput_price = {completion}\n"
                tables.append(f'[[model]]\nname = "{name}"\nendpoint = "{url}"\nprior = {prior}\n{prices}')
            yield "\n".join([*tables, '[mixture]\nprefer = "quality"\n'])

    def _reply(self, recorded: str, body: dict[str, Any]) -> str:
        asked = str(body["messages"][-1]["content"])
        row = next((row for query, row in self._rows.items() if query in asked), None)
        return "I do not know." if row is None else as_text(row["responses"][recorded])


@asynccontextmanager
async def serving(tables: str, folder: Path, program: str = RUN, **variables: str) -> AsyncIterator[str]:
    """Serve the pool; yield its address.

    Args:
        tables: the pool file.
        folder: for its files.
        program: Python that runs the command.
        variables: of its environment.
    """
    (folder / "pool.toml").write_text(tables)
    command = [sys.executable, "-c", program, "serve", "--port", "0", "--pool", str(folder / "pool.toml")]
    environment = {**os.environ, "ROUTEMOA_STORE": str(folder / "store.db"), **variables}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)  # noqa: ASYNC220
    try:
        assert process.stderr is not None
        found = None
        while found is None:
            found = re.search(r"in a browser: (\S+)", process.stderr.readline())
        yield found[1]
    finally:
        process.send_signal(signal.SIGTERM)
        await asyncio.to_thread(process.communicate)


async def ask_all(url: str, rows: list[dict[str, Any]], *, says: bool) -> None:
    """Ask the questions, some at a time; with `says`, say of every second answer whether it is right, else stream."""
    slots = asyncio.Semaphore(AT_ONCE)

    async def ask(number: int, row: dict[str, Any]) -> None:
        async with slots:
            body = {"model": "routemoa", "messages": [{"role": "user", "content": row["query"]}], "stream": not says}
            async with session.post(f"{url}v1/chat/completions", json=body) as reply:
                text = await reply.text()
            if says and number % 2 and row.get("reference"):
                answer = json.loads(text)
                end = answer["choices"][0]["message"]["content"][-len(row["reference"]) - 20 :]
                said = {"id": answer["id"], "expected": row["reference"], "score": float(row["reference"] in end)}
                await (await session.post(f"{url}v1/feedback", json=said)).read()

    async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as group:
        for number, row in enumerate(rows):
            group.create_task(ask(number, row))


def spread_times(folder: Path) -> None:
    """Spread the rows over two weeks: those that came first are the oldest."""
    for name, (table, column, key) in SPREAD.items():
        with sqlite3.connect(folder / name) as connection:
            (most,) = connection.execute(f"SELECT max({key}) FROM {table}").fetchone()
            shift = f"UPDATE {table} SET {column} = {column} - 86400.0 * ? * (1.0 - {key} * 1.0 / ?)"
            connection.execute(shift, (DAYS, most))
        connection.close()


async def answer_for_two_weeks(endpoints: Endpoints, rows: list[dict[str, Any]], folder: Path) -> None:
    """Leave in the folder what a server keeps of questions that were asked over two weeks."""
    async with endpoints.open(0.0) as tables, serving(tables, folder) as url:
        await ask_all(url, rows, says=True)
    spread_times(folder)


def save_small(data: bytes, file: Path, width: int) -> None:
    """Write a picture, at most so wide."""
    picture = Image.open(io.BytesIO(data)).convert("RGB")
    picture = picture.resize((width, picture.height * width // picture.width))
    picture.save(file, quality=80)
