"""RouteMoA without one part: the real engine runs without what the ablation takes away."""

from __future__ import annotations

from typing import Any

import pytest

from routemoa.core.errors import ConfigError
from routemoa.core.pool_file.pool import Pool
from routemoa.core.tables.mixture_table import Mixture
from routemoa.core.trace import Trace
from routemoa.core.types import ModelSpec
from routemoa.evaluation.ablations import ABLATIONS, ablate
from routemoa.evaluation.replay.recorded import RecordedClient, SimulatedJudge
from routemoa.judging.judge_model import JudgeModel
from routemoa.mixture.engine import RouteMoA
from tests.evaluation.replay.test_simulator import MODELS, RATES, make_records

PRIOR: dict[str, float | None] = dict(zip(MODELS, RATES, strict=True))


def traces(name: str, **mixture: Any) -> list[Trace]:
    records = make_records(8, 3)
    pool = Pool(tuple(ModelSpec(m, "local", m, prior=p) for m, p in PRIOR.items()), Mixture(**mixture))
    method = RouteMoA(pool, RecordedClient(records, SimulatedJudge(0.8).score), judge_model=JudgeModel())
    if name:
        method.policy = ablate(name, method.policy, {m: 1.0 - (p or 0.0) for m, p in PRIOR.items()})
    return [method.ask(r.query).trace for r in records]


def kinds(found: list[Trace]) -> set[str]:
    return {a.kind for t in found for layer in t.layers for a in layer.assessments}


@pytest.mark.parametrize("fusion", ["adaptive", "published-large"])
def test_what_is_taken_away_is_gone(fusion: str) -> None:
    set_up = {"fusion": fusion, "later_layers": "refine", "stop_confidence": 0.999, "self_assessment": "spoken"}
    assert kinds(traces("", **set_up)) == {"self", "cross"}
    assert kinds(traces("no-self", **set_up)) == {"cross"}
    assert kinds(traces("no-cross", **set_up)) == {"self"}
    assert traces("no-scorer", **set_up)[0].layers[0].selected[0] == "f"  # by the means, which are upside down here
    for trace in traces("no-early-stop", **set_up):
        assert len({p.model for layer in trace.layers for p in layer.proposals}) == 6 or len(trace.layers) == 3
    for trace in traces("no-reranking", **set_up):
        asked = [m for layer in trace.layers for m in layer.selected]
        assert list(dict.fromkeys(asked)) == sorted(set(asked))
    assert all(t.aggregator is None for t in traces("no-aggregator", **set_up))


def test_an_unknown_part_is_refused() -> None:
    with pytest.raises(ConfigError, match=ABLATIONS[0]):
        traces("no-sense")
