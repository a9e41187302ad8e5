"""Words: whether a reference stands in a text, and how much of it a text has. Pure functions."""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

__all__ = ["contains_words", "parse_references", "rouge_l", "token_f1", "tokenize"]

UNSPACED = r"\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"  # scripts that put no space between words
_TOKEN = re.compile(rf"[{UNSPACED}]|[^\W{UNSPACED}]+")
_JOINED = re.compile(r"(?<=\w)['’](?=\w)|(?<=\d),(?=\d{3}(?!\d))|(?<=\b\w)\.(?=\w\b)")  # don't, 1,000, U.S.
_ARTICLES = frozenset(("a", "an", "the"))


def contains_words(text: str, wanted: str) -> bool:
    """Whether `wanted` stands in `text` as whole words; 18 is not found in 180, 1.18 or 18.5."""
    if not wanted:
        return False
    before = r"(?<!\d[.,])" if wanted[0].isdigit() else ""
    after = r"(?![.,]\d)" if wanted[-1].isdigit() else ""
    if not re.match(rf"[{UNSPACED}\W]", wanted):
        before += rf"(?<![^\W{UNSPACED}])"
    if not re.search(rf"[{UNSPACED}\W]$", wanted):
        after += rf"(?![^\W{UNSPACED}])"
    return re.search(before + re.escape(wanted) + after, text) is not None


def parse_references(reference: str) -> list[str]:
    """One reference, or each of several that a JSON list of texts gives; only those with a word in them."""
    given: object = reference
    if reference.lstrip().startswith("["):
        try:
            given = json.loads(reference)
        except ValueError:
            given = reference
    several = given if isinstance(given, list) and all(isinstance(g, str) for g in given) else [reference]
    return [g for g in several if tokenize(g)]


def tokenize(text: str) -> list[str]:
    """Words without case; Chinese, Japanese and Thai, which put no space between them, sign by sign."""
    return _TOKEN.findall(unicodedata.normalize("NFKC", text).casefold())


def rouge_l(text: str, wanted: str) -> float:
    """ROUGE-L, F1: twice the longest common subsequence of tokens over the tokens of both; in [0, 1].

    Lin, "ROUGE: A Package for Automatic Evaluation of Summaries", ACL 2004 workshop, section 3.1, with beta = 1,
    without stemming.
    """
    got, want = tokenize(text), tokenize(wanted)
    return 2 * _common_subsequence_length(got, want) / (len(got) + len(want)) if got and want else 0.0


def _common_subsequence_length(a: Sequence[str], b: Sequence[str]) -> int:
    """The length of the longest common subsequence, a row of the table in one integer.

    Hyyrö, "Bit-parallel LCS-length computation revisited", 2004: bit i of `row` is 0 where the table grows at a[i].
    """
    where: dict[str, int] = {}
    for i, token in enumerate(a):
        where[token] = where.get(token, 0) | 1 << i
    full = (1 << len(a)) - 1
    row = full
    for token in b:
        both = row & where.get(token, 0)
        row = (row + both | row - both) & full
    return len(a) - row.bit_count()


def token_f1(text: str, wanted: str) -> float:
    """F1 of the tokens two texts share, as often as both have them, without articles; in [0, 1].

    Rajpurkar et al., "SQuAD: 100,000+ Questions for Machine Comprehension of Text", EMNLP 2016, section 6.1; signs of
    unspaced scripts count as tokens, as in CMRC 2018.
    """
    got, want = _count_tokens(text), _count_tokens(wanted)
    if not got or not want:  # nothing but articles
        return float(got == want)
    shared = (got & want).total()
    return 2 * shared / (got.total() + want.total())


def _count_tokens(text: str) -> Counter[str]:
    return Counter(t for t in tokenize(_JOINED.sub("", text)) if t not in _ARTICLES)
