"""Prints every call word for word: what was sent, and the whole reply with its judgments."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from routemoa.clients.http import HttpClient
from routemoa.clients.protocol.wire import build_body
from routemoa.clients.transport.timeouts import Timeouts
from routemoa.core.errors import ModelError
from routemoa.core.protocols import Runtime
from routemoa.core.tables.caps_table import ReplyCaps
from routemoa.core.text.printable import printable
from routemoa.core.types import Completion, ModelSpec, Request, Thinking, to_json

__all__ = ["LoggedClient"]


class LoggedClient(HttpClient):
    """A client that prints each attempt of a call when it ends. Keys are in headers, which are not printed."""

    def __init__(
        self,
        console: Console,
        runtime: Runtime | None,
        *,
        timeouts: Timeouts = Timeouts(),  # noqa: B008  (frozen)
        caps: ReplyCaps = ReplyCaps(),  # noqa: B008
    ) -> None:
        super().__init__(runtime, timeouts=timeouts, caps=caps)
        self._console = console

    async def attempt(
        self, model: ModelSpec, request: Request, deadline: float
    ) -> AsyncGenerator[str | Thinking | Completion, None]:
        """Yield what one attempt gives, and print it. Raises ModelError."""
        text: list[str] = []
        outcome = "cancelled"
        try:
            async with aclosing(super().attempt(model, request, deadline)) as pieces:
                async for piece in pieces:
                    if isinstance(piece, Completion):
                        outcome = f"replied, finish_reason {piece.finish_reason}"
                        text = [piece.text]
                    elif isinstance(piece, str):
                        text.append(piece)
                    yield piece
        except ModelError as e:
            outcome = f"failed: {e.reason}"
            raise
        finally:
            self._print(model, request, outcome, "".join(text))

    def _print(self, model: ModelSpec, request: Request, outcome: str, reply: str) -> None:
        body = build_body(model, request, model.model, stream=True)
        messages = body.pop("messages")
        settings = ", ".join(f"{key} = {_to_text(value)}" for key, value in body.items())
        self._print_text(f"call of {model.name}, {request.purpose}: {outcome} ({settings})", 0, "bold dim")
        for message in messages:
            self._print_text(f"{message['role']}:", 2, "dim")
            self._print_text(_to_text(message["content"]), 4, "dim")
        if reply:
            self._print_text("reply, word for word:", 2, "dim")
            self._print_text(reply, 4, "dim")

    def _print_text(self, text: str, indent: int, style: str) -> None:
        self._console.print(Padding(Text(printable(text).rstrip(), style=style), (0, 0, 0, indent)))


def _to_text(value: Any) -> str:
    return value if isinstance(value, str) else to_json(value).decode()
