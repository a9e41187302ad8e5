"""The fields of requests, each with its JSON Schema. Pure data; which there are is said where they are read."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

__all__ = ["describe_fields", "request_schema"]

STRING: dict[str, Any] = {"type": "string"}
BOOLEAN: dict[str, Any] = {"type": ["boolean", "null"]}
OBJECT: dict[str, Any] = {"type": ["object", "null"]}
NUMBER: dict[str, Any] = {"type": ["number", "null"]}
COUNT: dict[str, Any] = {"type": ["integer", "null"], "minimum": 1}
OBJECTS: dict[str, Any] = {"type": "array", "items": {"type": "object"}}

FIELDS: dict[str, dict[str, Any]] = {
    "model": {**STRING, "description": "routemoa, a baseline, or a model of the pool (GET /v1/models)"},
    "messages": {**OBJECTS, "description": "The conversation, oldest first"},
    "input": {"type": ["string", "array"], "description": "A text, or an array"},
    "prompt": {"type": ["string", "array"], "description": "A text, or an array"},
    "instructions": {"type": ["string", "null"], "description": "The system text"},
    "system": {"type": ["string", "array"], "description": "The system text, or blocks of it"},
    "stream": {**BOOLEAN, "description": "Send the answer as server-sent events"},
    "stream_options": OBJECT,
    "temperature": {**NUMBER, "minimum": 0, "maximum": 2},
    "top_p": {**NUMBER, "minimum": 0, "maximum": 1},
    "presence_penalty": {**NUMBER, "minimum": -2, "maximum": 2},
    "frequency_penalty": {**NUMBER, "minimum": -2, "maximum": 2},
    "max_tokens": {**COUNT, "description": "The most tokens that the answer may have"},
    "max_completion_tokens": {**COUNT, "description": "The most tokens that the answer may have"},
    "max_output_tokens": {**COUNT, "description": "The most tokens that the answer may have"},
    "seed": {"type": ["integer", "null"]},
    "stop": {"type": ["string", "array", "null"], "description": "1 to 4 texts at which the answer ends"},
    "stop_sequences": {"type": "array", "items": STRING, "description": "Up to 4 texts at which the answer ends"},
    "tools": {**OBJECTS, "description": "Functions that the model may call"},
    "tool_choice": {"type": ["string", "object", "null"], "description": "Which tools may or must be called"},
    "parallel_tool_calls": {**BOOLEAN, "description": "Whether one turn may have several calls"},
    "response_format": {**OBJECT, "description": "The form of the answer: text, json_object or json_schema"},
    "text": {**OBJECT, "description": "`format`: the form of the answer"},
    "output_config": {**OBJECT, "description": "`format`: the JSON Schema of the answer"},
    "reasoning": {**OBJECT, "description": "`effort`: how much to think, where a model takes it"},
    "thinking": {**OBJECT, "description": "How much to think, where a model takes it"},
    "metadata": {**OBJECT, "description": "Of the caller"},
    "store": {**BOOLEAN, "description": "Accepted; nothing is stored"},
    "previous_response_id": {"type": ["string", "null"], "description": "The response that this one continues"},
    "encoding_format": {"type": "string", "enum": ["float", "base64"]},
    "dimensions": COUNT,
    "user": STRING,
}


def describe_fields(names: Collection[str]) -> dict[str, Any]:
    """Return the properties of a schema; a field without a description takes any value."""
    order = list(FIELDS)
    known = sorted((n for n in names if n in FIELDS), key=order.index)
    return {name: FIELDS.get(name, {}) for name in (*known, *sorted(set(names) - FIELDS.keys()))}


def request_schema(names: Collection[str], required: Collection[str], *, more: bool = False) -> Mapping[str, Any]:
    """Return the schema of a request's body.

    Args:
        names: of its fields.
        required: those that must be there.
        more: other fields are taken as well.
    """
    properties = {**describe_fields(names), "routemoa": {"$ref": "#/components/schemas/Limits"}}
    return {"type": "object", "required": list(required), "properties": properties, "additionalProperties": more}
