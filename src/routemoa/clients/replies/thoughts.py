"""Separates the thoughts in a reply from its answer, while the text comes in pieces of any size. Pure.

A tag in a code block or in inline code is text. Where only what follows can decide, the text waits: an opening tag in
the middle of a line is a thought once it is closed; a closing tag in a code block within a thought closes it unless
another one follows. A closing tag that nothing opened makes a thought of all text before it: many chat templates write
the opening one into the prompt.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from routemoa.clients.replies.code_spans import CodeSpans
from routemoa.clients.replies.thought_tags import WORD_FAMILIES, TagFinder, Token, has_tag

__all__ = ["ThoughtSplitter", "is_thinker", "remove_thoughts"]

PAIRED_FAMILIES = {"reasoning", "reflection"}
"""Their lone closing tags are text: the words are common in answers, too."""
CHANNELS = "channels"
"""The family of gpt-oss's channels."""

_THINKER = re.compile(r"(?<![a-z0-9])(?:r1|qwq|thinking|think|reasoner|reasoning|magistral)(?![a-z0-9])", re.IGNORECASE)

PlacedToken = tuple[Token, int]
"""A token and where it begins in the reply."""


class ThoughtSplitter:
    """Takes the text of a reply piece by piece and gives the answer.

    Args:
        hold: give nothing before a thought has ended, for a model that is known to begin with one, unmarked.
    """

    def __init__(self, *, hold: bool = False) -> None:
        self.answer_start = 0
        """Where the answer begins in the text that came."""
        self.is_restarted = False
        """Whether text that was given turned out to be a thought."""
        self.lacks_opening = False
        """Whether a closing tag came that nothing had opened."""
        self.ends_in_thought = False
        """Whether the reply ended before its thought did; known at the end."""
        self._finder = TagFinder()
        self._position = 0
        self._thought: _Thought | None = None
        self._has_thought = False
        self._wrapper = ""
        self._is_stray = False  # a closing tag came behind an answer, which is a thought if more follows
        self._closings: Counter[str] | None = None  # closing tags to come, where waiting text is read again
        self._is_cut = False
        self._hold = hold
        self._given = 0  # of `_parts`
        self._start_answer()

    def _start_answer(self) -> None:
        self._parts: list[str] = []
        self._length = 0  # of these
        self._is_blank = True
        self._spans = CodeSpans()
        self._unscanned: list[str] = []  # not read by `_spans` yet

    @property
    def answer(self) -> str:
        """The answer so far."""
        return "".join(self._parts)

    @property
    def has_begun(self) -> bool:
        """Return whether a part of the answer was given."""
        return self._given > 0

    @property
    def thought_length(self) -> int:
        """Characters that are no part of the answer: thoughts, their tags and the space behind them."""
        return self._position - self._length

    def release(self) -> None:
        """Hold nothing back any more: the model's thoughts came elsewhere."""
        self._hold = False

    def feed(self, piece: str) -> str:
        """Take a piece of the reply and return the text of the answer that is known now."""
        for token in self._finder.feed(piece):
            self._add(token)
        return self._give()

    def end(self, *, is_cut: bool = False) -> str:
        """Take the end of the reply and return the rest of the answer; `is_cut`: the reply is not complete."""
        self._is_cut = is_cut
        for token in self._finder.end():
            self._add(token)
        if self._thought is not None:
            self._end_thought(self._thought)
        elif self._hold and is_cut:
            self._restart()
            self.ends_in_thought = True
        self._hold = False
        return self._give()

    def _give(self) -> str:
        if self._hold or self._is_blank:
            return ""
        new, self._given = self._parts[self._given :], len(self._parts)
        return "".join(new)

    def _add(self, token: Token) -> None:
        start, self._position = self._position, self._position + len(token.text)
        if self._closings is not None and token.kind == "close":
            self._closings[token.family] -= 1
        if self._thought is None:
            self._add_to_answer(token, start)
        elif self._thought.add(token, start):
            self._thought, self._has_thought, self._hold = None, True, False
            if token.kind == "channel":
                self._open_channel(token, start)

    def _end_thought(self, thought: _Thought) -> None:
        """End a thought with the reply: what waited may be text."""
        self._thought = None
        waiting = thought.take_waiting(is_cut=self._is_cut)
        if waiting is None:
            self.ends_in_thought = True
            return
        self._has_thought = self._has_thought or thought.is_closed
        self._hold = self._hold and not thought.is_closed
        self._read_again(waiting)

    def _read_again(self, waiting: Sequence[PlacedToken]) -> None:
        """Read what waited, so that nothing waits any more."""
        self._closings = Counter(token.family for token, _ in waiting if token.kind == "close")
        for token, start in waiting:
            self._position = start
            self._add(token)
        if self._thought is not None:
            self.ends_in_thought = True

    # --- the answer

    def _add_to_answer(self, token: Token, start: int) -> None:
        if token.kind == "text" or self._is_in_code():
            self._add_text(token.text, start)
        elif token.kind == "open":
            self._open(token, start)
        elif token.kind == "close":
            self._close_unopened(token, start)
        elif token.kind == "channel":
            self._open_channel(token, start)
        elif token.kind in ("end", "frame"):
            return
        elif token.kind == "wrap" and self._has_thought and self._is_blank and not self._wrapper:
            self._wrapper = token.text[1:-1].lower()
        elif token.text[2:-1].lower() != self._wrapper:
            self._add_text(token.text, start)

    def _is_in_code(self) -> bool:
        self._spans.advance("".join(self._unscanned))
        self._unscanned.clear()
        return self._spans.in_block or self._spans.in_line

    def _add_text(self, text: str, start: int) -> None:
        if self._is_stray and text.strip():
            self._restart()
        if self._is_blank and self._has_thought:
            text, length = text.lstrip(), len(text)
            start += length - len(text)
        if self._is_blank and text.strip():
            self._is_blank, self.answer_start = False, start + len(text) - len(text.lstrip())
        if text:
            self._parts.append(text)
            self._unscanned.append(text)
            self._length += len(text)

    def _open(self, token: Token, start: int) -> None:
        """Begin a thought; in the middle of a line only if it is going to be closed."""
        is_sure = (self._is_blank or self._spans.line_is_blank) and token.family not in WORD_FAMILIES
        if not is_sure and self._closings is not None and not self._is_cut and self._closings[token.family] <= 0:
            self._add_text(token.text, start)
            return
        if self._is_blank:
            self._start_answer()
        self._thought = _Thought(token, start, is_sure=is_sure, is_last=self._closings is not None)

    def _open_channel(self, token: Token, start: int) -> None:
        if token.family == "final":
            self._has_thought, self._hold = True, False
        else:
            self._thought = _Thought(token._replace(family=CHANNELS), start, is_sure=True, is_last=True)

    def _close_unopened(self, token: Token, start: int) -> None:
        """End the thought that all text so far was."""
        if token.family in PAIRED_FAMILIES:
            self._add_text(token.text, start)
            return
        if self._has_thought and not self._is_blank:
            self._is_stray = True
            return
        self.lacks_opening = True
        self._restart()

    def _restart(self) -> None:
        """Count all text so far as a thought."""
        self.is_restarted = self.is_restarted or self._given > 0
        self._given = 0
        self._has_thought, self._is_stray, self._hold = True, False, False
        self._start_answer()


