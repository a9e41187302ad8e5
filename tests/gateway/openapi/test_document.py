"""The OpenAPI document names every route and every field."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from starlette.routing import Route

from routemoa.clients.http import HttpClient
from routemoa.core.pool_file.pool import Pool
from routemoa.core.tables.batches_table import BatchSettings
from routemoa.core.types import ModelSpec
from routemoa.gateway import create_app
from routemoa.gateway.openapi import build_document, render_page
from tests.gateway.harness import Script, serving
from tests.gateway.messages_api.test_request import VALID as MESSAGES_BODY
from tests.gateway.responses_api.test_request import VALID as RESPONSES_BODY

DOCUMENT = build_document("1.2.3")
SCHEMAS = DOCUMENT["components"]["schemas"]


def refs(value: Any) -> set[str]:
    if isinstance(value, dict):
        return {value["$ref"]} if "$ref" in value else set().union(*map(refs, value.values()))
    return set().union(*map(refs, value)) if isinstance(value, list) else set()


def test_every_route_is_described_and_no_other(tmp_path: Path) -> None:
    batches = BatchSettings(folder=str(tmp_path))
    pool = Pool((ModelSpec("a", "http://127.0.0.1:9/v1", "a", prior=0.6),), batches=batches)
    app = create_app({"routemoa": Script()}, pool, HttpClient())
    routes = {
        (method.lower(), re.sub(r":\w+", "", route.path.rstrip("/") or "/"))
        for route in app.routes
        if isinstance(route, Route)
        for method in (route.methods or set()) - {"HEAD"}
    }
    assert routes == {(method, path) for path, methods in DOCUMENT["paths"].items() for method in methods}


def test_references_lead_somewhere() -> None:
    assert {f"#/components/schemas/{name}" for name in SCHEMAS} == refs(DOCUMENT)
    ids = [route["operationId"] for methods in DOCUMENT["paths"].values() for route in methods.values()]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize(("schema", "body"), [("ResponsesRequest", RESPONSES_BODY), ("MessagesRequest", MESSAGES_BODY)])
def test_schemas_take_full_requests(schema: str, body: dict[str, Any]) -> None:
    import jsonschema_rs

    described = {**SCHEMAS[schema], "components": DOCUMENT["components"]}
    validator = jsonschema_rs.Draft202012Validator(described)
    assert [e.message for e in validator.iter_errors(body)] == []
    assert not validator.is_valid({**body, "wings": 2})
    assert not validator.is_valid({k: v for k, v in body.items() if k != "model"})


async def test_they_are_served_and_the_page_loads_nothing() -> None:
    async with serving(Script()) as served:
        raw = await served.connect(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert (await raw.whole()).json["openapi"] == "3.1.0"
        raw = await served.connect(b"GET /docs HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        page = await raw.whole()
        assert page.headers["content-security-policy"].startswith("default-src 'none'")
        assert page.headers["content-type"].startswith("text/html")
        text = page.body.decode()
        assert not re.search(r"https?:|//|<script|<link|@import|url\(|src=", text.replace("<!doctype", ""))
        for path in DOCUMENT["paths"]:
            assert f"<code>{path}</code>" in text


def test_what_a_document_says_is_escaped() -> None:
    document = msgspec.json.decode(msgspec.json.encode(DOCUMENT))
    document["info"]["description"] = "<script>"
    assert "<script>" not in render_page(document)
