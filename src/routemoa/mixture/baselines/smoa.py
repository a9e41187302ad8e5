"""Sparse Mixture-of-Agents (arXiv 2411.03284): every model answers in a role; a moderator passes on only the best."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from msgspec.structs import replace

from routemoa.core.events import Stopped
from routemoa.core.pool_file.pool import Pool
from routemoa.core.protocols import Client
from routemoa.core.trace import Proposal
from routemoa.core.types import ModelSpec
from routemoa.mixture import prompts
from routemoa.mixture import reply_parser as replies
from routemoa.mixture.answers.aggregator import write_answer
from routemoa.mixture.baselines.best_single import aggregator_candidates, choose_best_model
from routemoa.mixture.baselines.steps import last_answers, remaining_models, run_proposers, unable_models
from routemoa.mixture.calls.separate_call import call_model
from routemoa.mixture.layer import LayerRequest
from routemoa.mixture.method import BaseMethod
from routemoa.mixture.run import Run

__all__ = ["SMoA"]


class SMoA(BaseMethod):
    """Models x layers calls, one for the moderator after each layer, one for the aggregator, one for all roles ever.

    Not as in the paper: its judge (which selects) and its moderator (which ends the debate) are one call here; its
    roles are written for a task, here once for a pool.
    """

    def __init__(self, pool: Pool, client: Client) -> None:
        super().__init__("smoa", client, pool.limits, pool.absent)
        self.pool = pool
        self.best = choose_best_model(pool).spec
        self._roles: tuple[str, ...] | None = None  # written with the first query
        self._writing_roles = asyncio.Lock()

    async def run(self, run: Run) -> None:
        """Write the roles (once), run layers with a moderator after each, then aggregate."""
        await self._write_roles(run)
        cast, layers = self._cast(), self.pool.mixture.dense_layers
        kept: tuple[Proposal, ...] = ()
        reason = f"last layer: {layers} of {layers}"
        for number in range(1, layers + 1):
            models = remaining_models(cast, run.trace)
            if not models:
                reason = "no model left to call"
                break
            await run_proposers(run, LayerRequest(number, run.query, kept), models)
            if not run.trace.layers[-1].proposals:
                continue  # the kept answers stand
            kept = last_answers(run.trace, cast)
            kept, ended_by = await self._moderate(run, kept, last=number == layers)
            if ended_by is not None and number < layers:
                reason = f"ended by the moderator, {ended_by}, after layer {number} of {layers}"
                break
        if not kept:
            raise run.no_answer()
        run.emit(Stopped(reason))
        await write_answer(run, kept, self._writers(run))

    async def _moderate(
        self, run: Run, answers: tuple[Proposal, ...], *, last: bool
    ) -> tuple[tuple[Proposal, ...], str | None]:
        """Select the answers to keep, and decide whether the debate ends, in one call.

        Returns the answers, best first, and the model that ended the debate, if it did. Without an able moderator, or
        where nothing is left to decide, all answers are kept.
        """
        keep, writers = self.pool.mixture.dense_panel, self._writers(run)
        if not writers or (last and len(answers) <= keep):
            return answers, None
        texts = [p.text for p in answers]
        messages = prompts.moderation_messages(run.query.messages, texts, min(keep, len(answers)))
        reply = await call_model(run, "moderator", writers[0], messages)
        if reply is None:
            return answers, None
        best, done = await asyncio.to_thread(_read_verdict, answers, keep, reply)
        return best, writers[0].name if done else None

    def _writers(self, run: Run) -> list[ModelSpec]:
        """Return the models that may moderate and aggregate, best first."""
        return aggregator_candidates(self.pool, self.best, unable_models(run.trace))

    async def _write_roles(self, run: Run) -> None:
        """Let the best model write the roles, with the first query that comes; later queries wait for it.

        A query whose time is limited does not wait, and takes the built-in roles.
        """
        if self._writing_roles.locked() and run.client.deadline.limit is not None:
            return
        async with self._writing_roles:
            if self._roles is None:
                messages = prompts.role_writing_messages(len(self.pool))
                reply = await call_model(run, "roles", self.best, messages)
                written = await asyncio.to_thread(replies.parse_roles, reply) if reply is not None else ()
                self._roles = (*written, *prompts.ROLES)  # too few or none: the built-in ones fill up

    def _cast(self) -> list[ModelSpec]:
        """Return the pool's members, each with its role before its own system text."""
        roles = self._roles or prompts.ROLES
        return [
            replace(m, system=prompts.role_prompt(roles[i % len(roles)]) + (f"\n\n{m.system}" if m.system else ""))
            for i, m in enumerate(self.pool)
        ]


def _read_verdict(answers: Sequence[Proposal], keep: int, reply: str) -> tuple[tuple[Proposal, ...], bool]:
    """Return the answers to keep, best first, and whether the debate ends; all and no, where it is unreadable."""
    labels = prompts.candidate_labels(len(answers))
    verdict = replies.parse_moderation(reply, labels)
    by_label = dict(zip(labels, answers, strict=True))
    kept = tuple(by_label[label] for label in verdict.best[:keep])
    return kept or tuple(answers), verdict.done
