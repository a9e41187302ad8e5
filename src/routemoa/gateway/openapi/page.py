"""A page of the OpenAPI document that loads nothing: no script, no font, nothing of a third party. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

__all__ = ["PAGE_HEADERS", "render_page"]

PAGE_HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'",
    "x-content-type-options": "nosniff",
}
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
h2 { margin-top: 2.5rem; font-size: 1.1rem; } h2 b { color: #0a6; } code { font-size: 0.95em; }
table { border-collapse: collapse; width: 100%; } td, th { text-align: left; padding: 0.2rem 0.6rem 0.2rem 0;
  vertical-align: top; border-bottom: 1px solid #ddd; }
@media (prefers-color-scheme: dark) { body { background: #181818; color: #ddd; } a { color: #8bf; }
  td, th { border-color: #444; } }
"""


def render_page(document: Mapping[str, Any]) -> str:
    """Return the HTML of a document."""
    info = document["info"]
    routes = [
        _render_route(document, method, path, route)
        for path, methods in document["paths"].items()
        for method, route in methods.items()
    ]
    limits = _render_fields(document, document["components"]["schemas"]["Limits"])
    title = f"{escape(info['title'])} {escape(info['version'])}"
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head><body>\n'
        f'<h1>{title}</h1>\n<p>{escape(info["description"])} <a href="openapi.json">openapi.json</a></p>\n'
        + "\n".join(routes)
        + f"\n<h2>The object <code>routemoa</code> of a request</h2>\n{limits}\n</body></html>\n"
    )


def _render_route(document: Mapping[str, Any], method: str, path: str, route: Mapping[str, Any]) -> str:
    out = f"<h2><b>{escape(method.upper())}</b> <code>{escape(path)}</code></h2>\n<p>{escape(route['summary'])}.</p>"
    body = route.get("requestBody")
    if body is None:
        return out
    content = next(iter(body["content"].values()))
    return f"{out}\n{_render_fields(document, content['schema'])}"


def _render_fields(document: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    schema = _resolve(document, schema)
    required = schema.get("required", [])
    rows = "".join(
        f"<tr><td><code>{escape(name)}</code></td><td>{escape(_kind(field, required=name in required))}</td>"
        f"<td>{escape(field.get('description', ''))}</td></tr>\n"
        for name, value in schema["properties"].items()
        for field in [_resolve(document, value)]
    )
    return f"<table><tr><th>field</th><th>type</th><th></th></tr>\n{rows}</table>"


def _kind(field: Mapping[str, Any], *, required: bool) -> str:
    kinds = field.get("type", "any")
    shown = " or ".join(kinds) if isinstance(kinds, list) else str(kinds)
    return f"{shown}, required" if required else shown


def _resolve(document: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the schema that is meant, where another is named."""
    name = schema.get("$ref")
    if name is None:
        return schema
    found: Mapping[str, Any] = document["components"]["schemas"][name.rpartition("/")[2]]
    return found
