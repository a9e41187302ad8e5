"""`--engine ray`: connects to a Ray cluster, or starts one on this machine (extra `ray`)."""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any, TypeVar

import click

from routemoa.core.errors import ConfigError, MissingExtra

__all__ = ["connect_ray", "engine_options"]

CONNECT_SECONDS = 5.0
F = TypeVar("F", bound=Callable[..., Any])


def engine_options(command: F) -> F:
    """Add --engine and --address."""
    command = click.option(
        "--address", metavar="ADDRESS", help="Of the Ray cluster, such as auto; else one is started on this machine."
    )(command)
    return click.option(
        "--engine",
        type=click.Choice(["local", "ray"]),
        default="local",
        show_default=True,
        help="Work in this process, or on a Ray cluster (extra ray).",
    )(command)


@contextmanager
def connect_ray(address: str | None) -> Iterator[Any]:
    """Connect to a cluster, or start one on this machine, and leave it at the end; yield the module `ray`.

    Raises:
        MissingExtra: Ray is not installed.
        ConfigError: there is no cluster at the address.
    """
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # no word about accelerators that nothing uses
    try:
        import ray
    except ImportError as e:
        raise MissingExtra("Ray, which runs --engine ray,", "ray") from e
    _check_address(address)
    own: dict[str, Any] = {"include_dashboard": False} if address is None else {}
    try:
        ray.init(address=address or "local", log_to_driver=False, logging_level=logging.ERROR, **own)
    except (ConnectionError, ValueError, RuntimeError) as e:
        reason = str(e).splitlines()[0][:200] if str(e) else type(e).__name__
        raise ConfigError(f"--address {address}: no Ray cluster there: {reason}") from e
    with redirect_stdout(sys.stderr):  # Ray says which workers it lost, also as it ends; output is for the results
        try:
            yield ray
        finally:
            ray.shutdown()


def _check_address(address: str | None) -> None:
    """Raise ConfigError where nothing listens at HOST:PORT: Ray itself would try for minutes."""
    host, _, port = (address or "").removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        return
    try:
        socket.create_connection((host, int(port)), CONNECT_SECONDS).close()
    except OSError as e:
        raise ConfigError(f"--address {address}: no Ray cluster there: {e.strerror or e}") from e
