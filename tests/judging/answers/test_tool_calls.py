"""Which sets of calls, and which values, are one answer."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routemoa.core.tools import ToolCall
from routemoa.judging.answers.json_answers import bare_json, group_json, without_doubled_keys
from routemoa.judging.answers.tool_calls import canonical_calls, group_calls

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
ARGUMENTS = st.dictionaries(st.text("abc", min_size=1, max_size=3), VALUES, max_size=3)


def shuffled(value: Any) -> Any:
    """The same JSON value, written otherwise."""
    if isinstance(value, dict):
        return {k: shuffled(v) for k, v in reversed(value.items())}
    if isinstance(value, list):
        return [shuffled(v) for v in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


@given(st.lists(st.tuples(st.sampled_from("fgh"), ARGUMENTS), max_size=4), st.randoms())
def test_the_form_of_json_makes_no_difference(calls: list[tuple[str, dict[str, Any]]], rng: Any) -> None:
    one = [ToolCall(name, json.dumps(arguments), "x") for name, arguments in calls]
    other = [ToolCall(f" {name} ", json.dumps(shuffled(a), indent=2), "y") for name, a in calls]
    rng.shuffle(other)
    assert canonical_calls(one) == canonical_calls(other)


@given(st.lists(st.tuples(st.sampled_from("fgh"), ARGUMENTS), max_size=3), st.sampled_from("fgh"), ARGUMENTS)
def test_one_more_call_is_another_answer(calls: list[tuple[str, dict[str, Any]]], name: str, more: Any) -> None:
    made = [ToolCall(n, json.dumps(a)) for n, a in calls]
    assert canonical_calls(made) != canonical_calls([*made, ToolCall(name, json.dumps(more))])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ('{"a": 1}', '{"a": "1"}'),
        ('{"a": 1}', '{"a": true}'),
        ('{"a": 0}', '{"a": false}'),
        ('{"a": []}', '{"a": null}'),
        ('{"a": [1, 2]}', '{"a": [2, 1]}'),
        ('{"a": "x y"}', '{"a": "xy"}'),
        ("{}", '{"a": null}'),
    ],
)
def test_other_values_are_other_answers(one: str, other: str) -> None:
    assert canonical_calls([ToolCall("f", one)]) != canonical_calls([ToolCall("f", other)])
    assert group_json([one, other]).group_of == (0, 1)


def test_no_call_is_a_group() -> None:
    call = ToolCall("f", "{}")
    groups = group_calls([(), (call,), (), (call, call)])
    assert groups.group_of == (0, 1, 0, 2)
    assert groups.closed


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('```json\n{"a": 1}\n```', '{"a": 1}'),
        ('```\n{"a": 1}\n```\n', '{"a": 1}'),
        (' {"a": "```"} ', '{"a": "```"}'),
        ('Here it is: {"a": 1}', 'Here it is: {"a": 1}'),
        ("```json\n```", "```json\n```"),
        ('```json {"a": 1}```', '{"a": 1}'),
        ('Sure!\n```json\n{"a": 1}\n```\nAnything else?', '{"a": 1}'),
        ('\ufeff{"a": 1}', '{"a": 1}'),
        ('```json\n{"a": "```"}\n```', '{"a": "```"}'),
    ],
)
def test_a_fence_around_json_is_left_out(text: str, found: str) -> None:
    assert bare_json(text) == found


def test_prose_in_values_is_open() -> None:
    """Texts that no other answer repeats word for word confirm nothing."""
    essay = json.dumps({"text": "one two three four five six seven eight nine ten eleven twelve thirteen"})
    assert not group_json([essay, essay.replace("one", "none")]).closed
    assert group_json(['{"text": "one two"}', essay]).closed


def test_doubled_keys_leave_as_they_were_checked() -> None:
    assert without_doubled_keys('{"a": 3, "b": {"c": 1, "c": 2}, "a": "x"}') == '{"a":"x","b":{"c":2}}'
    assert without_doubled_keys('{"a": {"b": 1},  "b": 1.0}') == '{"a": {"b": 1},  "b": 1.0}'
