"""Map every error to its HTTP response: the status, the OpenAI-shaped body, and what a caller may read.

A caller learns what is wrong with the request, and which models failed how. Addresses, keys and what endpoints said
about them go to the operator's log, never into a response (see `Failure.public_reason`).
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from math import ceil
from time import time

from routemoa.clients.faults import diagnose, is_context_overflow
from routemoa.core.access.tenants import format_time
from routemoa.core.errors import (
    AllModelsFailed,
    AnswerInterrupted,
    BudgetExceeded,
    ConfigError,
    ContextExceeded,
    ModelError,
    ModelHTTPError,
    QueryError,
    Unaffordable,
)
from routemoa.core.failure_kind import FailureKind
from routemoa.core.text.quoted import Quoted
from routemoa.core.trace import Failure, Skip
from routemoa.core.usage import Usage
from routemoa.gateway.errors import RETRY_SOON_SECONDS, ErrorResponse, HttpError
from routemoa.ledger import StoreError

__all__ = ["LIMIT_KINDS", "CoolingDown", "error_response", "log_failure", "to_failure"]

logger = logging.getLogger("routemoa.gateway")

LIMIT_KINDS = {FailureKind.TIMEOUT, FailureKind.CANCELLED, FailureKind.UNAFFORDABLE}
"""The kinds of failures that a limit causes."""
FAULT_STATUSES = {400, 413, 422}
"""HTTP statuses that say that the request itself is wrong."""
OVERFLOW_CODE = "context_length_exceeded"


class CoolingDown(HttpError):
    """The one model that was named is not called now: it failed before, and its time is not over."""

    def __init__(self, skip: Skip) -> None:
        response = _cooling_response([skip], f"{skip.model}: {skip.reason}.")
        super().__init__(response.status, response.message, response.code, retry_after=response.retry_after)


def to_failure(error: ModelError) -> Failure:
    """Return a failed call as a trace has it; its usage, time and cost are unknown here."""
    status = error.status if isinstance(error, ModelHTTPError) else None
    return Failure(error.model, error.reason, error.kind, Usage(), None, None, status)


def log_failure(error: ModelError) -> None:
    """Log a failed call whose error the caller has read in the endpoint's own words."""
    _log_failures([to_failure(error)])


def error_response(error: Exception) -> ErrorResponse:
    """Return the response to a request that ended in `error`; log what only the operator may know."""
    match error:
        case HttpError():
            return error.response
        case QueryError():
            return _query_response(error)
        case Unaffordable():
            return _budget_response(error.why)
        case BudgetExceeded() | ConfigError():
            return _budget_response(error)
        case AllModelsFailed():
            return _all_failed_response(error.failures, error.skipped)
        case ModelError():
            return _model_failed_response(error)
        case AnswerInterrupted():
            _log_failures([error.failure])
            message = f"The answer broke off: {_describe(error.failure)}. Discard what was sent of it and ask again."
            return ErrorResponse(502, message, code="answer_interrupted")
        case _:
            logger.error("unexpected error while answering", exc_info=error)
            return ErrorResponse(500, "The server had an error while processing your request.", code="internal_error")


def _query_response(error: QueryError) -> ErrorResponse:
    if isinstance(error, ContextExceeded):
        message = f"The prompt is longer than any model here can hold: {error}. Shorten it."
        return ErrorResponse(400, message, error.param, OVERFLOW_CODE)
    return ErrorResponse(400, str(error), error.param)


def _budget_response(error: BudgetExceeded | ConfigError) -> ErrorResponse:
    """Return the response where the next call was not made: limits, a budget, the ledger or a missing price."""
    reason = str(error).rstrip(".")
    if isinstance(error, StoreError):
        if not error.is_logged:
            logger.error("%s", error)
        return ErrorResponse(
            503,
            "The server's ledger cannot be written now, so no call is made.",
            code="no_ledger",
            retry_after=RETRY_SOON_SECONDS,
        )
    if isinstance(error, ConfigError):  # a missing price is the only setting that a request can find to be wrong
        return ErrorResponse(400, f"A price is missing: {reason}.", "routemoa.max_cost", "price_unknown")
    if error.reset is None:
        return ErrorResponse(400, f"The limits are too small: {reason}.", "routemoa", "contract_too_small")
    reset = format_time(error.reset)
    message = f"The budget is used up: {reason}" + ("" if reset in reason else f"; it starts again at {reset}") + "."
    wait = RETRY_SOON_SECONDS if error.temporary else max(1, round(error.reset - time()))
    return ErrorResponse(429, message, code="insufficient_quota", retry_after=wait, reset=reset)


