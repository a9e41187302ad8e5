"""The thirty data sets of RouteMoA's published large-pool run: how each is scored. Pure functions, one table.

`score` is the published rule, told from the published texts and stated in `rule`; `read` is what a person would say,
where that rule misreads answers (a LaTeX thousands mark, "(A)", another order of words): it is shown beside, never
mixed in. Seven data sets have another metric than accuracy; `reproduces` says whether ours is theirs.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from labels import conclusions, label, option, options, spoken, unthought

from routemoa.datasets.grading import grade
from routemoa.judging.answers.extraction import find_boxes, find_statements, fold_text, strip_markup

__all__ = ["DATA_SETS", "DataSet", "Item", "failed"]


@dataclass(frozen=True)
class Item:
    """One published answer: what was asked, what was expected, what was written."""

    prompt: str
    question: str
    reference: str
    answer: str


@dataclass(frozen=True)
class DataSet:
    """How a data set is scored.

    Attributes:
        rule: in one sentence, for the reader of a table.
        score: an answer's score in [0, 1] by that rule.
        read: 1.0 where a person would call the answer right; None where `score` already reads so.
        reproduces: whether `score` is the published metric; otherwise it is a proxy that stands beside, not comparable.
    """

    rule: str
    score: Callable[[Item], float]
    read: Callable[[Item], float] | None = None
    reproduces: bool = True


def failed(answer: str | None) -> str | None:
    """Why there is no answer, or None where there is one: the published run writes its errors into the answers."""
    if not answer or not spoken(answer):
        return "empty"
    m = re.match(r"\s*Error(?: Occur)?! ?(Reply is none|response text)", answer)
    return None if not m else "no reply" if m[1] == "Reply is none" else "error"


def labelled(words: Mapping[str, str]) -> Callable[[Item], float]:
    """Right when the label that the answer settles on is the reference."""
    return lambda item: float(label(item.answer, words) == item.reference)


def chosen(item: Item) -> float:
    """Right when the option that the answer settles on is the reference, "B" or "B || its text"."""
    letter = re.match(r"\W*([A-Z])\b", item.reference)
    return float(bool(letter) and option(item.answer, options(item.prompt)) == (letter and letter[1]))


def yes_option(item: Item) -> float:
    """A question whose options are yes and no, in any order: the option's text is the label."""
    listed = options(item.prompt)
    said = listed.get(option(item.answer, listed) or "", item.answer)
    return float(label(said, TRUE) == item.reference)


def holds(item: Item) -> float:
    return float(item.reference.strip().casefold() in unthought(item.answer).casefold())


def holds_at_last(item: Item) -> float:
    return float(item.reference.strip() in unthought(item.answer).rpartition("=")[2])


def near_text(item: Item) -> float:
    """The reference but for punctuation, standing in the answer, or four fifths of its characters."""
    got, wanted = (re.sub(r"\W", "", t.casefold()) for t in (strip_markup(item.answer), strip_markup(item.reference)))
    return float(wanted in got or rouge(got, wanted)[2] >= 0.8)


def referent(item: Item) -> float:
    """Which of the listed nouns the answer refers the pronoun to: the longest whose words are all in what it says."""
    listed = [a or b for a, b in re.findall(r"\"([^\"]+)\"|'([^']+)'", item.question.partition("Options:")[2])]
    for said in reversed(conclusions(spoken(item.answer))):
        if named := [noun for noun in listed if words(noun) <= words(said)]:
            return float(fold_text(max(named, key=len)) == fold_text(item.reference))
    return holds(item)


def words(text: str) -> set[str]:
    return set(re.findall(r"[\w']+", strip_markup(text).casefold())) - {"the", "a", "an"}


def literals(text: str) -> list[str]:
    """Numbers exactly as they are typed: a comma ends one."""
    return re.findall(r"\d+(?:\.\d+)?", text)


def last_three(item: Item) -> float:
    """The reference's numbers, all among the last three typed; a reference without one is never matched."""
    wanted = literals(result(item.reference))
    return float(bool(wanted) and set(wanted) <= set(literals(unthought(item.answer))[-3:]))


