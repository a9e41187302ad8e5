"""The choice of an endpoint: health, priority, region, load, then the prompt's prefix."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from routemoa.clients.endpoints.placement import EndpointState, choose_endpoint, hash_body_prefix, hash_prefix
from routemoa.core.types import Message

PREFIXES = [f"conversation {i}".encode() for i in range(3000)]


def idle(count: int, **settings: float) -> list[EndpointState]:
    return [EndpointState(f"http://{i}", True, 0, **settings) for i in range(count)]  # type: ignore[arg-type]


states = st.builds(
    EndpointState,
    id=st.text(max_size=3),
    is_ready=st.booleans(),
    running=st.integers(0, 50),
    weight=st.floats(0.1, 10),
    priority=st.integers(0, 3),
    is_far=st.booleans(),
)


@given(st.lists(states, max_size=6), st.one_of(st.none(), st.binary(min_size=16, max_size=16)), st.floats(0, 1))
def test_it_is_ready_and_of_the_first_tier_and_never_much_busier_than_another(
    given_states: list[EndpointState], prefix: bytes | None, share: float
) -> None:
    chosen = choose_endpoint(given_states, prefix, share)
    ready = [s for s in given_states if s.is_ready]
    if chosen is None:
        assert not ready
        return
    state = given_states[chosen]
    tier = min((s.priority, s.is_far) for s in ready)
    assert state.is_ready
    assert (state.priority, state.is_far) == tier
    rivals = [s for s in ready if (s.priority, s.is_far) == tier]
    largest = max(s.weight for s in rivals)
    loads = [s.running * largest / s.weight for s in rivals]
    margin = (1.25 * min(loads) + 2.0) if prefix is not None else min(loads) + largest / state.weight
    assert state.running * largest / state.weight <= margin * (1 + 1e-9)


def test_a_conversation_stays_and_conversations_spread_by_weight() -> None:
    endpoints = idle(3)
    endpoints[2] = replace(endpoints[2], weight=2.0)
    found = [choose_endpoint(endpoints, p, 0.0) for p in PREFIXES]
    assert found == [choose_endpoint(endpoints, p, 0.9) for p in PREFIXES]  # no chance, on any replica
    counts = Counter(found)
    assert counts[2] == pytest.approx(1500, abs=120)
    assert counts[0] == pytest.approx(750, abs=90)


def test_only_the_conversations_of_an_endpoint_that_fails_move() -> None:
    endpoints = idle(4)
    before = {p: choose_endpoint(endpoints, p, 0.0) for p in PREFIXES}
    endpoints[1] = replace(endpoints[1], is_ready=False)
    after = {p: choose_endpoint(endpoints, p, 0.0) for p in PREFIXES}
    assert all(after[p] == place for p, place in before.items() if place != 1)
    assert set(Counter(after[p] for p, place in before.items() if place == 1)) == {0, 2, 3}


def test_a_busy_endpoint_loses_its_conversations_to_the_others() -> None:
    endpoints = idle(2)
    own = next(p for p in PREFIXES if choose_endpoint(endpoints, p, 0.0) == 0)
    at = [choose_endpoint([replace(endpoints[0], running=n), endpoints[1]], own, 0.0) for n in range(5)]
    assert at == [0, 0, 0, 1, 1]
    busy = replace(endpoints[1], running=40)
    at_load = [choose_endpoint([replace(endpoints[0], running=n), busy], own, 0.0) for n in (40, 52, 53)]
    assert at_load == [0, 0, 1]


def test_without_a_prefix_the_least_busy_one_takes_the_call() -> None:
    a, b, c = idle(3)
    assert choose_endpoint([replace(a, running=1), b, c], None, 0.0) == 1
    assert choose_endpoint([replace(a, running=1), b, c], None, 0.99) == 2
    assert choose_endpoint([replace(a, weight=4.0, running=2), b], None, 0.5) == 0  # 3 of 4 against 1 of 1


def test_the_prefix_of_a_prompt_stays_as_the_conversation_goes_on() -> None:
    first = [Message("system", "Be brief."), Message("user", "Hi")]
    later = [*first, Message("assistant", "Hello."), Message("user", "And now?")]
    assert hash_prefix(first) == hash_prefix(later)
    assert hash_prefix(first) != hash_prefix([first[0], Message("user", "Hey")])
    assert hash_prefix(first) != hash_prefix([Message("system", "Be brief.Hi"), Message("user", "")])
    assert hash_prefix([]) is hash_prefix([Message("user", "")]) is None
    assert hash_prefix([Message("user", "x" * 10**6)]) == hash_prefix([Message("user", "x" * 2 * 10**6)])  # bounded


@pytest.mark.parametrize(
    "body",
    [{}, {"messages": "x"}, {"messages": [1, None, []]}, {"messages": [{"role": 1, "content": {}}]}, {"input": "x"}],
    ids=["none", "text", "no messages", "odd", "embeddings"],
)
def test_a_body_that_is_no_chat_has_no_prefix(body: dict[str, object]) -> None:
    assert hash_body_prefix(body) is None


def test_a_body_has_the_prefix_of_its_messages() -> None:
    parts = [{"type": "text", "text": "Hi"}, {"type": "image_url", "image_url": {"url": "data:,"}}]
    body = {"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": parts}]}
    assert hash_body_prefix(body) == hash_prefix([Message("system", "Be brief."), Message("user", "Hi")])
    assert hash_body_prefix({"messages": [{"role": "user", "content": [{"text": "\ud800"}]}]}) is not None
