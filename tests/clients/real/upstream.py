"""One scripted endpoint with three models that partly disagree: `python -m tests.clients.real.upstream`.

`first` is wrong where the others are right. What a request asks for is read from its text, so that every client's
own wording of it leads to the same reply. Prints its URL, and serves until it is interrupted.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from random import random
from typing import Any

from aiohttp import web
from msgspec.structs import replace

from routemoa.testing import FakeEndpoint, Fault
from tests.clients.real.text_formats import reply_in_format

KEYS = {"Bearer sk-upstream", "Bearer sk-client"}
ASSESSMENT = '\n<assessment>{"self": 0.7}</assessment>'
RED_PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAIAAABLbSncAAAAEklEQVR4nGP4z8CAFWEXHbQSACj/P8Fu7N9hAAAAAElFTkSuQmCC"
COUNT = " ".join(str(n) for n in range(1, 61))
PLACES = {"first": {"city": "Paris", "population": 5}}
PLACE = {"population": 2100000, "city": "Paris"}


def call(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Return a message that calls one tool."""
    function = {"name": name, "arguments": json.dumps(arguments)}
    return {"content": None, "tool_calls": [{"id": f"up-{name}", "type": "function", "function": function}]}


def choose_reply(body: dict[str, Any]) -> str | dict[str, Any]:
    """Return a model's reply to a request: a text, or a message with calls of tools."""
    model = str(body.get("model"))
    text = json.dumps(body["messages"], ensure_ascii=False)
    tools = {t["function"]["name"]: t["function"].get("parameters") or {} for t in body.get("tools") or ()}
    place = PLACES.get(model, PLACE)
    for name, schema in tools.items():
        if "population" in (schema.get("properties") or {}):
            return call(name, place)
        if "content" in (schema.get("properties") or {}):  # instructor's form of a number
            return call(name, {"content": 41 if model == "first" else 42})
    if "temperature" in tools:
        return _next_step(model, text, tools)
    return reply_in_format(model, text, PLACE) or _say(model, text, place, body)


def _next_step(model: str, text: str, tools: dict[str, Any]) -> str | dict[str, Any]:
    """Return the next step of an agent: two calls, then an answer."""
    if "70.7" in text:
        answer = "It is 70.7 degrees Fahrenheit in Paris."
        return call("final_answer", {"answer": answer}) if "final_answer" in tools else answer
    if "21.5" in text:
        return call("to_fahrenheit", {"celsius": 21.5})
    return call("temperature", {"city": "Rome" if model == "first" else "Paris"})


def _say(model: str, text: str, place: dict[str, Any], body: dict[str, Any]) -> str:
    if "population" in text:
        place = {"place": place} if "place" in text.rpartition("JSON")[2] and "structured" in text else place
        return json.dumps(place if model != "third" else dict(sorted(place.items())))
    tail = ASSESSMENT if "<assessment>" in text and "response_format" not in body else ""
    if "image_url" in text:
        return ("It is red." if RED_PIXEL in text else "There is no image.") + tail
    if "slowly" in text:
        return COUNT + tail
    return ("The answer is 41." if model == "first" else "The answer is 42.") + tail


class Upstream(FakeEndpoint):
    """The endpoint: it wants a key, refuses a temperature above 2, is slow on demand, and tells what it holds.

    Args:
        reply: as of `FakeEndpoint`.
        random_delay: seconds that the head and each chunk wait at most.
    """

    def __init__(self, reply: Callable[[dict[str, Any]], str | dict[str, Any]], random_delay: float = 0.0) -> None:
        super().__init__(reply)
        self._random_delay = random_delay

    async def _answer(self, request: web.Request, body: dict[str, Any], fault: Fault) -> web.StreamResponse:
        if request.headers.get("Authorization") not in KEYS:
            fault = replace(fault, status=401, message="Incorrect API key provided.")
        elif (body.get("temperature") or 0) > 2:
            fault = replace(fault, status=400, message="temperature must be at most 2")
        elif (body.get("max_tokens") or 1) < 1:
            fault = replace(fault, status=400, message="max_tokens must be at least 1")
        if self._random_delay:
            fault = replace(fault, first_byte=random() * self._random_delay, between=random() * self._random_delay)
        text = json.dumps(body["messages"])
        if "Wait" in text:
            fault = replace(fault, first_byte=8.0)
        if "slowly" in text:
            fault = replace(fault, between=0.1, first_byte=0.0 if body.get("stream") else 6.0)
        return await super()._answer(request, body, fault)

    async def _models(self, request: web.Request) -> web.Response:
        """List the models; beside them, what this endpoint holds, for the checks of calls that were given up."""
        data = [{"id": name, "object": "model", "created": 0, "owned_by": "x"} for name in ("first", "second", "third")]
        state = {"open": self.open_requests, "gone": self.gone, "requests": len(self.requests)}
        return web.json_response({"object": "list", "data": data, "state": state})


async def _serve() -> None:
    async with Upstream(choose_reply) as endpoint:
        print(endpoint.url, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(_serve())
