"""A failure's public reason: what a caller of the server may read of it."""

from __future__ import annotations

import pytest

from routemoa.core.failure_kind import FailureKind
from routemoa.core.trace import Failure
from routemoa.core.usage import Usage

KEY = "check the key sk-1 in OUR_KEY at http://10.0.0.7"
REFUSED = "its endpoint refused this server (HTTP {})"


def failure(kind: FailureKind, reason: str, status: int | None = None) -> Failure:
    return Failure("m", reason, kind, Usage(), 1.0, None, status)


@pytest.mark.parametrize("status", [301, 401, 403, 404])
def test_a_refusal_that_concerns_our_setup_shows_its_status_alone(status: int) -> None:
    refused = failure(FailureKind.HTTP_ERROR, KEY, status)
    assert refused.concerns_setup
    assert refused.public_reason == REFUSED.format(status)


@pytest.mark.parametrize("kind", [FailureKind.UNREACHABLE, FailureKind.OTHER, FailureKind.HTTP_ERROR])
def test_without_a_status_the_endpoint_cannot_be_reached(kind: FailureKind) -> None:
    assert failure(kind, KEY).public_reason == "its endpoint cannot be reached"


@pytest.mark.parametrize("status", [400, 422, 429, 500, 503])
def test_a_refusal_of_the_request_itself_is_shown(status: int) -> None:
    refused = failure(FailureKind.HTTP_ERROR, "the prompt is too long", status)
    assert not refused.concerns_setup
    assert refused.public_reason == "the prompt is too long"


def test_an_unreadable_reply_is_not_quoted_and_an_empty_one_is_called_so() -> None:
    assert failure(FailureKind.INVALID_RESPONSE, "<html>10.0.0.7").public_reason == "its reply could not be read"
    empty = "empty answer (finish_reason length)"
    assert failure(FailureKind.INVALID_RESPONSE, empty).public_reason == empty


@pytest.mark.parametrize("kind", [FailureKind.TIMEOUT, FailureKind.CANCELLED, FailureKind.UNAFFORDABLE])
def test_our_own_reasons_are_shown(kind: FailureKind) -> None:
    assert failure(kind, "the limit of 2 s was reached").public_reason == "the limit of 2 s was reached"
