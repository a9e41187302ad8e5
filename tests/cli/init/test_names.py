"""Names of models are taken apart as providers spell them."""

from __future__ import annotations

from time import process_time

import pytest

from routemoa.cli.init.names import expected_score, family_rank, find_score, parse_name


@pytest.mark.parametrize(
    ("model", "family", "line", "version", "size"),
    [
        ("anthropic/claude-opus-4.7", "claude", "opus", (4, 7), None),
        ("claude-haiku-4-5-20251001", "claude", "haiku", (4, 5), None),
        ("gpt-6.1-sol", "gpt", "sol", (6, 1), None),
        ("gpt-5.4-mini-2026-03-17", "gpt", "mini", (5, 4), None),
        ("o4-mini", "gpt", "mini", (4,), None),
        ("openai/gpt-oss-120b", "gpt-oss", "gpt-oss-120b", (), 120.0),
        ("google/gemini-3.1-pro-preview", "gemini", "pro", (3, 1), None),
        ("gemini-2.5-flash-lite-preview-09-2025", "gemini", "flash-lite", (2, 5), None),
        ("qwen/qwen3-235b-a22b-2507", "qwen", "235b-a22b", (3,), 235.0),
        ("qwen/qwen-2.5-72b-instruct", "qwen", "72b", (2, 5), 72.0),
        ("meta-llama/Llama-3.3-70B-Instruct-Turbo", "llama", "70b", (3, 3), 70.0),
        ("accounts/fireworks/models/glm-5p3", "glm", "", (5, 3), None),
        ("zai-glm-4.7", "glm", "", (4, 7), None),
        ("mistral-large-2512", "mistral", "large", (), None),
        ("ministral-8b-2512", "mistral", "ministral-8b", (), 8.0),
        ("mistralai/mixtral-8x22b-instruct", "mistral", "mixtral-8x22b", (), 176.0),
        ("nvidia/llama-3.3-nemotron-super-49b-v1.5", "nemotron", "llama-super-49b", (3, 3), 49.0),
        ("qwen2.5:7b-instruct-q4_K_M", "qwen", "", (2, 5), 7.0),
        ("llama3.2:latest", "llama", "", (3, 2), None),
        ("models/Meta-Llama-3.1-8B-Instruct-Q4_K_M.gguf", "llama", "8b", (3, 1), 8.0),
        (r"C:\models\SmolLM2-135M-Instruct.Q4_1.gguf", "smollm", "135m", (2,), 0.135),
        ("sao10k/l3.1-euryale-70b", "l", "euryale-70b", (3, 1), 70.0),
        ("x", "x", "x", (), None),
    ],
)
def test_parts(model: str, family: str, line: str, version: tuple[int, ...], size: float | None) -> None:
    name = parse_name(model)
    assert (name.family, name.line, name.version, name.size) == (family, line, version, size)


@pytest.mark.parametrize(
    ("model", "marks"),
    [
        ("text-embedding-3-small", {"other"}),
        ("gpt-4o-mini-tts", {"other"}),
        ("omni-moderation-latest", {"other", "alias"}),
        ("meta-llama/llama-guard-4-12b", {"other"}),
        ("qwen/qwen3-coder-plus", {"special"}),
        ("codestral-2508", {"special"}),
        ("google/gemini-3.1-pro-preview", {"preview"}),
        ("deepseek/deepseek-v3.2-exp", {"preview"}),
        ("mistral-large-latest", {"alias"}),
        ("claude-opus-4.7-fast", {"alias"}),
        ("command-a", set()),
        ("grok-4.7", set()),
    ],
)
def test_what_a_model_is_not_for(model: str, marks: set[str]) -> None:
    assert parse_name(model).marks == marks


@pytest.mark.parametrize(
    ("model", "score"),
    [
        ("anthropic/claude-opus-4.7", 76.5),
        ("claude-opus-4-7", 76.5),
        ("claude-haiku-4-5-20251001", 45.3),
        ("qwen/qwen3.8-max-0902", 78.5),
        ("deepseek-v4-pro-0813", 77.4),
        ("deepseek/deepseek-v4-pro", 71.6),
        ("accounts/fireworks/models/glm-5p3", 76.1),
        ("zai-org/GLM-5.3", 76.1),
        ("google/gemini-3.1-pro-preview", 77.0),
        ("moonshotai/kimi-k2-thinking", 61.6),
        ("openai/gpt-oss-120b:free", 46.1),
        ("gpt-6.1-sol", None),
        ("gpt-5.4-pro", None),
        ("llama3.2:latest", None),
    ],
)
def test_public_figures_are_those_of_the_model_itself(model: str, score: float | None) -> None:
    found = find_score(parse_name(model))
    assert (found.score if found else None) == score
    assert found is None or found.table.startswith("LiveBench 2026-")


def test_a_model_without_a_figure_is_sorted_by_its_line() -> None:
    assert expected_score(parse_name("gpt-6.1-sol")) == 81.1, "that of gpt-5.6-sol"
    assert expected_score(parse_name("claude-sonnet-5.5")) == 76.0
    assert expected_score(parse_name("claude-sonnet-4")) is None, "a later model says nothing about it"
    assert expected_score(parse_name("foo-1")) is None


def test_families_are_sorted_by_their_best_figure() -> None:
    ranked = sorted(["llama", "qwen", "claude", "other", "gpt"], key=family_rank)
    assert ranked == ["claude", "gpt", "qwen", "llama", "other"]


@pytest.mark.alone
def test_long_names_take_no_time() -> None:
    started = process_time()
    parse_name("a-1" * 20_000)
    parse_name("1" * 50_000 + "-" * 50_000 + "b")
    assert process_time() - started < 2.0, "what grows with the square of the length takes minutes"
