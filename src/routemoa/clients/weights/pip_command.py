"""Find a command that runs pip. Environments made by `uv` and by `pipx` hold none, and one is enough on the machine."""

from __future__ import annotations

import importlib.util
import shutil
import sys
import sysconfig
from pathlib import Path

from routemoa.clients.weights import FetchError

__all__ = ["find_pip"]


def find_pip() -> tuple[str, ...]:
    """Return a command that runs pip: that of this environment, of its Python, of the PATH, or the one that uv brings.

    pip only downloads here, with its own configuration of index, proxy and certificates; nothing is installed.

    Raises:
        FetchError: there is none on this machine.
    """
    if importlib.util.find_spec("pip") is not None:
        return (sys.executable, "-m", "pip")
    if (bundled := _find_bundled()) is not None:
        return (sys.executable, str(bundled / "pip"))  # a wheel is a zip file, and Python runs those
    for name in ("pip3", "pip"):
        if (program := shutil.which(name)) is not None:
            return (program,)
    if (uv := shutil.which("uv")) is not None:
        return (uv, "tool", "run", "pip")
    raise FetchError(
        f"no pip was found: not in {sys.executable}, not in its ensurepip, not on the PATH, and no uv; install one of "
        "them, such as  apt install python3-pip"
    )


def _find_bundled() -> Path | None:
    """Return the wheel of pip that Python's `ensurepip` would install; distributions keep it in a folder of theirs."""
    spec = importlib.util.find_spec("ensurepip")
    folders = [Path(spec.origin).parent / "_bundled"] if spec and spec.origin else []
    if own := sysconfig.get_config_var("WHEEL_PKG_DIR"):
        folders.append(Path(own))
    wheels = [wheel for folder in folders for wheel in sorted(folder.glob("pip-*.whl"))]
    return wheels[-1] if wheels else None
