"""Where a request goes, and the bytes of its head. Pure."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import SplitResult, quote, unquote, urlsplit

from msgspec import Struct

__all__ = ["Target", "encode_head", "encode_host", "parse_address", "parse_target"]

DEFAULT_PORTS = {"http": 80, "https": 443}
DEFAULT_HEADERS = {
    "Accept": "*/*",
    "Accept-Encoding": "identity",  # a small reply gains nothing by compression, a bomb all
    "User-Agent": "routemoa",
}
FRAMING = {"content-length", "transfer-encoding"}
"""Headers that say where a request ends."""
SAFE = "%/:=&?~#+!$,;'@()*[]"
"""What stays as it is in a path and a query, beside letters and digits."""
_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(r"[^\r\n\0]*")


class Target(Struct, frozen=True):
    """What a URL says of where a request goes."""

    host: str
    port: int
    is_tls: bool
    is_address: bool
    """Whether its host is an address, not a name."""
    authority: str
    """Its host and port, as the header Host has them."""
    path: str
    """With the query."""
    authorization: str | None = None
    """Of the name and the password in it."""

    @property
    def proxy_lines(self) -> list[str]:
        """Return the lines of a head that it wants as a proxy."""
        return [] if self.authorization is None else [f"Proxy-Authorization: {self.authorization}"]


@lru_cache(maxsize=1024)
def parse_target(url: str) -> Target:
    """Read a URL. Raises ValueError."""
    parts = urlsplit(url)
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname:
        raise ValueError(f"{parts.scheme or 'no scheme'}: only http:// and https:// are spoken")
    host = encode_host(parts.hostname)
    port = _read_port(parts) or DEFAULT_PORTS[parts.scheme]
    named = f"[{host}]" if ":" in host else host
    authority = named if port == DEFAULT_PORTS[parts.scheme] else f"{named}:{port}"
    path = quote(parts.path or "/", SAFE) + (f"?{quote(parts.query, SAFE)}" if parts.query else "")
    return Target(
        host,
        port,
        parts.scheme == "https",
        parse_address(host) is not None,
        authority,
        path,
        _read_authorization(parts),
    )


def _read_port(parts: SplitResult) -> int | None:
    try:
        return parts.port
    except ValueError:  # whose text may be a part of a password that was not percent-encoded
        raise ValueError("its port is not valid") from None


def encode_host(host: str) -> str:
    """Return a host's name in ASCII, as the network has it. Raises UnicodeError, a ValueError."""
    return host if host.isascii() else host.encode("idna").decode("ascii")


def parse_address(host: str) -> IPv4Address | IPv6Address | None:
    """Return the address that a host is; None where it is a name."""
    try:
        return ip_address(host)
    except ValueError:
        return None


def _read_authorization(parts: SplitResult) -> str | None:
    if parts.username is None:
        return None
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return "Basic " + b64encode(pair.encode()).decode("ascii")


def encode_head(
    method: str, target: Target, headers: Mapping[str, str], size: int | None, proxy: Target | None = None
) -> bytes:
    """Encode the head of a request.

    Args:
        method: of HTTP.
        target: where it goes.
        headers: beside those that every request has.
        size: of its body; None without one.
        proxy: that it goes to first; one that is to be encrypted does not pass there as it is.

    Raises:
        ValueError: a header is not valid.
    """
    length = b"" if size is None else b"Content-Length: %d\r\n" % size
    return _encode_fields(method, target, tuple(headers.items()), proxy) + length + b"\r\n"


@lru_cache(maxsize=256)
def _encode_fields(method: str, target: Target, headers: tuple[tuple[str, str], ...], proxy: Target | None) -> bytes:
    """Encode the lines of a head: the same for all calls of a member. Raises ValueError."""
    is_read_by_proxy = proxy is not None and not target.is_tls
    lines = [f"{method} {f'http://{target.authority}' if is_read_by_proxy else ''}{target.path} HTTP/1.1"]
    fields = {"Host": target.authority, **DEFAULT_HEADERS}
    if target.authorization is not None:
        fields["Authorization"] = target.authorization
    by_name = {name.lower(): f"{name}: {value}" for name, value in fields.items()}
    for name, value in headers:
        if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value) or name.lower() in FRAMING:
            raise ValueError(f"the header {name[:100]!r} is not valid")
        by_name[name.lower()] = f"{name}: {value}"
    lines += by_name.values()
    if is_read_by_proxy and proxy is not None:
        lines += proxy.proxy_lines
    return "\r\n".join([*lines, ""]).encode()
