"""Reads OpenAI's chat JSON as a query for a method. Pure; `responses` is the way back.

A mixture accepts only what every model behind it can do. Anything else is refused by name, so that no caller believes
it had an effect. Nothing in a body reaches an endpoint's address, a file or a key.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

from routemoa.core.errors import QueryError
from routemoa.core.messages import parse_messages, raise_wrong_type
from routemoa.core.types import Query

__all__ = ["SAMPLING_FIELDS", "ChatRequest", "parse_chat_request"]

REMEDY = "; name one model of the pool as `model` instead (GET /v1/models)"
UNSUPPORTED = f"a mixture does not support this{REMEDY}"
INT64 = 2**63

READ_FIELDS = {"model", "messages", "stream", "stream_options", "response_format"}
IGNORED_FIELDS = {"user", "metadata", "safety_identifier", "prompt_cache_key"}
"""They identify the user and do not change the answer."""
REFUSED_FIELDS: dict[str, tuple[Any, ...]] = {
    "n": (None, 1),
    "tools": (None, []),
    "tool_choice": (None, "none", "auto"),
    "parallel_tool_calls": (None, True, False),
    "functions": (None, []),
    "function_call": (None, "none", "auto"),
    "logprobs": (None, False),
    "top_logprobs": (None, 0),
    "logit_bias": (None, {}),
    "modalities": (None, ["text"]),
    "audio": (None,),
    "prediction": (None,),
    "reasoning_effort": (None,),
    "verbosity": (None,),
    "web_search_options": (None,),
    "service_tier": (None, "auto", "default"),
    "store": (None, False),
}
"""Field -> the values that have no effect, which are accepted."""


class ChatRequest(Struct, frozen=True):
    """A chat completion requested from a method."""

    query: Query
    stream: bool = False
    include_usage: bool = False
    """The stream ends with a chunk of token counts."""


def parse_chat_request(body: Mapping[str, Any]) -> ChatRequest:
    """Read a request for a method.

    Raises:
        QueryError: it is malformed, or asks for what a mixture cannot do; `param` names the field.
    """
    parameters = _parse_parameters(body)
    _check_response_format(body.get("response_format"))
    stream = _parse_optional_bool("stream", body.get("stream"))
    query = Query(parse_messages(body.get("messages"), REMEDY), parameters)
    return ChatRequest(query, stream, _parse_include_usage(body.get("stream_options"), stream))


def _parse_parameters(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the sampling parameters; refuse fields that would have no effect."""
    parameters: dict[str, Any] = {}
    for name, value in body.items():
        if name in SAMPLING_FIELDS:
            if value not in NO_VALUE[name]:
                parameters[name] = SAMPLING_FIELDS[name](name, value)
        elif name in REFUSED_FIELDS:
            if value not in REFUSED_FIELDS[name]:
                raise QueryError(f"'{name}': {UNSUPPORTED}", name)
        elif name not in READ_FIELDS and name not in IGNORED_FIELDS:
            raise QueryError(f"Unrecognized request argument supplied: {name[:100]}", name[:100])
    return parameters


def _check_response_format(value: Any) -> None:
    if value is None:
        return
    if not isinstance(value, dict):
        raise_wrong_type("response_format", "an object", value)
    if value.get("type") != "text":
        raise QueryError(f"'response_format' other than text: {UNSUPPORTED}", "response_format")


def _parse_include_usage(options: Any, stream: bool) -> bool:
    if options is None:
        return False
    if not isinstance(options, dict):
        raise_wrong_type("stream_options", "an object", options)
    include_usage = _parse_optional_bool("stream_options.include_usage", options.get("include_usage"))
    if include_usage and not stream:
        raise QueryError("'stream_options' is only allowed with stream: true", "stream_options")
    return include_usage


def _parse_optional_bool(where: str, value: Any) -> bool:
    if value is not None and not isinstance(value, bool):
        raise_wrong_type(where, "a boolean", value)
    return bool(value)


# --- sampling parameters


def _number(low: float, high: float) -> Callable[[str, Any], float]:
    def check(name: str, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise_wrong_type(name, "a number", value)
        if not low <= value <= high:
            raise QueryError(f"'{name}' is {value}; it must be from {low:g} to {high:g}", name)
        return value

    return check


def _integer(low: int) -> Callable[[str, Any], int]:
    def check(name: str, value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise_wrong_type(name, "an integer", value)
        if not low <= value < INT64:
            raise QueryError(f"'{name}' is out of range; it must be at least {low} and fit in 64 bits", name)
        return value

    return check


def _stop_sequences(name: str, value: Any) -> str | list[str]:
    sequences = value if isinstance(value, list) else [value]
    if not all(isinstance(s, str) for s in sequences):
        raise_wrong_type(name, "a string or an array of strings", value)
    if not 1 <= len(sequences) <= 4 or "" in sequences:
        raise QueryError(f"'{name}' takes from 1 to 4 sequences, none of them empty", name)
    checked: str | list[str] = value
    return checked


SAMPLING_FIELDS: dict[str, Callable[[str, Any], Any]] = {
    "temperature": _number(0, 2),
    "top_p": _number(0, 1),
    "presence_penalty": _number(-2, 2),
    "frequency_penalty": _number(-2, 2),
    "max_tokens": _integer(1),
    "max_completion_tokens": _integer(1),
    "seed": _integer(-INT64),
    "stop": _stop_sequences,
}
"""Sampling parameter -> what checks and returns its value."""
NO_VALUE: dict[str, tuple[Any, ...]] = {
    **dict.fromkeys(SAMPLING_FIELDS, (None,)),
    "stop": (None, [], "", [""]),
    "max_tokens": (None, -1),
    "max_completion_tokens": (None, -1),
}
"""Sampling parameter -> the values with which clients say that they do not set it."""
