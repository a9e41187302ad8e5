"""Regular expressions that are compiled when they are first used: a process that starts needs few of a large set.

GREETING = compile_late(r"hello|hallo|bonjour", re.IGNORECASE)
GREETING.match(text)  # compiles it, once
"""

from __future__ import annotations

import re
from typing import Any, cast

__all__ = ["LatePattern", "compile_late"]

METHODS = ("match", "fullmatch", "search", "finditer", "findall", "sub", "split")


def compile_late(pattern: str, flags: int = 0) -> re.Pattern[str]:
    """Return what matches as `re.compile` does; what is wrong with a pattern is said at its first use."""
    return cast("re.Pattern[str]", LatePattern(pattern, flags))


class LatePattern:
    """A pattern that stands for what `re.compile` returns."""

    def __init__(self, pattern: str, flags: int) -> None:
        self.pattern = pattern
        self._flags = flags

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        compiled = re.compile(self.pattern, self._flags)
        self.__dict__ |= {method: getattr(compiled, method) for method in METHODS}  # found without this one from now on
        return getattr(compiled, name)