def result(reference: str) -> str:
    """The result of a worked solution: after "####", or in its last box."""
    told = reference.rpartition("####")[2].strip() if "####" in reference else reference
    boxed = find_boxes(told)
    return boxed[-1][1] if boxed else told.replace(",", "") if "####" in reference else told


def last_integer(item: Item) -> float:
    found = re.findall(r"\d+", unthought(item.answer).replace(",", ""))
    return float(found[-1:] == [item.reference.strip()])


def integers(text: str) -> list[int]:
    """Whole numbers of any size, exactly, whatever marks their thousands."""
    bare = re.sub(r"(?<=\d)(?:\{,\}|\\[,!;: ]\\?!?|,\\!|,)(?=\d{3}(?!\d))", "", text)
    return [int(d) for d in re.findall(r"\d+", bare)]


def same_integers(item: Item) -> float:
    """The numbers of the result that the answer states last, else those it ends with, are the reference's in order."""
    wanted = integers(item.reference)
    text = spoken(item.answer)
    for said in reversed(find_statements(text)):
        if got := integers(said.rpartition("=")[2]):
            return float(got == wanted)
    return float(integers(text)[-len(wanted) :] == wanted)


def read_words(item: Item) -> float:
    return same_integers(item) if re.fullmatch(r"[\d\s]+", item.reference) else holds(item)


def mathematics(item: Item) -> float:
    """A letter as an option; anything else by mathematical equivalence with the reference's result."""
    if re.fullmatch(r"\W*[A-E]\W*", item.reference):
        return chosen(item)
    return grade(item.answer, result(item.reference), "math") or 0.0


def clock(item: Item) -> float:
    """As `mathematics`, but a reference that is a number with a word ("5am") is read by its number."""
    if re.fullmatch(r"\$?\d+\s*[a-z]+\$?", item.reference):
        return float(literals(item.reference)[0] == next(iter(literals(spoken(item.answer))[-2:]), None))
    return mathematics(item)


def rouge(got: Sequence[Hashable], wanted: Sequence[Hashable]) -> tuple[float, float, float]:
    """Precision, recall and F1 of the shared single tokens (ROUGE-1)."""
    shared = sum((Counter(got) & Counter(wanted)).values())
    precision, recall = shared / max(1, len(got)), shared / max(1, len(wanted))
    return precision, recall, 2 * precision * recall / (precision + recall) if shared else 0.0


def title_recall(item: Item) -> float:
    """ROUGE-1 recall over characters of the whole answer: what a long answer mentions anywhere counts."""
    return rouge(*("".join(t.split()) for t in (item.answer, item.reference)))[1]


def entity_recall(item: Item) -> float:
    """The share of the reference's entities among the answer's parts between punctuation and spaces."""
    wanted = set(strip_markup(item.reference).split(";"))
    return len(wanted & set(re.split(r"\W+", spoken(item.answer)))) / len(wanted)


def entity_mentioned(item: Item) -> float:
    wanted = set(strip_markup(item.reference).split(";"))
    return sum(name in spoken(item.answer) for name in wanted) / len(wanted)


def edit_f1(tokens: str) -> Callable[[Item], float]:
    """F1 of the edits from the faulty sentence: the answer's against the reference's, the same span and text."""

    def edits(source: list[str], target: list[str]) -> set[tuple[int, int, tuple[str, ...]]]:
        steps = SequenceMatcher(None, source, target, autojunk=False).get_opcodes()
        return {(i, j, tuple(target[k:end])) for kind, i, j, k, end in steps if kind != "equal"}

    def score(item: Item) -> float:
        source, ours, theirs = (re.findall(tokens, spoken(t)) for t in (item.question, item.answer, item.reference))
        made, wanted = edits(source, ours), edits(source, theirs)
        return 2 * len(made & wanted) / (len(made) + len(wanted)) if made or wanted else 1.0

    return score


