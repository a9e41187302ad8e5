"""Warnings about a pool: its scorer, its judge file, its families. Each is decided without reading anything."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from routemoa.core.pool_file.pool import Pool
from routemoa.judging.judge_model import JudgeModel, Reliability, encode_judge_model
from routemoa.judging.posterior import ErrorCorrelation
from routemoa.mixture.pool_warnings import (
    list_pool_warnings,
    name_judged_models,
    warn_of_foreign_judge,
    warn_of_one_family,
    warn_of_unknown_models,
)
from tests.conftest import MakePool


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["qwen2.5-7b", "qwen3-32b"], "both models are of one family (qwen)"),
        (["gpt-4o", "gpt-4o-mini", "o3"], "all 3 models are of one family (gpt)"),
        (["qwen2.5-7b", "gpt-4o"], None),
        (["qwen2.5-7b", "mine"], None),  # its family is unknown
        (["mine", "yours"], None),
        (["qwen2.5-7b"], None),  # alone it is no mixture
    ],
)
def test_one_family(make_pool: MakePool, names: list[str], words: str | None) -> None:
    said = warn_of_one_family(make_pool(*names).models)
    assert (said is None) == (words is None)
    assert said is None or (words is not None and words in said and "another family" in said)


def test_one_model_as_several_members_is_called_so(make_pool: MakePool) -> None:
    said = warn_of_one_family(make_pool("careful", "creative", model="qwen2.5-7b").models)
    assert said is not None
    assert said.startswith("both models are one model (qwen2.5-7b)")


def test_a_scorer_that_knows_none_or_some(make_pool: MakePool) -> None:
    pool = make_pool("a", "b", "served", model="x")
    assert warn_of_unknown_models(pool, ["a", "b", "served"]) is None
    assert warn_of_unknown_models(pool, ["x"]) is None  # by the endpoint's name
    none = warn_of_unknown_models(pool, ["p", "q"])
    assert none is not None
    assert "knows none of these models (it knows p, q)" in none
    assert "routemoa scorer train records.jsonl" in none
    some = warn_of_unknown_models(make_pool("a", "b", "c"), ["a"])
    assert some is not None
    assert "does not know b, c, which keep their priors (b, c without one)" in some
    assert "routemoa pool join b" in some
    one = warn_of_unknown_models(make_pool("a", "b", prior=0.5), ["a"])
    assert one is not None
    assert "b, which keeps its prior;" in one


def test_a_judge_file_of_another_pool(make_pool: MakePool) -> None:
    pool = make_pool("a", "b")
    assert warn_of_foreign_judge(pool, []) is None
    assert warn_of_foreign_judge(pool, ["a"]) is None
    assert warn_of_foreign_judge(make_pool("a", model="served"), ["served"]) is None
    assert "is of another pool: it was fitted on x, y" in str(warn_of_foreign_judge(pool, ["x", "y"]))
    assert "was fitted with x, which this pool does not have" in str(warn_of_foreign_judge(pool, ["a", "x"]))


def test_a_judge_model_names_its_models_and_an_older_one_those_it_describes() -> None:
    old = JudgeModel(
        correlation=ErrorCorrelation(pairwise_error_correlation={"a|b": 0.3}), peer_judges={"c": Reliability(0.5, 1.0)}
    )
    assert name_judged_models(old) == ["c", "a", "b"]
    assert name_judged_models(msgspec.structs.replace(old, models=("x",))) == ["x"]
    assert name_judged_models(JudgeModel()) == []


def pool_file(folder: Path, extra: str) -> Pool:
    file = folder / "pool.toml"
    models = "".join(f'[[model]]\nname = "{n}"\nendpoint = "http://127.0.0.1:9/v1"\n' for n in ("a", "b"))
    file.write_text(models + extra)
    return Pool.from_toml(file)


def test_the_files_that_a_pool_names_are_read(tmp_path: Path) -> None:
    (tmp_path / "judge.json").write_bytes(encode_judge_model(JudgeModel(models=("other",))))
    pool = pool_file(tmp_path, f'[mixture]\njudge = "judge.json"\n[scorer]\npath = "{Pool.embedded().scorer}"\n')
    scorer, judge = list_pool_warnings(pool)
    assert "knows none of these models (it knows smollm2-135m, coder-0.5b, coder-1.5b)" in scorer
    assert f"--pool {tmp_path / 'pool.toml'}" in scorer
    assert "it was fitted on other" in judge
    assert list_pool_warnings(Pool.embedded()) == []


def test_a_file_that_cannot_be_read_is_a_warning_itself(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{}")
    pool = pool_file(tmp_path, '[mixture]\njudge = "gone.json"\n[scorer]\npath = "."\n')
    scorer, judge = list_pool_warnings(pool)
    assert "train it again" in scorer
    assert "gone.json: cannot be read" in judge
