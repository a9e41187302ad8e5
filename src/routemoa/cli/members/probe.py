"""Ask every model of a pool for one token; for each that fails, say in one line what to change."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import asdict, dataclass, field
from time import monotonic
from typing import Any

import msgspec

from routemoa.clients.http import HttpClient
from routemoa.clients.local import LocalRuntime
from routemoa.clients.protocol.dialect import TOKEN_LIMITS, Dialect
from routemoa.clients.retry import RetryPolicy
from routemoa.clients.transport.timeouts import Timeouts
from routemoa.core.catalog.providers import load_providers
from routemoa.core.errors import (
    InvalidResponse,
    MissingExtra,
    ModelError,
    ModelHTTPError,
    ModelTimeout,
    RouteMoAError,
    Unreachable,
)
from routemoa.core.pool_file.pool import Pool
from routemoa.core.types import Message, ModelSpec, Request

__all__ = ["Probe", "probe_models"]

TIMEOUT = 60.0  # seconds
SCHEMA = {
    "type": "object",
    "properties": {"ok": {"type": "boolean"}},
    "required": ["ok"],
    "additionalProperties": False,
}
"""For members that say that they honour one."""


@dataclass(frozen=True)
class Probe:
    """The result of asking one model for one token."""

    name: str
    """Of the member."""
    latency: float | None = None
    """Seconds; None where it did not answer."""
    loading: float | None = None
    """Seconds that a local model took to load, before the call."""
    problem: str | None = None
    """What to change in the pool file, in one line."""
    status: int | None = None
    """The HTTP status of a refusal."""
    learned: Dialect = field(default_factory=Dialect)
    """The fields that the endpoint refused, and that are left out or renamed from now on."""
    cool_down: float | None = None
    """Seconds for which a server would skip the model after this failure; None where it would try again at once."""
    endpoint: str | None = None
    """The name of the endpoint, where the member has several."""

    @property
    def ok(self) -> bool:
        """Return whether the model answered."""
        return self.problem is None

    def to_plain(self) -> dict[str, Any]:
        """Return the result as a JSON object."""
        learned = {"omit": sorted(self.learned.omit), "rename": dict(self.learned.rename)}
        return {"ok": self.ok, **asdict(self), "learned": learned}


async def probe_models(pool: Pool) -> list[Probe]:
    """Ask all models at all of their endpoints at the same time, without retries; return the results in their order."""
    runtime = LocalRuntime(pool.directory)
    client = HttpClient(runtime, timeouts=Timeouts(first_byte=TIMEOUT, total=TIMEOUT), retries=RetryPolicy(attempts=1))
    try:
        return await asyncio.gather(*[_probe(place, pool, client, runtime) for m in pool for place in m.places])
    finally:
        await client.close()


async def _probe(model: ModelSpec, pool: Pool, client: HttpClient, runtime: LocalRuntime) -> Probe:
    missing = pool.absent_endpoints.get(model.name, {}).get(model.place or "")
    if model.name in pool.absent or missing is not None:
        return Probe(model.name, problem=missing or pool.absent[model.name].why, endpoint=model.place)
    started = monotonic()
    loading: float | None = None
    try:
        if model.local:
            await runtime.address(model)
            loading = monotonic() - started
        started = monotonic()
        request = _probe_request(model, pool)
        async with aclosing(client.stream(_limit_to_one_token(model), request)) as pieces:
            async for _ in pieces:
                pass
        return _ok(model, started, loading, client)
    except RouteMoAError as e:
        status = e.status if isinstance(e, ModelHTTPError) else None
        if isinstance(e, ModelHTTPError) and _thought_too_long(e):
            return _ok(model, started, loading, client)
        if isinstance(e, ModelError):
            client.memory.fail(model, e, started)
        place = "" if model.place is None else f" endpoint '{model.place}':"
        where = f"{pool.source}: [[model]] '{model.name}':{place} {_find_key(e)}"
        cool_down = client.memory.health(model).retry_in
        problem = f"{where}: {_explain(e)}"
        return Probe(model.name, None, loading, problem, status, cool_down=cool_down, endpoint=model.place)


def _ok(model: ModelSpec, started: float, loading: float | None, client: HttpClient) -> Probe:
    learned = client.memory.dialect(model)
    return Probe(model.name, monotonic() - started, loading, learned=learned, endpoint=model.place)


def _probe_request(model: ModelSpec, pool: Pool) -> Request:
    """Return the shortest call that has every field which the mixture adds to calls of this model."""
    return Request(
        (Message("user", "Say ok."),),
        logprobs=pool.mixture.self_assessment == "logprob",
        schema=SCHEMA if model.json_schema else None,
    )


def _limit_to_one_token(model: ModelSpec) -> ModelSpec:
    """Return the model with answers of one token, or as few as its provider takes.

    The parameter for this is the one that its file already uses.
    """
    key = next((k for k in TOKEN_LIMITS if k in model.parameters), TOKEN_LIMITS[0])
    others = {k: v for k, v in model.parameters.items() if k not in TOKEN_LIMITS}
    least = next((p.least_tokens for p in load_providers().values() if p.url == model.endpoint.rstrip("/")), 1)
    return msgspec.structs.replace(model, parameters={**others, key: least})


def _thought_too_long(error: ModelHTTPError) -> bool:
    """Return whether a refusal only says that a reasoning model needed its few tokens to think: so it answers."""
    return error.status == 400 and "output limit was reached" in error.reason


def _find_key(error: RouteMoAError) -> str:
    """Return the key of the pool file that an error points to."""
    match error:
        case ModelHTTPError(status=401 | 402 | 403):
            return "api_key_env"
        case ModelHTTPError(status=404) if "model" not in error.reason.lower().replace("`model`", ""):
            return "endpoint"
        case ModelHTTPError(status=429) | Unreachable() | ModelTimeout() | InvalidResponse() | MissingExtra():
            return "endpoint"
        case ModelHTTPError(status=status) if status >= 500:
            return "endpoint"
    return "model"


def _explain(error: RouteMoAError) -> str:
    """Return what happened, and what to do where the error itself does not say it."""
    reason = error.reason if isinstance(error, ModelError) else str(error)
    match error:
        case ModelHTTPError(status=402):
            return f"{reason}; add credit to the account"
        case ModelHTTPError(status=429):
            return f"{reason}; wait, or check the provider's quota"
        case ModelHTTPError(status=status) if status >= 500 and "`endpoint`" not in reason:
            return f"{reason}; the server failed: look at its log, or try again later"
        case ModelHTTPError(status=400 | 422):
            return f"{reason}; correct `model` or `parameters`"
        case ModelTimeout():
            return f"{reason}; check that the server runs and `endpoint` is right"
        case InvalidResponse():
            return f"{reason}; `endpoint` must be the base URL of an OpenAI-compatible API, often ending in /v1"
    return reason
