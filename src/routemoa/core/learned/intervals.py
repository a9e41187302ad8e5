"""Confidence intervals that need no library. Pure."""

from __future__ import annotations

import math

__all__ = ["Z95", "interval_without_spread", "wilson_interval"]

Z95 = 1.96


def wilson_interval(share: float, n: int) -> tuple[float, float]:
    """Return the 95 % score interval of a share of `n` (Wilson 1927)."""
    middle, scale = share + Z95 * Z95 / (2 * n), 1 + Z95 * Z95 / n
    error = Z95 * math.sqrt(max(0.0, share * (1 - share)) / n + Z95 * Z95 / (4 * n * n))
    return max(0.0, (middle - error) / scale), min(1.0, (middle + error) / scale)


def interval_without_spread(value: float, n: int, *, is_difference: bool = False) -> tuple[float, float]:
    """Return the 95 % interval of a mean of `n` scores in [0, 1] that are all the same, or of so many differences.

    There is nothing to resample, and yet as many may be otherwise as Wilson's interval of 0 of n allows: 4 right
    answers of 4 are 51 to 100 %, not 100 to 100 %. Two that do the same differ by 0 all the same.
    """
    if is_difference and value == 0.0:
        return 0.0, 0.0
    doubt = wilson_interval(0.0, n)[1]
    return max(-1.0 if is_difference else 0.0, value - doubt), min(1.0, value + doubt)
