"""Patterns that are compiled when they are first used."""

from __future__ import annotations

import re

import pytest

from routemoa.core.text.late_pattern import compile_late


def test_matches_as_a_compiled_pattern_does() -> None:
    pattern = compile_late(r"(\w+) WORLD", re.IGNORECASE)
    assert pattern.pattern == r"(\w+) WORLD"
    assert (match := pattern.match("hello world")) is not None
    assert match[1] == "hello"
    assert pattern.sub("x", "hello world") == "x"
    assert pattern.groups == 1


def test_compiles_at_the_first_use() -> None:
    pattern = compile_late("(")
    with pytest.raises(re.error):
        pattern.search("")
