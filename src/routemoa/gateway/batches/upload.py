"""Reads a file that is uploaded as multipart/form-data, in bounded memory and time. Needs python-multipart."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from routemoa.core.errors import MissingExtra
from routemoa.core.tables.server_table import ServerSettings
from routemoa.gateway.batches.expiry import ExpiresAfter, check_expiry
from routemoa.gateway.batches.stored import UPLOAD
from routemoa.gateway.errors import BodyTooLarge, HttpError
from routemoa.gateway.http_exchange.connection import receive_pieces

__all__ = ["UploadedFile", "read_upload", "require_multipart"]

EXPIRES_AFTER = "expires_after"
MAX_FIELDS = 16
FORM_BYTES = 64 * 1024
"""Of what is not the file."""


class UploadedFile(NamedTuple):
    """A file that came, in a place of its own."""

    path: Path
    filename: str
    purpose: str
    expires_after: ExpiresAfter | None


def require_multipart() -> None:
    """Raise MissingExtra where uploads cannot be read."""
    try:
        import python_multipart  # noqa: F401
    except ImportError as e:
        raise MissingExtra("python-multipart, which reads the uploads of [batches],", "batch") from e


async def read_upload(request: Request, folder: Path, limit: int, settings: ServerSettings) -> UploadedFile:
    """Read a form with `file`, `purpose` and perhaps `expires_after[...]`, and put the file into a folder.

    Args:
        request: of the form.
        folder: for the file.
        limit: bytes of the file.
        settings: the deadline of a body.

    Raises:
        HttpError: it is no such form, too large or too slow.
    """
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        raise HttpError(400, "Send the file as multipart/form-data, with the fields file and purpose.")

    async def pieces() -> AsyncGenerator[bytes, None]:
        size = 0
        async for piece in receive_pieces(request.receive, settings.body_seconds):
            size += len(piece)
            if size > limit + FORM_BYTES:
                raise BodyTooLarge(limit)
            yield piece

    parser = MultiPartParser(request.headers, pieces(), max_files=1, max_fields=MAX_FIELDS, max_part_size=FORM_BYTES)
    try:
        form = await parser.parse()
    except MultiPartException as e:
        raise HttpError(400, f"The form cannot be read: {e.message}") from e
    try:
        file, purpose = form.get("file"), form.get("purpose")
        if not isinstance(file, UploadFile):
            raise HttpError(400, "The form has no file; send it as the field file.", param="file")
        if purpose != "batch":
            raise HttpError(400, "'purpose' must be batch: this server takes no other files.", param="purpose")
        expires_after = _read_expiry(form)
        path = folder / f"{UPLOAD}{secrets.token_hex(8)}.part"
        await asyncio.to_thread(_copy, file.file, path)
        return UploadedFile(path, file.filename or "file.jsonl", purpose, expires_after)
    finally:
        await form.close()


def _read_expiry(form: FormData) -> ExpiresAfter | None:
    """Return what the fields `expires_after[anchor]` and `expires_after[seconds]` say. Raises HttpError."""
    if not any(name.startswith(EXPIRES_AFTER) for name in form):
        return None
    fields = {field: form.get(f"{EXPIRES_AFTER}[{field}]") for field in ExpiresAfter.__struct_fields__}
    return check_expiry(fields, EXPIRES_AFTER, as_text=True)


def _copy(source: BinaryIO, path: Path) -> None:
    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as target:
            shutil.copyfileobj(source, target, 1 << 20)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
