"""The gateway under Ray Serve:  serve run routemoa.gateway.ray_app:app pool=pool.toml

Each replica serves the application of `routemoa serve`. Ray Serve's proxy stands before the replicas, starts more of
them while many requests are under way, and replaces those that die.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from routemoa.clients.weights.absent import without_missing_weights
from routemoa.core.errors import ConfigError, MissingExtra
from routemoa.core.pool_file.pool import Pool
from routemoa.core.system.garbage_collection import spare_garbage_collection
from routemoa.gateway.background_learning import learning_beside
from routemoa.gateway.guards.descriptors import raise_limit
from routemoa.gateway.guards.request_ids import REQUEST_ID
from routemoa.gateway.lifecycle.startup import find_access, is_loopback, open_gateway, set_up_log
from routemoa.ledger import StoreLocation, find_store

if TYPE_CHECKING:  # it needs POSIX
    from routemoa.gateway.workers.shared_state import SharedState

__all__ = ["GatewayReplica", "ReplicaSettings", "ServeApp", "app", "check_machines", "read_settings"]

DEPLOYMENT = "gateway"
MAX_ONGOING = 10_000
"""Requests of a replica: what is too much the gateway refuses itself, in the words of the API that was asked."""
SHUTDOWN_SECONDS = 150.0
"""For running answers, and for a stream of the dashboard, which ends after two minutes."""
NO_STORE = "none"


class ReplicaSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """The arguments of the application."""

    pool: str | None = None
    """The pool file, at the same path on every machine; else ROUTEMOA_POOL, else the default pool."""
    store: str | None = None
    """The ledger: a file, a PostgreSQL URL, or "none"; else ROUTEMOA_STORE. A password is better kept in that."""
    insecure: bool = False
    """Let other machines in although there are no keys."""
    watch: bool = True
    """Read the pool file again when it changes."""
    verbose: bool = False
    """Log a line for each request, without its text."""
    otel: bool = False
    """Send OpenTelemetry's spans."""
    num_cpus: float = 1.0
    """That Ray sets aside for a replica."""
    min_replicas: int = 1
    max_replicas: int = 4
    target_ongoing_requests: float = 100.0
    """Requests under way for each replica; with more of them Ray starts another one."""

    def read_pool(self) -> Pool:
        """Read the pool file. Raises ConfigError."""
        return without_missing_weights(Pool.default(self.pool))

    @property
    def path(self) -> StoreLocation | None:
        """Return where the ledger is; None keeps none. Raises ConfigError."""
        return None if self.store == NO_STORE else find_store(self.store)


def app(args: dict[str, Any]) -> Any:
    """Return the application that `serve run` and `serve deploy` start; its arguments are `ReplicaSettings`.

    Raises:
        ConfigError: an argument is wrong.
        MissingExtra: Ray Serve is not installed.
    """
    try:
        from ray import serve
    except ImportError as e:
        raise MissingExtra("Ray Serve", "ray-serve") from e
    settings = read_settings(args)
    deployment: Any = serve.deployment(
        name=DEPLOYMENT,
        ray_actor_options={"num_cpus": settings.num_cpus},
        autoscaling_config={
            "min_replicas": settings.min_replicas,
            "max_replicas": settings.max_replicas,
            "target_ongoing_requests": settings.target_ongoing_requests,
        },
        max_ongoing_requests=MAX_ONGOING,
        graceful_shutdown_timeout_s=SHUTDOWN_SECONDS,
    )
    return deployment(serve.ingress()(GatewayReplica)).bind(settings)


def read_settings(args: Mapping[str, Any]) -> ReplicaSettings:
    """Return the settings that the arguments say; a relative path is one of this folder. Raises ConfigError."""
    try:
        settings = msgspec.convert(dict(args), ReplicaSettings, strict=False)
    except msgspec.ValidationError as e:
        known = ", ".join(ReplicaSettings.__struct_fields__)
        raise ConfigError(f"arguments of the application: {e}; there are {known}") from e
    pool = settings.pool or os.environ.get("ROUTEMOA_POOL")
    return msgspec.structs.replace(settings, pool=str(Path(pool).expanduser().resolve()) if pool else None)


