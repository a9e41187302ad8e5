"""Dollars in words."""

from __future__ import annotations

import math

__all__ = ["format_dollars"]


def format_dollars(dollars: float, digits: int = 2) -> str:
    """Format dollars to the cent, small amounts with `digits` significant digits: "$1,234.50", "$0.000057".

    A sum of nonsense that an endpoint reported may be infinite: "$inf".
    """
    if not dollars:
        return "$0"
    if math.isinf(dollars):
        return "$inf"
    decimals = max(2, digits - 1 - math.floor(math.log10(abs(dollars))))
    whole, _, part = f"{dollars:,.{decimals}f}".partition(".")
    return f"${whole}.{part.rstrip('0'):0<2}"
