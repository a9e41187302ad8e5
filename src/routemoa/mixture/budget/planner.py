"""What of a plan fits into what is left of a contract, and what is given up for it. Pure functions.

In the order of regret: fewer models, a cheaper one, and last of all no aggregator, whose share is kept back until then.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from routemoa.core.price_list import price_hint
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

WRITING = 0.4  # of the time left: what is kept for the aggregator where nobody knows how long it writes
PATIENCE = 0.75  # of the time left: how long a layer is waited for that needs no aggregator, while others could follow
LATE = 0.5  # of the contract's time: with less of it left, no layer keeps time back for another one after it


class Resources(Struct, frozen=True):
    """What there is to spend, `seconds` of time among it (None: no limit); what a call of each model usually takes."""

    left: Remaining = Remaining()
    seconds: float | None = None
    tokens: Mapping[str, float] = {}
    latency: Mapping[str, float] = {}
    quoted: int = 0  # bytes of the answers that there are, which an aggregator has to read


class BudgetedPlan(Struct, frozen=True):
    """Who is called, with how many output tokens at most each (None: as asked), and what that gives up.

    Nobody fits where `call` is empty; `why` says so then, and `unpriced` whether it is for want of any price.
    """

    models: tuple[ModelSpec, ...] = ()
    max_tokens: int | None = None
    given_up: tuple[Degradation, ...] = ()
    reason: str = ""
    unpriced: bool = False


def plan_within_budget(
    wanted: Sequence[ModelSpec],
    others: Sequence[ModelSpec],
    means: Resources,
    request: Callable[[ModelSpec], Request],
    *,
    writer: ModelSpec | None = None,
    answers: int = 0,
) -> BudgetedPlan:
    """The largest part of `wanted` that fits, else the first of `others` that does.

    Args:
        wanted: whom the policy would call, best first.
        others: who else may be called, as they are ranked.
        request: what each would be asked.
        writer: who would aggregate, for whom room is kept once there is more than one answer; None: nobody.
        heard: answers that there are.
    """
    purse = _BudgetCheck(means, request)
    if purse.unlimited:
        return BudgetedPlan(tuple(wanted))
    priced, rest = [m for m in wanted if purse.priced(m)], [m for m in others if purse.priced(m)]
    if not priced and not rest:
        return BudgetedPlan(reason=_unpriced(wanted[0]), unpriced=True)
    given_up = _dropped(wanted, priced, "no price is known, and max_cost cannot be kept without")
    quick, spare = [m for m in priced if purse.quick(m)], [m for m in rest if purse.quick(m)]
    time = f"{means.seconds or 0.0:.1f} s"
    if quick or spare:
        given_up += _dropped(priced, quick, f"usually slower than the {time} that are left")
    elif answers:
        return BudgetedPlan(given_up=given_up, reason=f"contract: nobody is expected to answer in {time}")
    else:
        quick, spare = priced, rest  # slow as they are: somebody has to be asked
    for least in (None, MIN_OUTPUT_TOKENS) if not answers else (None,):  # room for whole answers, else for what fits
        found = _largest(quick, spare, purse, least, writer=writer, heard=answers)
        if found is not None:
            return replace(found, given_up=given_up + found.given_up)
    return BudgetedPlan(given_up=given_up, reason=f"contract: {purse.needed([*quick, *spare])}")


def _largest(
    quick: Sequence[ModelSpec],
    spare: Sequence[ModelSpec],
    purse: _BudgetCheck,
    least: int | None,
    *,
    writer: ModelSpec | None,
    heard: int,
) -> BudgetedPlan | None:
    """As many of `quick` as fit, best first, else one that does, whoever it is."""
    for count in range(len(quick), 0, -1):
        called = quick[:count]
        cap = purse.room(called, writer if count + heard > 1 else None, least)
        if cap is not None:
            return BudgetedPlan(tuple(called), purse.imposed(cap), _dropped(quick, called, purse.short))
    for model in [*quick[1:], *spare]:
        cap = purse.room([model], writer if heard else None, least)
        if cap is not None:
            why = f"{purse.short}: {model.name} is called in their place"
            return BudgetedPlan((model,), purse.imposed(cap), _instead(quick, model, why))
    return None


class _BudgetCheck:
    """The sums of `fit`."""

    def __init__(self, means: Resources, request: Callable[[ModelSpec], Request]) -> None:
        self._means, self._left, self._request = means, means.left, request
        self.short = "too little is left"

    @property
    def unlimited(self) -> bool:
        return self._left == Remaining() and self._means.seconds is None

    def priced(self, model: ModelSpec) -> bool:
        return self._left.cost is None or model.price is not None

    def quick(self, model: ModelSpec) -> bool:
        takes = self._means.latency.get(model.name, model.latency)
        return self._means.seconds is None or takes is None or takes <= self._means.seconds

    def room(self, models: Sequence[ModelSpec], writer: ModelSpec | None, least: int | None) -> int | None:
        """Output tokens that each of `models` can be given, `writer` being paid as well; None: it is too little."""
        left = self._left
        count = len(models) + (writer is not None)
        if left.calls is not None and count > left.calls:
            self.short = f"only {left.calls} more call{'s are' if left.calls > 1 else ' is'} allowed"
            self.short = self.short if left.calls else "no more calls are allowed"
            return None
        asked = [(m, max_prompt_tokens(m, r := self._request(m)), max_output_tokens(m, r)) for m in models]
        wanted = max(limit for _, _, limit in asked)
        need = min(wanted, max(least or comfortable_tokens(self._means.tokens.get(m.name)) for m in models))
        if left.tokens is not None:
            need = min(need, left.tokens)
        cap = largest_fitting(
            wanted, lambda cap: self._allowed(asked, writer, cap) and self._affordable(asked, writer, cap)
        )
        if cap >= max(1, need):
            return cap
        if left.cost is not None and not self._affordable(asked, writer, need):
            self.short = f"only ${left.cost:.4g} is left"
        elif left.tokens is not None:
            self.short = f"only {left.tokens} more output tokens are allowed"
        return None

    def imposed(self, cap: int) -> int | None:
        """The cap that has to be set; None where neither dollars nor tokens are limited."""
        return None if self._left.cost is None and self._left.tokens is None else cap

    def _allowed(self, asked: Sequence[tuple[ModelSpec, int, int]], writer: ModelSpec | None, cap: int) -> bool:
        if self._left.tokens is None:
            return True
        return sum(min(cap, limit) for _, _, limit in asked) + (cap if writer else 0) <= self._left.tokens

    def _affordable(self, asked: Sequence[tuple[ModelSpec, int, int]], writer: ModelSpec | None, cap: int) -> bool:
        if self._left.cost is None:
            return True
        costs = [m.worst_cost(read, min(cap, limit)) for m, read, limit in asked]
        if writer is not None:  # who reads the question and every answer, as long as answers usually are
            longest_of = {
                m.name: min(cap, comfortable_tokens(self._means.tokens.get(m.name)))
                for m in (*(a[0] for a in asked), writer)
            }
            quoted = self._means.quoted + sum(CHARACTERS_PER_TOKEN * longest_of[m.name] for m, _, _ in asked)
            costs.append(writer.worst_cost(asked[0][1] + quoted, longest_of[writer.name]) or 0.0)
        return sum(c or 0.0 for c in costs) <= self._left.cost

    def needed(self, models: Sequence[ModelSpec]) -> str:
        """In words, what is left, and what would do."""
        sums = [
            (c, m.name)
            for m in models
            if (c := m.worst_cost(max_prompt_tokens(m, self._request(m)), MIN_OUTPUT_TOKENS)) is not None
        ]
        if self._left.cost is None or not sums:
            return self.short
        cost, name = min(sums)
        return f"{self.short}, and the cheapest call, of {name}, can cost ${cost:.4g} (max_cost)"


def _unpriced(model: ModelSpec) -> str:
    how = f"for {model.name} and the others, {price_hint(model)}"
    return f"max_cost cannot be kept without prices, and no model here has one: {how}"


def _dropped(before: Sequence[ModelSpec], after: Sequence[ModelSpec], why: str) -> tuple[Degradation, ...]:
    gone = tuple(m.name for m in before if m not in after)
    return (Degradation("models", why, gone),) if gone else ()


def _instead(before: Sequence[ModelSpec], called: ModelSpec, why: str) -> tuple[Degradation, ...]:
    return (Degradation("model", why, tuple(m.name for m in before if m is not called)),)


def layer_time_limit(left: float, whole: float, writing: float | None, *, writer: bool, others: bool) -> float:
    """The share of a layer in the time `left` of a contract of `whole` seconds.

    Args:
        writing: seconds that the aggregator usually takes; None is unknown.
        writer: whether an aggregator may have to write afterwards.
        others: whether another layer could follow.
    """
    if writer:
        return left - min(WRITING * left if writing is None else 1.2 * writing, 0.5 * left)
    if others and left > LATE * whole:
        return PATIENCE * left
    return left
