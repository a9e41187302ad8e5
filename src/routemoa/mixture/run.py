"""One query being answered: what a method reads, calls and emits; and its events as a stream for a reader."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any

from msgspec.structs import replace

from routemoa.core.chat.tool_ids import new_call_id
from routemoa.core.errors import AllModelsFailed, AnswerInterrupted, ContextExceeded, RouteMoAError
from routemoa.core.events import AnswerDelta, AnswerThought, Degraded, Done, Event, Skipped
from routemoa.core.failure_kind import FailureKind
from routemoa.core.tools import ToolCall
from routemoa.core.trace import Answer, Degradation, Failure, Proposal, Skip, Trace
from routemoa.core.trace_builder import TraceBuilder
from routemoa.core.types import ModelSpec, Query, Request, StreamMode
from routemoa.core.usage import Usage
from routemoa.mixture.budget.metering import MeteredClient

__all__ = ["ANSWER_BREAKS_OFF", "EventQueue", "Run", "stream_events"]

ANSWER_BREAKS_OFF = "the time limit was reached: the answer breaks off"
"""Why the end of an answer was given up."""

MAX_WAITING = 256
"""Events that may wait for a slow reader before the models' streams pause."""


class Run:
    """A query being answered.

    A method reads `query` and `trace`, calls models through `client`, and emits what happens.

    Args:
        client: the query's own, with its limits.
        reader: takes the events while the method works, if anybody reads them.
    """

    id_key = b""
    """What the ids of tool calls are signed with."""

    def __init__(self, query: Query, client: MeteredClient, reader: EventQueue | None = None) -> None:
        self.query = query
        self.client = client
        self._reader = reader
        self._builder = TraceBuilder()
        self._observers: list[Callable[[Event], None]] = []
        self._done: Done | None = None
        """The end of the answer, where it waits for further ones."""

    @property
    def trace(self) -> Trace:
        """The fold of all events so far."""
        return self._builder.trace

    @property
    def answer(self) -> Answer:
        """The final text so far, and the trace."""
        return self._builder.answer

    def observe(self, observer: Callable[[Event], None]) -> None:
        """Call `observer` with every later event, after it is part of the trace."""
        self._observers.append(observer)

    def emit(self, event: Event) -> None:
        """Add an event to the trace and hand it to the reader; never waits."""
        self._builder.add(event)
        if self._reader is not None:
            self._reader.put(event)
        for observer in self._observers:
            observer(event)

    def skip(self, skip: Skip) -> None:
        """Note in the trace that a model is not called, the first time that this is so."""
        if all(skip.model != s.model for s in self.trace.skipped):
            self.emit(Skipped(skip))

    def note_dropped(self, spec: ModelSpec) -> None:
        """Say which of the caller's parameters a model was not sent, the first time in a query."""
        dropped = self.client.dropped_parameters(spec, Request((), self.query.parameters))
        if dropped and all(g.what != "parameter" or spec.name not in g.models for g in self.trace.given_up):
            why = f"its endpoint takes no {', '.join(dropped)}"
            self.emit(Degraded(Degradation("parameter", why, (spec.name,), tuple(dropped))))

    async def room(self) -> None:
        """Wait while the reader is far behind; streams do so between two pieces, so that memory stays bounded."""
        if self._reader is not None:
            await self._reader.room()

    def finish(
        self,
        finish_reason: str | None,
        usage: Usage | None = None,
        cost: float | None = None,
        *,
        is_refusal: bool = False,
        tool_calls: tuple[ToolCall, ...] = (),
        logprobs: tuple[dict[str, Any], ...] | None = None,
    ) -> None:
        """End the answer; `usage` and `cost` (dollars) are the aggregator's, if one was called.

        The end is emitted at once, or after the other answers where the caller wants several (`end`).
        """
        asked = logprobs if self.query.parameters.get("logprobs") is True else None
        self._done = Done(0.0, usage, cost, finish_reason, None, is_refusal, tool_calls, asked)
        if self.query.choices == 1:
            self.end()

    def end(self, choices: tuple[Proposal, ...] = ()) -> None:
        """Emit the end of the answer, with further `choices`, where it has come."""
        if self._done is None:
            return
        client, done = self.client, self._done
        self._done = None
        self.emit(
            replace(
                done,
                latency=client.deadline.seconds_passed,
                charged=client.charged,
                choices=choices,
                counted=client.counted,
                usage_estimated=client.usage_estimated,
            )
        )

    @property
    def final_calls(self) -> tuple[ToolCall, ...]:
        """The calls of tools in the final answer, once it has come."""
        return () if self._done is None else self._done.tool_calls

    def finish_with(self, answer: Proposal) -> None:
        """End with an answer that stands as a model gave it: it ended as that did.

        Its calls of tools get ids that tell which model made them.
        """
        answer = self.with_call_ids(answer)
        ending = "tool_calls" if answer.tool_calls else answer.finish_reason or "stop"
        self.finish(ending, is_refusal=answer.refusal, tool_calls=answer.tool_calls, logprobs=answer.logprobs)

    def show_answer(self, answer: Proposal) -> None:
        """Emit an answer that stands as a model gave it, its thoughts first, and end with it."""
        if answer.thought:
            self.emit(AnswerThought(answer.thought))
        self.emit(AnswerDelta(answer.text))
        self.finish_with(answer)

    def with_call_ids(self, answer: Proposal) -> Proposal:
        """Return an answer whose calls of tools have ids that tell which model made them."""
        calls = tuple(replace(c, id=new_call_id(answer.model, self.id_key)) for c in answer.tool_calls)
        return replace(answer, tool_calls=calls) if calls else answer

    @property
    def stream_mode(self) -> StreamMode | None:
        """Return what a reader is shown before the end; None where nothing is."""
        return None if self._reader is None else self.client.limits.stream_mode

    @property
    def shows_final_text(self) -> bool:
        """Tell whether a reader takes every piece of the answer, as it is written, for final."""
        return self.stream_mode == "final"

    def break_off(self, failure: Failure) -> None:
        """End an answer of which a part was shown, where nothing may replace it and its model failed.

        Raises:
            AnswerInterrupted: it was not the request's time limit that ended it.
        """
        if self.client.deadline.seconds_left != 0.0:
            raise AnswerInterrupted(failure)
        self.emit(Degraded(Degradation("ending", ANSWER_BREAKS_OFF)))
        self.finish("length")

    def no_answer(self) -> RouteMoAError:
        """Return why there is no answer: nothing fitted into the limits or the budget, or else every model failed."""
        failures = [f for layer in self.trace.layers for f in layer.failures]
        skipped = self.trace.skipped
        if not failures and skipped and all(s.kind == "context" for s in skipped):
            return ContextExceeded("; ".join(f"{s.model}: {s.reason}" for s in skipped), "messages")
        refusal = self.client.refusal
        if refusal is not None and failures and all(f.kind is FailureKind.UNAFFORDABLE for f in failures):
            return refusal
        if not failures and self.trace.layers and self.client.deadline.seconds_left == 0.0:
            why = f"the limit of {self.client.deadline.limit:g} s was over before a call could begin; raise max_seconds"
            unused, kind = Usage(0, 0, 0, 0), FailureKind.TIMEOUT
            failures = [Failure(name, why, kind, unused, 0.0, 0.0) for name in self.trace.layers[-1].selected]
        return AllModelsFailed(failures, skipped)


