"""Requests that are almost right, and what a server makes of them without a socket."""

from __future__ import annotations

import asyncio
from copy import deepcopy
from typing import Any

import msgspec
from hypothesis import strategies as st
from starlette.types import ASGIApp

SCALARS: Any = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8),
    st.sampled_from(["text", "function", "user", "tool", "message", "auto", "json_schema", "image", "ephemeral", ""]),
)
VALUES: Any = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every container with each of its keys."""
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    found = [(value, key) for key in keys]
    return found + [p for key in keys for p in places(value[key])]


@st.composite
def mutated(draw: Any, valid: dict[str, Any]) -> dict[str, Any]:
    """A valid request with one to three places changed, left out, doubled or renamed."""
    body = deepcopy(valid)
    for _ in range(draw(st.integers(1, 3))):
        if not (found := places(body)):
            break
        container, key = draw(st.sampled_from(found))
        match draw(st.sampled_from(["change", "change", "drop", "double", "rename"])):
            case "change":
                container[key] = draw(VALUES)
            case "drop":
                del container[key]
            case "double" if isinstance(container, list):
                container.append(deepcopy(container[key]))
            case "rename" if isinstance(container, dict):
                container[draw(st.text(max_size=6))] = container.pop(key)
    return body


def post(app: ASGIApp, path: str, data: bytes) -> tuple[int, bytes]:
    """The status and the body of the response to a request."""
    sent: list[Any] = []

    async def run() -> None:
        pending: list[Any] = [{"type": "http.request", "body": data, "more_body": False}]

        async def receive() -> Any:
            return pending.pop() if pending else await asyncio.sleep(60)

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "query_string": b""}
        await app({**scope, "headers": [(b"host", b"localhost")], "root_path": "", "scheme": "http"}, receive, send)

    asyncio.run(run())
    return sent[0]["status"], b"".join(m.get("body", b"") for m in sent[1:])


def encode(body: Any) -> bytes:
    """The body as JSON."""
    try:
        return msgspec.json.encode(body)
    except (OverflowError, ValueError):
        import json

        return json.dumps(body).encode()
