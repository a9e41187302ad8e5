from __future__ import annotations

import gzip
import importlib.util
import json
from types import ModuleType

import pytest
from data_sets import DATA_SETS, YES_NO, Item, failure_kind
from labels import find_label, find_option, list_options, plain_answer

from tests import ROOT

PAPER = ROOT.parent / "shared" / "data" / "paper450"
needs_paper = pytest.mark.skipif(not PAPER.is_dir(), reason="needs ../shared/data/paper450, which is not shipped")


def item(answer: str, reference: str, prompt: str = "", question: str = "") -> Item:
    return Item(prompt, question, reference, answer)


def score(name: str, answer: str, reference: str, prompt: str = "", question: str = "") -> float:
    return DATA_SETS[name].score(item(answer, reference, prompt, question))


def read(name: str, answer: str, reference: str, prompt: str = "", question: str = "") -> float:
    how = DATA_SETS[name]
    return (how.human_score or how.score)(item(answer, reference, prompt, question))


# fmt: off
LABELS = [
    ("lcqmc", "1", [
        "[是]", "是", "【是】", "答案：是", "**[是]**", "两个句子语义相同，因此答案是[是]。",
        "这两个句子的语义是相同的。",
    ]),
    ("lcqmc", "0", [
        "[否]", "否。", "**否**", "答案是：[否]", "不是", "句子1问价格，句子2问地点。\n\n答案：**否**",
        "语义不完全相同", "不是一样的",
    ]),
    ("ocnli", "neutral", [
        "中立", "答案：中立", "**中立**", "选项：矛盾，蕴含，中立\n答案：中立", "neutral", "关系是中立（neutral）。",
    ]),
    ("ocnli", "entailment", [
        "蕴含。", "蕴涵", "前提并不构成矛盾，也不是中立。\n\n**答案：蕴含**", "<think>矛盾？</think>蕴含",
    ]),
    ("sst2", "Negative", [
        "negative", "**Negative**.", "The sentiment is **negative**.", "Answer: Negative!",
        "Negative\n\nNo positive words here.",
        "Not a word is positive at first sight, yet the answer is **Negative**.",
    ]),
    ("sst2", "Positive", [
        "Positive!", "\"Positive\"", "\\boxed{\\text{Positive}}",
        "Despite a negative opening, **Final Answer**: Positive",
    ]),
    ("cola", "Yes", [
        "Yes", "yes.", "**Yes!**", "Yes, there is no error.", "The sentence is grammatically correct.",
        "Final Answer:\n\n**Yes**",
    ]),
    ("cola", "No", [
        "No", "No.\n\nThe correct sentence would be another.", "The sentence is not grammatically correct.",
        "The sentence is grammatically incorrect.", "**Answer:** No",
    ]),
    ("mrpc", "No", [
        "no", "'no'", "No, they differ.", "The sentences are not similar.",
        "Both name QVC. They are related but not equal.\n\nno",
    ]),
    ("qqp", "Yes", [
        "yes", "Yes.", "The two are similar.", "**Reply:** yes", "<think>no?</think>\n\nyes",
    ]),
    ("sts_b", "Yes", [
        "yes", "'yes'",
    ]),
    ("qnli", "not_entailment", [
        "no", "No.", "The sentence does not contain an answer.", "Answer: no", "not_entailment",
    ]),
    ("qnli", "entailment", [
        "yes", "Yes — it says when.", "The answer is **yes**.",
    ]),
    ("ag_news", "Science and Technology", [
        "Science and Technology", "**Science & Technology**",
        "It would appear in the **Science and Technology** section, not in Business.", "Sci/Tech",
        "Business is mentioned, but the best fit:\n\n**Final Answer: Science and Technology**",
    ]),
    ("ag_news", "World", [
        "World", "This belongs in the **World** section.", "Business and Sports do not fit.\n\nAnswer: World",
    ]),
]
# fmt: on


@pytest.mark.parametrize(("name", "reference", "answer"), [(n, r, a) for n, r, answers in LABELS for a in answers])
def test_labels_in_the_many_ways_they_are_written(name: str, reference: str, answer: str) -> None:
    assert score(name, answer, reference) == 1.0
    others = {"lcqmc": "01", "sst2": ["Positive", "Negative"]}.get(name, YES_NO if reference in YES_NO else ["other"])
    assert all(score(name, answer, other) == 0.0 for other in others if other != reference)


