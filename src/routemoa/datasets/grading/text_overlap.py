"""Compare a text and a reference word by word: containment, ROUGE-L and token F1. Pure functions."""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

from routemoa.core.text.late_pattern import compile_late

__all__ = ["contains_words", "parse_references", "rouge_l", "token_f1", "tokenize"]

UNSPACED = r"\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"  # scripts that put no space between words
_TOKEN = compile_late(rf"[{UNSPACED}]|[^\W{UNSPACED}]+")
_JOINED = compile_late(r"(?<=\w)['’](?=\w)|(?<=\d),(?=\d{3}(?!\d))|(?<=\b\w)\.(?=\w\b)")  # don't, 1,000, U.S.
_UNBOUND_START = compile_late(rf"[{UNSPACED}\W]")
_UNBOUND_END = compile_late(rf"[{UNSPACED}\W]$")
_ARTICLES = frozenset(("a", "an", "the"))


def contains_words(text: str, reference: str) -> bool:
    """Return whether `reference` stands in `text` as whole words; 18 is not found in 180, 1.18 or 18.5."""
    if not reference:
        return False
    before = r"(?<!\d[.,])" if reference[0].isdigit() else ""
    after = r"(?![.,]\d)" if reference[-1].isdigit() else ""
    if not _UNBOUND_START.match(reference):
        before += rf"(?<![^\W{UNSPACED}])"
    if not _UNBOUND_END.search(reference):
        after += rf"(?![^\W{UNSPACED}])"
    return re.search(before + re.escape(reference) + after, text) is not None


def parse_references(reference: str) -> list[str]:
    """Return the texts of a JSON list of texts, else the reference itself; only those with a word in them."""
    decoded: object = reference
    if reference.lstrip().startswith("["):
        try:
            decoded = json.loads(reference)
        except ValueError:
            decoded = reference
    texts = decoded if isinstance(decoded, list) and all(isinstance(t, str) for t in decoded) else [reference]
    return [text for text in texts if tokenize(text)]


def tokenize(text: str) -> list[str]:
    """Return the words of a text in lower case; of Chinese, Japanese and Thai, which have no spaces, each sign."""
    return _TOKEN.findall(unicodedata.normalize("NFKC", text).casefold())


def rouge_l(text: str, reference: str) -> float:
    """Return ROUGE-L as F1: twice the longest common subsequence of tokens over the tokens of both; in [0, 1].

    Lin, "ROUGE: A Package for Automatic Evaluation of Summaries", ACL 2004 workshop, section 3.1, with beta = 1,
    without stemming.
    """
    a, b = tokenize(text), tokenize(reference)
    return 2 * _common_subsequence_length(a, b) / (len(a) + len(b)) if a and b else 0.0


def _common_subsequence_length(a: Sequence[str], b: Sequence[str]) -> int:
    """Return the length of the longest common subsequence, keeping a row of the table in one integer.

    Hyyrö, "Bit-parallel LCS-length computation revisited", 2004: bit i of `row` is 0 where the table grows at a[i].
    """
    positions: dict[str, int] = {}
    for i, token in enumerate(a):
        positions[token] = positions.get(token, 0) | 1 << i
    all_ones = (1 << len(a)) - 1
    row = all_ones
    for token in b:
        matches = row & positions.get(token, 0)
        row = (row + matches | row - matches) & all_ones
    return len(a) - row.bit_count()


def token_f1(text: str, reference: str) -> float:
    """Return F1 of the tokens two texts share, as often as both have them, without articles; in [0, 1].

    Rajpurkar et al., "SQuAD: 100,000+ Questions for Machine Comprehension of Text", EMNLP 2016, section 6.1; signs of
    unspaced scripts count as tokens, as in CMRC 2018.
    """
    a, b = _count_tokens(text), _count_tokens(reference)
    if not a or not b:  # nothing but articles
        return float(a == b)
    return 2 * (a & b).total() / (a.total() + b.total())


def _count_tokens(text: str) -> Counter[str]:
    return Counter(t for t in tokenize(_JOINED.sub("", text)) if t not in _ARTICLES)
