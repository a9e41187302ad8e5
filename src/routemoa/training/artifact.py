"""Writing a scorer's folder: arrays, manifest with hashes, and a card that says what it is worth."""

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

__all__ = ["save_scorer", "order_training_questions"]

# Kept with 16 bits: enough for them.
HALF_PRECISION = frozenset({"idf", "task_weights", "space", "common", "directions"})
ENCODER_FILES = ("encoder.onnx", "tokenizer.json", "encoder.json")
ORDERED_QUESTIONS = 512  # questions that are ordered by how much they tell of a new model
MAX_QUESTION_CHARACTERS = 2000  # characters of a question that are kept


def save_scorer(  # noqa: PLR0917
    folder: Path,
    predictor: Predictor,
    facts: Mapping[str, Any],
    sources: Sequence[str],
    questions: Sequence[TrainingQuestion],
    encoder: Path | None = None,
) -> None:
    """Write the whole folder at once or not at all; an older scorer in its place is replaced.

    Args:
        facts: what goes into manifest and card beside the arrays, e.g. recipe, seed, command, cross-validated figures.
        sources: the record files.
        seen: the training questions, from `seen` or from another scorer's folder.
        encoder: the folder of the predictor's encoder, whose files become the scorer's own.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as temporary:
        new = Path(temporary) / "new"
        new.mkdir()
        arrays = {
            f.name: np.asarray(getattr(predictor, f.name), np.float16 if f.name in HALF_PRECISION else np.float32)
            for f in fields(predictor)
            if f.name not in {"models", "tasks", "encoder"}
        }
        np.savez_compressed(new / "arrays.npz", allow_pickle=False, **arrays)
        with (new / "questions.jsonl.gz").open("wb") as raw, gzip.GzipFile("", "wb", mtime=0, fileobj=raw) as file:
            file.writelines(msgspec.json.encode(question) + b"\n" for question in questions)
        if encoder:
            for name in ENCODER_FILES:
                shutil.copyfile(encoder / name, new / name)
        about = {
            "format": FORMAT,
            "created": datetime.now(UTC).date().isoformat(),
            "routemoa": __version__,
            "models": list(predictor.models),
            "tasks": list(predictor.tasks),
            **facts,
            "sources": list(sources),
        }
        (new / "card.md").write_text(format_card(about, sources), "utf-8")
        about["files"] = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(new.iterdir())}
        (new / "manifest.json").write_text(json.dumps(about, indent=2, ensure_ascii=False) + "\n", "utf-8")
        if folder.exists():
            if not (folder / "manifest.json").is_file() and any(folder.iterdir()):
                raise FileExistsError(f"{folder} holds something else than a scorer; choose another --out")
            shutil.move(folder, Path(temporary) / "old")
        shutil.move(new, folder)


def order_training_questions(data: Table, predictor: Predictor, residual: Floats) -> list[TrainingQuestion]:
    """The training questions, those first that tell most about a new model."""
    first = most_informative(predictor, predictor.embed(data.texts), ORDERED_QUESTIONS)
    rest = sorted(set(range(len(data.texts))) - set(first))
    return [
        TrainingQuestion(
            data.ids[i], data.tasks[i], data.texts[i][:MAX_QUESTION_CHARACTERS], round(float(np.nan_to_num(residual[i])), 3),
            data.prompts[i], data.references[i],
        )
        for i in [*first, *rest]
    ]  # fmt: skip


def format_card(about: Mapping[str, Any], sources: Sequence[str]) -> str:
    """What a person should know before using the scorer."""
    figures = about.get("cross_validated", {})
    rows = "\n".join(f"| {name} | {_format_figure(value)} |" for name, value in figures.items())
    listed = "\n".join(f"- {s}" for s in sources)
    models = "\n".join(f"- {m}" for m in about["models"])
    return (
        f"# Scorer\n\n{about['created']}, routemoa {about['routemoa']}, recipe {about.get('recipe')}, seed "
        f"{about.get('seed')}\n\n```\n{about.get('command')}\n```\n\n## Data\n\n{listed}\n\n"
        "The weights come under the licence of the records they were trained on.\n\n"
        f"## Figures, cross-validated or held out\n\n| | |\n| --- | --- |\n{rows}\n\n## Models\n\n{models}\n"
    )


def _format_figure(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)
