"""The family of a model by its name: fine-tuned and distilled models belong to the weights they began with."""

from __future__ import annotations

import pytest

from routemoa.core.catalog.families import find_family, group_by_family
from routemoa.core.pool_file.pool import Pool
from tests.conftest import MakePool


@pytest.mark.parametrize(
    ("model", "family"),
    [
        ("qwen/qwen-2.5-72b-instruct", "qwen"),
        ("Qwen2.5-Coder-0.5B", "qwen"),
        ("QwQ-32B", "qwen"),
        ("meta-llama/Meta-Llama-3_1-70B-Instruct", "llama"),
        ("deepseek/deepseek-r1-distill-llama-70b", "llama"),
        ("deepseek-r1-distill-qwen-32b", "qwen"),
        ("deepseek-r1", "deepseek"),
        ("nvidia/llama-3.1-nemotron-51b", "llama"),
        ("nvidia/nemotron-3-nano-30b", "nemotron"),
        ("sao10k/l3.3-euryale-70b", "llama"),
        ("gpt-4o-mini", "gpt"),
        ("openai/o3-mini", "gpt"),
        ("o1", "gpt"),
        ("claude-3-5-sonnet-20240620", "claude"),
        ("mistralai/Mixtral-8x22B", "mistral"),
        ("mistralai/codestral-2508", "mistral"),
        ("google/gemma-3-27b-it", "gemma"),
        ("google/gemini-2.5-flash", "gemini"),
        ("zero-one-ai/Yi-34B-Chat", "yi"),
        ("microsoft/phi-4", "phi"),
        ("cohere/command-r-plus", "command"),
        ("z-ai/glm-4.6", "glm"),
        ("x-ai/grok-4", "grok"),
        ("smollm2-135m", "smollm"),
        ("my-model", None),
        ("yield-1", None),
        ("", None),
    ],
)
def test_the_name_tells_the_family(model: str, family: str | None) -> None:
    assert find_family(model) == family


def test_the_endpoints_name_counts_before_the_members_own(make_pool: MakePool) -> None:
    pool = make_pool("claude-like", model="qwen2.5-7b")
    assert group_by_family(pool) == {"qwen": ["claude-like"]}
    assert group_by_family(make_pool("gpt-4o", "mine", model="served")) == {"gpt": ["gpt-4o"], None: ["mine"]}
    assert set(group_by_family(Pool.embedded())) == {"smollm", "qwen"}
