"""Checks the fields of a request that only some models know: they are sent to every member, and left out where one
refuses them. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from routemoa.core.chat.messages import raise_wrong_type
from routemoa.core.errors import QueryError
from routemoa.gateway.chat_api.checks import integer_from, number_between

__all__ = ["MAX_CHOICES", "NO_EFFECT", "OPTION_FIELDS", "parse_choice_count"]

MAX_CHOICES = 8
"""Answers that one request may ask for."""
MAX_BIASES = 1024
"""Tokens of `logit_bias`."""


def parse_choice_count(value: Any) -> int:
    """Return how many answers `n` asks for. Raises QueryError."""
    if value is None:
        return 1
    if isinstance(value, bool) or not isinstance(value, int):
        raise_wrong_type("n", "an integer", value)
    if not 1 <= value <= MAX_CHOICES:
        raise QueryError(f"'n' must be from 1 to {MAX_CHOICES}: a mixture gives so many different answers", "n")
    return value


def _one_of(*known: str) -> Callable[[str, Any], str]:
    def check(name: str, value: Any) -> str:
        if not isinstance(value, str):
            raise_wrong_type(name, "a string", value)
        if value not in known:
            raise QueryError(f"'{name}' must be one of {', '.join(known)}", name)
        return value

    return check


def _boolean(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise_wrong_type(name, "a boolean", value)
    return value


def _object(name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise_wrong_type(name, "an object", value)
    return value


def _biases(name: str, value: Any) -> dict[str, Any]:
    biases = _object(name, value)
    if len(biases) > MAX_BIASES:
        raise QueryError(f"'{name}' has {len(biases)} entries; it may have {MAX_BIASES}", name)
    check = number_between(-100, 100)
    for token, bias in biases.items():
        check(f"{name}.{token[:40]}", bias)
    return biases


def _prediction(name: str, value: Any) -> dict[str, Any]:
    prediction = _object(name, value)
    if prediction.get("type") != "content" or not isinstance(prediction.get("content"), str | list):
        raise QueryError(f"'{name}' must be an object with type 'content' and the predicted content", name)
    return prediction


OPTION_FIELDS: dict[str, Callable[[str, Any], Any]] = {
    "logprobs": _boolean,
    "top_logprobs": integer_from(0, 20),
    "reasoning_effort": _one_of("none", "minimal", "low", "medium", "high", "xhigh", "max"),
    "verbosity": _one_of("low", "medium", "high"),
    "top_k": integer_from(-1),
    "min_p": number_between(0, 1),
    "top_a": number_between(0, 1),
    "repetition_penalty": number_between(0, 10),
    "logit_bias": _biases,
    "service_tier": _one_of("auto", "default", "flex", "priority", "scale", "standard_only"),
    "prediction": _prediction,
    "chat_template_kwargs": _object,
}
"""Field -> what checks and returns its value."""
NO_EFFECT: dict[str, Collection[Any]] = {
    **dict.fromkeys(OPTION_FIELDS, (None,)),
    "logprobs": (None, False),
    "top_logprobs": (None, 0),
    "logit_bias": (None, {}),
    "chat_template_kwargs": (None, {}),
    "service_tier": (None, "auto"),
}
"""Field -> the values with which clients say that they do not set it."""
