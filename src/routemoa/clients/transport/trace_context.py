"""The trace context that goes along with the calls of the running task (W3C: traceparent, tracestate)."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from types import MappingProxyType

__all__ = ["set_trace_headers", "trace_headers"]

NONE: Mapping[str, str] = MappingProxyType({})
_headers: ContextVar[Mapping[str, str]] = ContextVar("routemoa_trace_headers", default=NONE)


def set_trace_headers(headers: Mapping[str, str]) -> None:
    """Send headers along with the calls that this task makes from now on."""
    _headers.set(headers)


def trace_headers() -> Mapping[str, str]:
    """Return the headers to send along with a call of this task."""
    return _headers.get()
