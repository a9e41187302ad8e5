"""Learn the dialect of an endpoint from its refusals. Pure.

A field is left out only where that is ours to decide: what we added, a hint such as `temperature`, never what changes
the meaning of a caller's request (`keep`). A token limit is renamed and never dropped, since budgets rest on it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from msgspec import structs

from routemoa.clients.protocol.dialect import FIXED, TOKEN_LIMITS, Dialect, is_system
from routemoa.clients.protocol.wire import decode_json

__all__ = ["LEARNING_STEPS", "learn_dialect", "read_refusal"]

LEARNING_STEPS = 6
"""Refusals of one call that are learned from; endpoints name one field at a time."""
MAX_TEXT = 4000
"""Characters of a refusal that are read."""

REFUSES = re.compile(
    r"un(?:supported|recogni[sz]ed|known|expected|available)"
    r"|\bnot? (?:\w+ )?(?:supported|permitted|allowed|enabled|valid|available|recogni[sz]ed|implemented|accepted)"
    r"|\b(?:does|do|is|are|was|were|can)(?:n't| ?not)\b|extra(?:_forbidden|neous| (?:inputs?|fields?))"
    r"|additional propert|deprecated|forbidden|no such|cannot both|instead"
    r"|invalid (?:parameter|argument|field|property|schema|temperature)|remove (?:it|this|the)\b|must alternate"
    r"|only (?:the default|user and assistant|be set|1\b)|不支持|未知|无效|不允许",
    re.IGNORECASE,
)
"""Words of a refusal of a field as such; the last ones are Chinese for "not supported", "unknown", "invalid", "not
allowed"."""
BAD_VALUE = re.compile(
    r"too (?:large|small|high|low|long|short|many)|(?:greater|less|more|fewer|larger|smaller) than|at (?:least|most)"
    r"|exceed|out of range|\bbetween\b|minimum|maximum|range of|context length|must be (?:positive|an? )|limit of",
    re.IGNORECASE,
)
"""Words of a refusal of a value: to leave the field out would change what was asked for."""
UNSUPPORTED = re.compile(
    r"un(?:supported|recogni[sz]ed|known|expected)|not (?:\w+ )?(?:supported|permitted|allowed|recogni[sz]ed|enabled)"
    r"|does(?:n't| not) support|extra(?:_forbidden| (?:inputs?|fields?))|only the default|instead|不支持",
    re.IGNORECASE,
)
"""Words that mean the field as such, also beside words about values."""
NO_SYSTEM = re.compile(
    r"system (?:role|message|prompt|instruction)s?\b|system_instruction|developer instruction|role[^.]{0,40}system"
    r"|system[^.]{0,40}\brole|only user and assistant|roles must alternate|alternate user/assistant",
    re.IGNORECASE,
)
CHOICES = ("reasoning_effort", "verbosity", "service_tier")
"""Fields that have one of a few values: an endpoint may take some of them."""
ONE_OF = re.compile(r"invalid value|input should be|one of|supported values|expected", re.IGNORECASE)
ALIASES = {
    "stop": ("stop sequence", "stop_sequence", "stopsequence"),
    "stream": ("streaming",),
    "response_format": ("json_schema", "json schema", "structured output", "json mode", "response format"),
    "logprobs": ("log probabilities", "log_probs"),
    "cache_control": ("cache control",),
}
"""Field -> other words that refusals have for it."""


def read_refusal(body: bytes) -> tuple[str, set[str]]:
    """Return the words of an error body, and the fields that it names besides (OpenAI's `param`, FastAPI's `loc`)."""
    words: list[str] = []
    named: set[str] = set()

    def read(value: Any, depth: int) -> None:
        if isinstance(value, str):
            words.append(value)
        elif isinstance(value, list) and depth:
            for item in value[:20]:
                read(item, depth - 1)
        elif isinstance(value, dict) and depth:
            if isinstance(value.get("param"), str):
                named.add(value["param"])
            if isinstance(value.get("loc"), list):
                named.update(str(place) for place in value["loc"])
            for key in ("error", "message", "msg", "detail", "details", "code", "type", "metadata", "raw", "errors"):
                read(value.get(key), depth - 1)

    decoded = decode_json(body[: 4 * MAX_TEXT])
    read(decoded, 5)
    said = " ".join(words) or str(decoded)
    return said.replace("\\", "")[:MAX_TEXT], named


