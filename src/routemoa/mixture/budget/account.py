"""The contract of one request: dollars, output tokens and calls, set aside before each call and settled after it.

Bookkeeping without I/O: whoever makes calls reserves here first. The law: spent + held never passes a limit, whatever
the answers, in whatever order they end, and nothing is held once all have ended.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct
from msgspec.structs import replace

from routemoa.clients.wire import TOKEN_LIMITS, is_token_limit
from routemoa.core.errors import BudgetExceeded, ConfigError
from routemoa.core.price_list import price_hint
from routemoa.core.types import Limits, ModelSpec, Request

__all__ = [
    "DEFAULT_OUTPUT_TOKENS",
    "MIN_OUTPUT_TOKENS",
    "Account",
    "Remaining",
    "Reservation",
    "cap_output",
    "comfortable_tokens",
    "largest_fitting",
    "max_call_cost",
    "max_output_tokens",
    "max_prompt_tokens",
]

DEFAULT_OUTPUT_TOKENS = 4096
"""Tokens of an answer at most, under a budget, where neither the request nor the pool file sets a limit: what every
provider accepts as `max_tokens`."""

MIN_OUTPUT_TOKENS = 64
"""Tokens: no answer is asked for that may not be at least so long, unless its own limit is lower."""

USUAL_TOKENS = 256.0  # tokens of an answer, where nothing was measured
FRAME = 16  # tokens that a chat template puts around a message, generously
ROUNDING = 1e-12  # of a limit: sums of floats leave crumbs


class Reservation(Struct, frozen=True):
    """What is set aside for one call, and the request that cannot take more.

    `most` is in dollars (None: no price, and no limit that needs one); `tokens` is the answer's limit, None: no end.
    """

    max_cost: float | None
    max_tokens: int | None
    request: Request


class Remaining(Struct, frozen=True):
    """What may still be reserved: dollars, output tokens, calls; None is no limit."""

    cost: float | None = None
    tokens: int | None = None
    calls: int | None = None


class Account:
    """What one request has taken of its contract.

    Attributes:
        spent: dollars of calls that ended; one of unknown cost counts as the most that it can have cost.
        held: dollars set aside for calls under way.
        written: output tokens of calls that ended; writing: those set aside.
        calls: calls made, retries and hedges included.

    Args:
        contract: the limits; `max_seconds` is the caller's business.
        bounded: somebody else limits the dollars (a tenant's budget): no call may be open-ended or without a price.
    """

    def __init__(self, contract: Limits = Limits(), *, bounded: bool = False) -> None:  # noqa: B008  (frozen)
        self.limits = contract
        self.spent = 0.0
        self.reserved = 0.0
        self.output_tokens = 0
        self.reserved_tokens = 0
        self.calls = 0
        self._bounded = bounded
        self._open = 0  # calls under way

    @property
    def remaining(self) -> Remaining:
        """What may still be reserved."""
        c = self.limits
        return Remaining(
            None if c.max_cost is None else max(0.0, c.max_cost * (1.0 - ROUNDING) - self.spent - self.reserved),
            None
            if c.max_output_tokens is None
            else max(0, c.max_output_tokens - self.output_tokens - self.reserved_tokens),
            None if c.max_calls is None else c.max_calls - self.calls,
        )

    def reserve(
        self, model: ModelSpec, request: Request, *, min_tokens: int | None = None, prompt_tokens: int | None = None
    ) -> Reservation:
        """Set aside what a call can take at most; its answer is capped at what is affordable.

        Args:
            least: tokens below which an answer is not worth asking for; by default LEAST.
            read: tokens of the prompt at most, where the request does not hold it.

        Raises:
            OverBudget: it does not fit; nothing is set aside.
            ConfigError: the model has no price, so nobody knows.
        """
        left, limit = self.remaining, self.limits.max_cost
        if left.calls is not None and left.calls < 1:
            raise BudgetExceeded(f"all of the {self.calls} calls that the contract allows are made (max_calls)")
        prompt = max_prompt_tokens(model, request) if prompt_tokens is None else prompt_tokens
        if limit is None and left.tokens is None and not self._bounded:
            return self._hold(
                Reservation(model.worst_cost(prompt, max_output_tokens(model, request)), None, request), tokens=0
            )
        most, wanted = max_call_cost(model, request, prompt), max_output_tokens(model, request)
        if most is None and (limit is not None or self._bounded):
            raise ConfigError(
                f"{model.name} has no price, and a limit in dollars cannot be kept without; {price_hint(model)}"
            )
        cap = min(wanted, wanted if left.tokens is None else left.tokens)
        if left.cost is not None and most is not None and most > left.cost:
            dollars = left.cost
            cap = min(cap, largest_fitting(wanted, lambda tokens: (model.worst_cost(prompt, tokens) or 0.0) <= dollars))
        if cap < max(
            1,
            min(
                wanted, MIN_OUTPUT_TOKENS if min_tokens is None else min_tokens, self.limits.max_output_tokens or wanted
            ),
        ):
            raise self._over(model, most, wanted)
        bounded = cap_output(model, request, cap)
        return self._hold(Reservation(model.worst_cost(prompt, cap), cap, bounded), cap)

    def can_afford(self, model: ModelSpec, request: Request, least: int) -> bool:
        """Whether `reserve` would set something aside."""
        try:
            self.release(self.reserve(model, request, min_tokens=least))
        except (BudgetExceeded, ConfigError):
            return False
        return True

    def settle(self, held: Reservation, cost: float | None, tokens: int | None = None) -> float:
        """Let go of what was set aside and count what it came to, in dollars and output tokens.

        None is unknown: the most then counts. Returns the dollars that count.
        """
        self._open -= 1
        self.reserved = (
            max(0.0, self.reserved - (held.max_cost or 0.0)) if self._open else 0.0
        )  # sums of floats leave crumbs
        self.reserved_tokens -= held.max_tokens or 0
        real = (held.max_cost or 0.0) if cost is None else cost
        self.spent += real
        self.output_tokens += (held.max_tokens or 0) if tokens is None else tokens
        return real

    def release(self, held: Reservation) -> None:
        """Let go of what was set aside for a call that was not made after all."""
        self.settle(held, 0.0, 0)
        self.calls -= 1

    def _hold(self, held: Reservation, tokens: int) -> Reservation:
        self._open += 1
        self.calls += 1
        self.reserved += held.max_cost or 0.0
        self.reserved_tokens += tokens
        return held

    def _over(self, model: ModelSpec, most: float | None, wanted: int) -> BudgetExceeded:
        """In words, what is too little for a call."""
        left, c = self.remaining, self.limits
        if left.tokens is not None and left.tokens < min(wanted, MIN_OUTPUT_TOKENS):
            return BudgetExceeded(
                f"{left.tokens} of {c.max_output_tokens} output tokens are left, too few for an answer of {model.name} "
                "(max_output_tokens)",
                temporary=self.reserved_tokens > 0,
            )
        limit = c.max_cost or 0.0
        return BudgetExceeded(
            f"${left.cost or 0.0:,.4g} of ${limit:,.4g} are left, and a call of {model.name} (${most or 0.0:,.4g} at "
            "most) could pass the limit",
            temporary=self.reserved > 0.0 and self.spent + (most or 0.0) <= limit,
        )


def comfortable_tokens(tokens: float | None) -> int:
    """Tokens that an answer is given at least, before a model is left out for want of them: twice its usual length."""
    return round(2.0 * (USUAL_TOKENS if tokens is None else tokens))


def max_prompt_tokens(model: ModelSpec, request: Request) -> int:
    """Tokens of a prompt at most: a token is a byte at least, and every message has its frame."""
    settings = (request.schema, *request.parameters.values(), *model.parameters.values())
    shape = sum(len(str(v).encode()) for v in settings if isinstance(v, dict | list))  # such as a schema, or tools
    text = sum(len(m.content.encode()) + len(m.role) for m in request.messages) + len((model.system or "").encode())
    return text + shape + FRAME * (len(request.messages) + 1)


def max_output_tokens(model: ModelSpec, request: Request) -> int:
    """Tokens of an answer at most: the smallest limit that the request and the pool file set, else LONGEST."""
    if limits := _limits(model, request):
        return min(limits)
    if model.context is None:
        return DEFAULT_OUTPUT_TOKENS
    return max(
        1, min(DEFAULT_OUTPUT_TOKENS, max(model.context - max_prompt_tokens(model, request), model.context // 4))
    )


def max_call_cost(model: ModelSpec, request: Request, read: int | None = None) -> float | None:
    """Dollars of a call at most. None: no price."""
    return model.worst_cost(
        max_prompt_tokens(model, request) if read is None else read, max_output_tokens(model, request)
    )


def largest_fitting(most: int, fits: Callable[[int], bool]) -> int:
    """The largest number of tokens up to `most` that fits, where all smaller ones do as well; 0: none does."""
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low


def _limits(model: ModelSpec, request: Request) -> list[int]:
    return [
        v
        for key in TOKEN_LIMITS
        for part in (request.parameters, model.parameters)
        if is_token_limit(v := part.get(key))
    ]


def cap_output(model: ModelSpec, request: Request, cap: int) -> Request:
    """A request whose answer is at most `cap` tokens long; under the name by which it, or the pool file, calls it."""
    if min(_limits(model, request), default=cap + 1) <= cap:
        return request
    cap = min(
        cap, max_output_tokens(model, request)
    )  # no longer than it would be without a cap: its context may be short
    named = [
        key for part in (request.parameters, model.parameters) for key in TOKEN_LIMITS if part.get(key) is not None
    ]
    rest = {k: v for k, v in request.parameters.items() if k not in TOKEN_LIMITS}
    return replace(request, parameters={**rest, named[0] if named else TOKEN_LIMITS[0]: cap})
