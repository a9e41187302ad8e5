"""Read which options of a multiple-choice question a text settles on, in the many ways models name them. Pure.

The last choice that a text states counts: after "the answer is", in a box, "B is correct", "so B", "故选B". What is
denied ("not A but B", "A is wrong") does not, nor does "A or B".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from routemoa.core.text.late_pattern import compile_late
from routemoa.judging.answers.language.extraction import find_boxes
from routemoa.judging.answers.language.languages import CORRECTION, OPTION_NOUN, find_lead_ins

__all__ = ["ALPHABETS", "LATIN", "OptionReader", "find_chosen_option", "get_reader", "read_options", "to_latin"]

MAX_CONCLUSION = 300
"""Characters at the end of a text in which an option is looked for where nothing says what is asked."""
MAX_OPTIONS = 26

_OPEN = r"[\s\"'“”„‘’«「『【《(\[{$<*_]{0,6}+"
_CLOSE = r"[\"'“”’»」』】》)\]}$>*_]{0,6}+"
_VERB = (
    r"is|are|was|were|would|could|cannot|can't|isn't|does|ist|sind|es|est|é|è|son|sont|são|sono|не|は|が|是|不|错|有"
)
_RIGHT = "|".join(
    (
        r"(?:is|are|would\ be|must\ be|seems|looks)\s(?:clearly\s|therefore\s|thus\s)?(?:the\s)?(?:most\s|only\s)?"
        r"(?:correct|right|best|true|accurate|valid|appropriate|answer)",
        r"(?:es|son)\s(?:la\s|el\s)?(?:(?:respuesta|opción)\s)?(?:correct[ao]|verdader[ao]|adecuad[ao]|mejor)",
        r"ist\s(?:die\s|somit\s|also\s)?(?:richtige?|korrekte?|zutreffend)",
        r"est\s(?:la\s|donc\s(?:la\s)?)?(?:bonne|correcte?|vraie?|juste|exacte?)",
        r"(?:é|eh)\s(?:a\s|o\s)?(?:(?:resposta|alternativa|opção)\s)?(?:corret[ao]|cert[ao]|verdadeir[ao])",
        r"è\s(?:la\s)?(?:(?:risposta|opzione)\s)?(?:corrett[ao]|giust[ao]|esatt[ao]|vera)",
        r"(?:[-–—]\s|является\s)?(?:правильн|верн)(?:ый|ая|ым|о|ое)",
        r"(?:选项|選項|项|項)?\s?(?:就?是|为)?(?:最|唯一)?(?:正确|正確|对的|合适)",
        r"(?:が|は)(?:最も)?(?:正しい|正解|適切|正答)",
        r"(?:번)?[이가은는]\s?(?:정답|맞|옳|올바|적절)",
        r"(?:هي|هو)\s(?:ال(?:إجابة|خيار)\s)?ال?(?:صحيح|صواب|أصح)",
        r"(?:ही\s)?सही\s(?:है|उत्तर|विकल्प|जवाब)",
        r"を選(?:ぶ|び|択)|[을를]\s?(?:선택|고르|골라)",
    )
)
_CHOOSING = compile_late(
    r"""\b(?:choose|select|pick|go(?:ing)?\ with|(?:it|this|which)?\ ?(?:must|has\ to|can\ only)\ be
    |correct\ one\ is|right\ one\ is
    |elijo|escojo|elegimos|escolho|wählen?|choisis|choisissons|scelgo|scegliamo|выбираем|выбираю)\b
    |(?<!不)(?:故选|故選|应选|應選|应选择|所以选|因此选|选择|選擇|选(?![择项])|選(?![擇項]))[择擇]?\s?:?
    |正确的?是\s?:?|正しいのは
    |^\#\#\#\#""",
    re.IGNORECASE | re.MULTILINE | re.VERBOSE,
)
_CONCLUDING = compile_late(
    r"""(?:\b(?:so|therefore|thus|hence|daher|somit|also|folglich|donc|ainsi|por\ (?:lo\ )?tanto|entonces|portanto|logo
    |quindi|dunque|pertanto|значит|поэтому|следовательно|итак)\b|所以|因此|故|したがって|よって|따라서|그러므로
    |لذلك|إذن|وبالتالي|इसलिए|अतः)
    [\s,:]{0,3}(?:it(?:['’]s|\ is)\s|c['’]est\s|es\s|ist\s|es\ ist\s|è\s|é\s|это\s|是|选)?""",
    re.IGNORECASE | re.VERBOSE,
)
_CLAUSE_END = compile_late(rf"{_CLOSE}\s{{0,3}}(?:[.。।!;,]|$|\n|です|だ|입니다|है)")
_JOIN = (
    r"(?:[,;/&+、]\s?(?:and|or|y|o|und|oder|et|ou|e|и|или|और)?|(?:and|or|y|o|und|oder|et|ou|e|и|или)\b|和|及|与|與|と|や|或|または"
    r"|또는|[와과]|و|أو|और|या)"
)
_JOINED = compile_late(rf"(?>{_CLOSE}\s{{0,3}}{_JOIN}\s{{0,3}}{_OPEN})")
_DENIED = compile_late(rf"{_CLOSE}\s?(?:では(?:ありません|ない)|じゃな|[이가]\s?아[니닙닌]|नहीं)")
_OR = compile_late(r"\b(?:or|oder|o|ou|или)\b|或|または|또는|أو|या")


