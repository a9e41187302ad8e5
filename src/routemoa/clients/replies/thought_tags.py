"""Finds the tags that models put around their thoughts, in text that comes in pieces of any size. Pure.

<think>...</think>              DeepSeek, Qwen, GLM, ...; also thinking, thought, reasoning, reflection, seed:think
[THINK]...[/THINK]              Magistral; ◁think▷ of Kimi, <|begin_of_thought|> of Sky-T1, <|START_THINKING|> of
                                Command A, <|inner_prefix|> of Apertus, <|channel>thought of Gemma
<|channel|>analysis<|message|>  gpt-oss, up to <|channel|>final<|message|>; also "analysis...assistantfinal...",
                                which is left of it where an endpoint removes special tokens
Here is my thought process:     Granite, up to "Here is my response:"
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

__all__ = ["WORD_FAMILIES", "TagFinder", "TagKind", "Token", "has_tag"]

XML_NAMES = dict.fromkeys(("think", "thinking", "thought", "thoughts", "antthinking", "longcat_think"), "think") | {
    "seed:think": "seed",
    "reasoning": "reasoning",
    "reflection": "reflection",
}
"""Name of an XML tag -> its family: a thought is closed by a tag of the family that opened it."""
WRAPPERS = ("answer", "response")
"""XML tags around the answer, directly behind a thought (Hunyuan, ERNIE)."""
PAIRS = {
    "[THINK]": "[/THINK]",
    "◁think▷": "◁/think▷",
    "<|begin_of_thought|>": "<|end_of_thought|>",
    "<|START_THINKING|>": "<|END_THINKING|>",
    "<|inner_prefix|>": "<|inner_suffix|>",
    "<|channel>thought": "<channel|>",
}
"""Opening -> closing tag of thoughts, of those that are no XML."""
MESSAGE_ENDS = ("<|end|>", "<|call|>", "<|return|>")
"""The ends of a message of gpt-oss, in whichever channel."""
FRAMES = ("<|begin_of_solution|>", "<|end_of_solution|>", "<|START_RESPONSE|>", "<|END_RESPONSE|>")
"""Tags around an answer, wherever they stand."""
MAX_ATTRIBUTES = 80
"""Characters of an XML tag's attributes."""
MAX_HEADER = 160
"""Characters from <|channel|> to <|message|>."""
MAX_TAGS = 2000
"""Of a reply: what looks like one behind that many is text."""
LONGEST_TAG = MAX_HEADER + 100

TagKind = Literal["text", "open", "close", "channel", "end", "frame", "wrap", "unwrap"]


class Token(NamedTuple):
    """A part of a reply: text, or a tag."""

    kind: TagKind
    text: str
    """As it stands in the reply."""
    family: str = ""
    """Of a tag that opens or closes a thought; of a channel, its name."""
    before_backtick: bool = False
    """Whether a backtick follows directly."""


def _either(words: Iterable[str]) -> str:
    return "|".join(re.escape(w) for w in sorted(words, key=len, reverse=True))


def _beginnings(words: Iterable[str]) -> str:
    """Return a pattern for every proper beginning of the words."""
    patterns: list[str] = []
    for word in words:
        pattern = ""
        for character in reversed(word[1:-1]):
            pattern = f"(?:{re.escape(character)}{pattern})?"
        patterns.append(re.escape(word[0]) + pattern)
    return "|".join(patterns)


_XML = _either(XML_NAMES)
_LETTERS = "".join({name[0] for name in (*XML_NAMES, *WRAPPERS, "channel")})
_FIRST_LETTERS = _LETTERS + _LETTERS.upper()
_CHANNEL = rf"\|channel\|>[^\n<]{{0,{MAX_HEADER}}}(?:<\|constrain\|>[^\n<]{{0,40}})?"
_TAGS = (
    # All begin with one character, which makes the search as fast as that for the character.
    re.compile(
        rf"<(?=[/|{_FIRST_LETTERS}])(?:(?i:(?P<open>{_XML})(?:\s[^<>]{{0,{MAX_ATTRIBUTES}}})?>"
        rf"|/(?P<close>{_XML})\s?>"
        rf"|(?:{_XML})\s?/>|(?P<wrap>{_either(WRAPPERS)})>|/(?P<unwrap>{_either(WRAPPERS)})>)"
        rf"|(?P<end>{_either(e[1:] for e in MESSAGE_ENDS)}|\|start\|>[ \w]{{0,40}})"
        rf"|(?P<frame>{_either(f[1:] for f in FRAMES)})|(?P<channel>{_CHANNEL}<\|message\|>)"
        rf"|(?P<pair_open>{_either(t[1:] for t in PAIRS if t[0] == '<')})"
        rf"|(?P<pair_close>{_either(t[1:] for t in PAIRS.values() if t[0] == '<')}))"
    ),
    re.compile(r"\[(?:(?P<pair_open>THINK\])|(?P<pair_close>/THINK\]))"),
    re.compile("◁(?:(?P<pair_open>think▷)|(?P<pair_close>/think▷))"),
)
_BEGINNING = re.compile(
    rf"<(?:(?i:/?(?:{_beginnings(XML_NAMES)}|{_XML})?\s?/?|(?:{_XML})\s[^<>]{{0,{MAX_ATTRIBUTES}}}"
    rf"|/?(?:{_beginnings(WRAPPERS)}|{_either(WRAPPERS)})))"
    rf"|{_beginnings([*PAIRS, *PAIRS.values(), *MESSAGE_ENDS, *FRAMES, '<|start|>', '<|channel|>', '<|'])}"
    rf"|<\|start\|>[ \w]{{0,40}}|<{_CHANNEL}(?:{_beginnings(['<|constrain|>', '<|message|>'])})?"
)
_FIRST_CHARACTER = re.compile(r"[<\[◁]")
_CHANNEL_NAME = re.compile(r"<\|channel\|>\s*(\w+)")
_FAMILIES = {tag: opening for opening, closing in PAIRS.items() for tag in (opening, closing)}


