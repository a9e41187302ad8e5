"""prometheus_client's counter and histogram without the checks that they make at each of some ten steps a request."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping

from prometheus_client import Counter, Histogram

__all__ = ["QuickCounter", "QuickHistogram"]


class QuickCounter(Counter):
    """A counter; what is counted has labels and is not below 0. `inc` is that of its value, and takes an amount."""

    def _metric_init(self) -> None:
        super()._metric_init()
        self.inc = self._value.inc  # type: ignore[method-assign]


class QuickHistogram(Histogram):
    """A histogram; what is observed has labels."""

    def observe(self, amount: float, exemplar: Mapping[str, str] | None = None) -> None:
        """Count an amount."""
        self._sum.inc(amount)
        self._buckets[bisect_left(self._upper_bounds, amount)].inc(1)
