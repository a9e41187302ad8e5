"""A request of Anthropic's Messages API as one of chat completions. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from routemoa.core.chat.messages import raise_wrong_type
from routemoa.core.errors import QueryError
from routemoa.gateway.chat_api.translation import Translation, check_fields, expect, find_ignored
from routemoa.gateway.messages_api.content import translate_messages, translate_text_blocks

__all__ = ["REQUEST_FIELDS", "check_max_tokens", "translate_request"]

NOT_OFFERED = "this server does not offer it; leave it out"
REFUSED_FIELDS: dict[str, tuple[Any, ...]] = {"mcp_servers": (None, []), "compaction": (None,)}
"""Field -> the values that have no effect."""
IGNORED_FIELDS: dict[str, tuple[Any, ...]] = {
    **dict.fromkeys(("inference_geo", "diagnostics", "user_profile_id", "workspace_id"), (None,)),
    **dict.fromkeys(("fallback_credit_token", "billing_policy", "anthropic_version"), (None,)),
    **dict.fromkeys(("fallbacks", "betas", "anthropic_beta"), (None, [])),
    **dict.fromkeys(("context_management", "metadata", "container"), (None, {})),
    "service_tier": (None, "auto"),
    "speed": (None, "standard"),
    "thread": (None,),
}
"""Field that does not change the answer here -> the values that mean nothing elsewhere, either."""
SAME_FIELDS = {"model", "stream", "temperature", "top_p", "top_k", "max_tokens"}
"""They mean the same in a chat completion."""
READ_FIELDS = {
    *("messages", "system", "stop_sequences", "tools", "tool_choice", "cache_control"),
    *("thinking", "output_config", "output_format"),
}
REQUEST_FIELDS = {*SAME_FIELDS, *READ_FIELDS, *IGNORED_FIELDS, *REFUSED_FIELDS}
CHAT_FIELDS = {"stop", "n", "response_format", "max_completion_tokens", "functions", "function_call", "stream_options"}
"""They have another name here, or none."""
CHOICES = {"auto": "auto", "any": "required", "none": "none"}
EFFORTS = ((2_048, "low"), (8_192, "medium"))
"""Tokens to think, at most -> the level of `reasoning_effort` that is closest; more are "high"."""


def check_max_tokens(body: Mapping[str, Any]) -> None:
    """Check that the answer has a limit, as this API wants it. Raises QueryError."""
    if body.get("max_tokens") is None:
        raise QueryError("'max_tokens' is missing: the most tokens that the answer may have", "max_tokens")


def translate_request(body: Mapping[str, Any]) -> Translation:
    """Return the request in the words of chat completions.

    Raises:
        QueryError: it is malformed, or has no counterpart; `param` names the field.
    """
    check_fields(body, REFUSED_FIELDS, NOT_OFFERED)
    for name in CHAT_FIELDS & body.keys():
        raise QueryError(f"Unrecognized request argument supplied: {name}", name)
    messages, origins = translate_messages(body.get("messages"))
    if body.get("system") is not None:
        messages.insert(0, {"role": "system", "content": translate_text_blocks("system", body["system"])})
        origins.insert(0, "system")
    if body.get("cache_control") is not None:
        _mark_last(messages, expect("cache_control", body["cache_control"], dict))
    chat = {k: v for k, v in body.items() if k in SAME_FIELDS or k not in REQUEST_FIELDS}
    chat |= {"messages": messages, "stop": expect("stop_sequences", body.get("stop_sequences") or [], list)}
    if (tools := body.get("tools")) is not None:
        chat["tools"] = [_translate_tool(f"tools[{i}]", t) for i, t in enumerate(expect("tools", tools, list))]
    chat |= _translate_choice(body.get("tool_choice"))
    _check_ignored(body)
    config = expect("output_config", body.get("output_config") or {}, dict)
    if (form := config.get("format") or body.get("output_format")) is not None:
        chat["response_format"] = _translate_format(form)
    effort = config.get("effort") or _translate_thinking(body.get("thinking"))
    places = _places(origins, len(chat.get("tools", ())))
    return Translation({**chat, "reasoning_effort": effort}, places, find_ignored(body, IGNORED_FIELDS))


def _check_ignored(body: Mapping[str, Any]) -> None:
    """Check the fields that are ignored for what would change the answer. Raises QueryError."""
    metadata = expect("metadata", body.get("metadata") or {}, dict)
    if metadata.get("user_id") is not None:
        expect("metadata.user_id", metadata["user_id"], str)
    container = body.get("container")
    if isinstance(container, dict) and container.get("skills"):
        raise QueryError(f"'container.skills': {NOT_OFFERED}", "container.skills")
    if (thread := body.get("thread")) is not None and expect("thread", thread, dict).get("type") != "create":
        raise QueryError("'thread': conversations are not stored here; send the whole of it as `messages`", "thread")


def _places(origins: list[str], tools: int) -> dict[str, str]:
    """Return place in the body -> the place in the request; several messages may be one turn."""
    places = {
        "stop": "stop_sequences",
        "reasoning_effort": "output_config.effort",
        "response_format": "output_config.format",
        "response_format.json_schema": "output_config.format",
        "parallel_tool_calls": "tool_choice.disable_parallel_tool_use",
    }
    for i, origin in enumerate(origins):
        places |= {f"messages[{i}]": origin, f"messages[{i}].tool_call_id": f"{origin}.content"}
        if origin == "system":
            places[f"messages[{i}].content"] = origin
    for i in range(tools):
        places |= {f"tools[{i}].function": f"tools[{i}]", f"tools[{i}].function.parameters": f"tools[{i}].input_schema"}
    return places


def _mark_last(messages: list[dict[str, Any]], control: Mapping[str, Any]) -> None:
    """Put a cache mark on the last text of the prompt, where it can have one."""
    last = messages[-1] if messages else {}
    content = last.get("content")
    if last.get("role") == "tool" or not content:
        return
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
    if parts[-1]["type"] == "text" and parts[-1]["text"] and "cache_control" not in parts[-1]:
        mark = {key: control[key] for key in ("type", "ttl") if control.get(key) is not None}
        last["content"] = [*parts[:-1], {**parts[-1], "cache_control": mark}]


def _translate_tool(where: str, tool: Any) -> dict[str, Any]:
    if not isinstance(tool, dict):
        raise_wrong_type(where, "an object", tool)
    if (kind := tool.get("type")) not in (None, "custom"):
        place = f"{where}.type"
        raise QueryError(
            f"'{place}' is {str(kind)[:64]!r}, and this server has no tools of its own; leave it out, or "
            "declare a tool of yours with name and input_schema",
            place,
        )
    name = expect(f"{where}.name", tool.get("name"), str)
    if not name:
        raise QueryError(f"'{where}.name' is empty", f"{where}.name")
    parameters = expect(f"{where}.input_schema", tool.get("input_schema"), dict)
    known = {k: tool[k] for k in ("description", "strict") if tool.get(k) is not None}
    return {"type": "function", "function": {"name": name, **known, "parameters": parameters}}


def _translate_choice(choice: Any) -> dict[str, Any]:
    """Return the fields of a chat completion that say which tools may or must be called, and how many."""
    if choice is None:
        return {}
    kind = expect("tool_choice", choice, dict).get("type")
    fields: dict[str, Any] = {}
    if (single := choice.get("disable_parallel_tool_use")) is not None:
        fields["parallel_tool_calls"] = not expect("tool_choice.disable_parallel_tool_use", single, bool)
    if kind == "tool":
        name = expect("tool_choice.name", choice.get("name"), str)
        return {**fields, "tool_choice": {"type": "function", "function": {"name": name}}}
    if not isinstance(kind, str) or kind not in CHOICES:
        raise QueryError(f"'tool_choice.type' must be {', '.join(CHOICES)} or tool", "tool_choice.type")
    return {**fields, "tool_choice": CHOICES[kind]}


def _translate_format(form: Any) -> dict[str, Any]:
    form = expect("output_config.format", form, dict)
    if form.get("type") != "json_schema":
        raise QueryError("'output_config.format.type' must be json_schema", "output_config.format.type")
    described = {"name": "answer", "schema": form.get("schema"), "strict": True}
    return {"type": "json_schema", "json_schema": described}


def _translate_thinking(thinking: Any) -> str | None:
    """Return the level of `reasoning_effort` that is closest; None leaves it to the models."""
    if thinking is None:
        return None
    kind = expect("thinking.type", expect("thinking", thinking, dict).get("type"), str)
    if kind != "enabled":
        return None
    budget = expect("thinking.budget_tokens", thinking.get("budget_tokens"), int)
    return next((effort for most, effort in EFFORTS if budget <= most), "high")
