"""The dialect of an endpoint: its names for fields of a request, and the fields that it refuses. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from routemoa.core.types import ModelSpec

__all__ = ["TOKEN_LIMITS", "to_dialect"]

TOKEN_LIMITS = ("max_tokens", "max_completion_tokens")
"""One setting under its old and its new name."""


def to_dialect(spec: ModelSpec, body: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a body without the fields that the member's endpoint refuses, and with its names for the others.

    What the member's own `parameters` set is not left out. Where a field is there under both names, the endpoint's own
    counts; of two token limits the smaller one does.
    """
    if not spec.rename and not spec.omit:
        return body
    kept = {k: v for k, v in body.items() if k not in spec.omit or k in spec.parameters}
    out = {k: v for k, v in kept.items() if k not in spec.rename}
    for field, name in spec.rename.items():
        if field not in kept:
            continue
        value, other = kept[field], out.get(name)
        if name not in out:
            out[name] = value
        elif name in TOKEN_LIMITS and isinstance(value, int) and isinstance(other, int):
            out[name] = min(value, other)
    return out
