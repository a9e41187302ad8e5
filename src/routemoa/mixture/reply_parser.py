"""Parses replies that contain an answer and judgments.

Models write nearly-JSON, so a library repairs it. What cannot be read is None, never a number.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from typing import Any

import msgspec

from routemoa.clients.replies.thoughts import remove_thoughts
from routemoa.mixture.prompts import ASSESSMENT, SCALE, ReplyFormat

__all__ = ["AnswerStream", "ModerationVerdict", "Reply", "parse_moderation", "parse_reply", "parse_roles"]

_OPENING_TAG = re.compile(rf"<\s*{ASSESSMENT}\s*>", re.IGNORECASE)
_CLOSING_TAG = re.compile(rf"<\s*/\s*{ASSESSMENT}\s*>", re.IGNORECASE)
_TAGGED = re.compile(rf"{_OPENING_TAG.pattern}.*?(?:{_CLOSING_TAG.pattern}|$)", re.DOTALL | re.IGNORECASE)
_BARE_JUDGMENT = re.compile(r"(?:```(?:json)?\s*)?\{\s*[\"']?(?:self|scores)[\"']?\s*:", re.IGNORECASE)
_PERCENT = re.compile(r"\s*(\d+(?:\.\d+)?)\s*%\s*")
_FRACTION = re.compile(r"\s*(\d+(?:\.\d+)?)\s*/\s*(\d+)\s*")

MAX_OPENING_LENGTH = 24
"""Characters in which a judgment that begins shows that it is one."""
MAX_ROLE_LENGTH = 300
"""Characters of a role, which goes into every prompt."""


class Reply(msgspec.Struct, frozen=True):
    """A parsed reply. Scores are in [0, 1], or None where they cannot be read."""

    answer: str
    self_score: float | None = None
    scores: dict[str, float | None] = {}
    """Label of a quoted answer -> its score."""


def parse_reply(text: str, reply_format: ReplyFormat) -> Reply:
    """Parse a reply; where the format asks for no judgment, the whole text but for thoughts is the answer."""
    text = remove_thoughts(text)
    if not reply_format:
        return Reply(text.strip())
    answer, judgment = None, None
    if reply_format.json_schema or text.lstrip().startswith("{"):
        answer, judgment = _parse_json_reply(text)
    if answer is None:
        answer, judgment = _split_text_reply(text)
    judgment = judgment or {}
    top = SCALE if reply_format.json_schema else 1
    return Reply(
        answer.strip(),
        _read_score(judgment.get("self"), top) if reply_format.self_score else None,
        _read_scores(judgment.get("scores"), reply_format.peers, top),
    )


def _parse_json_reply(text: str) -> tuple[str | None, dict[str, Any] | None]:
    """Return the answer and the whole object of a reply that is one JSON object; None where it is not."""
    found = _repair_json(text)
    if isinstance(found, dict) and isinstance(found.get("answer"), str | int | float):
        return str(found["answer"]), found
    return None, None


def _split_text_reply(text: str) -> tuple[str, dict[str, Any] | None]:
    """Return the answer and the judgment of a reply in prose: the tagged part, or JSON at the very end."""
    if tag := _OPENING_TAG.search(text):
        end = _CLOSING_TAG.search(text, tag.end())
        inside = text[tag.end() : end.start() if end else len(text)]
        after = text[end.end() :] if end else ""
        found = _repair_json(inside)
        rest = _TAGGED.sub("", after)  # a repeated judgment is neither read nor shown
        return text[: tag.start()] + rest, found if isinstance(found, dict) else None
    for bare in _BARE_JUDGMENT.finditer(text):
        rest = text[bare.start() :].strip().removeprefix("```json").strip("` \n")
        if rest.endswith("}") and isinstance(found := _repair_json(rest), dict) and set(found) <= {"self", "scores"}:
            return text[: bare.start()], found
    return text, None


def _repair_json(text: str) -> Any:
    import json_repair

    try:
        return json_repair.loads(text)
    except (ValueError, RecursionError):
        return None


def _read_scores(value: Any, peers: tuple[str, ...], top: float) -> dict[str, float | None]:
    if isinstance(value, list) and len(value) == len(peers):
        value = dict(zip(peers, value, strict=True))
    given = (
        {str(k).upper().removeprefix("ANSWER").strip(): v for k, v in value.items()} if isinstance(value, dict) else {}
    )
    return {label: _read_score(given.get(label), top) for label in peers}


def _read_score(value: Any, top: float) -> float | None:
    """Return a judgment as a number in [0, 1]; None where it is not a number of its scale."""
    if isinstance(value, str):
        if m := _PERCENT.fullmatch(value):
            value, top = float(m[1]), 100
        elif m := _FRACTION.fullmatch(value):
            value, top = float(m[1]), float(m[2])
        else:
            try:
                value = float(value)
            except ValueError:
                return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not top:
        return None
    share = value / top
    return share if math.isfinite(share) and 0 <= share <= 1 else None


class AnswerStream:
    """Passes on the pieces of an answer, and holds back what is or may become a judgment."""

    def __init__(self, reply_format: ReplyFormat) -> None:
        self._format = reply_format
        self._text = ""
        self._shown = 0

    def feed(self, piece: str) -> str:
        """Take a piece of the reply and return the text of the answer that can now be shown."""
        if not self._format:
            return piece
        self._text += piece
        if self._format.json_schema or self._text.lstrip().startswith(("{", "`")):
            return ""  # a JSON object can only be read when it is complete
        safe = self._safe_length()
        out = self._text[self._shown : safe]
        self._shown = max(self._shown, safe)
        return out

    def _safe_length(self) -> int:
        """Return how much of the text is certainly no judgment."""
        for pattern in (_OPENING_TAG, _BARE_JUDGMENT):
            if m := pattern.search(self._text, max(0, self._shown - MAX_OPENING_LENGTH)):
                return m.start()
        # A judgment may just be beginning: hold the tail from the last "<", "{" or fence while it is short.
        tail = max(self._text.rfind(c, max(0, len(self._text) - MAX_OPENING_LENGTH)) for c in ("<", "{"))
        fence = self._text.rfind("```", max(0, len(self._text) - MAX_OPENING_LENGTH))
        held = [i for i in (tail, fence) if i >= 0]
        return min(held, default=len(self._text)) if held else len(self._text.rstrip("`"))


class ModerationVerdict(msgspec.Struct, frozen=True):
    """A moderator's verdict."""

    best: tuple[str, ...] = ()
    """The labels of the answers to keep, best first; empty where they cannot be read."""
    done: bool = False
    """Whether the debate may end."""


