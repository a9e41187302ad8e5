"""The proxies of the environment."""

from __future__ import annotations

import os
import re
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_network
from time import monotonic
from urllib.request import getproxies, proxy_bypass

from routemoa.clients.connections.target import Target, encode_host, parse_address

__all__ = ["find_proxy", "is_exempt"]

PROXY_VARIABLES = ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "no_proxy", "NO_PROXY", "REQUEST_METHOD"]
"""A change of these counts at once; of other spellings and of the system's settings within PROXY_SECONDS. To read all
of them takes longer (0.15 ms) than to send a request."""
PROXY_SECONDS = 10.0


def find_proxy(target: Target) -> str | None:
    """Return the environment's proxy for a target; None for this machine, whatever the environment says."""
    if target.host in {"localhost", "::1"} or target.host.startswith("127."):
        return None
    settings = (*map(os.environ.get, PROXY_VARIABLES), monotonic() // PROXY_SECONDS)
    return _find_proxy("https" if target.is_tls else "http", target.host, target.port, settings)


@lru_cache(maxsize=256)
def _find_proxy(scheme: str, host: str, port: int, _: tuple[object, ...]) -> str | None:
    """Return the proxy for a host; `_` is what the answer was read from, so that another one is read again."""
    if proxy_bypass(host):
        return None
    proxies = getproxies()
    proxy = proxies.get(scheme)
    return None if proxy is None or is_exempt(host, port, proxies.get("no", "")) else proxy


def is_exempt(host: str, port: int, no_proxy: str) -> bool:
    """Return whether a NO_PROXY list names a host: as curl and requests read it, beyond what Python does itself.

    The host is as a target has it, in ASCII; the list may have it as people write it.
    Entries are separated by commas or spaces: a name, which stands for its subdomains as well, with or without a dot or
    "*." before it; an address; a range of addresses (10.0.0.0/8); each with a port or without; or "*" for all.
    """
    address = parse_address(host)
    for entry in re.split(r"[,\s]+", no_proxy.strip()):
        name, entry_port = _split_port(entry)
        if not name or (entry_port is not None and entry_port != port):
            continue
        if name == "*" or _names_host(name.lower(), host.lower().rstrip("."), address):
            return True
    return False


def _split_port(entry: str) -> tuple[str, int | None]:
    """Return the name and the port of a NO_PROXY entry; IPv6 addresses with a port stand in brackets."""
    if m := re.fullmatch(r"\[([^\]]+)\](?::(\d{1,5}))?", entry):
        return m[1], int(m[2]) if m[2] else None
    if entry.count(":") == 1 and (m := re.fullmatch(r"([^:]+):(\d{1,5})", entry)):
        return m[1], int(m[2])
    return entry, None


def _names_host(name: str, host: str, address: IPv4Address | IPv6Address | None) -> bool:
    if address is not None:
        try:
            network = ip_network(name, strict=False)
        except ValueError:
            return False
        return address in network
    try:
        suffix = encode_host(name.removeprefix("*").removeprefix(".").rstrip("."))
    except UnicodeError:  # which no host is called
        return False
    return bool(suffix) and (host == suffix or host.endswith(f".{suffix}"))
