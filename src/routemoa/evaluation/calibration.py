"""How well stated probabilities agree with what came true, in bins of equal width. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from routemoa.core.learned.intervals import wilson_interval

__all__ = ["CONFIDENCE_BINS", "Calibration", "ConfidenceBin", "calibrate_pairs"]

CONFIDENCE_BINS = 10


class ConfidenceBin(Struct, frozen=True):
    """Answers of about the same confidence."""

    low: float
    high: float
    n: int
    confidence: float
    """Mean stated confidence."""
    right: float
    """Mean score."""
    ci95: tuple[float, float]
    """Of `right`."""


class Calibration(Struct, frozen=True):
    """How well stated confidences agree with scores."""

    n: int
    ece: float
    """Expected calibration error: the mean distance between confidence and score of a bin, weighted by its answers."""
    brier: float
    bins: tuple[ConfidenceBin, ...]


def calibrate_pairs(pairs: Sequence[tuple[float, float]]) -> Calibration | None:
    """Measure pairs of a stated probability and a score, both in [0, 1]; None where there are none."""
    if not pairs:
        return None
    groups: dict[int, list[tuple[float, float]]] = {}
    for confidence, right in pairs:
        number = max(0, min(CONFIDENCE_BINS - 1, int(confidence * CONFIDENCE_BINS)))
        groups.setdefault(number, []).append((confidence, right))
    bins = tuple(_make_bin(number, groups[number]) for number in sorted(groups))
    ece = sum(b.n * abs(b.confidence - b.right) for b in bins) / len(pairs)
    brier = sum((confidence - right) ** 2 for confidence, right in pairs) / len(pairs)
    return Calibration(len(pairs), ece, brier, bins)


def _make_bin(number: int, answers: Sequence[tuple[float, float]]) -> ConfidenceBin:
    n = len(answers)
    right = sum(right for _, right in answers) / n
    confidence = sum(confidence for confidence, _ in answers) / n
    low, high = number / CONFIDENCE_BINS, (number + 1) / CONFIDENCE_BINS
    return ConfidenceBin(low, high, n, confidence, right, wilson_interval(right, n))
