"""The settings of the published recipe."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from routemoa.scoring.encoder import Pooling
from routemoa.training.table import Table

__all__ = ["PublishedSettings"]


@dataclass(frozen=True)
class PublishedSettings:
    """How to fine-tune an encoder; the split, the order of questions and every draw follow from `seed`."""

    encoder: str = "microsoft/mdeberta-v3-base"
    """A local folder, or a name on the Hugging Face hub."""
    seed: int = 0
    epochs: int = 15
    """At most."""
    batch: int = 64
    """Questions."""
    cap: int = 512
    """Tokens read of a question; fewer where the encoder takes fewer."""
    learning_rate: float = 5e-5
    device: str | None = None
    """Of torch; None takes "cuda" where there is one."""
    validation: float = 0.1
    """Share of the questions of every task that is held out for early stopping and calibration."""
    patience: int = 4
    """Epochs without a better first choice on the held-out questions before training stops."""
    sample_weight: float = 1.0
    """Weight of the sample-sample loss beside the sample-LLM loss."""
    pooling: Pooling = "cls"
    temperature: float = 1.0
    """Divides the cosines in both losses."""
    bf16: bool | None = None
    """Use autocast; None does so on cuda only."""

    def checkpoint_key(self, data: Table) -> dict[str, Any]:
        """Return what a checkpoint must agree with for a run to continue from it; the names stand in checkpoints."""
        names = (
            "encoder", "seed", "batch", "cap", "learning_rate", "validation", "sample_weight", "pooling", "temperature"
        )  # fmt: skip
        digest = hashlib.sha256(json.dumps([data.texts, data.tasks, data.models]).encode() + data.scores.tobytes())
        return {name: getattr(self, name) for name in names} | {"data": digest.hexdigest()}
