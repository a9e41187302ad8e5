"""Reads one reply from the bytes as they come: a stream of events or one body, whatever its header says."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import aclosing, suppress
from time import monotonic

from routemoa.clients import wire
from routemoa.clients.replies.completion import CompletionBuilder, parse_completion
from routemoa.clients.replies.redaction import KeyCutter
from routemoa.clients.sse import EVENT_STREAM, SSEEvent, SSEParser, is_event_stream, split_event
from routemoa.core.errors import InvalidResponse, ModelError, ModelTimeout, Unreachable
from routemoa.core.types import Completion, Thinking

__all__ = ["Pieces", "ReplyReader", "without_key"]

USAGE_WAIT = 5.0
"""Seconds in which the usage may follow the last word of an answer."""
END_WAIT = 0.2
"""Seconds in which a response may end after [DONE], so that its connection can serve again."""
DONE = "[DONE]"
MAX_HEAD_BYTES = 64 * 1024
"""White space before a reply begins."""
MAX_REPLY_BYTES = 64 * 2**20
"""Of a whole reply, streamed or in one piece."""

Pieces = AsyncGenerator[str | Thinking | Completion, None]


class ReplyReader:
    """Reads the reply to one attempt of a call.

    Args:
        model: its name.
        key: of the endpoint; cut out of what it says.
        read: returns the next bytes, none at the end, or raises ModelError when none come for so many seconds.
        idle: seconds that may pass between two pieces.
        hold: the model is known to begin with a thought that no tag opens.
    """

    def __init__(
        self, model: str, key: str | None, read: Callable[[float], Awaitable[bytes]], idle: float, *, hold: bool = False
    ) -> None:
        self._model, self._key, self._read_chunk, self._idle = model, key, read, idle
        self._bytes = 0
        self._builder = CompletionBuilder(key, hold=hold)
        self._first_token: float | None = None

    @property
    def lacks_opening(self) -> bool:
        """Whether the reply began with a thought that no tag opened."""
        return self._builder.lacks_opening

    async def _read(self, idle: float) -> bytes:
        """Return the next bytes. Raises ModelError where none come in time, or too many have come."""
        chunk = await self._read_chunk(idle)
        self._bytes += len(chunk)
        if self._bytes > MAX_REPLY_BYTES:
            reason = f"the reply is larger than {MAX_REPLY_BYTES // 2**20} MiB"
            raise InvalidResponse(self._model, reason, produced=True, usage=self._builder.known_usage)
        return chunk

    async def read(self, content_type: str, started: float) -> Pieces:
        """Yield the pieces of the answer, then the Completion.

        Args:
            content_type: of the reply's header.
            started: when the call began, on the clock of `monotonic()`.

        Raises:
            ModelError: the reply is an error, no completion, or breaks off.
        """
        is_stream, head = await self._read_head(content_type)
        if is_stream:
            async with aclosing(self._read_stream(head, started)) as pieces:
                async for piece in pieces:
                    yield piece
            return
        body = wire.parse_body(self._model, await self._read_body(head), self._key)
        completion = parse_completion(self._model, body, monotonic() - started, self._key)
        if completion.text:
            yield completion.text
        yield completion

    async def _read_head(self, content_type: str) -> tuple[bool, bytes]:
        """Return whether the reply is a stream of events, and the bytes that show it."""
        head = b""
        while chunk := await self._read(self._idle):
            head += chunk
            is_stream = is_event_stream(head, content_type)
            if is_stream is not None or len(head) > MAX_HEAD_BYTES:
                return content_type == EVENT_STREAM if is_stream is None else is_stream, head
        return False, head

    async def _read_body(self, head: bytes) -> bytes:
        data = bytearray(head)
        while chunk := await self._read(self._idle):
            data += chunk
        return bytes(data)

    async def _read_stream(self, head: bytes, started: float) -> Pieces:
        """Fold the events of a streamed completion; yield its text as it comes, then the whole."""
        builder = self._builder
        done = False
        try:
            async with aclosing(self._batches(head)) as batches:
                async for batch in batches:
                    pieces, done = self._fold(batch, started)
                    for piece in pieces:
                        yield piece
                    if done:
                        break
        except ModelError as e:
            self._check_lost_connection(e)
        if not done and builder.finish_reason is None:
            raise self._cut_off()
        if text := builder.end():
            yield text
        completion = builder.completion(self._model, monotonic() - started, self._first_token)
        if done:
            with suppress(ModelError):
                await self._read(END_WAIT)
        yield completion

    def _fold(self, batch: Iterable[SSEEvent], started: float) -> tuple[list[str | Thinking], bool]:
        """Add the chunks that came together; return what they bring, and whether [DONE] was among them.

        Where one of them is an error, or says that the endpoint broke off, none of their text is given: what was not
        shown need not be taken back.

        Raises:
            ModelError: one of them is an error, or no chunk.
        """
        pieces: list[str | Thinking] = []
        for event in batch:
            if event.data == DONE:
                return pieces, True
            was_restarted = self._builder.is_restarted
            text = self._builder.add(wire.parse_chunk(self._model, event, self._key))
            thought = self._builder.take_thought()
            if self._builder.is_restarted and not was_restarted:
                pieces = [p for p in pieces if not isinstance(p, str)]
            if self._first_token is None and (text or thought):
                self._first_token = monotonic() - started
            pieces += [*([Thinking(thought)] if thought else []), *([text] if text else [])]
            if self._builder.is_broken_off:
                pieces.clear()
        return pieces, False

    async def _batches(self, head: bytes) -> AsyncGenerator[list[SSEEvent], None]:
        """Yield the events that come together, "[DONE]" as such; an event cut in half at the end is left out."""
        parser = SSEParser()
        chunk = head
        while chunk:
            yield [part for event in parser.feed(chunk) for part in split_event(event)]
            chunk = await self._read(min(USAGE_WAIT, self._idle) if self._builder.finish_reason else self._idle)
        rest = [part for event in parser.end() for part in split_event(event)]
        yield [p for p in rest if p.data == DONE or isinstance(wire.decode_json(p.data), dict)]

    def _cut_off(self) -> ModelError:
        """Return the error of a stream that ended without a reason to."""
        reason = "the stream was cut off before its end"
        if self._first_token is not None:
            return InvalidResponse(self._model, reason, produced=True, usage=self._builder.known_usage)
        return Unreachable(self._model, reason, sent=True)

    def _check_lost_connection(self, error: ModelError) -> None:
        """Raise the error of a stream, unless the model had finished: its answer is complete, however it hung up."""
        produced, lost = self._first_token is not None, isinstance(error, Unreachable)
        if self._builder.finish_reason is not None and (lost or isinstance(error, ModelTimeout)):
            return
        usage = error.usage or self._builder.known_usage
        if produced and lost:
            raise InvalidResponse(error.model, error.reason, produced=True, usage=usage) from error
        error.produced, error.usage = error.produced or produced, usage
        raise error


async def without_key(chunks: AsyncGenerator[bytes, None], key: str | None) -> AsyncGenerator[bytes, None]:
    """Yield the chunks of a response without the key."""
    cutter = KeyCutter(key)
    async with aclosing(chunks):
        async for chunk in chunks:
            if kept := cutter.feed(chunk.decode("latin-1")):
                yield kept.encode("latin-1")
    if rest := cutter.end():
        yield rest.encode("latin-1")
