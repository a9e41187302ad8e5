"""The estimate of a prompt's tokens: of every API's fields, and bounded."""

from __future__ import annotations

import time
from typing import Any

import pytest

from routemoa.gateway.access.prompt_estimate import IMAGE_TOKENS, estimate_prompt

TEXT = "x" * 4000
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 100_000}}


@pytest.mark.parametrize(
    ("body", "low", "high"),
    [
        ({"messages": [{"role": "user", "content": TEXT}]}, 1000, 1010),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": TEXT}]}]}, 1000, 1010),
        ({"messages": [], "system": TEXT}, 1000, 1000),
        ({"input": TEXT, "instructions": TEXT}, 2000, 2000),
        ({"input": [TEXT, TEXT]}, 2000, 2000),
        ({"prompt": TEXT}, 1000, 1000),
        ({"prompt": list(range(1000))}, 1000, 1000),
        ({"input": list(range(1_000_000))}, 1_000_000, 1_000_000),
        ({"messages": [{"role": "user", "content": "語" * 100}]}, 100, 102),
        ({"messages": [{"role": "user", "content": [IMAGE]}]}, IMAGE_TOKENS, IMAGE_TOKENS + 2),
        ({"messages": [], "tools": [{"function": {"description": TEXT}}]}, 1000, 1000),
        ({"model": TEXT, "user": TEXT, "metadata": {"a": TEXT}}, 0, 0),
        ({"messages": None, "input": 3.5, "prompt": True}, 0, 1),
        ({}, 0, 0),
    ],
)
def test_estimates(body: dict[str, Any], low: int, high: int) -> None:
    assert low <= estimate_prompt(body) <= high


@pytest.mark.alone
def test_the_work_is_bounded() -> None:
    deep: Any = "x"
    for _ in range(20_000):
        deep = [deep]
    wide = ["x"] * 4_000_000
    body = {"input": wide, "messages": deep, "prompt": {str(i): "x" for i in range(500_000)}}
    began = time.thread_time()
    estimate_prompt(body)
    assert time.thread_time() - began < 0.2
