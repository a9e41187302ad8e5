"""Endpoints that behave as badly as providers can, and count what they bill. contract.py, kill.py and others start it:

    .venv/bin/python benchmarks/faulty.py SPEC.json

SPEC.json is a `Spec`; the port is printed once it serves. http://127.0.0.1:PORT/NAME/v1 is the member NAME. GET /bills
gives every call there was, DELETE /bills forgets them; GET /state: how many are under way and how late the loop was.
What a call does is drawn from the spec's seed, the token `req-000123` in the conversation, the member, and how often
that member was called for this request: the same load meets the same faults. The token reaches the endpoint by the
conversation alone, as it would reach a provider.

A call is billed as providers do: its prompt, and the tokens written until it ended or its caller went away. A `harsh`
call is billed the most a provider could defend: a token for each byte of the prompt, and all it meant to write, however
it ended. An HTTP error costs nothing.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import sys
from contextlib import suppress
from math import ceil, exp, log
from pathlib import Path
from random import Random
from time import monotonic
from typing import Any

import msgspec
from aiohttp import web
from msgspec import Struct

UNCAPPED = 8192  # tokens that an answer may have when nobody sets a limit
LONG = 400  # tokens of a usual answer at most
PIECES = 8  # of a streamed answer at most
PER_TOKEN = 3.4  # characters
ID = re.compile(r"req-\d{6}")
SUM = re.compile(r"What is (\d+) \+ (\d+)\?")
WORDS = ("amber", "basalt", "cedar", "delta", "ember", "fjord", "garnet", "harbour", "indigo", "juniper", "kelp")


class Member(Struct, frozen=True):
    """One model: dollars per million tokens, seconds to the first token and between pieces, how often it is right."""

    name: str
    input_price: float
    output_price: float
    first_token: float = 0.2
    between: float = 0.04
    right: float = 0.7


class Faults(Struct, frozen=True):
    """Shares of calls, in [0, 1]; at most one of the first six befalls a call, the others come on top."""

    refused: float = 0.0  # HTTP 500, 429 or 503, the latter two with a Retry-After
    reset: float = 0.0  # the connection is closed before any byte
    cut: float = 0.0  # ... in the middle of the answer
    garbage: float = 0.0  # what comes is no JSON
    error: float = 0.0  # an error object in the stream
    empty: float = 0.0  # an answer without a word
    slow: float = 0.0  # the first token takes ten times as long
    sluggish: float = 0.0  # every piece does
    silent: float = 0.0  # no usage is reported
    harsh: float = 0.0  # billed the most that can be defended


class Spec(Struct, frozen=True):
    """What is served. `jitter`: times vary by so much up and down, as a share; `tokens`: every answer has so many."""

    members: tuple[Member, ...]
    faults: Faults = Faults()
    seed: int = 0
    jitter: float = 0.5
    tokens: int | None = None


class Draw(Struct, frozen=True):
    """What one call is going to do."""

    fault: str | None  # the name of the share
    status: int | None
    harsh: bool
    silent: bool
    first_token: float
    between: float
    tokens: int
    cap: int
    prompt: int
    text: str
    pieces: tuple[str, ...]
    stop: int  # the piece before which a broken answer breaks
    finish: str


class Bill(Struct):
    """What one call cost. Times are `monotonic()`, which all processes of a machine share; `ended` 0: under way."""

    id: str
    member: str
    fault: str | None
    harsh: bool
    cap: int
    began: float
    prompt: int = 0
    completion: int = 0
    dollars: float = 0.0
    outcome: str = "running"  # finished, refused, reset, cut, garbage, error, left (by its caller)
    reported: bool = False  # its caller was told the usage
    slow: bool = False
    ended: float = 0.0


def drawn(spec: Spec, member: Member, body: dict[str, Any], identity: str, turn: int) -> Draw:
    """What the `turn`-th call of this member for this request does."""
    lots, f = Random(f"{spec.seed}:{identity}:{member.name}:{turn}"), spec.faults
    kinds = ("refused", "reset", "cut", "garbage", "error", "empty")
    shares = [float(getattr(f, k)) for k in kinds]
    fault = lots.choices((*kinds, None), (*shares, 1.0 - sum(shares)))[0]
    status = lots.choice((500, 429, 503)) if fault == "refused" else None
    slow, sluggish, silent, harsh = (lots.random() < p for p in (f.slow, f.sluggish, f.silent, f.harsh))
    vary = [1.0 + spec.jitter * (2.0 * lots.random() - 1.0) for _ in range(2)]
    given = [v for key in ("max_tokens", "max_completion_tokens") if isinstance(v := body.get(key), int)]
    cap = min(given, default=UNCAPPED)
    tokens = cap if lots.random() < 0.15 else min(cap, int(exp(lots.uniform(log(8), log(LONG)))))
    tokens = tokens if spec.tokens is None else min(cap, spec.tokens)
    whole = "" if fault == "empty" else answer(member, body, lots)
    text = whole[: ceil(tokens * PER_TOKEN)]
    count = max(1, min(PIECES, tokens, len(text)))
    size = max(1, ceil(len(text) / count))
    pieces = tuple(text[i : i + size] for i in range(0, len(text), size))
    return Draw(
        fault,
        status,
        harsh,
        silent,
        member.first_token * vary[0] * (10 if slow else 1),
        member.between * vary[1] * (10 if sluggish else 1),
        tokens,
        cap,
        prompt_tokens(body, harsh=harsh),
        text,
        pieces,
        lots.randint(1, max(1, len(pieces) - 1)),
        "length" if tokens == cap or len(text) < len(whole) else "stop",
    )


def prompt_tokens(body: dict[str, Any], *, harsh: bool) -> int:
    """A token for every few characters, or for every byte; and a few around each message."""
    texts = [str(m.get("content") or "") for m in body["messages"]]
    read = sum(len(t.encode()) for t in texts) if harsh else ceil(sum(map(len, texts)) / PER_TOKEN)
    return read + 4 * len(texts) + 3


def answer(member: Member, body: dict[str, Any], lots: Random) -> str:
    """A text that states a result, right or wrong, and judges whatever it is asked to judge."""
    asked = str(body["messages"][-1].get("content"))
    conversation = " ".join(str(m.get("content")) for m in body["messages"])
    right = lots.random() < member.right
    if found := SUM.search(conversation):
        result = int(found[1]) + int(found[2]) + (0 if right else lots.choice((1, 10)))
        text = f"Adding the two, tens and units apart, step by step. The answer is {result}."
    else:
        text = f"It depends on the {' and the '.join(lots.sample(WORDS, 4))}, in this order."
    labels = re.findall(r'"([A-Z]\d*)": P', asked)
    own, scores = round(lots.uniform(0.3, 1.0), 2), {label: round(lots.random(), 2) for label in labels}
    if body.get("response_format"):
        whole = {"answer": text, "self": int(10 * own), "scores": {k: int(10 * v) for k, v in scores.items()}}
        return json.dumps(whole if labels else {k: v for k, v in whole.items() if k != "scores"})
    if "<assessment>" in asked:
        text += f"\n<assessment>{json.dumps({'self': own, 'scores': scores})}</assessment>"
    return text


class Endpoints:
    """All members on one port."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.bills: list[Bill] = []
        self.lags: list[float] = []
        self._members = {m.name: m for m in spec.members}
        self._turns: dict[tuple[str, str], int] = {}

    def app(self) -> web.Application:
        app = web.Application(client_max_size=2**24)
        app.router.add_post("/{member}/v1/chat/completions", self.call)
        app.router.add_get("/bills", self.show)
        app.router.add_delete("/bills", self.forget)
        app.router.add_get("/state", self.state)
        return app

    async def show(self, _: web.Request) -> web.Response:
        return web.Response(body=msgspec.json.encode(self.bills), content_type="application/json")

    async def forget(self, _: web.Request) -> web.Response:
        self.bills, self.lags, self._turns = [], [], {}
        return web.Response()

    async def state(self, _: web.Request) -> web.Response:
        return web.json_response({"running": sum(not b.ended for b in self.bills), "lags": self.lags})

    async def tick(self, every: float = 0.02) -> None:
        """Take down how late the loop is."""
        while True:
            begun = monotonic()
            await asyncio.sleep(every)
            self.lags.append(round(monotonic() - begun - every, 5))

    async def call(self, request: web.Request) -> web.StreamResponse:
        """One call, from its head to its bill."""
        began = monotonic()
        member, body = self._members[request.match_info["member"]], await request.json()
        found = ID.search(" ".join(str(m.get("content")) for m in body["messages"]))
        identity = found[0] if found else "?"
        turn = self._turns[identity, member.name] = self._turns.get((identity, member.name), 0) + 1
        draw = drawn(self.spec, member, body, identity, turn)
        slow = draw.first_token > 5 * member.first_token
        bill = Bill(identity, member.name, draw.fault, draw.harsh, draw.cap, began, slow=slow)
        self.bills.append(bill)
        call = Call(request, body, draw, bill)
        try:
            return await call.answer()
        except (asyncio.CancelledError, ConnectionResetError):
            bill.outcome = "left" if bill.outcome == "running" else bill.outcome
            raise
        finally:
            call.charge(member)


