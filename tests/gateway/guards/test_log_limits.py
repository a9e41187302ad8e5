"""The log stays short, whatever happens how often."""

from __future__ import annotations

import logging
import re
from io import StringIO
from typing import Any

import pytest

from routemoa.core.text.quoted import Quoted
from routemoa.gateway.guards.log_limits import (
    LINES_PER_KIND,
    MAX_KINDS,
    MAX_LINE,
    LineFormatter,
    RedactFilter,
    RepeatFilter,
)
from routemoa.ledger import StoreError


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


# --- words that are not ours


def redacted(format_: str, *arguments: object, error: Exception | None = None) -> str:
    logger = logging.getLogger("test.redacted")
    stream = StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(LineFormatter("%(message)s"))
    handler.addFilter(RedactFilter())
    handler.addFilter(RepeatFilter())
    logger.addHandler(handler)
    logger.propagate = False
    try:
        logger.warning(format_, *arguments, exc_info=error)
    finally:
        logger.removeHandler(handler)
    return stream.getvalue().strip()


def test_a_redacted_log_has_a_brief_reason_in_the_place_of_an_endpoints_words() -> None:
    words = Quoted("HTTP 403: flagged: 'MARK'", "HTTP 403")
    assert str(words) == "HTTP 403: flagged: 'MARK'"
    assert redacted("model %s failed: %s", "a", words) == "model a failed: HTTP 403"
    assert redacted("%d of %s", 3, "b") == "3 of b"
    assert redacted("nothing") == "nothing"


def test_of_an_unexpected_error_a_redacted_log_has_the_type_and_the_place() -> None:
    def fail() -> None:
        raise ValueError("MARK")

    try:
        fail()
    except ValueError as e:
        line = redacted("unexpected error", error=e)
    assert re.fullmatch(r"unexpected error: ValueError; test_log_limits.py:\d+ .+; test_log_limits.py:\d+ fail", line)
    assert redacted("why: %s", ValueError("MARK")) == "why: ValueError"
    assert "x.db" in redacted("why: %s", StoreError("x.db cannot be read"))
