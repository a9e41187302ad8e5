"""How each of the thirty data sets of RouteMoA's published large-pool run is scored. Pure functions, one table.

`score` is the published rule, inferred from the published texts and stated in `rule`. `human_score` is a person's
verdict where that rule misreads answers (a LaTeX thousands mark, "(A)", another order of words); it is shown beside,
never mixed in. Seven data sets have another metric than accuracy; `reproduces` says whether ours is the published one.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from labels import find_conclusions, find_label, find_option, list_options, plain_answer, strip_thinking

from routemoa.datasets.grading import grade
from routemoa.judging.answers.language.extraction import find_boxes, find_statements, fold_text, strip_markup

__all__ = ["DATA_SETS", "DataSet", "Item", "failure_kind"]


@dataclass(frozen=True)
class Item:
    """One published answer with its question and reference."""

    prompt: str
    question: str
    reference: str
    answer: str


@dataclass(frozen=True)
class DataSet:
    """How a data set is scored."""

    rule: str
    """In one sentence, for the reader of a table."""
    score: Callable[[Item], float]
    """An answer's score in [0, 1] by that rule."""
    human_score: Callable[[Item], float] | None = None
    """1.0 where a person would call the answer right; None where `score` already does."""
    reproduces: bool = True
    """Whether `score` is the published metric; otherwise it is a proxy and not comparable."""


def failure_kind(answer: str | None) -> str | None:
    """Return why there is no answer, else None: the published run writes its errors into the answers."""
    if not answer or not plain_answer(answer):
        return "empty"
    m = re.match(r"\s*Error(?: Occur)?! ?(Reply is none|response text)", answer)
    return None if not m else "no reply" if m[1] == "Reply is none" else "error"


def score_label(words: Mapping[str, str]) -> Callable[[Item], float]:
    """Return the function that scores 1.0 where the label that an answer settles on is the reference."""
    return lambda item: float(find_label(item.answer, words) == item.reference)


def score_option(item: Item) -> float:
    """Return 1.0 where the option that the answer settles on is the reference, "B" or "B || its text"."""
    letter = re.match(r"\W*([A-Z])\b", item.reference)
    return float(bool(letter) and find_option(item.answer, list_options(item.prompt)) == (letter and letter[1]))


def score_yes_no_option(item: Item) -> float:
    """Score a question whose options are yes and no, in any order, by the text of the option."""
    listed = list_options(item.prompt)
    text = listed.get(find_option(item.answer, listed) or "", item.answer)
    return float(find_label(text, TRUE) == item.reference)


def score_contains(item: Item) -> float:
    return float(item.reference.strip().casefold() in strip_thinking(item.answer).casefold())


def score_contains_last(item: Item) -> float:
    return float(item.reference.strip() in strip_thinking(item.answer).rpartition("=")[2])


def score_similar_text(item: Item) -> float:
    """Return 1.0 where the answer contains the reference without punctuation, or matches four fifths of it."""
    answer, reference = (
        re.sub(r"\W", "", t.casefold()) for t in (strip_markup(item.answer), strip_markup(item.reference))
    )
    return float(reference in answer or rouge1(answer, reference).f1 >= 0.8)


def score_referent(item: Item) -> float:
    """Return 1.0 where the listed noun that the answer names, the longest of several, is the reference."""
    listed = [a or b for a, b in re.findall(r"\"([^\"]+)\"|'([^']+)'", item.question.partition("Options:")[2])]
    for conclusion in reversed(find_conclusions(plain_answer(item.answer))):
        if named := [noun for noun in listed if word_set(noun) <= word_set(conclusion)]:
            return float(fold_text(max(named, key=len)) == fold_text(item.reference))
    return score_contains(item)


def word_set(text: str) -> set[str]:
    return set(re.findall(r"[\w']+", strip_markup(text).casefold())) - {"the", "a", "an"}


def number_literals(text: str) -> list[str]:
    """Return the numbers exactly as they are typed: a comma ends one."""
    return re.findall(r"\d+(?:\.\d+)?", text)


def score_last_three_numbers(item: Item) -> float:
    """Return 1.0 where the reference has numbers and all are among the last three typed."""
    wanted = number_literals(reference_result(item.reference))
    return float(bool(wanted) and set(wanted) <= set(number_literals(strip_thinking(item.answer))[-3:]))


def reference_result(reference: str) -> str:
    """Return the result of a worked solution: after "####", or in its last box."""
    is_marked = "####" in reference
    text = reference.rpartition("####")[2].strip() if is_marked else reference
    boxed = find_boxes(text)
    return boxed[-1][1] if boxed else text.replace(",", "") if is_marked else text


def score_last_integer(item: Item) -> float:
    numbers = re.findall(r"\d+", strip_thinking(item.answer).replace(",", ""))
    return float(numbers[-1:] == [item.reference.strip()])


def parse_integers(text: str) -> list[int]:
    """Return the whole numbers of a text, of any size, whatever marks their thousands."""
    bare = re.sub(r"(?<=\d)(?:\{,\}|\\[,!;: ]\\?!?|,\\!|,)(?=\d{3}(?!\d))", "", text)
    return [int(d) for d in re.findall(r"\d+", bare)]


def score_integers(item: Item) -> float:
    """Return 1.0 where the result that the answer states last, else its end, has the reference's numbers in order."""
    wanted = parse_integers(item.reference)
    text = plain_answer(item.answer)
    for result in reversed(find_statements(text)):
        if numbers := parse_integers(result.rpartition("=")[2]):
            return float(numbers == wanted)
    return float(parse_integers(text)[-len(wanted) :] == wanted)


