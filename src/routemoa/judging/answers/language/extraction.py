"""Find the result that a text states ("The answer is 18", a box, "#### 18"), however models write. Pure functions.

Work is bounded: of a long answer its beginning and end are read, and of many statements the last ones.
"""

from __future__ import annotations

import ast
import re
import warnings
from typing import NamedTuple

from routemoa.core.text.late_pattern import compile_late
from routemoa.judging.answers.language.languages import CORRECTION, find_first_lead_in, find_lead_ins, strip_frame
from routemoa.judging.answers.language.numerals import unify_characters

__all__ = [
    "MAX_STATEMENT_LENGTH",
    "THOUGHT_END",
    "Box",
    "bound_text",
    "find_answer_field",
    "find_boxes",
    "find_statements",
    "fold_text",
    "isolate_answer",
    "strip_markup",
    "strip_step_numbers",
    "unwrap_list",
]

MAX_STATEMENT_LENGTH = 400
"""Characters of a stated result."""
MAX_STATEMENTS = 50
"""Results of a text that are looked at, from the last one."""
MAX_HEAD, MAX_TAIL = 8_000, 56_000
"""Characters at the beginning and the end of an answer that are read: its result stands in one of them."""

THOUGHT_END = compile_late(r"</think(?:ing)?>", re.IGNORECASE)
"""The end of the reasoning. The closing tag suffices: some chat templates do not show the opening one."""

_HASH_LEAD_IN = compile_late(r"(?m)^[ \t]*+####\s*+(?!\d+[.):]\s*\S)")
_STATEMENT_END = compile_late(
    r"\n|[.;](?=\s|$)|[\"”](?=\s*[,}\n]|$)|[。！？।؟]|</"
    r"|,?\s(?:because|weil|porque|ya que|parce que|perché|poiché|потому что|так как|क्योंकि|لأن)\b|,\s(?:car|pois|denn)\b"
    r"|,?\s?(?:因为|因為|なぜなら)"
)
_OPENING = "\"'“„«「『《【(: "
_BOX_OR_HASH = compile_late(r"\\boxed|^[ \t]*+####[ \t]*+[\d$-]", re.MULTILINE)
_NEXT_TURN = compile_late(
    r"""\n[ \t]*+(?:\#++[ \t]*+(?:question|problem|instructions?|exercise)\b[ \t]*+\d*+[ \t]*+:?[ \t]*+\n
    |<\|(?:im_start|user|start_header_id)\|?>|(?:question|human|user)\s*+:\s)""",
    re.IGNORECASE | re.VERBOSE,
)
_ANSWER_KEY = compile_late(r"""["'](?:final[_ ]?)?answer["']\s*+:\s*+""", re.IGNORECASE)
_VALUE_END = r"""(?:,\s*+["'][\w ]{1,80}+["']\s*+:|,?+\s*+\}?+\s*+(?:```\s*+)?\Z|\}\s*+```)"""
_VALUE_ENDS = {
    "": compile_late(rf"(?<!\s)\s*+{_VALUE_END}"),
    '"': compile_late(rf'(?<!\\)"\s*+{_VALUE_END}'),
    "'": compile_late(rf"(?<!\\)'\s*+{_VALUE_END}"),
}
_WORD = compile_late(r"[^\W_]")
_ESCAPED_QUOTE = compile_late(r"\\([\"'])")


class Box(NamedTuple):
    """A LaTeX box, such as "\\boxed{18}"."""

    start: int
    """The position of its command in the text."""
    content: str


def bound_text(text: str) -> str:
    """Return what is read of an answer: all of it, or without its reasoning only the beginning and the end."""
    if len(text) <= MAX_HEAD + MAX_TAIL:
        return text
    thought_end = max(text.rfind("</think>"), text.rfind("</thinking>"))
    text = text[max(0, thought_end) :]
    return text if len(text) <= MAX_HEAD + MAX_TAIL else f"{text[:MAX_HEAD]}\n\n{text[-MAX_TAIL:]}"


def isolate_answer(text: str) -> str:
    """Drop the reasoning before an answer, and the next question that some models invent after their result."""
    text = THOUGHT_END.split(text)[-1]
    next_turn = _NEXT_TURN.search(text)
    if next_turn is None:
        return text
    lead_in, box = find_first_lead_in(text), _BOX_OR_HASH.search(text)
    ends = [*([lead_in] if lead_in else []), *([box.end()] if box else [])]
    next_turn = _NEXT_TURN.search(text, min(ends)) if ends else None
    return text[: next_turn.start()] if next_turn else text


_PRINTED_LIST = compile_late(r"\[\s*+([\"'])(?s:.*)\1\s*\]")


def unwrap_list(text: str) -> str:
    """Return the text of an answer recorded as a list of one string, "['B\\\\n']", as in RouterBench."""
    bare = text.strip()
    if not (bare.startswith("[") and bare.endswith("]") and _PRINTED_LIST.fullmatch(bare)):
        return text
    try:
        with warnings.catch_warnings(action="ignore"):  # escapes that Python does not know
            value = ast.literal_eval(bare)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return text
    return value[0] if isinstance(value, list) and len(value) == 1 and isinstance(value[0], str) else text


