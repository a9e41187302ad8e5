"""Reads OpenAI's chat JSON as a query for a method. Pure; `responses` is the way back.

A mixture accepts only what every model behind it can do. Anything else is refused by name, so that no caller believes
it had an effect. Nothing in a body reaches an endpoint's address, a file or a key.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from routemoa.core.chat.messages import UNSUPPORTED, parse_messages, raise_wrong_type
from routemoa.core.errors import QueryError
from routemoa.core.types import Query
from routemoa.gateway.chat_api.answer_format import parse_answer_format
from routemoa.gateway.chat_api.checks import INT64, integer_from, number_between
from routemoa.gateway.chat_api.option_fields import NO_EFFECT, OPTION_FIELDS, parse_choice_count
from routemoa.gateway.chat_api.tool_fields import TOOL_FIELDS, parse_tool_use

__all__ = ["SAMPLING_FIELDS", "ChatRequest", "parse_chat_request"]

REMEDY = "; name one model of the pool as `model` instead (GET /v1/models)"
READ_FIELDS = {"model", "messages", "stream", "stream_options", "response_format", "n"}
IGNORED_FIELDS = {"user", "metadata", "safety_identifier", "prompt_cache_key", "prompt_cache_retention"}
"""They identify the user, or say what is kept, and do not change the answer."""
REFUSED_FIELDS: dict[str, tuple[str, tuple[Any, ...]]] = {
    "functions": ("use `tools`", (None, [])),
    "function_call": ("use `tool_choice`", (None, "none", "auto")),
    "modalities": ("answers are text, as spoken ones cannot be compared", (None, ["text"])),
    "audio": ("answers are text, as spoken ones cannot be compared", (None,)),
    "web_search_options": ("members search in different ways", (None,)),
    "store": ("nothing is stored at a provider", (None, False)),
}
"""Field -> why a mixture refuses it, as `docs/parameters.md` has it; the values that have no effect, which are
accepted."""
RESERVED_NAMES = {"system", "cache_control"}
"""No fields of OpenAI's API, and never passed on: a dialect has another meaning for these names (`clients.dialect`)."""
MAX_UNKNOWN = 32
"""Fields that a request may have beyond those that are known, where these are passed on."""
MAX_NAME = 64
"""Characters of the name of such a field."""


class ChatRequest(Struct, frozen=True):
    """A chat completion requested from a method."""

    query: Query
    stream: bool = False
    include_usage: bool = False
    """The stream ends with a chunk of token counts."""
    ignored: tuple[str, ...] = ()
    """Fields that no model is sent, as they do not change the answer; they stand in `routemoa.ignored`."""


def parse_chat_request(body: Mapping[str, Any], *, pass_unknown: bool = False) -> ChatRequest:
    """Read a request for a method.

    Args:
        body: of the request.
        pass_unknown: send fields that are not known to the members; else they are refused.

    Raises:
        QueryError: it is malformed, or asks for what a mixture cannot do; `param` names the field.
    """
    parameters = _parse_parameters(body, pass_unknown=pass_unknown)
    stream = _parse_optional_bool("stream", body.get("stream"))
    query = Query(parse_messages(body.get("messages"), REMEDY), parameters, tools=parse_tool_use(body))
    answer_format, choices = parse_answer_format(body.get("response_format")), parse_choice_count(body.get("n"))
    query = replace(query, answer_format=answer_format, choices=choices)
    return ChatRequest(query, stream, _parse_include_usage(body.get("stream_options"), stream))


def _parse_parameters(body: Mapping[str, Any], *, pass_unknown: bool) -> dict[str, Any]:
    """Return the parameters to send with every call; refuse fields that would have no effect."""
    parameters: dict[str, Any] = {}
    unknown = 0
    for name, value in body.items():
        if name in SAMPLING_FIELDS:
            if value not in NO_VALUE[name]:
                parameters[name] = SAMPLING_FIELDS[name](name, value)
        elif name in OPTION_FIELDS:
            if value not in NO_EFFECT[name]:
                parameters[name] = OPTION_FIELDS[name](name, value)
        elif name in REFUSED_FIELDS:
            why, without_effect = REFUSED_FIELDS[name]
            if value not in without_effect:
                raise QueryError(f"'{name}': {UNSUPPORTED} ({why}){REMEDY}", name)
        elif name not in READ_FIELDS and name not in IGNORED_FIELDS and name not in TOOL_FIELDS:
            unknown += 1
            if not pass_unknown or name in RESERVED_NAMES or len(name) > MAX_NAME or unknown > MAX_UNKNOWN:
                raise QueryError(f"Unrecognized request argument supplied: {name[:100]}", name[:100])
            parameters[name] = value
    if "top_logprobs" in parameters and "logprobs" not in parameters:
        raise QueryError("'top_logprobs' is only allowed with logprobs: true", "top_logprobs")
    return parameters


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


def _stop_sequences(name: str, value: Any) -> str | list[str]:
    sequences = value if isinstance(value, list) else [value]
    if not all(isinstance(s, str) for s in sequences):
        raise_wrong_type(name, "a string or an array of strings", value)
    if not 1 <= len(sequences) <= 4 or "" in sequences:
        raise QueryError(f"'{name}' takes from 1 to 4 sequences, none of them empty", name)
    checked: str | list[str] = value
    return checked


SAMPLING_FIELDS: dict[str, Callable[[str, Any], Any]] = {
    "temperature": number_between(0, 2),
    "top_p": number_between(0, 1),
    "presence_penalty": number_between(-2, 2),
    "frequency_penalty": number_between(-2, 2),
    "max_tokens": integer_from(1),
    "max_completion_tokens": integer_from(1),
    "seed": integer_from(-INT64),
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
