"""The cost dial: points of quality and cost, their hull, and neighbours mixed by a hash of the query. Pure.

Both measures are shares of the best single model's. On the hull more cost buys more quality, at a falling rate; between
two of its points a share of the queries takes the dearer one, so that any quality in between can be had on average.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from typing import TypeVar

from msgspec import Struct

from routemoa.core.errors import ConfigError

__all__ = ["Dial", "Mix", "Point", "draw_from_text", "find_hull", "mix_points"]

LARGEST_SHARE = 5.0
"""What is asked for is below it: panels may cost several times the best single model, and percents are no shares."""


class Dial(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What the user asks for: one of both."""

    quality: float | None = None
    """The share of the best single model's accuracy that is to be kept."""
    cost: float | None = None
    """The share of its cost that may be spent."""

    def __str__(self) -> str:
        return f"quality = {self.quality:g}" if self.quality is not None else f"cost = {self.cost:g}"

    def check(self, where: str) -> None:
        """Check that one of both is given, and within bounds. Raises ConfigError."""
        given = [value for value in (self.quality, self.cost) if value is not None]
        if len(given) != 1:
            raise ConfigError(f"{where}: give one of both: {{quality = 0.97}} or {{cost = 0.3}}")
        if not 0 < given[0] < LARGEST_SHARE:
            percent = f", such as {given[0] / 100:g}" if LARGEST_SHARE <= given[0] <= 100 else ""
            raise ConfigError(f"{where}: {self} is out of range; it is a share of the best single model's{percent}")


class Point(Struct, frozen=True):
    """What a way to answer reaches, as shares of the best single model's."""

    cost: float
    quality: float


P = TypeVar("P", bound=Point)


class Mix(Struct, frozen=True):
    """Two points of a hull, given by their places, and the share of the queries that takes the dearer one."""

    low: int
    high: int
    share: float

    def choose(self, draw: float) -> int:
        """Return the place of the point for a query whose text draws a number in [0, 1)."""
        return self.high if draw < self.share else self.low

    def average(self, points: Sequence[Point]) -> Point:
        """Return what the mix reaches on average."""
        low, high = points[self.low], points[self.high]
        return Point(
            low.cost + self.share * (high.cost - low.cost), low.quality + self.share * (high.quality - low.quality)
        )


def find_hull(points: Sequence[P]) -> list[P]:
    """Return the points of the lower convex hull of cost over quality, from cheap to dear.

    Cost and quality rise strictly, and what a further piece of quality costs rises, too: no mix of points reaches the
    quality of one of them at a lower cost.
    """
    hull: list[P] = []
    for point in sorted(points, key=lambda p: (p.cost, -p.quality)):
        if hull and point.quality <= hull[-1].quality:
            continue
        while len(hull) > 1 and _is_above(hull[-2], hull[-1], point):
            hull.pop()
        hull.append(point)
    return hull


def mix_points(hull: Sequence[Point], dial: Dial) -> Mix:
    """Return the cheapest mix that keeps the quality, or the best one within the cost.

    A quality below the cheapest point's takes that point. One above the best point's is not reached: its mix is the
    best point alone, as is a cost above its; so is the cheapest point for a cost below all.
    """
    values = [p.cost if dial.quality is None else p.quality for p in hull]
    wanted = dial.cost if dial.quality is None else dial.quality
    above = next((i for i, value in enumerate(values) if wanted is not None and value >= wanted), None)
    if above is None or wanted is None:
        return Mix(len(hull) - 1, len(hull) - 1, 0.0)
    if above == 0:
        return Mix(0, 0, 0.0)
    width = values[above] - values[above - 1]
    return Mix(above - 1, above, (wanted - values[above - 1]) / width)


def draw_from_text(text: str) -> float:
    """Return a number in [0, 1) that follows from a query's text alone, evenly spread over texts."""
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    number: int = struct.unpack(">Q", digest)[0]
    return (number >> 11) / (1 << 53)


def _is_above(left: Point, middle: Point, right: Point) -> bool:
    """Return whether the middle point is on or below the line of quality from left to right."""
    rise = (right.quality - left.quality) * (middle.cost - left.cost)
    return (middle.quality - left.quality) * (right.cost - left.cost) <= rise
