"""Sparse Mixture-of-Agents (arXiv 2411.03284): everybody answers in a role; a moderator passes on only the best."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from msgspec.structs import replace

from routemoa.core.events import CallFinished, Event, Stopped
from routemoa.core.pool import Pool
from routemoa.core.protocols import Client
from routemoa.core.trace import Fold
from routemoa.core.types import ModelSpec, Proposal, Query
from routemoa.mixture import aggregator, layer, prompts
from routemoa.mixture import reply_parser as replies
from routemoa.mixture.baselines.base import Baseline
from routemoa.mixture.baselines.best_single import best, writers
from routemoa.mixture.baselines.steps import answers, call, failed, nobody, propose, standing
from routemoa.mixture.budget.metering import Desk

__all__ = ["SMoA"]


class SMoA(Baseline):
    """Models x layers calls, one for the moderator after each layer, one for the aggregator, one for all roles ever.

    Not as in the paper: its judge (who selects) and its moderator (who ends the debate) are one call here; its roles
    are written for a task, here once for a pool.
    """

    def __init__(self, pool: Pool, client: Client) -> None:
        super().__init__("smoa", client, pool.contract)
        self.pool = pool
        self.best = best(pool).spec
        self._roles: tuple[str, ...] | None = None  # written with the first query
        self._writing = asyncio.Lock()

    async def walk(self, query: Query, so_far: Fold, desk: Desk) -> AsyncGenerator[Event, None]:
        """Roles (once), layers with a moderator after each, then the aggregator."""
        async with aclosing(self._write_roles(desk)) as events:
            async for event in events:
                yield event
        cast, limit, keep = self._cast(), self.pool.mixture.dense_layers, self.pool.mixture.dense_panel
        kept: tuple[Proposal, ...] = ()
        reason = f"last layer: {limit} of {limit}"
        for number in range(1, limit + 1):
            models = standing(cast, so_far.trace)
            if not models:
                reason = "no model left to call"
                break
            async with aclosing(propose(layer.Plan(number, query, kept), models, desk)) as events:
                async for event in events:
                    yield event
            if not so_far.trace.layers[-1].proposals:
                continue  # what was kept before stands
            kept = answers(so_far.trace, cast)
            able = writers(self.pool, self.best, failed(so_far.trace))
            if not able or (number == limit and len(kept) <= keep):
                continue  # there is nothing left to decide
            ends = False
            async with aclosing(self._moderate(query, kept, keep, able[0], desk)) as events:
                async for event in events:
                    yield event
                    if isinstance(event, CallFinished) and event.reply:
                        kept, ends = self._verdict(kept, keep, event.reply.text)
            if ends and number < limit:
                reason = f"ended by the moderator, {able[0].name}, after layer {number} of {limit}"
                break
        if not kept:
            raise nobody(so_far.trace, desk)
        yield Stopped(reason)

        able = writers(self.pool, self.best, failed(so_far.trace))
        async with aclosing(aggregator.write(query, kept, able, desk)) as events:
            async for event in events:
                yield event

    def _moderate(
        self, query: Query, given: Sequence[Proposal], keep: int, by: ModelSpec, desk: Desk
    ) -> AsyncGenerator[Event, None]:
        """Response selection and early stopping, in one call."""
        messages = prompts.moderation(query.messages, [p.text for p in given], min(keep, len(given)))
        return call("moderator", by, messages, desk)

    def _verdict(self, given: tuple[Proposal, ...], keep: int, said: str) -> tuple[tuple[Proposal, ...], bool]:
        """The answers to keep, best first, and whether the debate ends; all of them and no, where it is unreadable."""
        labels = prompts.labels(len(given))
        verdict = replies.verdict(said, labels)
        by_label = dict(zip(labels, given, strict=True))
        kept = tuple(by_label[label] for label in verdict.best[:keep])
        return kept or given, verdict.done

    async def _write_roles(self, desk: Desk) -> AsyncGenerator[Event, None]:
        """Role playing: one call by the best model, by the first query that comes; the others wait for it.

        One whose time is limited does not wait, and takes the built-in roles.
        """
        if self._writing.locked() and desk.seconds_left is not None:
            return
        async with self._writing:
            if self._roles is None:
                written: tuple[str, ...] = ()
                messages = prompts.role_writing(len(self.pool))
                async with aclosing(call("roles", self.best, messages, desk)) as events:
                    async for event in events:
                        yield event
                        if isinstance(event, CallFinished) and event.reply:
                            written = replies.roles(event.reply.text)
                self._roles = (*written, *prompts.ROLES)  # too few or none: the built-in ones fill up

    def _cast(self) -> list[ModelSpec]:
        """The pool's members, each with its role before its own system text."""
        roles = self._roles or prompts.ROLES
        return [
            replace(m, system=prompts.role(roles[i % len(roles)]) + (f"\n\n{m.system}" if m.system else ""))
            for i, m in enumerate(self.pool)
        ]
