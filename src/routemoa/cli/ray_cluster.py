"""`--engine ray`: connects to a Ray cluster, or starts one on this machine (extra `ray`), and works on tasks there."""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from typing import Any, TypeVar

import click

from routemoa.core.errors import ConfigError, MissingExtra, RouteMoAError
from routemoa.core.system.task_engine import LocalEngine, TaskEngine

__all__ = ["RayEngine", "connect_ray", "count_threads", "engine_options", "leave_out_engine", "open_engine", "reraise"]

CONNECT_SECONDS = 5.0
HTTP2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\x04\0\0\0\0\0"
"""How a caller of HTTP/2, which Ray speaks, begins: the server sends such settings, too."""
ENGINE_OPTIONS = ("--engine", "--address")
ENGINE_PREFIXES = tuple(f"{name}=" for name in ENGINE_OPTIONS)
F = TypeVar("F", bound=Callable[..., Any])
Shared = TypeVar("Shared")
Job = TypeVar("Job")
Result = TypeVar("Result")


def engine_options(command: F) -> F:
    """Add --engine and --address."""
    command = click.option(
        "--address",
        metavar="ADDRESS",
        callback=_check_use,
        help="Of the Ray cluster, such as auto; else one is started on this machine.",
    )(command)
    return click.option(
        "--engine",
        type=click.Choice(["local", "ray"]),
        default="local",
        show_default=True,
        is_eager=True,  # `_check_use` reads it
        help="Work in this process, or on a Ray cluster (extra ray).",
    )(command)


def _check_use(context: click.Context, parameter: click.Parameter, address: str | None) -> str | None:
    """Return the address. Raises UsageError where nothing would use it."""
    if address is not None and context.params["engine"] == "local":
        raise click.UsageError("--address is that of a Ray cluster; add --engine ray")
    return address


def leave_out_engine(arguments: Sequence[str]) -> list[str]:
    """Return the arguments of a command without these options: what it writes does not depend on them."""
    kept: list[str] = []
    skips_value = False
    for argument in arguments:
        if not skips_value and argument not in ENGINE_OPTIONS and not argument.startswith(ENGINE_PREFIXES):
            kept.append(argument)
        skips_value = not skips_value and argument in ENGINE_OPTIONS
    return kept


class RayEngine:
    """A `TaskEngine` on a cluster: each job is a task, which Ray repeats where its worker is lost.

    Args:
        ray: the module, connected.
        threads: of numpy's arithmetic in a task. Sums depend on it in their last bits, so it is to be that of the
            local engine where the bytes are to be the same.
    """

    def __init__(self, ray: Any, threads: int = 1) -> None:
        self._ray, self._threads = ray, threads

    def map(self, work: Callable[[Shared, Job], Result], shared: Shared, jobs: Sequence[Job]) -> Iterator[Result]:
        """Yield `work(shared, job)` for each job, in their order."""
        if len(jobs) < 2:
            yield from LocalEngine().map(work, shared, jobs)
            return
        options: dict[str, Any] = {"num_cpus": self._count_cpus(), "max_retries": -1}
        if self._threads > 1:
            options["runtime_env"] = {"env_vars": {"OPENBLAS_NUM_THREADS": str(self._threads)}}
        task = self._ray.remote(**options)(work)
        place = self._ray.put(shared)
        for result in [task.remote(place, job) for job in jobs]:
            with reraise(self._ray):
                value: Result = self._ray.get(result)
            yield value

    def _count_cpus(self) -> int:
        """Return the CPUs of a task: one for each thread, but no more than a node has."""
        largest = max((node["Resources"].get("CPU", 0) for node in self._ray.nodes() if node["Alive"]), default=1)
        return max(1, min(self._threads, int(largest)))


@contextmanager
def open_engine(engine: str, address: str | None, threads: int = 1) -> Iterator[TaskEngine]:
    """Yield what the options of `engine_options` name. Raises ConfigError, MissingExtra."""
    if engine == "local":
        yield LocalEngine()
        return
    with connect_ray(address) as ray:
        yield RayEngine(ray, threads)


def count_threads() -> int:
    """Return the threads of numpy's arithmetic in this process."""
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        if (value := os.environ.get(name, "")).isdecimal() and int(value):
            return int(value)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def connect_ray(address: str | None) -> Iterator[Any]:
    """Connect to a cluster, or start one on this machine, and leave it at the end; yield the module `ray`.

    A connection that this process has already is used and kept.

    Raises:
        MissingExtra: Ray is not installed.
        ConfigError: there is no cluster at the address.
    """
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # no word about accelerators that nothing uses
    try:
        import ray
    except ImportError as e:
        raise MissingExtra("Ray, which runs --engine ray,", "ray") from e
    is_ours = not ray.is_initialized()
    if is_ours:
        _start_ray(ray, address)
    with redirect_stdout(sys.stderr):  # Ray says which workers it lost, also as it ends; output is for the results
        try:
            yield ray
        finally:
            if is_ours:
                ray.shutdown()


def _start_ray(ray: Any, address: str | None) -> None:
    _check_address(address)
    own: dict[str, Any] = {"include_dashboard": False} if address is None else {}
    try:
        ray.init(address=address or "local", log_to_driver=False, logging_level=logging.ERROR, **own)
    except (ConnectionError, ValueError, RuntimeError) as e:
        reason = str(e).splitlines()[0][:200] if str(e) else type(e).__name__
        raise ConfigError(f"--address {address}: no Ray cluster there: {reason}") from e


@contextmanager
def reraise(ray: Any) -> Iterator[None]:
    """Raise what a task or an actor raised as it was, and what Ray says of lost ones in one line."""
    try:
        yield
    except ray.exceptions.RayError as e:
        cause = e.cause if isinstance(e, ray.exceptions.RayTaskError) else e
        if not isinstance(cause, ray.exceptions.RayError):
            raise cause from e
        lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
        raise RouteMoAError(f"--engine ray: {type(cause).__name__}: {lines[-1][:200] if lines else ''}") from e


def _check_address(address: str | None) -> None:
    """Raise ConfigError where no Ray listens at HOST:PORT: Ray itself would try for minutes."""
    host, _, port = (address or "").removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        return
    try:
        with socket.create_connection((host, int(port)), CONNECT_SECONDS) as connection:
            if os.environ.get("RAY_USE_TLS", "0") == "0":
                connection.sendall(HTTP2)
                if connection.recv(4)[3:] != b"\x04":
                    raise OSError(None, "another program listens there; name the port of  ray start, such as 6379")
    except OSError as e:
        raise ConfigError(f"--address {address}: no Ray cluster there: {e.strerror or e}") from e
