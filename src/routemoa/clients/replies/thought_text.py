"""Keeps the text of a reply's thoughts, up to a length, to be shown apart from the answer. Pure."""

from __future__ import annotations

from routemoa.clients.replies.redaction import KeyCutter
from routemoa.clients.replies.thought_tags import TagFinder
from routemoa.clients.replies.thoughts import ThoughtSplitter
from routemoa.core.types import MAX_THOUGHT

__all__ = ["ThoughtText"]


class ThoughtText:
    """The thoughts of one reply: those in fields of their own as they come, those in the text once the answer begins.

    Args:
        key: of the endpoint; cut out of thoughts.
    """

    def __init__(self, key: str | None = None) -> None:
        self._cutter = KeyCutter(key)
        self._beside: list[str] = []
        self._room = MAX_THOUGHT
        self._head: list[str] = []  # the beginning of the content
        self._head_room = MAX_THOUGHT
        self._taken = 0  # of `_beside`
        self._has_shown_head = False

    def add_beside(self, text: str) -> None:
        """Add a piece of thoughts that came in a field of its own."""
        self._keep(self._cutter.feed(text))

    def add_content(self, text: str) -> None:
        """Add a piece of the content, in which thoughts may stand before the answer; it holds no key any more."""
        if self._head_room > 0 and text:
            self._head.append(text[: self._head_room])
            self._head_room -= len(text)

    def end(self) -> None:
        """Take the end of the reply."""
        self._keep(self._cutter.end())

    def take(self, splitter: ThoughtSplitter) -> str:
        """Return what can be shown since the last time."""
        new, self._taken = self._beside[self._taken :], len(self._beside)
        inline = ""
        if not self._has_shown_head and splitter.has_begun:
            self._has_shown_head = True
            inline = self._inline(splitter)
        return "".join(new) + inline

    def whole(self, splitter: ThoughtSplitter) -> str:
        """Return the thoughts of the reply, after its end."""
        return ("".join(self._beside) + self._inline(splitter))[:MAX_THOUGHT]

    def _keep(self, text: str) -> None:
        if self._room > 0 and text:
            self._beside.append(text[: self._room])
            self._room -= len(text)

    def _inline(self, splitter: ThoughtSplitter) -> str:
        """Return the thoughts in the content before the answer, without their tags."""
        if not splitter.answer_start:
            return ""
        finder = TagFinder()
        before = "".join(self._head)[: splitter.answer_start]
        tokens = [*finder.feed(before), *finder.end()]
        return "".join(token.text for token in tokens if token.kind == "text").strip()
