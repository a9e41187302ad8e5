"""Bounds what an endpoint reports that a call used by the most that it can have used. Pure.

A prompt has no more tokens than bytes, beside what an endpoint may add to it; an answer no more than its limit. Figures
beyond that are a fault of the endpoint, and count as the worst case of the call: they neither empty a budget, nor are
they forgotten.
"""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from routemoa.core.text.dollars import format_dollars
from routemoa.core.types import ModelSpec
from routemoa.core.usage import Usage
from routemoa.mixture.budget.account import Reservation, max_output_tokens, token_limit

__all__ = ["UsageBounds", "bound_usage", "call_bounds"]

ADDED_PROMPT_TOKENS = 2**17
"""Tokens that an endpoint may add to a prompt: a system text, tools, results of a search."""
ROUNDING_TOKENS = 16
"""By which a count of an answer may exceed its limit: some count the end of the answer, or of a turn, as well."""
UNLIMITED_OUTPUT_TOKENS = 2**18
"""Of an answer without a limit: no model writes more at once."""
ROUNDING = 1e-12
"""Of dollars: sums of floats are not exact."""
MAX_DOLLARS = 1000.0
"""Of a call without a known price: none costs more."""


class UsageBounds(Struct, frozen=True):
    """The most that a call can have used."""

    prompt_tokens: int | None
    """None is unknown, as it is for pictures."""
    limit: int | None
    """The limit of the answer that was sent; None without one."""
    usual_tokens: int
    """Of the answer at most, for the worst case: the limit, or what is reserved without one."""
    max_cost: float | None = None
    """Dollars that were reserved; None without a price."""
    is_strict: bool = False
    """Whether a budget or a limit of the request holds, which the call must not pass."""
    answers: int = 1
    """Answers that were asked for (`n`)."""


def call_bounds(model: ModelSpec, reservation: Reservation, *, answers: int | None = 1) -> UsageBounds:
    """Return the most that a call can use.

    Args:
        model: that is called.
        reservation: what is set aside for the call, and the request that is sent.
        answers: how many are asked for; None where the prompt or the answers have no bound.
    """
    request, limit = reservation.request, reservation.max_tokens
    if limit is None or model.omit:  # else the answer was capped so
        limit = token_limit(model, request)
    return UsageBounds(
        None if answers is None else reservation.prompt_tokens,
        None if answers is None else limit,
        max_output_tokens(model, request) if limit is None or model.omit else limit,
        reservation.max_cost,
        reservation.max_tokens is not None,
        answers or 1,
    )


def bound_usage(model: ModelSpec, usage: Usage, bounds: UsageBounds, *, has_answered: bool) -> Usage:
    """Return the usage within its bounds, so that `model.cost` of it is as well; `problem` says what was beyond.

    A count of 0 is unknown where it cannot be: no prompt is empty, nor is the answer, where one came.
    """
    problems = [usage.problem] if usage.problem else []
    prompt, completion = usage.prompt_tokens or None, usage.completion_tokens
    if prompt is not None and bounds.prompt_tokens is not None and prompt > bounds.prompt_tokens + ADDED_PROMPT_TOKENS:
        problems.append(f"{prompt} prompt tokens are more than the call can have had")
        prompt = bounds.prompt_tokens
    if completion == 0 and has_answered:
        completion = None
    elif completion is not None and completion > _most_tokens(usage, bounds):
        problems.append(f"{completion} completion tokens are more than the call can have had")
        completion = bounds.answers * bounds.usual_tokens
    bounded = replace(
        usage,
        prompt_tokens=prompt,
        completion_tokens=completion,
        cached_tokens=_at_most(usage.cached_tokens, prompt),
        cache_write_tokens=_at_most(usage.cache_write_tokens, prompt),
        reasoning_tokens=_at_most(usage.reasoning_tokens, completion),
    )
    cost, most = model.cost(bounded), _most_dollars(model, bounded, bounds)
    if cost is not None and cost > most * (1.0 + ROUNDING):
        problems.append(f"{format_dollars(cost, 6)} is more than the call can have cost")
        bounded = replace(bounded, reported_cost=most)
    problem = "; ".join(problems)
    return bounded if bounded.problem == problem else replace(bounded, problem=problem)


def _most_tokens(usage: Usage, bounds: UsageBounds) -> int:
    """Return the largest believable count of the answer.

    Some endpoints do not count thoughts against the limit that was sent. Where a limit must not be passed, they do.
    """
    if bounds.limit is None:
        return bounds.answers * UNLIMITED_OUTPUT_TOKENS
    most = bounds.answers * (bounds.limit + ROUNDING_TOKENS)
    return most if bounds.is_strict else most + min(usage.reasoning_tokens or 0, UNLIMITED_OUTPUT_TOKENS)


def _most_dollars(model: ModelSpec, usage: Usage, bounds: UsageBounds) -> float:
    """Return the most that the call can have cost; without a limit to keep, what was counted may cost its price."""
    if bounds.is_strict and bounds.max_cost is not None:
        return bounds.max_cost
    prompt = max(bounds.prompt_tokens or 0, usage.prompt_tokens or 0)
    tokens = max(bounds.answers * bounds.usual_tokens, usage.completion_tokens or 0)
    return model.worst_cost(prompt, tokens) or MAX_DOLLARS


def _at_most(value: int | None, most: int | None) -> int | None:
    return None if value is None or most is None else min(value, most)
