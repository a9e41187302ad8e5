"""What the server's APIs differ in: how a request is read, and how its answer and its errors are written.

`chat` answers them all. `ChatApi` is OpenAI's chat completions; `responses_api` and `messages_api` put their requests
into its words, and its answers into theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from routemoa.core.errors import QueryError
from routemoa.core.events import Event
from routemoa.gateway.chat_api.requests import ChatRequest, parse_chat_request
from routemoa.gateway.chat_api.responses import ChatCompletion
from routemoa.gateway.chat_api.sse import KEEP_ALIVE_COMMENT, ChunkEncoder, EventEncoder, StreamEncoder, encode_sse
from routemoa.gateway.errors import ErrorResponse
from routemoa.gateway.members.member_routes import CHAT, MemberRoute

__all__ = [
    "AnswerEncoder",
    "Api",
    "ApiRequest",
    "ChatApi",
    "ChunkTranslator",
    "MemberApi",
    "TranslatedRequest",
    "encode_named",
]


class AnswerEncoder(StreamEncoder, Protocol):
    """Turns events into the bytes of an API's stream, and what else a stream may hold."""

    def encode_keep_alive(self) -> bytes:
        """Return bytes that keep a quiet stream open."""
        ...

    def encode_error(self, response: ErrorResponse) -> bytes:
        """Return the last event of a stream that fails."""
        ...


Earlier = Sequence[Mapping[str, Any]]
"""Messages of a conversation, as a chat has them."""


class ApiRequest(Protocol):
    """One request, and how its answer is written."""

    @property
    def is_stored(self) -> bool:
        """Return whether its caller lets the answer be kept."""
        ...

    @property
    def instructions(self) -> int:
        """Return how many messages at the beginning hold for this response alone."""
        ...

    @property
    def chat(self) -> ChatRequest:
        """Return what it asks for."""
        ...

    def to_body(self, completion: ChatCompletion) -> dict[str, Any]:
        """Return the answer in one piece."""
        ...

    def new_encoder(self, completion: ChatCompletion) -> AnswerEncoder:
        """Return what encodes the answer as a stream."""
        ...


class Api(Protocol):
    """One API."""

    route: MemberRoute | None
    """Of an endpoint, where a member that is named gets the request as it is; else its answer is read and written
    again."""

    def read(self, body: Mapping[str, Any], *, pass_unknown: bool = False, earlier: Earlier = ()) -> ApiRequest:
        """Read a request for a method.

        Args:
            body: of the request.
            pass_unknown: send the members fields that are not known.
            earlier: the messages of the conversation before those of the request, as a chat has them.

        Raises:
            QueryError: it is malformed, or asks for what a mixture cannot do; `param` names the field.
        """
        ...

    def shape_error(self, response: ErrorResponse) -> dict[str, Any]:
        """Return the body of an error."""
        ...


# --- chat completions


class ChatApi:
    """OpenAI's chat completions."""

    route: MemberRoute | None = CHAT

    def read(self, body: Mapping[str, Any], *, pass_unknown: bool = False, earlier: Earlier = ()) -> ApiRequest:
        """Read a request for a method. Raises QueryError."""
        return _PlainRequest(parse_chat_request(body, pass_unknown=pass_unknown))

    def shape_error(self, response: ErrorResponse) -> dict[str, Any]:
        """Return the body of an error."""
        return response.body


class _PlainRequest:
    is_stored = True
    instructions = 0

    def __init__(self, chat: ChatRequest) -> None:
        self.chat = chat

    def to_body(self, completion: ChatCompletion) -> dict[str, Any]:
        return completion.to_completion()

    def new_encoder(self, completion: ChatCompletion) -> AnswerEncoder:
        if completion.mode == "events":
            return _PlainEncoder(EventEncoder(completion), b"event: error\n")
        return _PlainEncoder(ChunkEncoder(completion, include_usage=self.chat.include_usage), b"")


class _PlainEncoder:
    def __init__(self, encoder: StreamEncoder, error_name: bytes) -> None:
        self._error_name = error_name
        self.encode_event, self.encode_end = encoder.encode_event, encoder.encode_end

    def encode_keep_alive(self) -> bytes:
        return KEEP_ALIVE_COMMENT

    def encode_error(self, response: ErrorResponse) -> bytes:
        return self._error_name + encode_sse(response.body)


