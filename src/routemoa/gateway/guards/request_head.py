"""Reads the head of a request: what of it is wrong, and the scope that ASGI makes of it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote

__all__ = ["RequestFault", "check_head", "find_framing", "split_target"]

VERSIONS = {"1.0", "1.1"}

RawHeaders = Sequence[tuple[bytes, bytes]]


class RequestFault(Exception):
    """Something is wrong with a request.

    Args:
        status: of the response.
        message: says what is wrong; for the caller to read.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def check_head(version: str, headers: RawHeaders) -> None:
    """Check what the parser lets pass.

    Args:
        version: of HTTP.
        headers: their names in lower case.

    Raises:
        RequestFault: the version or a header is not served, or the name of the server is missing or doubled.
    """
    if version not in VERSIONS:
        raise RequestFault(505, "the server speaks HTTP/1.1")
    hosts = 0
    for name, value in headers:
        if name == b"host":
            hosts += 1
        elif name == b"transfer-encoding" and value.lower() != b"chunked":
            raise RequestFault(501, "sorry, only Transfer-Encoding: chunked is supported")
    if hosts > 1:
        raise RequestFault(400, "found more than one Host: header")
    if not hosts and version == "1.1":
        raise RequestFault(400, "missing mandatory Host: header")


def find_framing(headers: RawHeaders) -> bytes:
    """Return the header that says where a request's body ends; empty where it has none."""
    for name, value in headers:
        if name == b"transfer-encoding" or (name == b"content-length" and value.strip(b"0")):
            return name + b": " + value
    return b""


def split_target(target: bytes) -> dict[str, Any]:
    """Return the fields of a scope that come from a request's target. Raises RequestFault."""
    raw_path, _, query = target.partition(b"?")
    try:
        path = raw_path.decode("ascii")
    except UnicodeDecodeError as e:
        raise RequestFault(400, "the path holds bytes that are no ASCII") from e
    return {"path": unquote(path) if "%" in path else path, "raw_path": raw_path, "query_string": query}
