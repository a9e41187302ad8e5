"""Reads the field of a request that says which form the answer has. Pure."""

from __future__ import annotations

from typing import Any

from routemoa.core.chat.messages import raise_wrong_type
from routemoa.core.content.answer_format import AnswerFormat
from routemoa.core.errors import QueryError
from routemoa.mixture.schemas.schema_check import check_schema

__all__ = ["parse_answer_format"]

FIELD = "response_format"


def parse_answer_format(value: Any) -> AnswerFormat | None:
    """Return the form of the answer; None where it may be any text.

    Raises:
        QueryError: there is no such form, or its schema is none; `param` names the place.
    """
    if value is None:
        return None
    if not isinstance(value, dict):
        raise_wrong_type(FIELD, "an object", value)
    kind = value.get("type")
    if kind == "text":
        return None
    if kind == "json_object":
        return AnswerFormat(value)
    if kind != "json_schema":
        raise QueryError(f"'{FIELD}.type' must be text, json_object or json_schema", f"{FIELD}.type")
    described = value.get("json_schema")
    if not isinstance(described, dict):
        raise_wrong_type(f"{FIELD}.json_schema", "an object with name and schema", described)
    if described.get("schema") is not None:
        check_schema(described["schema"], f"{FIELD}.json_schema.schema")
    return AnswerFormat(value)
