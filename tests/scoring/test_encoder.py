"""The ONNX encoder, with a small model made here: the state of a token is its row of a table."""

from __future__ import annotations

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from routemoa.cli import cli
from routemoa.core.errors import ConfigError, MissingExtra
from routemoa.scoring.encoder import Encoder
from routemoa.scoring.trained import load_trained_scorer
from tests.scoring.test_trained import made

WORDS = ["[PAD]", "[CLS]", "[UNK]", "sum", "plus", "add", "translate", "french", "word", "the", "numbers"]
TABLE = np.random.default_rng(0).standard_normal((len(WORDS), 8)).astype(np.float32)


def make(folder: Path, pooling: str = "mean", cap: int = 16) -> Path:
    folder.mkdir(exist_ok=True)
    node = helper.make_node("Gather", ["table", "input_ids"], ["states"])
    shape = ["batch", "tokens"]
    graph = helper.make_graph(
        [node],
        "table",
        [helper.make_tensor_value_info("input_ids", TensorProto.INT64, shape)],
        [helper.make_tensor_value_info("states", TensorProto.FLOAT, [*shape, 8])],
        [numpy_helper.from_array(TABLE, "table")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, str(folder / "encoder.onnx"))
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A", special_tokens=[("[CLS]", 1)])
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "encoder.json").write_text(json.dumps({"pooling": pooling, "cap": cap}))
    return folder


def unit(vector: np.ndarray) -> np.ndarray:
    return np.asarray(vector / np.linalg.norm(vector))


def test_mean_and_first_token_by_hand(tmp_path: Path) -> None:
    mean = Encoder.load(make(tmp_path / "mean"))
    first = Encoder.load(make(tmp_path / "cls", "cls"))
    texts = ["sum plus", "translate the word french numbers"]  # of different lengths: padding must not count
    found = mean.encode(texts)
    np.testing.assert_allclose(found[0], unit(TABLE[[1, 3, 4]].mean(0)), rtol=1e-5)
    np.testing.assert_allclose(found[1], unit(TABLE[[1, 6, 9, 8, 7, 10]].mean(0)), rtol=1e-5)
    np.testing.assert_allclose(first.encode(texts), np.tile(unit(TABLE[1]), (2, 1)), rtol=1e-5)


def test_order_and_batches_do_not_matter(tmp_path: Path) -> None:
    encoder = Encoder.load(make(tmp_path / "e"))
    texts = [" ".join(WORDS[3 : 3 + i % 8]) for i in range(150)]
    whole = encoder.encode(texts)
    np.testing.assert_allclose(whole, np.vstack([encoder.encode([t]) for t in texts]), rtol=1e-5)
    with ThreadPoolExecutor(4) as threads:
        for again in threads.map(encoder.encode, [texts] * 8):
            np.testing.assert_allclose(again, whole, rtol=1e-5)
    assert encoder.encode([]).shape == (0, 8)


@pytest.mark.alone
@pytest.mark.parametrize("text", ["", " ", "sum " * 50_000, "🦜你好", "a\ud800b", "\0"])
def test_odd_texts(tmp_path: Path, text: str) -> None:
    encoder = Encoder.load(make(tmp_path / "e"))
    begun = time.perf_counter()
    found = encoder.encode([text])
    assert time.perf_counter() - begun < 0.2
    np.testing.assert_allclose(np.linalg.norm(found), 1.0, rtol=1e-5)


def test_tokens_beyond_the_cap_are_not_read(tmp_path: Path) -> None:
    encoder = Encoder.load(make(tmp_path / "e", cap=4))
    np.testing.assert_allclose(
        encoder.encode(["sum plus add word the"]), encoder.encode(["sum plus add french french"])
    )


def test_what_is_missing_is_a_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="no encoder"):
        Encoder.load(tmp_path)
    folder = make(tmp_path / "e")
    (folder / "encoder.onnx").write_bytes(b"not a model")
    with pytest.raises(ConfigError, match="cannot be read"):
        Encoder.load(folder)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtra, match=r"onnxruntime, .* is not installed: run  .*\[encoder\]'"):
        Encoder.load(folder)


def test_a_scorer_takes_its_encoder_along(tmp_path: Path) -> None:
    records = tmp_path / "r.jsonl"
    records.write_bytes(b"".join(msgspec.json.encode(r) + b"\n" for r in made(120)))
    folder = make(tmp_path / "e")
    arguments = ["scorer", "train", str(records), "--encoder", str(folder), "--out", str(tmp_path / "s")]
    found = CliRunner().invoke(cli, arguments)
    assert found.exit_code == 0, found.output
    predictor = load_trained_scorer(tmp_path / "s").predictor
    assert predictor.encoder is not None
    assert predictor.embed(["sum plus add"]).shape == (1, 4096 + 8)
    sums, words = predictor.predict(
        ["How much is 5 plus 9, please add the numbers?", "Translate the word river into French."]
    )
    assert sums[0] > sums[1]
    assert words[1] > words[0]
    (tmp_path / "s" / "encoder.onnx").write_bytes(b"another")
    with pytest.raises(ConfigError, match="changed since"):
        load_trained_scorer(tmp_path / "s")
