"""JSON of others: bounded, and readable where it holds half a character."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from routemoa.core.text.json_bounds import TooManyValues, count_containers, decode_bounded


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b'{"a": "b\\ud800"}', {"a": "b\ufffd"}),
        (b'["\\uDC00", {"\\ud83d": 1}]', ["\ufffd", {"\ufffd": 1}]),
        (b'"\\ud83d\\ude00"', "😀"),
        (b'\xef\xbb\xbf{"a": 1}', {"a": 1}),
        (b'"\\\\ud800"', "\\ud800"),
    ],
)
def test_half_a_character_and_a_mark_are_no_fault(data: bytes, value: Any) -> None:
    assert decode_bounded(data) == value


@pytest.mark.parametrize("data", [b'{"a": NaN, "b": "\\ud800"}', b'"\\ud800', b"{", b'{"a": "\\ud800",}', b"\xff\xfe{"])
def test_what_is_no_json_is_told(data: bytes) -> None:
    with pytest.raises((msgspec.DecodeError, UnicodeDecodeError)):
        decode_bounded(data)


def test_brackets_are_counted_outside_strings() -> None:
    assert count_containers(b'["[[[[", {"a": "{"}]', 2) == 2
    with pytest.raises(TooManyValues):
        decode_bounded(b"[" + b"[]," * 50 + b"1]", 10)
    with pytest.raises(RecursionError):
        decode_bounded(b'["\\ud800",' + b"[" * 100_000 + b"]" * 100_001)
