"""A real HTTP server on the loopback interface that speaks the OpenAI protocol and injects faults.

`python -m routemoa.testing.endpoint "The answer is 4."` serves one reply until it is interrupted, and prints its URL.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from time import time
from typing import Any

import msgspec
from aiohttp import web
from msgspec import Struct

__all__ = ["FakeEndpoint", "Fault"]


class Fault(Struct, frozen=True):
    """What goes wrong with one request; by default nothing."""

    status: int | None = None
    """Answer with this HTTP status."""
    retry_after: str | None = None
    """The Retry-After header beside `status`."""
    message: str = "injected"
    """The message of an error."""
    reset: bool = False
    """Close the connection before any byte."""
    first_byte: float = 0.0
    """Seconds before the head of the response."""
    between: float = 0.0
    """Seconds between two chunks."""
    cut_after: int | None = None
    """Close the connection after so many chunks."""
    quiet_cut: bool = False
    """At `cut_after`, end the response in order, but without finish_reason and [DONE]."""
    no_done: bool = False
    """Leave out "data: [DONE]"."""
    garbage: bool = False
    """Send bytes that are not JSON."""
    error_after: int | None = None
    """Send an error object after so many chunks, then end the stream."""
    error_code: int | None = None
    """The code of that error."""
    no_usage: bool = False
    comments: bool = False
    """Send comment lines between the events."""
    sliced: bool = False
    """Send one byte at a time, through multi-byte characters and lines."""
    whole: bool = False
    """Answer in one piece although a stream was asked for."""


NO_FAULT = Fault()


class FakeEndpoint:
    """Serves `url` inside an `async with` block, and keeps what it received in `requests` and `headers`.

    Args:
        reply: the text of every answer, or a function of the request body that returns it; instead of a text also a
            message, such as {"tool_calls": [{"id": "a", "function": {"name": "f", "arguments": "{}"}}]} or
            {"reasoning_content": "Well.", "content": "4"}; or a Fault with a status, to refuse the request.
        faults: one for each request in turn, then none; a single Fault is for every request.
    """

    def __init__(
        self,
        reply: str | Callable[[dict[str, Any]], str | dict[str, Any] | Fault] = "Hello.",
        faults: Sequence[Fault] | Fault = (),
    ) -> None:
        self.requests: list[dict[str, Any]] = []
        """The bodies of all requests so far."""
        self.headers: list[dict[str, str]] = []
        """The headers of all requests so far."""
        self.open_requests = 0
        self.gone = 0
        """Requests whose caller disconnected before the end of the response."""
        self.response_headers: dict[str, str] = {}
        """Sent with every response."""
        self.url = ""
        """The base URL for a pool file."""
        self._reply = reply
        self._faults = faults
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> FakeEndpoint:
        app = web.Application(client_max_size=64 * 2**20)
        app.router.add_post("/v1/chat/completions", self._handle)
        app.router.add_get("/v1/models", self._models)
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}/v1"
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._runner:
            await self._runner.cleanup()

    @property
    def open_connections(self) -> int:
        """Return how many connections clients hold now."""
        server = self._runner.server if self._runner else None
        return len(server.connections) if server else 0

    async def _models(self, request: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": "fake", "object": "model"}]})

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        fault = self._next_fault()
        body = await request.json()
        self.requests.append(body)
        self.headers.append(dict(request.headers))
        self.open_requests += 1
        try:
            return await self._answer(request, body, fault)
        except (asyncio.CancelledError, ConnectionResetError):
            self.gone += 1
            raise
        finally:
            self.open_requests -= 1

    def _next_fault(self) -> Fault:
        if isinstance(self._faults, Fault):
            return self._faults
        number = len(self.requests)
        return self._faults[number] if number < len(self._faults) else NO_FAULT

    async def _answer(self, request: web.Request, body: dict[str, Any], fault: Fault) -> web.StreamResponse:
        await asyncio.sleep(fault.first_byte)
        if fault.reset:
            _close_connection(request)
        reply: str | dict[str, Any] | Fault = self._reply if isinstance(self._reply, str) else ""
        if callable(self._reply) and fault.status is None:
            reply = self._reply(body)
        if isinstance(reply, Fault):
            fault, reply = reply, ""
        if fault.status is not None:
            headers = {"Retry-After": fault.retry_after} if fault.retry_after else {}
            error = {"error": {"message": fault.message, "type": "injected", "param": None, "code": None}}
            return web.json_response(error, status=fault.status, headers=headers | self.response_headers)
        message = {"content": reply} if isinstance(reply, str) else reply
        if not body.get("stream") or fault.whole:
            if fault.garbage:
                return web.Response(body=b"<html>not JSON", content_type="application/json")
            return web.json_response(_make_completion(body, message, fault), headers=self.response_headers)
        return await self._stream(request, body, message, fault)

    async def _stream(
        self, request: web.Request, body: dict[str, Any], message: dict[str, Any], fault: Fault
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"} | self.response_headers)
        await response.prepare(request)
        with_usage = (body.get("stream_options") or {}).get("include_usage") and not fault.no_usage
        for number, event in enumerate(
            _make_events(body, message, with_usage=bool(with_usage), done=not fault.no_done)
        ):
            if number == fault.cut_after:
                if fault.quiet_cut:
                    return response
                _close_connection(request)
            await asyncio.sleep(fault.between)
            await _send(response, _inject(fault, number, event), fault)
            if number == fault.error_after:
                return response
        return response


def _inject(fault: Fault, number: int, event: bytes) -> bytes:
    """Return the data of an event of a stream, or the error or garbage that is to take its place."""
    if number == fault.error_after:
        return msgspec.json.encode({"error": {"message": fault.message, "code": fault.error_code}})
    return b'{"choices": [{"del' if fault.garbage and number == 1 else event


async def _send(response: web.StreamResponse, event: bytes, fault: Fault) -> None:
    data = (b": working\r\n\r\n" if fault.comments else b"") + b"data: " + event + b"\n\n"
    for piece in [data[i : i + 1] for i in range(len(data))] if fault.sliced else [data]:
        await response.write(piece)


def _close_connection(request: web.Request) -> None:
    """Close the connection without a response."""
    if request.transport is not None:
        request.transport.abort()
    raise ConnectionResetError


def _count_usage(body: dict[str, Any], text: str) -> dict[str, int]:
    """Return the usage of a reply, in words."""
    prompt = sum(len(str(m.get("content")).split()) for m in body["messages"])
    return {"prompt_tokens": prompt, "completion_tokens": len(text.split()), "total_tokens": prompt + len(text.split())}


def _make_logprobs(body: dict[str, Any], piece: str) -> dict[str, Any] | None:
    return (
        {"content": [{"token": piece, "logprob": -0.25, "bytes": None, "top_logprobs": []}]}
        if body.get("logprobs")
        else None
    )


def _make_completion(body: dict[str, Any], message: dict[str, Any], fault: Fault) -> dict[str, Any]:
    """Return the body of a response that is not a stream."""
    text = message.get("content") or ""
    message = {"role": "assistant", "content": None, **message}
    choice = {"index": 0, "message": message, "finish_reason": _ending(message), "logprobs": _make_logprobs(body, text)}
    base = {"id": "fake-1", "object": "chat.completion", "created": int(time()), "model": body.get("model")}
    return base | {"choices": [choice]} | ({} if fault.no_usage else {"usage": _count_usage(body, text)})


def _ending(message: dict[str, Any]) -> str:
    return "tool_calls" if message.get("tool_calls") else "stop"


def _make_events(body: dict[str, Any], message: dict[str, Any], *, with_usage: bool, done: bool) -> list[bytes]:
    """Return the data of each event of a stream: role, words, calls of tools in two pieces, finish, usage, [DONE]."""
    text = message.get("content") or ""
    base = {"id": "fake-1", "object": "chat.completion.chunk", "created": int(time()), "model": body.get("model")}

    def chunk(delta: dict[str, Any], finish: str | None = None, logprobs: Any = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": logprobs}
        return msgspec.json.encode(base | {"choices": [choice], "usage": None})

    words = text.split(" ")
    pieces = [w + (" " if i < len(words) - 1 else "") for i, w in enumerate(words)]
    events = [chunk({"role": "assistant", "content": ""})]
    events += [chunk({field: message[field]}) for field in ("reasoning_content", "audio") if message.get(field)]
    events += [chunk({"content": p}, logprobs=_make_logprobs(body, p)) for p in pieces]
    for i, call in enumerate(message.get("tool_calls") or ()):
        function = call["function"]
        half = len(function["arguments"]) // 2
        first = {**call, "type": "function", "function": {**function, "arguments": function["arguments"][:half]}}
        events.append(chunk({"tool_calls": [{"index": i, **first}]}))
        rest = {"index": i, "function": {"arguments": function["arguments"][half:]}}
        events.append(chunk({"tool_calls": [rest]}))
    events.append(chunk({}, _ending(message)))
    if with_usage:
        events.append(msgspec.json.encode(base | {"choices": [], "usage": _count_usage(body, text)}))
    return [*events, b"[DONE]"] if done else events


async def _serve(reply: str) -> None:
    async with FakeEndpoint(reply) as endpoint:
        print(endpoint.url, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    import sys

    with suppress(KeyboardInterrupt):
        asyncio.run(_serve(" ".join(sys.argv[1:]) or "Hello."))
