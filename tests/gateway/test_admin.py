"""The admin routes: off without an admin key, never open to a tenant's key, and what they do to keys."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from routemoa.core.access.secret_keys import digest_secret
from routemoa.core.access.tenants import Tenant
from routemoa.core.errors import ConfigError
from routemoa.gateway import create_app
from routemoa.ledger import Store
from routemoa.ledger.keys import create_key, read_keys
from routemoa.testing import FakeEndpoint
from tests.gateway.access.test_auth import Silent
from tests.gateway.harness import HI, Response, Serving, serving
from tests.gateway.test_keys import get, make_pool

ADMIN = "op-secret"
AUTH = {"Authorization": f"Bearer {ADMIN}"}
ROUTES = [
    ("GET", "/admin/keys"),
    ("POST", "/admin/keys"),
    ("POST", "/admin/keys/ci/revoke"),
    ("POST", "/admin/keys/ci/rotate"),
    ("GET", "/v1/admin/keys"),
    ("GET", "//admin/keys"),
    ("GET", "/admin/nothing"),
    ("GET", "/admin"),
    ("GET", "/admin/"),
    ("DELETE", "/admin/keys"),
]


@asynccontextmanager
async def administered(folder: Path, url: str = "http://127.0.0.1:9", **options: Any) -> AsyncIterator[Serving]:
    options = {"admin_key": digest_secret(ADMIN), "store": Store(folder / "s.db"), **options}
    async with serving(pool=make_pool(url), **options) as s:
        yield s


async def send(
    s: Serving, method: str, path: str, headers: dict[str, str], body: Any = None, *, raw: bytes | None = None
) -> Response:
    data = raw if raw is not None else b"" if body is None else msgspec.json.encode(body)
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(data)}\r\n{lines}\r\n"
    return await (await s.connect(head.encode() + data)).whole()


async def change(s: Serving, path: str, body: Any = None, **more: Any) -> Response:
    return await send(s, "POST", f"/admin/keys{path}", AUTH, body, **more)


@pytest.mark.parametrize("headers", [{}, AUTH, {"x-api-key": ADMIN}])
async def test_without_an_admin_key_there_are_no_admin_routes(tmp_path: Path, headers: dict[str, str]) -> None:
    create_key(tmp_path / "s.db", Tenant("ci", ""), 1.0)
    async with administered(tmp_path, admin_key=None) as s:
        for method, path in ROUTES:
            response = await send(s, method, path, headers)
            assert response.status == 404, (method, path)
    assert read_keys(tmp_path / "s.db")[0].revoked is None


@pytest.mark.parametrize("header", ["Authorization", "x-api-key", "api-key", None])
async def test_no_other_key_opens_an_admin_route(tmp_path: Path, header: str | None) -> None:
    key = create_key(tmp_path / "s.db", Tenant("ci", ""), 1.0).secret
    async with administered(tmp_path) as s:
        for given in (key, "op-secre", "op-secret2", "", "OP-SECRET"):
            value = f"Bearer {given}" if header == "Authorization" else given
            for method, path in ROUTES:
                response = await send(s, method, path, {} if header is None else {header: value})
                assert (response.status, response.error["code"]) == (401, "invalid_api_key"), (method, path)
                assert ADMIN.encode() not in response.body
    assert len(read_keys(tmp_path / "s.db")) == 1
    assert read_keys(tmp_path / "s.db")[0].revoked is None


async def test_the_admin_key_is_no_tenants_key_and_closes_the_server(tmp_path: Path) -> None:
    async with FakeEndpoint("x") as e, administered(tmp_path, e.url) as s:
        for headers in ({}, AUTH, {"api-key": ADMIN}):
            assert (await (await s.raw({"model": "a", "messages": HI}, headers=headers)).whole()).status == 401
        assert not e.requests
        assert (await get(s, "/healthz", {})).status == 200


async def test_a_key_is_made_used_rotated_and_revoked_at_once(tmp_path: Path) -> None:
    terms = {"methods": ["routemoa"], "max_cost_per_day": 2, "requests_per_minute": 60, "expires": "30d"}
    async with FakeEndpoint("x") as e, administered(tmp_path, e.url) as s:
        made = await change(s, "", {"name": "ci", **terms})
        assert (made.status, made.headers["cache-control"]) == (201, "no-store")
        shown = made.json
        key = shown.pop("key")
        assert key.startswith(shown["prefix"])
        assert shown["expires"].endswith("Z")
        assert {k: shown[k] for k in terms if k != "expires"} == {k: v for k, v in terms.items() if k != "expires"}

        def status(with_key: str) -> Any:
            return get(s, "/v1/models", {"api-key": with_key})

        assert (await status(key)).status == 200, "the server takes it over at once"
        listed = await get(s, "/admin/keys", AUTH)
        assert listed.json == {"object": "list", "data": [shown]}
        assert key.encode() not in listed.body

        second = (await change(s, "/ci/rotate", {"grace": "1h"})).json
        assert [r["prefix"] for r in second["rotated"]] == [shown["prefix"]]
        assert [(await status(k)).status for k in (key, second["key"])] == [200, 200]
        third = (await change(s, "/ci/rotate")).json["key"]
        assert [(await status(k)).status for k in (key, second["key"], third)] == [401, 401, 200]

        revoked = await change(s, "/ci/revoke")
        assert (revoked.status, revoked.json["state"]) == (200, "revoked")
        assert (await status(third)).status == 401
        assert (await change(s, "/ci/revoke")).json == revoked.json


@pytest.mark.parametrize(
    ("path", "body", "status", "code", "words"),
    [
        ("", {}, 400, None, "missing key 'name'"),
        ("", {"name": "a b"}, 400, None, "letters"),
        ("", {"name": 3}, 400, None, "name"),
        ("", {"name": "x", "modles": ["a"]}, 400, None, "did you mean 'models'"),
        ("", {"name": "x", "models": "a"}, 400, None, "models"),
        ("", {"name": "x", "models": []}, 400, None, "models: is empty"),
        ("", {"name": "x", "methods": ["moaa"]}, 400, None, "did you mean 'moa'"),
        ("", {"name": "x", "expires": "soon"}, 400, None, "30d"),
        ("", {"name": "x", "requests_per_minute": 0}, 400, None, "at least 1"),
        ("", {"name": "x", "tokens_per_minute": 1.5}, 400, None, "tokens_per_minute"),
        ("", {"name": "x", "max_cost_per_day": -1}, 400, None, "dollars"),
        ("", {"name": "x", "secret": "rmk_mine"}, 400, None, "unknown key 'secret'"),
        ("", {"name": "x", "key_env": "HOME"}, 400, None, "unknown key 'key_env'"),
        ("", {"name": "ci"}, 409, "key_exists", "another name"),
        ("/nix/revoke", None, 404, "key_not_found", "no key 'nix'"),
        ("/nix/rotate", None, 404, "key_not_found", "no key 'nix'"),
        ("/ci/rotate", {"grace": "x"}, 400, None, "45m"),
        ("/ci/rotate", {"garce": "1h"}, 400, None, "did you mean 'grace'"),
        ("/gone/rotate", {}, 400, None, "revoked"),
        ("", [1], 400, None, "object"),
    ],
)
async def test_what_is_wrong_is_a_sentence(
    tmp_path: Path, path: str, body: Any, status: int, code: str | None, words: str
) -> None:
    async with administered(tmp_path) as s:
        await change(s, "", {"name": "ci"})
        await change(s, "", {"name": "gone"})
        await change(s, "/gone/revoke")
        response = await change(s, path, body)
        assert (response.status, response.error["code"]) == (status, code), response.body
        assert words in response.error["message"]
        assert "configuration.md" not in response.error["message"]
        assert (await change(s, path, raw=b"{nonsense")).status in (400, 404, 409)
    assert [k.tenant.name for k in read_keys(tmp_path / "s.db")] == ["ci", "gone"]


async def test_a_store_that_cannot_be_written_is_a_503(tmp_path: Path) -> None:
    async with administered(tmp_path) as s:
        path = tmp_path / "s.db"
        path.rename(tmp_path / "moved.db")
        path.mkdir()
        response = await change(s, "", {"name": "ci"})
        assert (response.status, response.error["code"]) == (503, "no_ledger")
        path.rmdir()
        (tmp_path / "moved.db").rename(path)
        assert (await change(s, "", {"name": "ci"})).status == 201


async def test_where_there_is_an_admin_key_only_that_opens_the_metrics(tmp_path: Path) -> None:
    key = create_key(tmp_path / "s.db", Tenant("ci", ""), 1.0).secret
    async with administered(tmp_path) as s:
        assert [(await get(s, "/metrics", h)).status for h in (AUTH, {"api-key": key}, {})] == [200, 401, 401]


def test_admin_routes_need_a_store() -> None:
    with pytest.raises(ConfigError, match="store"):
        create_app({}, make_pool("http://127.0.0.1:9"), Silent({}), admin_key=digest_secret(ADMIN))