class _Thought:
    """A thought that is open.

    Args:
        tag: what opened it.
        start: where that begins.
        is_sure: whether it is a thought even if it is never closed.
        is_last: whether nothing waits any more: the first closing tag closes it.
    """

    def __init__(self, tag: Token, start: int, *, is_sure: bool, is_last: bool) -> None:
        self.is_closed = False
        """Whether a closing tag came, but in a code block."""
        self._family = tag.family
        self._is_last = is_last
        self._spans = CodeSpans()
        self._unscanned: list[str] = []
        self._waiting: list[PlacedToken] | None = None if is_sure else [(Token("text", tag.text), start)]
        """What is read again at the end, if nothing decides before."""

    def add(self, token: Token, start: int) -> bool:
        """Take a token and return whether it closes the thought."""
        if self._waiting is not None:
            self._waiting.append((token, start))
        if self._family == CHANNELS:
            return token.kind in ("end", "channel")
        if token.kind == "close" and token.family == self._family:
            self._spans.advance("".join(self._unscanned))
            self._unscanned.clear()
            if not (self._spans.in_line and token.before_backtick):
                if self._is_last or not self._spans.in_block:
                    return True
                if not self.is_closed:
                    self._waiting, self.is_closed = [], True
        self._unscanned.append(token.text)
        return False

    def take_waiting(self, *, is_cut: bool) -> list[PlacedToken] | None:
        """Return what turns out to be no thought at the end of the reply; None where all is one."""
        return None if is_cut and not self.is_closed else self._waiting


def remove_thoughts(text: str) -> str:
    """Return the answer in a whole reply."""
    if not has_tag(text):
        return text
    splitter = ThoughtSplitter()
    splitter.feed(text)
    splitter.end()
    return splitter.answer


def is_thinker(model: str) -> bool:
    """Return whether a model's name says that it thinks before it answers, perhaps without a tag that opens it."""
    return _THINKER.search(model) is not None
