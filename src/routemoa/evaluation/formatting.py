"""Format figures as text. Unknown figures read "unknown"."""

from __future__ import annotations

import re

from routemoa.core.text.dollars import format_dollars

__all__ = [
    "UNKNOWN",
    "format_change",
    "format_interval",
    "format_measure",
    "format_percent",
    "format_points",
    "format_ratio",
    "format_whole_percent",
    "shorten",
]

UNKNOWN = "unknown"
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")


def format_percent(share: float | None, digits: int = 1) -> str:
    """Format a share: 0.5 is "50.0 %"."""
    return UNKNOWN if share is None else f"{100 * share:.{digits}f} %"


def format_whole_percent(share: float) -> str:
    """Format a share without decimals; shares between 98.5 and 100 % keep one, so that 99.5 % is not 100 %."""
    digits = 1 if 0.985 <= abs(share) < 1 else 0
    return f"{100 * share:.{digits}f} %".replace("-", "−")


def format_points(difference: float) -> str:
    """Format a difference of shares in percentage points, with a sign and without a negative zero."""
    return f"{round(100 * difference, 1) + 0.0:+.1f}".replace("-", "−")


def format_interval(ends: tuple[float, float] | None) -> str:
    """Format an interval of a share in percent; empty where there is none."""
    return "" if ends is None else f"{100 * ends[0]:.1f} to {100 * ends[1]:.1f}"


def format_measure(value: float | None, measure: str = "") -> str:
    """Format a figure in the digits that its measure calls for."""
    if value is None:
        return UNKNOWN
    if measure == "cost":
        return format_dollars(value)
    if measure == "calls":
        return f"{value:.2f}"
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"


def format_ratio(ratio: float) -> str:
    """Format a ratio: 2.5 is "2.50 ×"."""
    return f"{ratio:.2f} ×" if ratio >= 0.1 else f"{ratio:.3f} ×"


def format_change(ratio: float | None) -> str:
    """Format a ratio of two amounts as a change: 1.5 is "+50 %"."""
    if ratio is None:
        return UNKNOWN
    return f"+{100 * (ratio - 1):,.0f} %" if ratio >= 1 else format_whole_percent(ratio - 1)


def shorten(name: str, width: int = 26) -> str:
    """Return a name as a label: one line without control characters, cut where it is long."""
    clean = _CONTROL.sub(" ", name).strip()
    return clean if len(clean) <= width else clean[: width - 1] + "…"
