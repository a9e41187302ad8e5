"""Test code that calls models: models that answer from a script, and an HTTP endpoint that injects faults.

`ScriptedClient` takes the place of the network:

    import asyncio

    from routemoa import ModelSpec, Pool, RouteMoA
    from routemoa.core.errors import ModelHTTPError
    from routemoa.testing import ScriptedClient

    pool = Pool(tuple(ModelSpec(name, "http://localhost/v1", prior=0.5) for name in ("a", "b")))
    client = ScriptedClient({"a": "The answer is 4.", "b": ModelHTTPError("b", "HTTP 500", status=500)})
    answer = asyncio.run(RouteMoA(pool, client).answer("2+2?"))
    assert answer.text == "The answer is 4."
    assert [call.model for call in client.calls].count("b") == 1

`FakeEndpoint` is a real server on this machine (extra [testing]):

    from routemoa.testing import FakeEndpoint, Fault

    async def serve() -> None:
        async with FakeEndpoint("The answer is 4.", faults=[Fault(status=503)]) as endpoint:
            mixture = RouteMoA(Pool((ModelSpec("a", endpoint.url),)))
            answer = await mixture.answer("2+2?")  # the first attempt fails, the second succeeds
            assert answer.text == "The answer is 4."
            assert len(endpoint.requests) == 2
            await mixture.client.close()

    asyncio.run(serve())
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from routemoa.core.errors import MissingExtra
from routemoa.testing.scripted import ScriptedCall, ScriptedClient

if TYPE_CHECKING:
    from routemoa.testing.endpoint import FakeEndpoint, Fault

__all__ = ["FakeEndpoint", "Fault", "ScriptedCall", "ScriptedClient"]


def __getattr__(name: str) -> Any:
    if name in {"FakeEndpoint", "Fault"}:  # these load a web server: only where they are used
        try:
            from routemoa.testing import endpoint
        except ModuleNotFoundError as e:
            if e.name != "aiohttp":
                raise
            raise MissingExtra("aiohttp", "testing") from e
        return getattr(endpoint, name)
    raise AttributeError(f"module 'routemoa.testing' has no attribute {name!r}")
