"""What clients expect of a server beside its answers: ids, paths, headers, compressed bodies, kept connections."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from typing import Any

import msgspec
import pytest

from routemoa.core.events import AnswerDelta, Done
from routemoa.core.tables.server_table import ServerSettings
from routemoa.gateway.guards.paths import normalize_path
from routemoa.testing import FakeEndpoint
from routemoa.testing.endpoint import Fault
from tests.gateway.harness import ANSWER, HI, Response, Script, Serving, serving
from tests.gateway.test_tools import Panel, serve

BODY: dict[str, Any] = {"model": "routemoa", "messages": HI}


async def send(s: Serving, path: str, body: bytes | None = None, headers: str = "") -> Response:
    """Send a request by hand and return the response."""
    verb = "GET" if body is None else "POST"
    length = "" if body is None else f"Content-Length: {len(body)}\r\nContent-Type: application/json\r\n"
    head = f"{verb} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{length}{headers}\r\n"
    return await (await s.connect(head.encode() + (body or b""))).whole()


# --- ids


@pytest.mark.parametrize(
    ("given", "is_kept"),
    [("abc-1", True), ("4f/0c:1=@", True), ("x" * 129, False), ("a b", False), ("\xfc", False), ("<b>", False)],
)
@pytest.mark.parametrize("path", ["/healthz", "/nothing", "/v1/chat/completions", "/v1/models"])
async def test_every_response_has_the_requests_id(path: str, given: str, is_kept: bool) -> None:
    async with serving(Script(*ANSWER)) as s:
        body = msgspec.json.encode(BODY) if path.endswith("completions") else None
        raw = f"x-request-id: {given}\r\n".encode("latin-1").decode("latin-1")
        head = f"{'GET' if body is None else 'POST'} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        head += "" if body is None else f"Content-Length: {len(body)}\r\n"
        response = await (await s.connect((head + raw + "\r\n").encode("latin-1") + (body or b""))).whole()
        told = response.headers["x-request-id"]
        assert (told == given) == is_kept
        assert is_kept or told.startswith("req_")


async def test_errors_and_streams_have_an_id() -> None:
    async with serving(Script(RuntimeError("a defect"))) as s:
        for data in (b"{", msgspec.json.encode({**BODY, "tools": 3}), msgspec.json.encode(BODY)):
            response = await send(s, "/v1/chat/completions", data, "x-request-id: mine\r\n")
            assert response.status >= 400
            assert response.headers["x-request-id"] == "mine"
        broken = await (await s.connect(b"nonsense\r\n\r\n")).whole()
        assert broken.headers["x-request-id"].startswith("req_")
    async with serving(Script(*ANSWER)) as s:
        first = await s.sdk.chat.completions.with_raw_response.create(model="routemoa", messages=HI)
        second = await s.sdk.chat.completions.with_raw_response.create(model="routemoa", messages=HI)
        assert first.headers["x-request-id"] != second.headers["x-request-id"]
        assert first.parse()._request_id == first.headers["x-request-id"]


# --- what a member says in its headers


@pytest.mark.parametrize("stream", [False, True])
async def test_a_members_headers_are_passed_on(stream: bool) -> None:
    async with FakeEndpoint("Hi.") as endpoint:
        endpoint.response_headers = {
            "x-request-id": "req_theirs",
            "x-ratelimit-remaining-requests": "9",
            "openai-processing-ms": "12",
            "set-cookie": "a=b",
            "x-secret": "s",
        }
        async with serving(endpoint=endpoint.url) as s:
            body = {"model": "a", "messages": HI, "stream": stream}
            response = await (await s.raw(body)).whole()
            assert response.headers["x-request-id"] == response.headers["x-upstream-request-id"] == "req_theirs"
            assert response.headers["x-ratelimit-remaining-requests"] == "9"
            assert response.headers["openai-processing-ms"] == "12"
            assert not {"set-cookie", "x-secret"} & set(response.headers)
            kind = "text/event-stream" if stream else "application/json; charset=utf-8"
            assert response.headers["content-type"] == kind
            own = await (await s.raw(body, headers={"X-Request-Id": "mine"})).whole()
            assert own.headers["x-request-id"] == "mine"
            assert own.headers["x-upstream-request-id"] == "req_theirs"


async def test_a_members_refusal_keeps_its_headers() -> None:
    async with FakeEndpoint(lambda _: Fault(status=400, message="no")) as endpoint:
        endpoint.response_headers = {"x-ratelimit-limit-tokens": "5", "x-request-id": "req_theirs"}
        async with serving(endpoint=endpoint.url) as s:
            response = await (await s.raw({"model": "a", "messages": HI})).whole()
            assert response.status == 400
            assert response.headers["x-ratelimit-limit-tokens"] == "5"
            assert response.headers["x-request-id"] == "req_theirs"
            assert response.headers["content-type"].startswith("application/json")


# --- paths


@pytest.mark.parametrize(
    "path",
    [
        "/v1/chat/completions",
        "//v1/chat/completions",
        "/v1//chat/completions",
        "/chat/completions",
        "/v1/v1/chat/completions",
    ],
)
async def test_paths_of_completions(path: str) -> None:
    async with serving(Script(*ANSWER)) as s:
        response = await send(s, path, msgspec.json.encode(BODY))
        assert response.json["choices"][0]["message"]["content"] == "Hello."


@pytest.mark.parametrize("path", ["/models", "//v1/models", "/v1/models/", "/models/b/c", "/v1/models/b/c"])
async def test_paths_of_models(path: str) -> None:
    async with serving(Script(*ANSWER)) as s:
        response = await send(s, path)
        assert response.status == 200
        assert response.json["object"] in ("list", "model")


async def test_health_under_both_names() -> None:
    async with serving(Script(*ANSWER)) as s:
        for path in ("/health", "/healthz", "//health", "/v1/health"):
            assert (await send(s, path)).json == {"status": "ok"}


@pytest.mark.parametrize("path", ["", "/", "//", "/v1", "/v1/", "*", "/v1/v1/", "/chat", "/v2/models", "/" * 60_000])
async def test_other_paths_are_not_found(path: str) -> None:
    assert len(normalize_path(path)) <= len(path) + 3
    async with serving(Script(*ANSWER)) as s:
        if path:
            assert (await send(s, path)).status in (400, 404)


# --- bodies


@pytest.mark.parametrize(
    ("encoding", "pack"),
    [
        ("gzip", gzip.compress),
        ("x-gzip", gzip.compress),
        ("GZIP", gzip.compress),
        ("gzip", lambda data: gzip.compress(data[:9]) + gzip.compress(data[9:])),
        ("deflate", zlib.compress),
        ("deflate", lambda data: zlib.compress(data)[2:-4]),
        ("identity", lambda data: data),
    ],
)
async def test_compressed_bodies(encoding: str, pack: Any) -> None:
    async with serving(Script(*ANSWER)) as s:
        data = pack(b"\xef\xbb\xbf" + msgspec.json.encode(BODY))
        response = await send(s, "/v1/chat/completions", data, f"Content-Encoding: {encoding}\r\n")
        assert response.json["choices"][0]["message"]["content"] == "Hello."


@pytest.mark.parametrize(
    ("data", "encoding", "status"),
    [
        (gzip.compress(b" " * 5_000_000), "gzip", 413),
        (zlib.compress(b"[" * 5_000_000), "deflate", 413),
        (gzip.compress(b"") * 5000, "gzip", 400),
        (gzip.compress(b"{}")[:-4], "gzip", 400),
        (b"{}", "gzip", 400),
        (b"{}", "deflate", 400),
        (b"{}", "br", 415),
        (gzip.compress(gzip.compress(b"{}")), "gzip, gzip", 415),
        (gzip.compress(b"[1]"), "gzip", 400),
    ],
    ids=["blank", "bomb", "many", "cut", "plain", "plain deflate", "brotli", "twice", "array"],
)
async def test_compressed_bodies_are_bounded(data: bytes, encoding: str, status: int) -> None:
    async with serving(Script(*ANSWER), settings=ServerSettings(max_body_bytes=1_000_000)) as s:
        response = await send(s, "/v1/chat/completions", data, f"Content-Encoding: {encoding}\r\n")
        assert response.status == status
        assert response.error["message"]


# --- kept connections


async def test_idle_connections_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection waits for its next request longer than for the rest of a request that has begun."""
    monkeypatch.setattr("routemoa.gateway.lifecycle.server.SWEEP_SECONDS", 0.05)
    settings = ServerSettings(head_seconds=0.2, idle_seconds=60.0)
    get = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    async with serving(Script(*ANSWER), settings=settings) as s:
        caller = await s.connect(get)
        assert b'"ok"' in await caller.reader.readuntil(b"}")
        await asyncio.sleep(0.5)
        caller.writer.write(get)
        assert b'"ok"' in await asyncio.wait_for(caller.reader.readuntil(b"}"), 5)
        caller.writer.write(get[:9])
        assert b"408" in await asyncio.wait_for(caller.reader.read(), 5)
        await caller.leave()


