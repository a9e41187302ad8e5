"""Plans a layer within what is left of the limits, and says what is given up for it. Pure functions.

In the order of regret: fewer models, a cheaper one, and last of all no aggregator, whose share is kept back until then.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from routemoa.core.catalog.price_list import price_hint
from routemoa.core.text.dollars import format_dollars
from routemoa.core.trace import Degradation
from routemoa.core.types import CHARACTERS_PER_TOKEN, ModelSpec, Request
from routemoa.mixture.budget.account import (
    MIN_OUTPUT_TOKENS,
    Remaining,
    comfortable_tokens,
    largest_fitting,
    max_output_tokens,
    max_prompt_tokens,
)

__all__ = ["BudgetedPlan", "Resources", "layer_time_limit", "plan_within_budget"]

WRITING_SHARE = 0.4
"""Of the time left: kept for an aggregator whose usual time is unknown."""
MAX_WRITING_SHARE = 0.5
"""Of the time left: the most that is kept for an aggregator, however long it usually takes."""
WRITING_MARGIN = 1.2
"""Times the usual time of an aggregator: what is kept for it."""
LAYER_SHARE = 0.75
"""Of the time left: a layer that needs no aggregator, while another layer could follow."""
LATE_SHARE = 0.5
"""Of the whole time: with less of it left, no layer keeps time back for another one."""


class Resources(Struct, frozen=True):
    """What there is to spend, and what calls usually take."""

    remaining: Remaining = Remaining()
    seconds: float | None = None
    """Time left; None is no limit."""
    tokens: Mapping[str, float] = {}
    """Model -> usual length of an answer."""
    latency: Mapping[str, float] = {}
    """Model -> usual seconds of a call."""
    quoted: int = 0
    """Bytes of the answers so far, which an aggregator has to read."""


class BudgetedPlan(Struct, frozen=True):
    """The part of a layer that fits."""

    models: tuple[ModelSpec, ...] = ()
    max_tokens: int | None = None
    """Of each answer; None is as asked."""
    given_up: tuple[Degradation, ...] = ()
    reason: str = ""
    """Why nothing fits, where `models` is empty."""
    unpriced: bool = False
    """Whether nothing fits for want of a price."""


def plan_within_budget(
    wanted: Sequence[ModelSpec],
    others: Sequence[ModelSpec],
    resources: Resources,
    request: Callable[[ModelSpec], Request],
    *,
    writer: ModelSpec | None = None,
    answers: int = 0,
) -> BudgetedPlan:
    """Return the largest part of `wanted` that fits, else the first of `others` that does.

    Args:
        wanted: the models that the policy would call, best first.
        others: the models that may be called in their place, best first.
        request: returns the call to a model.
        writer: the aggregator, for which room is kept once there is more than one answer; None is no aggregator.
        answers: how many answers there are already.
    """
    check = _BudgetCheck(resources, request)
    if check.is_unlimited:
        return BudgetedPlan(tuple(wanted))
    priced, rest = [m for m in wanted if check.is_priced(m)], [m for m in others if check.is_priced(m)]
    if not priced and not rest:
        return BudgetedPlan(reason=_no_price(wanted[0]), unpriced=True)
    given_up = _left_out(wanted, priced, "no price is known, and max_cost cannot be kept without")
    quick, spare = [m for m in priced if check.is_quick(m)], [m for m in rest if check.is_quick(m)]
    time = f"{resources.seconds or 0.0:.1f} s"
    if quick or spare:
        given_up += _left_out(priced, quick, f"usually slower than the {time} that are left")
    elif answers:
        return BudgetedPlan(given_up=given_up, reason=f"no model is expected to answer in {time}")
    else:
        quick, spare = priced, rest  # slow as they are: one has to be asked
    shortage = "too little is left"
    for min_tokens in (None, MIN_OUTPUT_TOKENS) if not answers else (None,):  # room for whole answers, else for any
        plan = _fit_panel(check, quick, spare, min_tokens, writer=writer, answers=answers, shortage=shortage)
        if plan.models:
            return replace(plan, given_up=given_up + plan.given_up)
        shortage = plan.reason
    return BudgetedPlan(given_up=given_up, reason=check.explain(shortage, [*quick, *spare]))


def _fit_panel(
    check: _BudgetCheck,
    wanted: Sequence[ModelSpec],
    spare: Sequence[ModelSpec],
    min_tokens: int | None,
    *,
    writer: ModelSpec | None,
    answers: int,
    shortage: str,
) -> BudgetedPlan:
    """Return as many of `wanted` as fit, best first, else one model that does; without any, the last shortage."""
    for count in range(len(wanted), 0, -1):
        called = wanted[:count]
        room = check.room(called, writer if count + answers > 1 else None, min_tokens)
        if room.tokens is not None:
            return BudgetedPlan(tuple(called), check.imposed(room.tokens), _left_out(wanted, called, shortage))
        shortage = room.shortage or shortage
    for model in [*wanted[1:], *spare]:
        room = check.room([model], writer if answers else None, min_tokens)
        if room.tokens is not None:
            why = f"{shortage}: {model.name} is called in their place"
            replaced = Degradation("model", why, tuple(m.name for m in wanted if m is not model))
            return BudgetedPlan((model,), check.imposed(room.tokens), (replaced,))
        shortage = room.shortage or shortage
    return BudgetedPlan(reason=shortage)


class _Room(Struct, frozen=True):
    """The output tokens that each of some models can be given; None where that is too little."""

    tokens: int | None
    shortage: str = ""
    """What there is too little of, where it is known."""


class _BudgetCheck:
    """Checks what fits into the resources."""

    def __init__(self, resources: Resources, request: Callable[[ModelSpec], Request]) -> None:
        self._resources, self._remaining, self._request = resources, resources.remaining, request

    @property
    def is_unlimited(self) -> bool:
        return self._remaining == Remaining() and self._resources.seconds is None

    def is_priced(self, model: ModelSpec) -> bool:
        return self._remaining.cost is None or model.price is not None

    def is_quick(self, model: ModelSpec) -> bool:
        usual = self._resources.latency.get(model.name, model.latency)
        return self._resources.seconds is None or usual is None or usual <= self._resources.seconds

    def room(self, models: Sequence[ModelSpec], writer: ModelSpec | None, min_tokens: int | None) -> _Room:
        """Return the output tokens that each of `models` can be given, with `writer` paid as well."""
        remaining = self._remaining
        count = len(models) + (writer is not None)
        if remaining.calls is not None and count > remaining.calls:
            return _Room(None, _calls_left(remaining.calls))
        calls = [_Call(m, max_prompt_tokens(m, r := self._request(m)), max_output_tokens(m, r)) for m in models]
        wanted = max(c.max_tokens for c in calls)
        needed = min(wanted, max(min_tokens or self._comfortable(m) for m in models))
        if remaining.tokens is not None:
            needed = min(needed, remaining.tokens)
        tokens = largest_fitting(
            wanted, lambda cap: self._tokens_suffice(calls, writer, cap) and self._dollars_suffice(calls, writer, cap)
        )
        if tokens >= max(1, needed):
            return _Room(tokens)
        if remaining.cost is not None and not self._dollars_suffice(calls, writer, needed):
            return _Room(None, f"only {format_dollars(remaining.cost, 4)} is left")
        if remaining.tokens is not None:
            return _Room(None, f"only {remaining.tokens} more output tokens are allowed")
        return _Room(None)

    def imposed(self, tokens: int) -> int | None:
        """Return the cap that has to be set; None where neither dollars nor tokens are limited."""
        return None if self._remaining.cost is None and self._remaining.tokens is None else tokens

    def explain(self, shortage: str, models: Sequence[ModelSpec]) -> str:
        """Say what is left, and what the cheapest call can cost."""
        calls = [(m.worst_cost(max_prompt_tokens(m, self._request(m)), MIN_OUTPUT_TOKENS), m.name) for m in models]
        priced = [(cost, name) for cost, name in calls if cost is not None]
        if self._remaining.cost is None or not priced:
            return shortage
        cost, name = min(priced)
        advice = ": raise max_cost" if cost > self._remaining.cost else ""
        return f"{shortage}, and the cheapest call, of {name}, can cost {format_dollars(cost, 4)}{advice}"

    def _comfortable(self, model: ModelSpec) -> int:
        return comfortable_tokens(self._resources.tokens.get(model.name))

    def _tokens_suffice(self, calls: Sequence[_Call], writer: ModelSpec | None, cap: int) -> bool:
        if self._remaining.tokens is None:
            return True
        return sum(min(cap, c.max_tokens) for c in calls) + (cap if writer else 0) <= self._remaining.tokens

    def _dollars_suffice(self, calls: Sequence[_Call], writer: ModelSpec | None, cap: int) -> bool:
        if self._remaining.cost is None:
            return True
        costs = [c.model.worst_cost(c.prompt_tokens, min(cap, c.max_tokens)) or 0.0 for c in calls]
        if writer is not None:  # reads the question and every answer, as long as answers usually are
            quoted = sum(CHARACTERS_PER_TOKEN * min(cap, self._comfortable(c.model)) for c in calls)
            prompt = calls[0].prompt_tokens + self._resources.quoted + quoted
            costs.append(writer.worst_cost(prompt, min(cap, self._comfortable(writer))) or 0.0)
        return sum(costs) <= self._remaining.cost


class _Call(Struct, frozen=True):
    """The most that a call can take."""

    model: ModelSpec
    prompt_tokens: int
    max_tokens: int


def layer_time_limit(left: float, limit: float, writing: float | None, *, writer: bool, others: bool) -> float:
    """Return the seconds that a layer may take.

    Args:
        left: seconds left.
        limit: seconds of the whole query.
        writing: seconds that the aggregator usually takes; None is unknown.
        writer: whether an aggregator may have to write afterwards.
        others: whether another layer could follow.
    """
    if writer:
        kept = WRITING_SHARE * left if writing is None else WRITING_MARGIN * writing
        return left - min(kept, MAX_WRITING_SHARE * left)
    if others and left > LATE_SHARE * limit:
        return LAYER_SHARE * left
    return left


def _calls_left(calls: int) -> str:
    if not calls:
        return "no more calls are allowed"
    return f"only {calls} more call{'s are' if calls > 1 else ' is'} allowed"


def _no_price(model: ModelSpec) -> str:
    hint = f"for {model.name} and the others, {price_hint(model)}"
    return f"max_cost cannot be kept without prices, and no model here has one: {hint}"


def _left_out(before: Sequence[ModelSpec], after: Sequence[ModelSpec], why: str) -> tuple[Degradation, ...]:
    left_out = tuple(m.name for m in before if m not in after)
    return (Degradation("models", why, left_out),) if left_out else ()
