"""A mixture of language models behind one model name (RouteMoA, arXiv 2601.18130).

    from routemoa import Pool, RouteMoA
    answer = RouteMoA(Pool.from_toml("pool.toml")).ask("...")
    print(answer, answer.trace.stop_reason, answer.trace.cost)

Importing the package does no work: the names below are loaded on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from routemoa.core.errors import AllModelsFailed, ConfigError, MissingExtra, ModelError, QueryError, RouteMoAError
    from routemoa.core.pool import Pool
    from routemoa.core.trace import Answer, Trace
    from routemoa.core.types import Message, ModelSpec, Query, Usage
    from routemoa.mixture.engine import RouteMoA

__version__ = "0.1.0"

__all__ = [
    "AllModelsFailed",
    "Answer",
    "ConfigError",
    "Message",
    "MissingExtra",
    "ModelError",
    "ModelSpec",
    "Pool",
    "Query",
    "QueryError",
    "RouteMoA",
    "RouteMoAError",
    "Trace",
    "Usage",
]

_HOME = {
    "RouteMoA": "mixture.engine",
    "Pool": "core.pool",
    "Answer": "core.trace",
    "Trace": "core.trace",
} | dict.fromkeys(
    ("ConfigError", "MissingExtra", "ModelError", "AllModelsFailed", "QueryError", "RouteMoAError"), "core.errors"
)


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'routemoa' has no attribute {name!r}")
    return getattr(importlib.import_module(f"routemoa.{_HOME.get(name, 'core.types')}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
