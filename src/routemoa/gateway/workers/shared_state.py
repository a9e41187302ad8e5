"""What the workers of a server share, in a folder that the supervisor makes; and each one's part of the caps."""

from __future__ import annotations

import math
from contextlib import suppress
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from routemoa.core.tables.server_table import ServerSettings
from routemoa.gateway.workers.shared_board import BoardExchange
from routemoa.gateway.workers.shared_conversations import SharedConversations
from routemoa.gateway.workers.shared_metrics import StateExchange, use_shared_counters
from routemoa.gateway.workers.shared_rates import SharedRates, end_streams

__all__ = ["SharedState", "divide_caps", "forget_worker", "open_shared_state"]

RATES, CONVERSATIONS, METRICS, BOARDS = "rates", "conversations", "metrics", "boards"


class SharedState(Struct, frozen=True):
    """The shared parts, as one worker uses them."""

    number: int
    """Of the worker, from 1."""
    rates: SharedRates
    conversations: SharedConversations
    states: StateExchange
    boards: BoardExchange

    def close(self) -> None:
        """Close the files."""
        self.rates.close()
        self.conversations.close()


def open_shared_state(folder: Path, number: int, secret: bytes) -> SharedState:
    """Return what a worker shares with the others; call it before the first metric is made.

    Args:
        folder: of this server.
        number: of the worker, from 1.
        secret: of this server.
    """
    for name in (METRICS, BOARDS):
        with suppress(FileExistsError):
            (folder / name).mkdir(mode=0o700)
    use_shared_counters(folder / METRICS, number)
    return SharedState(
        number,
        SharedRates(folder / RATES, number),
        SharedConversations(folder / CONVERSATIONS, secret),
        StateExchange(folder / METRICS, number),
        BoardExchange(folder / BOARDS, number),
    )


async def forget_worker(folder: Path, number: int) -> None:
    """Give back what a worker that has died held."""
    await end_streams(folder / RATES, number)


def divide_caps(settings: ServerSettings, workers: int) -> ServerSettings:
    """Return the settings of one of so many workers: its part of the caps on connections, rounded up.

    A cap that is left out follows from the descriptors, of which each process has its own.
    """
    most, of_address = settings.max_connections, settings.max_connections_per_address
    return replace(
        settings,
        max_connections=None if most is None else math.ceil(most / workers),
        max_connections_per_address=None if of_address is None else math.ceil(of_address / workers),
    )
