"""Wraps the client of a live run: caches every call on disk and enforces the spending limit.

A finished call is written to DIR/calls.jsonl before the caller sees its answer. A resumed run reads the same request of
the same method from that file, so that no call is paid for twice.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import aclosing
from contextvars import ContextVar
from time import perf_counter
from typing import Self

from msgspec.structs import replace

from routemoa.clients.protocol.wire import digest_request
from routemoa.core.errors import BudgetExceeded, InvalidResponse, ModelError, ModelHTTPError, ModelTimeout, Unreachable
from routemoa.core.failure_kind import FailureKind
from routemoa.core.protocols import CallRecorder, Client
from routemoa.core.types import Completion, ModelSpec, Request, Thinking
from routemoa.evaluation.live.call_file import CachedCall, CallFile, CallStore
from routemoa.ledger import Store
from routemoa.mixture.budget.run_client import RunClient

__all__ = ["CURRENT_QUESTION", "CallCache", "QuestionRun"]

ERROR_TYPES: dict[str, type[ModelError]] = {
    error.kind: error for error in (Unreachable, ModelTimeout, InvalidResponse, ModelError)
}


class QuestionRun:
    """One method's run on one question: numbers its requests, and measures its time across interruptions."""

    def __init__(self, method: str, task: str, id: str) -> None:
        self.method, self.task, self.id = method, task, id
        self.calls: list[CachedCall] = []
        """This question's calls, those of earlier runs included."""
        self._occurrences: Counter[str] = Counter()
        self._started = perf_counter()
        self._earlier_seconds = 0.0
        self._recorder: CallRecorder | None = None

    def elapsed_seconds(self) -> float:
        """Return the seconds since the question began, without the pauses between runs."""
        return self._earlier_seconds + perf_counter() - self._started

    def add_cached(self, call: CachedCall) -> None:
        """Count a call that an earlier run made, if it belongs to this question."""
        if (call.task, call.id) == (self.task, self.id):
            self._earlier_seconds = max(self._earlier_seconds, call.ended)
            self.calls.append(call)

    def find_recorder(self, store: Store | None, purpose: str) -> CallRecorder | None:
        """Return what records this question's calls in the ledger, where there is one."""
        if self._recorder is None and store is not None:
            self._recorder = store.recorder(None, self.method, purpose)
        return self._recorder

    def next_occurrence(self, digest: str) -> int:
        """Count a request; return how often it was made before."""
        self._occurrences[digest] += 1
        return self._occurrences[digest] - 1


CURRENT_QUESTION: ContextVar[QuestionRun] = ContextVar("current_question")
"""The question that a call belongs to: set by the runner, inherited by every asyncio task of a method."""


class CallCache:
    """A `Client` that makes no call again that is finished; use it in a `with` block.

    Args:
        run: makes the calls, within the limit of the run.
        calls: where finished calls are; closed at the end of the block.
        store: the ledger that records the calls, if any does.
        purpose: of the run, as the ledger's `purpose`.
    """

    def __init__(self, run: RunClient, calls: CallStore, store: Store | None = None, *, purpose: str = "bench") -> None:
        self._run, self._calls = run, calls
        run.new_recorder = lambda _: CURRENT_QUESTION.get().find_recorder(store, purpose)
        self.account = run.account

    @property
    def unpriced(self) -> int:
        """Return how many calls are of unknown cost."""
        return self._calls.unpriced

    @classmethod
    def open(
        cls,
        client: Client,
        folder: str | os.PathLike[str],
        limit: float | None = None,
        store: Store | None = None,
        *,
        purpose: str = "bench",
        shared: bool = False,
        retry: bool = False,
    ) -> Self:
        """Return the cache of a folder.

        Args:
            client: makes the calls.
            folder: holds calls.jsonl.
            limit: dollars for the whole run, earlier runs in the folder included; None is no limit.
            store: the ledger that records the calls, if any does.
            purpose: of the run, as the ledger's `purpose`.
            shared: methods share their calls.
            retry: make the calls again that failed before.

        Raises:
            RecordsError: calls.jsonl cannot be read or written.
        """
        calls = CallFile(folder, shared=shared, retry=retry)
        return cls(RunClient(client, limit, spent=calls.spent), calls, store, purpose=purpose)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._calls.close()

    async def close(self) -> None:
        """Close the client's connections."""
        await self._run.close()

    async def stream(self, model: ModelSpec, request: Request) -> AsyncGenerator[str | Thinking | Completion, None]:
        """Yield the cached answer of this call, else call the model.

        Raises:
            ModelError: the call failed, now or when it was cached.
            BudgetExceeded: the call could pass the spending limit.
        """
        question = CURRENT_QUESTION.get()
        digest = digest_request(model, request)
        occurrence = question.next_occurrence(digest)
        cached = await self._calls.find((question.method, digest, occurrence))
        if cached is not None:
            question.add_cached(cached)
            completion = _completion_of(cached)
            yield completion.text
            yield completion
            return
        call_client, started = self._run.open_call(model), question.elapsed_seconds()
        call = CachedCall(
            question.method, question.task, question.id, model.name, digest, occurrence, started, ended=0.0
        )
        answer: Completion | None = None
        try:
            async with aclosing(call_client.stream(model, request)) as pieces:
                async for piece in pieces:
                    if isinstance(piece, Completion):
                        answer = piece  # the last piece: it is on disk before the caller sees it
                    else:
                        yield piece
        except ModelError as e:
            self._add(question, _failed_call(call, e), call_client.dollars)
            raise
        except (asyncio.CancelledError, GeneratorExit, BudgetExceeded):
            if answer is not None:
                self._add(question, _finished_call(call, answer, model), call_client.dollars)
            elif call_client.dollars and self.account.limits.max_cost is not None:
                self._add(question, call.abandon(), call_client.dollars)
            raise
        else:
            if answer is not None:
                self._add(question, _finished_call(call, answer, model), call_client.dollars)
        finally:
            self._calls.release(call.key)
        if answer is not None:
            await self._calls.flush()
            yield answer

    def _add(self, question: QuestionRun, call: CachedCall, dollars: float) -> None:
        finished = replace(call, ended=question.elapsed_seconds(), charged=dollars)
        question.calls.append(finished)
        self._calls.write(finished)


def _finished_call(call: CachedCall, answer: Completion, model: ModelSpec) -> CachedCall:
    """Return the call with its answer and cost."""
    return replace(call, completion=answer, cost=model.cost(answer.usage))


def _failed_call(call: CachedCall, error: ModelError) -> CachedCall:
    """Return the call with its failure; it cost nothing where the model had produced nothing."""
    status = error.status if isinstance(error, ModelHTTPError) else None
    cost = None if error.produced else 0.0
    return replace(call, cost=cost, failure=error.reason, kind=error.kind.value, status=status)


def _completion_of(call: CachedCall) -> Completion:
    """Return the completion of a cached call, or raise its failure again."""
    if call.completion is not None:
        return call.completion
    reason = call.failure or "failed before"
    if call.kind == FailureKind.HTTP_ERROR:
        raise ModelHTTPError(call.model, reason, status=call.status or 0)
    raise ERROR_TYPES.get(call.kind or "", ModelError)(call.model, reason, produced=call.cost is None)