CHID = "选择一个填入__。\n候选成语：A.一字一珠 B.五花八门 C.见异思迁 D.有勇无谋 \n只需输出正确的字母编号，不需要解释"
RACE = "Where is Tony from? Please choose without explaining: A.China; B.America; C.A robe shop; D.I see"


# fmt: off
CHINESE = [
    "B", "B.五花八门", "B 五花八门", "**B**", "答案：B", "正确答案是 B。", "选项 B", "选B", "（B）", "【B】",
    "应选择B.五花八门", "五花八门", "A不合适，因为一字一珠形容文章。\n\n因此选B", "<think>A? C?</think>\nB",
    "\\boxed{B}", "答案：**B. 五花八门**", "B\n\n解释：选项A是错误的。", "这里应填“五花八门”，形容花样繁多。",
]
# fmt: on


@pytest.mark.parametrize("answer", CHINESE)
def test_options_in_chinese(answer: str) -> None:
    assert score("chid_baidu", answer, "B || 五花八门", CHID) == 1.0
    assert score("chid_baidu", answer, "C || 见异思迁", CHID) == 0.0


# fmt: off
ENGLISH = [
    "B", "B. America", "B.America", "(B)", "**B. America**", "The answer is B.", "Answer: (B) America",
    "Tony is from **B. America**.", "The correct option is **B**",
    "A is not correct, and C is wrong.\n\nFinal Answer:\n\\boxed{B}", "He is from America.", "B is correct.",
]
# fmt: on


@pytest.mark.parametrize("answer", ENGLISH)
def test_options_in_english(answer: str) -> None:
    assert score("race", answer, "B", RACE) == 1.0
    assert score("race", answer, "C", RACE) == 0.0


@pytest.mark.parametrize(
    "answer", ["A and B", "It may be America or China.", "I cannot tell.", "The answer is A robe", "<think>B", ""]
)
def test_an_answer_that_settles_on_nothing_is_no_option(answer: str) -> None:
    assert all(score("race", answer, letter, RACE) == 0.0 for letter in "AB")


def test_options_are_found_in_every_way_they_are_listed() -> None:
    assert list_options("is it?选项：A.是 B.否    选项里仅有一个") == {"A": "是", "B": "否"}
    assert list_options("options: (A) They left.\n (B) They stayed. \nThe answer is: ") == {
        "A": "They left",
        "B": "They stayed",
    }
    assert list_options("choose: A:No, never.B:Yes.C:D:E:") == {"A": "No, never", "B": "Yes", "C": "", "D": "", "E": ""}
    assert list_options("nothing here") == {}
    assert find_option("(B) They stayed.", list_options("(A) They left.\n (B) They stayed.")) == "B"


def test_yes_and_no_as_options_in_either_order() -> None:
    for prompt, yes in (("指学者么？选项：A.是 B.否    选项里仅有一个", "A"), ("指学者么？选项：A.否 B.是", "B")):
        assert score("cluewsc2020", yes, "true", prompt) == 1.0
        assert score("cluewsc2020", f"正确答案是{yes}", "true", prompt) == 1.0
        assert score("cluewsc2020", yes, "false", prompt) == 0.0
        assert score("cluewsc2020", "否", "false", prompt) == 1.0


def test_published_rules_and_readings_differ_where_the_rule_misreads() -> None:
    big = r"\boxed{11,\!496,\!498,\!652,\!925,\!415}"
    assert (score("bigmath", big, "11496498652925415"), read("bigmath", big, "11496498652925415")) == (0.0, 1.0)
    assert read("bigmath", "The sum is 11,496,498,652,925,416.", "11496498652925415") == 0.0  # not nearly: exactly
    order = r"The order is: \boxed{3046\ 82\ 8939}"
    assert (
        score("word_manipulation_v2", order, "3046 82 8939"),
        read("word_manipulation_v2", order, "3046 82 8939"),
    ) == (0.0, 1.0)
    assert read("word_manipulation_v2", "= 3046, 82, 8939", "3046 82 8939") == 1.0
    assert read("word_manipulation_v2", "= 82, 3046, 8939", "3046 82 8939") == 0.0
    question = "Anne gave birth.\nOptions:['Anne', \"Anne's daughter\"]"
    said = '**Answer:** "She" refers to **Anne\'s daughter**.'
    assert (score("winograd_wsc", said, "Anne"), read("winograd_wsc", said, "Anne", question=question)) == (1.0, 0.0)
    assert read("winograd_wsc", said, "Anne's daughter", question=question) == 1.0
    assert (score("cmrc", "勋位", "“勋位”"), read("cmrc", "勋位", "“勋位”")) == (0.0, 1.0)
    assert read("msra", "希腊、瓦西里斯·康斯坦塔", "希腊;瓦西里斯·康斯坦塔") == 1.0


