"""The page at `/` and its files, as `ui/` builds them: read once and sent compressed."""

from __future__ import annotations

import gzip
import re
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

__all__ = ["PAGE_HEADERS", "STATIC", "get_asset", "get_page"]

STATIC = Path(__file__).parent / "static"
"""Built by `npm run build` in ui/."""
MEDIA_TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
ASSET_NAME = re.compile(r"[A-Za-z0-9_.-]+\.(js|css|svg)")
SAFE_HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "vary": "accept-encoding",
}
PAGE_HEADERS = {
    **SAFE_HEADERS,
    "cache-control": "no-cache",
    "vary": "accept, accept-encoding",
    "content-security-policy": "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self' data: blob:",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        )
    ),
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}
ASSET_HEADERS = {**SAFE_HEADERS, "cache-control": "public, max-age=31536000, immutable"}
"""The name of a file changes with what it holds."""


class _File(NamedTuple):
    plain: bytes
    packed: bytes


async def get_page(request: Request) -> Response:
    """Return the page to a browser; a program finds no route here. Raises HTTPException."""
    if "text/html" not in request.headers.get("accept", "") or (file := _read_file("index.html")) is None:
        raise HTTPException(404)
    return _send(request, file, "text/html", PAGE_HEADERS)


async def get_asset(request: Request) -> Response:
    """Return one of the page's files. Raises HTTPException."""
    name = request.path_params["name"]
    if not ASSET_NAME.fullmatch(name) or (file := _read_file(f"ui/assets/{name}")) is None:
        raise HTTPException(404)
    return _send(request, file, MEDIA_TYPES[Path(name).suffix], ASSET_HEADERS)


def _send(request: Request, file: _File, media_type: str, headers: dict[str, str]) -> Response:
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(file.packed, 200, {**headers, "content-encoding": "gzip"}, media_type)
    return Response(file.plain, 200, headers, media_type)


@lru_cache(64)
def _read_file(name: str) -> _File | None:
    """Return a file of the page, as it is and compressed; a few small ones, read once."""
    try:
        plain = (STATIC / name).read_bytes()
    except OSError:
        return None
    return _File(plain, gzip.compress(plain, 9, mtime=0))
