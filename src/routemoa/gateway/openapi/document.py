"""The OpenAPI document of the server's routes. Pure."""

from __future__ import annotations

from typing import Any

from routemoa.gateway.batches.jobs.row_request import BATCH_APIS
from routemoa.gateway.chat_api import requests
from routemoa.gateway.chat_api.option_fields import OPTION_FIELDS
from routemoa.gateway.chat_api.tool_fields import TOOL_FIELDS
from routemoa.gateway.members.member_routes import COMPLETIONS, EMBEDDINGS
from routemoa.gateway.messages_api.request import REQUEST_FIELDS as MESSAGES_FIELDS
from routemoa.gateway.openapi.fields import request_schema
from routemoa.gateway.responses_api.request import REQUEST_FIELDS as RESPONSES_FIELDS
from routemoa.gateway.traces.feedback import FEEDBACK_SCHEMA

__all__ = ["CHAT_FIELDS", "build_document"]

CHAT_FIELDS = {
    *requests.READ_FIELDS,
    *TOOL_FIELDS,
    *requests.SAMPLING_FIELDS,
    *requests.IGNORED_FIELDS,
    *requests.REFUSED_FIELDS,
    *OPTION_FIELDS,
}
POSTS = {
    "/v1/chat/completions": ("ChatRequest", "A chat completion, as OpenAI has it"),
    "/v1/responses": ("ResponsesRequest", "A response, as OpenAI has it"),
    "/v1/messages": ("MessagesRequest", "A message, as Anthropic has it"),
    "/v1/messages/count_tokens": ("CountRequest", "An estimate of a prompt's tokens"),
    "/v1/completions": ("CompletionsRequest", "A text completion of a member of the pool, passed through"),
    "/v1/feedback": ("FeedbackRequest", "What a caller says of an answer, by the id of its response"),
    "/v1/embeddings": ("EmbeddingsRequest", "Embeddings of a member of the pool, passed through"),
    "/v1/files": ("FileForm", "A file for a batch, as OpenAI has it; only where the server takes batches"),
    "/v1/batches": ("BatchRequest", "A batch of requests, as OpenAI has it; only where the server takes batches"),
    "/v1/batches/{id}/cancel": ("", "Stops a batch"),
}
"""Path -> the schema of its request, and what it answers."""
BATCH_POSTS = {"/v1/files", "/v1/batches", "/v1/batches/{id}/cancel"}
WITHOUT_STREAM = {"/v1/messages/count_tokens", "/v1/embeddings", "/v1/feedback", *BATCH_POSTS}
GETS = {
    "/": "The dashboard and playground, for browsers",
    "/v1/traces/{id}": "How an answer came about, by the id of its response",
    "/v1/files": "The caller's files",
    "/v1/files/{id}": "One of them",
    "/v1/files/{id}/content": "Its content",
    "/v1/batches": "The caller's batches",
    "/v1/batches/{id}": "One of them",
    "/v1/models": "The models that a request may name",
    "/v1/models/{id}": "One of them",
    "/healthz": "Whether the server works; with ?verbose also how well each member is",
    "/readyz": "Whether it can answer: 503 while all members cool down, or the ledger cannot be written",
    "/metrics": "What was counted, for Prometheus",
    "/openapi.json": "This document",
    "/docs": "A page of it",
}
TEXTS = {
    "/": "text/html",
    "/docs": "text/html",
    "/metrics": "text/plain",
    "/v1/files/{id}/content": "application/jsonl",
}
"""Path -> the media type of what is no JSON."""
LIMIT_TEXTS = {
    "max_cost": ("number", "Dollars of all calls together"),
    "max_seconds": ("number", "From the arrival of the request to the end of the answer"),
    "max_calls": ("integer", "Calls to models, retries included"),
    "max_output_tokens": ("integer", "Tokens that all models write together"),
    "stream_mode": ("string", "final, leader or events"),
    "prefer": ("string", "quality, balanced, cheap or fast, in place of the pool file's"),
}


