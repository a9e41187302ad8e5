"""`/v1/files` and `/v1/batches`, as OpenAI has them: each tenant's own, within the bounds of `[batches]`."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from time import time
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from routemoa.core.tables.server_table import ServerSettings
from routemoa.gateway.access.caller import Caller
from routemoa.gateway.batches.expiry import check_expiry
from routemoa.gateway.batches.jobs.row_request import BATCH_APIS
from routemoa.gateway.batches.manager import BatchManager
from routemoa.gateway.batches.stored import ENDED, BatchObject, FileObject, TenantFolder
from routemoa.gateway.batches.upload import read_upload
from routemoa.gateway.errors import HttpError
from routemoa.gateway.http_exchange.connection import check_origin, read_json_object
from routemoa.gateway.http_exchange.json_response import json_response

__all__ = ["batch_routes"]

logger = logging.getLogger("routemoa.gateway")

MEGABYTE = 10**6
WINDOW = "24h"
WINDOW_SECONDS = 24 * 3600
MAX_METADATA = 16
MAX_PAGE = 100
DEFAULT_PAGE = 20
FILE_PAGE = 10_000


def batch_routes(manager: BatchManager, settings: ServerSettings) -> list[Route]:
    """Return the routes."""
    files, batches = _Files(manager, settings), _Batches(manager, settings)
    return [
        Route("/v1/files", files.upload, methods=["POST"]),
        Route("/v1/files", files.get_all),
        Route("/v1/files/{id}", files.get_one),
        Route("/v1/files/{id}", files.delete, methods=["DELETE"]),
        Route("/v1/files/{id}/content", files.get_content),
        Route("/v1/batches", batches.create, methods=["POST"]),
        Route("/v1/batches", batches.get_all),
        Route("/v1/batches/{id}", batches.get_one),
        Route("/v1/batches/{id}", batches.delete, methods=["DELETE"]),
        Route("/v1/batches/{id}/cancel", batches.cancel, methods=["POST"]),
    ]


class _Endpoints:
    def __init__(self, manager: BatchManager, settings: ServerSettings) -> None:
        self._manager, self._settings = manager, settings

    def _folder(self, request: Request) -> TenantFolder:
        return self._manager.folder(Caller(request.scope).name)

    async def _find_file(self, folder: TenantFolder, id: str, param: str | None = None) -> FileObject:
        found = await asyncio.to_thread(folder.find_file, id)
        if found is None:
            raise HttpError(404, f"No such File object: {id[:64]}", "file_not_found", param)
        return found


class _Files(_Endpoints):
    async def upload(self, request: Request) -> Response:
        """Keep an uploaded file. Raises HttpError."""
        if "origin" in request.headers:  # a web page may send a form to any server without asking it
            raise HttpError(415, "Files are uploaded by programs, not by web pages.")
        with _storage():
            return await self._keep(request)

    async def _keep(self, request: Request) -> Response:
        folder, bounds = self._folder(request), self._manager.settings
        await asyncio.to_thread(folder.make)
        most = round(bounds.max_megabytes * MEGABYTE)
        message = f"Your files take the {bounds.max_megabytes:g} MB that they may; delete some."
        left = most - await asyncio.to_thread(folder.size)
        if left <= 0:
            raise HttpError(413, message, "storage_full")
        limit = min(left, round(bounds.max_file_megabytes * MEGABYTE))
        uploaded = await read_upload(request, folder.path, limit, self._settings)
        try:
            if await asyncio.to_thread(folder.size) > most:  # others were uploaded at the same time
                raise HttpError(413, message, "storage_full")
            kept = await asyncio.to_thread(
                folder.add_file,
                uploaded.path,
                uploaded.filename,
                uploaded.purpose,
                expires_after=uploaded.expires_after,
            )
        finally:
            uploaded.path.unlink(missing_ok=True)
        return json_response(msgspec.to_builtins(kept))

    async def get_all(self, request: Request) -> Response:
        """Return the caller's files, the newest first, or last with `order=asc`."""
        files = await asyncio.to_thread(self._folder(request).list_files)
        if request.query_params.get("order") == "asc":
            files.reverse()
        if (purpose := request.query_params.get("purpose")) is not None:
            files = [f for f in files if f.purpose == purpose]
        return json_response(_page(request, files, FILE_PAGE, FILE_PAGE))

    async def get_one(self, request: Request) -> Response:
        """Return what is known of a file. Raises HttpError."""
        return json_response(
            msgspec.to_builtins(await self._find_file(self._folder(request), request.path_params["id"]))
        )

    async def get_content(self, request: Request) -> Response:
        """Return the content of a file. Raises HttpError."""
        folder = self._folder(request)
        found = await self._find_file(folder, request.path_params["id"])
        return FileResponse(folder.file_path(found.id), media_type="application/jsonl")

    async def delete(self, request: Request) -> Response:
        """Delete a file that no running batch reads. Raises HttpError."""
        folder = self._folder(request)
        found = await self._find_file(folder, request.path_params["id"])
        batches = await asyncio.to_thread(folder.list_batches)
        if any(b.input_file_id == found.id and b.status not in ENDED for b in batches):
            raise HttpError(409, "A batch reads this file; cancel it, or wait for its end.", "file_in_use")
        await asyncio.to_thread(folder.delete_file, found.id)
        return json_response({"id": found.id, "object": "file", "deleted": True})


