"""Files and batches of the server's callers, on disk: each tenant has a folder, and sees no other's."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from stat import S_ISREG
from time import time
from typing import Any, Literal, TypeVar

import msgspec
from msgspec import Struct

from routemoa.gateway.batches.expiry import ExpiresAfter

__all__ = [
    "ENDED",
    "UPLOAD",
    "BatchObject",
    "BatchStatus",
    "FileObject",
    "RequestCounts",
    "TenantFolder",
    "list_tenants",
]

CONTENT = "content.jsonl"
FILE_JSON = "file.json"
BATCH_JSON = "batch.json"
CANCEL_JSON = "cancel.json"
TENANT_JSON = "tenant.json"
ID = re.compile(r"(file-|batch_)[0-9a-f]{24}")
FILES, BATCHES = "files", "batches"
UPLOAD = "upload-"
"""What the name of a file begins with that is being uploaded."""
UPLOAD_SECONDS = 3600.0
"""After which no upload writes to such a file any more."""

BatchStatus = Literal[
    "validating", "in_progress", "finalizing", "completed", "failed", "expired", "cancelling", "cancelled"
]
ENDED: set[BatchStatus] = {"completed", "failed", "expired", "cancelled"}
T = TypeVar("T")


class FileObject(Struct, frozen=True):
    """A file, as OpenAI describes it."""

    id: str
    bytes: int
    filename: str
    purpose: str
    created_at: int
    object: Literal["file"] = "file"
    status: Literal["processed"] = "processed"
    expires_at: int | None = None
    """From when on it is not there any more; None: it is until it is deleted."""

    @property
    def is_expired(self) -> bool:
        """Return whether its time is over."""
        return self.expires_at is not None and self.expires_at <= time()


class RequestCounts(Struct, frozen=True):
    """Rows of a batch."""

    total: int = 0
    completed: int = 0
    failed: int = 0


class BatchObject(Struct, frozen=True):
    """A batch, as OpenAI describes it. Times are seconds since the epoch."""

    id: str
    endpoint: str
    input_file_id: str
    created_at: int
    expires_at: int
    completion_window: str = "24h"
    object: Literal["batch"] = "batch"
    status: BatchStatus = "validating"
    errors: dict[str, Any] | None = None
    output_file_id: str | None = None
    error_file_id: str | None = None
    in_progress_at: int | None = None
    finalizing_at: int | None = None
    completed_at: int | None = None
    failed_at: int | None = None
    expired_at: int | None = None
    cancelling_at: int | None = None
    cancelled_at: int | None = None
    request_counts: RequestCounts = RequestCounts()
    metadata: dict[str, str] | None = None
    output_expires_after: ExpiresAfter | None = None
    """Of its output and error files; None: they stay until they are deleted."""
    cost: float = 0.0
    """Dollars so far, as far as they are known; not OpenAI's."""

    @property
    def ended_at(self) -> int | None:
        """Return when it ended; None before."""
        times = (self.completed_at, self.failed_at, self.expired_at, self.cancelled_at)
        return next((t for t in times if t is not None), None) if self.status in ENDED else None

    def move_to(self, status: BatchStatus, **changes: Any) -> BatchObject:
        """Return the batch with another status, and the time at which it got it."""
        return msgspec.structs.replace(self, status=status, **{f"{status}_at": int(time())}, **changes)


class _Tenant(Struct):
    name: str | None


