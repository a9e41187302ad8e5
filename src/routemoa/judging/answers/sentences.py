"""Split a short sentence at its verb of being: "The capital is Paris." says "Paris" of "the capital". Pure functions."""

from __future__ import annotations

import re

__all__ = ["MAX_SENTENCE_LENGTH", "split_sentence"]

MAX_SENTENCE_LENGTH = 150
"""Characters of a sentence that is taken apart."""

_NEGATED = r"(?!(?:not|no|never|nicht|kein\w{0,2}|pas|non|n[ãa]o|не|nunca|mai|jamais)\b)"
_EUROPEAN = re.compile(
    rf"""(?:(?:so|thus|hence|therefore|also|daher|somit|donc|ainsi|entonces|portanto|quindi|dunque|por\ (?:lo\ )?tanto),?\s)?
    (?P<subject>[^,;:]{{2,90}}?)\s(?:is|are|was|were|es|son|ist|sind|war|est|sont|é|são|foi|è|sono|era|hei(?:ß|ss)t|lautet)\s
    (?:called\s|named\s)?{_NEGATED}(?P<complement>[^,;:]{{1,60}})""",
    re.VERBOSE | re.IGNORECASE,
)
_RUSSIAN = re.compile(r"(?P<subject>[^,;:]{2,90}?)\s(?:[-–—](?:\sэто)?|это|является|были?|была|было)\s(?!не\b)(?P<complement>[^,;:]{1,60})")
_CHINESE = re.compile(r"(?P<subject>[^,;:是为為]{1,40})(?<!不)[是为為](?!不)(?P<complement>[^,;:是]{1,30})")
_JAPANESE = re.compile(r"(?P<subject>[^,;:は]{1,40})は,?(?P<complement>[^,;:は]{1,30}?)(?:です|である|だ|になります)?")
_KOREAN = re.compile(r"(?P<subject>[^,;:]{1,40}?)[은는이가]\s(?P<complement>[^,;:]{1,30}?)\s?(?:입니다|이다|이에요|예요|이며)")
_ARABIC = re.compile(r"(?P<subject>[^,;:]{2,60}?)\s(?:هي|هو)\s(?P<complement>[^,;:]{1,40})")
_HINDI = re.compile(r"(?P<subject>[^,;:]{2,60})\s(?P<complement>[^\s,;:]{2,30})\s(?:है|हैं)")
_NEGATIONS = re.compile(r"नहीं|ではな|じゃな|아니|ليس|不是|并非")
_LATER_SENTENCE = re.compile(r"[.!?。！？।؟]\s?\S")


def split_sentence(text: str) -> tuple[str, str] | None:
    """Return the subject of a text that is one short sentence, and what it is said to be; None for any other text.

    A sentence that denies something is not taken apart.
    """
    if len(text) > MAX_SENTENCE_LENGTH or "\n" in text:
        return None
    sentence = text.strip().rstrip(" .。।!！")
    if _LATER_SENTENCE.search(sentence) or _NEGATIONS.search(sentence):
        return None
    for pattern in _patterns_for(sentence):
        if m := pattern.fullmatch(sentence):
            return m["subject"], m["complement"]
    return None


def _patterns_for(sentence: str) -> tuple[re.Pattern[str], ...]:
    """Return the patterns of the script of a sentence."""
    if sentence.isascii():
        return (_EUROPEAN,)
    if any("а" <= c <= "я" for c in sentence):
        return (_RUSSIAN,)
    return (_EUROPEAN, _JAPANESE, _CHINESE, _KOREAN, _ARABIC, _HINDI)
