"""Models that answer from a script, behind the `Client` protocol, without a network."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from time import perf_counter

from msgspec import Struct
from msgspec.structs import replace

from routemoa.core.errors import ModelError
from routemoa.core.types import Completion, ModelSpec, Request
from routemoa.core.usage import Usage

__all__ = ["Reply", "ScriptedCall", "ScriptedClient"]

Reply = str | Completion | ModelError
"""A text, whose usage is counted in words; a whole completion; or an error to raise."""

Script = Reply | Sequence[Reply] | Callable[[ModelSpec, Request], Reply]
"""One reply for every call; one reply for each call in turn, the last repeated; or a function of the call."""


class ScriptedCall(Struct, frozen=True):
    """A call that was made."""

    model: str
    request: Request


class ScriptedClient:
    """Answers each model's calls by its script, and keeps the calls in `calls`.

    Args:
        script: model name -> script.
        delay: seconds before the first piece of each reply.
        pieces: how many pieces a text is cut into.
    """

    def __init__(self, script: Mapping[str, Script], *, delay: float = 0.0, pieces: int = 2) -> None:
        self.calls: list[ScriptedCall] = []
        self.running = 0
        self.closed = False
        self._script = script
        self._delay = delay
        self._pieces = pieces
        self._turn: dict[str, int] = {}

    async def stream(self, model: ModelSpec, request: Request) -> AsyncGenerator[str | Completion, None]:
        """Yield the next reply of `model`, piece by piece, then its completion. Raises ModelError."""
        self.calls.append(ScriptedCall(model.name, request))
        self.running += 1
        started = perf_counter()
        try:
            reply = self._next_reply(model, request)
            await asyncio.sleep(self._delay)
            if isinstance(reply, ModelError):
                raise reply
            if isinstance(reply, str):
                prompt = sum(len(m.content.split()) for m in request.messages)
                reply = Completion(reply, Usage(prompt, len(reply.split())), "stop")
            size = max(1, -(-len(reply.text) // self._pieces))
            for start in range(0, len(reply.text), size):
                yield reply.text[start : start + size]
            yield replace(reply, latency=perf_counter() - started) if reply.latency is None else reply
        finally:
            self.running -= 1

    async def close(self) -> None:
        """Set `closed`; there is nothing to release."""
        self.closed = True

    def _next_reply(self, model: ModelSpec, request: Request) -> Reply:
        script = self._script[model.name]
        if callable(script):
            return script(model, request)
        if isinstance(script, str | Completion | ModelError):
            return script
        turn = self._turn.get(model.name, 0)
        self._turn[model.name] = turn + 1
        return script[min(turn, len(script) - 1)]
