"""Reads what a call used, as endpoints report it: tokens and dollars, merged over the chunks of a stream. Pure.

Counts only grow while a reply comes, so of several figures the largest holds, and a zero overwrites nothing. Where
thoughts or cached tokens are counted beside the totals and not within them, `total_tokens` settles it; where it does
not, the reading that costs more holds.

    thoughts beside the answer      xAI, Gemini, Perplexity
    cache beside the prompt         Anthropic, and gateways that hand its figures on
    dollars                         OpenRouter, LiteLLM and Vercel (`cost`), Perplexity (`cost.total_cost`), xAI
                                    (`cost_in_usd_ticks`), DeepInfra (`estimated_cost`)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeGuard

from routemoa.core.models.endpoint import MAX_PRICE
from routemoa.core.usage import Usage

__all__ = ["UsageReader", "find_usage", "is_count", "parse_usage"]

PROMPT_FIELDS = ("prompt_tokens", "input_tokens", "promptTokenCount", "prompt_eval_count")
COMPLETION_FIELDS = ("completion_tokens", "output_tokens", "candidatesTokenCount", "eval_count")
TOTAL_FIELDS = ("total_tokens", "totalTokenCount")
PLAIN_FIELDS = {"prompt_tokens", "completion_tokens", "total_tokens"}
PROMPT_DETAILS = ("prompt_tokens_details", "input_tokens_details")
COMPLETION_DETAILS = ("completion_tokens_details", "output_tokens_details")
REASONING_FIELDS = ("reasoning_tokens", "thoughtsTokenCount", "thinking_tokens")
CACHE_READ_FIELDS = ("cached_tokens", "prompt_cache_hit_tokens", "cache_read_input_tokens", "cachedContentTokenCount")
"""Prompt tokens read from the provider's cache: OpenAI, vLLM, llama.cpp and others; DeepSeek; Anthropic; Gemini."""
CACHE_WRITE_FIELDS = ("cache_write_tokens", "cache_creation_input_tokens", "cache_creation_tokens")
"""Prompt tokens written to the provider's cache."""
BESIDE_FIELDS = {"cache_read_input_tokens", "cache_creation_input_tokens"}
"""Anthropic's names: there the prompt's tokens do not include them."""
TICKS_PER_DOLLAR = 1e10
"""Of xAI (docs.x.ai, cost tracking)."""
COST_FIELDS = ("cost", "estimated_cost", "total_cost")
MAX_COUNT = 2**53
"""No figure is as large as this, nor are dollars above `MAX_PRICE`: such a one cannot be meant."""
MAX_PROBLEMS = 3
MAX_VALUE_LENGTH = 40
"""Characters of a figure that is quoted."""
MAX_FIELDS = 64
"""Fields of a usage object that are read."""


class UsageReader:
    """Merges the figures of all chunks of a reply."""

    def __init__(self) -> None:
        self._merged: dict[str, Any] = {}

    @property
    def found(self) -> bool:
        """Return whether there were any figures."""
        return bool(self._merged)

    @property
    def usage(self) -> Usage:
        """The figures so far."""
        return parse_usage(self._merged)

    def add(self, chunk: Mapping[str, Any]) -> bool:
        """Take a chunk, or a whole reply, and return whether it holds figures."""
        figures = find_usage(chunk)
        if figures:
            _merge(self._merged, figures)
        return bool(figures)