def _all_failed_response(failures: Sequence[Failure], skipped: Sequence[Skip]) -> ErrorResponse:
    """Return the response where every model failed; its status is that of the common cause, if there is one."""
    _log_failures(failures)
    reasons = [*map(_describe, failures), *(f"{s.model}: {s.reason}" for s in skipped)]
    message = "No model could answer. " + "; ".join(reasons) + "."
    cooling = [s for s in skipped if s.kind == "cooling"]
    if cooling and not failures:
        return _cooling_response(cooling, message)
    kinds = {f.kind for f in failures}
    if kinds == {FailureKind.UNAFFORDABLE}:
        return ErrorResponse(400, message, "routemoa", "contract_too_small")
    if (response := _request_fault_response(failures)) is not None:
        return response
    statuses = {f.status for f in failures} | {s.status for s in cooling}
    status = 502
    if kinds and kinds <= LIMIT_KINDS:
        status = 504
    elif statuses and statuses <= {429, 503}:
        status = 429 if statuses == {429} else 503
    waits = [w for w in (*(f.retry_after for f in failures), *(s.retry_after for s in cooling)) if w is not None]
    wait = max(1, ceil(min(waits))) if waits and status in (429, 503) else None
    return ErrorResponse(status, message, code="no_model_left", retry_after=wait, retried=True)


def _request_fault_response(failures: Sequence[Failure]) -> ErrorResponse | None:
    """Return the response where all models say that the request is wrong: as one of them says it, with its code."""
    faults = [f for f in failures if f.kind is not FailureKind.CANCELLED]
    if not faults or any(f.status not in FAULT_STATUSES for f in faults):
        return None
    if all(is_context_overflow(f.status, f.reason, f.code) for f in faults):
        return ErrorResponse(400, f"{_words(faults[0])}.", "messages", OVERFLOW_CODE, retried=True)
    chosen = next(f for f in faults if not is_context_overflow(f.status, f.reason, f.code))
    return ErrorResponse(chosen.status or 400, f"{_words(chosen)}.", code=chosen.code, retried=True)


def _words(failure: Failure) -> str:
    return _describe(failure).replace(f"HTTP {failure.status}: ", "", 1).rstrip(".")


def _cooling_response(cooling: Sequence[Skip], message: str) -> ErrorResponse:
    """Return the response where no call was made, since all models cool down: when the first of them may be called."""
    status = 429 if cooling and all(s.status == 429 for s in cooling) else 503
    wait = max(1, ceil(min((s.retry_after or 1.0 for s in cooling), default=1.0)))
    return ErrorResponse(status, message, code="model_cooling_down", retry_after=wait)


def _model_failed_response(error: ModelError) -> ErrorResponse:
    """Return the response where the one model that was named gave none to pass on."""
    failure = to_failure(error)
    _log_failures([failure])
    status, wait = 502, None
    if isinstance(error, ModelHTTPError):
        status = error.status if error.status in (429, 503) else 502
        wait = None if error.retry_after is None else max(1, ceil(error.retry_after))
    elif failure.kind is FailureKind.TIMEOUT:
        status = 504
    fault = diagnose(error, 0.0)
    useless = error.retried or (fault is not None and fault.permanent)
    return ErrorResponse(status, f"{_describe(failure)}.", code="model_failed", retry_after=wait, retried=useless)


def _describe(failure: Failure) -> str:
    return f"{failure.model}: {failure.public_reason}"


def _log_failures(failures: Iterable[Failure]) -> None:
    for f in failures:
        logger.warning("model %s failed: %s", f.model, _loggable_reason(f))


def _loggable_reason(failure: Failure) -> str | Quoted:
    """Return the reason for the operator's log; only its kind where it is likely to quote the query."""
    brief = f"HTTP {failure.status}" if failure.status else failure.kind
    if failure.kind in LIMIT_KINDS:
        return failure.reason
    return Quoted(failure.reason, brief) if failure.concerns_setup else brief
