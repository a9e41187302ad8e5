"""Parses replies that contain an answer and judgments.

Models write nearly-JSON, so a library repairs it. What cannot be read is None, never a number.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Callable, Collection
from itertools import islice
from typing import Any

import msgspec

from routemoa.clients.replies.errors import decode_json
from routemoa.clients.replies.thoughts import remove_thoughts
from routemoa.mixture.prompts import ASSESSMENT, SCALE, ReplyFormat

__all__ = [
    "AnswerStream",
    "ModerationVerdict",
    "Reply",
    "parse_moderation",
    "parse_reply",
    "parse_roles",
    "read_reply",
    "repair_json",
]

Repair = Callable[[str], Any]
"""Reads JSON that is broken."""

_OPENING_TAG = re.compile(rf"<\s*{ASSESSMENT}\s*>", re.IGNORECASE)
_CLOSING_TAG = re.compile(rf"<\s*/\s*{ASSESSMENT}\s*>", re.IGNORECASE)
_TAGGED = re.compile(rf"{_OPENING_TAG.pattern}.*?(?:{_CLOSING_TAG.pattern}|$)", re.DOTALL | re.IGNORECASE)
_BARE_JUDGMENT = re.compile(r"(?:```(?:json)?\s*)?\{\s*[\"']?(?:self|scores)[\"']?\s*:", re.IGNORECASE)
_PERCENT = re.compile(r"\s*(\d+(?:\.\d+)?)\s*%\s*")
_CUT_ANSWER = re.compile(r'\s*+(?:```(?:json)?\s*+)?\{\s*+"answer"\s*+:\s*+"((?:[^"\\]++|\\.)*+)', re.DOTALL)
_FRACTION = re.compile(r"\s*(\d+(?:\.\d+)?)\s*/\s*(\d+)\s*")

MAX_OPENING_LENGTH = 24
"""Characters in which a judgment that begins shows that it is one."""
MAX_JUDGMENT = 4000
"""Characters of a judgment at the end of a reply."""
MAX_CANDIDATES = 20
"""Places at which such a judgment may begin."""
MAX_REPAIR = 4000
"""Characters of broken JSON that are repaired: the time grows with the square, a second for these at the worst."""
LARGE_REPLY = 50_000
"""Characters of a reply above which it is parsed in a thread."""
MAX_ROLE_LENGTH = 300
"""Characters of a role, which goes into every prompt."""


class Reply(msgspec.Struct, frozen=True):
    """A parsed reply. Scores are in [0, 1], or None where they cannot be read."""

    answer: str
    self_score: float | None = None
    scores: dict[str, float | None] = {}
    """Label of a quoted answer -> its score."""


def parse_reply(text: str, reply_format: ReplyFormat, repair: Repair | None = None) -> Reply:
    """Parse a reply; where the format asks for no judgment, the whole text but for thoughts is the answer.

    Args:
        text: of the reply.
        reply_format: what it was asked for.
        repair: reads JSON that is broken; by default `repair_json`, which may take a second.
    """
    text = remove_thoughts(text)
    repair = repair or repair_json
    if not reply_format:
        return Reply(text.strip())
    answer, judgment = None, None
    if reply_format.json_schema or text.lstrip().startswith("{"):
        answer, judgment = _parse_json_reply(text, repair)
    if answer is None:
        answer, judgment = _split_text_reply(text, repair)
    judgment = judgment or {}
    top = SCALE if reply_format.json_schema else 1
    return Reply(
        answer.strip(),
        _read_score(judgment.get("self"), top) if reply_format.self_score else None,
        _read_scores(judgment.get("scores"), reply_format.peers, top),
    )


async def read_reply(text: str, reply_format: ReplyFormat, seconds: float | None = None) -> Reply:
    """Parse a reply as `parse_reply` does, without keeping the event loop from other work.

    Args:
        text: of the reply.
        reply_format: what it was asked for.
        seconds: after which a judgment that is still not read stays unread; None is no limit.
    """
    try:
        if len(text) <= LARGE_REPLY:
            return parse_reply(text, reply_format, _refuse_repair)
    except _NeedsRepair:
        pass
    try:
        async with asyncio.timeout(seconds):
            return await asyncio.to_thread(parse_reply, text, reply_format)
    except TimeoutError:
        return parse_reply(text, reply_format, lambda _: None)


def _parse_json_reply(text: str, repair: Repair) -> tuple[str | None, dict[str, Any] | None]:
    """Return the answer and the whole object of a reply that is one JSON object; None where it is not."""
    found = _read_json(text, repair)
    if isinstance(found, dict) and isinstance(found.get("answer"), str | int | float):
        return str(found["answer"]), found
    if found is None and (cut := _CUT_ANSWER.match(text)):
        return _unescape(cut[1]), None
    return None, None


def _unescape(text: str) -> str:
    """Return the text of a JSON string that may have been cut off."""
    try:
        return str(msgspec.json.decode(f'"{text}"'))
    except msgspec.DecodeError:
        return text


def _split_text_reply(text: str, repair: Repair) -> tuple[str, dict[str, Any] | None]:
    """Return the answer and the judgment of a reply in prose: the tagged part, or JSON at the very end."""
    if tag := _OPENING_TAG.search(text):
        end = _CLOSING_TAG.search(text, tag.end())
        inside = text[tag.end() : end.start() if end else len(text)]
        after = text[end.end() :] if end else ""
        found = _read_json(inside, repair)
        rest = _TAGGED.sub("", after)  # a repeated judgment is neither read nor shown
        return text[: tag.start()] + rest, found if isinstance(found, dict) else None
    for bare in islice(_BARE_JUDGMENT.finditer(text, max(0, len(text) - MAX_JUDGMENT)), MAX_CANDIDATES):
        rest = text[bare.start() :].strip().removeprefix("```json").strip("` \n")
        found = _read_json(rest, repair) if rest.endswith("}") else None
        if isinstance(found, dict) and set(found) <= {"self", "scores"}:
            return text[: bare.start()], found
    return text, None


class _NeedsRepair(Exception):
    """JSON is broken, and its repair takes time."""


def _refuse_repair(text: str) -> Any:
    raise _NeedsRepair


def _read_json(text: str, repair: Repair) -> Any:
    """Read JSON, or what comes close to it; None where that cannot be read."""
    found = decode_json(text.strip().removeprefix("```json").strip("` \n"))
    return repair(text) if isinstance(found, str) else found


def repair_json(text: str) -> Any:
    """Read nearly-JSON; None where that is impossible, or where it is so long that it would take long."""
    import json_repair

    if len(text) > MAX_REPAIR:
        return None
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
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value / top if 0 <= value <= top and 0 < top < math.inf else None


class AnswerStream:
    """Passes on the pieces of an answer, and holds back what is or may become a judgment."""

    def __init__(self, reply_format: ReplyFormat) -> None:
        self._format = reply_format
        self._is_prose: bool | None = None  # None until a character is there
        self._before = ""  # the end of what was shown, in which a judgment may have begun
        self._held = ""  # what may be the beginning of a judgment
        self._is_over = False  # a judgment has begun

    def feed(self, piece: str) -> str:
        """Take a piece of the reply and return the text of the answer that can now be shown."""
        if not self._format:
            return piece
        if self._is_prose is None and piece.strip():
            # A JSON object can only be read when it is complete.
            self._is_prose = not self._format.json_schema and not piece.lstrip().startswith(("{", "`"))
        if self._is_over or self._is_prose is False:
            return ""
        text = self._before + self._held + piece
        safe, self._is_over = self._find_judgment(text)
        shown = text[len(self._before) : safe]
        self._held = text[max(safe, len(self._before)) :]
        self._before = (self._before + shown)[-MAX_OPENING_LENGTH:]
        return shown

    def _find_judgment(self, text: str) -> tuple[int, bool]:
        """Return how much of a text is certainly no judgment, and whether one has begun behind that."""
        marked = [p for p, mark in ((_OPENING_TAG, "<"), (_BARE_JUDGMENT, "{")) if mark in text]
        begins = [m.start() for p in marked if (m := p.search(text))]
        if begins:
            return min(begins), True
        # A judgment may just be beginning: hold the tail from the last "<", "{" or fence while it is short.
        earliest = max(0, len(text) - MAX_OPENING_LENGTH)
        held = [i for mark in ("<", "{", "```") if (i := text.rfind(mark, earliest)) >= 0]
        return min(held, default=len(text.rstrip("`"))), False


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
    return _read_json(text[start : end + 1] if end > start else text[start:], repair_json)  # it may be cut short
