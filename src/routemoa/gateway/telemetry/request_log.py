"""A line in the log for each request, and the request's id in every line that is logged while it is answered."""

from __future__ import annotations

import logging
from collections.abc import Awaitable
from contextvars import ContextVar
from datetime import UTC, datetime
from time import monotonic
from typing import Any

import msgspec
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from routemoa.gateway.guards.log_limits import LineFormatter
from routemoa.gateway.guards.request_ids import REQUEST_ID_KEY

__all__ = ["LOG_FIELDS_KEY", "REQUEST_LOGGER", "JsonFormatter", "RequestLogMiddleware", "add_log_fields"]

REQUEST_LOGGER = "routemoa.requests"
LOG_FIELDS_KEY = "routemoa.log_fields"
"""Where the scope of a request holds what its line says beside method, path, status and seconds."""
logger = logging.getLogger(REQUEST_LOGGER)
_request_id: ContextVar[str | None] = ContextVar("routemoa_request_id", default=None)


class RequestLogMiddleware:
    """Logs a line for each request at its end, where lines of that level are wanted; never a text of it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Serve one connection."""
        if scope["type"] != "http":
            return self._app(scope, receive, send)
        _request_id.set(scope.get(REQUEST_ID_KEY))
        return (self._log if logger.isEnabledFor(logging.INFO) else self._app)(scope, receive, send)

    async def _log(self, scope: Scope, receive: Receive, send: Send) -> None:
        began, statuses = monotonic(), list[int]()
        fields: dict[str, Any] = {}
        scope[LOG_FIELDS_KEY] = fields

        async def send_noted(message: Message) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])
            await send(message)

        try:
            await self._app(scope, receive, send_noted)
        finally:
            _log_request(scope, statuses[0] if statuses else None, monotonic() - began, fields)


def add_log_fields(scope: Scope, **fields: Any) -> None:
    """Add to what the line of a request says; what is None is left out."""
    if (found := scope.get(LOG_FIELDS_KEY)) is not None:
        found |= {name: value for name, value in fields.items() if value is not None}


class JsonFormatter(LineFormatter):
    """Formats a record as one JSON object, bounded like a line: time, level, logger, message, request_id and more.

    Args:
        worker: the number of the process, where a server has several.
    """

    def __init__(self, worker: int | None = None) -> None:
        super().__init__()
        self._worker = worker

    def format(self, record: logging.LogRecord) -> str:
        """Return the object on one line."""
        record.message = record.getMessage()
        found: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": self.formatMessage(record),
        }
        if self._worker is not None:
            found["worker"] = self._worker
        if (request_id := _request_id.get()) is not None:
            found["request_id"] = request_id
        found |= getattr(record, "fields", {})
        if record.exc_info:
            found["exception"] = self.formatException(record.exc_info)
        return msgspec.json.encode(found).decode()


def _log_request(scope: Scope, status: int | None, seconds: float, more: dict[str, Any]) -> None:
    method, path = scope["method"], scope["path"]
    fields = {"method": method, "path": path, "status": status, "seconds": round(seconds, 4), **more}
    client = scope.get("client")
    said = "no response" if status is None else str(status)
    named = f" {more['model']}" if "model" in more else ""
    extra = {"fields": {**fields, "client": client[0] if client else None}}
    logger.info("%s %s%s: %s in %.3f s", method, path, named, said, seconds, extra=extra)