# --- APIs that are translated from it


class ChunkTranslator(Protocol):
    """Builds another API's answer from the chunks of a chat completion, and its events on the way."""

    def add(self, chunk: Mapping[str, Any]) -> bytes:
        """Take a chunk and return the events that follow from it."""
        ...

    def end(self) -> bytes:
        """Return the last events."""
        ...

    def build(self) -> dict[str, Any]:
        """Return the answer so far in one piece."""
        ...

    def keep_alive(self) -> bytes:
        """Return bytes that keep a quiet stream open."""
        ...

    def fail(self, response: ErrorResponse) -> bytes:
        """Return the last events of a stream that fails."""
        ...


class TranslatedRequest:
    """A request whose answer is translated.

    Args:
        chat: what it asks for.
        new_translator: of the answer, whose head is given: `id`, `created` and `model` of the chat completion.
        is_stored: whether the caller lets its answer be kept.
        instructions: messages at the beginning that hold for this response alone.
    """

    def __init__(
        self,
        chat: ChatRequest,
        new_translator: Callable[[Mapping[str, Any]], ChunkTranslator],
        *,
        is_stored: bool = True,
        instructions: int = 0,
    ) -> None:
        self.chat = chat
        self.is_stored = is_stored
        self.instructions = instructions
        self._new_translator = new_translator

    def to_body(self, completion: ChatCompletion) -> dict[str, Any]:
        """Return the answer in one piece: what a stream of one chunk comes to."""
        whole = completion.to_completion()
        choice = whole["choices"][0]
        translator = self._new_translator(completion.head)
        translator.add({**whole, "choices": [{**choice, "delta": choice["message"]}]})
        translator.end()
        return translator.build()

    def new_encoder(self, completion: ChatCompletion) -> AnswerEncoder:
        """Return what encodes the answer as a stream."""
        chunks = ChunkEncoder(completion, include_usage=True)
        return _TranslatingEncoder(chunks, self._new_translator(completion.head))


class _TranslatingEncoder:
    def __init__(self, chunks: ChunkEncoder, translator: ChunkTranslator) -> None:
        self._chunks, self._translator = chunks, translator

    def encode_event(self, event: Event) -> bytes:
        return self._translate(self._chunks.encode_event(event))

    def encode_end(self) -> bytes:
        return self._translate(self._chunks.encode_end()) + self._translator.end()

    def encode_keep_alive(self) -> bytes:
        return self._translator.keep_alive()

    def encode_error(self, response: ErrorResponse) -> bytes:
        return self._translator.fail(response)

    def _translate(self, data: bytes) -> bytes:
        return b"".join(map(self._translator.add, _decode_chunks(data)))


def _decode_chunks(data: bytes) -> Iterator[dict[str, Any]]:
    """Yield the chunks that `ChunkEncoder` encoded."""
    for event in data.split(b"\n\n"):
        text = event.removeprefix(b"data: ")
        if text and text != b"[DONE]":
            chunk: dict[str, Any] = msgspec.json.decode(text)
            yield chunk


def encode_named(event: Mapping[str, Any]) -> bytes:
    """Encode one server-sent event under the name that its `type` is."""
    return f"event: {event['type']}\n".encode() + encode_sse(event)


# --- routes for members alone


class MemberApi:
    """A route that only a member's endpoint has, such as embeddings: a mixture there is an error.

    Args:
        route: of the endpoint.
        what: a mixture does not have.
    """

    def __init__(self, route: MemberRoute, what: str) -> None:
        self.route: MemberRoute | None = route
        self._what = what

    def read(self, body: Mapping[str, Any], *, pass_unknown: bool = False, earlier: Earlier = ()) -> ApiRequest:
        """Refuse a request for a method. Raises QueryError."""
        message = f"a mixture has no {self._what}; name one model of the pool as `model` (GET /v1/models)"
        raise QueryError(message, "model")

    def shape_error(self, response: ErrorResponse) -> dict[str, Any]:
        """Return the body of an error."""
        return response.body