def build_document(version: str) -> dict[str, Any]:
    """Return the document. It says nothing about the models of one server."""
    paths: dict[str, Any] = {path: {"post": _describe_post(path)} for path in POSTS}
    for path in GETS:
        paths.setdefault(path, {})["get"] = _describe_get(path)
    for kind, path in (("file", "/v1/files/{id}"), ("batch", "/v1/batches/{id}")):
        paths[path]["delete"] = {**_describe_get(path), "operationId": f"delete_{kind}"}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "RouteMoA",
            "version": version,
            "description": "A mixture of language models behind one model name.",
        },
        "paths": paths,
        "components": {
            "schemas": _describe_schemas(),
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "A tenant's key, where there are any"},
                "x_api_key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
                "api_key": {"type": "apiKey", "in": "header", "name": "api-key"},
            },
        },
        "security": [{}, {"bearer": []}, {"x_api_key": []}, {"api_key": []}],
    }


def _describe_post(path: str) -> dict[str, Any]:
    schema, summary = POSTS[path]
    content: dict[str, Any] = {"application/json": {"schema": {"type": "object"}}}
    if path not in WITHOUT_STREAM:
        content["text/event-stream"] = {"schema": {"type": "string"}}
    described: dict[str, Any] = {
        "summary": summary,
        "operationId": path.removeprefix("/v1/").replace("/", "_").translate({ord(c): None for c in "{}"}),
        "responses": {"200": {"description": summary, "content": content}, "default": _describe_error(path)},
    }
    if schema:
        kind = "multipart/form-data" if path == "/v1/files" else "application/json"
        described["requestBody"] = {"required": True, "content": {kind: {"schema": _ref(schema)}}}
    return described | _path_parameters(path)


def _describe_get(path: str) -> dict[str, Any]:
    kind = TEXTS.get(path, "application/json")
    schema = {"type": "string" if path in TEXTS else "object"}
    described: dict[str, Any] = {
        "summary": GETS[path],
        "operationId": "get_" + (path.strip("/") or "page").replace("/", "_").translate({ord(c): None for c in "{}."}),
        "responses": {
            "200": {"description": GETS[path], "content": {kind: {"schema": schema}}},
            "default": _describe_error(path),
        },
    }
    return described | _path_parameters(path)


def _path_parameters(path: str) -> dict[str, Any]:
    if "{id}" not in path:
        return {}
    return {"parameters": [{"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}]}


def _describe_error(path: str) -> dict[str, Any]:
    schema = "MessagesError" if path.startswith("/v1/messages") else "Error"
    return {"description": "An error", "content": {"application/json": {"schema": _ref(schema)}}}


def _describe_schemas() -> dict[str, Any]:
    completions = {*("model", "prompt", "n"), *(set(COMPLETIONS.bounded_fields) - CHAT_FIELDS)}
    completions |= {"stream", "stream_options", "max_tokens", "temperature", "top_p", "stop", "seed"}
    text = {"type": "string"}
    nullable = {"type": ["string", "null"]}
    error = {"message": text, "type": text, "param": nullable, "code": nullable}
    limits = {key: {"type": LIMIT_TEXTS[key][0], "description": LIMIT_TEXTS[key][1]} for key in LIMIT_TEXTS}
    return {
        "ChatRequest": request_schema(CHAT_FIELDS, ["model", "messages"], more=True),
        "ResponsesRequest": request_schema(RESPONSES_FIELDS, ["model", "input"]),
        "MessagesRequest": request_schema(MESSAGES_FIELDS, ["model", "max_tokens", "messages"]),
        "CountRequest": request_schema(MESSAGES_FIELDS, ["model", "messages"]),
        "CompletionsRequest": request_schema(completions, ["model", "prompt"], more=True),
        "EmbeddingsRequest": request_schema(EMBEDDINGS.bounded_fields, ["model", "input"], more=True),
        "FeedbackRequest": FEEDBACK_SCHEMA,
        "FileForm": _object({"file": {"type": "string", "format": "binary"}, "purpose": {"const": "batch"}}),
        "BatchRequest": {
            "type": "object",
            "required": ["input_file_id", "endpoint"],
            "properties": {
                "input_file_id": text,
                "endpoint": {"type": "string", "enum": list(BATCH_APIS)},
                "completion_window": {"const": "24h"},
                "metadata": {"type": "object", "additionalProperties": text},
            },
        },
        "Limits": {
            "type": "object",
            "description": "What the request may take, all its calls together",
            "properties": limits,
            "additionalProperties": False,
        },
        "Error": _object({"error": _object(error)}),
        "MessagesError": _object({"type": {"const": "error"}, "error": _object({"type": text, "message": text})}),
    }


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "required": list(properties), "properties": properties}


def _ref(schema: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{schema}"}
