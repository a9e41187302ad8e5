"""`routemoa scorer train`: from records to a folder that a pool file can name."""

from __future__ import annotations

import json
import math
import shlex
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, Literal

import click
import numpy as np

from routemoa.cli.options import duplicates_option, json_file_option
from routemoa.cli.ray_cluster import count_threads, engine_options, leave_out_engine, open_engine
from routemoa.cli.scorer.figures import (
    print_figures,
    read_table,
    summarize_figures,
    warn_of_dominance,
    warn_of_few_questions,
)
from routemoa.cli.terminal.files import STDOUT, check_writable, check_writable_folder, write_figures
from routemoa.cli.terminal.lines import print_line
from routemoa.cli.terminal.warn import print_warnings
from routemoa.cli.terminal.working import show_working
from routemoa.core.errors import ConfigError
from routemoa.scoring.encoder import Encoder
from routemoa.scoring.predictor import Predictor
from routemoa.training.artifact import order_training_questions, save_scorer
from routemoa.training.fast_recipe import train_fast
from routemoa.training.metrics import Predictions, choose_baselines, evaluate_predictions
from routemoa.training.table import Table

__all__ = ["train"]

MIN_MEASURED = 20
"""A model that was measured on fewer questions is left out, where another was on twice as many: its mean is luck."""
MINILM_WEIGHTS = ("all-minilm-l6-v2", "all-minilm-l6-v2-tokenizer")
MDEBERTA = "microsoft/mdeberta-v3-base"


@dataclass(frozen=True)
class TrainOptions:
    """The arguments and options of `routemoa scorer train`."""

    records: tuple[str, ...]
    allow_duplicates: bool
    out: str
    recipe: Literal["fast", "published"]
    encoder: str | None
    seed: int
    epochs: int
    cap: int
    pooling: Literal["cls", "mean"]
    engine: Literal["local", "ray"]
    address: str | None
    json_file: str | None


@click.command(short_help="Train a scorer on records.")
@click.argument("records", nargs=-1, required=True)
@duplicates_option
@click.option("--out", required=True, metavar="DIR", help="The folder to write.")
@click.option(
    "--recipe", type=click.Choice(["fast", "published"]), default="fast", show_default=True, help="See above."
)
@click.option(
    "--encoder", metavar="NAME|DIR", help="minilm, a folder, or a name on the hub; published: mDeBERTa-v3-base."
)
@click.option("--seed", default=0, show_default=True, help="Seed for all random draws: folds, clusters, batches.")
@click.option("--epochs", type=click.IntRange(1), default=15, show_default=True, help="published: the most epochs.")
@click.option(
    "--cap", type=click.IntRange(8), default=512, show_default=True, help="published: tokens that are read of a text."
)
@click.option(
    "--pooling",
    type=click.Choice(["cls", "mean"]),
    default="cls",
    show_default=True,
    help="published: which vector stands for a text.",
)
@engine_options
@json_file_option
def train(**options: Any) -> None:  # click passes a keyword for each option: the fields of TrainOptions
    """Train a scorer on RECORDS (JSON lines, plain or gzip) and write a folder for `[scorer] path`.

    fast: a soft task prior, a shrunk residual and a set head on hashed words and characters; with --encoder also on the
    vectors of a frozen encoder. It takes minutes on two cores. Every choice is made by cross-validation within the
    records; the figures that are shown and kept in card.md are cross-validated, too.

    published: the encoder is fine-tuned with RouterDC's contrastive losses; needs the extra [train]. An interrupted run
    continues with the same command (DIR.work). Its figures are of a validation split.

    --engine ray works on the folds of the fast recipe at the same time and writes the same bytes, on machines of one
    kind.

    For figures on other questions: routemoa scorer evaluate.

    \b
    Example:
      routemoa scorer train records.jsonl.gz --out my-scorer
    """
    _train(TrainOptions(**options))


def _train(options: TrainOptions) -> None:
    check_writable_folder(options.out)
    check_writable(options.json_file)
    if options.engine == "ray" and options.recipe != "fast":
        raise ConfigError("--engine ray works on folds, and only the recipe 'fast' has these; leave out one of the two")
    with show_working("reading the records"):
        data = _leave_out_hardly_measured(read_table(options.records, allow_duplicates=options.allow_duplicates))
    if len(data.texts) < 2:
        raise ConfigError(f"{', '.join(options.records)}: one question teaches nothing of others; collect more")
    started = perf_counter()
    facts: dict[str, Any] = {
        "recipe": options.recipe,
        "seed": options.seed,
        "command": "routemoa " + shlex.join(leave_out_engine(sys.argv[1:])),
        "questions": len(data.texts),
    }
    train_recipe = _train_fast if options.recipe == "fast" else _train_published
    try:
        with show_working("training"):
            facts = train_recipe(data, options, facts)
    except OSError as e:
        raise ConfigError(f"--out {options.out}: {e.strerror or e}") from e
    warnings, seconds = [*warn_of_few_questions(data), *warn_of_dominance(data)], perf_counter() - started
    if options.json_file:
        report = {"scorer": options.out, **facts, "seconds": round(seconds, 3), "warnings": warnings}
        write_figures(options.json_file, (json.dumps(report, indent=2) + "\n").encode())
    if options.json_file != STDOUT:
        print_figures(facts["cross_validated"])
    print_warnings(warnings)
    print_line(f"{options.out}: written in {seconds:.0f} s; features: {facts['features']}", err=True)
    print_line(f'use it in the pool file:  [scorer]  path = "{options.out}"', err=True)
    print_line(f"measure it on other questions:  routemoa scorer evaluate {shlex.quote(options.out)} OTHER", err=True)


