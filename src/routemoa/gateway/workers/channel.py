"""Messages between the supervisor and a worker: a JSON object a line, over a pair of sockets."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from typing import Any

import msgspec
from msgspec import Struct

__all__ = ["Channel", "Failed", "Message", "Ready", "Reload", "Reloaded"]


class Ready(Struct, frozen=True, tag=True):
    """The worker accepts requests."""


class Failed(Struct, frozen=True, tag=True):
    """The worker ends, for this reason."""

    reason: str
    """One line."""
    exit_code: int


class Reload(Struct, frozen=True, tag=True):
    """Read the pool file again: to a worker, that one does; from a worker, all others do."""

    id: int


class Reloaded(Struct, frozen=True, tag=True):
    """The answer to `Reload`."""

    id: int
    error: str | None = None
    """One line where the file was refused."""


Message = Ready | Failed | Reload | Reloaded
DECODER: msgspec.json.Decoder[Any] = msgspec.json.Decoder(Message)


class Channel:
    """One end of a pair of connected sockets. Messages are few and short, so that sending never waits.

    Args:
        sock: connected; the channel closes it.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._socket.setblocking(False)
        self._rest = b""

    def send(self, message: Message) -> None:
        """Send a message; it is lost where the other process is gone."""
        with suppress(OSError):
            self._socket.sendall(msgspec.json.encode(message) + b"\n")

    async def receive(self) -> Message | None:
        """Return the next message; None once the other process is gone."""
        loop = asyncio.get_running_loop()
        while b"\n" not in self._rest:
            try:
                data = await loop.sock_recv(self._socket, 65_536)
            except OSError:
                data = b""
            if not data:
                return None
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\n")
        message: Message = DECODER.decode(line)
        return message

    def close(self) -> None:
        """Close this end."""
        self._socket.close()
