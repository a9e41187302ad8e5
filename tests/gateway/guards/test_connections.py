"""The caps on connections: who makes room for whom."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routemoa.gateway.guards.connections import MAX_LINGERING, ConnectionRegistry, caller_address


class Fake:
    def __init__(self, address: str = "a") -> None:
        self.address = address
        self.evicted = False

    def evict(self) -> None:
        self.evicted = True

    def check_deadlines(self, now: float) -> None: ...


def test_the_longest_waiting_makes_room() -> None:
    registry = ConnectionRegistry(2, 2)
    first, second, third, fourth = (Fake() for _ in range(4))
    assert registry.admit(first)
    assert registry.admit(second)
    registry.set_busy(first)
    registry.set_waiting(first)  # it has waited for less time than the second one now
    assert registry.admit(third)
    assert [c.evicted for c in (first, second)] == [False, True]
    registry.set_busy(first)
    registry.set_busy(third)
    assert not registry.admit(fourth)
    registry.remove(first)
    assert registry.admit(fourth)


def test_one_address_makes_room_for_itself_alone() -> None:
    registry = ConnectionRegistry(10, 2)
    other, first, second, third = Fake("b"), Fake(), Fake(), Fake()
    for connection in (other, first, second):
        assert registry.admit(connection)
    assert registry.admit(third)
    assert first.evicted
    assert not other.evicted
    registry.set_busy(second)
    registry.set_busy(third)
    assert not registry.admit(Fake())
    assert registry.admit(Fake("b"))


def test_few_may_stay_to_be_told_why_and_the_oldest_goes_first() -> None:
    registry = ConnectionRegistry(1, 1)
    refused = [Fake() for _ in range(MAX_LINGERING + 3)]
    for connection in refused[:MAX_LINGERING]:
        registry.linger(connection)
    assert not any(c.evicted for c in refused)
    registry.remove(refused[0])
    for connection in refused[MAX_LINGERING:]:
        registry.linger(connection)
    assert [c.evicted for c in refused[:4]] == [False, True, True, False]
    assert not any(c.evicted for c in refused[4:])


@given(
    st.lists(st.tuples(st.sampled_from(["open", "busy", "wait", "close"]), st.integers(0, 9), st.sampled_from("ab")))
)
def test_the_caps_hold_whatever_happens(steps: list[tuple[str, int, str]]) -> None:
    registry = ConnectionRegistry(5, 3)
    seen: list[Fake] = []
    for what, index, address in steps:
        if what == "open":
            connection = Fake(address)
            if registry.admit(connection):
                seen.append(connection)
        elif seen:
            connection = seen[index % len(seen)]
            {"busy": registry.set_busy, "wait": registry.set_waiting, "close": registry.remove}[what](connection)
        live = list(registry)
        assert len(live) == len(registry) <= 5
        assert all(sum(c.address == a for c in live) <= 3 for a in "ab")
        assert not any(c.evicted for c in live if isinstance(c, Fake))


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:0db8:0001:0002"),
        ("2001:db8:1:2::9", "2001:0db8:0001:0002"),
        ("2001:db8:1:3::9", "2001:0db8:0001:0003"),
        ("fe80::1%eth0", "fe80:0000:0000:0000"),
        ("", ""),
        ("unix", "unix"),
    ],
)
def test_what_counts_as_one_address(host: str, address: str) -> None:
    assert caller_address(host) == address
