"""Thoughts are separated from answers: every way in which models mark them, cut into pieces of any size."""

from __future__ import annotations

from time import perf_counter

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from routemoa.clients.replies.thoughts import ThoughtSplitter, is_thinker, remove_thoughts


def split(text: str, *, is_cut: bool = False, hold: bool = False, size: int | None = None) -> ThoughtSplitter:
    splitter = ThoughtSplitter(hold=hold)
    for start in range(0, len(text), size or max(1, len(text))):
        splitter.feed(text[start : start + (size or len(text))])
    splitter.end(is_cut=is_cut)
    return splitter


CASES = [
    ("Paris", "Paris"),
    ("<think>France, so I recall its capital.</think>\n\nParis", "Paris"),
    ("\n<think>\n\n</think>\n\nParis", "Paris"),
    ("<thinking>a</thinking>Paris", "Paris"),
    ("<THINK >a</Think >Paris", "Paris"),
    ("<think>a</thinking>Paris", "Paris"),
    ("<thought>a</thought>Paris", "Paris"),
    ("<reasoning>a</reasoning>Paris", "Paris"),
    ("<reflection>a</reflection>Paris", "Paris"),
    ("<seed:think>a</seed:think>Paris", "Paris"),
    ('<think effort="high">a</think>Paris', "Paris"),
    ("<think/>Paris", "Paris"),
    ("[THINK]a[/THINK]Paris", "Paris"),
    ("◁think▷a◁/think▷Paris", "Paris"),
    ("<|begin_of_thought|>a<|end_of_thought|>\n<|begin_of_solution|>Paris<|end_of_solution|>", "Paris"),
    ("<|START_THINKING|>a<|END_THINKING|><|START_RESPONSE|>Paris<|END_RESPONSE|>", "Paris"),
    ("<|inner_prefix|>a<|inner_suffix|>Paris", "Paris"),
    ("<|channel>thought\na<channel|>Paris", "Paris"),
    # gpt-oss, in the forms that are seen
    ("<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>final<|message|>Paris<|return|>", "Paris"),
    ("<|channel|>analysis<|message|>a<|end|><|channel|>final<|message|>Paris", "Paris"),
    ("<|channel|>analysis<|message|>a<|start|>assistant<|channel|>final<|message|>Paris", "Paris"),
    (
        "<|channel|>commentary to=functions.f <|constrain|>json<|message|>{}<|call|>"
        "<|start|>assistant<|channel|>final<|message|>Paris",
        "Paris",
    ),
    ("<|channel|>final<|message|>Paris<|return|>", "Paris"),
    ("Paris<|return|>", "Paris"),
    ("analysisThe user wants a city.assistantfinalParis", "Paris"),
    ("Here is my thought process: a\n\nHere is my response:\n\nParis", "Paris"),
    # several, nested, mixed
    ("<think>a</think>One.\n<think>b</think>Two.", "One.\nTwo."),
    ("<think>a</think><think>b</think>Paris", "Paris"),
    ("<think>a<think>b</think>c</think>Paris", "Paris"),
    ("<think>a<reflection>b</reflection>c</think>Paris", "Paris"),
    ("<think>a [THINK] b</think>Paris", "Paris"),
    ("<reflection>a</think>b</reflection>Paris", "Paris"),
    ("The answer<think>is it?</think> is 4.", "The answer is 4."),
    # the opening tag was eaten by a template
    ("I recall its capital.\n</think>\n\nParis", "Paris"),
    ("</think>\n\nParis", "Paris"),
    ("I recall.[/THINK]Paris", "Paris"),
    ("I recall.◁/think▷Paris", "Paris"),
    ("I write `x`:\n```py\nx\n```\nand don't.</think>Paris", "Paris"),
    ("Form: `<think>why</think> answer`.", "Form: `<think>why</think> answer`."),
    ("<think>a</think>Paris</think>", "Paris"),  # a closing tag too many
    # code and prose about tags
    ("Use `<think>` and `</think>`.", "Use `<think>` and `</think>`."),
    ("Use `` `<think>a</think>` `` here.", "Use `` `<think>a</think>` `` here."),
    ("```html\n<think>a</think>\n```\nDone", "```html\n<think>a</think>\n```\nDone"),
    ("~~~\n<think>\n~~~\nDone", "~~~\n<think>\n~~~\nDone"),
    ("````\n```\n</think>\n````\nDone", "````\n```\n</think>\n````\nDone"),
    ("1. Do:\n   ```\n   <think>\n   ```", "1. Do:\n   ```\n   <think>\n   ```"),
    ("It never closes its <think> tag.", "It never closes its <think> tag."),
    ("<think>They ask about `</think>`, so</think>Paris", "Paris"),
    ("<think>Say:\n```\n</think>\n```\nso</think>Paris", "Paris"),
    ("<think>Say:\n```\n</think>Paris", "Paris"),  # the block was never closed, the thought was
    ("<think>Say:\n```\n</think>Try\n```py\n1\n```", "Try\n```py\n1\n```"),
    ("analysis of the data", "analysis of the data"),
    ("Analysis: 4", "Analysis: 4"),
    ("Here is my thought.", "Here is my thought."),
    ("a < b, [T], <thin air>, <t", "a < b, [T], <thin air>, <t"),
    ("Give <reasoning>it</reasoning> first.", "Give  first."),
    ("x</reasoning>y", "x</reasoning>y"),
    ("<answer>Paris</answer>", "<answer>Paris</answer>"),
    ("<think>a</think>\n<answer>\nParis\n</answer>", "Paris\n"),
    ("<think>a</think><response>Paris</response>", "Paris"),
    ("  indented", "  indented"),
]


