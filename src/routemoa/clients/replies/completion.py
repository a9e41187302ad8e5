"""Folds a reply into a completion: one chunk after the other, or a body in one piece. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any

from routemoa.clients.replies.endings import is_known_ending, read_ending
from routemoa.clients.replies.redaction import KeyCutter, cut_text
from routemoa.clients.replies.thought_text import ThoughtText
from routemoa.clients.replies.thoughts import ThoughtSplitter
from routemoa.clients.replies.tool_calls import ToolCallFolder
from routemoa.clients.replies.usage import UsageReader
from routemoa.core.content.message import THOUGHT_FIELDS
from routemoa.core.errors import InvalidResponse
from routemoa.core.text.unicode_text import HalfJoiner, mend_halves
from routemoa.core.tools import ToolCall
from routemoa.core.types import Completion, Token
from routemoa.core.usage import Usage

__all__ = ["CompletionBuilder", "first_choice", "parse_completion", "texts_of"]

THOUGHT_PARTS = {"thinking", "reasoning", "thought", "redacted_thinking", "reasoning_content"}
"""Types of parts of a content (Mistral, Anthropic)."""
MAX_TOKENS = 500_000
"""Log-probabilities that are kept."""
MAX_TOP = 20
"""Alternatives to a token that are kept, as many as OpenAI's API gives."""
MAX_DEPTH = 6
"""Of the lists and objects in which a thought comes."""


