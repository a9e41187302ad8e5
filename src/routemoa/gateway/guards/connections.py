"""Caps the connections, in all and of one address; those that wait without a request make room for new ones."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterator
from ipaddress import IPv6Address, ip_address
from typing import Protocol

__all__ = ["Connection", "ConnectionRegistry", "caller_address"]

MAX_LINGERING = 64
"""Connections beyond the limits that are told so."""


class Connection(Protocol):
    """A connection, as the registry sees it."""

    address: str

    def evict(self) -> None:
        """Close it at once; say why where nothing was said on it."""
        ...

    def check_deadlines(self, now: float) -> None:
        """Close it where its caller takes too long; `now` is on the clock of `monotonic()`."""
        ...


class ConnectionRegistry:
    """The open connections.

    Where one more is too many, the connection that has waited longest for a request to be complete is closed for it.
    So callers that open connections and send nothing keep nobody out.

    Args:
        limit: connections in all.
        address_limit: connections of one address.
    """

    def __init__(self, limit: int, address_limit: int) -> None:
        self.is_closing = False
        """Whether the server ends, so that a connection has one more answer at most."""
        self._limit = limit
        self._address_limit = min(limit, address_limit)
        self._open: set[Connection] = set()
        self._lingering: OrderedDict[Connection, None] = OrderedDict()
        self._counts: Counter[str] = Counter()
        self._waiting: OrderedDict[Connection, None] = OrderedDict()
        """Those without a complete request, the longest-waiting first."""
        self._waiting_of: dict[str, OrderedDict[Connection, None]] = {}

    def __len__(self) -> int:
        return len(self._open)

    def __iter__(self) -> Iterator[Connection]:
        return iter(tuple(self._open))

    def admit(self, connection: Connection) -> bool:
        """Add a new connection, which has no request yet; return False where there is no place for it."""
        if self._counts[connection.address] >= self._address_limit:
            if not self._evict(self._waiting_of.get(connection.address)):
                return False
        elif len(self._open) >= self._limit and not self._evict(self._waiting):
            return False
        self._open.add(connection)
        self._counts[connection.address] += 1
        self.set_waiting(connection)
        return True

    def set_waiting(self, connection: Connection) -> None:
        """Note that a connection has no request now; it may be closed to make room."""
        if connection in self._open:
            self._waiting[connection] = None
            self._waiting_of.setdefault(connection.address, OrderedDict())[connection] = None

    def set_busy(self, connection: Connection) -> None:
        """Note that the head of a request is complete."""
        self._waiting.pop(connection, None)
        if (own := self._waiting_of.get(connection.address)) is not None:
            own.pop(connection, None)
            if not own:
                del self._waiting_of[connection.address]

    def remove(self, connection: Connection) -> None:
        """Forget a connection that was closed."""
        self._lingering.pop(connection, None)
        if connection in self._open:
            self.set_busy(connection)
            self._open.discard(connection)
            self._counts[connection.address] -= 1
            if not self._counts[connection.address]:
                del self._counts[connection.address]

    def linger(self, connection: Connection) -> None:
        """Let a connection that was not admitted stay for a moment, to be told why; few may, the newest."""
        self._lingering[connection] = None
        if len(self._lingering) > MAX_LINGERING:
            oldest, _ = self._lingering.popitem(last=False)
            oldest.evict()

    def _evict(self, waiting: OrderedDict[Connection, None] | None) -> bool:
        """Close the longest-waiting connection; return whether there was one."""
        if not waiting:
            return False
        oldest = next(iter(waiting))
        self.remove(oldest)
        oldest.evict()
        return True


def caller_address(host: str) -> str:
    """Return what counts as one address: of IPv6 the network of 64 bits that one customer has."""
    try:
        ip = ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(ip, IPv6Address):
        return str(ip.ipv4_mapped) if ip.ipv4_mapped else ip.exploded[:19]
    return str(ip)
