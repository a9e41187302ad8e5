"""Builds an OpenAI chat completion from a method's events. Pure; `sse` encodes the same piece by piece.

One object is not OpenAI's: `routemoa` holds the reason to stop, the models that answered, and the cost.
"""

from __future__ import annotations

from collections.abc import Sequence
from time import time
from typing import Any

import msgspec
from msgspec.structs import replace

from routemoa.core.events import Done, Event
from routemoa.core.tools import ToolCall, declare_calls
from routemoa.core.trace import Answer, Proposal
from routemoa.core.trace_builder import TraceBuilder
from routemoa.core.types import Request, StreamMode
from routemoa.core.usage import Usage
from routemoa.gateway.http_exchange.response_ids import new_id
from routemoa.mixture.budget.metered_call import fill_usage

__all__ = ["ChatCompletion", "read_finish_reason", "shape_logprobs"]

FINISH_REASONS = {"stop", "length", "content_filter", "tool_calls"}
"""Those that OpenAI's SDK knows."""


def read_finish_reason(ending: str | None) -> str:
    """Return why a text ends, as OpenAI names it."""
    return ending if ending in FINISH_REASONS else "stop"


def shape_logprobs(entries: tuple[dict[str, Any], ...] | None) -> dict[str, Any] | None:
    """Return log-probabilities as a choice of OpenAI's API has them; None where there are none."""
    return None if entries is None else {"content": list(entries), "refusal": None}


def _to_choice(index: int, answer: Proposal) -> dict[str, Any]:
    """Return an answer as a choice of a `chat.completion`."""
    message: dict[str, Any] = {"role": "assistant", "content": answer.text, "refusal": None}
    if answer.thought:
        message["reasoning_content"] = answer.thought
    if answer.refusal:
        message["refusal"] = answer.text
    ending = read_finish_reason(answer.finish_reason)
    if answer.tool_calls:
        message |= {"content": answer.text or None, "tool_calls": declare_calls(answer.tool_calls)}
        ending = "tool_calls"
    return {"index": index, "message": message, "logprobs": shape_logprobs(answer.logprobs), "finish_reason": ending}


class ChatCompletion:
    """The completion of one request, while its events come in."""

    def __init__(
        self, model: str, mode: StreamMode = "final", fingerprint: str | None = None, ignored: Sequence[str] = ()
    ) -> None:
        self.head: dict[str, Any] = {"id": new_id(), "created": int(time()), "model": model}
        """The fields that the completion and each of its chunks share."""
        if fingerprint is not None:
            self.head["system_fingerprint"] = fingerprint
        self.mode = mode
        self._ignored_fields = ignored
        self.is_complete = False
        """Whether the method has ended with Done."""
        self._builder = TraceBuilder()
        self.is_refusal = False
        """Whether the answer is a model's refusal."""
        self._done = Done(0.0)

    def add(self, event: Event) -> None:
        """Add an event of the method."""
        self._builder.add(event)
        if isinstance(event, Done):
            self.is_complete = True
            self._done, self.is_refusal = event, event.refusal

    @property
    def text(self) -> str:
        """The answer so far, without what was replaced."""
        return self._builder.text

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The calls of tools that the caller is asked to make."""
        return self._builder.trace.tool_calls

    @property
    def answer(self) -> Answer:
        """The answer so far, with its trace."""
        return self._builder.answer

    @property
    def finish_reason(self) -> str:
        """Return why the text ends, as OpenAI names it."""
        return read_finish_reason(self._done.finish_reason)

    @property
    def logprobs(self) -> dict[str, Any] | None:
        """Return the log-probabilities of the answer's tokens; None where there are none."""
        return shape_logprobs(self._done.logprobs)

    @property
    def further(self) -> tuple[Proposal, ...]:
        """Return the answers beside the first, best first, where the caller asked for several."""
        return self._done.choices

    def to_completion(self) -> dict[str, Any]:
        """Return the `chat.completion` object."""
        usage, done = Usage(), self._done
        first = Proposal(
            "",
            self.text,
            usage,
            None,
            None,
            done.finish_reason,
            done.refusal,
            0,
            self.tool_calls,
            self._builder.thought,
        )
        answers = (replace(first, logprobs=done.logprobs), *self.further)
        head = {**self.head, "object": "chat.completion"}
        choices = [_to_choice(i, answer) for i, answer in enumerate(answers)]
        return {**head, "choices": choices, "usage": self.usage(), "routemoa": self.explain()}

    def usage(self) -> dict[str, Any]:
        """Return the tokens of all calls together; where an endpoint reported none, with an estimate of them."""
        usage = self._counted
        prompt, completion = usage.prompt_tokens or 0, usage.completion_tokens or 0
        counts = {"prompt_tokens": prompt, "completion_tokens": completion}
        details: dict[str, dict[str, int]] = {}
        if usage.cached_tokens is not None:
            details["prompt_tokens_details"] = {"cached_tokens": usage.cached_tokens}
        if usage.reasoning_tokens is not None:
            details["completion_tokens_details"] = {"reasoning_tokens": usage.reasoning_tokens}
        return {**counts, "total_tokens": prompt + completion, **details}

    @property
    def _is_counted(self) -> bool:
        """Return whether every call's tokens are known, as their endpoints counted them."""
        usage = self._builder.trace.usage
        return usage.prompt_tokens is not None and usage.completion_tokens is not None

    @property
    def _counted(self) -> Usage:
        """Return the tokens of all calls: as they were counted, else with an estimate of those that were not."""
        trace = self._builder.trace
        if self._is_counted:
            return trace.usage
        if self._done.counted is not None:
            return self._done.counted
        return fill_usage(trace.usage, Request(trace.query.messages), len(self.text))

    def explain(self) -> dict[str, Any]:
        """Return the object `routemoa`: how the answer came about, and its cost."""
        trace = self._builder.trace
        return {
            "stop_reason": trace.stop_reason,
            "calls": trace.calls,
            "cost": trace.cost,
            "usage_estimated": not self._is_counted,
            "latency": trace.latency,
            "choice": trace.choice,
            "aggregator": trace.aggregator,
            "proposers": self._proposers(),
            "given_up": msgspec.to_builtins(trace.given_up),
            "ignored": self._ignored(),
            "skipped": {s.model: s.reason for s in trace.skipped},
            "charged": trace.charged,
            "prices": trace.prices,
            "stream_mode": self.mode,
            "routes_not_taken": msgspec.to_builtins(trace.routes_not_taken),
        }

    def _proposers(self) -> list[str]:
        """Return the models that answered."""
        return list(dict.fromkeys(p.model for layer in self._builder.trace.layers for p in layer.proposals))

    def _ignored(self) -> dict[str, list[str]]:
        """Return {parameter: the models that were not sent it: their endpoints refuse it, or it changes nothing}."""
        ignored = {name: self._proposers() for name in self._ignored_fields}
        for given_up in self._builder.trace.given_up:
            for name in given_up.parameters:
                ignored.setdefault(name, []).extend(given_up.models)
        return ignored