@pytest.mark.parametrize(("reply", "answer"), CASES)
@pytest.mark.parametrize("size", [None, 1, 3])
@pytest.mark.parametrize("hold", [False, True])
def test_the_answer_is_what_no_thought_is(reply: str, answer: str, size: int | None, hold: bool) -> None:
    splitter = split(reply, size=size, hold=hold)
    assert splitter.answer == answer
    assert not splitter.ends_in_thought
    assert remove_thoughts(reply) == answer


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        ("<think>hmm, maybe 41? let me see, and then", ""),
        ("\n<think>", ""),
        ("<|channel|>analysis<|message|>hmm", ""),
        ("[THINK]hmm", ""),
        ("◁think▷hmm", ""),
        ("analysisLet me see", ""),
        ("Sure! <think>hmm", "Sure! "),
        ("The answer is 4.\n<think>or is it", "The answer is 4.\n"),
        ("<think>a</think>The answer is 4. <think>or", "The answer is 4. "),
        ("<think>`</think>` hmm", ""),
    ],
)
@pytest.mark.parametrize("size", [None, 1, 4])
def test_a_thought_that_was_cut_is_no_answer(reply: str, answer: str, size: int | None) -> None:
    splitter = split(reply, is_cut=True, size=size)
    assert splitter.answer == answer
    assert splitter.ends_in_thought
    assert splitter.thought_length == len(reply) - len(answer)


def test_a_model_that_begins_with_an_unmarked_thought_gives_nothing_before_its_end() -> None:
    first = ThoughtSplitter()
    assert first.feed("I recall its capital. ")
    assert first.feed("</think>Par") == "Par"
    assert first.is_restarted
    assert first.lacks_opening
    later = ThoughtSplitter(hold=True)
    assert later.feed("I recall its capital. ") == ""
    assert later.feed("</think>Par") == "Par"
    assert later.feed("is") == "is"
    assert not later.is_restarted
    without = ThoughtSplitter(hold=True)
    assert without.feed("Paris") == ""
    assert without.end() == "Paris"
    cut = split("I recall", is_cut=True, hold=True)
    assert cut.ends_in_thought
    assert cut.answer == ""


