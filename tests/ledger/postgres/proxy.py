"""A TCP proxy before a PostgreSQL server that cuts a connection at the COMMIT of a transaction."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from typing import Literal

__all__ = ["CuttingProxy"]

COMMIT = b"COMMIT\0"
"""As it stands in the message that executes the statement."""


class CuttingProxy:
    """Passes bytes on; once `cut` is set, the next COMMIT ends its connection and `cut` is None again.

    With "before" the server does not get the COMMIT; with "after" it does, and the client gets no answer.
    """

    def __init__(self, port: int) -> None:
        self.cut: Literal["before", "after"] | None = None
        self.cuts = 0
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()

    def _accept(self) -> None:
        with self._listener, suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._pass_on, args=(client,), daemon=True).start()

    def _pass_on(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self._target)) as server:
            is_cut = threading.Event()
            answers = threading.Thread(target=self._answer, args=(server, client, is_cut), daemon=True)
            answers.start()
            self._send(client, server, is_cut)
            answers.join()

    def _send(self, client: socket.socket, server: socket.socket, is_cut: threading.Event) -> None:
        with suppress(OSError):
            while data := client.recv(65_536):
                if self.cut is not None and COMMIT in data:
                    how, self.cut = self.cut, None
                    self.cuts += 1
                    is_cut.set()
                    if how == "after":
                        server.sendall(data)
                        time.sleep(0.1)  # the server commits, and answers
                    client.shutdown(socket.SHUT_RDWR)
                    break
                server.sendall(data)
        with suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)

    def _answer(self, server: socket.socket, client: socket.socket, is_cut: threading.Event) -> None:
        with suppress(OSError):
            while (data := server.recv(65_536)) and not is_cut.is_set():
                client.sendall(data)
        with suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)
