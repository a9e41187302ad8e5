"""The form that a caller wants of an answer: `response_format` of OpenAI's API. Pure data."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

__all__ = ["AnswerFormat"]


class AnswerFormat(Struct, frozen=True, omit_defaults=True):
    """One JSON value, of a schema or any object."""

    body: dict[str, Any]
    """The caller's own `response_format`, which members are sent as it is."""

    @property
    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema that an answer must fit; of "json_object" any object does."""
        described = self.body.get("json_schema")
        schema = described.get("schema") if isinstance(described, dict) else None
        if self.body.get("type") == "json_schema":
            return schema if isinstance(schema, dict) else {}
        return {"type": "object"}
