"""Runs the application with uvicorn: the first signal lets running answers end, a second Ctrl-C cancels them."""

from __future__ import annotations

import asyncio
import errno
import logging
import math
import signal
import socket
from collections.abc import Awaitable, Callable
from functools import partial
from time import monotonic
from types import FrameType
from typing import Any, cast

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from routemoa.core.errors import ConfigError
from routemoa.core.tables.server_table import ServerSettings
from routemoa.gateway.guards.connections import ConnectionRegistry
from routemoa.gateway.guards.descriptors import default_max_connections, descriptor_limit
from routemoa.gateway.guards.protocol import HTTP_LOGGER, GuardedProtocol
from routemoa.gateway.http_exchange.request_headers import index_headers

__all__ = ["Server", "listen"]

BACKLOG = 2048
"""Connections that the system holds until they are accepted; it refuses more."""
SWEEP_SECONDS = 1.0
"""Between two looks at the deadlines of all connections."""
FORWARDED_HEADERS = frozenset({b"x-forwarded-proto", b"x-forwarded-for"})
"""In which a proxy says for whom it forwards a request."""


class ForwardedMiddleware(ProxyHeadersMiddleware):
    """uvicorn's, which believes a proxy on this machine, without its detour for a request that no proxy forwarded."""

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:  # type: ignore[override]
        """Serve one request, or the lifespan."""
        if scope["type"] == "lifespan" or FORWARDED_HEADERS.isdisjoint(index_headers(scope)):
            app: Any = self.app
            return cast("Awaitable[None]", app(scope, receive, send))
        return super().__call__(scope, receive, send)  # type: ignore[arg-type]


class Server(uvicorn.Server):
    """uvicorn with four differences.

    It calls back when it is ready. A second Ctrl-C cancels the running answers. At the end it returns, instead of
    ending the process by the signal it got, so that the caller can clean up. Its connections have deadlines, and there
    is a cap on their number.

    Args:
        app: the application.
        ready: called once the server accepts requests.
        settings: of connections.
    """

    def __init__(
        self,
        app: ASGIApp,
        ready: Callable[[], None],
        settings: ServerSettings = ServerSettings(),  # noqa: B008  (frozen)
    ) -> None:
        limit = settings.max_connections or default_max_connections(descriptor_limit())
        self._registry = ConnectionRegistry(limit, settings.max_connections_per_address or math.ceil(0.9 * limit))
        config = uvicorn.Config(
            app,
            http=cast("type[asyncio.Protocol]", partial(GuardedProtocol, self._registry, settings)),
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,  # `request_log` says more
            server_header=False,
            backlog=BACKLOG,
            timeout_keep_alive=math.ceil(settings.idle_seconds),
            interface="asgi3",
            proxy_headers=False,
        )
        config.app = ForwardedMiddleware(cast(Any, app), config.forwarded_allow_ips)
        super().__init__(config)
        self._ready = ready
        self._loop: asyncio.AbstractEventLoop | None = None

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until SIGTERM or Ctrl-C, and then until the running answers have ended."""
        self._loop = asyncio.get_running_loop()
        # uvicorn raises the signal again at its end, when these handlers are back in place, and ignore it.
        before = {sig: signal.signal(sig, _ignore_signal) for sig in (signal.SIGINT, signal.SIGTERM)}
        sweeping = asyncio.create_task(self._check_deadlines())
        try:
            await super().serve(sockets)
        finally:
            sweeping.cancel()
            for sig, handler in before.items():
                signal.signal(sig, handler)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and call `ready`."""
        await super().startup(sockets)
        if self.started:
            self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let running answers end, and those of connections that uvicorn does not know of yet."""
        self._registry.is_closing = True
        await super().shutdown(sockets)

    def is_stopping(self) -> bool:
        """Return whether the server accepts no more requests and waits for the end of those that run."""
        return self.should_exit

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Accept no more requests after the first signal; cancel the running answers after a second Ctrl-C."""
        super().handle_exit(sig, frame)
        if self.force_exit and self._loop is not None:
            for name in ("uvicorn.error", HTTP_LOGGER):  # they report each cancelled answer as an error
                logging.getLogger(name).disabled = True
            self._loop.call_soon_threadsafe(self._cancel_answers)

    async def _check_deadlines(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            now = monotonic()
            for connection in self._registry:
                connection.check_deadlines(now)

    def _cancel_answers(self) -> None:
        tasks = self.server_state.tasks
        for task in list(tasks):
            task.add_done_callback(tasks.discard)  # one that has not begun does not take itself out
            task.cancel()


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket; port 0 takes any free port.

    Raises:
        ConfigError: the address is taken, not allowed or invalid; one line with the fix.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listening = socket.create_server(address[:2], family=family, backlog=BACKLOG)
        # Accepted sockets inherit the option. asyncio sets it only on sockets that name their protocol, which these do
        # not. Without it a piece of a stream waits about 40 ms for the reader's delayed ACK of the piece before.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listening
    except (OSError, OverflowError) as e:
        number = getattr(e, "errno", None)
        if number == errno.EADDRINUSE:
            raise ConfigError(
                f"port {port} on {host} is taken; choose another with --port, or --port 0 for any free one"
            ) from e
        if number == errno.EACCES:
            raise ConfigError(f"port {port} needs special rights; choose one above 1023 with --port") from e
        reason = getattr(e, "strerror", None) or e
        raise ConfigError(f"cannot listen on {host} port {port}: {reason}; correct --host or --port") from e


def _ignore_signal(_: int, __: FrameType | None) -> None:
    pass
