"""Bodies of errors: in the shape of Anthropic's API at its paths, else in that of OpenAI's. Pure."""

from __future__ import annotations

from typing import Any

from routemoa.gateway.errors import ErrorResponse

__all__ = ["shape_error", "shape_error_at"]

MESSAGES_PATH = "/v1/messages"
"""The paths that begin so are of this API."""

KINDS = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}
"""HTTP status -> its name; other 4xx are "invalid_request_error", other 5xx "api_error"."""


def shape_error(response: ErrorResponse) -> dict[str, Any]:
    """Return the body of an error in Anthropic's shape."""
    kind = KINDS.get(response.status, "invalid_request_error" if response.status < 500 else "api_error")
    return {"type": "error", "error": {"type": kind, "message": response.message}}


def shape_error_at(path: str, response: ErrorResponse) -> dict[str, Any]:
    """Return the body of an error at a path of the server: in OpenAI's shape where the path is not of this API."""
    return shape_error(response) if path.startswith(MESSAGES_PATH) else response.body
