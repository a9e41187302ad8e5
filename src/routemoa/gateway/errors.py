"""Errors to HTTP, in this one place: the status, the OpenAI-shaped body, and what a caller may know.

A caller learns what is wrong with the request and which models failed how. Endpoints, keys and whatever an endpoint
said about them are the operator's business: they go to the log, never into a response.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from time import time
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from routemoa.core.errors import (
    AllModelsFailed,
    BudgetExceeded,
    ConfigError,
    FailureKind,
    ModelError,
    ModelHTTPError,
    QueryError,
    Unaffordable,
)
from routemoa.core.tenants import format_time
from routemoa.core.trace import Failure
from routemoa.ledger import StoreError

__all__ = ["BodyTooLarge", "HttpError", "Interrupted", "MissingKey", "UnknownModel", "error_response", "public"]

logger = logging.getLogger("routemoa.gateway")

OPERATORS = {401, 403}  # our key, not the caller's
SOON = 2  # seconds after which calls under way may have left something of a budget
OUR_END = {
    FailureKind.TIMEOUT,
    FailureKind.CANCELLED,
    FailureKind.UNAFFORDABLE,
}  # kinds of failures that a limit brings about


class ErrorResponse(Struct, frozen=True):
    """What a caller is told when there is no answer."""

    status: int
    message: str
    param: str | None = None
    code: str | None = None
    retry_after: int | None = None
    reset: str | None = None  # when a budget begins anew, ISO 8601 in UTC

    @property
    def body(self) -> dict[str, Any]:
        """The error as OpenAI shapes it."""
        kind = "rate_limit_error" if self.status == 429 else "invalid_request_error"
        kind = "server_error" if self.status >= 500 else kind
        kind = "insufficient_quota" if self.code == "insufficient_quota" else kind
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}

    @property
    def headers(self) -> dict[str, str]:
        """What goes with it into the response's head."""
        wait = {} if self.retry_after is None else {"retry-after": str(self.retry_after)}
        if self.reset is None:
            return wait
        # OpenAI's clients try a 429 again within seconds unless they are told not to.
        stay = {} if (self.retry_after or 0) <= SOON else {"x-should-retry": "false"}
        return {**wait, "x-routemoa-reset": self.reset, **stay}


class HttpError(Exception):
    """The request is refused with this status before any model is asked."""

    def __init__(self, status: int, message: str, code: str | None = None, param: str | None = None) -> None:
        super().__init__(message)
        self.response = ErrorResponse(status, message, param, code)


class BodyTooLarge(HttpError):
    """The body exceeds what this server reads."""

    def __init__(self, limit: int) -> None:
        super().__init__(413, f"The request body is larger than {limit} bytes; send less.", "request_too_large")


class UnknownModel(HttpError):
    """No mixture and no member of the pool is called so."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        message = f"The model '{name[:200]}' does not exist here. These do: {', '.join(known)}."
        super().__init__(404, message, "model_not_found", "model")


class MissingKey(HttpError):
    """The pool file names tenants, and the caller shows no key of theirs."""

    def __init__(self, given: bool) -> None:
        wrong = "Incorrect API key provided" if given else "You did not provide an API key"
        fix = "This server's operator gives out keys; send yours as  Authorization: Bearer KEY."
        super().__init__(401, f"{wrong}. {fix}", "invalid_api_key")


class Interrupted(Exception):
    """The model that was writing the answer failed after part of it had been sent, which cannot be taken back."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.reason)
        self.failure = failure


def error_response(error: Exception) -> ErrorResponse:
    """What a caller is told about `error`; the rest is logged."""
    match error:
        case HttpError():
            return error.response
        case QueryError():
            return ErrorResponse(400, str(error), error.param)
        case Unaffordable():
            return _limited(error.why)
        case BudgetExceeded() | ConfigError():
            return _limited(error)
        case AllModelsFailed():
            _log(error.failures)
            return _nobody(error.failures)
        case ModelError():
            status = error.status if isinstance(error, ModelHTTPError) else None
            failure = _Failed(error.model, error.reason, error.kind, status)
            _log([failure])
            return _failed(failure, error.retry_after if isinstance(error, ModelHTTPError) else None)
        case Interrupted():
            _log([error.failure])
            message = f"The answer broke off: {_public(error.failure)}. What was sent of it is void; ask again."
            return ErrorResponse(502, message, code="answer_interrupted")
        case _:
            logger.error("unexpected error while answering", exc_info=error)
            return ErrorResponse(500, "The server had an error while processing your request.", code="internal_error")


