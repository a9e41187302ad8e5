"""What the tools do, without the protocol: ask, compare, explain."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any
from uuid import uuid4

from msgspec.structs import replace

from routemoa.clients.http import HttpClient
from routemoa.core.errors import ConfigError, QueryError
from routemoa.core.pool_file.pool import Pool, parse_limits
from routemoa.core.trace import Answer, Trace
from routemoa.core.types import Query
from routemoa.gateway.mcp.accounts import explain_trace, tell_answer, tell_panel
from routemoa.gateway.mcp.panel import Panel
from routemoa.mixture.engine import RouteMoA

__all__ = ["Tools"]

KEPT_TRACES = 100
PANEL_SIZE = 5
"""Members that `compare` asks, the best by their priors, unless it is told which."""


class Tools:
    """What the tools do.

    Args:
        pool: the models.
        client: calls them.
    """

    def __init__(self, pool: Pool, client: HttpClient) -> None:
        self._pool, self._client = pool, client
        self._mixture = RouteMoA(pool, client)
        self._traces: OrderedDict[str, Trace] = OrderedDict()

    async def ask(self, question: str, system: str | None = None, **limits: Any) -> dict[str, Any]:
        """Answer a question; `limits` are keys of `[limits]`. Raises RouteMoAError."""
        answer = await self._mixture.answer(_query(question, system, limits))
        return tell_answer(answer, self._keep(answer))

    async def compare(self, question: str, models: list[str] | None = None, **limits: Any) -> dict[str, Any]:
        """Ask several members the same question at once. Raises RouteMoAError."""
        members = [self._pool[name] for name in self._check_names(models or self._best_members())]
        panel = Panel(members, self._client, self._pool.limits)
        answer = await panel.answer(_query(question, None, limits))
        return tell_panel(answer, self._keep(answer))

    def explain(self, trace_id: str, *, with_texts: bool) -> dict[str, Any]:
        """Return how an earlier answer came about. Raises QueryError."""
        trace = self._traces.get(trace_id)
        if trace is None:
            raise QueryError(f"no trace {trace_id[:60]!r} is kept here: the last {KEPT_TRACES} of this server are")
        found = explain_trace(trace)
        if not with_texts:
            for answer in (answer for layer in found["layers"] for answer in layer["answers"].values()):
                del answer["text"]
        return found

    def _keep(self, answer: Answer) -> str:
        trace_id = uuid4().hex[:12]
        self._traces[trace_id] = answer.trace
        while len(self._traces) > KEPT_TRACES:
            self._traces.popitem(last=False)
        return trace_id

    def _best_members(self) -> list[str]:
        ranked = sorted(self._pool, key=lambda m: -(m.prior if m.prior is not None else 0.5))
        return [m.name for m in ranked[:PANEL_SIZE]]

    def _check_names(self, names: list[str]) -> list[str]:
        if unknown := [name for name in names if name not in self._pool]:
            known = ", ".join(m.name for m in self._pool)
            raise QueryError(f"no model {unknown[0][:80]!r} in the pool; known: {known}", "models")
        return list(dict.fromkeys(names))


def _query(question: str, system: str | None, limits: dict[str, Any]) -> Query:
    """Return the query of a tool's arguments. Raises QueryError."""
    if not question.strip():
        raise QueryError("the question is empty", "question")
    set_limits = {name: value for name, value in limits.items() if value is not None}
    try:
        wanted = parse_limits(set_limits, "limits")
    except ConfigError as e:  # a setting of the caller's, not of the pool file
        raise QueryError(str(e).removeprefix("limits: ")) from e
    return replace(Query.from_text(question, system), limits=wanted)
