"""List prices of models that are known by name, from the data that the library `genai-prices` brings: never fetched.

A price belongs to the maker's own endpoint on one fixed day, so that the same records always cost the same. A model
whose maker sells no endpoint, or whose name the library does not know, has no price: unknown, never zero.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.util import find_spec

from msgspec import Struct

from routemoa.errors import ConfigError

__all__ = ["DAY", "Price", "library"]

DAY = datetime(2026, 1, 1, 12, tzinfo=UTC)
"""The day whose prices are taken."""
MILLION = 1_000_000
UNIT = 1000  # tokens whose price is asked: so few that no surcharge for long prompts applies


class Price(Struct, frozen=True):
    """Dollars per million tokens."""

    input: float
    output: float

    def of(self, prompt: float, completion: float) -> float:
        """Dollars of a call."""
        return (prompt * self.input + completion * self.output) / MILLION


def library(models: Iterable[str]) -> dict[str, Price]:
    """The prices of those models that the library knows by name. Raises ConfigError: it is not installed."""
    if find_spec("genai_prices") is None:
        raise ConfigError("list prices need an extra: pip install 'routemoa[eval]'")
    found = {m: _price(m) for m in models}
    return {m: price for m, price in found.items() if price is not None}


def _price(model: str) -> Price | None:
    from genai_prices import Usage, calc_price

    usage = Usage(input_tokens=UNIT, output_tokens=UNIT)
    try:
        found = calc_price(usage, model, genai_request_timestamp=DAY)
    except LookupError:
        return None
    each = MILLION / UNIT
    return Price(float(found.input_price) * each, float(found.output_price) * each)
