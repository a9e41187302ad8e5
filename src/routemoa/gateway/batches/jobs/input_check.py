"""Tells before anything is called that an input is not what a batch takes: a file of other columns, rows of nothing."""

from __future__ import annotations

import msgspec

from routemoa.core.errors import ConfigError
from routemoa.core.files.file_kind import quote_line
from routemoa.core.text.plural import counted
from routemoa.datasets.columns import ALIASES
from routemoa.datasets.input_rows import InputRow
from routemoa.gateway.batches.jobs.row_request import RowError, RowRules, read_head, read_request

__all__ = ["InputCheck"]

MAX_FILES = 3
MAX_KEYS = 12
EXPECTED = f"a row has query (or {', '.join(ALIASES['query'])}), messages, or custom_id and body"


class InputCheck:
    """Looks at the rows of an input, in their order, until one can be asked; and at files without any row.

    Args:
        rules: what rows may ask.
    """

    def __init__(self, rules: RowRules) -> None:
        self._rules = rules
        self._count = 0
        self._reason: str | None = None
        """Why the first row cannot be asked."""
        self._can_ask = False
        self._last_read: str | None = None
        """The last file of which a row was read."""
        self._unread: dict[str, str] = {}
        """Files of which none was, and why."""

    def add(self, row: InputRow) -> None:
        """Look at the next row."""
        self._count += 1
        if row.fault is not None:
            if row.file != self._last_read:
                self._unread.setdefault(row.file, f"{row.place}: {row.fault}")
        elif row.file != self._last_read:
            self._last_read = row.file
            self._unread.pop(row.file, None)
        if self._can_ask or row.fault is not None:
            return
        try:
            read_request(row, self._rules)
            self._can_ask = True
        except RowError as e:
            self._reason = self._reason or f"{row.place}: {e.response.message}{_describe_keys(row)}"

    def finish(self) -> None:
        """Raise ConfigError where a file has no row that can be read, or the input none that can be asked."""
        if self._unread:
            listed = list(self._unread.values())[:MAX_FILES]
            more = len(self._unread) - len(listed)
            others = f"\n  and {counted(more, 'more file')}" if more else ""
            raise ConfigError("\n  ".join(listed) + others)
        if not self._can_ask and self._count:
            raise ConfigError(f"no row can be asked, of {counted(self._count, 'row')}; {self._reason}")


def _describe_keys(row: InputRow) -> str:
    """Return what a row has and what it should have, where it is no request; else nothing."""
    try:
        plain = msgspec.json.decode(row.data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return f"; {EXPECTED}"
    if not isinstance(plain, dict) or read_head(row).is_request or "messages" in plain:
        return ""
    keys = ", ".join(quote_line(key) for key in list(plain)[:MAX_KEYS]) or "nothing"
    return f"; it has {keys}, and {EXPECTED}"
