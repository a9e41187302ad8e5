"""Reads the body of POST /v1/feedback. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec.structs import replace

from routemoa.core.errors import QueryError
from routemoa.core.files.toml import suggest_name
from routemoa.ledger.trace_store.traces import GRADERS, Feedback

__all__ = ["FEEDBACK_SCHEMA", "check_labels", "parse_feedback", "remove_feedback_texts"]

FIELDS = ("id", "thumb", "score", "expected", "grader", "labels", "comment")
THUMBS = {"up": 1.0, "down": 0.0}
SHARE = {"type": "number", "minimum": 0, "maximum": 1}
FEEDBACK_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["id"],
    "properties": {
        "id": {"type": "string", "description": "Of the response"},
        "thumb": {"enum": list(THUMBS)},
        "score": {**SHARE, "description": "Of the answer that was given"},
        "expected": {"type": "string", "description": "The right answer"},
        "grader": {"enum": list(GRADERS), "description": "How answers are compared with it"},
        "labels": {"type": "object", "additionalProperties": SHARE, "description": "Member: score of its own answer"},
        "comment": {"type": "string"},
    },
    "additionalProperties": False,
}
MAX_TEXT = 100_000
"""Characters of an expected answer or a comment."""
MAX_LABELS = 1_000


def parse_feedback(body: Mapping[str, Any]) -> tuple[str, Feedback]:
    """Return the id of the response that is meant, and what is said of it.

    Raises:
        QueryError: a field is missing, unknown or wrong; `param` names it.
    """
    if unknown := [name for name in body if name not in FIELDS]:
        raise QueryError(f"'{unknown[0]}' is no field of a feedback; known: {', '.join(FIELDS)}", unknown[0])
    id_ = body.get("id")
    if not isinstance(id_, str) or not id_:
        raise QueryError("'id' must be the id of a response, such as chatcmpl-...", "id")
    feedback = Feedback(
        _read_score(body),
        _read_text(body, "expected"),
        _read_grader(body.get("grader")),
        _read_labels(body.get("labels")),
        _read_text(body, "comment"),
    )
    if feedback == Feedback(grader=feedback.grader, comment=feedback.comment) and feedback.comment is None:
        raise QueryError("say something: 'thumb', 'score', 'expected', 'labels' or 'comment'")
    if feedback.grader is not None and feedback.expected is None:
        raise QueryError("'grader' says how answers are compared with 'expected', which is missing", "expected")
    return id_, feedback


def check_labels(labels: Iterable[str], members: Iterable[str]) -> None:
    """Check that labels name members of the pool that answered; nothing is checked where no member is known.

    Raises:
        QueryError: one names none, so that nothing would be learned from it.
    """
    members = list(members)
    for name in labels:
        if members and name not in members:
            raise QueryError(f"'labels': there is no member '{name[:100]}'; {suggest_name(name, members)}", "labels")


def remove_feedback_texts(feedback: Feedback) -> Feedback:
    """Return the feedback as a server keeps it that keeps no texts. Raises QueryError where nothing is left."""
    left = replace(feedback, expected=None, grader=None, comment=None)
    if left == Feedback():
        message = "this server keeps no texts ([traces] texts = false): send 'thumb', 'score' or 'labels'"
        raise QueryError(message, "comment" if feedback.expected is None else "expected")
    return left


def _read_score(body: Mapping[str, Any]) -> float | None:
    thumb, score = body.get("thumb"), body.get("score")
    if thumb is not None and score is not None:
        raise QueryError("'thumb' and 'score' exclude each other", "score")
    if thumb is not None:
        if thumb not in THUMBS:
            raise QueryError('\'thumb\' must be "up" or "down"', "thumb")
        return THUMBS[thumb]
    return None if score is None else _read_share(score, "score")


def _read_share(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise QueryError(f"'{name}' must be a number from 0 to 1", name)
    return float(value)


def _read_text(body: Mapping[str, Any], name: str) -> str | None:
    value = body.get(name)
    if value is not None and (not isinstance(value, str) or len(value) > MAX_TEXT):
        raise QueryError(f"'{name}' must be a text of at most {MAX_TEXT:,} characters", name)
    return value


def _read_grader(value: Any) -> str | None:
    if value is not None and value not in GRADERS:
        raise QueryError(f"'grader' must be one of {', '.join(GRADERS)}", "grader")
    return value if isinstance(value, str) else None


def _read_labels(value: Any) -> dict[str, float]:
    if value is None:
        return {}
    if not isinstance(value, dict) or len(value) > MAX_LABELS:
        raise QueryError("'labels' must be an object of member -> score from 0 to 1", "labels")
    return {str(name): _read_share(score, f"labels.{name}"[:100]) for name, score in value.items()}
