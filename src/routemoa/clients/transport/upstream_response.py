"""An endpoint's response that is passed on: its bytes without the key, within the caps, in time."""

from __future__ import annotations

from collections.abc import Mapping

from routemoa.clients.connections.response import HttpResponse
from routemoa.clients.replies.redaction import KeyCutter
from routemoa.clients.transport.incoming import IncomingBody
from routemoa.clients.transport.passed_headers import pass_headers
from routemoa.clients.transport.timeouts import Timeouts
from routemoa.core.errors import InvalidResponse
from routemoa.core.tables.caps_table import ReplyCaps

__all__ = ["UpstreamResponse", "read_content_type"]

UNKNOWN_TYPE = "application/octet-stream"


class UpstreamResponse:
    """A response to be passed on byte for byte. It must be closed.

    Args:
        model: the name of the member that answers.
        response: its response.
        key: that is cut out of it.
        caps: of what is read.
        times: how long it is waited for.
        deadline: of the call, on the clock of `monotonic()`.
    """

    def __init__(
        self,
        model: str,
        response: HttpResponse,
        key: str | None,
        caps: ReplyCaps,
        *,
        times: Timeouts,
        deadline: float,
    ) -> None:
        self.caps = caps
        self.status = response.status
        self.content_type = read_content_type(response)
        self.headers: Mapping[str, str] = pass_headers(response.headers.items(), key)
        """Those that a caller may read."""
        self._model, self._response, self._times, self._deadline = model, response, times, deadline
        self._incoming = IncomingBody(model, response)
        self._cutter = KeyCutter(key)
        self._size = 0

    async def read(self) -> bytes:
        """Return the next bytes; none at the end. Raises ModelError."""
        while not self._incoming.is_at_end and (chunk := await self._read_chunk()):
            if not self._cutter.has_key:
                return chunk
            if kept := self._cutter.feed(chunk.decode("latin-1")):
                return kept.encode("latin-1")
        return self._cutter.end().encode("latin-1")

    async def _read_chunk(self) -> bytes:
        wait, reason = self._times.bound_wait(self._times.idle, "nothing came for", self._deadline)
        chunk = await self._incoming.read_within(wait, reason)
        self._size += len(chunk)
        if self._size > self.caps.reply_bytes:
            reason = f"the reply is larger than {self.caps.reply_bytes} bytes"
            raise InvalidResponse(self._model, reason, produced=True)
        return chunk

    def close(self) -> None:
        """Give its connection back, or close it where the response is not at its end."""
        self._response.leave()


def read_content_type(response: HttpResponse) -> str:
    """Return the content type with its charset, as the endpoint writes it where that can be passed on."""
    declared = response.headers.get("content-type", "")
    return declared if declared.isascii() and declared.isprintable() and declared else UNKNOWN_TYPE
