"""What may still be spent: set aside before each call, settled after it, never overshot. Bookkeeping, without I/O."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from routemoa.errors import ConfigError, OverBudget
from routemoa.types import ModelSpec, Request, Usage
from routemoa.wire import CAPS

__all__ = ["LONGEST", "Account", "Held", "worst"]

LONGEST = 4096
"""Tokens of an answer at most, under a budget, where neither the request nor the pool file sets a limit."""
FRAME = 16  # tokens that a chat template puts around a message, generously


class Held(Struct, frozen=True):
    """Dollars set aside for one call, and the request that cannot cost more."""

    most: float
    request: Request


class Account:
    """Dollars of a run. `spent + held` never passes `limit`, whatever the answers and in whatever order they come.

    Attributes:
        limit: dollars; None is no limit, and then nothing is set aside.
        spent: dollars of calls that ended; one of unknown cost counts as the most that it can have cost.
        held: dollars set aside for calls under way.
    """

    def __init__(self, limit: float | None = None) -> None:
        self.limit = limit
        self.spent = 0.0
        self.held = 0.0
        self._open = 0  # calls under way

    def reserve(self, model: ModelSpec, request: Request) -> Held:
        """Set aside what a call can cost at most.

        Raises:
            OverBudget: the call could pass the limit; nothing is set aside.
            ConfigError: the model has no price, so nobody knows.
        """
        if self.limit is None:
            self._open += 1
            return Held(0.0, request)
        capped = _capped(model, request)
        most = worst(model, capped)
        if most is None:
            raise ConfigError(
                f"{model.name} has no price, and a limit in dollars cannot be kept without; add input_price and "
                "output_price to the pool file"
            )
        if self.spent + self.held + most > self.limit:
            raise OverBudget(
                f"${self.spent:,.4g} of ${self.limit:,.4g} are spent, and the next call could pass the limit",
                for_now=self.held > 0.0 and self.spent + most <= self.limit,
            )
        self._open += 1
        self.held += most
        return Held(most, capped)

    def settle(self, held: Held, cost: float | None) -> float:
        """Let go of what was set aside and count the real dollars, which are returned; None is unknown: the most."""
        self._open -= 1
        self.held = max(0.0, self.held - held.most) if self._open else 0.0  # sums of floats leave crumbs
        real = held.most if cost is None else cost
        self.spent += real
        return real


def worst(model: ModelSpec, request: Request) -> float | None:
    """Dollars of a call at most: a token is a byte at least, an answer as long as it may be. None: no price."""
    read = sum(len(m.content.encode()) + len(m.role) for m in request.messages) + len((model.system or "").encode())
    limit = _cap(model, request)
    return model.cost(Usage(read + FRAME * (len(request.messages) + 1), LONGEST if limit is None else limit))


def _cap(model: ModelSpec, request: Request) -> int | None:
    """The answer's limit in tokens; a member's own settings are laid over the request's."""
    found = {**request.parameters, **model.parameters}
    limits = [v for key in CAPS if isinstance(v := found.get(key), int) and v > 0]
    return max(limits) if limits else None


def _capped(model: ModelSpec, request: Request) -> Request:
    """A request whose answer has an end."""
    if _cap(model, request) is not None:
        return request
    return replace(request, parameters={**request.parameters, "max_tokens": LONGEST})
