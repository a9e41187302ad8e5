"""Checks, under a limit, that a request body asks for nothing whose cost has no upper bound. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from routemoa.core.errors import QueryError
from routemoa.gateway.chat_api.requests import SAMPLING_FIELDS

__all__ = ["BOUNDED_FIELDS", "check_bounded", "check_bounded_fields", "check_bounded_messages"]

BOUNDED_FIELDS = {
    *SAMPLING_FIELDS,
    *("model", "messages", "stream", "stream_options", "response_format", "user", "metadata", "store"),
    *("safety_identifier", "prompt_cache_key", "tools", "tool_choice", "parallel_tool_calls", "functions"),
    *("function_call", "logprobs", "top_logprobs", "logit_bias", "reasoning_effort", "verbosity", "top_k", "min_p"),
    *(
        "top_a",
        "prompt_cache_retention",
        "repetition_penalty",
        "length_penalty",
        "chat_template_kwargs",
        "guided_json",
        "guided_regex",
    ),
    *("guided_choice", "guided_grammar", "grammar", "json_schema", "ignore_eos", "min_tokens", "skip_special_tokens"),
}
"""Fields whose cost is bounded by the bytes of the prompt and the token limit of the answer.

Any other field may buy something: another model, a search, pictures, a faster service. What a member's `parameters` in
the pool file buy is the decision of its owner.
"""
HARMLESS_VALUES: dict[str, tuple[Any, ...]] = {
    "n": (None, 1),
    "modalities": (None, ["text"]),
    "service_tier": (None, "auto", "default", "flex"),
    "audio": (None,),
    "prediction": (None,),
    "web_search_options": (None,),
}
"""Other field -> the values that buy nothing."""
UNBOUNDED = "its cost has no upper bound, and this request has a limit (max_cost, max_output_tokens or a budget)"


def check_bounded(body: Mapping[str, Any], fields: Collection[str] = BOUNDED_FIELDS) -> None:
    """Check that a call with this body has a known worst case.

    Args:
        body: of the call.
        fields: whose cost is bounded.

    Raises:
        QueryError: it has none; `param` names the field.
    """
    check_bounded_fields(body, fields)
    check_bounded_messages(body.get("messages"))
    for i, tool in enumerate(_items(body.get("tools"))):
        if not isinstance(tool, dict) or tool.get("type") not in ("function", "custom"):
            raise QueryError(f"'tools[{i}]' is not a function: {UNBOUNDED}; leave it out", f"tools[{i}]")


def check_bounded_fields(body: Mapping[str, Any], fields: Collection[str] = BOUNDED_FIELDS) -> None:
    """Check that no field of a body buys something without an upper bound. Raises QueryError."""
    for name, value in body.items():
        if name == "n" and value not in HARMLESS_VALUES["n"]:
            raise QueryError(f"'n': a request with a limit gets one answer; send it {value!r:.20} times instead", "n")
        if name not in fields and value not in HARMLESS_VALUES.get(name, (None,)):
            raise QueryError(f"'{name[:100]}': {UNBOUNDED}; leave it out", name[:100])


def check_bounded_messages(messages: Any) -> None:
    """Check that no message holds what has a price of its own. Raises QueryError."""
    for i, message in enumerate(_items(messages)):
        if isinstance(message, dict):
            if isinstance(parts := message.get("content"), list):
                _check_parts(f"messages[{i}].content", parts)
            if message.get("audio") is not None:
                where = f"messages[{i}].audio"
                raise QueryError(f"'{where}': {UNBOUNDED}; send text", where)


def _check_parts(where: str, parts: list[Any]) -> None:
    for j, part in enumerate(parts):
        kind = part.get("type") if isinstance(part, dict) else None
        if kind not in ("text", "refusal", "image_url"):  # audio has prices of its own, and files have services
            param = f"{where}[{j}]"
            raise QueryError(f"'{param}' is no text and no image (audio, a file): {UNBOUNDED}; send text", param)


def _items(value: Any) -> Iterator[Any]:
    """Return the items of an array; none of any other value, which the endpoint itself refuses."""
    return iter(value if isinstance(value, list) else ())