def _leave_out_hardly_measured(data: Table) -> Table:
    """Return the records without models of which too little is known beside the others."""
    counts = (~np.isnan(data.scores)).sum(0)
    needed = min(MIN_MEASURED, math.ceil(counts.max() / 2))
    left_out = [m for m, count in zip(data.models, counts, strict=True) if count < needed]
    if not left_out:
        return data
    _print_line(
        f"left out, measured on fewer than {needed} questions: {', '.join(left_out)}; `routemoa pool join` asks "
        "a model 48 questions and adds it"
    )
    return data.select_models([m for m in data.models if m not in left_out])


def _train_fast(data: Table, options: TrainOptions, facts: dict[str, Any]) -> dict[str, Any]:
    """Train the fast recipe and save it with its facts, which are returned."""
    with _prepare_encoder(options.encoder) as folder:
        encoder = Encoder.load(folder) if folder else None
        with open_engine(options.engine, options.address, count_threads()) as engine:
            fitted = train_fast(data, options.seed, _print_line, encoder, engine)
        rates = {key: fitted.choices.pop(key) for key in ("rates", "macro_rates")}
        chosen = choose_baselines(data) | rates
        predictions = Predictions(fitted.cross_fitted, fitted.panels, fitted.costs)
        facts = facts | {
            "choices": fitted.choices,
            "chosen": chosen,
            "cross_validated": summarize_figures(evaluate_predictions(predictions, data, chosen, options.seed)),
            "features": f"lexical and {options.encoder}" if options.encoder else "lexical only: no encoder",
        }
        questions = order_training_questions(data, fitted.predictor, fitted.residual)
        save_scorer(Path(options.out), fitted.predictor, facts, options.records, questions, encoder=folder)
    return facts


def _train_published(data: Table, options: TrainOptions, facts: dict[str, Any]) -> dict[str, Any]:
    """Train the published recipe and save it with its facts, which are returned."""
    from routemoa.training.published.export import require_libraries

    require_libraries("torch", "transformers", "tokenizers", "safetensors", "onnx", "onnxscript", "onnxruntime")
    from routemoa.training.published.finetune import PublishedSettings, train_published
    from routemoa.training.published.predictor import build_predictor

    encoder = options.encoder or MDEBERTA
    settings = PublishedSettings(encoder, options.seed, options.epochs, cap=options.cap, pooling=options.pooling)
    trained = train_published(data, Path(f"{options.out.rstrip('/')}.work"), settings, report=_print_line)
    predictor: Predictor = build_predictor(trained, data)
    validation = dict(trained.validation)
    facts = facts | {
        "chosen": choose_baselines(data),
        "history": validation.pop("history"),
        "cross_validated": validation,
        "features": f"{encoder}, fine-tuned",
    }
    residuals = np.zeros(len(data.texts), np.float32)  # only joining a model reads them, in the other recipe
    save_scorer(
        Path(options.out),
        predictor,
        facts,
        options.records,
        order_training_questions(data, predictor, residuals),
        encoder=trained.folder,
    )
    return facts


@contextmanager
def _prepare_encoder(name: str | None) -> Iterator[Path | None]:
    """Yield a folder with a frozen encoder: your own, MiniLM's verified files, or an export from the hub."""
    if name is None or (Path(name) / "encoder.onnx").is_file():
        yield Path(name) if name else None
        return
    with tempfile.TemporaryDirectory(prefix="routemoa-encoder-") as temporary:
        folder = Path(temporary)
        if name == "minilm":
            from routemoa.cli.members.weights import fetch_weights

            model, tokenizer = fetch_weights(MINILM_WEIGHTS)
            (folder / "encoder.onnx").symlink_to(model)
            (folder / "tokenizer.json").symlink_to(tokenizer)
            (folder / "encoder.json").write_text(json.dumps({"pooling": "mean", "cap": 64}) + "\n", "utf-8")
        else:
            from routemoa.training.published.export import export_frozen

            export_frozen(name, folder)
        yield folder


def _print_line(line: str) -> None:
    print_line(line, err=True)
