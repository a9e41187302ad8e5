"""When a call is repeated: what endpoints say of it, and what a query that has other members waits for."""

from __future__ import annotations

import pytest

from routemoa.clients.retry import MAX_RETRY_AFTER, Retry, RetryPolicy, read_retry_after
from routemoa.core.errors import ModelError, ModelHTTPError, Unreachable


@pytest.mark.parametrize(
    ("headers", "body", "seconds"),
    [
        ({"retry-after": "20"}, "", 20),
        ({"retry-after": " 20 "}, "", 20),
        ({"retry-after": "0.5", "retry-after-ms": "9000"}, "", 0.5),
        ({"retry-after-ms": "1500"}, "", 1.5),
        ({"x-ms-retry-after-ms": "250"}, "", 0.25),
        ({"retry-after": "604800"}, "", MAX_RETRY_AFTER),
        ({"retry-after": "Fri, 31 Dec 2049 23:59:59 GMT"}, "", MAX_RETRY_AFTER),
        ({"retry-after": "Fri, 31 Dec 1999 23:59:59 GMT"}, "", 0),
        ({"retry-after": "Fri, 31 Dec 99999 23:59:59 GMT"}, "", None),
        ({"retry-after": "-5"}, "", 0),
        ({"retry-after": "1e12"}, "", None),
        ({"retry-after": "inf"}, "", None),
        ({"retry-after": "-inf"}, "", None),
        ({"retry-after": "nan"}, "", None),
        ({"retry-after": "later"}, "", None),
        ({"retry-after": ""}, "", None),
        ({}, '{"error": {"details": [{"retryDelay": "34s"}]}}', 34),
        ({}, "Rate limit reached. Please try again in 7.66s. Visit ...", 7.66),
        ({}, "Please try again in 20ms.", 0.02),
        ({}, "Please try again in 1m30s", 90),
        ({}, "Please retry after 12 seconds", 12),
        ({}, "Please try again later", None),
        ({}, "", None),
    ],
)
def test_when_an_endpoint_wants_to_be_called_again(headers: dict[str, str], body: str, seconds: float | None) -> None:
    found = read_retry_after(headers, body.encode())
    assert found == (None if seconds is None else pytest.approx(seconds))


class Naps(list[float]):
    async def __call__(self, seconds: float) -> None:
        self.append(seconds)


BUSY = ModelHTTPError("a", "HTTP 503", status=503)


def limited(seconds: float) -> ModelHTTPError:
    return ModelHTTPError("a", "HTTP 429", status=429, retry_after=seconds)


@pytest.mark.parametrize(
    ("error", "waits"),
    [
        (BUSY, [0.5]),
        (limited(2), [2.2]),
        (limited(5), [5.5]),
        (limited(5.1), []),
        (limited(20), []),
        (limited(86400), []),
        (Unreachable("a", "reset", sent=True), [0.5]),
        (ModelHTTPError("a", "HTTP 400", status=400), []),
        (ModelHTTPError("a", "HTTP 401", status=401), []),
        (ModelHTTPError("a", "HTTP 429: You exceeded your current quota", status=429), []),
        (ModelHTTPError("a", "HTTP 429: Request too large for m", status=429), []),
    ],
)
async def test_a_call_with_other_members_is_repeated_once_within_seconds(error: ModelError, waits: list[float]) -> None:
    naps = Naps()
    retry = Retry(RetryPolicy().in_place, sleep=naps, jitter=lambda: 1.0)
    for _ in range(3):
        try:
            await retry.wait(error, float("inf"))
        except ModelError:
            break
    assert naps == pytest.approx(waits)
    assert error.retried == bool(waits)


async def test_it_is_not_repeated_where_another_member_is_ready() -> None:
    naps = Naps()
    retry = Retry(RetryPolicy().in_place, sleep=naps)
    retry.may_repeat = lambda: False
    with pytest.raises(ModelHTTPError):
        await retry.wait(BUSY, float("inf"))
    assert naps == []


def test_the_policy_of_a_single_call_stays_patient() -> None:
    policy = RetryPolicy()
    assert (policy.attempts, policy.longest) == (4, float("inf"))
    assert RetryPolicy(attempts=1).in_place.attempts == 1