@pytest.mark.parametrize(
    ("answer", "reference"),
    [
        ("(A)", "A"),
        ("答案：A", "A"),
        (r"\boxed{A}", "A"),
        ("5:00 AM", "$5am$"),
        (r"\boxed{\frac{20}{3}}", r"$6\frac23$"),
    ],
)
def test_an_exam_answer_is_read_as_a_person_would(answer: str, reference: str) -> None:
    pytest.importorskip("math_verify", reason="needs the extra [eval]")
    assert read("GAOKAO-2023_Math_en", answer, reference) == 1.0


def test_mathematics_of_a_worked_solution() -> None:
    pytest.importorskip("math_verify", reason="needs the extra [eval]")
    solution = r"We get $\frac{6\cdot6}{2}=\boxed{\frac{1}{2}}$ units."
    assert score("geometry", r"so it is\n\[\boxed{\dfrac{2}{4}}\]", solution) == 1.0
    assert score("geometry", r"\boxed{\frac{1}{3}}", solution) == 0.0


def test_metrics_by_hand() -> None:
    assert score("lcsts", "abxx", "abc") == pytest.approx(2 / 3)
    assert score("msra", "地名：法国  \n人名：无", "法国;李明") == 0.5
    ask = "it is a effective way"
    assert score("conll2014", "it is an effective way", "it is an effective way", question=ask) == 1.0
    assert score("conll2014", ask, "it is an effective way", question=ask) == 0.0
    assert score("gsm8k_test_100", "so \\boxed{2280} dollars", "...=2280>>2280\n#### 2,280") == 1.0


def test_failures_are_told_apart() -> None:
    assert failure_kind("Error Occur! response text: ") == "error"
    assert failure_kind("Error! Reply is none") == "no reply"
    assert failure_kind("") == failure_kind(None) == failure_kind("  ") == failure_kind("<think>cut off") == "empty"
    assert failure_kind("Errors occur in the second line.") is None
    assert plain_answer("<think>B</think> **A**") == "A"
    assert find_label("nothing", {"x": "y"}) is None


def benchmark() -> ModuleType:
    spec = importlib.util.spec_from_file_location("paper450", ROOT / "benchmarks" / "paper450.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_cost_is_tokens_times_price() -> None:
    prices = {"m": {"input_usd_per_M": 2.0, "output_usd_per_M": 10.0}}
    assert benchmark().cost({"m": {"prompt_tokens": 1000, "completion_tokens": 100}}, prices) == pytest.approx(0.003)


@needs_paper
def test_the_published_run_is_reproduced() -> None:
    pytest.importorskip("math_verify", reason="needs the extra [eval]")
    with gzip.open(PAPER / "moa.json.gz", "rt", encoding="utf-8") as lines:
        run = json.load(lines)
    found = benchmark().grade_run(run, json.loads((PAPER / "recovered_prices.json").read_text())["prices"])
    assert found["overall"]["agreement"] >= 0.97
    assert found["overall"]["relative_cost_difference"] <= 1e-12
    assert found["overall"]["failed"] == {"error": 38, "no reply": 5}
    for name in ("lcsts", "msra"):
        assert found["data_sets"][name]["ours"] == pytest.approx(found["data_sets"][name]["published"], abs=1e-12)
    for i in (i for sets in run["results"].values() for data in sets.values() for i in data["items"]):
        i["parsed_answer"] = None  # never read
    assert benchmark().grade_run(run, json.loads((PAPER / "recovered_prices.json").read_text())["prices"]) == found