class OptionReader(NamedTuple):
    """The patterns that read one kind of labels."""

    first: re.Pattern[str]
    """A label after words that announce it: as such, glued to others ("ABD"), or small and alone."""
    further: re.Pattern[str]
    """Another label of a list, with what joins it."""
    right: re.Pattern[str]
    """Labels that are said to be right."""
    whole: re.Pattern[str]
    """A text that is nothing but a label."""
    listed: re.Pattern[str]
    """A label at the beginning of a line."""
    bracketed: re.Pattern[str]


def _make_reader(label: str, glued: str = "(?!)", small: str = "(?!)") -> OptionReader:
    """Return the patterns of labels, of several without a space between, and of those that count only where alone."""
    alone = rf"(?={_CLOSE}\s{{0,3}}(?:[.,;:。।!?]|$|\n))"
    noun = rf"(?i:(?:(?:the|la|le|el|il|der|die|das|den|a|o)\s|l['’])?(?:(?:{OPTION_NOUN})\s?[:.]?)?)"
    ends = r"(?![A-Za-z0-9À-ÿ]|[-_'’][A-Za-z0-9])"
    # In "A robe" A is an article, in "A because" an option.
    article = (
        r"(?!(?<=[AIO])\s+(?!(?:because|since|as|is|are|was|were|seems|looks|would|must|due|for|with|which|by|and|or|if"
        r"|porque|ist|es|est|weil|car|parce|pois|perché|ya|y|e|et|und|oder|o|ou|que)\b)[a-zà-ÿ])"
    )
    return OptionReader(
        compile_late(rf"{_OPEN}{noun}{_OPEN}(?:({label})(?!\.?\d){ends}{article}|({glued}){ends}|({small}){alone})"),
        compile_late(
            rf"{_CLOSE}\s{{0,3}}{_JOIN}\s{{0,3}}{_OPEN}{noun}{_OPEN}({label}){ends}(?!{_CLOSE}\s?(?:{_VERB})(?![a-z]))"
        ),
        compile_late(
            rf"(?<![A-Za-z0-9_])(?<![A-Za-z]['’])(?<!\b[Ii]f\s)(?<!\b[Ss][ie]\s)(?<!如果)(?<!\bnor\s)(?<!\bn[ié]\s)({label}{ends}(?:{_JOINED.pattern}{label}{ends}){{0,8}}+)"
            rf"{_CLOSE}\s?(?:(?i:option|choice|statement|{OPTION_NOUN})\s)?(?:{_RIGHT})"
        ),
        compile_late(rf"\W*+(?:({label})|({small}))\W*+"),
        compile_late(rf"\s*+(?:[(\[]({label})[)\]]|({label})[.):])(?=\s|$|[^\x00-\x7f])|\s*+({label})\s*+$"),
        compile_late(rf"\(({label})\)"),
    )


_LETTERS = _make_reader("[A-Z]", "[A-K]{2,8}", "[a-j]")
_DIGITS = _make_reader(r"\d{1,2}")
_OTHERS = _make_reader(r"[^\W\da-zA-ZÀ-ÿ_]")  # Б, ب, ख, ウ, 나, 甲


def get_reader(label: str) -> OptionReader:
    """Return what reads labels of the kind of one: Latin letters, numbers, or letters of another script."""
    if label.isdigit():
        return _DIGITS
    return _LETTERS if label.isascii() else _OTHERS


def read_options(text: str, reader: OptionReader = _LETTERS) -> frozenset[str]:
    """Return the options that a text without markup settles on, in capitals; empty where it settles on none."""
    for _, labels in sorted(_find_choices(text, reader), key=lambda found: found[0], reverse=True):
        if labels:
            return labels
    return _read_unstated(text, reader)


