"""Refusals that say that a member takes no tools, as endpoints word them."""

from __future__ import annotations

from typing import Any

import pytest

from routemoa.clients.protocol.capability import refused_capability

WITH_TOOLS: dict[str, Any] = {"tools": [{}], "messages": []}


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (400, "registry.ollama.ai/library/gemma:2b does not support tools"),
        (404, "No endpoints found that support tool use. To learn more about provider routing, visit: ..."),
        (400, '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set'),
        (500, "tools param requires --jinja flag"),
        (400, "`tool calling` is not supported with this model"),
        (422, "body.tools: Extra inputs are not permitted; extra_forbidden"),
        (400, "This model doesn't support function calling"),
        (400, "Function calling is not enabled for models/gemma-3"),
        (501, "tool_choice: not implemented"),
        (400, "Unsupported parameter: 'tools' is not supported with this model."),
        (400, "Unrecognized request argument supplied: tools"),
    ],
)
def test_lacking_tools(status: int, said: str) -> None:
    assert refused_capability(WITH_TOOLS, status, said) == "tools"
    assert refused_capability({"messages": []}, status, said) is None


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (429, "Rate limit reached for tools"),
        (400, "Invalid schema for function 'weather': In context=(), 'dict' is not valid under any of the schemas"),
        (400, "messages with role 'tool' must be a response to a preceding message with 'tool_calls'"),
        (400, "temperature is not supported with this model"),
        (500, "internal error"),
        (503, "does not support tools while loading"),
    ],
)
def test_other_refusals(status: int, said: str) -> None:
    assert refused_capability(WITH_TOOLS, status, said) is None
