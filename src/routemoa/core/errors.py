"""Everything that can go wrong, as one small tree.

RouteMoAError
├── ConfigError            a pool file or setting is wrong: names the file, the key and the fix
│   └── StoreError         the ledger's file cannot be used: says why and what to do (in store)
├── QueryError             the request itself is wrong (empty, not supported by a mixture)
├── MissingExtra           an optional dependency is absent: names the extra to install
├── FetchError             a weight could not be fetched (in weights.fetch)
├── NoSandbox              code of a model cannot be run safely here: says what to install or allow
├── OverBudget             not even one call fits into what is left of a contract or a budget: none was made
├── NoModelLeft            every model that could answer failed: says why each did
└── ModelError             one call to one model failed (recorded in the trace, fatal only when nobody is left)
    ├── Unreachable        no connection, or it was lost before anything came
    ├── TimedOut           no answer within the attempt's or the call's time
    ├── Refused            the endpoint said no: an HTTP status of 400 or above
    ├── Garbled            the endpoint answered, but not in the protocol: cut stream, invalid JSON
    ├── Cut                we ended the call: others had answered, or its layer's time was over
    └── Unaffordable       the call did not fit into what is left: it was not made
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from routemoa.core.types import Failure

__all__ = [
    "ConfigError",
    "Cut",
    "Garbled",
    "MissingExtra",
    "ModelError",
    "NoModelLeft",
    "NoSandbox",
    "OverBudget",
    "QueryError",
    "Refused",
    "RouteMoAError",
    "TimedOut",
    "Unaffordable",
    "Unreachable",
]


class RouteMoAError(Exception):
    """Base of every error this package raises on purpose."""


class ConfigError(RouteMoAError):
    """A setting is wrong. The message is one line: where, what, and how to mend it."""


class QueryError(RouteMoAError):
    """The query cannot be answered as asked. `param` names the offending field where there is one."""

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param


class MissingExtra(RouteMoAError):
    """An optional dependency is not installed."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} is not installed: run  pip install 'routemoa[{extra}]'")
        self.extra = extra


class NoSandbox(RouteMoAError):
    """Code written by a model cannot be run safely on this machine, so it is not run at all."""


class OverBudget(RouteMoAError):
    """The next call could cost more than what is left; it was not made.

    `for_now`: it may fit once calls under way have ended and cost less than the most that they can.
    `reset`: seconds since the epoch at which a tenant's budget begins anew; None for one request's contract.
    """

    def __init__(self, message: str, *, for_now: bool = False, reset: float | None = None) -> None:
        super().__init__(message)
        self.for_now = for_now
        self.reset = reset


class ModelError(RouteMoAError):
    """One call to one model failed.

    `produced` is true when the model had begun to answer, so that tokens may have been billed.
    """

    def __init__(self, model: str, reason: str, *, produced: bool = False) -> None:
        super().__init__(f"{model}: {reason}")
        self.model = model
        self.reason = reason
        self.produced = produced


class Unreachable(ModelError):
    """No connection to the endpoint, or it was lost before anything came.

    `sent` is true when the request had gone out by then, so that it may have been worked on, and billed.
    """

    def __init__(self, model: str, reason: str, *, produced: bool = False, sent: bool = False) -> None:
        super().__init__(model, reason, produced=produced)
        self.sent = sent


class TimedOut(ModelError):
    """No answer within the time given to it."""


class Refused(ModelError):
    """The endpoint answered with an HTTP error `status`; `retry_after` is in seconds where it was given.

    `body` is what it said, as it said it, for whoever passes it through.
    """

    def __init__(
        self, model: str, reason: str, *, status: int, retry_after: float | None = None, body: bytes = b""
    ) -> None:
        super().__init__(model, reason)
        self.status = status
        self.retry_after = retry_after
        self.body = body


class Garbled(ModelError):
    """The endpoint broke the protocol: a stream cut short, a body that is no JSON, a reply without choices."""


class Cut(ModelError):
    """We ended the call ourselves: the answers heard suffice, another was faster, or its layer's time was over."""


class Unaffordable(ModelError):
    """The call did not fit into what is left of a contract or a budget and was not made. `why` is the OverBudget."""

    def __init__(self, model: str, why: OverBudget | ConfigError) -> None:
        super().__init__(model, str(why))
        self.why = why


class NoModelLeft(RouteMoAError):
    """Every model that could answer has failed; `failures` holds each with its reason."""

    def __init__(self, failures: Sequence[Failure]) -> None:
        super().__init__("no model could answer: " + "; ".join(f"{f.model}: {f.reason}" for f in failures))
        self.failures = tuple(failures)
