"""A reply becomes a completion: its text without thoughts, its ending, a refusal, its usage."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routemoa.clients.replies.completion import CompletionBuilder, parse_completion
from routemoa.clients.replies.endings import ENDINGS, read_ending
from routemoa.clients.replies.errors import decode_json
from routemoa.core.errors import InvalidResponse
from routemoa.core.types import Completion, Token
from routemoa.core.usage import Usage


def fold(*chunks: dict[str, Any], key: str | None = None) -> Completion:
    builder = CompletionBuilder(key)
    text = "".join([builder.add(c) for c in chunks])
    text += builder.end()
    completion = builder.completion("m", 1.0, None)
    assert completion.refusal or text.strip() == completion.text.strip()
    return completion


def delta(message: dict[str, Any], finish: Any = None, **more: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": message, "finish_reason": finish, **more}]}


def whole(message: dict[str, Any], finish: Any = "stop", **more: Any) -> Completion:
    return parse_completion("m", {"choices": [{"index": 0, "message": message, "finish_reason": finish, **more}]}, 1.0)


@pytest.mark.parametrize(
    ("given", "ending"),
    [
        ("stop", "stop"), ("STOP", "stop"), ("eos", "stop"), ("eos_token", "stop"), ("end_turn", "stop"),
        ("stop_sequence", "stop"), ("COMPLETE", "stop"), ("length", "length"), ("MAX_TOKENS", "length"),
        ("max_tokens", "length"), ("model_length", "length"), ("max_output", "length"),
        ("content_filter", "content_filter"),
        ("SAFETY", "content_filter"), ("content-filter", "content_filter"), ("sensitive", "content_filter"),
        ("refusal", "content_filter"), ("tool_calls", "tool_calls"), ("function_call", "tool_calls"),
        ("tool_use", "tool_calls"), (None, None), ("", None), ("null", None), (0, None), (["stop"], None),
        ("error", "error"), ("insufficient_system_resource", "insufficient_system_resource"), ("abort", "abort"),
        ("network_error", "network_error"), ("pause_turn", "pause_turn"), ("unknown", "unknown"),
    ],
)  # fmt: skip
def test_every_finish_reason_is_one_of_four_or_none(given: Any, ending: str | None) -> None:
    assert read_ending(given) == ending
    if ending in ENDINGS or ending is None:
        assert fold(delta({"content": "x"}, given)).finish_reason == ending
        assert whole({"content": "x"}, given).finish_reason == ending
    else:
        with pytest.raises(InvalidResponse, match=f"broke off in the middle of its answer .finish_reason {ending}"):
            fold(delta({"content": "x"}, given))
        with pytest.raises(InvalidResponse, match=ending):
            whole({"content": "x"}, given)


def test_an_empty_reason_does_not_take_back_one_that_was_given() -> None:
    chunks = [delta({"content": "a"}, ""), delta({"content": "b"}, "length"), delta({}, ""), delta({}, None)]
    assert fold(*chunks).finish_reason == "length"
    # a server that ends its thoughts with a reason of their own (Open WebUI 16377)
    assert (
        fold(delta({"reasoning_content": "x"}, "stop"), delta({"content": "a"}), delta({}, "length")).finish_reason
        == "length"
    )


def test_what_was_counted_for_an_answer_that_broke_off_is_kept() -> None:
    usage = {"usage": {"prompt_tokens": 3, "completion_tokens": 9}}
    with pytest.raises(InvalidResponse) as caught:
        fold(delta({"content": "x"}, "abort"), {"choices": [], **usage})
    assert caught.value.usage == Usage(3, 9)
    assert caught.value.produced


@pytest.mark.parametrize(
    ("message", "text", "thought"),
    [
        ({"content": "Paris"}, "Paris", 0),
        ({"content": "Paris", "reasoning_content": "hmm"}, "Paris", 3),
        ({"content": "Paris", "reasoning": "hmm"}, "Paris", 3),
        ({"content": "Paris", "reasoning": "hmm", "reasoning_content": "hmm"}, "Paris", 3),  # one thought, two names
        ({"content": "Paris", "reasoning_details": [{"type": "reasoning.text", "text": "hmm", "format": "x"}]},
         "Paris", 3),
        ({"content": "Paris", "thinking": "hmm"}, "Paris", 3),
        ({"content": "", "reasoning_content": "hmm"}, "", 3),
        ({"content": None, "reasoning": "hmm"}, "", 3),
        ({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hmm"}]},
                      {"type": "text", "text": "Paris"}]}, "Paris", 3),  # Mistral
        ({"content": [{"type": "reasoning", "text": "hmm"}, {"type": "output_text", "text": "Paris"}]}, "Paris", 3),
        ({"content": [{"type": "text", "text": "Pa"}, {"type": "image_url"}, {"type": "text", "text": "ris"}]},
         "Paris", 0),
        ({"content": "<think>hmm</think>Paris"}, "Paris", 18),
        ({"content": "<think>a</think>Paris", "reasoning_content": "hmm"}, "Paris", 19),
        ({"content": "\n</think>\n\nParis", "reasoning_content": "hmm"}, "Paris", 14),
    ],
)  # fmt: skip
def test_thoughts_are_no_part_of_the_text_wherever_they_come(message: dict[str, Any], text: str, thought: int) -> None:
    for completion in (whole(message), fold(delta(message), delta({}, "stop"))):
        assert completion.text == text
        assert completion.thought_length == thought


def test_thoughts_are_told_as_they_come() -> None:
    builder = CompletionBuilder()
    told = []
    for piece in ("<think>abc", "def", "</think>", "Paris"):
        builder.add(delta({"content": piece}))
        told.append(builder.take_thought())
    assert sum(told) == len("<think>abcdef</think>")
    assert told[0] > 0
    assert told[3] >= 0


@pytest.mark.parametrize(
    ("messages", "text", "refused"),
    [
        ([{"content": None, "refusal": "I cannot."}], "I cannot.", True),
        ([{"refusal": "I can"}, {"refusal": "not."}], "I cannot.", True),
        ([{"content": "", "refusal": "I cannot."}], "I cannot.", True),
        ([{"content": [{"type": "refusal", "refusal": "I cannot."}]}], "I cannot.", True),
        ([{"content": "Paris", "refusal": None}], "Paris", False),
        ([{"content": "Paris", "refusal": ""}], "Paris", False),
        ([{"content": "Step one. ", "refusal": None}, {"refusal": "I cannot."}], "Step one. ", True),
    ],
)
def test_a_refusal_is_an_answer_that_says_so(messages: list[dict[str, Any]], text: str, refused: bool) -> None:
    completion = fold(*map(delta, messages), delta({}, "stop"))
    assert (completion.text, completion.refusal) == (text, refused)
    assert len(messages) > 1 or (whole(messages[0]).text, whole(messages[0]).refusal) == (text, refused)


def test_the_key_is_cut_out_of_the_answer_even_where_it_comes_in_pieces() -> None:
    key = "sk-secret-12345"
    chunks = [
        delta({"content": part}) for part in ("My key is sk-", "secret-", "12345.", " Really: \\u0073k-secret-12345")
    ]
    completion = fold(*chunks, delta({}, "stop"), key=key)
    assert completion.text == "My key is [key]. Really: [key]"
    refusal = fold(delta({"refusal": "no sk-secret-"}), delta({"refusal": "12345"}), delta({}, "stop"), key=key)
    assert refusal.text == "no [key]"


def test_only_the_tokens_of_the_answer_count_as_its_confidence() -> None:
    def logprobs(*tokens: str) -> dict[str, Any]:
        return {"logprobs": {"content": [{"token": t, "logprob": -0.5} for t in tokens]}}

    marked = fold(
        delta({"content": "<think>a</think>Par"}, **logprobs("<think>", "a", "</think>", "Par")), delta({}, "stop")
    )
    assert marked.tokens == (Token("Par", -0.5),)
    field = fold(
        delta({"reasoning_content": "hmm"}, **logprobs("h", "mm")),
        delta({"content": "Paris"}, "stop", **logprobs("Paris")),
    )
    assert field.tokens == (Token("Paris", -0.5),)
    assert fold(delta({"content": "a b"}, "stop", **logprobs("a", " b"))).tokens == (
        Token("a", -0.5),
        Token(" b", -0.5),
    )


def test_the_first_choice_is_the_answer() -> None:
    other = {"choices": [{"index": 1, "delta": {"content": "no"}, "finish_reason": "length"}]}
    assert fold(delta({"content": "yes"}, "stop"), other).text == "yes"


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda c: (
        st.lists(c, max_size=3)
        | st.dictionaries(
            st.sampled_from(["choices", "delta", "message", "content", "usage", "refusal", "reasoning"]), c
        )
    ),
    max_leaves=15,
)


@given(st.dictionaries(st.sampled_from(["choices", "usage", "error", "id"]), json_like))
def test_no_json_breaks_the_reader(body: dict[str, object]) -> None:
    folded = CompletionBuilder()
    folded.add(body)
    folded.end()
    folded.completion("m", 1.0, None)
    parse_completion("m", body, 1.0)


def test_an_emoji_that_was_cut_in_two_is_whole() -> None:
    chunks = ['{"choices":[{"delta":{"content":"a\\ud83d"}}]}', '{"choices":[{"delta":{"content":"\\ude00b"}}]}']
    folded = CompletionBuilder()
    given = [folded.add(decode_json(chunk)) for chunk in chunks]
    assert "".join([*given, folded.end()]) == "a😀b"
    assert folded.completion("m", 1.0, None).text == "a😀b"


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ('{"choices":[{"message":{"content":"a\\ud83d"}}], "usage": {"prompt_tokens": NaN}}', "a\ufffd"),
        (
            '{"choices":[{"message":{"content":"\\udc00 b"},'
            ' "logprobs": {"content": [{"token": "\\udc00", "logprob": NaN}]}}]}',
            "\ufffd b",
        ),
        ('{"choices":[{"message":{"content":"c"}}], "usage": {"cost": Infinity, "completion_tokens": -Infinity}}', "c"),
        ('\ufeff{"choices":[{"message":{"content":"\\u0000d\\ud800\\ud800"}}]}', "\x00d\ufffd\ufffd"),
    ],
)  # fmt: skip
def test_halves_of_characters_and_numbers_that_are_none_lose_no_answer(body: str, text: str) -> None:
    completion = parse_completion("m", decode_json(body), 1.0)
    assert completion.text == text
    completion.text.encode()
    assert completion.usage.prompt_tokens is None
    assert completion.usage.reported_cost is None
