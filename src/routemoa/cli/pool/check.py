"""One live token from every model of a pool, and for each that gives none the line that says what to change."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import asdict, dataclass
from time import monotonic
from typing import Any

import msgspec

from routemoa.clients.http import HttpClient, Timeouts
from routemoa.clients.local import LocalRuntime
from routemoa.clients.retry import RetryPolicy
from routemoa.core.errors import (
    InvalidResponse,
    MissingExtra,
    ModelError,
    ModelHTTPError,
    ModelTimeout,
    RouteMoAError,
    Unreachable,
)
from routemoa.core.pool import Pool
from routemoa.core.types import Message, ModelSpec, Request

__all__ = ["Probe", "probe_all"]

LENGTHS = ("max_tokens", "max_completion_tokens")


@dataclass(frozen=True)
class Probe:
    """What one model said to a request for one token: seconds, or the problem in one line."""

    name: str
    latency: float | None = None
    loading: float | None = None  # of a local model, before the call
    problem: str | None = None

    @property
    def ok(self) -> bool:
        """Whether it answered."""
        return self.problem is None

    def plain(self) -> dict[str, Any]:
        """As a JSON object."""
        return {"ok": self.ok, **asdict(self)}


async def probe_all(pool: Pool) -> list[Probe]:
    """Every model at the same time, once (nothing is retried), in the pool's order."""
    runtime = LocalRuntime(pool.directory)
    client = HttpClient(runtime, timeouts=Timeouts(first_byte=60, total=60), retries=RetryPolicy(attempts=1))
    try:
        return await asyncio.gather(*[_probe(m, pool, client, runtime) for m in pool])
    finally:
        await client.close()


async def _probe(model: ModelSpec, pool: Pool, client: HttpClient, runtime: LocalRuntime) -> Probe:
    began = monotonic()
    loading: float | None = None
    try:
        if model.local:
            await runtime.address(model)
            loading = monotonic() - began
        began = monotonic()
        async with aclosing(client.stream(_short(model), Request((Message("user", "Say ok."),)))) as pieces:
            async for _ in pieces:
                pass
        return Probe(model.name, monotonic() - began, loading)
    except RouteMoAError as e:
        where = f"{pool.source}: [[model]] '{model.name}': {_key(model, e)}"
        return Probe(model.name, None, loading, f"{where}: {_reason(e)}")


def _short(model: ModelSpec) -> ModelSpec:
    """The member with its answers cut to one token, under the name for this that it already uses."""
    length = next((k for k in LENGTHS if k in model.parameters), LENGTHS[0])
    others = {k: v for k, v in model.parameters.items() if k not in LENGTHS}
    return msgspec.structs.replace(model, parameters={**others, length: 1})


def _key(model: ModelSpec, error: RouteMoAError) -> str:
    """The key of the pool file to look at."""
    match error:
        case ModelHTTPError(status=401 | 403):
            return "api_key_env"
        case ModelHTTPError(status=404) if "model" not in error.reason.lower().replace("`model`", ""):
            return "endpoint"
        case ModelHTTPError(status=429) | Unreachable() | ModelTimeout() | InvalidResponse() | MissingExtra():
            return "endpoint"
        case ModelHTTPError(status=status) if status >= 500:
            return "endpoint"
    return "model"


def _reason(error: RouteMoAError) -> str:
    """What happened, and what to do where the error itself does not say."""
    reason = error.reason if isinstance(error, ModelError) else str(error)
    match error:
        case ModelHTTPError(status=429):
            return f"{reason}; wait, or look at the provider's quota"
        case ModelHTTPError(status=status) if status >= 500:
            return f"{reason}; the server has a fault of its own: look at its log, or try later"
        case ModelHTTPError(status=400 | 422):
            return f"{reason}; correct `model` or `parameters`"
        case ModelTimeout():
            return f"{reason}; see that the server is up and `endpoint` is right"
        case InvalidResponse():
            return f"{reason}; `endpoint` must be the base URL of an OpenAI-compatible API, often ending in /v1"
    return reason
