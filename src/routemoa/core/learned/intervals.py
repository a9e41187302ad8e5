"""Confidence intervals that need no library. Pure."""

from __future__ import annotations

import math

__all__ = ["Z95", "wilson_interval"]

Z95 = 1.96


def wilson_interval(share: float, n: int) -> tuple[float, float]:
    """Return the 95 % score interval of a share of `n` (Wilson 1927)."""
    middle, scale = share + Z95 * Z95 / (2 * n), 1 + Z95 * Z95 / n
    error = Z95 * math.sqrt(max(0.0, share * (1 - share)) / n + Z95 * Z95 / (4 * n * n))
    return max(0.0, (middle - error) / scale), min(1.0, (middle + error) / scale)