class _Batches(_Endpoints):
    async def create(self, request: Request) -> Response:
        """Begin a batch. Raises HttpError."""
        settings, bounds, folder = self._settings, self._manager.settings, self._folder(request)
        body = await read_json_object(request.scope, request.receive, settings.max_body_bytes, settings.body_seconds)
        endpoint = body.get("endpoint")
        if not isinstance(endpoint, str) or endpoint not in BATCH_APIS:
            raise HttpError(400, f"'endpoint' must be one of {', '.join(BATCH_APIS)}.", param="endpoint")
        if body.get("completion_window", WINDOW) != WINDOW:
            raise HttpError(400, f"'completion_window' must be {WINDOW}.", param="completion_window")
        file_id = body.get("input_file_id")
        if not isinstance(file_id, str):
            raise HttpError(400, "'input_file_id' must be the id of an uploaded file.", param="input_file_id")
        metadata = _check_metadata(body.get("metadata"))
        expiry = check_expiry(body.get("output_expires_after"), "output_expires_after")
        await self._find_file(folder, file_id, "input_file_id")
        running = [b for b in await asyncio.to_thread(folder.list_batches) if b.status not in ENDED]
        if len(running) >= bounds.max_batches:
            message = f"{len(running)} batches are not at their end, and no more may be; wait for one."
            raise HttpError(429, message, "too_many_batches", retry_after=60)
        now = int(time())
        batch = BatchObject(
            f"batch_{secrets.token_hex(12)}",
            endpoint,
            file_id,
            now,
            now + WINDOW_SECONDS,
            metadata=metadata,
            output_expires_after=expiry,
        )
        with _storage():
            await asyncio.to_thread(folder.add_batch, batch)
        self._manager.submit(folder, batch)
        return json_response(msgspec.to_builtins(batch))

    async def get_all(self, request: Request) -> Response:
        """Return the caller's batches, the newest first."""
        batches = await asyncio.to_thread(self._folder(request).list_batches)
        return json_response(_page(request, batches, DEFAULT_PAGE, MAX_PAGE))

    async def get_one(self, request: Request) -> Response:
        """Return what is known of a batch. Raises HttpError."""
        return json_response(msgspec.to_builtins(await self._find_batch(request)))

    async def cancel(self, request: Request) -> Response:
        """Stop a batch: what is answered by then is in its files. Raises HttpError."""
        check_origin(request.scope)
        batch = await self._find_batch(request)
        if batch.status in ENDED:
            raise HttpError(409, f"The batch has ended: it is {batch.status}.", "batch_ended")
        with _storage():
            await asyncio.to_thread(self._folder(request).cancel_batch, batch.id)
        return json_response(msgspec.to_builtins(await self._find_batch(request)))

    async def delete(self, request: Request) -> Response:
        """Delete a batch that has ended, with its output and error files. Raises HttpError."""
        batch = await self._find_batch(request)
        if batch.status not in ENDED:
            raise HttpError(409, "The batch has not ended; cancel it, or wait for its end.", "batch_running")
        await asyncio.to_thread(self._folder(request).delete_batch, batch)
        return json_response({"id": batch.id, "object": "batch", "deleted": True})

    async def _find_batch(self, request: Request) -> BatchObject:
        id = request.path_params["id"]
        found = await asyncio.to_thread(self._folder(request).find_batch, id)
        if found is None:
            raise HttpError(404, f"No such Batch object: {id[:64]}", "batch_not_found")
        return found


@contextmanager
def _storage() -> Iterator[None]:
    """Say that nothing can be written now. Raises HttpError."""
    try:
        yield
    except (TimeoutError, ConnectionError):
        raise
    except OSError as e:
        logger.error("files of [batches] cannot be written: %s", e.strerror or e)
        raise HttpError(
            503, "The server cannot keep files now; try again later.", "storage_error", retry_after=60
        ) from e


def _check_metadata(value: Any) -> dict[str, str] | None:
    """Return the metadata of a batch. Raises HttpError."""
    if value is None:
        return None
    is_short = isinstance(value, dict) and len(value) <= MAX_METADATA
    if not is_short or not all(isinstance(v, str) and len(k) <= 64 and len(v) <= 512 for k, v in value.items()):
        message = (
            f"'metadata' must be an object of up to {MAX_METADATA} texts, names up to 64 and texts up to 512 long."
        )
        raise HttpError(400, message, param="metadata")
    checked: dict[str, str] = value
    return checked


def _page(request: Request, items: Sequence[FileObject | BatchObject], default: int, most: int) -> dict[str, Any]:
    """Return the page that the query asks for: `limit` items after the one called `after`. Raises HttpError."""
    text = request.query_params.get("limit", str(default))
    if not text.isascii() or not text.isdecimal() or not 1 <= int(text[:9]) <= most:
        raise HttpError(400, f"'limit' must be from 1 to {most}.", param="limit")
    after = request.query_params.get("after")
    begin = next((i + 1 for i, item in enumerate(items) if item.id == after), 0)
    page = items[begin : begin + int(text)]
    return {
        "object": "list",
        "data": [msgspec.to_builtins(item) for item in page],
        "first_id": page[0].id if page else None,
        "last_id": page[-1].id if page else None,
        "has_more": begin + len(page) < len(items),
    }