def test_only_what_may_be_a_tag_waits() -> None:
    splitter = ThoughtSplitter()
    pieces = ["Pa", "ris <", "b> is [", "x] <thi", "n> a", "</answ", "er> ", "(a<", "1)"]
    given = [splitter.feed(p) for p in pieces]
    assert given == ["Pa", "ris ", "<b> is ", "[x] ", "<thin> a", "", "</answer> ", "(a", "<1)"]


FRAGMENTS = st.sampled_from([
    *("<think>", "</think>", "<thinking>", "</thought>", "<reasoning>", "</reasoning>", "<think x=1>", "<think/>"),
    *("[THINK]", "[/THINK]", "◁think▷", "◁/think▷", "<answer>", "</answer>", "`", "``", "```", "~~~", "\n", "\n```\n"),
    *("<|channel|>analysis<|message|>", "<|channel|>final<|message|>", "<|channel|>", "<|message|>", "<|end|>"),
    *("<|start|>assistant", " ", "a", "<", "[", "<|", "analysis", "assistantfinal", "We"),
    *("Here is my thought process:", "Here is my response:"),
])  # fmt: skip


@settings(max_examples=300)
@given(st.data(), st.lists(FRAGMENTS, max_size=14).map("".join), st.booleans(), st.booleans())
def test_pieces_of_any_size_give_what_the_whole_gives(data: st.DataObject, text: str, is_cut: bool, hold: bool) -> None:
    whole = split(text, is_cut=is_cut, hold=hold)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    pieces = ThoughtSplitter(hold=hold)
    given = [pieces.feed(text[a:b]) for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    given.append(pieces.end(is_cut=is_cut))
    for name in ("answer", "thought_length", "ends_in_thought", "answer_start", "lacks_opening"):
        assert getattr(pieces, name) == getattr(whole, name), name
    if not pieces.is_restarted:
        assert "".join(given).strip() == whole.answer.strip()


@given(st.text(alphabet="abc <>/|[]`\n", max_size=60))
@example("<<<[[[```")
def test_text_without_tags_is_unchanged(text: str) -> None:
    assert split(text, size=2).answer == text


@pytest.mark.alone
@pytest.mark.parametrize(
    "part",
    ["<think>", "</think>", "<", "`", "<think>\n```\n</think>", "x<think>", "<|channel|>", "<think ", "[", "\n", "◁",
     "a `<think>\n", "<answer>", "analysis", " "],
)  # fmt: skip
@pytest.mark.parametrize("size", [None, 1000])
def test_the_time_is_linear(part: str, size: int | None) -> None:
    def seconds(length: int) -> float:
        text = part * (length // len(part))
        started = perf_counter()
        split(text, size=size)
        return perf_counter() - started

    short = min(seconds(50_000) for _ in range(3))
    assert min(seconds(400_000) for _ in range(3)) < 8 * 3 * short + 0.03


@pytest.mark.parametrize(
    ("name", "thinks"),
    [
        ("deepseek-ai/DeepSeek-R1-Distill-Qwen-7B", True),
        ("deepseek-r1:14b", True),
        ("Qwen/QwQ-32B", True),
        ("qwen3-30b-a3b-thinking-2507", True),
        ("deepseek-reasoner", True),
        ("phi-4-reasoning-plus", True),
        ("magistral-small", True),
        ("llama-3.1-8b", False),
        ("gpt-4.1", False),
        ("command-r", False),
        ("r10", False),
        ("qwen3-8b", False),
        ("unthinkable", False),
    ],
)
def test_names_of_models_that_think(name: str, thinks: bool) -> None:
    assert is_thinker(name) == thinks


@given(
    st.lists(
        st.sampled_from(["<think>", "</think>", "a ", "[THINK]", "<assessment>", "thought process:", "`", "\n"]),
        max_size=8,
    )
)
def test_the_quick_look_misses_no_thought(parts: list[str]) -> None:
    text = "".join(parts)
    splitter = ThoughtSplitter()
    splitter.feed(text)
    splitter.end()
    assert remove_thoughts(text) == splitter.answer