class EventQueue:
    """Events on their way from a running method to one reader."""

    def __init__(self) -> None:
        self._events: deque[Event] = deque()
        self._closed = False
        self._arrival: asyncio.Future[None] | None = None
        self._departure: asyncio.Future[None] | None = None

    def put(self, event: Event) -> None:
        """Add an event."""
        self._events.append(event)
        _wake(self._arrival)

    def close(self) -> None:
        """Let the reader end after the events that are there."""
        self._closed = True
        _wake(self._arrival)

    async def get(self) -> Event | None:
        """Return the next event; None at the end."""
        while not self._events:
            if self._closed:
                return None
            self._arrival = asyncio.get_running_loop().create_future()
            await self._arrival
        event = self._events.popleft()
        if len(self._events) < MAX_WAITING:
            _wake(self._departure)
        return event

    async def room(self) -> None:
        """Wait while too many events wait for the reader."""
        while len(self._events) >= MAX_WAITING:
            if self._departure is None or self._departure.done():
                self._departure = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._departure)  # shared by all streams of the query


async def stream_events(
    work: Callable[[Run], Coroutine[Any, Any, None]], query: Query, client: MeteredClient
) -> AsyncGenerator[Event, None]:
    """Do `work` in a task of its own and yield its events; closing the iterator cancels it and waits for its end.

    Raises:
        RouteMoAError: as `work` does, after its last event.
    """
    queue = EventQueue()
    task = asyncio.create_task(work(Run(query, client, queue)))
    task.add_done_callback(lambda _: queue.close())
    try:
        while (event := await queue.get()) is not None:
            yield event
        await task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _wake(future: asyncio.Future[None] | None) -> None:
    if future is not None and not future.done():
        future.set_result(None)
