"""`routemoa scorer train`: from records to a folder that a pool file can name."""

from __future__ import annotations

import json
import shlex
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any

import click
import numpy as np

from routemoa.cli.scorer.figures import print_figures, read_table, summary
from routemoa.cli.terminal.session import check_writable
from routemoa.core.errors import ConfigError
from routemoa.scoring.encoder import Encoder
from routemoa.scoring.predictor import Predictor
from routemoa.training.artifact import save_scorer, order_training_questions
from routemoa.training.fast import train_fast
from routemoa.training.metrics import Predictions, evaluate_predictions, choose_baselines
from routemoa.training.table import Table

__all__ = ["train"]

MINILM = ("all-minilm-l6-v2", "all-minilm-l6-v2-tokenizer")
MDEBERTA = "microsoft/mdeberta-v3-base"


@click.command()
@click.argument("records", nargs=-1, required=True)
@click.option("--out", required=True, metavar="DIR", help="The folder to write.")
@click.option("--recipe", type=click.Choice(["fast", "published"]), default="fast", show_default=True)
@click.option(
    "--encoder", metavar="NAME|DIR", help="minilm, a folder, or a name on the hub; published: mDeBERTa-v3-base."
)
@click.option("--seed", default=0, show_default=True, help="Decides every draw: folds, clusters, batches.")
@click.option("--epochs", type=click.IntRange(1), default=15, show_default=True, help="published: at most so many.")
@click.option("--cap", type=click.IntRange(8), default=512, show_default=True, help="published: tokens read of a text.")
@click.option("--pooling", type=click.Choice(["cls", "mean"]), default="cls", show_default=True, help="published.")
def train(  # noqa: PLR0917
    records: tuple[str, ...], out: str, recipe: str, encoder: str | None, seed: int, epochs: int, cap: int, pooling: Any
) -> None:
    """Train on RECORDS (JSON lines, plain or gzip) and write a folder that `[scorer] path` can name.

    fast: a soft task prior, a shrunk residual and a set head on hashed words and characters; with --encoder also on the
    vectors of a frozen encoder. Minutes on two cores; every choice is made by cross-validation inside the records, and
    the figures shown and kept in card.md are cross-validated too.

    published: the encoder is fine-tuned with RouterDC's contrastive losses; needs the [train] extra. It goes on where
    it was interrupted (DIR.work); its figures are of a validation split.

    Figures on other questions: routemoa scorer evaluate.
    """
    check_writable(out)
    data = read_table(records)
    begun = perf_counter()
    facts: dict[str, Any] = {
        "recipe": recipe,
        "seed": seed,
        "command": "routemoa " + shlex.join(sys.argv[1:]),
        "questions": len(data.texts),
    }
    try:
        if recipe == "fast":
            _fast(data, records, out, facts, encoder)
        else:
            options = {"encoder": encoder or MDEBERTA, "epochs": epochs, "cap": cap, "pooling": pooling}
            _published(data, records, out, facts, options)
    except OSError as e:
        raise ConfigError(f"--out {out}: {e.strerror or e}") from e
    print_figures(facts["cross_validated"])
    click.echo(f"{out}: written in {perf_counter() - begun:.0f} s; features: {facts['features']}", err=True)


def _fast(data: Table, records: tuple[str, ...], out: str, facts: dict[str, Any], encoder: str | None) -> None:
    seed = facts["seed"]
    with _frozen(encoder) as folder:
        found = Encoder.load(folder) if folder else None
        fitted = train_fast(data, seed, _say, found)
        chosen = choose_baselines(data) | {"rates": fitted.choices.pop("rates")}
        said = Predictions(fitted.cross_fitted, fitted.panels, fitted.costs)
        facts |= {
            "choices": fitted.choices,
            "chosen": chosen,
            "cross_validated": summary(evaluate_predictions(said, data, chosen, seed)),
            "features": f"lexical and {encoder}" if encoder else "lexical only: no encoder",
        }
        save_scorer(Path(out), fitted.predictor, facts, records, order_training_questions(data, fitted.predictor, fitted.residual), folder)


def _published(data: Table, records: tuple[str, ...], out: str, facts: dict[str, Any], options: dict[str, Any]) -> None:
    from routemoa.training.published.export import require_libraries

    require_libraries("torch", "transformers", "tokenizers", "safetensors", "onnx", "onnxscript", "onnxruntime")
    from routemoa.training.published.finetune import train_published
    from routemoa.training.published.predictor import build_predictor

    work = Path(f"{out.rstrip('/')}.work")
    found = train_published(data, out=work, seed=facts["seed"], say=_say, **options)
    predictor: Predictor = build_predictor(found, data)
    validation = dict(found.validation)
    facts |= {
        "chosen": choose_baselines(data),
        "history": validation.pop("history"),
        "cross_validated": validation,
        "features": f"{options['encoder']}, fine-tuned",
    }
    unsurprising = np.zeros(len(data.texts), np.float32)  # only joining asks for it, and that is for the other recipe
    save_scorer(Path(out), predictor, facts, records, order_training_questions(data, predictor, unsurprising), found.folder)


@contextmanager
def _frozen(encoder: str | None) -> Iterator[Path | None]:
    """A folder with the files of a frozen encoder: fetched and verified, one's own, or exported from the hub."""
    if encoder is None or (Path(encoder) / "encoder.onnx").is_file():
        yield Path(encoder) if encoder else None
        return
    with tempfile.TemporaryDirectory(prefix="routemoa-encoder-") as temporary:
        folder = Path(temporary)
        if encoder == "minilm":
            from routemoa.cli.pool import fetch_weights

            model, tokenizer = fetch_weights(MINILM)
            (folder / "encoder.onnx").symlink_to(model)
            (folder / "tokenizer.json").symlink_to(tokenizer)
            (folder / "encoder.json").write_text(json.dumps({"pooling": "mean", "cap": 64}) + "\n", "utf-8")
        else:
            from routemoa.training.published.export import export_frozen

            export_frozen(encoder, folder)
        yield folder


def _say(line: str) -> None:
    click.echo(line, err=True)
