"""List prices of models that are known by name, from the data that the library `genai-prices` brings: never fetched.

A price belongs to the maker's own endpoint on one fixed day, so that the same records always cost the same. A model
whose maker sells no endpoint, or whose name the library does not know, has no price: unknown, never zero.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from msgspec import Struct

from routemoa.core.errors import MissingExtra
from routemoa.core.price_list import find_price, is_installed

__all__ = ["PRICE_DATE", "ListPrice", "load_list_prices"]

PRICE_DATE = datetime(2026, 1, 1, 12, tzinfo=UTC)
"""The day whose prices are taken."""
MILLION = 1_000_000


class ListPrice(Struct, frozen=True):
    """Dollars per million tokens, without the surcharges for long prompts."""

    input: float
    output: float

    def cost(self, prompt: float, completion: float) -> float:
        """Dollars of a call."""
        return (prompt * self.input + completion * self.output) / MILLION


def load_list_prices(models: Iterable[str]) -> dict[str, ListPrice]:
    """The prices of those models that the library knows by name. Raises MissingExtra: it is not installed."""
    if not is_installed():
        raise MissingExtra("genai-prices", "prices")
    found = {m: find_price(m, PRICE_DATE) for m in models}
    return {m: ListPrice(price.input.base, price.output.base) for m, price in found.items() if price is not None}
