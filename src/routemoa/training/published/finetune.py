"""The published recipe: fine-tune an encoder with RouterDC's two contrastive losses, then export and calibrate it.

    score of model m on query q = sigmoid(slope * cos(E(q), k_m) + shift_m)       (RouteMoA, arXiv 2601.18130)

E is a Hugging Face encoder, its first token or the mean of all; k_m is a learned vector of the model. The slope and the
shifts are ours: fitted on the validation questions, with the vectors of the int8 encoder that will be used.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from routemoa.core.errors import ConfigError
from routemoa.core.text.plural import counted
from routemoa.scoring.encoder import Encoder
from routemoa.scoring.mean_scores import average_scores
from routemoa.scoring.predictor import Floats, sigmoid
from routemoa.training.linear import fit_cosine_calibration
from routemoa.training.published.checkpoint import catch_interrupt
from routemoa.training.published.export import export_encoder, load_pretrained, require_libraries
from routemoa.training.published.run import LAST_CHECKPOINT, TrainingRun
from routemoa.training.published.settings import PublishedSettings
from routemoa.training.published.validation import first_choice_accuracy
from routemoa.training.table import Table

__all__ = ["PublishedScorer", "PublishedSettings", "train_published"]

MIN_QUESTIONS = 10
Report = Callable[[str], None]


@dataclass(frozen=True)
class PublishedScorer:
    """A fine-tuned scorer of M models, with vectors of d dimensions."""

    models: tuple[str, ...]
    folder: Path
    """Of the encoder (routemoa.scoring.encoder)."""
    embeddings: Floats
    """M x d, unit rows."""
    slope: float
    """Of the cosine."""
    shift: Floats
    """M."""
    validation: Mapping[str, Any]
    """Figures on the held-out questions, among them the first choice before and after quantization."""

    def predict(self, vectors: Floats) -> Floats:
        """Return P(the model answers well), N x M, for unit vectors (N x d) of the encoder in `folder`."""
        return sigmoid(self.slope * (vectors @ self.embeddings.T) + self.shift)


def train_published(
    data: Table,
    out: Path,
    settings: PublishedSettings | None = None,
    *,
    report: Report = lambda line: None,
) -> PublishedScorer:
    """Train on `data`.

    Args:
        data: at least ten questions.
        out: the work folder: last.safetensors (written after every epoch and on Ctrl-C; the next run continues from
            it), best.safetensors, and `encoder`, the folder of the result.
        settings: None takes the defaults.
        report: gets a line on the progress.

    Raises:
        ConfigError: a library is missing, the encoder cannot be loaded, or there are too few questions.
        KeyboardInterrupt: Ctrl-C, once the checkpoint is written; a second one does not wait for it.
    """
    require_libraries("torch", "transformers", "tokenizers", "safetensors", "onnx", "onnxscript", "onnxruntime")
    import torch

    settings = settings or PublishedSettings()
    if len(data.texts) < MIN_QUESTIONS:
        raise ConfigError(
            f"too few to train an encoder on: {counted(len(data.texts), 'question')}; give at least {MIN_QUESTIONS}"
        )
    pretrained = load_pretrained(settings.encoder)
    settings = replace(settings, cap=min(settings.cap, pretrained.max_tokens))
    device = settings.device or ("cuda" if torch.cuda.is_available() else "cpu")
    out.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng([torch.cuda.current_device()] if device.startswith("cuda") else []):
        run = TrainingRun(data, pretrained, settings, out, device)
        report(
            f"{counted(len(run.training), 'question')} to train on, {len(run.validation)} for validation, "
            f"{counted(len(data.models), 'model')}"
        )
        if run.resume():
            report(f"going on from {out / LAST_CHECKPOINT}: epoch {run.epoch + 1}, step {run.step + 1}")
        with catch_interrupt() as interrupted:
            while run.epoch < settings.epochs and not run.has_stalled():
                run.train_epoch(interrupted)
                report(run.describe_epoch())
        return _export_best(run, data, settings, out / "encoder", report)


def _export_best(
    run: TrainingRun, data: Table, settings: PublishedSettings, folder: Path, report: Report
) -> PublishedScorer:
    """Export the best epoch's encoder to `folder`, calibrate it, and measure it on the validation questions."""
    best_epoch = run.load_best()
    before = run.measure(run.network.encode(run.validation))
    report(f"best epoch {best_epoch}; writing the int8 encoder")
    pretrained = run.network.pretrained
    export_encoder(pretrained.model, pretrained.tokenizer, folder, settings.pooling, settings.cap)
    encoder = Encoder.load(folder, threads=os.cpu_count() or 1)
    vectors = encoder.encode([data.texts[i] for i in run.validation])
    scores, embeddings = data.scores[run.validation], run.network.model_embeddings()
    calibration = fit_cosine_calibration(vectors @ embeddings.T, scores)
    after = run.measure(vectors)
    best_single = np.tile(average_scores(data.scores[run.training]), (len(scores), 1))
    figures = {
        "n": len(run.validation),
        "best_epoch": best_epoch,
        "accuracy_before_quantisation": before["accuracy"],
        "accuracy": after["accuracy"],
        "accuracy_by_cosine_alone": first_choice_accuracy(vectors @ embeddings.T, scores),
        "best_single": first_choice_accuracy(best_single, scores),
        "oracle": first_choice_accuracy(np.nan_to_num(scores, nan=-1.0), scores),
        "log_loss_before_quantisation": before["log_loss"],
        "log_loss": after["log_loss"],
        "history": run.history,
    }
    report(f"validation: first choice {before['accuracy']:.4f}, after quantization {after['accuracy']:.4f}")
    return PublishedScorer(data.models, folder, embeddings, calibration.slope, calibration.shift, figures)
