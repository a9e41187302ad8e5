"""Runs commands in the process of the tests: a process of its own takes half a second to start, or more."""

from __future__ import annotations

import os
import sys
import tempfile
import warnings
from collections.abc import Mapping
from contextlib import ExitStack, chdir
from pathlib import Path
from subprocess import CompletedProcess
from unittest.mock import patch

from routemoa.cli import main

__all__ = ["run_in_process"]


def run_in_process(
    *words: str, stdin: str = "", folder: Path | None = None, environment: Mapping[str, str] | None = None
) -> CompletedProcess[str]:
    """Run a command that reads a pipe and writes files, as `subprocess.run` would; not within an event loop.

    Args:
        words: of the command.
        stdin: what it reads, a few kilobytes at most.
        folder: in which it runs.
        environment: that it sees; by default that of the tests.
    """
    reading, writing = os.pipe()
    os.write(writing, stdin.encode())
    os.close(writing)
    code: object = 0
    with ExitStack() as stack:
        out, err = (stack.enter_context(tempfile.TemporaryFile("w+", encoding="utf-8")) for _ in range(2))
        given = stack.enter_context(open(reading, encoding="utf-8"))
        with ExitStack() as within:
            for name, stream in (("stdin", given), ("stdout", out), ("stderr", err), ("argv", ["routemoa", *words])):
                within.enter_context(patch.object(sys, name, stream))
            within.enter_context(patch("click.core._detect_program_name", return_value="routemoa"))
            within.enter_context(patch.dict(os.environ, environment or {}, clear=environment is not None))
            within.enter_context(chdir(folder or Path.cwd()))
            within.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")
            try:
                main()
            except SystemExit as e:
                code = e.code or 0
        out.seek(0)
        err.seek(0)
        return CompletedProcess(words, code if isinstance(code, int) else 1, out.read(), err.read())
