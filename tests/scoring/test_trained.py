"""The fast recipe on made-up records: it learns which model is good at what, and how novel a query is."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace as msgspec_replace

from routemoa.core.errors import ConfigError
from routemoa.core.pool_file.pool import Pool
from routemoa.core.types import ModelSpec, Query
from routemoa.datasets.records import Record
from routemoa.routing.planning.ranking import RankingOptions, rank_models
from routemoa.scoring.constant import load_scorer
from routemoa.scoring.lexical import DIMENSIONS, IDF_BUCKETS, count_idf, embed_lexical, strip_solved_examples
from routemoa.scoring.trained import TrainedScorer, TrainingQuestion, load_trained_scorer
from routemoa.training.artifact import save_scorer
from routemoa.training.cost_tradeoff import (
    ACCURACY_LEVELS,
    choose_at_mix,
    choose_cost_rates,
    weigh_questions_equally,
    weigh_tasks_equally,
)
from routemoa.training.fast_recipe import FittedScorer, train_fast
from routemoa.training.metrics import Predictions, choose_baselines, evaluate_predictions, measure_calibration
from routemoa.training.table import build_table

NOUNS = ["river", "stone", "cloud", "horse", "candle", "bridge", "garden", "violin", "letter", "anchor"]


def made(n: int = 240, seed: int = 0, *, shuffle: bool = False) -> list[Record]:
    """Sums, which `adder` gets right, and translations, which `poet` does; `middling` is right half of the time."""
    rng = np.random.default_rng(seed)
    records: list[Record] = []
    for i in range(n):
        a, b, noun = rng.integers(10, 999), rng.integers(10, 999), NOUNS[rng.integers(len(NOUNS))]
        sums = bool(i % 2)
        query = (
            f"How much is {a} plus {b}, please add the numbers?" if sums else f"Translate the word {noun} into French."
        )
        right = {"adder": 0.95 if sums else 0.1, "poet": 0.2 if sums else 0.9, "middling": 0.5}
        scores: dict[str, float | None] = {m: float(rng.random() < p) for m, p in right.items()}
        if i % 7 == 0:
            scores["middling"] = None
        records.append(Record(str(i), "sums" if sums else "words", query, scores))
    if shuffle:
        moved = rng.permutation(n)
        records = [Record(r.id, r.task, r.query, records[j].scores) for r, j in zip(records, moved, strict=True)]
    return records


MADE = [TrainingQuestion("0", "sums", "How much is 2 plus 3?", 0.1)]


@pytest.fixture(scope="module")
def fitted() -> FittedScorer:
    return train_fast(build_table(made()))


def test_it_learns_which_model_is_good_at_what(fitted: FittedScorer) -> None:
    test = build_table(made(200, seed=1))
    figures = evaluate_predictions(
        Predictions.from_predictor(fitted.predictor, test.texts), test, choose_baselines(build_table(made()))
    )
    assert figures["accuracy"] > figures["best_single"] + 0.2
    assert figures["accuracy"] > 0.85
    assert abs(figures["shuffled"] - figures["best_single"]) < 0.15
    assert figures["oracle"] >= figures["any_correct_at_3"] >= figures["accuracy"] >= figures["random"]
    assert figures["calibration"]["ece"] < 0.08
    assert figures["ci95"]["hit_at_3"][0] < 1.0 == figures["hit_at_3"], "all of 200 are not all there are"
    assert set(figures["per_task"]) == {"sums", "words"}
    assert figures["macro"]["accuracy"] == pytest.approx(np.mean([t["accuracy"] for t in figures["per_task"].values()]))
    json.dumps(figures, allow_nan=False)


def test_what_was_not_measured_is_unknown_in_every_figure() -> None:
    """Two of three answers were not measured, which changes no figure by more than chance."""
    rng = np.random.default_rng(0)
    scores = (rng.random((3000, 3)) < (0.8, 0.7, 0.6)).astype(np.float32)
    scores[rng.random(scores.shape) < 2 / 3] = np.nan
    data = build_table(
        [
            Record(id=str(i), task="t", query=f"{i}?", scores={m: None if np.isnan(s) else float(s) for m, s in row})
            for i, row in enumerate(list(zip("abc", r, strict=True)) for r in scores)
        ]
    )
    predictions = Predictions(
        np.tile(np.array([0.8, 0.7, 0.6], np.float32), (3000, 1)), np.tile([0, 1, 2], (3000, 1)), scores
    )
    figures = evaluate_predictions(predictions, data, choose_baselines(data))
    assert figures["best_single"] == pytest.approx(0.8, abs=0.03)
    assert figures["task_lookup"] == figures["best_single"]
    assert figures["shuffled"] == pytest.approx(figures["accuracy"], abs=0.04)
    assert figures["hit_at_3"] == 1.0
    assert 0.99 < figures["ci95"]["hit_at_3"][0] < 1.0, "all the same, and still not certain"
    assert figures["ci95"]["gain_over_best_single"] == [0.0, 0.0]


def test_on_permuted_scores_there_is_no_gain() -> None:
    data = build_table(made(400, shuffle=True))
    fitted = train_fast(data)
    test = build_table(made(400, seed=5, shuffle=True))
    figures = evaluate_predictions(
        Predictions.from_predictor(fitted.predictor, test.texts), test, choose_baselines(data)
    )
    low, _ = figures["ci95"]["gain_over_best_single"]
    assert low <= 0.0


def test_far_from_the_training_questions_it_falls_back_to_the_means(fitted: FittedScorer) -> None:
    near = ["How much is 12 plus 30, please add the numbers?"]
    far = ["Ὀξυρρύγχου πάπυρος ξφψ ζωή", "qzx vbn 🦜🦜 wpt"]
    p = fitted.predictor
    unknown = p.estimate_novelty(p.embed(near + far))
    assert unknown[0] < unknown[1:].min()
    spread = np.ptp(p.predict(near + far), axis=1)
    assert spread[1:].max() < spread[0]
    assert (
        np.abs(p.score_raw(p.embed(far)) - p.model_means).max()
        < np.abs(p.score_raw(p.embed(near)) - p.model_means).max()
    )


@given(st.text())
@settings(max_examples=60, deadline=None)
def test_any_text_gets_a_sane_score(fitted: FittedScorer, text: str) -> None:
    scores = fitted.predictor.predict([text])
    assert np.isfinite(scores).all()
    assert ((scores >= 0) & (scores <= 1)).all()


@pytest.mark.alone
@pytest.mark.parametrize("text", ["", " ", "x" * 200_000, "🦜" * 1000, "你好" * 5000, "a\ud800b", "\0"])
def test_odd_texts(fitted: FittedScorer, text: str) -> None:
    begun = time.perf_counter()
    scores = fitted.predictor.predict([text])
    assert np.isfinite(scores).all()
    assert time.perf_counter() - begun < 0.5


async def test_known_models_are_scored_and_others_keep_their_prior(fitted: FittedScorer) -> None:
    pool = [
        ModelSpec("adder", "local", "x"),
        ModelSpec("mine", "local", "poet"),  # known by the endpoint's name for it
        ModelSpec("new", "local", "n", prior=0.4),
        ModelSpec("unscored", "local", "s"),
    ]
    scorer = TrainedScorer(fitted.predictor)
    scores = await scorer.score(Query.from_text("How much is 5 plus 7, please add the numbers?"), pool)
    assert scores["adder"] is not None
    assert scores["mine"] is not None
    assert scores["adder"] > 0.7 > 0.4 > scores["mine"]
    assert scores["new"] == 0.4
    assert scores["unscored"] is None
    assert [m.name for m in pool if not scorer.knows(m)] == ["new", "unscored"]
    ranking = rank_models(pool, scores, RankingOptions(unscored_models=frozenset({"new", "unscored"})))
    marked = {r.model: "unknown to the scorer: the pool file's prior" in r.why for r in ranking}
    assert marked == {"adder": False, "mine": False, "new": True, "unscored": False}


def test_a_folder_is_read_as_it_was_written(fitted: FittedScorer, tmp_path: Path) -> None:
    folder = tmp_path / "scorer"
    for _ in range(2):  # the second one replaces the first
        save_scorer(folder, fitted.predictor, {"recipe": "fast", "chosen": {}}, ["made up"], MADE)
    again = load_trained_scorer(folder).predictor
    texts = [r.query for r in made(40, seed=2)]
    np.testing.assert_allclose(again.predict(texts), fitted.predictor.predict(texts), atol=2e-3)
    assert again.models == fitted.predictor.models
    assert sorted(p.name for p in folder.iterdir()) == ["arrays.npz", "card.md", "manifest.json", "questions.jsonl.gz"]
    assert "made up" in (folder / "card.md").read_text()


def test_a_folder_that_was_changed_is_refused(fitted: FittedScorer, tmp_path: Path) -> None:
    save_scorer(tmp_path / "s", fitted.predictor, {}, [], MADE)
    with (tmp_path / "s" / "arrays.npz").open("ab") as file:
        file.write(b"x")
    with pytest.raises(ConfigError, match="changed since"):
        load_trained_scorer(tmp_path / "s")
    with pytest.raises(ConfigError, match="no scorer"):
        load_trained_scorer(tmp_path / "nowhere")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(FileExistsError):
        save_scorer(tmp_path / "mine", fitted.predictor, {}, [], MADE)
    assert (tmp_path / "mine" / "thesis.txt").exists()


def test_the_pool_file_names_it(fitted: FittedScorer, tmp_path: Path) -> None:
    save_scorer(tmp_path / "s", fitted.predictor, {}, [], MADE)
    file = tmp_path / "pool.toml"
    file.write_text('[[model]]\nname = "adder"\nendpoint = "local"\n[scorer]\npath = "s"\n')
    assert isinstance(load_scorer(Pool.from_toml(file)), TrainedScorer)
    file.write_text('[[model]]\nname = "adder"\nendpoint = "local"\n[scorer]\npath = "elsewhere"\n')
    with pytest.raises(ConfigError, match=r"pool.toml: \[scorer\]: path: .*elsewhere holds no scorer"):
        Pool.from_toml(file)


def test_degenerate_records() -> None:
    one_model = [Record(str(i), "t", f"question {i}", {"only": float(i % 2)}) for i in range(30)]
    one_class = [Record(str(i), "t", f"question {i}", {"a": 1.0, "b": 1.0}) for i in range(30)]
    few = made(3)
    for records in (one_model, one_class, few):
        scores = train_fast(build_table(records)).predictor.predict(["question 5", ""])
        assert np.isfinite(scores).all()


def test_the_same_seed_gives_the_same_scorer() -> None:
    data = build_table(made(120))
    first, second = train_fast(data, 3).predictor, train_fast(data, 3).predictor
    assert (first.predict(data.texts) == second.predict(data.texts)).all()


def test_calibration_by_hand() -> None:
    found = measure_calibration(np.array([0.9, 0.9, 0.1, 0.1], np.float32), np.array([1, 1, 0, 1], np.float32))
    assert found["ece"] == pytest.approx(0.5 * 0.1 + 0.5 * 0.4, abs=1e-6)
    assert found["brier"] == pytest.approx((0.01 + 0.01 + 0.01 + 0.81) / 4, abs=1e-6)
    assert found["auc"] == pytest.approx(5 / 6)  # two of three pairs are won, one is tied
    assert measure_calibration(np.zeros(0, np.float32), np.zeros(0, np.float32))["auc"] is None


def test_vectors_are_units_and_alike_texts_are_near() -> None:
    texts = [
        "the cat sat on the mat",
        "the cat sat on a mat",
        "prices fell sharply in March",
        "猫坐在垫子上",
        "猫坐在垫子上面",
    ]
    x = embed_lexical(texts, count_idf(texts))
    assert x.shape == (5, DIMENSIONS)
    assert len(count_idf(texts)) == IDF_BUCKETS
    np.testing.assert_allclose(np.linalg.norm(x, axis=1), 1.0, rtol=1e-5)
    assert x[0] @ x[1] > 0.3 > abs(x[0] @ x[2])
    assert x[3] @ x[4] > 0.3


def test_panels_prefer_models_that_do_not_err_together() -> None:
    """`twin` errs where `adder` does: the best two are not the best pair, and three of four must be chosen."""
    rng = np.random.default_rng(0)
    records: list[Record] = []
    for i in range(200):
        hard = rng.random() < 0.3
        scores: dict[str, float | None] = {"a": float(not hard), "twin": float(not hard), "triplet": float(not hard)}
        scores["other"] = float(hard)
        records.append(Record(str(i), "t", f"question number {i}", scores))
    fitted = train_fast(build_table(records))
    panel = fitted.predictor.choose_panels(fitted.predictor.embed(["question number 5"]))[0]
    assert fitted.predictor.models.index("other") in panel
    assert (fitted.panels == 3).any(axis=1).all()


def test_solved_examples_before_the_question_are_not_read() -> None:
    question = "Which gas do plants take in?\nA) argon\nB) carbon dioxide\nAnswer:"
    shown = f"What is 2 + 2?\nA) 3\nB) 4\nAnswer:\nB\n\n{question}"
    assert strip_solved_examples(shown) == question
    assert strip_solved_examples(question) == question
    assert strip_solved_examples("Q\nAnswer: B\n\n") == "Q\nAnswer: B\n\n"
    instruction = 'Print only a single choice from "A" or "B" without explanation. Answer:'
    inline = f"Ann thanked Bo because _ had helped.\nA) Ann\nB) Bo\n{instruction}"
    assert strip_solved_examples(f"Cy saw Di, but _ hid.\nA) Cy\nB) Di\n{instruction}\nB\n\n" * 3 + inline) == inline
    assert strip_solved_examples(inline) == inline
    for prose in ("The Answer: yes.\n\nIs it so?", "My Answer:\n\nIs it so?", "What is the xAnswer:\nB\n\nC?"):
        assert strip_solved_examples(prose) == prose, "no example that was solved below its line"


async def test_queries_that_come_together_share_a_batch(fitted: FittedScorer) -> None:
    calls: list[int] = []

    class Counting:
        models = fitted.predictor.models

        def predict_with_tasks(self, texts: list[str]) -> object:
            calls.append(len(texts))
            time.sleep(0.02)
            return fitted.predictor.predict_with_tasks(texts)

    scorer = TrainedScorer(fitted.predictor)
    scorer.predictor = Counting()  # type: ignore[assignment]
    pool = [ModelSpec("adder", "local", "x")]
    found = await asyncio.gather(
        *(scorer.score(Query.from_text(f"How much is {i % 40} plus 7?"), pool) for i in range(80))
    )
    assert sum(calls) == 40  # the same text is scored once
    assert len(calls) <= 3
    alone = await TrainedScorer(fitted.predictor).score(Query.from_text("How much is 3 plus 7?"), pool)
    assert found[3]["adder"] == pytest.approx(alone["adder"], abs=1e-5)
    late = asyncio.create_task(scorer.score(Query.from_text("one"), pool))
    other = asyncio.create_task(scorer.score(Query.from_text("one"), pool))
    await asyncio.sleep(0)
    late.cancel()
    assert (await other)["adder"] is not None


def test_event_loops_share_a_scorer_and_no_query(fitted: FittedScorer) -> None:
    scorer, pool = TrainedScorer(fitted.predictor), [ModelSpec("algebraist", "local")]
    query = Query.from_text("the same question at the same time, as threads ask it")
    first, second = asyncio.new_event_loop(), asyncio.new_event_loop()
    waiting = first.create_task(scorer.score(query, pool))
    first.call_soon(first.stop)
    first.run_forever()  # one turn: the query waits, and nothing is scored yet
    scores = second.run_until_complete(scorer.score(query, pool))
    assert first.run_until_complete(asyncio.wait_for(waiting, 5)) == scores
    first.close()
    second.close()


def test_uncertainty_grows_away_from_the_training_questions(fitted: FittedScorer) -> None:
    p = fitted.predictor
    doubt = p.estimate_uncertainty(
        p.embed(["How much is 12 plus 30, please add the numbers?", "Ὀξυρρύγχου πάπυρος ξφψ"])
    )
    assert (doubt[1] > doubt[0]).all()
    assert (doubt >= 0).all()


async def test_a_batch_that_fails_does_not_keep_the_others_waiting(fitted: FittedScorer) -> None:
    calls = 0

    class Failing:
        def predict_with_tasks(self, texts: list[str]) -> object:
            nonlocal calls
            calls += 1
            if calls == 1:
                raise MemoryError("injected")
            return fitted.predictor.predict_with_tasks(texts)

    scorer = TrainedScorer(fitted.predictor)
    scorer.predictor = Failing()  # type: ignore[assignment]
    pool = [ModelSpec("adder", "local", "x")]
    waiting = [scorer.score(Query.from_text(f"question {i}"), pool) for i in range(100)]  # more than a batch
    found = await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 5)
    assert 0 < sum(isinstance(f, MemoryError) for f in found) < 100
    assert sum(isinstance(f, dict) for f in found) > 0


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.booleans())
def test_the_trade_offs_keep_their_levels_where_they_were_chosen(seed: int, by_task: bool) -> None:
    """On the predictions that they are chosen on, with the same weights, a mix reaches the level exactly on average."""
    data = build_table(
        [msgspec_replace(r, costs={"adder": 0.02, "poet": 0.1, "middling": 0.01}) for r in made(200, seed)]
    )
    rng = np.random.default_rng(seed)
    noisy = 0.6 * np.nan_to_num(data.scores, nan=0.5) + 0.4 * rng.random(data.scores.shape)
    predicted = np.clip(noisy, 0, 1).astype(np.float32)
    weights = (weigh_tasks_equally if by_task else weigh_questions_equally)(data.tasks)
    means = np.nan_to_num(np.nanmean(data.scores, axis=0)).astype(np.float32)
    rates = choose_cost_rates(predicted, data.costs, data, means, weights)
    assert rates is not None
    assert rates["at_97"].keys() == {"low", "high", "share"}
    single, rows = int(means.argmax()), np.arange(len(data.texts))
    truth, usable = np.nan_to_num(data.scores), np.where(np.isnan(data.scores), np.nan, predicted)
    weights = weights * ~np.isnan(data.scores[:, single])
    for name, level in ACCURACY_LEVELS.items():
        mix = rates[name]

        def reach(rate: float) -> float:
            chosen = choose_at_mix(usable, data.costs, {"low": rate, "high": rate, "share": 0.0}, data.texts)
            return float(weights @ truth[rows, chosen]) / float(weights @ truth[:, single])

        reached = (1 - mix["share"]) * reach(mix["low"]) + mix["share"] * reach(mix["high"])
        assert reached == pytest.approx(level, abs=1e-3) or (mix["low"] == mix["high"] and reached > level)
    assert rates["at_97"]["low"] >= rates["at_99"]["high"] - 1e-9, "more accuracy, a lower price of it"
