"""Laws of the cost dial: the hull is convex and below every point, a mix reaches what was asked, draws are even."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routemoa.core.errors import ConfigError
from routemoa.core.learned.cost_dial import Dial, Mix, Point, draw_from_text, find_hull, mix_points

SHARES = st.floats(0.001, 3.0).map(lambda x: round(x, 3))
POINTS = st.lists(st.builds(Point, cost=SHARES, quality=SHARES), min_size=1, max_size=30)


@given(POINTS)
def test_the_hull_rises_ever_slower_and_no_point_beats_it(points: list[Point]) -> None:
    hull = find_hull(points)
    assert set(hull) <= set(points)
    slopes = [(b.quality - a.quality) / (b.cost - a.cost) for a, b in pairwise(hull)]
    assert all(b.cost > a.cost and b.quality > a.quality for a, b in pairwise(hull))
    assert all(later < earlier for earlier, later in pairwise(slopes))
    for point in points:
        mixed = mix_points(hull, Dial(quality=point.quality)).average(hull)
        assert mixed.cost <= point.cost + 1e-9
        assert mixed.quality >= point.quality - 1e-9


@given(POINTS, st.randoms())
def test_the_hull_does_not_depend_on_the_order(points: list[Point], random: object) -> None:
    shuffled = list(points)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert find_hull(shuffled) == find_hull(points)


@given(POINTS, SHARES)
def test_a_mix_reaches_what_was_asked_for_or_ends_at_an_end(points: list[Point], wanted: float) -> None:
    hull = find_hull(points)
    for dial, values, name in (
        (Dial(quality=wanted), [p.quality for p in hull], "quality"),
        (Dial(cost=wanted), [p.cost for p in hull], "cost"),
    ):
        mix = mix_points(hull, dial)
        assert 0 <= mix.low <= mix.high < len(hull)
        assert mix.high - mix.low <= 1
        assert 0 <= mix.share <= 1
        reached = getattr(mix.average(hull), name)
        assert reached == pytest.approx(min(max(wanted, values[0]), values[-1]))


@given(POINTS, st.lists(SHARES, min_size=2, max_size=8))
def test_more_quality_never_costs_less(points: list[Point], levels: list[float]) -> None:
    hull = find_hull(points)
    costs = [mix_points(hull, Dial(quality=level)).average(hull).cost for level in sorted(levels)]
    assert costs == pytest.approx(sorted(costs))


@given(st.text())
def test_a_text_always_draws_the_same_number(text: str) -> None:
    assert 0 <= draw_from_text(text) < 1
    assert draw_from_text(text) == draw_from_text(text)


def test_draws_of_known_texts_never_change() -> None:
    """A policy file in use keeps its queries where they are, on every machine and in every version."""
    assert draw_from_text("Why is the sky blue?") == 0.4930668973601572
    assert draw_from_text("") == 0.8931675160897388


@pytest.mark.parametrize("share", [0.0, 0.07, 0.31, 0.5, 0.93, 1.0])
def test_shares_of_queries_are_kept(share: float) -> None:
    n = 4000
    mix = Mix(0, 1, share)
    taken = sum(mix.choose(draw_from_text(f"What is {i} + {i * 7}?")) for i in range(n)) / n
    assert abs(taken - share) <= 4 * (share * (1 - share) / n) ** 0.5


def test_a_dearer_dial_moves_no_query_back() -> None:
    """A query that takes the dearer point at some share takes it at every larger share."""
    draws = [draw_from_text(f"question {i}") for i in range(200)]
    taken = [{i for i, d in enumerate(draws) if Mix(0, 1, share).choose(d)} for share in (0.1, 0.4, 0.8)]
    assert taken[0] < taken[1] < taken[2]


@pytest.mark.parametrize("dial", [Dial(), Dial(0.9, 0.3), Dial(quality=0.0), Dial(cost=-1.0), Dial(cost=float("nan"))])
def test_a_wrong_dial_is_explained(dial: Dial) -> None:
    with pytest.raises(ConfigError, match=r"pool.toml: prefer"):
        dial.check("pool.toml: prefer")
