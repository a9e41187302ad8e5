"""The admin routes of keys: listed, created, revoked and rotated as JSON. `AuthMiddleware` asks for the admin key."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from routemoa.core.errors import ConfigError, RouteMoAError
from routemoa.core.files.toml import parse_table
from routemoa.core.pool_file.key_terms import TERMS, describe_key, make_tenant, parse_duration, parse_expiry
from routemoa.core.tables.server_table import ServerSettings
from routemoa.gateway.access.auth import ADMIN_PATH
from routemoa.gateway.access.keyring import Keyring
from routemoa.gateway.errors import HttpError, KeyNotChanged
from routemoa.gateway.http_exchange.connection import read_json_object
from routemoa.gateway.http_exchange.json_response import json_response
from routemoa.gateway.server_state import ServerState
from routemoa.ledger import StoreError, StoreLocation
from routemoa.ledger.keys import KeyNameTaken, MadeKey, UnknownKey, create_key, read_keys, revoke_key, rotate_key

__all__ = ["admin_routes"]

logger = logging.getLogger("routemoa.gateway")

BODY = "the body"
MAX_BODY_BYTES = 64 * 1024
PRIVATE = {"cache-control": "no-store"}
T = TypeVar("T")
R = TypeVar("R", bound=msgspec.Struct)


class KeyRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a request for a new key: its name, when it expires, and its terms as a `[[tenant]]` has them."""

    name: str
    expires: str | None = None
    """A duration from now, such as "30d", or a UTC day."""
    max_cost_per_day: float | None = None
    max_cost_per_month: float | None = None
    models: tuple[str, ...] | None = None
    methods: tuple[str, ...] | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrent_streams: int | None = None


class RotateRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a request for a new secret."""

    grace: str = "0s"
    """For how long the secret of before is accepted, too."""
    expires: str | None = None
    """When the key expires from now on."""


def admin_routes(path: StoreLocation, state: ServerState, settings: ServerSettings) -> list[Route]:
    """Return the routes under /admin.

    Args:
        path: of the store that holds the keys.
        state: of the server, whose keyring takes over a change at once.
        settings: the deadline of a body.
    """
    admin = _KeyAdmin(path, state.keyring, settings)
    keys = f"{ADMIN_PATH}/keys"
    return [
        Route(keys, admin.list_keys, methods=["GET"]),
        Route(keys, admin.create, methods=["POST"]),
        Route(f"{keys}/{{name}}/revoke", admin.revoke, methods=["POST"]),
        Route(f"{keys}/{{name}}/rotate", admin.rotate, methods=["POST"]),
        Route(f"{ADMIN_PATH}/reload", _Reload(state).post, methods=["POST"]),
    ]


class _Reload:
    """POST /admin/reload: reads the pool file again."""

    def __init__(self, state: ServerState) -> None:
        self._state = state

    async def post(self, _: Request) -> Response:
        """Take over the pool file as it is now. Raises HttpError where it is wrong, and stays as it was."""
        if self._state.reload is None:
            raise HttpError(409, "This server has no pool file that it could read again.", code="no_pool_file")
        try:
            await self._state.reload()
        except RouteMoAError as e:
            raise HttpError(422, f"The pool file is refused, and stays as it was: {e}", code="pool_refused") from e
        return json_response({"object": "reload", "reloaded": True}, headers=PRIVATE)


class _KeyAdmin:
    def __init__(self, path: StoreLocation, keyring: Keyring, settings: ServerSettings) -> None:
        self._path = path
        self._keyring = keyring
        self._seconds = settings.body_seconds

    async def list_keys(self, _: Request) -> Response:
        """Return all keys, without their secrets."""
        keys = await _run(read_keys, self._path)
        now = time.time()
        return json_response({"object": "list", "data": [describe_key(key, now) for key in keys]}, headers=PRIVATE)

    async def create(self, request: Request) -> Response:
        """Make a key; its secret is in this response alone."""
        asked = await self._read(request, KeyRequest)
        now = time.time()
        with _as_responses():
            tenant = make_tenant(asked.name, {term: getattr(asked, term) for term in TERMS}, BODY)
            expires = _read_expiry(asked.expires, now)
        made = await _run(create_key, self._path, tenant, now, expires)
        await self._keyring.refresh()
        return _show_made(made, 201)

    async def revoke(self, request: Request) -> Response:
        """Revoke a key for ever."""
        key = await _run(revoke_key, self._path, request.path_params["name"], time.time())
        await self._keyring.refresh()
        return json_response(describe_key(key, time.time()), headers=PRIVATE)

    async def rotate(self, request: Request) -> Response:
        """Give a key a new secret, which is in this response alone."""
        asked = await self._read(request, RotateRequest)
        now = time.time()
        with _as_responses():
            grace, expires = parse_duration(asked.grace, f"{BODY}: grace"), _read_expiry(asked.expires, now)
        made = await _run(rotate_key, self._path, request.path_params["name"], now, grace, expires)
        await self._keyring.refresh()
        return _show_made(made, 200)

    async def _read(self, request: Request, type_: type[R]) -> R:
        """Read the body; none is an empty object. Raises HttpError."""
        body: dict[str, Any] = {}
        if request.headers.get("content-length", "0") != "0" or "transfer-encoding" in request.headers:
            body = await read_json_object(request.scope, request.receive, MAX_BODY_BYTES, self._seconds)
        with _as_responses():
            return parse_table(body, type_, BODY)


@contextmanager
def _as_responses() -> Iterator[None]:
    """Turn errors about keys into responses. Raises HttpError."""
    try:
        yield
    except StoreError as e:
        logger.error("%s", e)
        raise HttpError(503, "The server's store cannot be used now; its log says why.", "no_ledger") from e
    except ConfigError as e:
        message = str(e).removesuffix("; see docs/reference/configuration.md")
        status = 404 if isinstance(e, UnknownKey) else 409 if isinstance(e, KeyNameTaken) else 400
        raise KeyNotChanged(status, message) from e


async def _run(work: Callable[..., T], *args: object) -> T:
    """Return what `work(*args)` returns, from a thread: it waits for the disk. Raises HttpError."""
    with _as_responses():
        return await asyncio.to_thread(work, *args)


def _read_expiry(text: str | None, now: float) -> float | None:
    return None if text is None else parse_expiry(text, now, f"{BODY}: expires")


def _show_made(made: MadeKey, status: int) -> Response:
    shown: dict[str, Any] = {"key": made.secret, **describe_key(made.key, made.key.secrets[-1].created)}
    return json_response(shown, status, PRIVATE)
