"""Find the label or option that an answer settles on, in English and Chinese, in any form. Pure functions.

An answer is read as a person would: what it states as its result ("Answer: B", "答案是B", a box), else what it
begins with ("**Negative** ...", "[是]"), else what it sets in bold, else the only one that it names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from routemoa.judging.answers.language.extraction import THOUGHT_END, Box, find_boxes, fold_text, strip_markup

__all__ = ["find_conclusions", "find_label", "find_option", "list_options", "plain_answer", "strip_thinking"]

LEAD = re.compile(
    r"""(?:\b(?:answer|verdict|conclusion|decision|result|label|choice|classification|option|continuation|ending)
        (?:\ key)?\b["']?
        (?:\ +(?:to|for|of)\ +(?:the|this|your)\ +[\w ]{1,40}?)?\s*(?:is|was|would\ be|should\ be|:|=|→|\n)
    | \b(?:appear|belongs?|be|fits?|falls?)(?:\ best)?\ (?:in|into|under)(?:\ the)? | \brefers?\ to
    | \b(?:choose|select|pick|go\ with|going\ with)\b
    | (?:答案|结论|结果|判断)(?:应该|应当|应)?(?:就)?(?:是|为|选|:|\n) | 因此选择?|所以选择?|应该?选择?|故选|我选择?
    | 选择(?=[\s:"“(\[]*[A-Z])
    | (?:正确|最佳|合适|恰当)的?(?:选项|成语|类别|选择)(?:编号)?(?:应该|应)?(?:是|为|:) | 指的?是
    | ^\s*(?:选项|[Oo]ption|类别|选)(?=\W*[A-Z]) | \#\#\#\#)\s*""",
    re.IGNORECASE | re.VERBOSE | re.MULTILINE,
)
RIGHT = (
    r"\s*(?:is|would be)\s+(?:clearly\s+)?(?:the\s+)?(?:most\s+)?(?:correct|right|best|answer)"
    r"|\s*(?:是|为)?(?:正确|对的)"
)
WRONG = (  # or one of several
    r"\s*(?:是|为)?\s*(?:错|不|误)|\s+(?:is|are|was)\s+(?:not|incorrect|wrong)"
    r"|\s*\b(?:and|or|和|或|与)\s+\W*[A-Z]\b|\s*[、/&和或与]\s*[A-Z]\b"
)


def strip_thinking(text: str) -> str:
    """Return the answer without its thinking; a text cut off while thinking has no answer."""
    text = THOUGHT_END.split(text)[-1]
    return re.split(r"<think(?:ing)?>", text, flags=re.IGNORECASE)[0].strip()


def plain_answer(text: str) -> str:
    """Return the answer without its thinking and markup."""
    return strip_markup(strip_thinking(text))


def find_conclusions(text: str) -> list[str]:
    """Return the results that a text states, in their order: after a lead, in a box or in [ ]."""
    stated = find_boxes(text)
    for m in LEAD.finditer(text):
        stated.append(Box(m.end(), re.split(r"\n|[.。;](?=\s|$)", text[m.end() : m.end() + 200], maxsplit=1)[0]))
    stated += [Box(m.start(), m[1]) for m in re.finditer(r"\[([^\[\]\n]{1,20})\]", text)]
    return [part for _, part in sorted(stated)]


def find_label(text: str, words: Mapping[str, str]) -> str | None:
    """Return the label that a text settles on, or None; `words` maps each label to a pattern of its words."""
    named = {f"L{i}": key for i, key in enumerate(words)}
    every = "|".join(f"(?P<{g}>{_bounded(words[key])})" for g, key in named.items())
    one = re.compile(every, re.IGNORECASE)

    def found(part: str) -> list[tuple[int, str]]:
        return [(m.start(), named[m.lastgroup or ""]) for m in one.finditer(part)]

    def only(part: str) -> str | None:
        kinds = {key for _, key in found(part)}
        return kinds.pop() if len(kinds) == 1 else None

    def opening(part: str) -> str | None:
        first = found(part)
        return first[0][1] if first and not re.search(r"\w", part[: first[0][0]]) else None

    bold = [m[1] for m in re.finditer(r"\*\*(.{1,60}?)\*\*|【(.{1,20}?)】", text) if m[1]]
    text = plain_answer(text)
    for part in reversed(find_conclusions(text)):
        if key := opening(part) or only(part):
            return key
    if key := opening(text):
        return key
    emphasised = {key for span in bold if (key := opening(span)) and len(span) < 40}
    if len(emphasised) == 1:
        return emphasised.pop()
    if key := only(text):
        return key
    last = found(text.splitlines()[-1]) if text else []
    return last[-1][1] if last else None


def _bounded(pattern: str) -> str:
    """Return a pattern whose Latin words are whole words; Chinese ones need no boundary."""
    return rf"(?<![A-Za-z_-])(?:{pattern})(?![A-Za-z_-])"


def list_options(prompt: str) -> dict[str, str]:
    """Return {letter: text} of the options in a question: "A.是 B.否", "(A) Yes (B) No", or one a line."""
    marks = list(re.finditer(r"(?<![A-Za-z])\(?([A-Z])\s*[.:、)．：）]\s*", prompt))
    runs: list[list[re.Match[str]]] = []
    for i, mark in enumerate(marks):
        if mark[1] == "A":
            run = [mark]
            for other in marks[i + 1 :]:
                if ord(other[1]) == ord(run[-1][1]) + 1:
                    run.append(other)
            runs.append(run)
    best = max(reversed(runs), key=len, default=[])
    ends = [m.start() for m in best[1:]] + [len(prompt)]
    cut = [prompt[m.end() : end].strip() for m, end in zip(best, ends, strict=False)]
    return (
        {m[1]: re.split(r"\n|\s{3,}", text)[0].strip(" ;；。.\"'") for m, text in zip(best, cut, strict=True)}
        if len(best) > 1
        else {}
    )


def find_option(text: str, listed: Mapping[str, str]) -> str | None:
    """Return the letter of the option that a text settles on, or None; `listed` maps letters to their texts."""
    text = plain_answer(text)
    letter = "[" + ("".join(listed) or "A-Z") + "]"
    # "A robe" is an article, "C because" an option; the option's own text may follow any letter.
    own = "|".join(re.escape(strip_markup(t)[:12]) for t in listed.values() if t) or r"(?!)"
    after = rf"(?![A-Za-z0-9'’])(?!{WRONG})(?:(?=\s+(?:{own}))|(?<![AI])|(?!\s+[a-z]))"
    one = re.compile(rf"[\s\"'“”‘’(\[<【《:]*(?:(?:[Oo]ption|[Cc]hoice|选项|选)\s*[\"'“(\[]*)?({letter}){after}")
    found = [(at, m[1]) for at, box in find_boxes(text) if (m := one.match(box))]
    found += [(m.start(1), m[1]) for lead in LEAD.finditer(text) if (m := one.match(text, lead.end()))]
    found += [(m.start(1), m[1]) for m in re.finditer(rf"(?<!\w)\(?({letter})\)?(?={RIGHT})", text)]
    if found:
        return max(found)[1]
    heads = [m[1] for line in text.splitlines() if (m := one.match(line))]
    if len(set(heads)) == 1:
        return heads[0]
    if heads and (m := re.fullmatch(rf"\W*({letter})\W*", text.splitlines()[-1])):
        return m[1]
    return None if heads else _option_in_text(text, listed, letter)


def _option_in_text(text: str, listed: Mapping[str, str], letter: str) -> str | None:
    """Return the only option that a text names in a sentence: by letter and text, by letter, or by text."""
    flat = fold_text(text)
    with_text = {
        k
        for k, t in listed.items()
        if t and re.search(rf"(?<![A-Za-z]){k}\W{{0,3}}{re.escape(strip_markup(t)[:12])}", text)
    }
    by_letter = {
        m[1] or m[2] for m in re.finditer(rf"\(({letter})\)|(?:[Oo]ption|选项)\s*({letter})(?![A-Za-z])", text)
    }
    by_text = {k for k, t in listed.items() if t and fold_text(strip_markup(t)) in flat}
    longest = {k for k in by_text if not any(k != o and fold_text(listed[k]) in fold_text(listed[o]) for o in by_text)}
    for some in (with_text, by_letter, longest):
        if some:
            return some.pop() if len(some) == 1 else None
    return None
