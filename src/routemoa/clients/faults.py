"""What a failed call says about its endpoint: nothing, a passing trouble, or one that lasts. Pure.

Providers disagree on statuses: a 403 may be a key that is refused or a text that was flagged, a 429 a rate or a quota
that is used up. So the words beside a status are read as well.
"""

from __future__ import annotations

import re

from msgspec import Struct

from routemoa.core.errors import CallCancelled, ModelError, ModelHTTPError, ModelTimeout, Unaffordable, Unreachable
from routemoa.core.failure_kind import FailureKind

__all__ = ["REQUEST_STATUSES", "Fault", "diagnose", "is_context_overflow", "is_request_fault"]

REQUEST_STATUSES = frozenset({400, 411, 413, 414, 416, 422, 431, 451})
"""HTTP statuses that are about the request, whichever member is asked."""
PERMANENT_STATUSES = frozenset({401, 402, 403, 404, 405, 406, 407, 410, 415, 501})
"""HTTP statuses that do not pass by themselves: a key, an account, a model or a path that is not there."""

MISSING_STATUSES = frozenset({404, 405, 501})
"""HTTP statuses that say of another route than that of chats only that the endpoint does not have it."""

MAX_TEXT = 4000
"""Characters of an error that are read."""
FLAGGED = re.compile(
    r"moderation|flagged|content[ _-]?(?:policy|filter|management)|safety (?:policy|system|setting)|prohibited content"
    r"|responsible ai|harmful",
    re.IGNORECASE,
)
"""The text of the request was refused."""
UNABLE = re.compile(
    r"no endpoints? found that (?:support|can)|no endpoints? .{0,40}support(?:s|ing)? (?:tool|image|input)"
    r"|does(?:n't| not) support (?:tools?|tool use|image|audio|vision|input|function)",
    re.IGNORECASE,
)
"""The model cannot do what the request asks for."""
TOO_LARGE = re.compile(
    r"request too large|requested \d+ tokens?.{0,60}reduce|reduce (?:the length|your (?:message|prompt))"
    r"|input.{0,30}too (?:large|long)|(?:fewer|lower|reduce) max_tokens",
    re.IGNORECASE,
)
"""The request will not fit, however long one waits."""
QUOTA = re.compile(
    r"insufficient[ _](?:quota|balance|credit|fund)|exceeded your current quota|billing|credit balance|out of credits"
    r"|payment required|account .{0,30}(?:suspended|disabled|deactivated|overdue)|arrearage",
    re.IGNORECASE,
)
"""An account is used up: waiting a little does not help."""
OVERFLOW = re.compile(
    r"context_length_exceeded|exceed_context_size|context[ _-]?(?:length|window|size|limit).{0,80}(?:exceed|too)"
    r"|(?:exceed|larger than|longer than|greater than|too (?:large|long|big)|over).{0,80}"
    r"(?:context[ _-]?(?:length|window|size|limit)|maximum context|max_model_len)"
    r"|maximum (?:context|prompt) length|maximum context|model'?s context|prompt is too long|prompt too long"
    r"|input is too long|too many (?:input |prompt )?tokens|token count .{0,40}exceeds|exceeds? .{0,40}token limit"
    r"|maximum number of (?:input |prompt )?tokens|exceeded model token limit"
    r"|reduce the length of the (?:message|prompt)|range of input length|prompt exceeds max(?:imum)? length"
    r"|`?inputs`? tokens \+ `?max_new_tokens`?"
    r"|input tokens exceed|tokens to keep from the initial prompt",
    re.IGNORECASE,
)
"""The prompt is longer than the model can hold, as OpenAI, Azure, Anthropic, Google, Mistral, Groq, DeepSeek, xAI,
Moonshot, Qwen, vLLM, SGLang, TGI, llama.cpp, Ollama and LM Studio say it."""


class Fault(Struct, frozen=True):
    """What a failed call says about its endpoint."""

    kind: FailureKind
    status: int | None = None
    retry_after: float | None = None
    """Seconds after which the endpoint wants to be called again, where it said so."""
    permanent: bool = False
    """Whether it does not pass by itself."""
    wasted: float = 0.0
    """Seconds that were waited in vain: the endpoint is not tried again any sooner."""
    connecting: bool = False
    """Whether not even a connection came about in time."""
    opens_at_once: bool = False
    """Whether one such failure is enough to skip the member for a while."""

    @property
    def is_limit(self) -> bool:
        """Return whether the endpoint is well and asks for fewer calls."""
        return self.status == 429 and not self.permanent

    def __str__(self) -> str:
        kind = FailureKind.UNREACHABLE if self.connecting else self.kind
        return f"HTTP {self.status}" if self.status else _WORDS.get(kind, "a failure")


_WORDS = {
    FailureKind.UNREACHABLE: "no connection",
    FailureKind.TIMEOUT: "no answer in time",
    FailureKind.INVALID_RESPONSE: "an unreadable reply",
}


def diagnose(error: ModelError, seconds: float) -> Fault | None:
    """Return what a call that failed after `seconds` says about its endpoint; None where it says nothing."""
    if isinstance(error, CallCancelled | Unaffordable):
        return None
    if isinstance(error, ModelTimeout):
        if error.by_limit:
            return None
        # One that had begun to answer is not dead, only slow or cut: that counts as any other failure.
        silent = not error.produced
        return Fault(error.kind, wasted=seconds if silent else 0.0, connecting=not error.sent, opens_at_once=silent)
    if isinstance(error, ModelHTTPError):
        return None if is_request_fault(error) else _diagnose_status(error)
    if isinstance(error, Unreachable) or error.kind is FailureKind.INVALID_RESPONSE:
        return Fault(error.kind)
    return Fault(error.kind, permanent=True, opens_at_once=True)  # such as weights that are not there


def _diagnose_status(error: ModelHTTPError) -> Fault:
    permanent = error.status in PERMANENT_STATUSES or error.status < 400
    permanent |= error.status == 429 and bool(QUOTA.search(_text(error)))
    at_once = permanent or bool(error.retry_after)
    return Fault(error.kind, error.status, error.retry_after, permanent, opens_at_once=at_once)


def is_request_fault(error: ModelError) -> bool:
    """Return whether a failed call is the request's own fault: another endpoint in the same place would refuse it."""
    if not isinstance(error, ModelHTTPError):
        return False
    if error.status in REQUEST_STATUSES or (error.status in MISSING_STATUSES and not error.is_of_chat):
        return True
    text = _text(error)
    if error.status in (403, 404):
        return bool(FLAGGED.search(text) or UNABLE.search(text))
    return error.status in (402, 429) and bool(TOO_LARGE.search(text))


def is_context_overflow(status: int | None, reason: str, code: str | None = None) -> bool:
    """Return whether a refusal says that the prompt is longer than the model can hold."""
    if status is not None and not 400 <= status < 600:
        return False
    return code in ("context_length_exceeded", "exceed_context_size_error") or bool(OVERFLOW.search(reason[:MAX_TEXT]))


def _text(error: ModelHTTPError) -> str:
    return f"{error.code or ''} {error.reason[:MAX_TEXT]} {error.body[:MAX_TEXT].decode('utf-8', 'replace')}"
