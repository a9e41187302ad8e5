"""From a pool and a method's name to the Method itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from routemoa.core.errors import ConfigError
from routemoa.core.files.toml import suggest_name
from routemoa.core.pool_file.pool import METHODS, Pool
from routemoa.core.protocols import Client, Method
from routemoa.mixture.baselines import Cascade, MoA, RandomPanel, SelfMoA, Single, SMoA, best_single
from routemoa.mixture.engine import RouteMoA

__all__ = ["METHODS", "build_method", "method_names"]

_BUILD: Mapping[str, Callable[[Pool, Client], Method]] = {
    "routemoa": RouteMoA,
    "moa": MoA,
    "smoa": SMoA,
    "self-moa": SelfMoA,
    "best-single": best_single,
    "random": RandomPanel,
    "cascade": Cascade,
}


def method_names(pool: Pool) -> tuple[str, ...]:
    """Return what `build_method` accepts for this pool."""
    return (*METHODS, *(f"single:{m.name}" for m in pool))


def build_method(pool: Pool, method: str, client: Client) -> Method:
    """Return the method called `method`.

    Raises:
        ConfigError: there is none of that name, or the pool's scorer cannot be read.
    """
    if not isinstance(method, str):
        raise ConfigError(f"the method is of type {type(method).__name__}; give its name: {', '.join(METHODS)}")
    if method in METHODS:
        return _BUILD[method](pool, client)
    if method.startswith("single:") and method[7:] in pool:
        return Single(pool[method[7:]], client, limits=pool.limits)
    if method.removeprefix("single:") in pool.absent:
        raise ConfigError(pool.absent[method.removeprefix("single:")].why)
    raise ConfigError(f"method '{method}' is unknown; {suggest_name(method, method_names(pool))}")
