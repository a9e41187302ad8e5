"""Patterns that are compiled when they are first used."""

from __future__ import annotations

import importlib
import pkgutil
import re

import pytest

from routemoa.core.text import late_pattern
from routemoa.core.text.late_pattern import compile_late
from routemoa.judging.answers import language


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


def test_all_patterns_of_languages_can_be_compiled() -> None:
    modules = [
        importlib.import_module(f"{language.__name__}.{m.name}") for m in pkgutil.iter_modules(language.__path__)
    ]
    late = [value for m in modules for value in vars(m).values() if isinstance(value, late_pattern._LatePattern)]
    assert len(late) > 50
    for pattern in late:
        assert pattern.flags & re.UNICODE
