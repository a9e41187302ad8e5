"""A call that belongs to no layer: a moderator's, or that of a judge that compares two answers."""

from __future__ import annotations

from collections.abc import Mapping
from time import perf_counter
from types import MappingProxyType
from typing import Any

from routemoa.core.content.answer_format import AnswerFormat
from routemoa.core.errors import ModelError, RouteMoAError
from routemoa.core.events import CallFinished, CallStarted
from routemoa.core.types import Message, ModelSpec, Request
from routemoa.mixture.calls.admission import Admission, leave_out_misfits
from routemoa.mixture.calls.call_results import make_failure, make_proposal, read_completion, report_defect
from routemoa.mixture.run import Run

__all__ = ["call_model"]


async def call_model(
    run: Run,
    purpose: str,
    spec: ModelSpec,
    messages: tuple[Message, ...],
    *,
    answer_format: AnswerFormat | None = None,
    parameters: Mapping[str, Any] = MappingProxyType({}),
) -> str | None:
    """Ask a model for something else than an answer; return its reply, or None where the call failed or cools down.

    The caller's sampling parameters are for answers (a `stop` or a token limit would cut another reply): `parameters`
    are those that apply.
    """
    request = Request(messages, dict(parameters), purpose="judge", answer_format=answer_format)
    fitting, _ = leave_out_misfits(run, [spec], (), lambda _: request)
    ticket = Admission(run).admit(spec) if fitting else None
    if ticket is None:
        return None
    run.emit(CallStarted(purpose, spec.name))
    started = perf_counter()
    try:
        reply = await read_completion(run.client.stream(spec, request, lambda: False), spec)
    except ModelError as e:
        run.emit(CallFinished(purpose, failure=make_failure(spec, e, perf_counter() - started)))
        return None
    except RouteMoAError:
        raise
    except Exception as e:  # one member's reply must not end the query
        failure = make_failure(spec, report_defect(spec, e), perf_counter() - started)
        run.emit(CallFinished(purpose, failure=failure))
        return None
    finally:
        ticket.close()
    run.emit(CallFinished(purpose, make_proposal(spec, reply, reply.text, perf_counter() - started)))
    return reply.text