def learn_dialect(
    dialect: Dialect, sent: Mapping[str, Any], said: str, named: Iterable[str] = (), keep: Collection[str] = ()
) -> Dialect | None:
    """Return the dialect with what a refusal (HTTP 400 or 422) teaches; None where it is about something else.

    Args:
        dialect: what is known so far.
        sent: the body that was refused.
        said: the endpoint's words.
        named: fields that the refusal names by itself, beside its words.
        keep: fields that must not be left out, since a caller asked for them.
    """
    said = said[:MAX_TEXT]
    named = [n.split(".")[0] for n in named]
    if (choice := _refused_choice(sent, said, named)) is not None and choice[0] not in keep:
        return structs.replace(dialect, refused=dialect.refused | {choice})
    if not REFUSES.search(said):
        return None
    if (renamed := _renamed_system(sent, said)) is not None and dialect.rename.get("system") != renamed:
        return _with_rename(dialect, "system", renamed)
    found = _named_fields(sent, said, named)
    if limits := [name for name in found if name in TOKEN_LIMITS]:
        return _rename_limit(dialect, limits[0], said)
    if BAD_VALUE.search(said) and not UNSUPPORTED.search(said):
        return None
    droppable = [name for name in found if name not in keep and name not in FIXED]
    if not droppable:
        return None
    if len(found) > 1 and re.search(r"\bboth\b|together|same time|one of|only one", said, re.IGNORECASE):
        droppable = droppable[-1:]  # either will do
    return structs.replace(dialect, omit=dialect.omit | frozenset(droppable))


def _refused_choice(sent: Mapping[str, Any], said: str, named: Collection[str]) -> tuple[str, str] | None:
    """Return the field and its value, where a refusal is about one of several values that a field may have.

    An endpoint that does not know the effort "minimal" may know "low".
    """
    for name in CHOICES:
        value = sent.get(name)
        if not isinstance(value, str) or not (name in named or _find_mention(said, name) >= 0):
            continue
        if re.search(rf"(?<![\w-]){re.escape(value)}(?![\w-])", said) or (name in named and ONE_OF.search(said)):
            return name, value
    return None


def _with_rename(dialect: Dialect, old: str, new: str) -> Dialect:
    return structs.replace(dialect, rename={**dialect.rename, old: new})


def _renamed_system(sent: Mapping[str, Any], said: str) -> str | None:
    """Return the role that takes the place of "system", where the refusal is about that role."""
    messages = sent.get("messages")
    if not isinstance(messages, list) or not any(is_system(m) for m in messages) or not NO_SYSTEM.search(said):
        return None
    use_developer = re.search(r"(?:use|with|should be|expected)[^.]{0,20}['\"`]?developer", said, re.IGNORECASE)
    return "developer" if use_developer and any(m.get("role") == "system" for m in messages if is_system(m)) else "user"


def _rename_limit(dialect: Dialect, name: str, said: str) -> Dialect | None:
    """Return the dialect with the other name of the token limit; None where the limit's value is refused, or both."""
    other = TOKEN_LIMITS[1 - TOKEN_LIMITS.index(name)]
    is_value = BAD_VALUE.search(said) and not UNSUPPORTED.search(said)
    if is_value or dialect.rename.get(other) == name:
        return None
    return _with_rename(dialect, name, other)


def _named_fields(sent: Mapping[str, Any], said: str, named: Collection[str]) -> list[str]:
    """Return the fields of a body that a refusal is about: those it names itself, else the first that its words name.

    Where its words set two fields against each other, both are returned.
    """
    candidates = [*(k for k in sent if k not in FIXED), *(["cache_control"] if _has_marks(sent) else [])]
    if own := [name for name in candidates if name in named]:
        return own
    quoted = {m[1]: m.start() for m in re.finditer(r"['\"`\[]([\w.]{1,60})['\"`\]]", said)}
    places = {name: quoted[name] for name in candidates if name in quoted}
    if not places:
        places = {name: at for name in candidates if (at := _find_mention(said, name)) >= 0}
    ordered = sorted(places, key=places.__getitem__)
    against = re.search(r"\bboth\b|together|same time|only one", said, re.IGNORECASE)
    return ordered[: 2 if against else 1]


def _find_mention(said: str, name: str) -> int:
    """Return where a text names a field: as it is, in camel case or in other words; -1 where it does not."""
    if m := re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", said, re.IGNORECASE | re.ASCII):
        is_word = name in ("stop", "user", "n") and not re.search(
            rf"(?:parameter|argument|field|key)\w*:? {name}\b", said
        )
        return -1 if is_word else m.start()
    lowered = said.lower()
    words = [name.replace("_", ""), name.replace("_", " ")] if "_" in name else []
    return max((lowered.find(word) for word in (*words, *ALIASES.get(name, ()))), default=-1)


def _has_marks(sent: Mapping[str, Any]) -> bool:
    messages = sent.get("messages")
    contents = [m.get("content") for m in messages if isinstance(m, dict)] if isinstance(messages, list) else []
    parts = [p for content in contents if isinstance(content, list) for p in content]
    return any(isinstance(p, dict) and "cache_control" in p for p in parts)
