"""Files that earlier versions wrote are still read: a scorer, a judge model, traces and a ledger (tests/fixtures)."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from routemoa.core.access.tenants import ALL_TENANTS, SpendingLimits, Tenant, Tenants
from routemoa.core.errors import ConfigError
from routemoa.core.failure_kind import FailureKind
from routemoa.core.protocols import CallResult, CallStart
from routemoa.core.stop_reason import StopKind
from routemoa.core.tables.mixture_table import Mixture
from routemoa.core.trace import Degradation, Trace
from routemoa.core.types import Limits, Message, ModelSpec, Query, to_json
from routemoa.core.usage import Usage
from routemoa.evaluation.saved_traces import SavedTrace, parse_trace
from routemoa.judging.judge_model import Coefficients, JudgeModel, encode_judge_model, read_judge_model
from routemoa.ledger import LedgerEntry, Store, read_calls
from routemoa.routing.rejudging import rejudge
from routemoa.routing.state import LAPSE
from routemoa.scoring.trained import load_trained_scorer, read_manifest, read_training_questions

FORMAT_1 = Path(__file__).parent.parent / "fixtures" / "format_1"
EXPECTED: dict[str, Any] = json.loads((FORMAT_1 / "expected.json").read_text())["scorer"]
NOON = datetime(2026, 11, 25, 12, tzinfo=UTC).timestamp()


# --- the scorer


async def test_a_scorer_predicts_what_it_predicted() -> None:
    scorer = load_trained_scorer(FORMAT_1 / "scorer")
    assert scorer.trained_predictor.models == tuple(EXPECTED["models"]) == ("adder", "poet", "both")
    assert scorer.trained_predictor.tasks == tuple(EXPECTED["tasks"])
    texts = EXPECTED["texts"]
    np.testing.assert_allclose(scorer.trained_predictor.predict(texts), EXPECTED["trained"], atol=1e-5)
    np.testing.assert_allclose(scorer.predictor.predict(texts), EXPECTED["learned"], atol=1e-5)
    vectors = scorer.predictor.embed(texts)
    np.testing.assert_allclose(scorer.predictor.estimate_novelty(vectors), EXPECTED["novelty"], atol=1e-5)
    np.testing.assert_allclose(scorer.predictor.estimate_uncertainty(vectors), EXPECTED["uncertainty"], atol=1e-5)
    np.testing.assert_allclose(scorer.predictor.estimate_costs(vectors), EXPECTED["costs"], atol=1e-7)
    assert scorer.predictor.choose_panels(vectors).tolist() == EXPECTED["panel"]
    scores = await scorer.score(Query.from_text(texts[0]), [ModelSpec(m, "local") for m in EXPECTED["models"]])
    assert list(scores.values()) == pytest.approx(EXPECTED["learned"][0], abs=1e-5)


def test_what_a_scorer_learned_can_still_be_forgotten(tmp_path: Path) -> None:
    shutil.copytree(FORMAT_1 / "scorer", tmp_path / "scorer")
    (tmp_path / "scorer" / "outcomes.jsonl").unlink()
    np.testing.assert_allclose(
        load_trained_scorer(tmp_path / "scorer").predictor.predict(EXPECTED["texts"]), EXPECTED["trained"], atol=1e-5
    )


def test_a_scorers_manifest_and_questions_are_read() -> None:
    about = read_manifest(FORMAT_1 / "scorer")
    assert (about["recipe"], about["seed"], about["questions"]) == ("fast", 0, 60)
    assert about["chosen"]["by_task"] == {"words": "poet", "sums": "adder"}
    assert set(about["chosen"]["rates"]) == {"at_97", "at_99"}
    seen = read_training_questions(FORMAT_1 / "scorer")
    assert len(seen) == 60
    assert {q.task for q in seen} == {"words", "sums"}
    assert {q.reference for q in seen} == {"42"}
    assert any(q.residual for q in seen), 'the field "surprise"'


def test_a_scorer_of_an_unknown_format_is_refused(tmp_path: Path) -> None:
    shutil.copytree(FORMAT_1 / "scorer", tmp_path / "scorer")
    about = json.loads((tmp_path / "scorer" / "manifest.json").read_text())
    (tmp_path / "scorer" / "manifest.json").write_text(json.dumps({**about, "format": 1}))
    with pytest.raises(ConfigError, match="another format than 2"):
        load_trained_scorer(tmp_path / "scorer")


# --- the judge model


def test_a_judge_model_is_read_with_its_fields_renamed(tmp_path: Path) -> None:
    found = read_judge_model(FORMAT_1 / "judge.json")
    assert found.coefficients == Coefficients(-0.3295, 0.2625, 0.5, 2.0, 2.5, 1.0, 0.5)
    correlation = found.correlation
    assert (correlation.difficulty_sd, correlation.error_concentration) == (1.75, 7.702)
    assert len(correlation.pairwise_error_correlation) == 28
    assert correlation.pairwise_error_correlation["gpt-4o-2024-05-13|gpt-4o-2024-08-06"] == 0.179
    assert (found.peer_judges, found.self_judges) == ({}, {})
    assert found.fitted["queries"] == 360
    (tmp_path / "again.json").write_bytes(encode_judge_model(found))
    assert read_judge_model(tmp_path / "again.json") == found


# --- traces


def saved_traces() -> list[tuple[dict[str, Any], Trace]]:
    """Each line of the file as plain JSON, and as it is read."""
    out: list[tuple[dict[str, Any], Trace]] = []
    for line in (FORMAT_1 / "traces.jsonl").read_bytes().splitlines():
        saved = parse_trace(line)
        assert isinstance(saved, SavedTrace), saved
        plain: dict[str, Any] = json.loads(line)
        assert saved.text == plain["text"]
        out.append((plain["trace"], saved.trace))
    return out


def test_traces_are_read_in_full() -> None:
    for plain, trace in saved_traces():
        query = dict(plain["query"])
        if "contract" in query:
            query["limits"] = query.pop("contract")
        assert _without_later_fields(json.loads(to_json(trace))) == {**plain, "query": query}


def _without_later_fields(value: Any) -> Any:
    """Return JSON of today without the fields that came after the saved traces; they say nothing there."""
    later: dict[str, Any] = {
        "skipped": [],
        "comparisons": [],
        "agreement": None,
        "code": None,
        "retry_after": None,
        "unanswered": False,
    }
    later |= {"reasoning_tokens": None, "reported_cost": None, "problem": ""}
    later |= {"finish_reason": None, "refusal": False, "thought_length": 0}
    later |= {"tool_calls": [], "thought": "", "logprobs": None, "parameters": [], "endpoint": None}
    if isinstance(value, list):
        return [_without_later_fields(v) for v in value]
    if isinstance(value, dict):
        kept = {k: v for k, v in value.items() if k not in later or v != later[k]}
        return {k: _without_later_fields(v) for k, v in kept.items()}
    return value


def test_each_kind_of_trace_says_what_it_said() -> None:
    agreed, failed, aggregated, limited, published = (trace for _, trace in saved_traces())

    assert agreed.stop is not None
    assert agreed.stop.kind is StopKind.AGREED
    assert (agreed.choice, agreed.aggregator, agreed.calls) == ("a", None, 2)
    assert agreed.layers[0].proposals[0].usage == Usage(55, 8, None, None)
    assert agreed.layers[0].scores["a"] == pytest.approx(0.8859016649)
    assert [r.method for r in agreed.routes_not_taken] == ["best-single", "moa", "smoa"]

    kinds = [(f.model, f.kind, f.status) for f in failed.layers[0].failures]
    assert kinds == [
        ("a", FailureKind.HTTP_ERROR, 503),
        ("b", FailureKind.INVALID_RESPONSE, None),
        ("c", FailureKind.TIMEOUT, None),
    ]
    assert failed.cost is None  # of the stream that was cut

    assert (aggregated.choice, aggregated.aggregator) == ("a", "b")
    assert [(f.model, f.kind) for f in aggregated.failures] == [("a", FailureKind.INVALID_RESPONSE)]
    assert aggregated.layers[1].quoted == {"c": ("a", "b")}
    assert aggregated.query.messages[0] == Message("system", "Be brief.")
    assert aggregated.query.parameters == {"temperature": 0.2}

    assert limited.query.limits == Limits(max_cost=0.5, max_calls=2, stream_mode="final")
    assert limited.given_up == (Degradation("models", "only 2 more calls are allowed", ("b",)),)
    assert limited.stop is not None
    assert limited.stop.kind is StopKind.LIMITS

    assert published.stop_reason == "last layer: 3 of 3"
    assert [len(layer.proposals) for layer in published.layers] == [3, 2, 3]
    assert published.aggregator == published.choice == "d"


def test_a_saved_trace_is_judged_again_as_it_was() -> None:
    traces = [trace for _, trace in saved_traces()]
    for trace, mixture in ((traces[0], Mixture()), (traces[4], Mixture(fusion="published-small"))):
        again = rejudge(trace, mixture, JudgeModel())
        assert not again.changed
        assert again.stop_reason == trace.stop_reason
        lapse = 0.0 if mixture.published else LAPSE  # in what is shown, since these traces were written
        answered = {p.model for layer in trace.layers for p in layer.proposals}
        shown = {m: (1 - lapse) * (p or 0.0) if m in answered else p for m, p in trace.layers[-1].scores.items()}
        assert again.scores == pytest.approx(shown)


# --- the ledger


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """A copy: SQLite puts files beside one that it reads."""
    return Path(shutil.copy(FORMAT_1 / "store.db", tmp_path / "store.db"))


def spent(path: Path, key: str, window: str) -> tuple[float, float]:
    """Dollars spent and reserved."""
    with closing(sqlite3.connect(path)) as c:
        row = c.execute("SELECT spent, held FROM windows WHERE key = ? AND window = ?", (key, window)).fetchone()
    return row[0] / 1e12, row[1] / 1e12


def test_a_ledgers_calls_are_read(ledger: Path) -> None:
    rows = list(read_calls(ledger))
    assert rows[0] == LedgerEntry(
        1, rows[0].request, NOON, "acme", "routemoa", "m", "proposal", 0.25, 100, 20, 30, 0.125, 0.125, 1.5, "ok"
    )
    assert [(r.key, r.method, r.purpose, r.most, r.cost, r.charged, r.outcome) for r in rows[1:]] == [
        ("acme", "routemoa", "judge", 0.25, None, 0.25, "Garbled"),
        ("zeta", "single:m", "direct", 0.5, 0.0625, 0.0625, "cut"),
        ("-", "moa", "aggregator", None, None, None, "ok"),
        ("zeta", "single:m", "hedge", 0.375, None, None, "open"),
    ]
    assert rows[0].request == rows[1].request != rows[2].request == rows[4].request


async def test_a_ledger_takes_further_calls_and_its_totals_go_on(ledger: Path) -> None:
    who = Tenants((Tenant("acme", "A", 1.0, 20.0), Tenant("zeta", "Z", 2.0)), SpendingLimits(), (b"", b""))
    store = Store(ledger, who, clock=lambda: NOON + 60)
    assert [c.outcome for c in read_calls(ledger)][-1] == "lost"  # its process had ended in the middle of it
    assert spent(ledger, "zeta", "2026-11-25") == (0.0625 + 0.375, 0.0)
    assert spent(ledger, ALL_TENANTS, "2026-11") == (0.375 + 0.0625 + 0.375, 0.0)
    assert (left := store.remaining_budget("acme")) is not None
    assert (left.day, left.month) == (1.0 - 0.375, 20.0 - 0.375)
    recorder = store.recorder("acme", "routemoa")
    number = await recorder.start(CallStart("m", "proposal", 0.5))
    assert number == 6
    recorder.finish(number, CallResult(Usage(1, 2, 3), 0.25, 0.25, 1.0, "ok"))
    await store.aclose()
    assert [c.outcome for c in read_calls(ledger)] == ["ok", "Garbled", "cut", "ok", "lost", "ok"]
    assert spent(ledger, "acme", "2026-11-25") == spent(ledger, "acme", "2026-11") == (0.625, 0.0)
