"""List prices of models by name, from the data that the library `genai-prices` ships: nothing is fetched.

A price is that of the maker's own endpoint on one fixed day, so that the same records always cost the same. A model
whose maker has no endpoint, or whose name the library does not know, has no price: unknown, never zero.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from msgspec import Struct

from routemoa.core.catalog.price_list import find_price, has_price_library
from routemoa.core.errors import MissingExtra

__all__ = ["PRICE_DATE", "ListPrice", "load_list_prices"]

PRICE_DATE = datetime(2026, 1, 1, 12, tzinfo=UTC)
"""The day whose prices are used."""
MILLION = 1_000_000


class ListPrice(Struct, frozen=True):
    """Dollars per million tokens, without surcharges for long prompts."""

    input: float
    output: float

    def cost(self, prompt_tokens: float, completion_tokens: float) -> float:
        """Return the dollars of a call."""
        return (prompt_tokens * self.input + completion_tokens * self.output) / MILLION


def load_list_prices(models: Iterable[str]) -> dict[str, ListPrice]:
    """Return the prices of those models that the library knows by name.

    Raises:
        MissingExtra: the library is not installed.
    """
    if not has_price_library():
        raise MissingExtra("genai-prices", "prices")
    prices = {model: find_price(model, PRICE_DATE) for model in models}
    return {
        model: ListPrice(price.input.base, price.output.base) for model, price in prices.items() if price is not None
    }
