"""Answers in a form that the caller wants: checked, and written once more by the same model where they are wrong."""

from __future__ import annotations

import msgspec

from routemoa.core.content.answer_format import AnswerFormat
from routemoa.core.errors import InvalidResponse
from routemoa.core.types import Completion, Message, ModelSpec, Query
from routemoa.judging.answers.json_answers import bare_json, without_doubled_keys
from routemoa.mixture.calls.separate_call import call_model
from routemoa.mixture.run import Run
from routemoa.mixture.schemas.schema_check import SchemaError, check_json

__all__ = ["ask_in_words", "find_json", "repair_answer", "takes_any_text", "wrong_form"]

IN_WORDS = """
---
Reply with one JSON value and nothing else: no explanation and no code fence. It must fit this JSON Schema:
{schema}"""
REPAIR = """\
Your reply is not the JSON that was asked for: {problem}.
Reply with the corrected JSON value and nothing else: no explanation and no code fence. It must fit this JSON Schema:
{schema}"""
MAX_SHOWN = 20_000
"""Characters of a wrong answer that its model is shown again."""


def takes_any_text(query: Query) -> bool:
    """Return whether any text answers a query: no form, which is checked when it is whole, and no call of a tool."""
    return query.answer_format is None and (query.tools is None or query.tools.kind in ("auto", "none"))


def ask_in_words(wanted: AnswerFormat, messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """Return messages that ask for the form in words, for a member that takes no `response_format`."""
    text = IN_WORDS.format(schema=_to_text(wanted))
    *head, last = messages
    if last.role == "user":
        return (*head, last.with_text("\n" + text))
    return (*messages, Message("user", text.lstrip()))


def find_json(wanted: AnswerFormat, text: str) -> tuple[str, str | None]:
    """Return the JSON of an answer, and what is wrong with it; None where nothing is."""
    found = bare_json(text)
    try:
        problem = check_json(wanted.schema, found)
    except SchemaError as e:
        return found, str(e)
    return (found if problem else without_doubled_keys(found)), problem


def wrong_form(spec: ModelSpec, completion: Completion, problem: str) -> InvalidResponse:
    """Return the error of a call whose answer is not in the form that the caller wants."""
    reason = f"its answer is not the JSON that was asked for: {problem}"
    return InvalidResponse(spec.name, reason, produced=True, usage=completion.usage)


async def repair_answer(run: Run, spec: ModelSpec, wanted: AnswerFormat, text: str, problem: str) -> str | None:
    """Ask the same model once to mend its answer, the error shown; return the JSON, or None where it fails again."""
    asked = REPAIR.format(problem=problem, schema=_to_text(wanted))
    shown = Message("assistant", text[:MAX_SHOWN] or "(nothing)")
    messages = (*(m.without_thoughts() for m in run.query.messages), shown, Message("user", asked))
    parameters = run.query.parameters
    reply = await call_model(run, "repair", spec, messages, answer_format=wanted, parameters=parameters)
    if reply is None:
        return None
    found, problem_left = find_json(wanted, reply)
    return None if problem_left else found


def _to_text(wanted: AnswerFormat) -> str:
    return msgspec.json.encode(wanted.schema).decode()
