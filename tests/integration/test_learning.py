"""The whole loop with a real server process: answers, feedback, `routemoa learn`, and traffic that shifts."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from openai import AsyncOpenAI

from routemoa.testing import FakeEndpoint
from tests.gateway.lifecycle.test_server import serve

POOL = """[[model]]
name = "praised"
endpoint = "{url}"
prior = 0.9

[[model]]
name = "plain"
endpoint = "{url}"
prior = 0.6
"""
REQUESTS = 120


def reply(body: dict[str, Any]) -> str:
    return "The answer is 5." if body["model"] == "praised" else "The answer is 4."


async def ask(sdk: AsyncOpenAI, number: int) -> str:
    """Ask a question whose answer is 4, say so, and return what was answered."""
    question: Any = {"role": "user", "content": f"What is 2+2? Question {number}."}
    done = await sdk.chat.completions.create(model="routemoa", messages=[question])
    await sdk.post("/feedback", body={"id": done.id, "expected": "4", "grader": "numeric"}, cast_to=object)
    return done.choices[0].message.content or ""


async def learn(pool: Path, *more: str) -> dict[str, Any]:
    command = (sys.executable, "-m", "routemoa", "learn", "--pool", str(pool), "--json", *more)
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    assert process.returncode == 0
    report: dict[str, Any] = json.loads(out)
    return report


async def test_traffic_leaves_a_model_that_callers_find_wrong(tmp_path: Path) -> None:
    pool, store = tmp_path / "pool.toml", tmp_path / "s.db"
    async with FakeEndpoint(reply) as endpoint:
        pool.write_text(POOL.format(url=endpoint.url))
        async with serve(pool, "--store", str(store)) as server:
            first = [await ask(server.sdk, i) for i in range(REQUESTS)]
            assert first.count("The answer is 5.") > REQUESTS / 2, "its prior is the best"
            report = await learn(pool, "--store", str(store))
            assert (report["action"], report["outcomes"]) == ("taken over", REQUESTS), report
            async with asyncio.timeout(20):
                number = REQUESTS
                while await ask(server.sdk, number) != "The answer is 4.":
                    number += 1
                    await asyncio.sleep(0.1)
            later = [await ask(server.sdk, 10_000 + i) for i in range(20)]
            assert later.count("The answer is 4.") == 20
            await learn(pool, "--undo")
            async with asyncio.timeout(20):
                while await ask(server.sdk, number) != "The answer is 5.":
                    number += 1
                    await asyncio.sleep(0.1)
            server.process.terminate()
            _, log = await server.end()
    assert log.count("changed: the learned judge model; changed priors: praised, plain") == 2, "learned, and undone"


async def test_a_server_learns_by_itself(tmp_path: Path) -> None:
    pool, store = tmp_path / "pool.toml", tmp_path / "s.db"
    async with FakeEndpoint(reply) as endpoint:
        pool.write_text(f'{POOL.format(url=endpoint.url)}\n[learning]\nevery = "2s"\nmin_outcomes = 30\nexplore = 0\n')
        async with serve(pool, "--store", str(store), "--no-watch") as server:
            assert await ask(server.sdk, 0) == "The answer is 5."
            number = 1
            async with asyncio.timeout(60):
                while await ask(server.sdk, number) != "The answer is 4.":
                    number += 1
                    await asyncio.sleep(0.02)
            assert number >= 30
    steps = [json.loads(line) for line in (tmp_path / "learned" / "log.jsonl").read_text().splitlines()]
    assert steps[-1]["action"] in {"taken over", "kept"}
    assert "taken over" in {step["action"] for step in steps}
