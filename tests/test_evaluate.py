"""Methods on recorded answers: who is called, what it costs, and no gain where there is nothing to gain."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import pytest
from click.testing import CliRunner, Result
from msgspec.structs import replace

from routemoa.cli import cli
from routemoa.errors import ConfigError
from routemoa.evaluate.replayed import METHODS, Outcome, Replay, walk
from routemoa.evaluate.summary import summarise
from routemoa.evidence import Judging
from routemoa.policy import policy_of
from routemoa.pool import Mixture
from routemoa.records import Record
from routemoa.types import ModelSpec, Scores, to_json

MODELS = ("a", "b", "c", "d", "e", "f")
RATES = (0.7, 0.65, 0.6, 0.55, 0.5, 0.45)


def made(count: int, seed: int = 0, *, priced: bool = True) -> list[Record]:
    """Questions that each model gets right at its rate, independently; a call costs a cent and takes a second."""
    lots = Random(seed)
    out: list[Record] = []
    for i in range(count):
        right = {m: float(lots.random() < p) for m, p in zip(MODELS, RATES, strict=True)}
        said: dict[str, str | None] = {
            m: f"So it must be.\nThe answer is {i if ok else 1000 + lots.randrange(40)}." for m, ok in right.items()
        }
        costs: dict[str, float | None] | None = dict.fromkeys(MODELS, 0.01) if priced else None
        seconds: dict[str, float | None] | None = dict.fromkeys(MODELS, 1.0) if priced else None
        out.append(
            Record(
                f"q{seed}-{i}",
                "sums",
                f"What is {i} plus nothing?",
                dict(right),
                responses=said,
                costs=costs,
                seconds=seconds,
            )
        )
    return out


def replayed(records: list[Record], **mixture: object) -> Replay:
    priors: list[Scores] = [dict(zip(MODELS, RATES, strict=True)) for _ in records]
    specs = [ModelSpec(m, "local", m) for m in MODELS]
    policy = policy_of(specs, Mixture(**mixture), Judging(), ())  # type: ignore[arg-type]
    return Replay(records, MODELS, priors, policy, "a", ("a", "b", "c"))


def mean(outcomes: list[Outcome]) -> float:
    return sum(o.right for o in outcomes) / len(outcomes)


def test_growing_on_disagreement_beats_one_model_and_nothing_beats_the_oracle() -> None:
    found = replayed(made(300)).run(METHODS, 0)
    assert mean(found["routemoa"]) > mean(found["best-single"]) + 0.05
    assert mean(found["oracle"]) >= max(mean(found[m]) for m in METHODS)
    assert all(2 <= o.calls <= 6 for o in found["routemoa"])
    assert {o.calls for o in found["moa"]} == {19}
    assert found["moa"][0].cost == pytest.approx(0.19)
    assert found["moa"][0].latency == 4.0  # three layers and the aggregator, one after the other
    assert found["fixed-best-3"][0].latency == 1.0  # three at the same time
    assert found["vote-all"][0].right == found["moa"][0].right


def test_on_scores_that_were_shuffled_between_models_nobody_gains() -> None:
    lots, records = Random(3), []
    for r in made(400):
        order = lots.sample(MODELS, len(MODELS))
        records.append(
            replace(
                r,
                scores={m: r.scores[o] for m, o in zip(MODELS, order, strict=True)},
                responses={m: (r.responses or {})[o] for m, o in zip(MODELS, order, strict=True)},
            )
        )
    figures = summarise([replayed(records).run(("best-single", "oracle"), 0)], 0)["methods"]
    anybody = sum(sum(v or 0.0 for v in r.scores.values()) for r in records) / (len(records) * len(MODELS))
    low, high = figures["best-single"]["ci95"]
    assert low < anybody < high


def test_what_the_records_do_not_know_stays_unknown() -> None:
    figures = summarise([replayed(made(20, priced=False)).run(("routemoa", "moa"), 0)], 0)
    for f in figures["methods"].values():
        assert f["cost"] is None
        assert f["latency"] is None
        assert f["tokens"] > 0


def test_a_model_without_an_answer_is_replaced_and_nobody_left_is_wrong_not_an_error() -> None:
    record = made(1)[0]
    silent = replace(record, responses={**(record.responses or {}), "a": ""})
    prior: Scores = dict(zip(MODELS, RATES, strict=True))
    trace = walk(replayed([silent]).policy, prior, silent, MODELS)
    assert "a" not in {p.model for layer in trace.layers for p in layer.proposals}
    nobody = replace(record, responses=dict.fromkeys(MODELS, ""))
    assert [o.right for o in replayed([nobody]).run(("routemoa",), 0)["routemoa"]] == [0.0]


@pytest.fixture(scope="module")
def scorer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    there = tmp_path_factory.mktemp("evaluate")
    keep(there / "train.jsonl", made(120, 1))
    assert run("scorer", "train", str(there / "train.jsonl"), "--out", str(there / "scorer")).exit_code == 0
    return there / "scorer"


def keep(path: Path, records: list[Record]) -> str:
    path.write_bytes(b"".join(to_json(r) + b"\n" for r in records))
    return str(path)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments)


def test_the_command_is_deterministic_and_its_json_has_the_public_keys(scorer: Path, tmp_path: Path) -> None:
    test = keep(tmp_path / "test.jsonl", made(80, 2))
    files = [tmp_path / "one.json", tmp_path / "two.json"]
    for file in files:
        done = run("evaluate", test, "--scorer", str(scorer), "--methods", "routemoa,moa", "--json", str(file))
        assert done.exit_code == 0, done.output
    assert files[0].read_bytes() == files[1].read_bytes()
    figures = json.loads(files[0].read_text())
    always = {"best-single", "fixed-best-3", "random", "shuffled", "oracle"}
    assert set(figures["methods"]) == {"routemoa", "moa", *always}
    for f in figures["methods"].values():
        assert set(f) == {"accuracy", "ci95", "calls", "tokens", "cost", "latency", "n"}
        assert f["ci95"][0] <= f["accuracy"] <= f["ci95"][1]
    assert set(figures["paired"]["routemoa|best-single"]) == {"difference", "ci95", "p"}
    assert any("no aggregator writes" in note for note in figures["notes"])
    assert "routemoa over best-single" in done.output


def test_what_cannot_be_replayed_says_why(scorer: Path, tmp_path: Path) -> None:
    test = keep(tmp_path / "test.jsonl", made(5, 2))
    unknown = run("evaluate", test, "--scorer", str(scorer), "--methods", "cascade")
    assert isinstance(unknown.exception, ConfigError)
    assert "'cascade' cannot be replayed" in str(unknown.exception)
    bare = keep(tmp_path / "bare.jsonl", [replace(r, responses=None) for r in made(5, 2)])
    nothing = run("evaluate", bare, "--scorer", str(scorer))
    assert isinstance(nothing.exception, ConfigError)
    assert "no record holds an answer" in str(nothing.exception)
