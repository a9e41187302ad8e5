"""A mixture of language models behind one model name (RouteMoA, arXiv 2601.18130).

    from routemoa import RouteMoA
    answer = RouteMoA("pool.toml").ask("...")
    print(answer, answer.trace.stop_reason, answer.trace.cost)

`Client`, `Scorer`, `Policy`, `Method` and `CallRecorder` are what you can replace; `examples/` has one of each.
Importing the package does no work: each name is loaded on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from routemoa.core.errors import (
        AllModelsFailed,
        BudgetExceeded,
        ConfigError,
        MissingExtra,
        ModelError,
        QueryError,
        RouteMoAError,
    )
    from routemoa.core.events import Event
    from routemoa.core.pool_file.pool import Pool
    from routemoa.core.protocols import CallRecorder, Client, Method, Scorer
    from routemoa.core.trace import Answer, Trace
    from routemoa.core.types import Completion, Limits, Message, ModelSpec, Query, Request
    from routemoa.core.usage import Usage
    from routemoa.mixture.engine import RouteMoA
    from routemoa.routing.policy import Policy

__version__ = "0.1.0"

__all__ = [
    "AllModelsFailed",
    "Answer",
    "BudgetExceeded",
    "CallRecorder",
    "Client",
    "Completion",
    "ConfigError",
    "Event",
    "Limits",
    "Message",
    "Method",
    "MissingExtra",
    "ModelError",
    "ModelSpec",
    "Policy",
    "Pool",
    "Query",
    "QueryError",
    "Request",
    "RouteMoA",
    "RouteMoAError",
    "Scorer",
    "Trace",
    "Usage",
]

_MODULES = {
    "core.errors": (
        "AllModelsFailed",
        "BudgetExceeded",
        "ConfigError",
        "MissingExtra",
        "ModelError",
        "QueryError",
        "RouteMoAError",
    ),
    "core.events": ("Event",),
    "core.pool_file.pool": ("Pool",),
    "core.protocols": ("CallRecorder", "Client", "Method", "Scorer"),
    "core.trace": ("Answer", "Trace"),
    "core.types": ("Completion", "Limits", "Message", "ModelSpec", "Query", "Request"),
    "core.usage": ("Usage",),
    "mixture.engine": ("RouteMoA",),
    "routing.policy": ("Policy",),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'routemoa' has no attribute {name!r}")
    return getattr(importlib.import_module(f"routemoa.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
