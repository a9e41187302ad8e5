"""Runs a command in a pseudo-terminal, as a person would, and reads what appears."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from contextlib import suppress
from types import TracebackType

COMMAND = """\
import fcntl, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # Ctrl-C reaches it
from routemoa.cli import main
main()
"""
SEQUENCE = re.compile(r"\x1b\[([0-?]*)[ -/]*([@-~])|\x1b\][^\x07]*\x07|\x1b[=>()78][0AB]?|(.)", re.DOTALL)


class PseudoTerminal:
    """A command that believes it talks to a person. Use it in a `with` block; leaving it kills the command.

    Args:
        arguments: of `routemoa`.
        columns: characters of a line.
        env: added to the environment.
    """

    def __init__(self, *arguments: str, columns: int = 80, **env: str) -> None:
        self._columns = columns
        self._primary, secondary = pty.openpty()
        fcntl.ioctl(secondary, termios.TIOCSWINSZ, struct.pack("HHHH", 30, columns, 0, 0))
        environment = {
            k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES", "ROUTEMOA_POOL", "NO_COLOR")
        }
        self._process = subprocess.Popen(
            [sys.executable, "-c", COMMAND, *arguments],
            stdin=secondary,
            stdout=secondary,
            stderr=secondary,
            env={**environment, "TERM": "xterm-256color", "PROMPT_TOOLKIT_NO_CPR": "1", **env},
            start_new_session=True,
        )
        os.close(secondary)
        self.raw = ""
        """Everything that appeared so far, with its escape sequences."""
        self._seen = 0

    def __enter__(self) -> PseudoTerminal:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        with suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGKILL)
        self._process.wait(10)
        os.close(self._primary)

    @property
    def text(self) -> str:
        """Everything that appeared so far, without escape sequences."""
        return SEQUENCE.sub(lambda m: "" if m[3] in (None, "\r", "\b", "\a") else m[3], self.raw)

    @property
    def screen(self) -> list[str]:
        """The lines as they stand now, those that have scrolled away included."""
        return render(self.raw, self._columns)

    def send(self, keys: str) -> None:
        """Press keys; "\\x03" is Ctrl-C, "\\x04" is Ctrl-D, "\\r" is Enter."""
        os.write(self._primary, keys.encode())

    def wait_for(self, words: str, seconds: float = 30.0) -> None:
        """Wait until words appear after those that were waited for before."""
        end = time.monotonic() + seconds
        while words not in (new := self.text[self._seen :]):
            if time.monotonic() > end or not self._read(0.1):
                raise AssertionError(f"{words!r} did not appear in {new!r}")
        self._seen += new.index(words) + len(words)

    def wait_for_exit(self, seconds: float = 30.0) -> int:
        """Wait for the end of the command and return its exit code."""
        end = time.monotonic() + seconds
        while self._read(0.1):
            if time.monotonic() > end:
                raise AssertionError(f"it did not end: {self.text[-500:]!r}")
        return self._process.wait(max(1.0, end - time.monotonic()))

    def _read(self, seconds: float) -> bool:
        """Read what is there; return False once the command has closed the terminal."""
        if not select.select([self._primary], [], [], seconds)[0]:
            return True
        try:
            data = os.read(self._primary, 65536)
        except OSError:  # Linux: the other side is closed
            return False
        self.raw += data.decode("utf-8", "replace")
        return bool(data)


def render(raw: str, columns: int) -> list[str]:
    """Return the lines that a terminal would show after this output: text, cursor movements and erasing."""
    lines: list[list[str]] = [[]]
    row = column = 0
    for found in SEQUENCE.finditer(raw):
        parameters, kind, character = found.groups()
        count = int(parameters) if parameters and parameters.isdigit() else 1
        match kind or character:
            case "\n":
                row += 1
            case "\r":
                column = 0
            case "\b":
                column = max(0, column - 1)
            case "A" if kind:
                row = max(0, row - count)
            case "G" if kind:
                column = count - 1
            case "C" if kind:
                column += count
            case "D" if kind:
                column = max(0, column - count)
            case "K" if kind:
                del lines[row][0 if parameters == "2" else column :]
            case "J" if kind:
                del lines[row][column:], lines[row + 1 :]
        if character and character not in "\r\n\b\a":
            if column == columns:
                row, column = row + 1, 0
                if row == len(lines):
                    lines.append([])
            lines[row] += " " * (column + 1 - len(lines[row]))
            lines[row][column] = character
            column += 1
        while row >= len(lines):
            lines.append([])
    return ["".join(line).rstrip() for line in lines]
