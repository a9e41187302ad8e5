"""The calls of one layer while they run: who is late, who is replaced, and when enough has been heard.

Knows nothing of what is asked: whoever makes a call is given to it, and says what happens by `Call.say`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from time import perf_counter
from typing import Any, Literal

from msgspec import Struct

from routemoa.core.events import Event, ProposalFailed
from routemoa.core.types import ModelSpec, Purpose

__all__ = ["WAIT_FOR_ALL", "CallGroup", "LayerCall", "WaitPolicy"]

Said = Event | Literal["begun", "ended"]


class WaitPolicy(Struct, frozen=True):
    """How long a layer is waited for.

    Attributes:
        seconds: the layer's time; None is no limit.
        late: for each model, seconds after which its first token is late: the reserve's next is then asked as well.
        enough: whether the answers heard so far suffice, asked when one has come in while others are under way.
    """

    seconds: float | None = None
    hedge_after: Mapping[str, float] = {}
    enough: Callable[[], bool] | None = None


WAIT_FOR_ALL = WaitPolicy()
"""All are waited for."""


class LayerCall:
    """One call under way.

    Attributes:
        hedge: it was begun because another one is late.
        cut: why we ended it; None where we did not.
    """

    def __init__(self, spec: ModelSpec, purpose: Purpose, said: asyncio.Queue[tuple[LayerCall, Said]]) -> None:
        self.spec, self.purpose = spec, purpose
        self.cut: str | None = None
        self.started = perf_counter()
        self.first = False  # a first token has come
        self.failed = False
        self.rival: LayerCall | None = None  # the other one of a hedged pair
        self.task: asyncio.Task[None] | None = None
        self._said = said

    @property
    def hedge(self) -> bool:
        """Whether it stands in for a call that is late."""
        return self.purpose == "hedge"

    def say(self, event: Event) -> None:
        """Something happened."""
        self._said.put_nowait((self, event))

    def begun(self) -> None:
        """A first token has come. Of a hedged pair, whoever begins first goes on, whenever that is heard of."""
        if not self.first:
            self.first = True
            if self.rival is not None and not self.rival.first:
                waited = perf_counter() - self.rival.started
                self.rival.end(f"no first token for {waited:.2f} s: {self.spec.name} was faster")
            self._said.put_nowait((self, "begun"))

    def end(self, why: str) -> None:
        """Cut it."""
        if self.cut is None and self.task is not None and not self.task.done():
            self.cut = why
            self.task.cancel()


class CallGroup:
    """All calls of a layer.

    Args:
        propose: makes a call and says what comes of it.
        reserve: who takes the place of a model that fails, and is asked as well where one is late; best first.
    """

    def __init__(
        self,
        propose: Callable[[LayerCall], Coroutine[Any, Any, None]],
        reserve: Sequence[ModelSpec],
        waiting: WaitPolicy,
    ) -> None:
        self._propose = propose
        self._reserve = list(reserve)
        self._waiting = waiting
        self._said: asyncio.Queue[tuple[LayerCall, Said]] = asyncio.Queue()
        self._calls: list[LayerCall] = []
        self._running: set[LayerCall] = set()
        self._leader: ModelSpec | None = None
        self._held: list[ModelSpec] = []  # who begins once the leader has
        self._ends = None if waiting.seconds is None else perf_counter() + waiting.seconds
        self._ended = False  # all that were under way have been cut
        self._results: list[BaseException | None] = []

    @property
    def running(self) -> bool:
        """Whether there is more to hear."""
        return bool(self._running or self._held)

    def begin(self, selected: Sequence[ModelSpec], after: ModelSpec | None = None) -> None:
        """Call all at once; with `after` the local ones among them once its first token is there."""
        self._leader = after
        self._held = [m for m in selected if after is not None and m.local and m is not after]
        for spec in selected:
            if spec not in self._held:
                self._call(spec, "proposal")

    async def heard(self) -> Event | None:
        """What comes next; None where it is of no interest to others."""
        due = self._due()
        wait = None if due is None else due - perf_counter()
        if wait is not None and wait <= 0.0:  # whatever else there is to hear: it may never end
            self._on_time()
            return None
        try:
            async with asyncio.timeout(wait):
                call, said = await self._said.get()
        except TimeoutError:
            self._on_time()
            return None
        if said == "begun":
            self._release(call)
        elif said == "ended":
            self._on_end(call)
        else:
            if isinstance(said, ProposalFailed):
                self._on_failure(call, said)
            return said
        return None

    async def end(self) -> None:
        """Cancel what is under way, and wait for it."""
        tasks = [c.task for c in self._calls if c.task is not None]
        for task in tasks:
            task.cancel()
        self._results = await asyncio.gather(*tasks, return_exceptions=True)

    def check(self) -> None:
        """Raise what no call may raise: a defect of ours, which is not to be swallowed."""
        for call, result in zip(self._calls, self._results, strict=True):
            unheard = call.cut is not None and isinstance(result, asyncio.CancelledError)  # cut before it ever ran
            if isinstance(result, BaseException) and not unheard:
                raise result

    def _call(self, spec: ModelSpec, purpose: Purpose, rival: LayerCall | None = None) -> None:
        call = LayerCall(spec, purpose, self._said)
        if rival is not None:
            call.rival, rival.rival = rival, call
        self._calls.append(call)
        self._running.add(call)
        call.task = asyncio.create_task(self._propose(call))
        call.task.add_done_callback(lambda _: self._said.put_nowait((call, "ended")))

    def _late_at(self, call: LayerCall) -> float | None:
        """When a call's first token is late; None where that changes nothing."""
        usual = self._waiting.hedge_after.get(call.spec.name)
        if usual is None or call.first or call.rival is not None or call.spec.local or not self._reserve:
            return None
        return call.started + usual

    def _due(self) -> float | None:
        """When something has to be done, whatever is said until then."""
        if self._ended:
            return None
        times = [at for call in self._running if (at := self._late_at(call)) is not None]
        return min(times if self._ends is None else [*times, self._ends], default=None)

    def _on_time(self) -> None:
        now = perf_counter()
        if self._ends is not None and now >= self._ends:
            self._cut_all(f"not waited for: the {self._waiting.seconds:.1f} s of its layer were over")
            return
        for call in list(self._running):
            if (at := self._late_at(call)) is not None and at <= now:
                spec = next((m for m in self._reserve if not m.local), None)
                if spec is None:
                    self._waiting = WaitPolicy(self._waiting.seconds, {}, self._waiting.enough)
                    return
                self._reserve.remove(spec)
                self._call(spec, "hedge", call)

    def _on_end(self, call: LayerCall) -> None:
        self._running.discard(call)
        self._release(call)
        enough = self._waiting.enough
        if self._running and call.cut is None and enough is not None and enough():
            self._cut_all("not waited for: the answers heard suffice")

    def _on_failure(self, call: LayerCall, failed: ProposalFailed) -> None:
        """The next of the reserve takes its place, unless another already has or nobody is to."""
        call.failed, rival = True, call.rival
        paired = rival is not None and rival in self._running and rival.cut is None and not rival.failed
        if self._reserve and call.cut is None and not paired and not self._over:
            self._call(self._reserve.pop(0), "proposal")

    @property
    def _over(self) -> bool:
        """Whether nobody is called any more."""
        return self._ended or (self._ends is not None and perf_counter() >= self._ends)

    def _cut_all(self, why: str) -> None:
        self._ended = True
        self._held.clear()
        for call in self._running:
            call.end(why)

    def _release(self, call: LayerCall) -> None:
        """Those who waited for the leader begin."""
        if call.spec is not self._leader:
            return
        held, self._held = self._held, []
        for spec in held:
            self._call(spec, "proposal")