class Call:
    """One call under way."""

    def __init__(self, request: web.Request, body: dict[str, Any], draw: Draw, bill: Bill) -> None:
        self.request, self.body, self.draw, self.bill = request, body, draw, bill
        self.written = 0  # pieces
        self.usage = {"prompt_tokens": draw.prompt, "completion_tokens": draw.tokens}
        self.usage["total_tokens"] = draw.prompt + draw.tokens

    def charge(self, member: Member) -> None:
        """Write the bill."""
        bill, draw = self.bill, self.draw
        bill.ended = monotonic()
        if bill.outcome == "refused":
            return
        share = 1.0 if draw.harsh or bill.outcome == "finished" else self.written / max(1, len(draw.pieces))
        bill.prompt, bill.completion = draw.prompt, ceil(draw.tokens * share)
        bill.dollars = (bill.prompt * member.input_price + bill.completion * member.output_price) / 1e6

    async def answer(self) -> web.StreamResponse:
        draw = self.draw
        if draw.status is not None:
            await asyncio.sleep(draw.between)
            self.bill.outcome = "refused"
            headers = {} if draw.status == 500 else {"Retry-After": "0.1" if draw.status == 429 else "1"}
            return web.json_response({"error": {"message": "injected"}}, status=draw.status, headers=headers)
        await asyncio.sleep(draw.first_token)
        if draw.fault == "reset":
            self.drop()
        return await (self.stream() if self.body.get("stream") else self.whole())

    async def whole(self) -> web.StreamResponse:
        draw = self.draw
        await asyncio.sleep(draw.between * len(draw.pieces))
        if draw.fault == "cut":
            self.drop()
        if draw.fault in ("garbage", "error"):
            self.bill.outcome = draw.fault
            broken = b'<html>{"choices": [{"mess' if draw.fault == "garbage" else b'{"error": {"message": "injected"}}'
            return web.Response(body=broken, content_type="application/json")
        message = {"role": "assistant", "content": draw.text}
        out = {"choices": [{"index": 0, "message": message, "finish_reason": draw.finish}]}
        self.bill.outcome, self.bill.reported = "finished", not draw.silent
        return web.json_response(self.about("") | out | ({} if draw.silent else {"usage": self.usage}))

    async def stream(self) -> web.StreamResponse:
        draw, about = self.draw, self.about(".chunk")
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(self.request)
        for number, piece in enumerate(draw.pieces):
            if number:
                await asyncio.sleep(draw.between)
            if number == draw.stop and draw.fault == "cut":
                self.drop()
            if number == draw.stop and draw.fault in ("garbage", "error"):
                self.bill.outcome = draw.fault
                broken = b'{"choices": [{"del' if draw.fault == "garbage" else b'{"error": {"message": "injected"}}'
                await response.write(b"data: " + broken + b"\n\n")
                return response
            self.written = number + 1  # what is written is billed, whether or not it arrives
            await response.write(event(about | {"choices": [{"index": 0, "delta": {"content": piece}}]}))
        told = bool((self.body.get("stream_options") or {}).get("include_usage")) and not draw.silent
        tail = event(about | {"choices": [{"index": 0, "delta": {}, "finish_reason": draw.finish}]})
        tail += event(about | {"choices": [], "usage": self.usage}) if told else b""
        self.bill.outcome, self.bill.reported = "finished", told
        await response.write(tail + b"data: [DONE]\n\n")
        return response

    def drop(self) -> None:
        """Close the connection without a word."""
        self.bill.outcome = self.draw.fault or "cut"
        if self.request.transport is not None:
            self.request.transport.abort()
        raise ConnectionResetError

    def about(self, kind: str) -> dict[str, Any]:
        return {"id": "faulty", "object": f"chat.completion{kind}", "created": 0, "model": self.body.get("model")}


def event(data: dict[str, Any]) -> bytes:
    return b"data: " + msgspec.json.encode(data) + b"\n\n"


async def serve(spec: Spec) -> None:
    endpoints = Endpoints(spec)
    runner = web.AppRunner(endpoints.app(), handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
    print(runner.addresses[0][1], flush=True)
    await endpoints.tick()


if __name__ == "__main__":
    logging.getLogger("aiohttp").setLevel(logging.CRITICAL)  # our own broken connections are no news
    with suppress(KeyboardInterrupt):
        asyncio.run(serve(msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Spec)))