class CompletionBuilder:
    """Folds the chunks of a streamed completion.

    Args:
        key: of the endpoint; cut out of what it says.
        hold: the model is known to begin with a thought that no tag opens.
    """

    def __init__(self, key: str | None = None, *, hold: bool = False) -> None:
        self.finish_reason: str | None = None
        """Under OpenAI's name, else as the endpoint has it."""
        self._thought_length = 0  # of thoughts in fields of their own
        self._told_thought = 0  # of which `take_thought` has told
        self._text_length = self._refusal_length = 0
        self._usage = UsageReader()
        self._tool_calls = ToolCallFolder()
        self._splitter = ThoughtSplitter(hold=hold)
        self._key = key
        self._cutter = KeyCutter(key)
        self._joiner = HalfJoiner()
        self._refusal: list[str] = []
        self._refusal_cutter = KeyCutter(key)
        self._tokens: list[tuple[Token, dict[str, Any]]] | None = None
        self._thought = ThoughtText(key)

    @property
    def usage(self) -> Usage:
        """The endpoint's figures so far."""
        return self._usage.usage

    @property
    def known_usage(self) -> Usage | None:
        """The endpoint's figures so far; None where it gave none."""
        return self.usage if self._usage.found else None

    @property
    def is_broken_off(self) -> bool:
        """Return whether the endpoint gave a reason to end that is none."""
        return self.finish_reason is not None and not is_known_ending(self.finish_reason)

    @property
    def thought_length(self) -> int:
        """Characters of thoughts so far, in fields of their own and in the text."""
        return self._thought_length + self._splitter.thought_length

    @property
    def is_restarted(self) -> bool:
        """Return whether text that was given turned out to be a thought."""
        return self._splitter.is_restarted

    @property
    def text_length(self) -> int:
        """Characters of text, refusal and tool calls so far, thoughts in them included."""
        return self._text_length + self._refusal_length + self._tool_calls.length

    @property
    def lacks_opening(self) -> bool:
        """Return whether the reply began with a thought that no tag opened."""
        return self._splitter.lacks_opening

    def take_thought(self) -> int:
        """Return the characters of thoughts since the last time."""
        new = max(0, self.thought_length - self._told_thought)
        self._told_thought += new
        return new

    def take_thought_text(self) -> str:
        """Return what can be shown of the thoughts since the last time."""
        return self._thought.take(self._splitter)

    def add(self, chunk: Mapping[str, Any]) -> str:
        """Add a chunk; return the text of the answer that it completes."""
        self._usage.add(chunk)
        choice = first_choice(chunk)
        if (ending := read_ending(choice.get("finish_reason"))) is not None:
            self.finish_reason = mend_halves(ending)
        if (tokens := parse_logprobs(choice.get("logprobs"))) is not None:
            self._tokens = self._tokens or []
            self._tokens += tokens[: MAX_TOKENS - len(self._tokens)]
        message = choice.get("delta")
        return self._add_message(message) if isinstance(message, dict) else ""

    def _add_message(self, message: Mapping[str, Any]) -> str:
        if (thought := _count_thought(message)) > 0:
            self._thought_length += thought
            self._splitter.release()
            self._thought.add_beside(_thought_text(message))
        self._tool_calls.add(message)
        content, refusal = content_text(message.get("content"))
        refusal += message["refusal"] if isinstance(message.get("refusal"), str) else ""
        refusal = mend_halves(refusal)
        self._refusal_length += len(refusal)
        if refusal:
            self._refusal.append(self._refusal_cutter.feed(refusal))
        return self.add_text(content)

    def add_text(self, content: str) -> str:
        """Add the text of a chunk that holds nothing else; return the text of the answer that it completes."""
        if not content:
            return ""
        self._text_length += len(content)
        return self._feed(self._cutter.feed(self._joiner.feed(content)))

    def _feed(self, text: str) -> str:
        self._thought.add_content(text)
        return self._splitter.feed(text)

    def end(self) -> str:
        """Take the end of the reply; return the rest of the answer."""
        self._refusal.append(self._refusal_cutter.end())
        rest = self._feed(self._cutter.feed(self._joiner.end()) + self._cutter.end())
        rest += self._splitter.end(is_cut=self.finish_reason == "length")
        self._thought.end()
        return rest

    def completion(self, model: str, latency: float, first_token: float | None) -> Completion:
        """Return the whole, after `end`; `latency` and `first_token` are seconds since the call began.

        Raises:
            InvalidResponse: the endpoint broke off, or gave a reason to end that is none.
        """
        if self.is_broken_off:
            reason = f"the endpoint broke off in the middle of its answer (finish_reason {self.finish_reason})"
            raise InvalidResponse(model, reason, produced=True, usage=self.known_usage)
        text, refusal = self._splitter.answer, "".join(self._refusal)
        is_refusal = bool(refusal.strip())
        entries = self._answer_tokens()
        return Completion(
            text if text.strip() or not is_refusal else refusal,
            self.usage,
            self.finish_reason,
            latency,
            first_token,
            None if entries is None else tuple(token for token, _ in entries),
            is_refusal,
            self.thought_length,
            tuple(ToolCall(c.name, cut_text(c.arguments, self._key), c.id) for c in self._tool_calls.calls),
            self._thought.whole(self._splitter),
            self._shown_logprobs(entries),
        )

    def _shown_logprobs(
        self, entries: Sequence[tuple[Token, dict[str, Any]]] | None
    ) -> tuple[dict[str, Any], ...] | None:
        """Return the log-probabilities as a caller may read them; None where they spell the key."""
        if entries is None or (self._key and self._key in "".join(token.text for token, _ in entries)):
            return None
        return tuple(entry for _, entry in entries)

    def _answer_tokens(self) -> list[tuple[Token, dict[str, Any]]] | None:
        """Return the tokens of the answer, without those of thoughts before it."""
        if self._tokens is None:
            return None
        ends = list(accumulate(len(t.text) for t, _ in self._tokens))
        start = self._splitter.answer_start
        if self._thought_length:  # thoughts in fields of their own have tokens as well, before those of the content
            start += max(0, (ends[-1] if ends else 0) - self._text_length)
        return [t for t, end in zip(self._tokens, ends, strict=True) if not start or end > start]


