"""Takes over a changed pool file while requests run: each ends with the reading that it began with."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Protocol

from msgspec.structs import replace
from starlette.applications import Starlette
from starlette.types import ASGIApp, Receive, Scope, Send

from routemoa.core.errors import RouteMoAError
from routemoa.core.learned.learned_priors import list_corrected
from routemoa.core.pool_file.pool import Pool
from routemoa.core.pool_file.pool_files import POLL_SECONDS, read_signature
from routemoa.gateway.server_state import ServerState

__all__ = ["Generation", "ReloadingApp"]

logger = logging.getLogger("routemoa.gateway")

AT_ONCE: dict[str, Callable[[Pool], object]] = {
    "[mixture]": lambda pool: (pool.mixture, pool.judge),
    "[limits]": lambda pool: pool.limits,
    "[patience]": lambda pool: pool.patience,
    "[caps]": lambda pool: pool.caps,
    "[gateway]": lambda pool: replace(pool.gateway, redact=False, admin_key_env=None),
    "[scorer]": lambda pool: pool.scorer,
    "[learning]": lambda pool: replace(pool.learning, path=None),
    "[[tenant]]": lambda pool: (pool.tenants.members, pool.tenants.digests),
    "[totals]": lambda pool: pool.tenants.totals,
    "the learned judge model": lambda pool: pool.learned_judge,
}
"""What of a pool file holds from its reading on, beside the models and what was learned of them."""
AFTER_RESTART: dict[str, Callable[[Pool], object]] = {
    "[server]": lambda pool: pool.server,
    "[traces]": lambda pool: pool.traces,
    "[batches]": lambda pool: pool.batches,
    "redact": lambda pool: pool.gateway.redact,
    "admin_key_env": lambda pool: pool.gateway.admin_key_env,
}
"""What of a pool file is read at the start alone."""


class PoolClient(Protocol):
    """The client of a generation."""

    async def close(self) -> None:
        """End its connections."""
        ...


class Generation:
    """The application of one reading of the pool file. Its client is closed once it is retired and nothing runs.

    Args:
        pool: as it was read.
        app: serves its requests.
        client: that the application uses.
    """

    def __init__(self, pool: Pool, app: ASGIApp, client: PoolClient) -> None:
        self.pool = pool
        self.client = client
        self.running = 0
        self._app = app
        self._is_retired = False

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        self.running += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self.running -= 1
            if self._is_retired:
                await self._close_if_done()

    async def retire(self) -> None:
        """Serve no new request."""
        self._is_retired = True
        await self._close_if_done()

    async def _close_if_done(self) -> None:
        if not self.running:
            await self.client.close()


class ReloadingApp:
    """An ASGI application that serves the newest reading of a pool file.

    The file is read again when it changes, at SIGHUP, and when `state.reload` is called. One that is wrong is refused,
    and the reading of before stays.

    Args:
        first: the first reading.
        load: reads the files again and returns what serves them; blocks. Raises RouteMoAError.
        state: what all readings share.
        files: whose change is looked for; none are watched where it is empty.
    """

    def __init__(
        self,
        first: Generation,
        load: Callable[[Generation], Generation],
        state: ServerState,
        files: Callable[[Pool], Sequence[Path]],
    ) -> None:
        self._current = first
        self._load = load
        self._state = state
        self._files = files
        self._lock = asyncio.Lock()
        self._lifespan = Starlette(lifespan=lambda _: self._run())
        state.reload = self.reload

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Serve one connection, or the lifespan."""
        return (self._lifespan if scope["type"] == "lifespan" else self._current.serve)(scope, receive, send)

    @property
    def pool(self) -> Pool:
        """The pool as it was read last."""
        return self._current.pool

    async def reload(self) -> None:
        """Read the pool file again and take it over.

        Raises:
            RouteMoAError: it is wrong; the reading of before stays.
        """
        async with self._lock:
            before = self._current
            try:
                fresh = await asyncio.to_thread(self._load, before)
            except RouteMoAError as e:
                self._state.metrics.reloads.labels("refused").inc()
                logger.warning("the pool file is refused, and stays as it was: %s", e)
                raise
            await self._state.keyring.replace_members(fresh.pool.tenants)
            self._current = fresh
            self._state.metrics.reloads.labels("ok").inc()
            logger.warning("%s", describe_change(before.pool, fresh.pool))
            await before.retire()

    @asynccontextmanager
    async def _run(self) -> AsyncGenerator[None, None]:
        loop = asyncio.get_running_loop()
        with suppress(NotImplementedError, RuntimeError, ValueError, AttributeError):  # Windows; another thread
            loop.add_signal_handler(signal.SIGHUP, lambda: asyncio.ensure_future(self._try_reload()))
        watching = asyncio.create_task(self._watch())
        async with self._state.running():
            try:
                yield
            finally:
                watching.cancel()
                await self._current.client.close()

    async def _watch(self) -> None:
        """Look for changes, for ever. A file is read once it has stayed the same between two looks."""
        known = seen = read_signature(self._files(self.pool))
        while True:
            await asyncio.sleep(POLL_SECONDS)
            now = read_signature(self._files(self.pool))
            if now != known and now == seen:
                known = now
                await self._try_reload()
            seen = now

    async def _try_reload(self) -> None:
        try:
            await self.reload()
        except RouteMoAError:
            pass  # it is in the log
        except Exception:  # a defect: the watch goes on, so that the next change is seen
            logger.exception("the pool file could not be read again, and stays as it was")


def describe_change(before: Pool, now: Pool) -> str:
    """Return what a new reading of a pool file changes, in one line."""
    old, new = {m.name: m for m in before}, {m.name: m for m in now}
    parts = [
        ("new", [name for name in new if name not in old]),
        ("gone", [name for name in old if name not in new]),
        (
            "changed",
            [
                *(name for name in new if name in old and new[name] != old[name]),
                *(name for name, read in AT_ONCE.items() if read(before) != read(now)),
            ],
        ),
        ("changed priors", list_corrected(before.learned, now.learned)),
    ]
    said = [f"{what}: {', '.join(names)}" for what, names in parts if names]
    if later := [name for name, read in AFTER_RESTART.items() if read(before) != read(now)]:
        said.append(f"only after a restart: {', '.join(later)}")
    return f"the pool file was read again; {'; '.join(said) or 'it says what it said before'}"
