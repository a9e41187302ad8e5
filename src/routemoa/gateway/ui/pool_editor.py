"""The page Pool's data, and the admin routes that check, probe and replace the pool file, and undo a step of learning.

Everything that changes something, spends something or reaches a provider is under /admin: `AuthMiddleware` asks for the
admin key there.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from routemoa.core.errors import ConfigError, RouteMoAError
from routemoa.core.files.toml import parse_table
from routemoa.gateway.access.auth import ADMIN_PATH
from routemoa.gateway.errors import HttpError
from routemoa.gateway.http_exchange.connection import read_json_object
from routemoa.gateway.http_exchange.json_response import json_response
from routemoa.gateway.operations import Operations
from routemoa.gateway.ui.site import Site
from routemoa.gateway.ui.viewer import Viewer

__all__ = ["PoolEndpoints", "pool_admin_routes"]

logger = logging.getLogger("routemoa.gateway")

PRIVATE = {"cache-control": "no-store"}
MAX_BODY_BYTES = 2**20
NO_EDITOR = "This server was started by a program of its own, which has no pool file to edit."
T = TypeVar("T")
R = TypeVar("R", bound=Struct)


class TextRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a request to check a text."""

    text: str


class TakeOverRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a request to take over a text."""

    text: str
    digest: str
    """Of the file that was edited."""


class ProbeRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a request to ask members for a token: those of the pool as it is served, or some of them."""

    models: tuple[str, ...] = ()


class ProviderRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a request for a provider's models."""

    provider: str


class AddRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a request for a text with further models."""

    text: str
    provider: str
    models: tuple[str, ...]


class PoolEndpoints:
    """What the page shows before anything is edited.

    Args:
        site: whose pool it is.
    """

    def __init__(self, site: Site) -> None:
        self._site = site

    async def get(self, request: Request) -> Response:
        """Return the pool to the operator. Raises HttpError."""
        viewer, operations = Viewer(request, self._site), self._site.state.operations
        viewer.check_is_admin()
        if operations is None:
            return json_response({"source": self._site.pool.source, "text": None, "why": NO_EDITOR}, headers=PRIVATE)
        found = await _run(operations.describe_pool, self._site.pool)
        return json_response({**found, "editable": viewer.is_admin and found["text"] is not None}, headers=PRIVATE)


def pool_admin_routes(site: Site) -> list[Route]:
    """Return the routes under /admin that the page uses; none without an admin key."""
    if site.state.admin_key is None or site.state.operations is None:
        return []
    admin = _PoolAdmin(site, site.state.operations)
    pool = f"{ADMIN_PATH}/pool"
    return [
        Route(pool, admin.take_over, methods=["PUT"]),
        Route(f"{pool}/check", admin.check, methods=["POST"]),
        Route(f"{pool}/probe", admin.probe, methods=["POST"]),
        Route(f"{pool}/providers", admin.list_providers, methods=["GET"]),
        Route(f"{pool}/providers/models", admin.list_models, methods=["POST"]),
        Route(f"{pool}/models", admin.add_models, methods=["POST"]),
        Route(f"{ADMIN_PATH}/learning/undo", admin.undo_learning, methods=["POST"]),
    ]


class _PoolAdmin:
    def __init__(self, site: Site, operations: Operations) -> None:
        self._site, self._operations = site, operations

    async def check(self, request: Request) -> Response:
        """Return what a text would change, and what is wrong with it; nothing is written."""
        asked = await self._read(request, TextRequest)
        return json_response(await _run(self._operations.check_pool, self._site.pool, asked.text), headers=PRIVATE)

    async def take_over(self, request: Request) -> Response:
        """Write a text that is valid over the pool file and read it; where that fails, put back what was there."""
        asked = await self._read(request, TakeOverRequest)
        pool, operations = self._site.pool, self._operations
        before = await _run(operations.write_pool, pool, asked.text, asked.digest)
        try:
            await self._reload()
        except RouteMoAError as e:
            await _run(operations.restore_pool, pool, before)
            raise HttpError(422, f"The pool file is refused, and stays as it was: {e}", code="pool_refused") from e
        logger.warning("the pool file was changed through the dashboard")
        return json_response({"object": "pool", "taken_over": True}, headers=PRIVATE)

    async def probe(self, request: Request) -> Response:
        """Ask members of the pool as it is served for one token each."""
        asked = await self._read(request, ProbeRequest)
        pool = self._site.pool
        if unknown := [name for name in asked.models if name not in pool]:
            raise HttpError(400, f"The pool has no model {unknown[0][:80]!r}.", param="models")
        with _as_response():
            found = await self._operations.probe(pool, asked.models)
        return json_response({"object": "list", "data": found}, headers=PRIVATE)

    async def list_providers(self, _: Request) -> Response:
        """Return the providers, and of which a key is set."""
        return json_response({"data": await _run(self._operations.list_providers)}, headers=PRIVATE)

    async def list_models(self, request: Request) -> Response:
        """Return the models that a provider lists now."""
        asked = await self._read(request, ProviderRequest)
        return json_response(await _run(self._operations.list_models, asked.provider), headers=PRIVATE)

    async def add_models(self, request: Request) -> Response:
        """Return a text with tables for further models; nothing is written."""
        asked = await self._read(request, AddRequest)
        text = await _run(self._operations.add_models, self._site.pool, asked.text, asked.provider, asked.models)
        return json_response({"text": text}, headers=PRIVATE)

    async def undo_learning(self, _: Request) -> Response:
        """Go back to what the pool file named before the last step of learning, and read it."""
        step = await _run(self._operations.undo_learning, self._site.pool)
        with _as_response():
            await self._reload()
        return json_response(step, headers=PRIVATE)

    async def _reload(self) -> None:
        state = self._site.state
        if state.reload is None:
            raise HttpError(409, NO_EDITOR, code="no_pool_file")
        await state.reload()

    async def _read(self, request: Request, type_: type[R]) -> R:
        seconds = self._site.settings.body_seconds
        body = await read_json_object(request.scope, request.receive, MAX_BODY_BYTES, seconds)
        with _as_response():
            return parse_table(body, type_, "the body")


@contextmanager
def _as_response() -> Iterator[None]:
    """Turn errors of the pool file into responses. Raises HttpError."""
    try:
        yield
    except ConfigError as e:
        message = str(e).removesuffix("; see docs/reference/configuration.md")
        raise HttpError(422, message, code="pool_refused") from e


async def _run(work: Callable[..., T], *args: object) -> T:
    """Return what `work(*args)` returns, from a thread. Raises HttpError."""
    with _as_response():
        return await asyncio.to_thread(work, *args)
