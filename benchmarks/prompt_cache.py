"""Do prompt caches survive a mixture? The embedded SmolLM2 answers, improves in layer 2 and writes the final answer.

    .venv/bin/python benchmarks/prompt_cache.py [--json benchmarks/results/prompt_cache.json]

Needs the weights: routemoa pool fetch --only smollm2-135m. One long system text and one question, asked of MoA: two
members on the same weights (a slot of llama.cpp's server each), two layers, then the aggregator. For every call, in the
order of their ends: the prompt's tokens, how many of them the server took from its cache, and the milliseconds to the
first token (both cores are shared by all that run at the same time). Every prompt begins with the conversation, so its
length is what a call after the first can expect. "changing first" is the counterproof: the prompts of layer 2 and of
the aggregator, with the quoted answers put before the conversation.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

from msgspec.structs import replace

from routemoa.clients.http import HttpClient
from routemoa.clients.local import LocalRuntime
from routemoa.core.pool_file.pool import Pool
from routemoa.core.tables.mixture_table import Mixture
from routemoa.core.types import Completion, Message, ModelSpec, Query, Request, Thinking
from routemoa.mixture.baselines import MoA
from routemoa.mixture.prompts import AGGREGATE, IMPROVE

RULES = "\n".join(
    f"Rule {i}: when a customer asks about order {i * 37}, look it up in ledger {i % 7}, answer in two sentences, and "
    f"never promise a refund above {i * 3} dollars without asking the office in town {i % 11}."
    for i in range(1, 31)
)
QUESTION = "My order 74 is late. What can you do for me?"
SETTINGS = {"temperature": 0.8, "max_tokens": 48}


class Watching:
    """A client that remembers what was asked and what the cache did."""

    def __init__(self, client: HttpClient) -> None:
        self._client = client
        self.calls: list[tuple[ModelSpec, Request, Completion]] = []

    async def stream(self, model: ModelSpec, request: Request) -> AsyncGenerator[str | Thinking | Completion, None]:
        async with aclosing(self._client.stream(model, request)) as pieces:
            async for piece in pieces:
                if isinstance(piece, Completion):
                    self.calls.append((model, request, piece))
                yield piece

    async def close(self) -> None:
        await self._client.close()


def asked_for(request: Request) -> str:
    said = request.messages[-1].content
    return "aggregator" if AGGREGATE in said else "layer 2" if IMPROVE in said else "layer 1"


def row(request: Request, completion: Completion) -> dict[str, object]:
    usage = completion.usage
    assert usage.prompt_tokens is not None
    assert usage.cached_tokens is not None, "this server reports no cached tokens"
    return {
        "call": asked_for(request),
        "prompt_tokens": usage.prompt_tokens,
        "cached_tokens": usage.cached_tokens,
        "first_token_ms": None if completion.first_token is None else round(1e3 * completion.first_token),
    }


def changing_first(request: Request) -> Request:
    """The same call with what changes before what is stable."""
    *head, last = request.messages
    asked, _, tail = last.content.partition("\n\n---\n")
    return replace(request, messages=(Message("system", f"{tail}\n\n{head[0].content}"), Message("user", asked)))


async def one(client: Watching, model: ModelSpec, request: Request) -> Completion:
    async with aclosing(client.stream(model, request)) as pieces:
        async for _ in pieces:
            pass
    return client.calls[-1][2]


async def run() -> dict[str, object]:
    models = tuple(
        ModelSpec(f"member {i}", "local", "smollm2-135m", context=4096, parameters={**SETTINGS, "seed": i})
        for i in (1, 2)
    )
    client = Watching(HttpClient(runtime=LocalRuntime(Path.cwd())))
    try:
        await MoA(Pool(models, Mixture(layers=2)), client).answer(Query.from_text(QUESTION, RULES))
        calls = list(client.calls)
        alone = await one(client, models[0], Request((Message("system", RULES), Message("user", QUESTION)), SETTINGS))
        quoting = {q.messages: (m, q) for m, q, _ in calls if asked_for(q) != "layer 1"}
        turned = [row(q, await one(client, m, changing_first(q))) for m, q in quoting.values()]
    finally:
        await client.close()
    return {
        "command": ".venv/bin/python benchmarks/prompt_cache.py",
        "machine": platform.machine(),
        "conversation_tokens": alone.usage.prompt_tokens,
        "stable first": [row(q, c) for _, q, c in calls],
        "changing first": turned,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    found = json.dumps(asyncio.run(run()), indent=2)
    print(found)
    if arguments.json:
        arguments.json.write_text(found + "\n")


if __name__ == "__main__":
    main()
