"""Maps every error to its HTTP response: the status, the OpenAI-shaped body, and what a caller may read.

A caller learns what is wrong with the request, and which models failed how. Addresses, keys and what endpoints said
about them go to the operator's log, never into a response (see `Failure.public_reason`).
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from time import time
from typing import Any

from msgspec import Struct

from routemoa.core.errors import (
    AllModelsFailed,
    AnswerInterrupted,
    BudgetExceeded,
    ConfigError,
    ModelError,
    ModelHTTPError,
    QueryError,
    Unaffordable,
)
from routemoa.core.failure_kind import FailureKind
from routemoa.core.tenants import format_time
from routemoa.core.trace import Failure
from routemoa.core.types import Usage
from routemoa.ledger import StoreError

__all__ = [
    "LIMIT_KINDS",
    "BodyTooLarge",
    "ErrorResponse",
    "HttpError",
    "MissingKey",
    "Overloaded",
    "SlowRequest",
    "UnknownModel",
    "UnknownRoute",
    "error_response",
    "to_failure",
]

logger = logging.getLogger("routemoa.gateway")

RETRY_SOON_SECONDS = 2
"""After so long, calls under way may have left something of a budget."""
LIMIT_KINDS = {FailureKind.TIMEOUT, FailureKind.CANCELLED, FailureKind.UNAFFORDABLE}
"""The kinds of failures that a limit causes."""


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
            if (self.retry_after or 0) > RETRY_SOON_SECONDS:
                headers["x-should-retry"] = "false"  # OpenAI's clients retry a 429 within seconds otherwise
        return headers


class HttpError(Exception):
    """The request is refused with an HTTP status before any model is called."""

    def __init__(self, status: int, message: str, code: str | None = None, param: str | None = None) -> None:
        super().__init__(message)
        self.response = ErrorResponse(status, message, param, code)


class UnknownRoute(HttpError):
    """The server has no such path, or not with this method."""

    def __init__(self, status: int, method: str, path: str) -> None:
        not_allowed = status == 405
        what = "Method not allowed" if not_allowed else "Unknown request URL"
        message = f"{what}: {method} {path[:200]}. This server has GET /v1/models and POST /v1/chat/completions."
        super().__init__(status, message, "method_not_allowed" if not_allowed else None)


class BodyTooLarge(HttpError):
    """The body is larger than the server reads."""

    def __init__(self, limit: int) -> None:
        super().__init__(413, f"The request body is larger than {limit} bytes; send less.", "request_too_large")


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
    """The pool file names tenants, and the request has no tenant's key."""

    def __init__(self, given: bool) -> None:
        wrong = "Incorrect API key provided" if given else "You did not provide an API key"
        fix = "Ask the operator of this server for a key and send it as  Authorization: Bearer KEY."
        super().__init__(401, f"{wrong}. {fix}", "invalid_api_key")


def to_failure(error: ModelError) -> Failure:
    """Return a failed call as a trace has it; its usage, time and cost are unknown here."""
    status = error.status if isinstance(error, ModelHTTPError) else None
    return Failure(error.model, error.reason, error.kind, Usage(), None, None, status)


def error_response(error: Exception) -> ErrorResponse:
    """Return the response to a request that ended in `error`; log what only the operator may know."""
    match error:
        case HttpError():
            return error.response
        case QueryError():
            return ErrorResponse(400, str(error), error.param)
        case Unaffordable():
            return _budget_response(error.why)
        case BudgetExceeded() | ConfigError():
            return _budget_response(error)
        case AllModelsFailed():
            return _all_failed_response(error.failures)
        case ModelError():
            return _model_failed_response(error)
        case AnswerInterrupted():
            _log_failures([error.failure])
            message = f"The answer broke off: {_describe(error.failure)}. Discard what was sent of it and ask again."
            return ErrorResponse(502, message, code="answer_interrupted")
        case _:
            logger.error("unexpected error while answering", exc_info=error)
            return ErrorResponse(500, "The server had an error while processing your request.", code="internal_error")


def _budget_response(error: BudgetExceeded | ConfigError) -> ErrorResponse:
    """Return the response where the next call was not made: limits, a budget, the ledger or a missing price."""
    reason = str(error).rstrip(".")
    if isinstance(error, StoreError):
        logger.error("%s", error)
        return ErrorResponse(503, "The server's ledger cannot be written now, so no call is made.", code="no_ledger")
    if isinstance(error, ConfigError):  # a missing price is the only setting that a request can find to be wrong
        return ErrorResponse(400, f"A price is missing: {reason}.", "routemoa.max_cost", "price_unknown")
    if error.reset is None:
        return ErrorResponse(400, f"The limits are too small: {reason}.", "routemoa", "contract_too_small")
    reset = format_time(error.reset)
    message = f"The budget is used up: {reason}" + ("" if reset in reason else f"; it starts again at {reset}") + "."
    wait = RETRY_SOON_SECONDS if error.temporary else max(1, round(error.reset - time()))
    return ErrorResponse(429, message, code="insufficient_quota", retry_after=wait, reset=reset)


def _all_failed_response(failures: Sequence[Failure]) -> ErrorResponse:
    """Return the response where every model failed; its status is that of the common cause, if there is one."""
    _log_failures(failures)
    message = "No model could answer. " + "; ".join(map(_describe, failures)) + "."
    kinds, statuses = {f.kind for f in failures}, {f.status for f in failures}
    if kinds == {FailureKind.UNAFFORDABLE}:
        return ErrorResponse(400, message, "routemoa", "contract_too_small")
    status = 502
    if kinds and kinds <= LIMIT_KINDS:
        status = 504
    elif failures and statuses <= {429, 503}:
        status = 429 if statuses == {429} else 503
    return ErrorResponse(status, message, code="no_model_left")


def _model_failed_response(error: ModelError) -> ErrorResponse:
    """Return the response where the one model that was named gave none to pass on."""
    failure = to_failure(error)
    _log_failures([failure])
    status, wait = 502, None
    if isinstance(error, ModelHTTPError):
        status = error.status if error.status in (429, 503) else 502
        wait = None if error.retry_after is None else max(1, round(error.retry_after))
    elif failure.kind is FailureKind.TIMEOUT:
        status = 504
    return ErrorResponse(status, f"{_describe(failure)}.", code="model_failed", retry_after=wait)


def _describe(failure: Failure) -> str:
    return f"{failure.model}: {failure.public_reason}"


def _log_failures(failures: Iterable[Failure]) -> None:
    for f in failures:
        logger.warning("model %s failed: %s", f.model, _loggable_reason(f))


def _loggable_reason(failure: Failure) -> str:
    """Return the reason for the operator's log; only its kind where it may quote the query."""
    if failure.concerns_setup or failure.kind in LIMIT_KINDS:
        return failure.reason
    return f"HTTP {failure.status}" if failure.status else failure.kind
