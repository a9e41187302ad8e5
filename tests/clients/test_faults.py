"""What refusals mean: the words of providers, as they really write them."""

from __future__ import annotations

import time

import pytest

from routemoa.clients.faults import diagnose, is_context_overflow, is_request_fault
from routemoa.core.errors import ModelHTTPError

OVERFLOWS = [
    # OpenAI and Azure
    "This model's maximum context length is 4097 tokens. However, you requested 5000 tokens (1000 in the messages, "
    "4000 in the completion). Please reduce the length of the messages or completion.",
    "Input tokens exceed the configured limit of 272000 tokens. Your messages resulted in 300000 tokens.",
    # Anthropic
    "prompt is too long: 200251 tokens > 199999 maximum",
    "input length and `max_tokens` exceed context limit: 199811 + 20000 > 200000, decrease input length",
    # Google
    "The input token count (1048577) exceeds the maximum number of tokens allowed (1048575).",
    # Mistral, Groq, DeepSeek, xAI, Moonshot, Qwen, Zhipu
    "Prompt contains 65673 tokens and 0 draft tokens, too large for model with 32768 maximum context length",
    "Please reduce the length of the messages or completion.",
    "This model's maximum prompt length is 131072 but the request contains 170664 tokens.",
    "Invalid request: Your request exceeded model token limit: 8192 (requested: 9876)",
    "<400> InternalError.Algo.InvalidParameter: Range of input length should be [1, 30720]",
    "Prompt exceeds max length",
    # servers of one's own: vLLM, SGLang, TGI, llama.cpp, Ollama, LM Studio
    "This model's maximum context length is 1536 tokens. However, your request has 4176 input tokens.",
    "The input (9000 tokens) is longer than the model's context length (8192 tokens).",
    "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 8193. Given: 9000 `inputs` tokens",
    "the request exceeds the available context size (4096 tokens), try increasing it",
    "input length exceeds maximum context length",
    "The number of tokens to keep from the initial prompt is greater than the context length",
    # Cohere, Bedrock, MiniMax
    "too many tokens: total number of tokens in the prompt cannot exceed 4081",
    "Input is too long for requested model.",
    "context window exceeds limit",
]


@pytest.mark.parametrize("said", OVERFLOWS)
def test_a_context_that_is_too_short_is_recognized(said: str) -> None:
    assert is_context_overflow(400, f"HTTP 400: {said}")


@pytest.mark.parametrize("code", ["context_length_exceeded", "exceed_context_size_error"])
def test_by_its_code_too(code: str) -> None:
    assert is_context_overflow(400, "HTTP 400: no", code)


@pytest.mark.parametrize(
    "said",
    [
        "Unsupported parameter: 'max_tokens' is not supported with this model.",
        "temperature must be at most 1",
        "'messages' is a required property",
        "The response was filtered due to the prompt triggering our content management policy",
        "max_tokens must be at least 1",
        "Invalid image: exceeds 20 MB",
        "stop: too many sequences",
        "Unknown model",
        "tools[0].function.name is too long",
        "you are not allowed to sample from this model",
    ],
)
def test_other_refusals_are_none(said: str) -> None:
    assert not is_context_overflow(400, f"HTTP 400: {said}")


@pytest.mark.parametrize(
    ("status", "said", "is_request"),
    [
        (400, "anything", True),
        (413, "", True),
        (422, "field required", True),
        (414, "", True),
        (403, "Your chosen model requires moderation and your input was flagged", True),
        (403, "Request not allowed: prohibited content", True),
        (404, "No endpoints found that support image input", True),
        (404, "No endpoints found that support tool use. To learn more about provider routing, visit: ...", True),
        (429, "Request too large for gpt-4o in organization org-1 on tokens per min (TPM): Limit 30000", True),
        (402, "This request requires more credits, or fewer max_tokens. You requested up to 65536 tokens", True),
        (401, "Incorrect API key provided", False),
        (402, "Insufficient credits", False),
        (403, "Country, region, or territory not supported", False),
        (404, "The model `gpt-9` does not exist", False),
        (404, "model 'qwen3' not found, try pulling it first", False),
        (429, "Rate limit reached for requests", False),
        (500, "", False),
        (503, "The model is overloaded", False),
        (529, "overloaded_error", False),
    ],
)
def test_whose_fault_it_is(status: int, said: str, is_request: bool) -> None:
    error = ModelHTTPError("a", f"HTTP {status}: {said}", status=status)
    assert is_request_fault(error) == is_request
    assert (diagnose(error, 0.0) is None) == is_request


@pytest.mark.parametrize(
    ("status", "said", "permanent"),
    [
        (429, "You exceeded your current quota, please check your plan and billing details.", True),
        (429, "insufficient_quota", True),
        (429, "Your account org-1 is suspended due to insufficient balance", True),
        (429, "Rate limit reached for gpt-4o on requests per min. Limit: 3 / min. Please try again in 20s.", False),
        (429, "Too Many Requests", False),
        (503, "no healthy upstream", False),
        (502, "bad gateway", False),
        (401, "no", True),
        (403, "no", True),
        (404, "no", True),
        (405, "Method Not Allowed", True),
        (308, "moved", True),
    ],
)
def test_what_does_not_pass_by_itself(status: int, said: str, permanent: bool) -> None:
    fault = diagnose(ModelHTTPError("a", f"HTTP {status}: {said}", status=status), 0.0)
    assert fault is not None
    assert fault.permanent == permanent


@pytest.mark.alone
def test_long_refusals_are_read_in_no_time() -> None:
    for text in ("context " * 200_000, "exceeds " * 200_000, "a" * 2_000_000, "no endpoints " * 100_000):
        begun = time.perf_counter()
        is_context_overflow(400, text)
        diagnose(ModelHTTPError("a", text, status=403, body=text.encode()), 0.0)
        assert time.perf_counter() - begun < 0.2