def _limited(error: BudgetExceeded | ConfigError) -> ErrorResponse:
    """A contract too small for any call, a budget that is used up, or a price without which neither is kept."""
    said = str(error).rstrip(".")
    if isinstance(error, StoreError):
        logger.error("%s", error)
        return ErrorResponse(503, "The server's ledger cannot be written now, so no call is made.", code="no_ledger")
    if isinstance(error, ConfigError):  # of all settings only a missing price is found out by a request
        return ErrorResponse(400, f"A price is missing: {said}.", "routemoa.max_cost", "price_unknown")
    if error.reset is None:
        return ErrorResponse(400, f"The contract is too small: {said}.", "routemoa", "contract_too_small")
    when = format_time(error.reset)
    message = f"The budget is used up: {said}" + ("" if when in said else f"; it begins anew at {when}") + "."
    wait = SOON if error.temporary else max(1, round(error.reset - time()))
    return ErrorResponse(429, message, code="insufficient_quota", retry_after=wait, reset=when)


def public(failure: Failure) -> Failure:
    """A failure as callers may see it, without what its endpoint said to us."""
    return replace(failure, reason=_public(failure).removeprefix(f"{failure.model}: "))


class _Failed(Struct, frozen=True):
    """The part of a Failure that is told or logged."""

    model: str
    reason: str
    kind: FailureKind
    status: int | None = None


def _failed(failure: _Failed, retry_after: float | None) -> ErrorResponse:
    """One model, passed through, that gave no response to pass on."""
    timed_out = failure.kind is FailureKind.TIMEOUT
    status = 504 if timed_out else failure.status if failure.status in (429, 503) else 502
    wait = None if retry_after is None else max(1, round(retry_after))
    return ErrorResponse(status, f"{_public(failure)}.", code="model_failed", retry_after=wait)


def _nobody(failures: Iterable[Failure]) -> ErrorResponse:
    failures = list(failures)
    statuses = {f.status for f in failures}
    message = "No model could answer. " + "; ".join(_public(f) for f in failures) + "."
    kinds = {f.kind for f in failures}
    if kinds == {FailureKind.UNAFFORDABLE}:
        return ErrorResponse(400, message, "routemoa", "contract_too_small")
    if kinds and kinds <= OUR_END:
        return ErrorResponse(504, message, code="no_model_left")
    if failures and statuses <= {429, 503}:
        status = 429 if statuses == {429} else 503
        return ErrorResponse(status, message, code="no_model_left")
    return ErrorResponse(502, message, code="no_model_left")


def _ours(failure: Failure | _Failed) -> bool:
    """Whether the reason speaks of endpoints and keys rather than of the request."""
    status = failure.status
    if failure.kind is FailureKind.HTTP_ERROR:
        return status is None or status < 400 or status == 404 or status in OPERATORS
    return failure.kind in (FailureKind.UNREACHABLE, FailureKind.OTHER)


def _public(failure: Failure | _Failed) -> str:
    """One model's failure for the caller."""
    if _ours(failure):
        refused = f"its endpoint refused this server (HTTP {failure.status})"
        how = refused if failure.status else "its endpoint cannot be reached"
    elif failure.kind is FailureKind.INVALID_RESPONSE:
        empty = failure.reason.startswith("empty answer")
        how = failure.reason if empty else "its reply could not be read"
    else:
        how = failure.reason
    return f"{failure.model}: {how}"


def _log(failures: Iterable[Failure | _Failed]) -> None:
    """For the operator: the reason where it is about our own set-up, else only its kind, since it may quote a query."""
    for f in failures:
        detail = f.reason if _ours(f) or f.kind in OUR_END else f"HTTP {f.status}" if f.status else f.kind
        logger.warning("model %s failed: %s", f.model, detail)
