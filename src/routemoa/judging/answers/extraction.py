"""Find the result that a text states ("The answer is 18", a box, "#### 18"), however models write. Pure functions."""

from __future__ import annotations

import ast
import re
import unicodedata
import warnings
from typing import NamedTuple

__all__ = [
    "ANSWER_LEAD_IN",
    "MAX_STATEMENT_LENGTH",
    "THOUGHT_END",
    "Box",
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

THOUGHT_END = re.compile(r"</think(?:ing)?>", re.IGNORECASE)
"""The end of the reasoning. The closing tag suffices: some chat templates do not show the opening one."""

ANSWER_LEAD_IN = re.compile(
    r"""\b(?:final\ )?(?:answer|result|solution|option|choice)s?\b["']?
    (?:\ +(?:to|for|of)\ +(?:the|this|your)\ +[\w ]{1,40}?)?
    \s*(?:is|was|are|be|would\ be|should\ be|equals|:|=|→|\n)\s*""",
    re.IGNORECASE | re.VERBOSE,
)
"""The words that come before a stated result, such as "the final answer is"."""

_HASH_LEAD_IN = re.compile(r"(?m)^[ \t]*####\s*+(?!\d+[.):]\s*\S)")
_STATEMENT_END = re.compile(r"\n|[.;](?=\s|$)|[\"”](?=\s*[,}\n]|$)")
_FIRST_RESULT = re.compile(
    rf"{ANSWER_LEAD_IN.pattern}|\\boxed|^[ \t]*\#\#\#\#[ \t]*[\d$-]", ANSWER_LEAD_IN.flags | re.MULTILINE
)
_NEXT_TURN = re.compile(
    r"""\n[ \t]*(?:\#+\s*(?:question|problem|instructions?|exercise)\b\s*\d*\s*:?\s*\n
    |<\|(?:im_start|user|start_header_id)\|?>|(?:question|human|user)\s*:\s)""",
    re.IGNORECASE | re.VERBOSE,
)
_ANSWER_KEY = re.compile(r"""["'](?:final[_ ]?)?answer["']\s*:\s*""", re.IGNORECASE)
_VALUE_END = r"""\s*(?:,\s*["'][\w ]+["']\s*:|,?\s*\}?\s*(?:```\s*)?\Z|\}\s*```)"""


class Box(NamedTuple):
    """A LaTeX box, such as "\\boxed{18}"."""

    start: int
    """The position of its command in the text."""
    content: str


def isolate_answer(text: str) -> str:
    """Drop the reasoning before an answer, and the next question that some models invent after their result."""
    text = THOUGHT_END.split(text)[-1]
    result = _FIRST_RESULT.search(text)
    next_turn = result and _NEXT_TURN.search(text, result.end())
    return text[: next_turn.start()] if next_turn else text


def unwrap_list(text: str) -> str:
    """Return the text of an answer recorded as a list of one string, "['B\\\\n']", as in RouterBench."""
    if not re.fullmatch(r"\s*\[\s*([\"']).*\1\s*\]\s*", text, re.DOTALL):
        return text
    try:
        with warnings.catch_warnings(action="ignore"):  # escapes that Python does not know
            value = ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return text
    return value[0] if isinstance(value, list) and len(value) == 1 and isinstance(value[0], str) else text


def strip_markup(text: str) -> str:
    """Drop reasoning and markup (2*3 is none), and unify the ways to write spaces, dashes and thousands."""
    text = THOUGHT_END.split(unicodedata.normalize("NFKC", text))[-1]
    text = re.sub(r"\\(?:text|mathrm|mathbf|textbf|mathit|mbox)\s*\{([^{}]*)\}", r"\1", text)
    text = re.sub(r"(?<=\d)(?:\{,\}|\\,|\\!|,\\!)(?=\d{3})", ",", text)  # 1{,}000 and 1\,000
    text = re.sub(r"\\[()\[\]]|\\(?=[$%#&_])|`|\*+(?!\s*\d)|(?<!\d)(?<!\d )\*+|\$(?=\$)|\\[,;:!]", "", text)
    return re.sub(r"[−–—](?=\s*[\d.])", "-", text).strip()


def strip_step_numbers(text: str) -> str:
    """Drop the numbers of a list of steps: "Solution:", a line break and "1. We begin" do not state 1."""
    first, second = (re.search(rf"(?m)^[ \t]*{n}[.)] +(?=\D)", text) for n in (1, 2))
    return re.sub(r"(?m)^[ \t]*\d{1,2}[.)] +(?=\D)", "", text) if first and second else text


def fold_text(text: str) -> str:
    """Drop case, extra spacing and surrounding punctuation, to compare words."""
    return " ".join(text.casefold().split()).strip(" .,;:!\"'$“”‘’")


def find_boxes(text: str) -> list[Box]:
    """Return the LaTeX boxes of a text in its order; braces inside a box are kept in balance."""
    boxes: list[Box] = []
    for command in re.finditer(r"\\boxed\s*\{|\\fbox\s*\{", text):
        depth = 1
        for brace in re.compile(r"[{}]").finditer(text, command.end(), command.end() + MAX_STATEMENT_LENGTH):
            depth += 1 if brace[0] == "{" else -1
            if not depth:
                boxes.append(Box(command.start(), text[command.end() : brace.start()]))
                break
    return boxes


def find_statements(text: str) -> list[str]:
    """Return the results that a text states, in its order.

    Each goes to the end of its sentence, JSON value or line.
    """
    statements: list[tuple[int, str]] = [*find_boxes(text)]
    for lead_in in [*ANSWER_LEAD_IN.finditer(text), *_HASH_LEAD_IN.finditer(text)]:
        rest = text[lead_in.end() : lead_in.end() + MAX_STATEMENT_LENGTH].lstrip("\"'“(: ")
        end = _STATEMENT_END.search(rest)
        statements.append((lead_in.end(), rest[: end.start()] if end else rest))
    return [statement for _, statement in sorted(statements)]


def find_answer_field(text: str) -> str | None:
    """Return the last field "answer" of a JSON object, even where its strings are not escaped correctly."""
    ends = [key.end() for key in _ANSWER_KEY.finditer(text)]
    if not ends or "{" not in text[: ends[-1]]:
        return None
    rest = text[ends[-1] :]
    quote = rest[:1] if rest[:1] in "\"'" else ""
    end = re.search((r"(?<!\\)" + quote if quote else r"") + _VALUE_END, rest[len(quote) :])
    if end is None:
        return None
    value = rest[len(quote) :][: end.start()].strip()
    if quote:
        value = re.sub(r"\\([\"'])", r"\1", value).replace("\\\\", "\\")
    return value if re.search(r"[^\W_]", value) or value[:1] in "[({\"'" else None
