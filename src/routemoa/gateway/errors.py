"""The response that an error becomes, as OpenAI shapes it, and the refusals of a request before any model is called."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from msgspec import Struct

__all__ = [
    "RETRY_SOON_SECONDS",
    "BodyTooLarge",
    "ErrorResponse",
    "HttpError",
    "KeyNotChanged",
    "MissingAdminKey",
    "MissingKey",
    "Overloaded",
    "RateLimited",
    "SlowRequest",
    "UnknownHost",
    "UnknownModel",
    "UnknownRoute",
]

RETRY_SOON_SECONDS = 2
"""After so long, calls under way may have left something of a budget."""


class ErrorResponse(Struct, frozen=True):
    """The response to a request that gets no answer."""

    status: int
    message: str
    param: str | None = None
    """The field or header that is wrong."""
    code: str | None = None
    retry_after: int | None = None
    """Seconds."""
    reset: str | None = None
    """When a budget starts again, ISO 8601 in UTC."""
    retried: bool = False
    """Whether a client gains nothing from a retry: calls were repeated or other models asked, or the fault lasts."""

    @property
    def body(self) -> dict[str, Any]:
        """The error as OpenAI shapes it."""
        kind = "rate_limit_error" if self.status == 429 else "invalid_request_error"
        kind = "server_error" if self.status >= 500 else kind
        kind = "insufficient_quota" if self.code == "insufficient_quota" else kind
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}

    @property
    def headers(self) -> dict[str, str]:
        """The headers that go with it."""
        headers = {"connection": "close"} if self.status == 408 else {}
        if self.retry_after is not None:
            headers["retry-after"] = str(self.retry_after)
        if self.reset is not None:
            headers["x-routemoa-reset"] = self.reset
        later = self.reset is not None and (self.retry_after or 0) > RETRY_SOON_SECONDS
        if later or self.retried:
            headers["x-should-retry"] = "false"  # OpenAI's clients retry a 429 or 5xx within seconds otherwise
        return headers


class HttpError(Exception):
    """The request is refused with an HTTP status before any model is called."""

    def __init__(
        self,
        status: int,
        message: str,
        code: str | None = None,
        param: str | None = None,
        *,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.response = ErrorResponse(status, message, param, code, retry_after)


class UnknownRoute(HttpError):
    """The server has no such path, or not with this method."""

    def __init__(self, status: int, method: str, path: str) -> None:
        not_allowed = status == 405
        what = "Method not allowed" if not_allowed else "Unknown request URL"
        message = f"{what}: {method} {path[:200]}. GET /docs lists what this server has."
        super().__init__(status, message, "method_not_allowed" if not_allowed else None)


class BodyTooLarge(HttpError):
    """The body is larger than the server reads."""

    def __init__(self, limit: int) -> None:
        super().__init__(413, f"The request body is larger than {limit} bytes; send less.", "request_too_large")


class UnknownHost(HttpError):
    """The request names another server than this one."""

    def __init__(self, name: str) -> None:
        host = name.rpartition(":")[0] or name
        message = f"This server is not known as {name}: start it with --allow-host {host} if it is."
        super().__init__(403, message, "host_not_allowed", "host")


class SlowRequest(HttpError):
    """The body did not come in time."""

    def __init__(self, seconds: float) -> None:
        super().__init__(408, f"The request body was not complete within {seconds:.0f} s.", "request_timeout")


class Overloaded(HttpError):
    """The server has too much to do; nothing was spent on the request."""

    def __init__(self, retry_after: int) -> None:
        self.response = ErrorResponse(
            503, "The server is overloaded; try again later.", code="overloaded", retry_after=retry_after
        )


class UnknownModel(HttpError):
    """No method and no model of the pool has this name."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        message = f"The model '{name[:200]}' does not exist. Available models: {', '.join(known)}."
        super().__init__(404, message, "model_not_found", "model")


class MissingKey(HttpError):
    """Requests need a tenant's key, and this one has none."""

    def __init__(self, given: bool) -> None:
        wrong = "Incorrect API key provided" if given else "You did not provide an API key"
        fix = "Ask the operator of this server for a key and send it as  Authorization: Bearer KEY."
        super().__init__(401, f"{wrong}. {fix}", "invalid_api_key")


class MissingAdminKey(HttpError):
    """The route is the operator's, and the request does not have the admin key."""

    def __init__(self) -> None:
        message = "This route needs the server's admin key: send it as  Authorization: Bearer KEY."
        super().__init__(401, message, "invalid_api_key")


class RateLimited(HttpError):
    """The tenant sends more than its rates allow; nothing was spent on the request.

    Args:
        message: what the limit is.
        retry_after: seconds; None where the request never fits.
    """

    def __init__(self, message: str, retry_after: int | None) -> None:
        never = retry_after is None
        self.response = ErrorResponse(429, message, code="rate_limit_exceeded", retry_after=retry_after, retried=never)


class KeyNotChanged(HttpError):
    """The operator asked for a key that there is not, for one that there is already, or in a wrong way."""

    def __init__(self, status: int, message: str) -> None:
        code = {404: "key_not_found", 409: "key_exists"}.get(status)
        super().__init__(status, f"{message[:1].upper()}{message[1:]}.", code)
