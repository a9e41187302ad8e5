"""For tests, yours and ours: models that answer from a script, and a real HTTP endpoint that injects faults.

client = ScriptedClient({"a": "The answer is 4.", "b": Refused("b", "HTTP 500", status=500)})
answer = await RouteMoA(pool, client).answer("2+2?")

async with FakeEndpoint("The answer is 4.") as endpoint:   # endpoint.url goes into the pool file
    ...
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from routemoa.testing.scripted import ScriptedCall, ScriptedClient

if TYPE_CHECKING:
    from routemoa.testing.endpoint import FakeEndpoint, Fault

__all__ = ["FakeEndpoint", "Fault", "ScriptedCall", "ScriptedClient"]


def __getattr__(name: str) -> Any:
    if name in {"FakeEndpoint", "Fault"}:  # loads a web server: only when it is wanted
        from routemoa.testing import endpoint

        return getattr(endpoint, name)
    raise AttributeError(f"module 'routemoa.testing' has no attribute {name!r}")