class TenantFolder:
    """The files and batches of one tenant. Its methods block.

    Args:
        root: of all tenants.
        tenant: its name; None where there are no tenants.
    """

    def __init__(self, root: Path, tenant: str | None) -> None:
        self.tenant = tenant
        digest = "all" if tenant is None else hashlib.sha256(tenant.encode()).hexdigest()[:32]
        self.path = root / digest

    def make(self) -> None:
        """Make the folder, readable by the server's owner alone."""
        for part in (FILES, BATCHES):
            (self.path / part).mkdir(mode=0o700, parents=True, exist_ok=True)
        if not (self.path / TENANT_JSON).exists():
            _write(self.path / TENANT_JSON, _Tenant(self.tenant))
        for upload in self.path.glob(f"{UPLOAD}*"):  # of a server that was killed
            if (written := _stat(upload)) is not None and written.st_mtime < time() - UPLOAD_SECONDS:
                upload.unlink(missing_ok=True)

    # --- files

    def add_file(
        self,
        source: Path,
        filename: str,
        purpose: str,
        id: str | None = None,
        *,
        expires_after: ExpiresAfter | None = None,
    ) -> FileObject:
        """Take over a file, which is moved, under a new or a given id."""
        id = id or f"file-{secrets.token_hex(12)}"
        folder = self.path / FILES / id
        folder.mkdir(mode=0o700, exist_ok=True)
        now = int(time())
        until = None if expires_after is None else now + expires_after.seconds
        described = FileObject(id, source.stat().st_size, filename[:255], purpose, now, expires_at=until)
        source.replace(folder / CONTENT)
        try:
            _write(folder / FILE_JSON, described)
        except OSError:  # a content alone could not be deleted
            (folder / CONTENT).replace(source)
            folder.rmdir()
            raise
        return described

    def find_file(self, id: str) -> FileObject | None:
        """Return a file of this tenant that has not expired, or None."""
        found = _read(self._place(FILES, id) / FILE_JSON, FileObject) if ID.fullmatch(id) else None
        return None if found is None or found.is_expired else found

    def file_path(self, id: str) -> Path:
        """Return where the content of a file is."""
        return self._place(FILES, id) / CONTENT

    def list_files(self) -> list[FileObject]:
        """Return all files that have not expired, the newest first."""
        return sorted((f for f in self._read_files() if not f.is_expired), key=lambda f: (-f.created_at, f.id))

    def delete_file(self, id: str) -> None:
        """Delete a file, where there is one."""
        (self._place(FILES, id) / FILE_JSON).unlink(missing_ok=True)  # from now on it is not there
        shutil.rmtree(self._place(FILES, id), ignore_errors=True)

    # --- batches

    def add_batch(self, batch: BatchObject) -> None:
        """Add a batch."""
        self.batch_path(batch.id).mkdir(mode=0o700)
        try:
            self.save_batch(batch)
        except OSError:
            self.batch_path(batch.id).rmdir()
            raise

    def save_batch(self, batch: BatchObject) -> None:
        """Write what a batch is now."""
        _write(self.batch_path(batch.id) / BATCH_JSON, batch)

    def find_batch(self, id: str) -> BatchObject | None:
        """Return a batch of this tenant, or None."""
        if not ID.fullmatch(id) or (batch := _read(self.batch_path(id) / BATCH_JSON, BatchObject)) is None:
            return None
        if batch.status in ENDED or batch.status == "cancelling":
            return batch
        asked = _read(self.batch_path(id) / CANCEL_JSON, int)
        return batch if asked is None else msgspec.structs.replace(batch, status="cancelling", cancelling_at=asked)

    def cancel_batch(self, id: str) -> None:
        """Ask whatever process runs a batch to stop it; this is a file of its own, which that process only reads."""
        path = self.batch_path(id) / CANCEL_JSON
        if not path.exists():
            _write(path, int(time()))

    def batch_path(self, id: str) -> Path:
        """Return the folder of a batch's job."""
        return self._place(BATCHES, id)

    def remove_job_files(self, id: str) -> None:
        """Remove what only a running batch needs."""
        for path in self.batch_path(id).iterdir():
            if path.name != BATCH_JSON:
                path.unlink(missing_ok=True)

    def delete_batch(self, batch: BatchObject) -> None:
        """Delete a batch that has ended, and the files that it wrote; the file that it read stays."""
        for id in (batch.output_file_id, batch.error_file_id):
            if id is not None:
                self.delete_file(id)
        (self.batch_path(batch.id) / BATCH_JSON).unlink(missing_ok=True)  # from now on it is not there
        shutil.rmtree(self.batch_path(batch.id), ignore_errors=True)

    def delete_old(self, before: float) -> None:
        """Delete the batches that ended before a moment, and older and expired files that no other batch reads."""
        batches = self.list_batches()
        for batch in batches:
            if batch.ended_at is not None and batch.ended_at < before:
                self.delete_batch(batch)
        used = {b.input_file_id for b in batches if b.status not in ENDED}
        for file in self._read_files():
            if (file.created_at < before or file.is_expired) and file.id not in used:
                self.delete_file(file.id)

    def list_batches(self) -> list[BatchObject]:
        """Return all batches, the newest first."""
        found = (self.find_batch(path.parent.name) for path in (self.path / BATCHES).glob(f"*/{BATCH_JSON}"))
        return sorted((b for b in found if b is not None), key=lambda b: (-b.created_at, b.id))

    def size(self) -> int:
        """Return the bytes of all files and results."""
        found = map(_stat, self.path.rglob("*"))
        return sum(s.st_size for s in found if s is not None and S_ISREG(s.st_mode))

    def _read_files(self) -> Iterator[FileObject]:
        found = (_read(path, FileObject) for path in (self.path / FILES).glob(f"*/{FILE_JSON}"))
        return (f for f in found if f is not None)

    def _place(self, kind: str, id: str) -> Path:
        return self.path / kind / id


def list_tenants(root: Path) -> Iterator[TenantFolder]:
    """Yield the folders of all tenants that have one."""
    for path in sorted(root.glob(f"*/{TENANT_JSON}")):
        if (found := _read(path, _Tenant)) is not None:
            yield TenantFolder(root, found.name)


def _read(path: Path, type: type[T]) -> T | None:
    """Return what a file holds; None where there is none, or it is no such thing."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=type)
    except (OSError, msgspec.DecodeError):
        return None


def _stat(path: Path) -> os.stat_result | None:
    """Return what is known of a file; None for one that a batch has just replaced or removed."""
    try:
        return path.stat()
    except OSError:
        return None


def _write(path: Path, value: Struct | int) -> None:
    """Write a file in one step, so that it is never there in part."""
    part = path.with_name(f"{path.name}.{secrets.token_hex(8)}.part")  # of this thread alone
    try:
        part.write_bytes(msgspec.json.encode(value))
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