YES_NO = {
    "No": r"not?(?:\s+\w+){0,2}?\s+(?:similar|correct|grammatical(?:ly\s+correct)?)|no|not|dissimilar"
    r"|(?:grammatical(?:ly)?\s+)?incorrect|ungrammatical|isn't|aren't|否|不是|不相?(?:似|同)",
    "Yes": r"yes|similar|(?:grammatical(?:ly)?\s+)?correct|grammatical|是|相(?:似|同)",
}
TRUE = {"false": r"false|no|不(?:是|对|正确)|并非|否|错误?", "true": r"true|yes|是|对|正确"}
SAME = {
    "0": r"no|0|否|不是(?:一样|相同)?|不(?:太|完全)?(?:一样|相同|一致|同)|并(?:不|非)|没有相同|有所?区别",
    "1": r"yes|1|是|一样|相同|一致",
}
INFERENCE = {
    "contradiction": r"contradict(?:ion|s|ory)?|矛盾",
    "entailment": r"entail(?:ment|s|ed)?|蕴[含涵]",
    "neutral": r"neutral|中[立性]",
}
CONTAINS = {
    "not_entailment": r"not[ _]entailment|no|does\s+not|doesn't|否|不",
    "entailment": r"entailment|yes|contains|是",
}
SENTIMENT = {"Positive": r"positive|正面|积极", "Negative": r"negative|负面|消极"}
SECTION = {
    "World": r"world|international",
    "Sports": r"sports?",
    "Business": r"business",
    "Science and Technology": r"sci(?:ence)?\s*(?:and|&|/)\s*tech(?:nology)?|science|technology",
}
LABEL = "the label that the answer settles on"
OPTION = "the option that the answer settles on"
JUDGED = "published: judged by GPT-4o; here: the stated result is mathematically equal to the reference's"
EDITS = "published: F1 of a grammar scorer that is not given; here: mean F1 of edits, aligned by difflib over "

DATA_SETS: dict[str, DataSet] = {
    "lcqmc": DataSet(LABEL, labelled(SAME)),
    "ocnli": DataSet(LABEL, labelled(INFERENCE)),
    "sst2": DataSet(LABEL, labelled(SENTIMENT)),
    "cola": DataSet(LABEL, labelled(YES_NO)),
    "mrpc": DataSet(LABEL, labelled(YES_NO)),
    "msra": DataSet(
        "recall of the entities among the answer's parts, '·' parts a name", entity_recall, entity_mentioned
    ),
    "qqp": DataSet(LABEL, labelled(YES_NO)),
    "sts_b": DataSet(LABEL, labelled(YES_NO)),
    "ag_news": DataSet(LABEL, labelled(SECTION)),
    "qnli": DataSet(LABEL, labelled(CONTAINS)),
    "chid_baidu": DataSet(OPTION, chosen),
    "webqa": DataSet("the reference stands in the answer", holds),
    "c3": DataSet(OPTION, chosen),
    "cmrc": DataSet("the reference stands in the answer", holds, near_text),
    "race": DataSet(OPTION, chosen),
    "story_cloze_test": DataSet(OPTION, chosen),
    "cluewsc2020": DataSet(OPTION, yes_option),
    "winograd_wsc": DataSet("the reference stands in the answer", holds, referent),
    "truthful_qa": DataSet(OPTION, chosen),
    "bigmath": DataSet("the last whole number, commas dropped", last_integer, same_integers),
    "gsm8k_test_100": DataSet(
        "the result is one of the last three numbers as typed",
        last_three,
        lambda i: grade(i.answer, result(i.reference), "numeric") or 0.0,
    ),
    "GAOKAO-2023_Math_en": DataSet(
        "the reference's numbers are among the last three as typed; letters never match", last_three, clock
    ),
    "geometry": DataSet(JUDGED, mathematics, reproduces=False),
    "prealgebra": DataSet(JUDGED, mathematics, reproduces=False),
    "precalculus": DataSet(JUDGED, mathematics, reproduces=False),
    "word_manipulation_v2": DataSet(
        "the reference stands in the answer, to the letter, after its last '='", holds_at_last, read_words
    ),
    "nlpcc2017_task2": DataSet(OPTION, chosen),
    "lcsts": DataSet("ROUGE-1 recall over the characters of the whole answer", title_recall),
    "nlpcc2018_task2": DataSet(EDITS + "characters", edit_f1(r"\S"), reproduces=False),
    "conll2014": DataSet(EDITS + "words", edit_f1(r"\w+|[^\w\s]"), reproduces=False),
}
