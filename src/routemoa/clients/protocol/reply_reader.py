"""Reads one reply from the bytes as they come: a stream of events or one body, whatever its header says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing, suppress
from functools import partial
from time import monotonic

from routemoa.clients.protocol import wire
from routemoa.clients.protocol.sse import EVENT_STREAM, SSEEvent, SSEParser, is_event_stream, split_event
from routemoa.clients.replies.completion import CompletionBuilder, parse_completion
from routemoa.clients.replies.plain_chunk import read_plain_text
from routemoa.core.errors import InvalidResponse, ModelError, ModelTimeout, Unreachable
from routemoa.core.system.large_work import LARGE, run_large
from routemoa.core.tables.caps_table import ReplyCaps
from routemoa.core.types import Completion, Thinking

__all__ = ["Pieces", "ReplyReader"]

USAGE_WAIT = 5.0
"""Seconds in which the usage may follow the last word of an answer."""
END_WAIT = 0.2
"""Seconds in which a response may end after [DONE], so that its connection can serve again."""
DONE = "[DONE]"
PIECE_CHARACTERS = 32 * 1024
"""Of the answer, given at once."""
MAX_HEAD_BYTES = 64 * 1024
"""White space before a reply begins."""

Pieces = AsyncGenerator[str | Thinking | Completion, None]


class _Folded:
    """What the events that came together bring: given as one piece, so that many small ones cost little."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.thought = 0
        self.thought_texts: list[str] = []

    @property
    def pieces(self) -> list[str | Thinking]:
        text = "".join(self.texts)
        parts = [text[i : i + PIECE_CHARACTERS] for i in range(0, len(text), PIECE_CHARACTERS)]
        thought = "".join(self.thought_texts)
        return [*([Thinking(self.thought, thought)] if self.thought or thought else []), *parts]


