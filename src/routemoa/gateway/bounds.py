"""What a member's call can take at most is known of text alone: what else a body may ask for. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from routemoa.core.errors import QueryError
from routemoa.gateway.requests import SAMPLING

__all__ = ["check_bounded"]

# What a prompt's bytes and the limit of its answer bound. Anything else may buy something: another model, a search,
# pictures, a faster service. A member's own `parameters` in the pool file are its owner's decision.
BOUNDED = {
    *SAMPLING,
    *("model", "messages", "stream", "stream_options", "response_format", "user", "metadata", "store"),
    *("safety_identifier", "prompt_cache_key", "tools", "tool_choice", "parallel_tool_calls", "functions"),
    *("function_call", "logprobs", "top_logprobs", "logit_bias", "reasoning_effort", "verbosity", "top_k", "min_p"),
    *("top_a", "repetition_penalty", "length_penalty", "chat_template_kwargs", "guided_json", "guided_regex"),
    *("guided_choice", "guided_grammar", "grammar", "json_schema", "ignore_eos", "min_tokens", "skip_special_tokens"),
}
HARMLESS: dict[str, tuple[Any, ...]] = {  # field -> the values that ask for nothing
    "n": (None, 1),
    "modalities": (None, ["text"]),
    "service_tier": (None, "auto", "default", "flex"),
    "audio": (None,),
    "prediction": (None,),
    "web_search_options": (None,),
}
WHY = "what it can cost cannot be bounded, and this request has a limit (max_cost, max_output_tokens or a budget)"


def check_bounded(body: Mapping[str, Any]) -> None:
    """Raise QueryError where nobody can say what a call with this body takes at most; `param` names the field."""
    for name, value in body.items():
        if name == "n" and value not in HARMLESS["n"]:
            raise QueryError(
                f"'n': under a limit one answer is paid for at a time; ask {value!r:.20} times instead", "n"
            )
        if name not in BOUNDED and value not in HARMLESS.get(name, (None,)):
            raise QueryError(f"'{name[:100]}': {WHY}; leave it out", name[:100])
    messages = body.get("messages")
    for i, message in enumerate(messages if isinstance(messages, list) else ()):
        content = message.get("content") if isinstance(message, dict) else None
        for j, part in enumerate(content if isinstance(content, list) else ()):
            if not isinstance(part, dict) or part.get("type") not in ("text", "refusal"):
                where = f"messages[{i}].content[{j}]"
                raise QueryError(f"'{where}' is no text part (an image, audio, a file): {WHY}; send text", where)
        if isinstance(message, dict) and message.get("audio") is not None:
            raise QueryError(f"'messages[{i}].audio': {WHY}; send text", f"messages[{i}].audio")
    tools = body.get("tools")
    for i, tool in enumerate(tools if isinstance(tools, list) else ()):
        if not isinstance(tool, dict) or tool.get("type") not in ("function", "custom"):
            raise QueryError(f"'tools[{i}]' is no function: {WHY}; leave it out", f"tools[{i}]")
