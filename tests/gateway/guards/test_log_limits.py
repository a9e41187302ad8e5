"""The log stays short, whatever happens how often."""

from __future__ import annotations

import logging
from io import StringIO
from typing import Any

import pytest

from routemoa.gateway.guards.log_limits import LINES_PER_KIND, MAX_KINDS, MAX_LINE, LineFormatter, RepeatFilter


class Log:
    def __init__(self) -> None:
        self.now = 0.0
        self.out = StringIO()
        handler = logging.StreamHandler(self.out)
        handler.setFormatter(LineFormatter("%(levelname)s %(message)s"))
        handler.addFilter(RepeatFilter(lambda: self.now))
        self.logger = logging.Logger("test")
        self.logger.addHandler(handler)

    @property
    def lines(self) -> list[str]:
        return self.out.getvalue().splitlines()


def test_lines_of_one_kind_are_counted_not_repeated() -> None:
    log = Log()
    for number in range(1000):
        log.logger.warning("model %s failed", number)
    assert len(log.lines) == LINES_PER_KIND
    assert log.lines[0] == "WARNING model 0 failed"
    assert "left out" in log.lines[-1]
    log.logger.warning("something else")
    assert log.lines[-1] == "WARNING something else"
    log.now = 61.0
    log.logger.warning("model %s failed", "last")
    assert log.lines[-1] == f"WARNING model last failed ({1000 - LINES_PER_KIND} more lines like this were left out)"


def test_what_was_asked_for_is_not_limited() -> None:
    log = Log()
    for _ in range(100):
        log.logger.info("a request")
    assert len(log.lines) == 100


def test_endless_kinds_take_no_endless_memory() -> None:
    log = Log()
    filters = log.logger.handlers[0].filters[0]
    assert isinstance(filters, RepeatFilter)
    for number in range(3 * MAX_KINDS):
        log.logger.warning(f"kind {number}")
    assert len(filters._kinds) <= MAX_KINDS


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a\nb", "a\\nb"),
        ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        ("a\r\n2026-01-01 ERROR forged", "a\\r\\n2026-01-01 ERROR forged"),
        ("\u202eright to left", "\\u202eright to left"),
        ("\ud800", "\\ud800"),
        ("日本語 ü", "日本語 ü"),
        ("\x00\x7f\x9b", "\\x00\\x7f\\x9b"),
        ("tab\there", "tab\\there"),
        ("\u2028", "\\u2028"),
        ("", ""),
    ],
)
def test_a_line_is_one_line(text: str, line: str) -> None:
    log = Log()
    log.logger.warning("%s", text)
    assert log.out.getvalue() == f"WARNING {line}\n"


def test_a_long_line_is_cut() -> None:
    log = Log()
    log.logger.warning("%s", "x" * 10**6)
    assert len(log.out.getvalue()) < MAX_LINE + 100


def test_a_traceback_follows_and_is_bounded() -> None:
    log = Log()

    def deep(left: int) -> Any:
        return deep(left - 1) if left else 1 / 0

    try:
        deep(50)
    except ZeroDivisionError:
        log.logger.exception("a fault")
    try:
        raise ValueError("x" * 10**6)
    except ValueError:
        log.logger.exception("a long fault")
    assert "ZeroDivisionError" in log.out.getvalue()
    assert len(log.out.getvalue()) < 60_000
