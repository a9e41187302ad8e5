"""The errors of the package, as one tree.

RouteMoAError
├── ConfigError            a pool file or setting is wrong: names the file, the key and the fix
│   └── StoreError         the ledger's file cannot be used: says why and what to do (in ledger.schema)
├── QueryError             the request itself is wrong (empty, or not supported by a mixture)
│   └── ContextExceeded    no model of the pool can hold the prompt; nothing was spent
├── MissingExtra           an optional dependency is not installed: names the extra to install
├── FetchError             a weight could not be downloaded (in clients.weights)
├── NoSandbox              a model's code cannot be run safely here: says what to install or allow
├── BudgetExceeded         the next call does not fit into what is left of the limits or of a budget; it was not made
├── AllModelsFailed        every model that could answer failed: gives the reason for each
├── AnswerInterrupted      the answer broke off after a part of it was shown, which cannot be taken back
└── ModelError             one call to one model failed (recorded in the trace; fatal only when no model is left)
    ├── Unreachable        no connection, or it was lost before anything came
    ├── ModelTimeout       no answer within the attempt's or the call's time
    ├── ModelHTTPError     the endpoint answered with an HTTP status of 400 or above
    ├── InvalidResponse    the endpoint broke the protocol: cut stream, invalid JSON, no choices
    ├── CallCancelled      we cancelled the call: the answers sufficed, or its layer's time was over
    └── Unaffordable       the call did not fit into what is left; it was not made
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from routemoa.core.failure_kind import FailureKind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from routemoa.core.proposal import Failure, Skip
    from routemoa.core.usage import Usage

__all__ = [
    "AllModelsFailed",
    "AnswerInterrupted",
    "BudgetExceeded",
    "CallCancelled",
    "ConfigError",
    "ContextExceeded",
    "InvalidResponse",
    "MissingExtra",
    "ModelError",
    "ModelHTTPError",
    "ModelTimeout",
    "NoSandbox",
    "QueryError",
    "RouteMoAError",
    "Unaffordable",
    "Unreachable",
]


class RouteMoAError(Exception):
    """Base of every error that this package raises on purpose. It may be pickled, to be raised in another process."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore_error, (type(self), self.args, self.__dict__)


class ConfigError(RouteMoAError):
    """A setting is wrong. The message is one line: where, what, and how to fix it."""


class QueryError(RouteMoAError):
    """The query cannot be answered as asked."""

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param
        """The field of the request that is wrong, where there is one."""


class ContextExceeded(QueryError):
    """The prompt is longer than any model that was asked for can hold; no call was made."""


class MissingExtra(RouteMoAError):
    """An optional dependency is not installed."""

    def __init__(self, what: str, extra: str) -> None:
        from routemoa.core.system.installation import install_command

        super().__init__(f"{what} is not installed: run  {install_command(extra)}")
        self.extra = extra


class NoSandbox(RouteMoAError):
    """A model's code cannot be run safely on this machine, so it is not run at all."""


class BudgetExceeded(RouteMoAError):
    """The next call could cost more than is left; it was not made."""

    def __init__(self, message: str, *, temporary: bool = False, reset: float | None = None) -> None:
        super().__init__(message)
        self.temporary = temporary
        """Whether the call may fit once calls under way have ended for less than their worst case."""
        self.reset = reset
        """When a tenant's budget starts again (seconds since the epoch); None for the limits of one request."""


class ModelError(RouteMoAError):
    """One call to one model failed."""

    kind: ClassVar[FailureKind] = FailureKind.OTHER

    def __init__(self, model: str, reason: str, *, produced: bool = False, usage: Usage | None = None) -> None:
        super().__init__(f"{model}: {reason}")
        self.model = model
        self.reason = reason
        self.produced = produced
        """Whether the model had begun to answer, so that tokens may have been billed."""
        self.usage = usage
        """What the endpoint says that the call used all the same; None where it says nothing."""
        self.retried = False
        """Whether the call had been repeated before, so that its caller need not repeat it once more."""
        self.endpoint: str | None = None
        """The name of the endpoint that failed, where its member has several."""

    @property
    def may_be_billed(self) -> bool:
        """Return whether the endpoint may have processed the call: False where it refused it or never got it."""
        return True


