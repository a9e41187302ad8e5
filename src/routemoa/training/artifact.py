"""Write a scorer's folder: its arrays, the training questions, a card with its figures, and a manifest with hashes."""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from routemoa import __version__
from routemoa.scoring.predictor import Floats, Predictor
from routemoa.scoring.trained import FORMAT, TrainingQuestion
from routemoa.training.new_model import most_informative
from routemoa.training.table import Table

__all__ = ["order_training_questions", "save_scorer"]

HALF_PRECISION = frozenset({"idf", "task_weights", "space", "common", "directions"})
"""Arrays that are stored with 16 bits, which is precise enough for them."""
ENCODER_FILES = ("encoder.onnx", "tokenizer.json", "encoder.json")
ORDERED_QUESTIONS = 512
"""Questions that are ordered by how much they say about a new model; the others follow as they are."""
MAX_QUESTION_CHARACTERS = 2000


def save_scorer(
    folder: Path,
    predictor: Predictor,
    facts: Mapping[str, Any],
    sources: Sequence[str],
    questions: Sequence[TrainingQuestion],
    *,
    encoder: Path | None = None,
) -> None:
    """Write the whole folder in one step; an older scorer in its place is replaced.

    Args:
        folder: where to write.
        predictor: the scorer.
        facts: what else goes into manifest and card: recipe, seed, command, cross-validated figures, ...
        sources: the record files.
        questions: the training questions, from `order_training_questions` or from another scorer's folder.
        encoder: the folder of the predictor's encoder, whose files are copied.

    Raises:
        FileExistsError: the folder holds something other than a scorer.
        OSError: it cannot be written.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as temporary:
        new = Path(temporary) / "new"
        new.mkdir()
        _write_arrays(new / "arrays.npz", predictor)
        with (new / "questions.jsonl.gz").open("wb") as raw, gzip.GzipFile("", "wb", mtime=0, fileobj=raw) as file:
            file.writelines(msgspec.json.encode(question) + b"\n" for question in questions)
        if encoder:
            for name in ENCODER_FILES:
                shutil.copyfile(encoder / name, new / name)
        manifest = {
            "format": FORMAT,
            "created": datetime.now(UTC).date().isoformat(),
            "routemoa": __version__,
            "models": list(predictor.models),
            "tasks": list(predictor.tasks),
            **facts,
            "sources": list(sources),
        }
        (new / "card.md").write_text(format_card(manifest), "utf-8")
        manifest["files"] = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(new.iterdir())}
        (new / "manifest.json").write_text(json.dumps(manifest, indent=2, ensure_ascii=False) + "\n", "utf-8")
        if folder.exists():
            if not (folder / "manifest.json").is_file() and any(folder.iterdir()):
                raise FileExistsError(f"{folder} is not empty and holds no scorer; choose another --out")
            shutil.move(folder, Path(temporary) / "old")
        shutil.move(new, folder)


def order_training_questions(data: Table, predictor: Predictor, residual: Floats) -> list[TrainingQuestion]:
    """Return the training questions, the most informative about a new model first; `residual` is N."""
    first = most_informative(predictor, predictor.embed(data.texts), ORDERED_QUESTIONS)
    rest = sorted(set(range(len(data.texts))) - set(first))
    return [
        TrainingQuestion(
            id=data.ids[i],
            task=data.tasks[i],
            query=data.texts[i][:MAX_QUESTION_CHARACTERS],
            residual=round(float(np.nan_to_num(residual[i])), 3),
            prompt=data.prompts[i],
            reference=data.references[i],
            scores=tuple(None if np.isnan(score) else round(float(score), 4) for score in data.scores[i]),
        )
        for i in [*first, *rest]
    ]


def format_card(manifest: Mapping[str, Any]) -> str:
    """Return what a person should know before using the scorer, as Markdown."""
    figures = manifest.get("cross_validated", {})
    rows = "\n".join(f"| {name} | {_format_figure(value)} |" for name, value in figures.items())
    sources = "\n".join(f"- {s}" for s in manifest["sources"])
    models = "\n".join(f"- {m}" for m in manifest["models"])
    return (
        f"# Scorer\n\n{manifest['created']}, routemoa {manifest['routemoa']}, recipe {manifest.get('recipe')}, seed "
        f"{manifest.get('seed')}\n\n```\n{manifest.get('command')}\n```\n\n## Data\n\n{sources}\n\n"
        "The weights come under the licence of the records they were trained on.\n\n"
        f"## Figures, cross-validated or held out\n\n| | |\n| --- | --- |\n{rows}\n\n## Models\n\n{models}\n"
    )


def _write_arrays(path: Path, predictor: Predictor) -> None:
    arrays = {
        f.name: np.asarray(getattr(predictor, f.name), np.float16 if f.name in HALF_PRECISION else np.float32)
        for f in fields(predictor)
        if f.name not in {"models", "tasks", "encoder"}
    }
    np.savez_compressed(path, allow_pickle=False, **arrays)


def _format_figure(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)
