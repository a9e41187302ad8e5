"""The state of a chat: its messages, its last turn, what it has cost; and how a turn is answered."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Coroutine
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace
from rich.console import Console

from routemoa.cli.terminal.session import AnswerWriter, run_query
from routemoa.cli.terminal.summary import summarize_answer
from routemoa.clients.http import HttpClient
from routemoa.core.chat.conversations import ConversationMemory
from routemoa.core.errors import RouteMoAError
from routemoa.core.pool_file.pool import Pool
from routemoa.core.protocols import Method
from routemoa.core.text.dollars import format_dollars
from routemoa.core.text.printable import printable
from routemoa.core.trace import Trace
from routemoa.core.trace_builder import TraceBuilder
from routemoa.core.types import Limits, Message, PreferenceName, Query
from routemoa.ledger import Store
from routemoa.mixture.method_registry import build_method

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Conversation", "Spending", "Turn"]


@dataclass
class Turn:
    """A question and what led to its answer."""

    question: str
    trace: TraceBuilder = field(default_factory=TraceBuilder)
    is_kept: bool = False
    """Whether it is part of the conversation that later turns send."""


@dataclass
class Spending:
    """What the turns of a chat have cost."""

    dollars: float = 0.0
    """Of all calls whose cost is known, and the most that the others can have cost."""
    is_exact: bool = True
    is_complete: bool = True
    """Whether nothing is missing for want of a price."""

    def add(self, trace: Trace) -> None:
        """Add what one turn has cost."""
        cost = trace.charged if trace.cost is None else trace.cost
        self.is_exact &= trace.cost is not None
        self.is_complete &= cost is not None
        self.dollars += cost or 0.0

    def __str__(self) -> str:
        if not self.is_complete:
            return f"{format_dollars(self.dollars)} and calls of unknown cost" if self.dollars else "cost unknown"
        return format_dollars(self.dollars) if self.is_exact else f"at most {format_dollars(self.dollars)}"


class Conversation:
    """A conversation with the models of a pool.

    Args:
        pool: the models.
        client: calls them.
        store: records the calls, if there is a ledger.
        console: where everything but the answers is shown.
        limits: of each turn.
        prefer: of each turn that `routemoa` answers, the one method with a trade-off to choose.
        messages: of an earlier conversation, and the system message.

    Raises:
        ConfigError: there is no method of that name.
    """

    def __init__(
        self,
        pool: Pool,
        client: HttpClient,
        store: Store | None,
        console: Console,
        *,
        method: str,
        limits: Limits,
        prefer: PreferenceName | None = None,
        messages: tuple[Message, ...] = (),
    ) -> None:
        self.pool = pool
        self.messages, self.last = _split_last_turn(messages)
        self.spending = Spending()
        self.turns = 0
        self.failures = 0
        self.answered = 0
        self.console = console
        self._client, self._store, self._limits, self._prefer = client, store, limits, prefer
        self._memory = ConversationMemory()
        self._methods: dict[str, Method] = {}
        self.method = self._find_method(method)

    def use_method(self, name: str) -> None:
        """Answer later turns with another method. Raises ConfigError."""
        self.method = self._find_method(name)

    def clear(self) -> None:
        """Forget all turns but the system message."""
        self.messages = tuple(m for m in self.messages[:1] if m.role == "system")
        self.last = None

    async def ask(self, question: str) -> None:
        """Answer the next turn, on standard output. A failure or Ctrl-C ends the turn, never the conversation."""
        turn = self.last = Turn(question)
        self.turns += 1
        writer = AnswerWriter(self.console)
        mode = self._limits.stream_mode or ("final" if writer.live else None)
        query = Query(
            (*self.messages, Message("user", question)),
            limits=replace(self._limits, stream_mode=mode),
            prefer=self._prefer if self.method.name == "routemoa" else None,
        )
        query = self._memory.attach(query, self.method.name)
        try:
            finished = await _run_until_interrupt(self._answer(query, turn, writer))
        except RouteMoAError as e:
            self._report_failure(str(e), turn)
            return
        except BrokenPipeError:  # nothing can be shown any more
            raise
        except Exception as e:  # a defect must not cost the user the conversation
            self._report_failure(f"this is a defect of routemoa, please report it: {type(e).__name__}: {e}", turn)
            return
        self.spending.add(turn.trace.trace)
        if finished:
            self.answered += 1
            self._memory.remember(turn.trace.answer)
            self._keep(turn)
            so_far = f"chat so far {self.spending} · " if self.turns > 1 else ""
            self._show(summarize_answer(turn.trace.answer, f"{so_far}why: /why"))
        elif writer.live and turn.trace.text.strip():
            self._keep(turn)
            self._show("stopped; the answer so far is part of the conversation; /retry asks again")
        else:
            self._show("stopped; the question is not part of the conversation; /retry asks it again")

    async def retry(self) -> None:
        """Ask the last question again, without its answer."""
        if self.last is None:
            self._show("nothing was asked yet")
            return
        if self.last.is_kept:
            self.messages = self.messages[:-2]
        await self.ask(self.last.question)

    async def _answer(self, query: Query, turn: Turn, writer: AnswerWriter) -> None:
        recorder = None if self._store is None else self._store.recorder(None, self.method.name)
        writer.begin()
        try:
            await run_query(self.method, query, None, writer, trace=turn.trace, recorder=recorder)
        finally:
            writer.close()

    def _keep(self, turn: Turn) -> None:
        """Make a turn part of the conversation."""
        turn.is_kept = True
        self.messages += (Message("user", turn.question), Message("assistant", turn.trace.text))

    def _report_failure(self, reason: str, turn: Turn) -> None:
        self.failures += 1
        self.spending.add(turn.trace.trace)
        self._show(f"{reason}; the conversation goes on without this turn: /retry asks again, /why shows what happened")

    def _find_method(self, name: str) -> Method:
        if name not in self._methods:
            self._methods[name] = build_method(self.pool, name, self._client)
        return self._methods[name]

    def _show(self, line: str) -> None:
        is_terminal = self.console.is_terminal
        self.console.print(printable(line), style="dim", highlight=False, markup=False, soft_wrap=not is_terminal)
        if is_terminal:
            self.console.print()


def _split_last_turn(messages: tuple[Message, ...]) -> tuple[tuple[Message, ...], Turn | None]:
    """Return what later turns send and the last turn, if there is one; a question without an answer is not sent."""
    roles = [m.role for m in messages[-2:]]
    if roles[-1:] == ["user"]:
        return messages[:-1], Turn(messages[-1].content)
    return messages, Turn(messages[-2].content, is_kept=True) if roles == ["user", "assistant"] else None


async def _run_until_interrupt(work: Coroutine[Any, Any, None]) -> bool:
    """Do the work and return whether it came to its end; Ctrl-C cancels it and nothing else."""
    task = asyncio.create_task(work)
    with _on_interrupt(task), _without_echo():
        await asyncio.wait([task])
    if task.cancelled():
        return False
    task.result()
    return True


@contextmanager
def _without_echo() -> Iterator[None]:
    """Keep what is typed meanwhile off the screen: it appears at the next prompt."""
    try:
        import termios
    except ImportError:  # Windows
        yield
        return
    if not sys.stdin.isatty():
        yield
        return
    terminal = sys.stdin.fileno()
    earlier = termios.tcgetattr(terminal)
    termios.tcsetattr(terminal, termios.TCSANOW, [*earlier[:3], earlier[3] & ~termios.ECHO, *earlier[4:]])
    try:
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSANOW, earlier)


@contextmanager
def _on_interrupt(task: asyncio.Task[None]) -> Iterator[None]:
    """Cancel the task on Ctrl-C, where the platform lets the loop handle signals; cancel it too if we are cancelled."""
    loop, earlier = asyncio.get_running_loop(), signal.getsignal(signal.SIGINT)
    with suppress(NotImplementedError):  # Windows: Ctrl-C ends the chat
        loop.add_signal_handler(signal.SIGINT, task.cancel)
    try:
        yield
    finally:
        with suppress(NotImplementedError):
            loop.remove_signal_handler(signal.SIGINT)
        signal.signal(signal.SIGINT, earlier)
        task.cancel()
