"""The headers of an endpoint's response that a caller of a single member may read: rate limits and ids. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from routemoa.clients.replies.redaction import cut_text

__all__ = ["UPSTREAM_REQUEST_ID", "pass_headers"]

PREFIXES = ("x-ratelimit-", "ratelimit-", "anthropic-ratelimit-")
REQUEST_ID = "x-request-id"
NAMES = {REQUEST_ID, "request-id", "apim-request-id", "openai-processing-ms", "openai-version", "openai-model"}
NAMES |= {"x-groq-region"}
UPSTREAM_REQUEST_ID = "x-upstream-request-id"
"""What the endpoint's own id is called beside that of the request to us."""
MAX_HEADERS = 40
MAX_VALUE = 512
"""Characters of a header."""


def pass_headers(headers: Iterable[tuple[str, str]], key: str | None) -> Mapping[str, str]:
    """Return the headers to pass on, without the key, and the id of the response also under a name of its own.

    Their names are in lower case.
    """
    passed: dict[str, str] = {}
    for name, value in headers:
        if name in NAMES or name.startswith(PREFIXES):
            is_sane = len(value) <= MAX_VALUE and value.isascii() and value.isprintable()
            if is_sane and len(passed) < MAX_HEADERS:
                passed[name] = cut_text(value, key)
    if REQUEST_ID in passed:
        passed[UPSTREAM_REQUEST_ID] = passed[REQUEST_ID]
    return passed
