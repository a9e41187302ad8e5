"""Requests that no client should send, drawn from a seed.

benchmarks/fuzz_requests.py has no command of its own: benchmarks/hostile.py sends them.
"""

from __future__ import annotations

import json
from random import Random
from typing import Any

__all__ = ["draw_request"]

CHAT = "/v1/chat/completions"
PATHS = (
    CHAT,
    CHAT,
    CHAT,
    CHAT,
    "/v1/models",
    "/healthz",
    "/v1/models/a",
    "/",
    "//",
    "/v1/%00",
    "/v1/models/%ff",
    "/..",
)
METHODS = (
    "POST",
    "POST",
    "POST",
    "GET",
    "HEAD",
    "PUT",
    "DELETE",
    "OPTIONS",
    "PATCH",
    "TRACE",
    "CONNECT",
    "post",
    "X-Y",
)
STRANGE: tuple[Any, ...] = (
    *(None, True, 0, -1, 1e308, -0.0, 2**63, 10**40, "", " ", "\x00", "\ud800", "\u202e", "a" * 5000, [], {}, [[]]),
    *({"a": {"a": {"a": []}}}, ["x"] * 300, {"type": "text"}, "NaN", "<think>", "\ufeff"),
)  # fmt: skip
FIELDS = (
    *("model", "messages", "stream", "stream_options", "temperature", "top_p", "max_tokens", "seed", "stop", "n"),
    "tools",
    *("tool_choice", "response_format", "logprobs", "routemoa", "user", "metadata", "presence_penalty", "functions"),
    *("max_completion_tokens", "logit_bias", "modalities", "service_tier", "store", "unknown", "", "model\x00"),
)  # fmt: skip
HEADERS = (
    *("Authorization", "Origin", "Host", "Expect", "Upgrade", "Transfer-Encoding", "Content-Encoding", "Accept"),
    "Range",
    *("X-RouteMoA-Max-Cost", "X-RouteMoA-Max-Seconds", "X-RouteMoA-Stream-Mode", "X-RouteMoA-Max-Calls", "Connection"),
    *("Access-Control-Request-Method", "Content-Type", "X-Forwarded-For", "Cookie", "TE", "Trailer"),
)  # fmt: skip
VALUES = (
    *("", "*", "close", "keep-alive", "chunked", "gzip", "100-continue", "websocket", "h2c", "NaN", "1e999", "-1"),
    "0.001",
    *("null", "evil.example", "http://localhost:3000", "text/plain", "a" * 3000, "\xff\xfe", "Bearer x", "{}", "final"),
)  # fmt: skip


def draw_request(lots: Random, models: tuple[str, ...]) -> bytes:
    """Draw the bytes of one request, which may be none at all."""
    kind = lots.random()
    if kind < 0.1:
        return lots.randbytes(lots.randrange(200))
    body = draw_body(lots, models)
    lines = [f"{draw_method(lots)} {lots.choice(PATHS)} HTTP/1.{lots.choice('1110')}", "Host: 127.0.0.1"]
    lines.append(f"Content-Type: {lots.choice(('application/json', 'application/json', 'text/plain', 'x'))}")
    for _ in range(lots.choice((0, 0, 0, 1, 2, 5))):
        lines.append(f"{lots.choice(HEADERS)}: {lots.choice(VALUES)}")
    if kind < 0.2:
        size = lots.randint(1, 9)
        pieces = [body[i : i + size] for i in range(0, len(body), size)]
        body = b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in pieces[:500]) + b"0\r\n\r\n"
        lines.append("Transfer-Encoding: chunked")
    else:
        wrong = lots.choice((0, 0, 0, 0, 0, 0, 1, -1, 10**6)) if kind < 0.9 else 0
        lines.append(f"Content-Length: {max(0, len(body) + wrong)}")
    data = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace") + body
    return mutate(lots, data) if kind > 0.8 else data


def draw_method(lots: Random) -> str:
    return lots.choice(METHODS) if lots.random() < 0.3 else "POST"


def draw_body(lots: Random, models: tuple[str, ...]) -> bytes:
    """Draw a body: mostly a chat request with something strange in it."""
    body: dict[str, Any] = {"model": lots.choice(models), "messages": [{"role": "user", "content": "What is 2 + 2?"}]}
    body["stream"] = lots.random() < 0.5
    for _ in range(lots.choice((0, 1, 1, 2, 4))):
        body[lots.choice(FIELDS)] = draw_value(lots)
    if lots.random() < 0.3:
        message = {
            "role": lots.choice(("user", "system", "assistant", "tool", "", None, 3)),
            "content": draw_value(lots),
        }
        body["messages"] = [message, {"role": "user", "content": draw_value(lots)}]
    if lots.random() < 0.05:
        return b"[" * lots.randrange(5000)
    data = json.dumps(body, ensure_ascii=lots.random() < 0.5).encode("utf-8", "surrogatepass")
    return lots.choice((b"\xef\xbb\xbf", b"\xff\xfe")) + data if lots.random() < 0.03 else data


def draw_value(lots: Random) -> Any:
    """Draw a value of any kind."""
    value = lots.choice(STRANGE)
    if lots.random() < 0.2:
        return [value, lots.choice(STRANGE)]
    return (
        {lots.choice(("text", "type", "max_seconds", "max_cost", "stream_mode", "x")): value}
        if lots.random() < 0.2
        else value
    )


def mutate(lots: Random, data: bytes) -> bytes:
    """Change, drop or repeat some bytes."""
    out = bytearray(data)
    for _ in range(lots.randint(1, 5)):
        at = lots.randrange(len(out) or 1)
        what = lots.randrange(3)
        if what == 0:
            out[at : at + 1] = lots.randbytes(1)
        elif what == 1:
            del out[at : at + lots.randint(1, 50)]
        else:
            out[at:at] = out[at : at + lots.randint(1, 50)]
    return bytes(out)
