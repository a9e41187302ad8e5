"""Whether the embedded runtime can be loaded on this machine, and what to do where it cannot."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.util import find_spec

from routemoa.core.errors import ConfigError, MissingExtra

__all__ = ["check_runtime", "explain_load_error"]

CHECK_TIMEOUT = 60.0
"""Seconds."""
DEBIAN_PACKAGES = {"libgomp.so.1": "libgomp1", "libstdc++.so.6": "libstdc++6"}
"""System library -> the package that holds it; the wheel of the runtime needs both."""


def check_runtime() -> None:
    """Load the runtime once, in a process of its own: before weights are downloaded for nothing.

    Raises:
        MissingExtra: it is not installed.
        ConfigError: it cannot be loaded here, for example without a system library.
    """
    if find_spec("xllamacpp") is None:
        raise MissingExtra("xllamacpp, which runs local models,", "local")
    command = [sys.executable, "-P", "-c", "import xllamacpp"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=CHECK_TIMEOUT, check=False)  # noqa: S603
    except subprocess.TimeoutExpired:
        return  # a busy machine; loading a model says more
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()] or [f"exit code {done.returncode}"]
        raise ConfigError(f"local models cannot run here: {explain_load_error(lines[-1])}")


def explain_load_error(reason: str) -> str:
    """Return why the runtime did not load, and what to install where a system library is missing."""
    found = re.search(r"(?<![\w.+-])([\w.+-]++): cannot open shared object file", reason)
    if found is None:
        return reason
    package = DEBIAN_PACKAGES.get(found[1])
    how = f"run  apt-get install {package}  (Debian, Ubuntu)" if package else "install it"
    return f"the system library {found[1]} is missing: {how}"