# --- usage and the fingerprint


async def test_usage_is_always_there() -> None:
    """Known counts as they are; of endpoints that report nothing an estimate, and `routemoa` says so."""
    async with serve(Panel(a="4", b="4")) as served:
        reply = await served.sdk.chat.completions.create(model="routemoa", messages=HI)
        assert reply.usage.completion_tokens == 2
        assert reply.model_extra["routemoa"]["usage_estimated"] is False
    panel = Panel(a="It is four, I think." * 20, b="4")
    panel.priors = [0.999, 0.1]
    panel.endpoints["a"] = FakeEndpoint("It is four, I think." * 20, Fault(no_usage=True))
    async with serve(panel) as served:
        reply = await served.sdk.chat.completions.create(model="routemoa", messages=HI)
        assert 80 <= reply.usage.completion_tokens <= 120
        assert reply.usage.prompt_tokens >= 1
        assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens
        assert reply.model_extra["routemoa"]["usage_estimated"] is True
        create = served.sdk.chat.completions.create
        stream = await create(model="routemoa", messages=HI, stream=True, stream_options={"include_usage": True})
        *_, last = [chunk async for chunk in stream]
        assert 80 <= last.usage.completion_tokens <= 120


async def test_the_fingerprint_stands_for_the_pool() -> None:
    prints = []
    for prior in (0.5, 0.5, 0.7):
        panel = Panel(a="4", b="4")
        panel.priors = [prior, 0.4]
        prints.append(panel.pool().fingerprint)
    assert prints[0] == prints[1] != prints[2]
    async with serving(Script(AnswerDelta("4"), Done(0.1))) as s:
        whole = await s.sdk.chat.completions.create(model="routemoa", messages=HI)
        chunks = [c async for c in await s.sdk.chat.completions.create(model="routemoa", messages=HI, stream=True)]
        assert {whole.system_fingerprint} == {c.system_fingerprint for c in chunks}
        assert (whole.system_fingerprint or "").startswith("fp_")


# --- messages


async def test_turns_without_a_text() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    messages: Any = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": None},
        {"role": "assistant"},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
        {"role": "assistant", "content": None, "refusal": "No."},
        {"role": "user", "content": "And?"},
    ]
    async with serve(panel := Panel(a="4", b="4")) as served:
        reply = await served.sdk.chat.completions.create(model="routemoa", messages=messages, stop=[])
        assert reply.choices[0].message.content == "4"
        assert [m["content"] for m in panel.endpoints["a"].requests[0]["messages"][4:6]] == ["No.", "No."]
