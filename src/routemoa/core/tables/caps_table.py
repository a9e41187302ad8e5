"""The `[caps]` table of a pool file: how much of an endpoint's reply is read. The one place that owns these numbers."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from routemoa.core.files.toml import check_range, parse_table

__all__ = ["ReplyCaps", "parse_caps_table"]

MIB = 2**20


class ReplyCaps(Struct, frozen=True, forbid_unknown_fields=True):
    """The most that is read of one reply, in bytes after decompression; generous, as an answer seldom has 100 kB."""

    reply_bytes: int = 128 * MIB
    """Of a reply in all: a stream has some 300 for each token."""
    body_bytes: int = 8 * MIB
    """Of a reply in one piece."""
    event_bytes: int = 16 * MIB
    """Of one event of a stream, and of what comes without any event."""
    answer_bytes: int = 8 * MIB
    """Of the text of an answer."""
    header_bytes: int = 64 * 1024
    """Of one header."""
    error_bytes: int = 64 * 1024
    """Of the body of an HTTP error; more of it is not read."""


def parse_caps_table(table: Any, where: str) -> ReplyCaps:
    """Read a `[caps]` table. Raises ConfigError."""
    caps = parse_table(table, ReplyCaps, where)
    for key in ReplyCaps.__struct_fields__:
        check_range(f"{where}: {key}", getattr(caps, key), 1024, None, "a number of bytes")
    return caps
