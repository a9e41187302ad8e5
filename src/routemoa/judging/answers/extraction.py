"""What a text states as its result ("The answer is 18", a box, "#### 18"), however models write. Pure functions."""

from __future__ import annotations

import ast
import re
import unicodedata
import warnings

__all__ = [
    "MAX_STATEMENT_LENGTH",
    "ANSWER_LEAD_IN",
    "THOUGHT_END",
    "find_boxes",
    "find_answer_field",
    "fold_text",
    "isolate_answer",
    "strip_markup",
    "find_statements",
    "unwrap_list",
    "strip_step_numbers",
]

MAX_STATEMENT_LENGTH = 400  # characters that a stated result may take

THOUGHT_END = re.compile(r"</think(?:ing)?>", re.IGNORECASE)  # some chat templates keep the opening tag to themselves
ANSWER_LEAD_IN = re.compile(
    r"""\b(?:final\ )?(?:answer|result|solution|option|choice)s?\b["']?
    (?:\ +(?:to|for|of)\ +(?:the|this|your)\ +[\w ]{1,40}?)?
    \s*(?:is|was|are|be|would\ be|should\ be|equals|:|=|→|\n)\s*""",
    re.IGNORECASE | re.VERBOSE,
)

_ANSWER = re.compile(r"""["'](?:final[_ ]?)?answer["']\s*:\s*""", re.IGNORECASE)
_AFTER = r"""\s*(?:,\s*["'][\w ]+["']\s*:|,?\s*\}?\s*(?:```\s*)?\Z|\}\s*```)"""
_NEXT_TURN = re.compile(
    r"""\n[ \t]*(?:\#+\s*(?:question|problem|instructions?|exercise)\b\s*\d*\s*:?\s*\n
    |<\|(?:im_start|user|start_header_id)\|?>|(?:question|human|user)\s*:\s)""",
    re.IGNORECASE | re.VERBOSE,
)
_SAID = re.compile(rf"{ANSWER_LEAD_IN.pattern}|\\boxed|^[ \t]*\#\#\#\#[ \t]*[\d$-]", ANSWER_LEAD_IN.flags | re.MULTILINE)


def isolate_answer(text: str) -> str:
    """Without the thoughts before an answer, and without the question that a model goes on with after its result."""
    text = THOUGHT_END.split(text)[-1]
    first = _SAID.search(text)
    turn = first and _NEXT_TURN.search(text, first.end())
    return text[: turn.start()] if turn else text


def unwrap_list(text: str) -> str:
    """The text of one that was recorded as a list of one string, "['B\\\\n']", as RouterBench's are."""
    if not re.fullmatch(r"\s*\[\s*([\"']).*\1\s*\]\s*", text, re.DOTALL):
        return text
    try:
        with warnings.catch_warnings(action="ignore"):  # escapes that Python does not know
            found = ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return text
    return found[0] if isinstance(found, list) and len(found) == 1 and isinstance(found[0], str) else text


def strip_markup(text: str) -> str:
    """Without markup (2*3 is none), reasoning tags and the many ways to write spaces, dashes and thousands."""
    text = THOUGHT_END.split(unicodedata.normalize("NFKC", text))[-1]
    text = re.sub(r"\\(?:text|mathrm|mathbf|textbf|mathit|mbox)\s*\{([^{}]*)\}", r"\1", text)
    text = re.sub(r"(?<=\d)(?:\{,\}|\\,|\\!|,\\!)(?=\d{3})", ",", text)  # 1{,}000 and 1\,000
    text = re.sub(r"\\[()\[\]]|\\(?=[$%#&_])|`|\*+(?!\s*\d)|(?<!\d)(?<!\d )\*+|\$(?=\$)|\\[,;:!]", "", text)
    return re.sub(r"[−–—](?=\s*[\d.])", "-", text).strip()


def strip_step_numbers(text: str) -> str:
    """Without the numbers of a list of steps: "Solution:", a line, "1. We begin" states no 1."""
    first, second = (re.search(rf"(?m)^[ \t]*{n}[.)] +(?=\D)", text) for n in (1, 2))
    return re.sub(r"(?m)^[ \t]*\d{1,2}[.)] +(?=\D)", "", text) if first and second else text


def fold_text(text: str) -> str:
    """For comparing words: case and spacing gone, and what merely surrounds the text."""
    return " ".join(text.casefold().split()).strip(" .,;:!\"'$“”‘’")


def find_boxes(text: str) -> list[tuple[int, str]]:
    """What stands in LaTeX boxes, with its position; braces inside are kept in balance."""
    found = []
    for start in re.finditer(r"\\boxed\s*\{|\\fbox\s*\{", text):
        depth = 1
        for brace in re.compile(r"[{}]").finditer(text, start.end(), start.end() + MAX_STATEMENT_LENGTH):
            depth += 1 if brace[0] == "{" else -1
            if not depth:
                found.append((start.start(), text[start.end() : brace.start()]))
                break
    return found


def find_statements(text: str) -> list[str]:
    """The results a text states, in its order: to the end of a sentence, of a JSON value or of the line."""
    found = find_boxes(text)
    for m in [*ANSWER_LEAD_IN.finditer(text), *re.finditer(r"(?m)^[ \t]*####\s*+(?!\d+[.):]\s*\S)", text)]:
        rest = text[m.end() : m.end() + MAX_STATEMENT_LENGTH].lstrip("\"'“(: ")
        end = re.search(r"\n|[.;](?=\s|$)|[\"”](?=\s*[,}\n]|$)", rest)
        found.append((m.end(), rest[: end.start()] if end else rest))
    return [said for _, said in sorted(found)]


def find_answer_field(text: str) -> str | None:
    """The last field "answer" of a JSON object, also of one whose strings are not escaped as they should be."""
    found = [m.end() for m in _ANSWER.finditer(text)]
    if not found or "{" not in text[: found[-1]]:
        return None
    rest = text[found[-1] :]
    quote = rest[:1] if rest[:1] in "\"'" else ""
    end = re.search((r"(?<!\\)" + quote if quote else r"") + _AFTER, rest[len(quote) :])
    if end is None:
        return None
    value = rest[len(quote) :][: end.start()].strip()
    if quote:
        value = re.sub(r"\\([\"'])", r"\1", value).replace("\\\\", "\\")
    return value if re.search(r"[^\W_]", value) or value[:1] in "[({\"'" else None
