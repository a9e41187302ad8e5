"""The `[server]` table of a pool file: what `routemoa serve` lets in, and how long it waits for its callers."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from routemoa.core.errors import ConfigError
from routemoa.core.files.toml import check_range, parse_table

__all__ = ["MAX_WORKERS", "ServerSettings", "check_origin_name", "parse_server_table"]

MAX_WORKERS = 64


class ServerSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """What the server lets in; None is derived from what the system allows."""

    workers: int = 1
    """Processes that serve behind the one listening socket."""
    max_connections: int | None = None
    """Connections at the same time; by default as many as the descriptors of the process allow."""
    max_connections_per_address: int | None = None
    """Connections of one address; by default nine tenths of `max_connections`."""
    max_body_bytes: int = 16 * 2**20
    """Bytes of one request's body."""
    head_seconds: float = 10.0
    """In which the head of a request has to be complete."""
    body_seconds: float = 30.0
    """In which its body has to be complete; for a large one, a second more for each 64 kB that have come."""
    write_seconds: float = 60.0
    """In which a caller has to read something of its response."""
    idle_seconds: float = 75.0
    """That a connection is kept for its next request; longer than proxies and clients keep theirs."""
    queue_seconds: float = 4.0
    """That a request may wait for its turn, at most; one that would wait longer is refused at once, with a 503."""
    allow_origins: tuple[str, ...] = ()
    """Origins of web pages that may use the server, such as "https://chat.example.com"; "*" is any."""
    allow_hosts: tuple[str, ...] = ()
    """Further names by which the server may be addressed, such as "models.example.com"."""


def parse_server_table(table: Any, where: str) -> ServerSettings:
    """Read a `[server]` table. Raises ConfigError."""
    settings = parse_table(table, ServerSettings, where)
    check_range(f"{where}: workers", settings.workers, 1, MAX_WORKERS, "a whole number")
    for key in ("max_connections", "max_connections_per_address", "max_body_bytes"):
        check_range(f"{where}: {key}", getattr(settings, key), 1, None, "a whole number")
    for key in ("head_seconds", "body_seconds", "write_seconds", "idle_seconds", "queue_seconds"):
        if not 0 < (value := getattr(settings, key)) < float("inf"):
            raise ConfigError(f"{where}: {key} = {value} is out of range; it is seconds, more than 0, or left out")
    origins = tuple(check_origin_name(origin, f"{where}: allow_origins") for origin in settings.allow_origins)
    return msgspec.structs.replace(settings, allow_origins=origins)


def check_origin_name(origin: str, where: str) -> str:
    """Return an origin as browsers send it, or "*". Raises ConfigError."""
    origin = origin.rstrip("/").lower()
    parts = urlsplit(origin)
    if origin in ("*", "null") or (parts.scheme and parts.netloc and origin == f"{parts.scheme}://{parts.netloc}"):
        return origin
    raise ConfigError(f"{where}: '{origin}' is no origin; write it as  https://chat.example.com  without a path")