class Unreachable(ModelError):
    """No connection to the endpoint, or it was lost before anything came."""

    kind = FailureKind.UNREACHABLE

    def __init__(self, model: str, reason: str, *, produced: bool = False, sent: bool = False) -> None:
        super().__init__(model, reason, produced=produced)
        self.sent = sent
        """Whether the request had been sent, so that it may have been processed and billed."""

    @property
    def may_be_billed(self) -> bool:
        """Return whether the request had been sent."""
        return self.produced or self.sent


class ModelTimeout(ModelError):
    """No answer within the time of the attempt or of the call."""

    kind = FailureKind.TIMEOUT

    def __init__(
        self, model: str, reason: str, *, produced: bool = False, sent: bool = True, by_limit: bool = False
    ) -> None:
        super().__init__(model, reason, produced=produced)
        self.sent = sent
        """Whether the request had been sent, so that it may have been processed and billed."""
        self.by_limit = by_limit
        """Whether the time was a limit of the request (max_seconds), which says nothing of the endpoint."""

    @property
    def may_be_billed(self) -> bool:
        """Return whether the request had been sent."""
        return self.produced or self.sent


class ModelHTTPError(ModelError):
    """The endpoint answered with an HTTP status of 400 or above."""

    kind = FailureKind.HTTP_ERROR

    def __init__(
        self,
        model: str,
        reason: str,
        *,
        status: int,
        retry_after: float | None = None,
        body: bytes = b"",
        code: str | None = None,
    ) -> None:
        super().__init__(model, reason)
        self.status = status
        self.retry_after = retry_after
        """Seconds, where the endpoint gave them."""
        self.body = body
        """The endpoint's own response, for a caller that is passed through to it."""
        self.code = code
        """The endpoint's own code for the error, where it gave one."""
        self.headers: Mapping[str, str] = {}
        """Of the response, those that a caller that is passed through may read."""
        self.content_type = ""
        """Of the body, as the endpoint declares it."""
        self.is_of_chat = True
        """Whether a chat was asked for, and not embeddings or the like, which not every endpoint has."""

    @property
    def may_be_billed(self) -> bool:
        """Return whether the model had begun to answer: a refusal costs nothing."""
        return self.produced


class InvalidResponse(ModelError):
    """The endpoint broke the protocol: a stream cut short, a body that is not JSON, a reply without choices."""

    kind = FailureKind.INVALID_RESPONSE


class CallCancelled(ModelError):
    """We cancelled the call: the answers sufficed, another call was faster, or its layer's time was over."""

    kind = FailureKind.CANCELLED


class Unaffordable(ModelError):
    """The call did not fit into what is left of the limits or of a budget, and was not made."""

    kind = FailureKind.UNAFFORDABLE

    def __init__(self, model: str, why: BudgetExceeded | ConfigError) -> None:
        super().__init__(model, str(why))
        self.why = why
        """Which limit or price was missing."""

    @property
    def may_be_billed(self) -> bool:
        """False: the call was not made."""
        return False


class AllModelsFailed(RouteMoAError):
    """Every model that could answer failed or was not called."""

    def __init__(self, failures: Sequence[Failure], skipped: Sequence[Skip] = ()) -> None:
        failed = {f.model for f in failures}
        not_called = [s for s in skipped if s.model not in failed]
        models: dict[str, list[str]] = {}
        for model, reason in [(f.model, f.reason) for f in failures] + [(s.model, s.reason) for s in not_called]:
            models.setdefault(reason, []).append(model)
        reasons = [f"{', '.join(dict.fromkeys(names))}: {reason}" for reason, names in models.items()]
        super().__init__("no model could answer: " + "; ".join(reasons))
        self.failures = tuple(failures)
        """The failed calls, each with its reason."""
        self.skipped = tuple(not_called)
        """The models that were not called, each with its reason."""


class AnswerInterrupted(RouteMoAError):
    """The model that wrote the answer failed after a part of it was shown, which cannot be taken back."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(f"the answer broke off: {failure.model}: {failure.reason}")
        self.failure = failure


def _restore_error(kind: type[RouteMoAError], args: tuple[Any, ...], fields: Mapping[str, Any]) -> RouteMoAError:
    """Make a pickled error again without its constructor, whose arguments are not those of the message."""
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(fields)
    return error
