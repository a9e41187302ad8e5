"""The finished calls of a live run, in DIR/calls.jsonl: what has to be paid for only once."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol, Self

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from routemoa.core.types import Completion
from routemoa.core.usage import Usage
from routemoa.datasets.appender import Appender
from routemoa.datasets.jsonl import BadLine, ErrorCollector, read_lines

__all__ = ["ABANDONED", "CALLS", "CacheKey", "CachedCall", "CallFile", "CallStore", "lost_call"]

CALLS = "calls.jsonl"
ABANDONED = "Abandoned"
"""The kind of a call that was interrupted under a spending limit: its cost counts, its answer is not cached."""
JSON_NAMES = {"occurrence": "turn", "started": "begun", "charged": "counted"}
"""Fields of a `CachedCall` -> their names in calls.jsonl, where these differ."""

CacheKey = tuple[str, str, int]
"""Method, digest of the request, and its occurrence. Not the question: some methods make a call once for all."""


class CachedCall(Struct, frozen=True, omit_defaults=True, rename=JSON_NAMES):
    """A finished call."""

    method: str
    task: str
    id: str
    model: str
    request: str
    """Digest of the model and the request."""
    occurrence: int
    """How often the question had made the same request before."""
    started: float
    """Seconds since the question began."""
    ended: float
    """Seconds since the question began."""
    cost: float | None = None
    """Dollars."""
    charged: float = 0.0
    """Dollars counted against the spending limit: the cost, or the most that the call can have cost."""
    completion: Completion | None = None
    failure: str | None = None
    kind: str | None = None
    """The `FailureKind` of the failure, or ABANDONED."""
    status: int | None = None
    """The HTTP status of the failure."""

    @property
    def usage(self) -> Usage:
        """Tokens: zero where the endpoint refused the call, unknown where it was cut short."""
        if self.completion is not None:
            return self.completion.usage
        return Usage(0, 0, 0, 0) if self.cost == 0.0 else Usage()

    @property
    def key(self) -> CacheKey:
        """The key in the cache."""
        return self.method, self.request, self.occurrence

    def abandon(self) -> CachedCall:
        """Return the call as one that is made again, and whose dollars count all the same."""
        return replace(
            self, completion=None, failure="interrupted", kind=ABANDONED, charged=max(self.charged, self.cost or 0.0)
        )


def lost_call(dollars: float) -> CachedCall:
    """Return a line of dollars that count although nothing is known of their calls: their worker was lost."""
    return CachedCall("", "", "", "", "", 0, 0.0, 0.0, charged=dollars, failure="lost", kind=ABANDONED)


class CallStore(Protocol):
    """Where the finished calls of a live run are."""

    unpriced: int
    """Calls of unknown cost."""

    async def find(self, key: CacheKey) -> CachedCall | None:
        """Return a finished call that need not be made again; None where it is to be made and written, or released."""
        ...

    def release(self, key: CacheKey) -> None:
        """Note that a call was not made after all."""
        ...

    def write(self, call: CachedCall) -> None:
        """Add a finished call."""
        ...

    async def flush(self) -> None:
        """Wait until all that was added is on disk."""
        ...

    def close(self) -> None:
        """Release what is held."""
        ...


class CallFile:
    """A `CallStore` in a folder of this machine; one process at a time.

    Args:
        folder: holds calls.jsonl.
        shared: methods share their calls: what one has asked of a model, another one need not pay for. A question's
            seconds are then not those that the method takes by itself.
        retry: make the calls again that failed before.

    Raises:
        RecordsError: calls.jsonl cannot be read or written.
    """

    def __init__(self, folder: str | os.PathLike[str], *, shared: bool = False, retry: bool = False) -> None:
        self._shared, self._retry = shared, retry
        self.spent = 0.0
        """Dollars of all calls, as far as they count against a limit."""
        self.unpriced = 0
        """Calls of unknown cost."""
        self._path = Path(folder) / CALLS
        self._file = Appender(self._path)
        self._cached: dict[CacheKey, CachedCall] = {}
        try:
            self._load()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def find(self, key: CacheKey) -> CachedCall | None:
        """Return a finished call that need not be made again."""
        return self._cached.get(self._place(key))

    def release(self, key: CacheKey) -> None:
        """Do nothing: calls of one process are not waited for."""

    def write(self, call: CachedCall) -> None:
        """Add a finished call. Raises RecordsError."""
        self._file.write(call)
        self._remember(call)

    async def flush(self) -> None:
        """Do nothing: each call is on disk when it is added."""

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _remember(self, call: CachedCall) -> None:
        repeated = call.kind == ABANDONED or (self._retry and call.failure is not None)
        if not repeated:
            self._cached[self._place(call.key)] = call
        self.unpriced += call.cost is None
        self.spent += max(call.charged, call.cost or 0.0)

    def _place(self, key: CacheKey) -> CacheKey:
        method, digest, occurrence = key
        return "" if self._shared else method, digest, occurrence

    def _load(self) -> None:
        errors = ErrorCollector()
        for number, line in read_lines(self._path, errors):
            try:
                self._remember(msgspec.json.decode(line, type=CachedCall))
            except (msgspec.DecodeError, UnicodeDecodeError) as e:
                errors(BadLine(str(self._path), number, f"{e}; remove that line"))
        errors.raise_if_any()