class _Words(NamedTuple):
    """Words with which a reply begins that has its thoughts first, and the words that end them."""

    first: re.Pattern[str]
    first_begins: re.Pattern[str]
    last: re.Pattern[str]
    last_begins: re.Pattern[str]


_WORDS = {
    "gpt-oss": _Words(
        re.compile(r"analysis(?=[A-Z0-9\"'*\u0080-\U0010ffff])"),
        re.compile(_beginnings(["analysis"]) + "|analysis"),
        re.compile("assistantfinal"),
        re.compile(_beginnings(["assistantfinal"])),
    ),
    "granite": _Words(
        re.compile(r"Here(?: is|'s) my thought process:"),
        re.compile(_beginnings(["Here is my thought process:", "Here's my thought process:"])),
        re.compile("Here(?: is|'s) my response:"),
        re.compile(_beginnings(["Here is my response:", "Here's my response:"])),
    ),
}
WORD_FAMILIES = frozenset(_WORDS)
"""The families whose thoughts begin and end with words."""
LONGEST_WORDS = 28


class TagFinder:
    """Splits the text of a reply into text and tags.

    What may be the beginning of a tag waits for more; nothing else does.
    """

    def __init__(self) -> None:
        self._waiting = ""
        self._is_beginning = True
        self._tags_left = MAX_TAGS
        self._words = ""
        """The family of the words with which the reply began."""

    def feed(self, piece: str) -> list[Token]:
        """Return the tokens that a piece completes."""
        return list(self._read(self._waiting + piece, is_end=False))

    def end(self) -> list[Token]:
        """Return what waited for more."""
        return list(self._read(self._waiting, is_end=True))

    def _read(self, text: str, *, is_end: bool) -> Iterator[Token]:
        self._waiting = ""
        start = 0
        if self._is_beginning:
            start = len(text) - len(text.lstrip())
            if start:
                yield Token("text", text[:start])
            if not is_end and (
                start == len(text) or any(w.first_begins.fullmatch(text, start) for w in _WORDS.values())
            ):
                self._waiting = text[start:]
                return
            self._is_beginning = False
            for family, words in _WORDS.items():
                if found := words.first.match(text, start):
                    self._words, start = family, found.end()
                    yield Token("open", found[0], family)
                    break
        elif text and not self._words and not _FIRST_CHARACTER.search(text):  # most pieces
            yield Token("text", text)
            return
        known = len(text) if is_end or not self._tags_left else self._find_beginning(text, start)
        for tag, at in self._find_tags(text, start):
            end = at + len(tag.text)
            if not self._tags_left or at >= known:
                break
            if end == len(text) and not is_end:  # what follows may matter, and make a thought of what is before
                known = start if tag.kind == "close" else at
                break
            self._tags_left -= 1
            if at > start:
                yield Token("text", text[start:at])
            yield tag._replace(before_backtick=text.startswith("`", end))
            start = end
        known = max(start, known)
        if known > start:
            yield Token("text", text[start:known])
        self._waiting = text[known:]

    def _find_tags(self, text: str, start: int) -> Iterator[tuple[Token, int]]:
        """Yield each tag and its place, in the order of the text."""
        patterns = [*_TAGS, _WORDS[self._words].last] if self._words else [*_TAGS]
        following = {p: found for p in patterns if (found := p.search(text, start))}
        while following:
            found = min(following.values(), key=re.Match.start)
            is_words = found.re not in _TAGS
            yield Token("close", found[0], self._words) if is_words else _to_token(found), found.start()
            if is_words:
                self._words = ""
                del following[found.re]
            for pattern, earlier in list(following.items()):
                if earlier.start() < found.end():
                    if again := pattern.search(text, found.end()):
                        following[pattern] = again
                    else:
                        del following[pattern]

    def _find_beginning(self, text: str, start: int) -> int:
        """Return where a tag may begin that is not complete yet; the end of the text where none does."""
        earliest = max(start, len(text) - LONGEST_TAG)
        places = (m.start() for m in _FIRST_CHARACTER.finditer(text, earliest))
        known = next((i for i in places if _BEGINNING.fullmatch(text, i)), len(text))
        if self._words:
            begins = _WORDS[self._words].last_begins
            earliest = max(start, len(text) - LONGEST_WORDS)
            known = next((i for i in range(earliest, known) if begins.fullmatch(text, i)), known)
        return known


def has_tag(text: str) -> bool:
    """Return whether a whole reply has anything that may mark a thought: far quicker than to find out what it is."""
    if any(pattern.search(text) for pattern in _TAGS):
        return True
    start = len(text) - len(text.lstrip())
    return any(words.first.match(text, start) for words in _WORDS.values())


def _to_token(found: re.Match[str]) -> Token:
    match found.lastgroup:
        case "open" | "close" as kind:
            return Token(kind, found[0], XML_NAMES[found[kind].lower()])
        case "pair_open":
            return Token("open", found[0], _FAMILIES[found[0]])
        case "pair_close":
            return Token("close", found[0], _FAMILIES[found[0]])
        case "channel":
            name = _CHANNEL_NAME.match(found[0])
            return Token("channel", found[0], name[1] if name else "")
        case "wrap" | "unwrap" | "end" as kind:
            return Token(kind, found[0])
        case _:  # also an empty tag, such as <think/>
            return Token("frame", found[0])
