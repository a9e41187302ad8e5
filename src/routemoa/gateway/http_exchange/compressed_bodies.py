"""Decompresses the bodies of requests, within a limit."""

from __future__ import annotations

import zlib

from starlette.types import Scope

from routemoa.core.system.large_work import run_large
from routemoa.gateway.errors import BodyTooLarge, HttpError
from routemoa.gateway.http_exchange.request_headers import index_headers

__all__ = ["content_encoding", "decompress_body"]

WINDOW_BITS = {"gzip": 31, "x-gzip": 31, "deflate": 15}
"""Encoding -> what zlib calls it."""
MAX_FILES = 64
"""Compressed files, one behind the other, in a body."""
RAW_DEFLATE = -15
"""Without the header that the standard asks for, as some clients send it."""


def content_encoding(scope: Scope) -> str:
    """Return how the body of a request is compressed; empty where it is not."""
    if b"content-encoding" not in index_headers(scope):
        return ""
    values = [value for name, value in scope["headers"] if name == b"content-encoding"]
    encoding = b",".join(values).decode("latin-1").strip().lower()
    return "" if encoding == "identity" else encoding


async def decompress_body(data: bytes, encoding: str, limit: int) -> bytes:
    """Return a body as it was before it was compressed.

    Args:
        data: as it came.
        encoding: of the header.
        limit: bytes of the result.

    Raises:
        HttpError: the encoding is unknown, the body cannot be decompressed, or is too large then.
    """
    if not encoding:
        return data
    if encoding not in WINDOW_BITS:
        raise HttpError(415, f"Send the body without Content-Encoding {encoding[:40]!r}, or as gzip or deflate.")
    try:
        return await run_large(_inflate, data, encoding, limit)  # a small one may become large
    except zlib.error as e:
        raise HttpError(400, f"The request body is not valid {encoding}: {str(e)[:100]}") from e


def _inflate(data: bytes, encoding: str, limit: int) -> bytes:
    """Return the decompressed bytes, of all files where there are several. Raises zlib.error, BodyTooLarge."""
    out = bytearray()
    bits = WINDOW_BITS[encoding]
    for _ in range(MAX_FILES):
        if not data:
            break
        inflater = zlib.decompressobj(bits)
        try:
            out += inflater.decompress(data, limit + 1 - len(out))
        except zlib.error:
            if encoding != "deflate" or bits == RAW_DEFLATE or out:
                raise
            bits = RAW_DEFLATE
            continue
        if len(out) > limit:
            raise BodyTooLarge(limit)
        if not inflater.eof:
            raise zlib.error("it is not complete")
        data = inflater.unused_data
    if data:
        raise zlib.error("it has too many parts")
    return bytes(out)