class GatewayReplica:
    """One replica. Ray Serve makes it, asks for its application and its health, and ends it.

    Args:
        settings: the arguments of the application.

    Raises:
        RouteMoAError: the pool or the store cannot be used, or not in this way on this cluster.
    """

    async def __init__(self, settings: ReplicaSettings) -> None:  # type: ignore[misc]  # Ray Serve awaits it
        pool, path = settings.read_pool(), settings.path
        set_up_log(redact=pool.gateway.redact, verbose=settings.verbose)
        raise_limit()
        check_machines(path, await asyncio.to_thread(_list_machines))
        host = await asyncio.to_thread(_find_host)
        async with AsyncExitStack() as ending, AsyncExitStack() as starting:
            shared = await _share(starting, ending)
            access = find_access(pool, path)
            if not (settings.insecure or access.needs_key or is_loopback(host)):
                raise ConfigError(
                    f"Ray Serve listens on {host}: other machines may reach it, and there is no authentication without "
                    "keys: make one with  routemoa keys create NAME , or say insecure=true behind a proxy of your own"
                )
            opening = open_gateway(
                pool,
                settings.read_pool,
                path,
                access.admin_key,
                loopback=is_loopback(host),
                watch=settings.watch,
                otel=settings.otel,
                shared=shared,
            )
            served, state = await ending.enter_async_context(opening)
            self._app = ServeApp(served)
            kept = None if state.traces is None else path
            learning = learning_beside(lambda: served.pool, kept, served.reload, state.metrics.drift.note)
            await ending.enter_async_context(learning)
            spare_garbage_collection()
            self._ending = ending.pop_all()

    def __serve_build_asgi_app__(self) -> ASGIApp:
        """Return the application, to Ray Serve."""
        return self._app

    async def check_health(self) -> None:
        """Answer on the gateway's event loop: Ray Serve replaces a replica whose loop is blocked."""

    async def __del__(self) -> None:
        """Close what the application has not closed; Ray Serve awaits it."""
        await self._ending.aclose()


class ServeApp:
    """Serves an application behind Ray Serve's proxy.

    Paths are those after the prefix of the application. The id of a request is in the head of its response once: the
    proxy adds the one that it gave or was given.

    Args:
        inner: the application.
    """

    def __init__(self, inner: ASGIApp) -> None:
        self._inner = inner

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection, or the lifespan."""
        if scope["type"] == "http":
            path = scope["path"].removeprefix(scope.get("root_path", "")) or "/"
            scope = {**scope, "path": path, "root_path": ""}
            send = partial(_send_without_id, send)
        await self._inner(scope, receive, send)


async def _send_without_id(send: Send, message: Message) -> None:
    if message["type"] == "http.response.start":
        headers = [(k, v) for k, v in message.get("headers", ()) if k.lower() != REQUEST_ID.encode()]
        message = {**message, "headers": headers}
    await send(message)


def check_machines(path: StoreLocation | None, machines: int) -> None:
    """Check that the replicas of several machines share one store. Raises ConfigError."""
    if isinstance(path, Path) and machines > 1:
        raise ConfigError(
            f"the Ray cluster has {machines} machines, and {path} is a file of one: replicas on several machines share "
            "a ledger, keys and budgets in PostgreSQL; set ROUTEMOA_STORE=postgresql://... on all of them, or say "
            f"store={NO_STORE} to keep no ledger"
        )


def _list_machines() -> int:
    """Return how many machines of the cluster can hold replicas."""
    import ray

    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    alive = [node for node in nodes if node["Alive"] and node["Resources"].get("CPU")]
    return len({node["NodeManagerAddress"] for node in alive})


def _find_host() -> str:
    """Return the address that Ray Serve's proxies listen on."""
    from ray.serve.context import _get_global_client

    client: Any = _get_global_client()
    return str(client.http_config.host)


async def _share(starting: AsyncExitStack, ending: AsyncExitStack) -> SharedState | None:
    """Return what this replica shares with those beside it on this machine: rates, conversations and metrics.

    Args:
        starting: until its end no other replica starts on this machine: the first one makes the files and the store.
        ending: closes what is shared.
    """
    if sys.platform == "win32":
        return None
    import ray
    from ray import serve

    from routemoa.gateway.workers.machine_slots import MachineFolder
    from routemoa.gateway.workers.shared_state import forget_worker, open_shared_state

    name = serve.get_replica_context().app_name
    folder = MachineFolder(f"{ray.get_runtime_context().get_session_name()}-{name}")
    starting.enter_context(folder.alone())
    number = folder.take_number()
    await forget_worker(folder.path, number)
    shared = open_shared_state(folder.path, number, folder.read_secret())
    ending.callback(shared.close)
    return shared
