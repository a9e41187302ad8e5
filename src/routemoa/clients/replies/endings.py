"""How an answer ended: the finish reasons of all endpoints, under OpenAI's four names. Pure."""

from __future__ import annotations

from typing import Any

__all__ = ["is_known_ending", "read_ending"]

ENDINGS = {
    "stop": "stop eos eos_token eos_found end_turn end_of_turn stop_sequence stop_word stop_token stop_str complete "
    "completed finish finished done end normal natural",
    "length": "length max_tokens max_token max_length max_output max_output_tokens max_new_tokens max_context_length "
    "token_limit token_limit_reached model_length context_length context_length_exceeded "
    "model_context_window_exceeded truncated",
    "content_filter": "content_filter content_filtered content_filtering contentfilter safety sensitive blocklist "
    "prohibited_content spii recitation image_safety guardrail_intervened guardrails moderation flagged refusal",
    "tool_calls": "tool_calls tool_call tool_use function_call function_calls",
}
"""OpenAI's name -> what endpoints call it: Together and TGI (eos), Anthropic, Gemini, Cohere, Mistral, Zhipu, Baidu."""
_CANONICAL = {name: ending for ending, names in ENDINGS.items() for name in names.split()}
_NOTHING = {"", "null", "none"}
"""What some endpoints write where no reason is known yet (Ollama, SGLang)."""
MAX_NAME_LENGTH = 60


def read_ending(value: Any) -> str | None:
    """Return a finish reason under OpenAI's name, as it is where it has none; None where none was given.

    An empty one says no more than null: no reason was given yet.
    """
    if not isinstance(value, str):
        return None
    name = value.strip()[:MAX_NAME_LENGTH].lower().replace("-", "_").replace(" ", "_")
    return None if name in _NOTHING else _CANONICAL.get(name, name)


def is_known_ending(ending: str) -> bool:
    """Return whether an answer with this ending is one; "error", "abort" and whatever is unknown are failures."""
    return ending in ENDINGS
