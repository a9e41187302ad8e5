"""The server: methods, and each model of the pool, behind an OpenAI-compatible API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from routemoa.gateway.app import create_app

__all__ = ["create_app"]


def __getattr__(name: str) -> Any:
    if name == "create_app":  # it loads the whole server: a batch, and each of its workers on Ray, needs a part of it
        from routemoa.gateway.app import create_app

        return create_app
    raise AttributeError(f"module 'routemoa.gateway' has no attribute {name!r}")
