"""What a call came to, as a trace holds it: a proposal, or a failure and its error."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from itertools import accumulate
from typing import Any

from routemoa.core.errors import (
    InvalidResponse,
    ModelError,
    ModelHTTPError,
    ModelTimeout,
    Unreachable,
)
from routemoa.core.trace import Failure, Proposal
from routemoa.core.types import Completion, ModelSpec, Thinking
from routemoa.core.usage import Usage

__all__ = [
    "answer_logprobs",
    "empty_answer",
    "make_failure",
    "make_proposal",
    "no_completion",
    "read_completion",
    "report_defect",
]

logger = logging.getLogger("routemoa.mixture")


async def read_completion(stream: AsyncGenerator[str | Thinking | Completion, None], spec: ModelSpec) -> Completion:
    """Read a call's stream and return the whole, without its pieces. Raises ModelError."""
    async with aclosing(stream) as pieces:
        async for piece in pieces:
            if isinstance(piece, Completion):
                return piece
    raise no_completion(spec)


def make_proposal(
    spec: ModelSpec, completion: Completion, text: str, latency: float, *, with_logprobs: bool = False
) -> Proposal:
    """Return an answer for the trace; `text` is the completion's, without judgments. `latency` is in seconds."""
    usage = completion.usage
    return Proposal(
        spec.name,
        text,
        usage,
        latency,
        spec.at(completion.endpoint).cost(usage),
        completion.finish_reason,
        completion.refusal,
        completion.thought_length,
        completion.tool_calls,
        completion.thought,
        answer_logprobs(completion, text) if with_logprobs else None,
        completion.endpoint,
    )


def answer_logprobs(completion: Completion, text: str) -> tuple[dict[str, Any], ...] | None:
    """Return the log-probabilities of an answer's tokens, as OpenAI's API has them.

    Args:
        completion: what came, perhaps with judgments.
        text: the answer in it.

    Returns:
        None where there are none, or where the answer is not what the tokens spell.
    """
    entries = completion.logprobs
    if entries is None or not text:
        return entries
    start = "".join(entry["token"] for entry in entries).find(text)
    if start < 0:
        return entries if completion.text.strip() == text.strip() else None
    ends = list(accumulate(len(entry["token"]) for entry in entries))
    begins = (0, *ends)
    return tuple(e for e, a, b in zip(entries, begins, ends, strict=False) if b > start and a < start + len(text))


def make_failure(
    spec: ModelSpec, error: ModelError, latency: float, usage: Usage | None = None, partial: str = ""
) -> Failure:
    """Return a failed call for the trace.

    Refused or never sent: nothing was used; else the usage is what the endpoint says, if it does.
    """
    usage = error.usage if usage is None else usage
    if usage is None:
        usage = Usage() if error.may_be_billed else Usage(0, 0, 0, 0)
        cost = None if error.may_be_billed else 0.0
    else:
        cost = 0.0 if usage.is_zero else spec.at(error.endpoint).cost(usage)
    refusal = error if isinstance(error, ModelHTTPError) else None
    broke = isinstance(error, Unreachable) or (isinstance(error, ModelTimeout) and not error.by_limit)
    return Failure(
        spec.name,
        error.reason,
        error.kind,
        usage,
        latency,
        cost,
        None if refusal is None else refusal.status,
        partial,
        None if refusal is None else refusal.code,
        None if refusal is None else refusal.retry_after,
        unanswered=broke and usage == Usage() and not error.produced and not partial,
        endpoint=error.endpoint,
    )


def report_defect(spec: ModelSpec, error: Exception) -> ModelError:
    """Log a defect of ours that one member's call brought up; return it as the failure of that call."""
    logger.error("unexpected error in a call of %s", spec.name, exc_info=error)
    return ModelError(spec.name, f"its reply could not be handled ({type(error).__name__})", produced=True)


def no_completion(spec: ModelSpec) -> InvalidResponse:
    """Return the error of a stream without an end."""
    return InvalidResponse(spec.name, "the stream ended without a completion", produced=True)


def empty_answer(spec: ModelSpec, completion: Completion) -> InvalidResponse:
    """Return the error of a call that produced no answer."""
    ending = f"finish_reason {completion.finish_reason}"
    if completion.thought_length and completion.finish_reason == "length":
        reason = f"empty answer: its thoughts took all the tokens that it may write ({ending}); raise max_tokens"
    elif completion.thought_length:
        reason = f"empty answer: there are only thoughts ({ending})"
    elif completion.finish_reason == "tool_calls":
        reason = f"empty answer: it calls a tool instead of answering ({ending})"
    else:
        reason = f"empty answer ({ending})"
    return InvalidResponse(spec.name, reason, produced=True)