def parse_moderation(text: str, labels: Collection[str]) -> ModerationVerdict:
    """Parse a moderator's reply, each part by itself; unknown labels are left out."""
    found = _find_json(text, "{", "}")
    if not isinstance(found, dict):
        return ModerationVerdict()
    best = found.get("best")
    if isinstance(best, str):
        best = re.split(r"[\s,;]+", best)
    given = [str(b).upper().removeprefix("ANSWER").strip() for b in best] if isinstance(best, list) else []
    done = found.get("done")
    return ModerationVerdict(
        tuple(dict.fromkeys(b for b in given if b in labels)),
        done is True or (isinstance(done, str) and done.strip().casefold() in {"true", "yes"}),
    )


def parse_roles(text: str) -> tuple[str, ...]:
    """Return the roles in a model's reply, one line each; none where it is not a JSON array of roles."""
    found = _find_json(text, "[", "]")
    out: list[str] = []
    for item in found if isinstance(found, list) else []:
        parts = list(item.values()) if isinstance(item, dict) else [item]
        traits = [" ".join(p.split()) for p in parts if isinstance(p, str) and p.strip(" .")]
        out.append("; ".join(traits)[:MAX_ROLE_LENGTH])
    return tuple(dict.fromkeys(r for r in out if r))


def _find_json(text: str, first: str, last: str) -> Any:
    """Return the JSON from the first to the last bracket, after the model's thoughts; None where there is none."""
    text = remove_thoughts(text)
    start, end = text.find(first), text.rfind(last)
    if start < 0:
        return None
    return _repair_json(text[start : end + 1] if end > start else text[start:])  # a reply may be cut short
