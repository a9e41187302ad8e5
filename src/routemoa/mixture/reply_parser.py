"""Reading a reply that holds an answer and judgments: the answer for people and peers, the judgments for the ranking.

Models write nearly-JSON, so a library repairs it; what cannot be read is None, never a number.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from typing import Any

import msgspec

from routemoa.mixture.prompts import ASSESSMENT, SCALE, ReplyFormat

__all__ = ["AnswerStream", "ModerationVerdict", "Reply", "parse_moderation", "parse_reply", "parse_roles"]

_OPENING_TAG = re.compile(rf"<\s*{ASSESSMENT}\s*>", re.IGNORECASE)
_CLOSING_TAG = re.compile(rf"<\s*/\s*{ASSESSMENT}\s*>", re.IGNORECASE)
_TAGGED = re.compile(rf"{_OPENING_TAG.pattern}.*?(?:{_CLOSING_TAG.pattern}|$)", re.DOTALL | re.IGNORECASE)
_BARE_JUDGMENT = re.compile(r"(?:```(?:json)?\s*)?\{\s*[\"']?(?:self|scores)[\"']?\s*:", re.IGNORECASE)
_PERCENT = re.compile(r"\s*(\d+(?:\.\d+)?)\s*%\s*")
_FRACTION = re.compile(r"\s*(\d+(?:\.\d+)?)\s*/\s*(\d+)\s*")


class Reply(msgspec.Struct, frozen=True):
    """A reply taken apart. `self_score` and each of `scores` (by label) are in [0, 1], or None where unreadable."""

    answer: str
    self_score: float | None = None
    scores: dict[str, float | None] = {}


def parse_reply(text: str, reply_format: ReplyFormat) -> Reply:
    """Take a reply apart; what was not asked for is not looked for."""
    if not reply_format:
        return Reply(text.strip())
    answer, judgment = _parse_json_reply(text) if reply_format.json_schema or text.lstrip().startswith("{") else (None, None)
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
    """The reply as one JSON object with an answer in it."""
    found = _repair_json(text)
    if isinstance(found, dict) and isinstance(found.get("answer"), str | int | float):
        return str(found["answer"]), found
    return None, None


def _split_text_reply(text: str) -> tuple[str, dict[str, Any] | None]:
    """Answer and judgment of a reply in prose: the tagged part, or JSON at the very end."""
    if tag := _OPENING_TAG.search(text):
        end = _CLOSING_TAG.search(text, tag.end())
        inside = text[tag.end() : end.start() if end else len(text)]
        after = text[end.end() :] if end else ""
        found = _repair_json(inside)
        # The tag may be repeated; only the first is read, none is shown.
        rest = re.sub(
            rf"<\s*{ASSESSMENT}\s*>.*?(<\s*/\s*{ASSESSMENT}\s*>|$)", "", after, flags=re.DOTALL | re.IGNORECASE
        )
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
    """A judgment as a number in [0, 1]; anything out of its scale is unreadable."""
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
    """Lets the pieces of an answer through as they come, and holds back what is or may become a judgment."""

    def __init__(self, asked: ReplyFormat) -> None:
        self._format = asked
        self._text = ""
        self._shown = 0

    def feed(self, piece: str) -> str:
        """The part of the answer that is safe to show after `piece`."""
        if not self._format:
            return piece
        self._text += piece
        if self._format.json_schema or self._text.lstrip().startswith(("{", "`")):
            return ""  # one JSON object: it can only be read when it is whole
        safe = self._safe_length()
        out = self._text[self._shown : safe]
        self._shown = max(self._shown, safe)
        return out

    def _safe_length(self) -> int:
        for pattern in (_OPENING_TAG, _BARE_JUDGMENT):
            if m := pattern.search(self._text, max(0, self._shown - 24)):
                return m.start()
        # A judgment may just be beginning: hold the tail from the last "<", "{" or fence while it is short.
        tail = max(self._text.rfind(c, max(0, len(self._text) - 24)) for c in ("<", "{"))
        fence = self._text.rfind("```", max(0, len(self._text) - 24))
        held = [i for i in (tail, fence) if i >= 0]
        return min(held, default=len(self._text)) if held else len(self._text.rstrip("`"))


class ModerationVerdict(msgspec.Struct, frozen=True):
    """What a moderator says: labels of the answers to keep, best first (none: unreadable), and whether to end."""

    best: tuple[str, ...] = ()
    done: bool = False


def parse_moderation(text: str, labels: Collection[str]) -> ModerationVerdict:
    """A moderator's reply, each part by itself; labels that nobody has are left out."""
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


MAX_ROLE_LENGTH = 300  # characters: a role goes into every prompt


def parse_roles(text: str) -> tuple[str, ...]:
    """Role descriptions out of a model's reply, a line each; none where it is no JSON array of them."""
    found = _find_json(text, "[", "]")
    out: list[str] = []
    for item in found if isinstance(found, list) else []:
        parts = list(item.values()) if isinstance(item, dict) else [item]
        said = [" ".join(p.split()) for p in parts if isinstance(p, str) and p.strip(" .")]
        out.append("; ".join(said)[:MAX_ROLE_LENGTH])
    return tuple(dict.fromkeys(r for r in out if r))


def _find_json(text: str, first: str, last: str) -> Any:
    """The JSON from the first to the last bracket, after whatever the model thought aloud."""
    text = text.rpartition("</think>")[2]
    start, end = text.find(first), text.rfind(last)
    if start < 0:
        return None
    return _repair_json(text[start : end + 1] if end > start else text[start:])  # a reply may be cut short
