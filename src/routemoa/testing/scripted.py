"""Models that answer from a script, behind the Client protocol, without any network."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from time import perf_counter

from msgspec import Struct
from msgspec.structs import replace

from routemoa.core.errors import ModelError
from routemoa.core.types import Completion, ModelSpec, Request, Usage

__all__ = ["Reply", "ScriptedCall", "ScriptedClient"]

Reply = str | Completion | ModelError
Script = Reply | Sequence[Reply] | Callable[[ModelSpec, Request], Reply]


class ScriptedCall(Struct, frozen=True):
    """One call that was made."""

    model: str
    request: Request


class ScriptedClient:
    """Answers each model's calls by its script, keyed by the model's name.

    A reply is a text (its usage is counted in words), a Completion, or a ModelError, which is raised; a sequence gives
    one reply after the other, the last again and again; a function sees the member and the request.

    Args:
        delay: seconds before the first piece.
        pieces: into how many deltas a text is cut.
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
        """The next reply of `model`, piece by piece."""
        self.calls.append(ScriptedCall(model.name, request))
        self.running += 1
        started = perf_counter()
        try:
            reply = self._reply(model, request)
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
        """Nothing to let go of; `closed` tells that it was called."""
        self.closed = True

    def _reply(self, model: ModelSpec, request: Request) -> Reply:
        script = self._script[model.name]
        if callable(script):
            return script(model, request)
        if isinstance(script, str | Completion | ModelError):
            return script
        turn = self._turn.get(model.name, 0)
        self._turn[model.name] = turn + 1
        return script[min(turn, len(script) - 1)]
