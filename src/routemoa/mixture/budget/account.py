"""What one request may take: dollars, output tokens and calls, reserved before each call and settled after it.

Bookkeeping without I/O. The law: spent + reserved never passes a limit, whatever the answers, in whatever order they
end, and nothing is reserved once all have ended.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct
from msgspec.structs import replace

from routemoa.clients.protocol.wire import TOKEN_LIMITS, is_token_limit
from routemoa.core.catalog.price_list import price_hint
from routemoa.core.errors import BudgetExceeded, ConfigError
from routemoa.core.text.dollars import format_dollars
from routemoa.core.types import Limits, ModelSpec, Request

__all__ = [
    "DEFAULT_OUTPUT_TOKENS",
    "MIN_OUTPUT_TOKENS",
    "Account",
    "Remaining",
    "Reservation",
    "cap_output",
    "comfortable_tokens",
    "explain_shortage",
    "largest_fitting",
    "max_output_tokens",
    "max_prompt_tokens",
    "token_limit",
]

DEFAULT_OUTPUT_TOKENS = 4096
"""Tokens of an answer at most, under a budget, where neither the request nor the pool file sets a limit: what every
provider accepts as `max_tokens`."""
MIN_OUTPUT_TOKENS = 64
"""No answer is asked for that may not be at least so long, unless its own limit is lower."""
COMFORTABLE_TOKENS = 512
"""Room for an answer, where nothing was measured."""
COMFORTABLE_FACTOR = 2.0
"""Times the usual length of an answer: room for it."""
FRAME_TOKENS = 16
"""What a chat template puts around a message, generously."""
ROUNDING = 1e-12
"""Of a limit: sums of floats are not exact."""


class Reservation(Struct, frozen=True):
    """What is set aside for one call, and the request that cannot take more."""

    max_cost: float | None
    """Dollars; None: no price, and no limit that needs one."""
    max_tokens: int | None
    """Of the answer; None is no limit."""
    request: Request
    prompt_tokens: int
    """Of the prompt at most."""


class Remaining(Struct, frozen=True):
    """What may still be reserved; None is no limit."""

    cost: float | None = None
    """Dollars."""
    tokens: int | None = None
    """Output tokens."""
    calls: int | None = None


NO_LIMIT = Remaining()


class Account:
    """What one request has taken of its limits.

    Args:
        limits: `max_seconds` is the caller's business.
        bounded: a tenant's budget limits the dollars, too: no call may be open-ended or without a price.
    """

    def __init__(self, limits: Limits = Limits(), *, bounded: bool = False) -> None:  # noqa: B008  (frozen)
        self.limits = limits
        self.spent = 0.0
        """Dollars of calls that ended; one of unknown cost counts as the most that it can have cost."""
        self.reserved = 0.0
        """Dollars set aside for calls under way."""
        self.output_tokens = 0
        """Of calls that ended."""
        self.reserved_tokens = 0
        """Output tokens set aside for calls under way."""
        self.calls = 0
        """Calls made, retries and hedges included."""
        self._bounded = bounded
        self._under_way = 0

    @property
    def remaining(self) -> Remaining:
        """Return what may still be reserved."""
        limits, cost, tokens = self.limits, None, None
        if limits.max_cost is not None:
            cost = max(0.0, limits.max_cost * (1.0 - ROUNDING) - self.spent - self.reserved)
        if limits.max_output_tokens is not None:
            tokens = max(0, limits.max_output_tokens - self.output_tokens - self.reserved_tokens)
        return Remaining(cost, tokens, None if limits.max_calls is None else limits.max_calls - self.calls)

    def reserve(
        self, model: ModelSpec, request: Request, *, min_tokens: int | None = None, prompt_tokens: int | None = None
    ) -> Reservation:
        """Set aside what a call can take at most; its answer is capped at what is affordable.

        Args:
            min_tokens: the shortest answer that is worth asking for; by default MIN_OUTPUT_TOKENS.
            prompt_tokens: of the prompt at most, where the request does not hold it.

        Raises:
            BudgetExceeded: the call does not fit; nothing is set aside.
            ConfigError: the model has no price, so that a limit in dollars cannot be kept.
        """
        remaining = self.remaining
        if remaining.calls is not None and remaining.calls < 1:
            raise BudgetExceeded(f"all {self.calls} calls that the limits allow are made (max_calls)")
        prompt = max_prompt_tokens(model, request) if prompt_tokens is None else prompt_tokens
        wanted = max_output_tokens(model, request)
        most = model.worst_cost(prompt, wanted)
        in_dollars = self.limits.max_cost is not None or self._bounded
        if not in_dollars and remaining.tokens is None:
            return self._hold(Reservation(most, None, request, prompt))
        if most is None and in_dollars:
            raise ConfigError(
                f"{model.name} has no price, and a limit in dollars cannot be kept without; {price_hint(model)}"
            )
        if model.omit and cap_name(model, request) in model.omit:
            raise BudgetExceeded(
                f"{model.name} cannot be held to a limit: the pool file leaves out its token limit (omit)"
            )
        cap = _affordable_tokens(remaining, model, prompt, wanted, most)
        shortest = MIN_OUTPUT_TOKENS if min_tokens is None else min_tokens
        if cap < max(1, min(wanted, shortest, self.limits.max_output_tokens or wanted)):
            raise self._shortage(model, most, wanted)
        cost = most if cap == wanted else model.worst_cost(prompt, cap)
        return self._hold(Reservation(cost, cap, cap_output(model, request, cap), prompt))

    def can_afford(self, model: ModelSpec, request: Request, min_tokens: int) -> bool:
        """Return whether `reserve` would set something aside."""
        if not self._bounded and self.remaining == NO_LIMIT:
            return True
        try:
            self.release(self.reserve(model, request, min_tokens=min_tokens))
        except (BudgetExceeded, ConfigError):
            return False
        return True

    def settle(self, reservation: Reservation, cost: float | None, tokens: int | None = None) -> float:
        """Release what was set aside and count what the call came to; return the dollars that count.

        `cost` is in dollars, `tokens` are output tokens; where one is unknown, its most counts.
        """
        most, max_tokens = reservation.max_cost or 0.0, reservation.max_tokens or 0
        self._under_way -= 1
        self.reserved = max(0.0, self.reserved - most) if self._under_way else 0.0  # sums of floats are not exact
        self.reserved_tokens -= max_tokens
        charged = most if cost is None else cost
        self.spent += charged
        self.output_tokens += max_tokens if tokens is None else tokens
        return charged

    def release(self, reservation: Reservation) -> None:
        """Release what was set aside for a call that was not made after all."""
        self.settle(reservation, 0.0, 0)
        self.calls -= 1

    def _hold(self, reservation: Reservation) -> Reservation:
        self._under_way += 1
        self.calls += 1
        self.reserved += reservation.max_cost or 0.0
        self.reserved_tokens += reservation.max_tokens or 0
        return reservation

    def _shortage(self, model: ModelSpec, most: float | None, wanted: int) -> BudgetExceeded:
        """Return the error that says what is too little for a call."""
        remaining, limits = self.remaining, self.limits
        if remaining.tokens is not None and remaining.tokens < min(wanted, MIN_OUTPUT_TOKENS):
            return BudgetExceeded(
                f"{remaining.tokens} of {limits.max_output_tokens} output tokens are left, too few for an answer of "
                f"{model.name} (max_output_tokens)",
                temporary=self.reserved_tokens > 0,
            )
        limit = limits.max_cost or 0.0
        return BudgetExceeded(
            explain_shortage(model, most or 0.0, left=remaining.cost or 0.0, limit=limit),
            temporary=self.reserved > 0.0 and self.spent + (most or 0.0) <= limit,
        )


def explain_shortage(model: ModelSpec, most: float, *, left: float, limit: float) -> str:
    """Say that a call may cost more than what is left, and what to do; all in dollars."""
    return (
        f"{format_dollars(left, 4)} of {format_dollars(limit, 4)} are left, and a call of {model.name} "
        f"({format_dollars(most, 4)} at most) could pass the limit: raise max_cost"
    )


def _affordable_tokens(remaining: Remaining, model: ModelSpec, prompt: int, wanted: int, most: float | None) -> int:
    """Return the longest answer up to `wanted` tokens that fits into what is left."""
    cap = wanted if remaining.tokens is None else min(wanted, remaining.tokens)
    dollars = remaining.cost
    if dollars is None or most is None or most <= dollars:
        return cap
    return min(cap, largest_fitting(wanted, lambda tokens: (model.worst_cost(prompt, tokens) or 0.0) <= dollars))


def comfortable_tokens(usual: float | None) -> int:
    """Return the tokens that an answer is given before a model is left out for want of them."""
    return COMFORTABLE_TOKENS if usual is None else round(COMFORTABLE_FACTOR * usual)


def max_prompt_tokens(model: ModelSpec, request: Request) -> int:
    """Return the tokens of a prompt at most: a token is a byte at least, and every message has its frame."""
    tools = list(request.tools.tools) if request.tools else None
    settings = (request.schema, tools, *request.parameters.values(), *model.parameters.values())
    most = len((model.system or "").encode()) + FRAME_TOKENS
    for setting in settings:  # such as a schema, or tools
        if isinstance(setting, dict | list):
            most += len(str(setting).encode())
    for message in request.messages:
        most += len(message.sent_text.encode()) + len(message.role) + FRAME_TOKENS
        if message.body is not None:
            most += message.media_tokens
    return most


def max_output_tokens(model: ModelSpec, request: Request) -> int:
    """Return the tokens of an answer at most: the smallest limit of request and pool file, else a default."""
    if limits := _token_limits(model, request):
        return min(limits)
    if model.context is None:
        return DEFAULT_OUTPUT_TOKENS
    room = max(model.context - max_prompt_tokens(model, request), model.context // 4)
    return max(1, min(DEFAULT_OUTPUT_TOKENS, room))


def largest_fitting(most: int, fits: Callable[[int], bool]) -> int:
    """Return the largest number up to `most` that fits, where all smaller ones do as well; 0 where none does."""
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low


def cap_output(model: ModelSpec, request: Request, cap: int) -> Request:
    """Return a request whose answer is at most `cap` tokens long, under the name that it or the pool file uses.

    The answer gets no longer than it would be without a cap: the model's context may be short.
    """
    if not (limits := _token_limits(model, request)):
        cap = min(cap, max_output_tokens(model, request))
    elif min(limits) <= cap:
        return request
    rest = {k: v for k, v in request.parameters.items() if k not in TOKEN_LIMITS}
    return replace(request, parameters={**rest, cap_name(model, request): cap})


def cap_name(model: ModelSpec, request: Request) -> str:
    """Return the name under which an answer is limited: that of request or pool file, else one the member takes."""
    for part in (request.parameters, model.parameters):
        for name in TOKEN_LIMITS if part else ():
            if part.get(name) is not None and name not in model.omit:
                return name
    return next((n for n in TOKEN_LIMITS if n not in model.omit), TOKEN_LIMITS[0]) if model.omit else TOKEN_LIMITS[0]


def token_limit(model: ModelSpec, request: Request) -> int | None:
    """Return the limit of the answer that is sent with a request; None without one, or where it is left out."""
    if model.omit:
        sent = {k: v for k, v in request.parameters.items() if k not in model.omit or k in model.rename}
        request = replace(request, parameters=sent)
    return min(_token_limits(model, request), default=None)


def _token_limits(model: ModelSpec, request: Request) -> list[int]:
    limits: list[int] = []
    for part in (request.parameters, model.parameters):
        if part:
            limits += [v for key in TOKEN_LIMITS if is_token_limit(v := part.get(key))]
    return limits