_FONT_COMMAND = compile_late(r"\\(?:text|mathrm|mathbf|textbf|mathit|mbox)\s*+\{([^{}]*)\}")
_LATEX_THOUSANDS = compile_late(r"(?<=\d)(?:\{,\}|\\,|\\!|,\\!)(?=\d{3})")  # 1{,}000 and 1\,000
# Every alternative begins with a character, so that the search skips what is none of them.
_MARKS = compile_late(r"\\[()\[\]]|\\(?=[$%#&_])|`|\*+(?!\s*\d)|\*(?<!\d\*)(?<!\d \*)\**|\$(?=\$)|\\[,;:!]")
_TAGS = compile_late(r"<(b|strong|i|em|u|mark|code|span|p)>([^<>]{0,400})</\1>")
_DASH = compile_late(r"[−–—](?=\s*[\d.])")


def strip_markup(text: str) -> str:
    """Drop reasoning and markup (2*3 is none), and unify the ways to write digits, spaces, dashes and thousands."""
    text = THOUGHT_END.split(unify_characters(text))[-1]
    if "\\" in text or "{,}" in text:
        text = _LATEX_THOUSANDS.sub(",", _FONT_COMMAND.sub(r"\1", text))
    text = _MARKS.sub("", text)
    if "</" in text:
        text = _TAGS.sub(r"\2", text)
    return (text if text.isascii() else _DASH.sub("-", text)).strip()


_FIRST_STEP, _SECOND_STEP = (compile_late(rf"(?m)^[ \t]*+{n}[.)] +(?=\D)") for n in (1, 2))
_STEP = compile_late(r"(?m)^[ \t]*+\d{1,2}[.)] +(?=\D)")


def strip_step_numbers(text: str) -> str:
    """Drop the numbers of a list of steps: "Solution:", a line break and "1. We begin" do not state 1."""
    return _STEP.sub("", text) if _FIRST_STEP.search(text) and _SECOND_STEP.search(text) else text


def fold_text(text: str) -> str:
    """Drop case, extra spacing and surrounding punctuation, to compare words."""
    return " ".join(text.casefold().split()).strip(" .,;:!\"'$“”„‘’«»「」『』。！।؟¿¡")


_BOX_OR_BRACE = compile_late(r"\\(?:boxed|fbox)\s{0,9}\{|[{}]")


def find_boxes(text: str) -> list[Box]:
    """Return the LaTeX boxes of a text in its order; braces inside a box are kept in balance."""
    if "boxed" not in text and "fbox" not in text:
        return []
    boxes: list[Box] = []
    unclosed: list[tuple[int, int] | None] = []  # start of the command and of the content; None is a plain brace
    for sign in _BOX_OR_BRACE.finditer(text):
        if sign[0] != "}":
            unclosed.append(None if sign[0] == "{" else sign.span())
        elif unclosed and (opened := unclosed.pop()) and sign.start() - opened[1] < MAX_STATEMENT_LENGTH:
            boxes.append(Box(opened[0], text[opened[1] : sign.start()]))
    return sorted(boxes)


def find_statements(text: str) -> list[str]:
    """Return the last results that a text states, in its order.

    Each goes to the end of its sentence, JSON value or line.
    """
    statements: list[tuple[int, str | None]] = [*find_boxes(text)]
    statements += [(end, None) for end in find_lead_ins(text)]
    if "####" in text:
        statements += [(lead_in.end(), None) for lead_in in _HASH_LEAD_IN.finditer(text)]
    last = sorted(statements, key=lambda at: at[0])[-MAX_STATEMENTS:]
    return [_read_statement(text, start) if found is None else found for start, found in last]


def _read_statement(text: str, start: int) -> str:
    """Return the result that begins at a place, without what it denies ("not A but") and the words around it."""
    rest = text[start : start + MAX_STATEMENT_LENGTH]
    if denied := CORRECTION.match(rest):
        rest = rest[denied.end() :]
    rest = rest.lstrip(_OPENING)
    end = _STATEMENT_END.search(rest)
    return strip_frame(rest[: end.start()] if end else rest)


def find_answer_field(text: str) -> str | None:
    """Return the last field "answer" of a JSON object, even where its strings are not escaped correctly."""
    ends = [key.end() for key in _ANSWER_KEY.finditer(text)]
    if not ends or "{" not in text[: ends[-1]]:
        return None
    rest = text[ends[-1] :]
    quote = rest[:1] if rest[:1] in ('"', "'") else ""
    end = _VALUE_ENDS[quote].search(rest, len(quote))
    if end is None:
        return None
    value = rest[len(quote) : end.start()].strip()
    if quote:
        value = _ESCAPED_QUOTE.sub(r"\1", value).replace("\\\\", "\\")
    is_result = not value or value[0] in "[({\"'" or _WORD.search(value)  # an empty field states that there is none
    return value if is_result else None
