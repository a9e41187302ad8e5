"""An agent that needs twelve tool steps: calls of the mixture beside the single model's, and the prompt cache.

    .venv/bin/python benchmarks/tool_steps.py [--steps 12] [--embedded] [--json FILE]

(a) Scripted endpoints over real sockets: three members, of which the first two propose different calls on the user's
turn, so that the panel grows. After each tool result one model goes on. Bar: 1.3 times the single model's calls.
(b) `--embedded`: `routemoa serve` before the embedded 1.5B and 0.5B models, asked over HTTP with `tool_choice`
required; an agent's rules and tools (about 1,000 tokens) and short results. The share of the prompt tokens of steps 2
to the last that the embedded server read from its prompt cache, as the responses report them. Bar: at least 90 %.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from served import post, serving

from routemoa.core.chat.messages import parse_messages
from routemoa.core.pool_file.pool import Pool
from routemoa.core.tools import ToolUse, declare_calls
from routemoa.core.trace import Trace
from routemoa.core.types import ModelSpec, Query
from routemoa.mixture.engine import RouteMoA
from routemoa.testing import FakeEndpoint

TASK = "Read the twelve pages of the report one after the other, and say then what it is about."
TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "read_page",
        "description": "Read a page of the report.",
        "parameters": {
            "type": "object",
            "properties": {"page": {"type": "integer", "minimum": 1, "maximum": 99}},
            "required": ["page"],
        },
    },
}
PAGE = "Page {0} tells of harbour {0}: how many ships called there, what they carried, and who paid the pilots. " * 6
RESULT = "The page tells of a harbour: how many ships called there, what they carried, and who paid the pilots."
RULES = "You are an agent that reads reports for the harbour office.\n" + "\n".join(
    f"Rule {i}: when a page names ship {i * 37}, look it up in ledger {i % 7} and never answer before page {i}."
    for i in range(1, 25)
)
FURTHER_TOOLS = [
    {
        "type": "function",
        "function": {
            "name": f"search_{place}",
            "description": f"Search the {place} of the harbour office for a word.",
            "parameters": {"type": "object", "properties": {"word": {"type": "string"}}, "required": ["word"]},
        },
    }
    for place in ("ledger", "archive", "mail")
]
EMBEDDED = "".join(
    f"""[[model]]
name = "coder-{size}b"
endpoint = "local"
model = "qwen2.5-coder-{size}b"
prior = {prior}
parameters = {{ temperature = 0.0 }}
"""
    for size, prior in ((1.5, 0.7), (0.5, 0.5))
)


def scripted(first: int) -> Any:
    """A member that begins with a page of its own, then reads on."""

    def reply(body: dict[str, Any]) -> dict[str, Any]:
        read = sum(m["role"] == "tool" for m in body["messages"])
        function = {"name": "read_page", "arguments": json.dumps({"page": read + 1 if read else first})}
        return {"tool_calls": [{"id": f"own-{read}", "type": "function", "function": function}]}

    return reply


async def run_agent(mixture: RouteMoA, steps: int) -> list[Trace]:
    """Run the agent's loop; return the trace of each step."""
    messages: list[dict[str, Any]] = [{"role": "user", "content": TASK}]
    traces = []
    for step in range(1, steps + 1):
        query = Query(parse_messages(messages), {"max_tokens": 64}, tools=ToolUse((TOOL,)))
        answer = await mixture.answer(query)
        traces.append(answer.trace)
        calls = declare_calls(answer.trace.tool_calls)
        messages.append({"role": "assistant", "content": answer.text or None, "tool_calls": calls})
        messages += [{"role": "tool", "tool_call_id": c["id"], "content": PAGE.format(step)} for c in calls]
    return traces


async def count_calls(steps: int) -> dict[str, Any]:
    """Return the calls of the mixture and of one model alone."""
    async with AsyncExitStack() as stack:
        endpoints = [await stack.enter_async_context(FakeEndpoint(scripted(first))) for first in (2, 1, 1)]
        specs = tuple(ModelSpec(f"m{i}", e.url, f"m{i}", prior=0.6 - 0.01 * i) for i, e in enumerate(endpoints))
        mixture = RouteMoA(Pool(specs))
        traces = await run_agent(mixture, steps)
        await mixture.client.close()
    calls = [trace.calls for trace in traces]
    return {"steps": steps, "calls": calls, "ratio": sum(calls) / steps}


async def measure_cache(steps: int) -> dict[str, Any]:
    """Return the share of prompt tokens of the later steps that came from the embedded server's cache."""
    with TemporaryDirectory() as directory:
        pool = write_pool(Path(directory))
        async with serving(Path(directory, "log"), "--no-store", "--pool", str(pool)) as server:
            rows = [row async for row in ask_embedded(server.port, steps)]
    cached, prompt = (sum(row[key] for row in rows[1:]) for key in ("cached", "prompt"))
    return {"rows": rows, "cached": cached, "prompt": prompt, "share": cached / prompt}


def write_pool(directory: Path) -> Path:
    """Write a pool file of the two embedded models that know a form for calls; return its path."""
    path = directory / "pool.toml"
    path.write_text(EMBEDDED)
    return path


async def ask_embedded(port: int, steps: int) -> AsyncIterator[dict[str, Any]]:
    """Run the agent's loop against the server; yield what each step's model was sent, and what of it was cached."""
    messages: list[dict[str, Any]] = [{"role": "system", "content": RULES}, {"role": "user", "content": TASK}]
    fields = {"model": "routemoa", "tools": [TOOL, *FURTHER_TOOLS], "tool_choice": "required", "max_tokens": 40}
    for step in range(1, steps + 1):
        reply = await post(port, {**fields, "messages": messages})
        body = json.loads(reply.body)
        if reply.status != 200:
            raise SystemExit(f"step {step}: {body['error']['message']}")
        message, usage = body["choices"][0]["message"], body["usage"]
        told = body["routemoa"]
        yield {
            "step": step,
            "model": told["choice"],
            "calls": told["calls"],
            "prompt": usage["prompt_tokens"],
            "cached": usage["prompt_tokens_details"]["cached_tokens"],
            "arguments": [call["function"]["arguments"] for call in message["tool_calls"]],
        }
        messages.append(message)
        messages += [{"role": "tool", "tool_call_id": c["id"], "content": RESULT} for c in message["tool_calls"]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--embedded", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    figures: dict[str, Any] = {"calls": asyncio.run(count_calls(options.steps))}
    print(figures["calls"])
    if options.embedded:
        figures["cache"] = asyncio.run(measure_cache(options.steps))
        for row in figures["cache"]["rows"]:
            print(row)
        print({key: value for key, value in figures["cache"].items() if key != "rows"})
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
