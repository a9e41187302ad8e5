"""The published recipe on a small encoder made here: it learns, continues from checkpoints, and is exported."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner

torch = pytest.importorskip("torch", reason="needs the extra [train]")
transformers = pytest.importorskip("transformers")

from routemoa.cli import cli  # noqa: E402
from routemoa.core.errors import ConfigError  # noqa: E402
from routemoa.scoring.encoder import Encoder  # noqa: E402
from routemoa.scoring.trained import load_trained_scorer  # noqa: E402
from routemoa.training.published.export import export_frozen, load_pretrained  # noqa: E402
from routemoa.training.published.finetune import PublishedSettings, train_published  # noqa: E402
from routemoa.training.table import build_table  # noqa: E402
from tests.scoring.test_trained import made  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")  # of the libraries
OPTIONS: dict[str, Any] = {
    "cap": 32,
    "epochs": 4,
    "batch": 16,
    "learning_rate": 3e-3,
    "patience": 9,
    "temperature": 0.2,
}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A BERT with random weights and a vocabulary of characters and a few words."""
    folder = tmp_path_factory.mktemp("tiny")
    words = ["how", "much", "is", "plus", "please", "add", "the", "numbers", "translate", "word", "into", "french"]
    pieces = [*"abcdefghijklmnopqrstuvwxyz0123456789?,."]
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words, *pieces, *(f"##{p}" for p in pieces)]
    (folder / "vocab.txt").write_text("\n".join(vocabulary))
    transformers.BertTokenizerFast(vocab={w: i for i, w in enumerate(vocabulary)}).save_pretrained(folder)
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(vocabulary), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=64,
    )  # fmt: skip
    transformers.BertModel(config).save_pretrained(folder)
    return str(folder)


def test_it_learns_and_its_folder_predicts_the_same(tiny: str, tmp_path: Path) -> None:
    data = build_table(made(240))
    found = train_published(data, tmp_path / "w", PublishedSettings(encoder=tiny, **OPTIONS))
    assert found.validation["accuracy"] > found.validation["best_single"] + 0.1
    assert abs(found.validation["accuracy"] - found.validation["accuracy_before_quantisation"]) < 0.1
    test = build_table(made(100, seed=8))
    scores = found.predict(Encoder.load(found.folder).encode(test.texts))
    filled = np.nan_to_num(test.scores)
    assert filled[np.arange(100), scores.argmax(1)].mean() > filled.mean(0).max() + 0.15
    odd = found.predict(Encoder.load(found.folder).encode(["", "🦜", "x" * 200_000]))
    assert np.isfinite(odd).all()


def test_an_interrupted_run_continues_to_the_same_weights(tiny: str, tmp_path: Path) -> None:
    data = build_table(made(120))
    settings = PublishedSettings(encoder=tiny, **OPTIONS)
    whole = train_published(data, tmp_path / "whole", settings)
    train_published(data, tmp_path / "parts", replace(settings, epochs=2))
    lines: list[str] = []
    parts = train_published(data, tmp_path / "parts", settings, report=lines.append)
    assert any("going on from" in line for line in lines)
    np.testing.assert_allclose(parts.embeddings, whole.embeddings, atol=1e-6)


def test_the_int8_encoder_is_near_the_float_one(tiny: str, tmp_path: Path) -> None:
    export_frozen(tiny, tmp_path / "e", "mean", 32)
    texts = [r.query for r in made(20)]
    quantized = Encoder.load(tmp_path / "e").encode(texts)
    found = load_pretrained(tiny)
    with torch.no_grad():
        floats = found.encode(found.tokenize(texts, 32), "mean", False).numpy()
    assert (quantized * floats).sum(1).min() > 0.98


def test_from_the_command_line(tiny: str, tmp_path: Path) -> None:
    records = tmp_path / "r.jsonl"
    records.write_bytes(b"".join(msgspec.json.encode(r) + b"\n" for r in made(120)))
    out = tmp_path / "s"
    arguments = ["scorer", "train", records, "--recipe", "published", "--encoder", tiny, "--out", out]
    found = CliRunner().invoke(cli, [str(a) for a in [*arguments, "--epochs", 1, "--cap", 32]])
    assert found.exit_code == 0, found.output
    scorer = load_trained_scorer(out)
    assert scorer.predictor.predict(["How much is 2 plus 3?", ""]).shape == (2, 3)
    shown = CliRunner().invoke(cli, ["scorer", "show", str(out), "How much is 2 plus 3?"])
    assert "nearest training questions" in shown.output
    refused = CliRunner().invoke(cli, ["scorer", "learn", str(out), str(records)])
    assert "cannot learn" in str(refused.exception)
    measured = CliRunner().invoke(cli, ["scorer", "evaluate", str(out), str(records)])
    assert measured.exit_code == 0, measured.output


def test_an_encoder_that_cannot_be_loaded(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="cannot be loaded"):
        load_pretrained(str(tmp_path / "empty"))
