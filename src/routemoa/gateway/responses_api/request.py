"""A request of the Responses API as one of chat completions. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from routemoa.core.chat.messages import raise_wrong_type
from routemoa.core.errors import QueryError
from routemoa.gateway.api import Earlier
from routemoa.gateway.chat_api.translation import Translation, check_fields, expect, find_ignored
from routemoa.gateway.responses_api.items import translate_items
from routemoa.gateway.responses_api.tools import OWN_KINDS, read_tools, translate_choice

__all__ = ["REQUEST_FIELDS", "echo_request", "translate_request"]

NOT_STORED = "this server keeps no responses that could be continued; send the whole conversation as `input`"
NOT_OFFERED = "this server does not offer it; leave it out"

REFUSED_FIELDS: dict[str, tuple[Any, ...]] = {
    "background": (None, False),
    "prompt": (None,),
    "conversation": (None,),
    "moderation": (None,),
    "context_management": (None, []),
}
"""Field -> the values that have no effect."""
STORED_FIELDS: dict[str, tuple[Any, ...]] = {"previous_response_id": (None,)}
"""They need responses that are kept."""
IGNORED_FIELDS: dict[str, tuple[Any, ...]] = {
    "truncation": (None, "disabled"),
    **dict.fromkeys(("max_tool_calls", "prompt_cache_retention", "prompt_cache_options", "client_metadata"), (None,)),
}
"""Field that does not change the answer here -> the values that mean nothing elsewhere, either."""
SAME_FIELDS = {
    *("model", "stream", "temperature", "top_p", "parallel_tool_calls", "service_tier"),
    *("metadata", "user", "safety_identifier", "prompt_cache_key"),
}
"""They mean the same in a chat completion."""
READ_FIELDS = {
    *("input", "instructions", "max_output_tokens", "tools", "tool_choice", "text", "stream_options"),
    *("reasoning", "top_logprobs", "include", "store"),
}
REQUEST_FIELDS = {
    *SAME_FIELDS,
    *READ_FIELDS,
    *IGNORED_FIELDS,
    *REFUSED_FIELDS,
    *STORED_FIELDS,
}
CHAT_FIELDS = {"messages", "n", "response_format", "max_tokens", "max_completion_tokens", "functions", "function_call"}
"""They have another name here, or none."""
PLACES = {
    "messages": "input",
    "max_tokens": "max_output_tokens",
    "reasoning_effort": "reasoning.effort",
    "verbosity": "text.verbosity",
    "response_format": "text.format",
    "response_format.json_schema": "text.format",
}


def translate_request(body: Mapping[str, Any], earlier: Earlier = (), *, stores: bool = False) -> Translation:
    """Return the request in the words of chat completions.

    Args:
        body: of the request.
        earlier: the messages up to the response that it continues.
        stores: whether responses are kept, so that one can be continued.

    Raises:
        QueryError: it is malformed, or has no counterpart; `param` names the field.
    """
    if not stores:
        check_fields(body, STORED_FIELDS, NOT_STORED)
    check_fields(body, REFUSED_FIELDS, NOT_OFFERED)
    for name in CHAT_FIELDS & body.keys():
        raise QueryError(f"Unrecognized request argument supplied: {name}", name)
    messages, places = _translate_input(body, earlier)
    chat = {k: v for k, v in body.items() if k in SAME_FIELDS or k not in REQUEST_FIELDS}
    chat |= {"messages": messages, "max_tokens": body.get("max_output_tokens")}
    if (tools := read_tools(body.get("tools"))) is not None:
        chat["tools"] = [tool.function for tool in tools.values()]
    chat |= translate_choice(body.get("tool_choice"), tools or {})
    text = expect("text", body.get("text") or {}, dict)
    if (form := text.get("format")) is not None:
        chat["response_format"] = _translate_format(form)
    if body.get("metadata") is not None:
        expect("metadata", body["metadata"], dict)
    if body.get("stream_options") is not None:  # of its fields, none concerns the answer
        expect("stream_options", body["stream_options"], dict)
    reasoning = expect("reasoning", body.get("reasoning") or {}, dict)
    chat |= {
        "reasoning_effort": reasoning.get("effort"),
        "verbosity": text.get("verbosity"),
        **_translate_logprobs(body),
    }
    return Translation(chat, {**PLACES, **places}, find_ignored(body, IGNORED_FIELDS))


def echo_request(body: Mapping[str, Any], *, is_stored: bool = False) -> dict[str, Any]:
    """Return the fields of a response that repeat its request; `is_stored`: it is kept."""
    same = ("instructions", "max_output_tokens", "temperature", "top_p", "user", "reasoning", "max_tool_calls")
    return {
        **{name: body.get(name) for name in same},
        "metadata": body.get("metadata") or {},
        "parallel_tool_calls": body.get("parallel_tool_calls") is not False,
        "previous_response_id": body.get("previous_response_id"),
        "store": is_stored,
        "text": {"format": {"type": "text"}} | (body.get("text") or {}),
        "tool_choice": body.get("tool_choice") or "auto",
        "tools": [tool for tool in body.get("tools") or [] if tool["type"] in OWN_KINDS],
        "truncation": body.get("truncation") or "disabled",
        "top_logprobs": body.get("top_logprobs"),
    }


def _translate_input(body: Mapping[str, Any], earlier: Earlier) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Return the messages, and place of each -> the place in the request."""
    given = body.get("input")
    if isinstance(given, str):
        messages: list[dict[str, Any]] = [{"role": "user", "content": given}]
        places = ["input"]
    elif isinstance(given, list):
        messages, places = translate_items(given)
    else:
        raise_wrong_type("input", "a string or an array of items", given)
    messages[:0] = map(dict, earlier)
    places[:0] = ["previous_response_id"] * len(earlier)
    if (instructions := body.get("instructions")) is not None:
        messages.insert(0, {"role": "system", "content": expect("instructions", instructions, str)})
        places.insert(0, "instructions")
    ids = {f"messages[{i}].tool_call_id": f"{place}.call_id" for i, place in enumerate(places)}
    return messages, {f"messages[{i}]": place for i, place in enumerate(places)} | ids


def _translate_format(form: Any) -> dict[str, Any]:
    form = expect("text.format", form, dict)
    if form.get("type") != "json_schema":
        return {"type": form.get("type")}
    return {"type": "json_schema", "json_schema": {k: v for k, v in form.items() if k != "type"}}


def _translate_logprobs(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a chat completion that ask for log-probabilities, where the request does."""
    count = body.get("top_logprobs")
    if count is not None:
        expect("top_logprobs", count, int)
    include = body.get("include")
    if include is not None:
        expect("include", include, list)
    if count or (include and "message.output_text.logprobs" in include):
        return {"logprobs": True, "top_logprobs": count}
    return {}