def parse_completion(model: str, body: Mapping[str, Any], latency: float, key: str | None = None) -> Completion:
    """Read a completion that came in one piece.

    Raises:
        InvalidResponse: the endpoint broke off, or gave a reason to end that is none.
    """
    choice = first_choice(body)
    message = choice.get("message") or choice.get("delta") or {"content": choice.get("text")}
    builder = CompletionBuilder(key)
    builder.add({**body, "choices": [{**choice, "delta": message}]})
    builder.end()
    return builder.completion(model, latency, latency)


def first_choice(chunk: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the first choice of a chunk or a body; empty without one."""
    choices = chunk.get("choices")
    found = choices[0] if isinstance(choices, list) and choices else None
    return found if isinstance(found, dict) and found.get("index") in (0, None) else {}


def content_text(content: Any) -> tuple[str, str]:
    """Return the text and the refusal in a message's content: a string, or a list of parts. Thoughts are left out."""
    if not isinstance(content, list):
        return (content, "") if isinstance(content, str) else ("", "")
    parts = [p for p in content if isinstance(p, dict) and p.get("type") not in THOUGHT_PARTS]
    text = "".join(t for p in parts if isinstance(t := p.get("text"), str))
    return text, "".join(r for p in parts if isinstance(r := p.get("refusal"), str))


def _count_thought(message: Mapping[str, Any]) -> int:
    """Return the characters of thoughts that come beside the text of a message, or as parts of its content.

    The same thought under two names counts once.
    """
    given = [value for name in THOUGHT_FIELDS if (value := message.get(name))]
    beside = max((sum(map(len, texts_of(value))) for value in given), default=0)
    content = message.get("content")
    parts = content if isinstance(content, list) else []
    thoughts = [p for p in parts if isinstance(p, dict) and p.get("type") in THOUGHT_PARTS]
    return beside + sum(len(text) for p in thoughts for text in texts_of(p))


def texts_of(value: Any, depth: int = MAX_DEPTH) -> Iterator[str]:
    """Yield every text in a part of a message: an answer, a thought, the arguments of a tool call."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict) and depth:
        for key, part in value.items():
            if key not in ("role", "type", "id", "format", "signature"):
                yield from texts_of(part, depth - 1)
    elif isinstance(value, list) and depth:
        for part in value:
            yield from texts_of(part, depth - 1)


def _thought_text(message: Mapping[str, Any]) -> str:
    """Return the thoughts that come beside the text of a message, or as parts of its content."""
    for name in THOUGHT_FIELDS:
        if text := "".join(texts_of(message.get(name))):
            return text
    content = message.get("content")
    parts = content if isinstance(content, list) else []
    thoughts = [p for p in parts if isinstance(p, dict) and p.get("type") in THOUGHT_PARTS]
    return "".join(text for p in thoughts for text in texts_of(p))


def parse_logprobs(logprobs: Any) -> list[tuple[Token, dict[str, Any]]] | None:
    """Read the token log-probabilities of a choice, each also as OpenAI's API has it; None when there are none."""
    content = logprobs.get("content") if isinstance(logprobs, dict) else None
    if not isinstance(content, list):
        return None
    found: list[tuple[Token, dict[str, Any]]] = []
    for value in content:
        if (entry := _logprob_entry(value)) is None:
            continue
        top = value.get("top_logprobs")
        others = map(_logprob_entry, top[:MAX_TOP]) if isinstance(top, list) else ()
        entry["top_logprobs"] = [other for other in others if other is not None]
        found.append((Token(entry["token"], entry["logprob"]), entry))
    return found


def _logprob_entry(value: Any) -> dict[str, Any] | None:
    if (
        not isinstance(value, dict)
        or not isinstance(value.get("logprob"), int | float)
        or abs(value["logprob"]) >= 2**53
    ):
        return None
    data = value.get("bytes")
    is_bytes = isinstance(data, list) and all(isinstance(b, int) and 0 <= b < 256 for b in data)
    token = mend_halves(str(value.get("token") or ""))
    return {"token": token, "logprob": float(value["logprob"]), "bytes": data if is_bytes else None}