def find_usage(chunk: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the usage object of a chunk or a reply, wherever the endpoint has put it; None without any."""
    usage = chunk.get("usage")
    if isinstance(usage, dict) and usage:
        return usage
    places: list[Any] = [chunk.get("usageMetadata")]
    extra = chunk.get("x_groq")
    places.append(extra.get("usage") if isinstance(extra, dict) else None)
    choices = chunk.get("choices")
    if isinstance(choices, list) and choices and isinstance(choices[0], dict):
        places.append(choices[0].get("usage"))  # Moonshot
    return next((p for p in places if isinstance(p, dict) and p), None)


def parse_usage(figures: Any) -> Usage:
    """Read a usage object, merged or not; what is absent or cannot be meant is None, and `problem` says which."""
    if isinstance(figures, dict) and figures.keys() == PLAIN_FIELDS:
        prompt, completion, total = figures["prompt_tokens"], figures["completion_tokens"], figures["total_tokens"]
        if is_count(prompt) and is_count(completion) and total == prompt + completion:
            return Usage(prompt, completion)
    reading = _Reading(figures if isinstance(figures, dict) else {})
    prompt, completion = reading.count(PROMPT_FIELDS), reading.count(COMPLETION_FIELDS)
    total = reading.count(TOTAL_FIELDS)
    if total is not None:  # two of three figures say the third
        completion = total - prompt if completion is None and prompt is not None and prompt <= total else completion
        prompt = total - completion if prompt is None and completion is not None and completion <= total else prompt
    cached, written = reading.count(CACHE_READ_FIELDS), reading.count(CACHE_WRITE_FIELDS)
    reasoning = reading.count(REASONING_FIELDS)
    cost = reading.cost()
    if prompt is None:
        return Usage(None, completion, reasoning_tokens=reasoning, reported_cost=cost, problem=reading.problem)
    spare = 0 if total is None or completion is None else max(0, total - prompt - completion)
    both = (cached or 0) + (written or 0)
    if reading.lists_cache_beside or (both and spare in (both, both + (reasoning or 0))):
        beside = both
    else:
        beside = _parts_beyond(prompt, cached or 0, written or 0)
    spare = max(0, spare - beside)
    if completion is not None:
        # What no figure explains was most likely a thought, and is charged as one.
        thoughts_beside = max(spare, reasoning if reasoning is not None and reasoning > completion else 0)
        completion += thoughts_beside
        reasoning = max(reasoning or 0, thoughts_beside) if thoughts_beside else reasoning
    return Usage(prompt + beside, completion, cached, written, reasoning, cost, reading.problem)


def _parts_beyond(prompt: int, cached: int, written: int) -> int:
    """Return the cached tokens that are too many to be a part of the prompt's count."""
    read = cached if cached > prompt else 0
    return read + (written if written > prompt + read - cached else 0)


class _Reading:
    """Looks figures up, and notes those that cannot be meant."""

    def __init__(self, figures: Mapping[str, Any]) -> None:
        details = (figures.get(name) for name in (*PROMPT_DETAILS, *COMPLETION_DETAILS))
        self._places = [*(d for d in details if isinstance(d, dict)), figures]
        self._figures = figures
        self._problems: list[str] = []

    @property
    def problem(self) -> str:
        """Return what cannot be meant; empty where all can."""
        return "; ".join(self._problems[:MAX_PROBLEMS])

    @property
    def lists_cache_beside(self) -> bool:
        """Return whether the cache is listed as Anthropic does, where it is beside the prompt."""
        detailed = any(place.get(name) for place in self._places[:-1] for name in CACHE_READ_FIELDS)
        if detailed or not any(self._figures.get(name) for name in BESIDE_FIELDS):
            return False
        return "input_tokens" in self._figures or not any(name in self._figures for name in TOTAL_FIELDS)

    def count(self, names: Iterable[str]) -> int | None:
        """Return the first count that is there; a zero only where no other is."""
        found = [(name, v) for place in self._places for name in names if (v := place.get(name)) is not None]
        first = next(((name, v) for name, v in found if v != 0), found[0] if found else None)
        return None if first is None else self._check(*first)

    def cost(self) -> float | None:
        """Return the dollars of the call, as the endpoint reports them."""
        dollars = self._amount("cost_in_usd_ticks", self._figures.get("cost_in_usd_ticks"), TICKS_PER_DOLLAR)
        for name in COST_FIELDS:
            value = self._figures.get(name)
            value = value.get("total_cost") if isinstance(value, dict) else value
            if (amount := self._amount(name, value)) is not None:
                dollars = amount if dollars is None else max(amount, dollars)
                break
        details = self._figures.get("cost_details")
        if self._figures.get("is_byok") is True and isinstance(details, dict):  # the provider bills the rest by itself
            upstream = self._amount("upstream_inference_cost", details.get("upstream_inference_cost"))
            dollars = dollars if upstream is None else (dollars or 0.0) + upstream
        return dollars

    def _check(self, name: str, value: Any) -> int | None:
        if isinstance(value, float) and value.is_integer() and 0 <= value < MAX_COUNT:
            return int(value)
        if is_count(value):
            return value
        self._note(name, value)
        return None

    def _amount(self, name: str, value: Any, per_dollar: float = 1.0) -> float | None:
        if value is None:
            return None
        if _is_amount(value) and value <= MAX_PRICE * per_dollar:
            return value / per_dollar
        self._note(name, value)
        return None

    def _note(self, name: str, value: Any) -> None:
        self._problems.append(f"{name} is {repr(value)[:MAX_VALUE_LENGTH]}")


def is_count(value: Any) -> TypeGuard[int]:
    """Return whether a value can be a count of tokens."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < MAX_COUNT


def _is_amount(value: Any) -> TypeGuard[int | float]:
    """Return whether a value can be a count or dollars; one with hundreds of digits is neither, and no float."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < MAX_COUNT


def _merge(into: dict[str, Any], figures: Mapping[str, Any]) -> None:
    for name, value in list(figures.items())[:MAX_FIELDS]:
        known = into.get(name)
        if isinstance(value, dict):
            into[name] = _merged_details(known if isinstance(known, dict) else {}, value)
        elif value is not None and (known is None or (not isinstance(known, dict) and _outweighs(value, known))):
            into[name] = value


def _merged_details(known: Mapping[str, Any], details: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(known)
    for name, value in list(details.items())[:MAX_FIELDS]:
        if value is not None and (merged.get(name) is None or _outweighs(value, merged[name])):
            merged[name] = value
    return merged


def _outweighs(value: Any, known: Any) -> bool:
    """Return whether a later figure takes the place of one that is known: the larger amount holds."""
    if _is_amount(value):
        return not (_is_amount(known) and known >= value)
    return False
