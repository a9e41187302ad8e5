"""The least that a pass-through in Python can be: starlette, uvicorn with uvloop and httptools, and aiohttp.

benchmarks/gateway.py runs it as a process:  python benchmarks/gateway_bare.py PORT UPSTREAM_URL

It forwards a body to the endpoint and the response back, piece by piece. It parses and checks nothing, and has no
ledger, no keys, no deadlines and no caps.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import aiohttp
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

UPSTREAM = sys.argv[2] if len(sys.argv) > 2 else ""
sessions: list[aiohttp.ClientSession] = []


@asynccontextmanager
async def lifespan(_: Starlette) -> AsyncGenerator[None, None]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), auto_decompress=False) as session:
        sessions.append(session)
        yield


async def forward(request: Request) -> StreamingResponse:
    body = await request.body()
    headers = {"content-type": "application/json"}
    response = await sessions[0].post(f"{UPSTREAM}/chat/completions", data=body, headers=headers)

    async def chunks() -> AsyncGenerator[bytes, None]:
        try:
            async for chunk in response.content.iter_any():
                yield chunk
        finally:
            response.release()

    passed = {"content-type": response.headers["content-type"]}
    return StreamingResponse(chunks(), response.status, passed)


app = Starlette(routes=[Route("/v1/chat/completions", forward, methods=["POST"])], lifespan=lifespan)

if __name__ == "__main__":
    uvicorn.run(
        app, host="127.0.0.1", port=int(sys.argv[1]), loop="uvloop", http="httptools", log_level="error", ws="none"
    )
