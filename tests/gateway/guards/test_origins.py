"""Names that a server is not known by are refused, and pages are let in by their origin."""

from __future__ import annotations

import msgspec
import pytest

from routemoa.core.tables.server_table import ServerSettings
from routemoa.gateway.guards.origins import is_allowed_host
from tests.gateway.harness import ANSWER, HI, Response, Script, Serving, serving

REBOUND = [
    "evil.example",
    "evil.example:8080",
    "EVIL.EXAMPLE",
    "evil.example.",
    "127.0.0.1.evil.example",
    "localhost.evil.example",
    "127.0.0.1.nip.io:80",
    "xn--lcalhost-4ya.example",
    "evil.example:8080:9",
    "a@evil.example",
    "localhost/evil.example",
    "[::1].evil.example",
    "127.0.0.1 evil.example",
    "evil\u00e9.example",
    "0x7f.1.example",
    "evil.local",
]
OURS = [
    "",
    "localhost",
    "LOCALHOST:80",
    "localhost.",
    "chat.localhost:3000",
    "127.0.0.1",
    "127.0.0.1:8080",
    "127.8.8.8",
    "[::1]",
    "[::1]:8080",
    "192.168.1.5:80",
    "models.example.com",
    "Models.Example.com:443",
]


@pytest.mark.parametrize("page", [True, False])
@pytest.mark.parametrize("host", REBOUND)
def test_a_name_of_the_internet_is_not_ours(host: str, page: bool) -> None:
    assert not is_allowed_host(host, frozenset({"models.example.com"}), from_page=page)


@pytest.mark.parametrize("page", [True, False])
@pytest.mark.parametrize("host", OURS)
def test_this_machine_and_names_that_are_set_are_ours(host: str, page: bool) -> None:
    assert is_allowed_host(host, frozenset({"models.example.com"}), from_page=page)


@pytest.mark.parametrize("host", ["x", "gateway:8080", "my_box", "evil"])
def test_a_name_of_one_label_is_ours_unless_a_page_uses_it(host: str) -> None:
    assert is_allowed_host(host, frozenset(), from_page=False)
    assert not is_allowed_host(host, frozenset(), from_page=True)


async def send(s: Serving, method: str, path: str, headers: dict[str, str], body: bytes = b"") -> Response:
    fields = {"Connection": "close", "Content-Length": str(len(body)), "Host": "localhost"} | headers
    head = "".join(f"{k}: {v}\r\n" for k, v in fields.items())
    return await (await s.connect(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + body)).whole()


@pytest.mark.parametrize("path", ["/healthz", "/v1/models", "/v1/chat/completions", "/nothing"])
async def test_a_page_that_was_pointed_at_this_machine_is_refused(path: str) -> None:
    method = Script(*ANSWER)
    async with serving(method, loopback=True) as s:
        response = await send(s, "POST", path, {"Host": "evil.example:8080", "Content-Type": "application/json"})
        assert (response.status, response.error["code"]) == (403, "host_not_allowed")
        assert "--allow-host evil.example" in response.error["message"]
        assert "access-control-allow-origin" not in response.headers
        assert not method.begun


async def test_elsewhere_than_on_loopback_names_are_checked_only_where_some_are_set() -> None:
    for settings, status in ((None, 200), (ServerSettings(allow_hosts=("a.example",)), 403)):
        async with serving(Script(*ANSWER), settings=settings) as s:
            assert (await send(s, "GET", "/healthz", {"Host": "b.example"})).status == status
            assert (await send(s, "GET", "/healthz", {"Host": "a.example"})).status == 200


PREFLIGHT = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}
LOCAL = [
    "http://localhost",
    "http://localhost:3000",
    "https://localhost:3000",
    "http://app.localhost:5173",
    "http://127.0.0.1:8000",
    "http://[::1]:8000",
]
FOREIGN = [
    "http://evil.example",
    "http://localhost.evil.example",
    "http://localhost:3000.evil.example",
    "http://evillocalhost",
    "http://127.0.0.1.evil.example",
    "http://192.168.1.5",
    "http://1270.0.0.1",
    "null",
    "file://",
    "chrome-extension://abc",
    "http://user@localhost:3000",
    "http://localhost:3000/path",
]


@pytest.mark.parametrize(("origin", "let_in"), [*((o, True) for o in LOCAL), *((o, False) for o in FOREIGN)])
async def test_pages_of_this_machine_are_let_in_and_no_others(origin: str, let_in: bool) -> None:
    body = b'{"model": "routemoa", "messages": [{"role": "user", "content": "Hi"}]}'
    async with serving(Script(*ANSWER), loopback=True) as s:
        preflight = await send(s, "OPTIONS", "/v1/chat/completions", {"Origin": origin, **PREFLIGHT})
        assert (preflight.status in (200, 204)) == let_in
        assert (preflight.headers.get("access-control-allow-origin") == origin) == let_in
        headers = {"Origin": origin, "Content-Type": "application/json"}
        response = await send(s, "POST", "/v1/chat/completions", headers, body)
        assert (response.headers.get("access-control-allow-origin") == origin) == let_in
        assert response.status == 200  # no page can read it, nor get so far without a preflight


@pytest.mark.parametrize("allowed", ["https://chat.example.com", "*", "app://obsidian.md", "null"])
async def test_pages_that_are_named_are_let_in(allowed: str) -> None:
    origin = "https://any.example" if allowed == "*" else allowed
    async with serving(Script(*ANSWER), settings=ServerSettings(allow_origins=(allowed,))) as s:
        preflight = await send(s, "OPTIONS", "/v1/chat/completions", {"Origin": origin, **PREFLIGHT})
        assert preflight.status in (200, 204)
        assert preflight.headers["access-control-allow-origin"] in (origin, "*")
        assert "authorization" in preflight.headers["access-control-allow-headers"]
        response = await send(s, "GET", "/v1/models", {"Origin": origin})
        assert response.headers["access-control-allow-origin"] in (origin, "*")
        assert "retry-after" in response.headers["access-control-expose-headers"]
        if allowed != "*":
            other = await send(s, "OPTIONS", "/v1/models", {"Origin": "https://evil.example", **PREFLIGHT})
            assert other.status == 400
            assert "access-control-allow-origin" not in other.headers


async def test_a_page_reads_a_stream() -> None:
    async with serving(Script(*ANSWER), loopback=True) as s:
        headers = {"Origin": "http://localhost:3000", "Content-Type": "application/json"}
        body = msgspec.json.encode({"model": "routemoa", "messages": HI, "stream": True})
        response = await send(s, "POST", "/v1/chat/completions", headers, body)
        assert response.headers["access-control-allow-origin"] == "http://localhost:3000"
        assert response.events[-1] == "[DONE]"
