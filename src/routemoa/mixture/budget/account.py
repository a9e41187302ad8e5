"""The contract of one request: dollars, output tokens and calls, set aside before each call and settled after it.

Bookkeeping without I/O: whoever makes calls reserves here first. The law: spent + held never passes a limit, whatever
the answers, in whatever order they end, and nothing is held once all have ended.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct
from msgspec.structs import replace

from routemoa.clients.wire import CAPS, is_cap
from routemoa.core.errors import ConfigError, OverBudget
from routemoa.core.price_list import remedy
from routemoa.core.types import Contract, ModelSpec, Request

__all__ = ["LEAST", "LONGEST", "Account", "Held", "Left", "capped", "largest", "longest", "reads", "usual", "worst"]

LONGEST = 4096
"""Tokens of an answer at most, under a budget, where neither the request nor the pool file sets a limit: what every
provider accepts as `max_tokens`."""

LEAST = 64
"""Tokens: no answer is asked for that may not be at least so long, unless its own limit is lower."""

USUAL = 256.0  # tokens of an answer, where nothing was measured
FRAME = 16  # tokens that a chat template puts around a message, generously
ROUNDING = 1e-12  # of a limit: sums of floats leave crumbs


class Held(Struct, frozen=True):
    """What is set aside for one call, and the request that cannot take more.

    `most` is in dollars (None: no price, and no limit that needs one); `tokens` is the answer's limit, None: no end.
    """

    most: float | None
    tokens: int | None
    request: Request


class Left(Struct, frozen=True):
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

    def __init__(self, contract: Contract = Contract(), *, bounded: bool = False) -> None:  # noqa: B008  (frozen)
        self.contract = contract
        self.spent = 0.0
        self.held = 0.0
        self.written = 0
        self.writing = 0
        self.calls = 0
        self._bounded = bounded
        self._open = 0  # calls under way

    @property
    def left(self) -> Left:
        """What may still be reserved."""
        c = self.contract
        return Left(
            None if c.max_cost is None else max(0.0, c.max_cost * (1.0 - ROUNDING) - self.spent - self.held),
            None if c.max_output_tokens is None else max(0, c.max_output_tokens - self.written - self.writing),
            None if c.max_calls is None else c.max_calls - self.calls,
        )

    def reserve(self, model: ModelSpec, request: Request, *, least: int | None = None, read: int | None = None) -> Held:
        """Set aside what a call can take at most; its answer is capped at what is affordable.

        Args:
            least: tokens below which an answer is not worth asking for; by default LEAST.
            read: tokens of the prompt at most, where the request does not hold it.

        Raises:
            OverBudget: it does not fit; nothing is set aside.
            ConfigError: the model has no price, so nobody knows.
        """
        left, limit = self.left, self.contract.max_cost
        if left.calls is not None and left.calls < 1:
            raise OverBudget(f"all of the {self.calls} calls that the contract allows are made (max_calls)")
        prompt = reads(model, request) if read is None else read
        if limit is None and left.tokens is None and not self._bounded:
            return self._hold(Held(model.worst_cost(prompt, longest(model, request)), None, request), tokens=0)
        most, wanted = worst(model, request, prompt), longest(model, request)
        if most is None and (limit is not None or self._bounded):
            raise ConfigError(
                f"{model.name} has no price, and a limit in dollars cannot be kept without; {remedy(model)}"
            )
        cap = min(wanted, wanted if left.tokens is None else left.tokens)
        if left.cost is not None and most is not None and most > left.cost:
            dollars = left.cost
            cap = min(cap, largest(wanted, lambda tokens: (model.worst_cost(prompt, tokens) or 0.0) <= dollars))
        if cap < max(1, min(wanted, LEAST if least is None else least, self.contract.max_output_tokens or wanted)):
            raise self._over(model, most, wanted)
        bounded = capped(model, request, cap)
        return self._hold(Held(model.worst_cost(prompt, cap), cap, bounded), cap)

    def fits(self, model: ModelSpec, request: Request, least: int) -> bool:
        """Whether `reserve` would set something aside."""
        try:
            self.release(self.reserve(model, request, least=least))
        except (OverBudget, ConfigError):
            return False
        return True

    def settle(self, held: Held, cost: float | None, tokens: int | None = None) -> float:
        """Let go of what was set aside and count what it came to, in dollars and output tokens.

        None is unknown: the most then counts. Returns the dollars that count.
        """
        self._open -= 1
        self.held = max(0.0, self.held - (held.most or 0.0)) if self._open else 0.0  # sums of floats leave crumbs
        self.writing -= held.tokens or 0
        real = (held.most or 0.0) if cost is None else cost
        self.spent += real
        self.written += (held.tokens or 0) if tokens is None else tokens
        return real

    def release(self, held: Held) -> None:
        """Let go of what was set aside for a call that was not made after all."""
        self.settle(held, 0.0, 0)
        self.calls -= 1

    def _hold(self, held: Held, tokens: int) -> Held:
        self._open += 1
        self.calls += 1
        self.held += held.most or 0.0
        self.writing += tokens
        return held

    def _over(self, model: ModelSpec, most: float | None, wanted: int) -> OverBudget:
        """In words, what is too little for a call."""
        left, c = self.left, self.contract
        if left.tokens is not None and left.tokens < min(wanted, LEAST):
            return OverBudget(
                f"{left.tokens} of {c.max_output_tokens} output tokens are left, too few for an answer of {model.name} "
                "(max_output_tokens)",
                for_now=self.writing > 0,
            )
        limit = c.max_cost or 0.0
        return OverBudget(
            f"${left.cost or 0.0:,.4g} of ${limit:,.4g} are left, and a call of {model.name} (${most or 0.0:,.4g} at "
            "most) could pass the limit",
            for_now=self.held > 0.0 and self.spent + (most or 0.0) <= limit,
        )


def usual(tokens: float | None) -> int:
    """Tokens that an answer is given at least, before a model is left out for want of them: twice its usual length."""
    return round(2.0 * (USUAL if tokens is None else tokens))


def reads(model: ModelSpec, request: Request) -> int:
    """Tokens of a prompt at most: a token is a byte at least, and every message has its frame."""
    settings = (request.schema, *request.parameters.values(), *model.parameters.values())
    shape = sum(len(str(v).encode()) for v in settings if isinstance(v, dict | list))  # such as a schema, or tools
    text = sum(len(m.content.encode()) + len(m.role) for m in request.messages) + len((model.system or "").encode())
    return text + shape + FRAME * (len(request.messages) + 1)


def longest(model: ModelSpec, request: Request) -> int:
    """Tokens of an answer at most: the smallest limit that the request and the pool file set, else LONGEST."""
    if limits := _limits(model, request):
        return min(limits)
    if model.context is None:
        return LONGEST
    return max(1, min(LONGEST, max(model.context - reads(model, request), model.context // 4)))


def worst(model: ModelSpec, request: Request, read: int | None = None) -> float | None:
    """Dollars of a call at most. None: no price."""
    return model.worst_cost(reads(model, request) if read is None else read, longest(model, request))


def largest(most: int, fits: Callable[[int], bool]) -> int:
    """The largest number of tokens up to `most` that fits, where all smaller ones do as well; 0: none does."""
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low


def _limits(model: ModelSpec, request: Request) -> list[int]:
    return [v for key in CAPS for part in (request.parameters, model.parameters) if is_cap(v := part.get(key))]


def capped(model: ModelSpec, request: Request, cap: int) -> Request:
    """A request whose answer is at most `cap` tokens long; under the name by which it, or the pool file, calls it."""
    if min(_limits(model, request), default=cap + 1) <= cap:
        return request
    cap = min(cap, longest(model, request))  # no longer than it would be without a cap: its context may be short
    named = [key for part in (request.parameters, model.parameters) for key in CAPS if part.get(key) is not None]
    rest = {k: v for k, v in request.parameters.items() if k not in CAPS}
    return replace(request, parameters={**rest, named[0] if named else CAPS[0]: cap})
