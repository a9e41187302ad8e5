"""Routes not taken: estimates, worked by hand, and unknown where a price or a latency is."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from routemoa.core.pool_file.pool import Pool
from routemoa.core.tables.mixture_table import Mixture
from routemoa.core.trace import Alternative, Layer, Proposal, Trace
from routemoa.core.types import ModelSpec, Query
from routemoa.core.usage import Usage
from routemoa.mixture.alternatives import FRAME, estimate_alternatives
from routemoa.routing.latency import CallEstimates

QUERY = Query.from_text("x" * 400)  # a hundred tokens


def spec(name: str, price: float | None = 1.0, latency: float | None = None) -> ModelSpec:
    return ModelSpec(name, "local", name, input_price=price, output_price=price, latency=latency)


def pool(*specs: ModelSpec) -> Pool:
    return Pool(specs)


def said(model: str, tokens: int | None, seconds: float | None = None, text: str = "y" * 800) -> Proposal:
    return Proposal(model, text, Usage(100, tokens), seconds, None)


def trace(*proposals: Proposal, **prior: float | None) -> Trace:
    return Trace(QUERY, "routemoa", dict(prior), layers=(Layer(proposals=proposals),))


def by_name(routes: tuple[Alternative, ...]) -> dict[str, Alternative]:
    return {r.method: r for r in routes}


def test_two_models_by_hand() -> None:
    """Answers of 200 and 300 tokens in 2 and 3 seconds; a dollar a million tokens, in and out."""
    done = trace(said("a", 200, 2.0), said("b", 300, 3.0), a=0.6, b=0.7)
    routes = by_name(estimate_alternatives(done, pool(spec("a"), spec("b")), CallEstimates()))
    assert list(routes) == ["best-single", "moa", "smoa"]
    assert all(r.estimate for r in routes.values())
    assert (routes["best-single"].calls, routes["best-single"].latency) == (1, 3.0)
    assert routes["best-single"].cost == pytest.approx(400e-6)
    written = 200 + 300
    dense = 3 * (2 * 100 + written) + 2 * 2 * written + (100 + written + 300)  # two later layers read all answers
    dense += 5 * round(FRAME)  # and the words around them, as does the aggregator
    assert routes["moa"].cost == pytest.approx(dense * 1e-6, rel=1e-3)
    assert (routes["moa"].calls, routes["moa"].latency) == (7, 3 * 3.0 + 3.0)
    assert routes["smoa"].calls == 9  # the last layer has nothing to moderate: both answers are kept
    moderated = dense + 2 * (100 + written + 60)
    assert routes["smoa"].cost == pytest.approx(moderated * 1e-6, rel=1e-3)


def test_the_sparse_mixture_reads_less_of_many() -> None:
    names = "abcdefgh"
    done = trace(*(said(n, 5000, 1.0) for n in names), **dict.fromkeys(names, 0.5))
    routes = by_name(estimate_alternatives(done, pool(*map(spec, names)), CallEstimates()))
    assert (routes["smoa"].cost or 0) < (routes["moa"].cost or 0)
    assert routes["smoa"].calls == 28


def test_who_did_not_answer_is_taken_at_what_is_usual_then_at_the_mean_of_those_heard() -> None:
    done = trace(said("a", 200, 2.0), said("b", 400, 2.0), a=0.1, b=0.2, c=0.9)
    both = pool(spec("a"), spec("b"), spec("c", latency=5.0))
    mean = by_name(estimate_alternatives(done, both, CallEstimates()))["best-single"]
    assert mean.cost == pytest.approx(400e-6)
    assert mean.latency == 5.0
    usual = by_name(estimate_alternatives(done, both, CallEstimates({"c": 900}, {"c": 7.0})))["best-single"]
    assert usual.cost == pytest.approx(1000e-6)
    assert usual.latency == 7.0  # measured goes before the file's


def test_tokens_nobody_counted_are_told_by_the_text() -> None:
    routes = by_name(estimate_alternatives(trace(said("a", None, 2.0), a=0.5), pool(spec("a")), CallEstimates()))
    assert routes["best-single"].cost == pytest.approx(300e-6)


def test_an_unknown_price_or_latency_makes_its_sums_unknown_and_no_others() -> None:
    done = trace(said("a", 200, 2.0), a=0.6, b=0.1)
    routes = by_name(estimate_alternatives(done, pool(spec("a"), spec("b", None)), CallEstimates()))
    assert routes["best-single"].cost is not None
    assert routes["moa"].cost is None
    assert routes["smoa"].cost is None
    assert routes["best-single"].latency == 2.0
    assert routes["moa"].latency is None
    assert routes["smoa"].latency is None
    free = pool(spec("a", 0.0), spec("b", 0.0, 0.0))
    assert by_name(estimate_alternatives(done, free, CallEstimates()))["moa"].cost == 0.0  # free is known
    assert by_name(estimate_alternatives(done, free, CallEstimates()))["moa"].latency == 8.0


def test_none_while_nobody_has_answered() -> None:
    done = trace(a=0.5)
    assert estimate_alternatives(done, pool(spec("a")), CallEstimates({"a": 5.0}, {"a": 1.0})) == ()
    assert estimate_alternatives(replace(done, layers=()), pool(spec("a")), CallEstimates()) == ()


def test_the_estimate_counts_the_layers_that_the_pool_file_sets() -> None:
    done = trace(said("a", 200, 2.0), said("b", 300, 3.0), a=0.6, b=0.7)
    two = Pool(pool(spec("a"), spec("b")).models, Mixture(layers=2))
    routes = by_name(estimate_alternatives(done, two, CallEstimates()))
    assert (routes["moa"].calls, routes["smoa"].calls) == (2 * 2 + 1, 2 * 2 + 1 + 1)