_CAPITAL = compile_late(r"[A-J](?<![A-Za-z0-9_'’][A-J])(?![A-Za-z0-9_'’])")


def find_chosen_option(text: str) -> str | None:
    """Return the one option, A to J, that the end of a text chooses in words such as "B is correct", or None."""
    tail = text[-MAX_CONCLUSION:]
    if not _CAPITAL.search(tail):
        return None
    choices = [found for found in _find_choices(tail, _LETTERS, only_words=True) if found[1]]
    if not choices:
        return None
    _, labels = max(choices, key=lambda found: found[0])
    return min(labels) if len(labels) == 1 and min(labels) <= "J" and min(labels) in tail else None


def _find_choices(text: str, reader: OptionReader, *, only_words: bool = False) -> Iterator[tuple[int, frozenset[str]]]:
    """Yield each place at which labels may be chosen, with those that are."""
    if not only_words:
        for box in find_boxes(text):
            start = text.index("{", box.start) + 1
            yield start, _read_list(text, start, reader)
        for end in find_lead_ins(text):
            yield end, _read_list(text, end, reader)
    for chosen in _CHOOSING.finditer(text):
        yield chosen.end(), _read_list(text, chosen.end(), reader)
    for right in reader.right.finditer(text):
        labels = frozenset() if _OR.search(right[1]) else frozenset(_JOINED.split(right[1]))
        yield right.start(1), labels
    for concluding in _CONCLUDING.finditer(text):
        label = reader.first.match(text, concluding.end())
        if label and _CLAUSE_END.match(text, label.end()):
            yield concluding.end(), _read_list(text, concluding.end(), reader)


def _read_list(text: str, at: int, reader: OptionReader) -> frozenset[str]:
    """Return the label at a place and those joined to it; empty where there is none, or where "or" leaves it open."""
    if denied := CORRECTION.match(text, at):
        at = denied.end()
    first = reader.first.match(text, at)
    if first is None or _DENIED.match(text, first.end()):
        return frozenset()
    if first[2]:
        return frozenset(first[2]) if list(first[2]) == sorted(set(first[2])) else frozenset()
    labels, end = [first[1] or first[3].upper()], first.end()
    while len(labels) < MAX_OPTIONS and (further := reader.further.match(text, end)):
        if _OR.search(further[0]):
            return frozenset()
        labels.append(further[1])
        end = further.end()
    return frozenset(labels)


def _read_unstated(text: str, reader: OptionReader) -> frozenset[str]:
    """Return the option of a text that states none: all of it, the only one its lines list, or the one in brackets."""
    if m := reader.whole.fullmatch(text):
        return frozenset(((m[1] or m[2]).upper(),))
    if len(text) <= MAX_LIST and _ONLY_LABELS.fullmatch(text) and (labels := _read_list(text, 0, reader)):
        return labels
    listed = {next(filter(None, m.groups())) for line in text.splitlines() if (m := reader.listed.match(line))}
    if len(listed) == 1:
        return frozenset(listed)
    if not listed and (m := reader.whole.fullmatch(text.rstrip().rpartition("\n")[2])):
        return frozenset(((m[1] or m[2]).upper(),))
    bracketed = set(reader.bracketed.findall(text))
    return frozenset(bracketed) if len(bracketed) == 1 and not listed else frozenset()


MAX_LIST = 60
"""Characters of a text that is nothing but a list of labels."""
_ONLY_LABELS = compile_late(r"(?:[A-Z]|\d{1,2}+|\W|(?:and|y|und|et|e|и|और)\b|和|及|与|與|と|[와과]|و){1,60}+")

LATIN = "ABCDEFGH"
ALPHABETS = (LATIN, "أبجدهوزح", "ابجدهوزح", "कखगघङचछज", "アイウエオカキク", "가나다라마바사아", "甲乙丙丁戊己庚辛")
"""The letters with which languages label options, in their order."""
_LOOKALIKES = dict(zip("АВСЕНКМОРТХ", "ABCEHKMOPTX", strict=True))
_CYRILLIC_ONLY = frozenset("БГДЖЗИЛ")


def to_latin(labels: Sequence[str]) -> list[str]:
    """Return capital labels of another script as Latin ones: "ب" is the second letter, "В" looks like B.

    Cyrillic labels stay as they are where one of them is Cyrillic alone (Б, Г, Д): beside it, В is the third option.
    """
    for alphabet in ALPHABETS[1:]:
        if labels and set(labels) <= set(alphabet):
            return [LATIN[alphabet.index(label)] for label in labels]
    return list(labels) if _CYRILLIC_ONLY & set(labels) else [_LOOKALIKES.get(label, label) for label in labels]