def score_words(item: Item) -> float:
    return score_integers(item) if re.fullmatch(r"[\d\s]+", item.reference) else score_contains(item)


def score_mathematics(item: Item) -> float:
    """Score a letter as an option, anything else by mathematical equivalence with the reference's result."""
    if re.fullmatch(r"\W*[A-E]\W*", item.reference):
        return score_option(item)
    return grade(item.answer, reference_result(item.reference), "math") or 0.0


def score_time(item: Item) -> float:
    """Score as `score_mathematics`, but a reference that is a number with a word ("5am") by its number."""
    if re.fullmatch(r"\$?\d+\s*[a-z]+\$?", item.reference):
        return float(
            number_literals(item.reference)[0] == next(iter(number_literals(plain_answer(item.answer))[-2:]), None)
        )
    return score_mathematics(item)


@dataclass(frozen=True)
class Rouge:
    """ROUGE-1: overlap of single tokens."""

    recall: float
    f1: float


def rouge1(answer: Sequence[Hashable], reference: Sequence[Hashable]) -> Rouge:
    """Return the overlap of the single tokens of two sequences."""
    shared = sum((Counter(answer) & Counter(reference)).values())
    precision, recall = shared / max(1, len(answer)), shared / max(1, len(reference))
    return Rouge(recall, 2 * precision * recall / (precision + recall) if shared else 0.0)


def score_title_recall(item: Item) -> float:
    """Return the ROUGE-1 recall over the characters of the whole answer."""
    answer, reference = ("".join(t.split()) for t in (item.answer, item.reference))
    return rouge1(answer, reference).recall


def score_entity_recall(item: Item) -> float:
    """Return the share of the reference's entities among the answer's parts between punctuation and spaces."""
    wanted = set(strip_markup(item.reference).split(";"))
    return len(wanted & set(re.split(r"\W+", plain_answer(item.answer)))) / len(wanted)


def score_entity_mentions(item: Item) -> float:
    wanted = set(strip_markup(item.reference).split(";"))
    return sum(name in plain_answer(item.answer) for name in wanted) / len(wanted)


def score_edits(tokens: str) -> Callable[[Item], float]:
    """Return the function that scores the F1 of an answer's edits of the faulty sentence, by span and text."""

    def edits(source: list[str], target: list[str]) -> set[tuple[int, int, tuple[str, ...]]]:
        steps = SequenceMatcher(None, source, target, autojunk=False).get_opcodes()
        return {(i, j, tuple(target[k:end])) for kind, i, j, k, end in steps if kind != "equal"}

    def score(item: Item) -> float:
        source, ours, theirs = (
            re.findall(tokens, plain_answer(t)) for t in (item.question, item.answer, item.reference)
        )
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
    "lcqmc": DataSet(LABEL, score_label(SAME)),
    "ocnli": DataSet(LABEL, score_label(INFERENCE)),
    "sst2": DataSet(LABEL, score_label(SENTIMENT)),
    "cola": DataSet(LABEL, score_label(YES_NO)),
    "mrpc": DataSet(LABEL, score_label(YES_NO)),
    "msra": DataSet(
        "recall of the entities among the answer's parts, '·' parts a name", score_entity_recall, score_entity_mentions
    ),
    "qqp": DataSet(LABEL, score_label(YES_NO)),
    "sts_b": DataSet(LABEL, score_label(YES_NO)),
    "ag_news": DataSet(LABEL, score_label(SECTION)),
    "qnli": DataSet(LABEL, score_label(CONTAINS)),
    "chid_baidu": DataSet(OPTION, score_option),
    "webqa": DataSet("the reference stands in the answer", score_contains),
    "c3": DataSet(OPTION, score_option),
    "cmrc": DataSet("the reference stands in the answer", score_contains, score_similar_text),
    "race": DataSet(OPTION, score_option),
    "story_cloze_test": DataSet(OPTION, score_option),
    "cluewsc2020": DataSet(OPTION, score_yes_no_option),
    "winograd_wsc": DataSet("the reference stands in the answer", score_contains, score_referent),
    "truthful_qa": DataSet(OPTION, score_option),
    "bigmath": DataSet("the last whole number, commas dropped", score_last_integer, score_integers),
    "gsm8k_test_100": DataSet(
        "the result is one of the last three numbers as typed",
        score_last_three_numbers,
        lambda i: grade(i.answer, reference_result(i.reference), "numeric") or 0.0,
    ),
    "GAOKAO-2023_Math_en": DataSet(
        "the reference's numbers are among the last three as typed; letters never match",
        score_last_three_numbers,
        score_time,
    ),
    "geometry": DataSet(JUDGED, score_mathematics, reproduces=False),
    "prealgebra": DataSet(JUDGED, score_mathematics, reproduces=False),
    "precalculus": DataSet(JUDGED, score_mathematics, reproduces=False),
    "word_manipulation_v2": DataSet(
        "the reference stands in the answer, to the letter, after its last '='", score_contains_last, score_words
    ),
    "nlpcc2017_task2": DataSet(OPTION, score_option),
    "lcsts": DataSet("ROUGE-1 recall over the characters of the whole answer", score_title_recall),
    "nlpcc2018_task2": DataSet(EDITS + "characters", score_edits(r"\S"), reproduces=False),
    "conll2014": DataSet(EDITS + "words", score_edits(r"\w+|[^\w\s]"), reproduces=False),
}
