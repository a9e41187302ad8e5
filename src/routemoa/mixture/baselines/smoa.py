"""Sparse Mixture-of-Agents (arXiv 2411.03284): everybody answers in a role; a moderator passes on only the best."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from msgspec.structs import replace

from routemoa.core.events import CallFinished, Event, Stopped
from routemoa.core.pool import Pool
from routemoa.core.protocols import Client
from routemoa.core.trace import Proposal
from routemoa.core.trace_builder import TraceBuilder
from routemoa.core.types import ModelSpec, Query
from routemoa.mixture import aggregator, layer, prompts
from routemoa.mixture import reply_parser as replies
from routemoa.mixture.baselines.base import Baseline
from routemoa.mixture.baselines.best_single import aggregator_candidates, choose_best_model
from routemoa.mixture.baselines.steps import (
    all_failed_models,
    call_model,
    last_answers,
    no_answer_error,
    remaining_models,
    run_proposers,
)
from routemoa.mixture.budget.metering import MeteredClient

__all__ = ["SMoA"]


class SMoA(Baseline):
    """Models x layers calls, one for the moderator after each layer, one for the aggregator, one for all roles ever.

    Not as in the paper: its judge (who selects) and its moderator (who ends the debate) are one call here; its roles
    are written for a task, here once for a pool.
    """

    def __init__(self, pool: Pool, client: Client) -> None:
        super().__init__("smoa", client, pool.limits)
        self.pool = pool
        self.best = choose_best_model(pool).spec
        self._roles: tuple[str, ...] | None = None  # written with the first query
        self._writing = asyncio.Lock()

    async def walk(self, query: Query, so_far: TraceBuilder, desk: MeteredClient) -> AsyncGenerator[Event, None]:
        """Roles (once), layers with a moderator after each, then the aggregator."""
        async with aclosing(self._write_roles(desk)) as events:
            async for event in events:
                yield event
        cast, limit, keep = self._cast(), self.pool.mixture.dense_layers, self.pool.mixture.dense_panel
        kept: tuple[Proposal, ...] = ()
        reason = f"last layer: {limit} of {limit}"
        for number in range(1, limit + 1):
            models = remaining_models(cast, so_far.trace)
            if not models:
                reason = "no model left to call"
                break
            async with aclosing(run_proposers(layer.LayerRequest(number, query, kept), models, desk)) as events:
                async for event in events:
                    yield event
            if not so_far.trace.layers[-1].proposals:
                continue  # what was kept before stands
            kept = last_answers(so_far.trace, cast)
            able = aggregator_candidates(self.pool, self.best, all_failed_models(so_far.trace))
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
            raise no_answer_error(so_far.trace, desk)
        yield Stopped(reason)

        able = aggregator_candidates(self.pool, self.best, all_failed_models(so_far.trace))
        async with aclosing(aggregator.write_answer(query, kept, able, desk)) as events:
            async for event in events:
                yield event

    def _moderate(
        self, query: Query, given: Sequence[Proposal], keep: int, by: ModelSpec, desk: MeteredClient
    ) -> AsyncGenerator[Event, None]:
        """Response selection and early stopping, in one call."""
        messages = prompts.moderation_messages(query.messages, [p.text for p in given], min(keep, len(given)))
        return call_model("moderator", by, messages, desk)

    def _verdict(self, given: tuple[Proposal, ...], keep: int, said: str) -> tuple[tuple[Proposal, ...], bool]:
        """The answers to keep, best first, and whether the debate ends; all of them and no, where it is unreadable."""
        labels = prompts.candidate_labels(len(given))
        verdict = replies.parse_moderation(said, labels)
        by_label = dict(zip(labels, given, strict=True))
        kept = tuple(by_label[label] for label in verdict.best[:keep])
        return kept or given, verdict.done

    async def _write_roles(self, desk: MeteredClient) -> AsyncGenerator[Event, None]:
        """Role playing: one call by the best model, by the first query that comes; the others wait for it.

        One whose time is limited does not wait, and takes the built-in roles.
        """
        if self._writing.locked() and desk.seconds_left is not None:
            return
        async with self._writing:
            if self._roles is None:
                written: tuple[str, ...] = ()
                messages = prompts.role_writing_messages(len(self.pool))
                async with aclosing(call_model("roles", self.best, messages, desk)) as events:
                    async for event in events:
                        yield event
                        if isinstance(event, CallFinished) and event.reply:
                            written = replies.parse_roles(event.reply.text)
                self._roles = (*written, *prompts.ROLES)  # too few or none: the built-in ones fill up

    def _cast(self) -> list[ModelSpec]:
        """The pool's members, each with its role before its own system text."""
        roles = self._roles or prompts.ROLES
        return [
            replace(m, system=prompts.role_prompt(roles[i % len(roles)]) + (f"\n\n{m.system}" if m.system else ""))
            for i, m in enumerate(self.pool)
        ]