class ReplyReader:
    """Reads the reply to one attempt of a call.

    Args:
        model: its name.
        key: of the endpoint; cut out of what it says.
        read: returns the next bytes, none at the end, or raises ModelError when none come for so many seconds.
        idle: seconds that may pass between two pieces.
        caps: of what is read.
        hold: the model is known to begin with a thought that no tag opens.
    """

    def __init__(
        self,
        model: str,
        key: str | None,
        read: Callable[[float], Awaitable[bytes]],
        idle: float,
        caps: ReplyCaps = ReplyCaps(),  # noqa: B008  (frozen)
        *,
        hold: bool = False,
    ) -> None:
        self._model, self._key, self._read_chunk, self._idle, self._caps = model, key, read, idle, caps
        self._bytes = 0
        self._builder = CompletionBuilder(key, hold=hold)
        self._first_token: float | None = None

    @property
    def lacks_opening(self) -> bool:
        """Return whether the reply began with a thought that no tag opened."""
        return self._builder.lacks_opening

    async def _read(self, idle: float) -> bytes:
        """Return the next bytes. Raises ModelError where none come in time, or too many have come."""
        chunk = await self._read_chunk(idle)
        self._bytes += len(chunk)
        if self._bytes > self._caps.reply_bytes:
            reason = f"the reply is larger than {self._caps.reply_bytes} bytes"
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
        data = await self._read_body(head)
        if len(data) > LARGE:
            completion = await run_large(self._parse_body, data, started)
        else:
            completion = self._parse_body(data, started)
        folded = _Folded()
        folded.texts.append(completion.text)
        if completion.thought:
            folded.thought, folded.thought_texts = completion.thought_length, [completion.thought]
        for piece in folded.pieces:
            yield piece
        yield completion

    def _parse_body(self, data: bytes, started: float) -> Completion:
        body = wire.parse_body(self._model, data, self._key)
        return parse_completion(self._model, body, monotonic() - started, self._key)

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
            if len(data) > self._caps.body_bytes:
                raise InvalidResponse(self._model, f"the reply is larger than {self._caps.body_bytes} bytes")
        return bytes(data)

    async def _read_stream(self, head: bytes, started: float) -> Pieces:
        """Fold the events of a streamed completion; yield its text as it comes, then the whole."""
        builder = self._builder
        done = False
        try:
            async with aclosing(self._batches(head)) as batches:
                async for events in batches:
                    folded = _Folded()
                    done = await self._fold_all(events, folded, started)
                    for number, piece in enumerate(folded.pieces):
                        if number > 1:
                            await asyncio.sleep(0)
                        yield piece
                    if done:
                        break
        except ModelError as e:
            self._check_lost_connection(e)
        if not done and builder.finish_reason is None:
            raise self._cut_off()
        text = builder.end()
        if thought := builder.take_thought_text():
            yield Thinking(builder.take_thought(), thought)
        if text:
            yield text
        completion = builder.completion(self._model, monotonic() - started, self._first_token)
        if done:
            with suppress(ModelError):
                await self._read(END_WAIT)
        yield completion

    async def _fold_all(self, events: Sequence[SSEEvent], folded: _Folded, started: float) -> bool:
        """Add the chunks that came together, and what they bring to `folded`; return whether they end the reply.

        Where one of them is an error, or says that the endpoint broke off, none of their text is given: what was not
        shown need not be taken back.

        Raises:
            ModelError: one of them is an error, or no chunk.
        """
        texts: list[str] = []
        for event in events:
            if not event.name and (text := read_plain_text(event.data)) is not None:
                texts.append(text)
                continue
            if texts:
                self._fold(partial(self._builder.add_text, "".join(texts)), folded, started)
                texts = []
            if event.data == DONE:
                return True
            if len(event.data) > LARGE:
                await run_large(self._fold, partial(self._read_event, event), folded, started)
            else:
                self._fold(partial(self._read_event, event), folded, started)
        if texts:
            self._fold(partial(self._builder.add_text, "".join(texts)), folded, started)
        return False

    def _read_event(self, event: SSEEvent) -> str:
        return self._builder.add(wire.parse_chunk(self._model, event, self._key))

    def _fold(self, add: Callable[[], str], folded: _Folded, started: float) -> None:
        """Add to the builder, and what that brings to `folded`. Raises ModelError."""
        was_restarted = self._builder.is_restarted
        text = add()
        thought = self._builder.take_thought()
        if self._first_token is None and (text or thought):
            self._first_token = monotonic() - started
        if self._builder.is_restarted and not was_restarted:
            folded.texts.clear()
        folded.thought += thought
        folded.thought_texts.append(self._builder.take_thought_text())
        folded.texts.append(text)
        if self._builder.is_broken_off:
            folded.thought = 0
            folded.thought_texts.clear()
            folded.texts.clear()
        if self._builder.text_length > self._caps.answer_bytes:
            raise InvalidResponse(self._model, f"the answer is longer than {self._caps.answer_bytes} bytes")

    async def _batches(self, head: bytes) -> AsyncGenerator[Sequence[SSEEvent], None]:
        """Yield the events that came together and have data, "[DONE]" as such; one cut in half at the end is left out.

        Raises:
            InvalidResponse: one is too large, or so much comes without any.
        """
        parser = SSEParser()
        chunk, without_event = head, 0
        while chunk:
            without_event += len(chunk)
            if events := [part for event in parser.feed(chunk) for part in split_event(event)]:
                without_event = 0
                yield events
            elif without_event > self._caps.event_bytes:
                reason = f"no event ended within {self._caps.event_bytes} bytes of the stream"
                raise InvalidResponse(self._model, reason, produced=self._first_token is not None)
            chunk = await self._read(min(USAGE_WAIT, self._idle) if self._builder.finish_reason else self._idle)
        if events := [
            part
            for event in parser.end()
            for part in split_event(event)
            if part.data == DONE or isinstance(wire.decode_json(part.data), dict)
        ]:
            yield events

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
