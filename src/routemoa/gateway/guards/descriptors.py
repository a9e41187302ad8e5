"""The file descriptors of the process: a connection to a caller and one to an endpoint take one each."""

from __future__ import annotations

import os
from contextlib import suppress

__all__ = ["MAX_CONNECTIONS", "count_descriptors", "default_max_connections", "descriptor_limit", "raise_limit"]

RESERVED = 128
"""Descriptors for files, the ledger and pipes."""
CALLERS_SHARE = 0.45
"""Of the other descriptors: for callers; a request also needs one for each endpoint that it calls."""
MAX_CONNECTIONS = 10_000
"""By default, however many descriptors there are."""
UNKNOWN_LIMIT = 1024
"""Where the system does not say: Windows."""
FALLBACK_LIMIT = 10_240
"""Where the hard limit is more than the system grants (macOS)."""


def raise_limit() -> int:
    """Raise the soft limit on descriptors to the hard one, as far as the system grants it; return it."""
    try:
        import resource
    except ImportError:
        return UNKNOWN_LIMIT
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for wanted in (hard, FALLBACK_LIMIT):
        if soft != resource.RLIM_INFINITY and (wanted == resource.RLIM_INFINITY or wanted > soft):
            with suppress(OSError, ValueError):
                resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
                break
    return descriptor_limit()


def descriptor_limit() -> int:
    """Return the soft limit on descriptors."""
    try:
        import resource
    except ImportError:
        return UNKNOWN_LIMIT
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 2**31 if soft == resource.RLIM_INFINITY else soft


def count_descriptors() -> int | None:
    """Return how many descriptors are open; None where the system does not say."""
    for folder in ("/proc/self/fd", "/dev/fd"):
        with suppress(OSError):
            return len(os.listdir(folder)) - 1  # one is the listing's own
    return None


def default_max_connections(limit: int) -> int:
    """Return how many connections callers may have, where `limit` descriptors can be open."""
    return max(16, min(MAX_CONNECTIONS, int(CALLERS_SHARE * (limit - RESERVED))))
