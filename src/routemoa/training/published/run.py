"""One training run of the published recipe: epochs of AdamW, early stopping, and checkpoints to continue from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from routemoa.scoring.clusters import group_questions
from routemoa.scoring.predictor import Floats
from routemoa.training.linear import fit_cosine_calibration
from routemoa.training.published.checkpoint import read_checkpoint, write_checkpoint
from routemoa.training.published.export import PretrainedEncoder
from routemoa.training.published.network import RouterNetwork
from routemoa.training.published.settings import PublishedSettings
from routemoa.training.published.validation import Ints, first_choice_accuracy, normalize_rows, split_by_task
from routemoa.training.table import Table

__all__ = ["BEST_CHECKPOINT", "LAST_CHECKPOINT", "TrainingRun"]

BEST_CHECKPOINT = "best.safetensors"
LAST_CHECKPOINT = "last.safetensors"
CLUSTERS = 8
"""Groups of the sample-sample loss, where the records name a single task."""
OPTIMIZER = "optimizer/"
"""Begins the names of the optimizer's tensors in a checkpoint."""


class TrainingRun:
    """A network in training, its optimizer, and how far they have come: `epoch`, and `step` within it, from 0.

    Args:
        data: N questions.
        pretrained: the encoder to start from.
        settings: with the `cap` that the encoder allows.
        out: the folder of the checkpoints.
        device: of torch.
    """

    def __init__(
        self, data: Table, pretrained: PretrainedEncoder, settings: PublishedSettings, out: Path, device: str
    ) -> None:
        import torch

        self.epoch, self.step, self.loss = 0, 0, 0.0
        self.history: list[dict[str, float]] = []
        self._settings = settings
        self._checkpoint_key = settings.checkpoint_key(data)
        self._out = out
        self._scores = data.scores
        rng = np.random.default_rng(settings.seed)
        self.training, self.validation = split_by_task(data.tasks, settings.validation, rng)
        tokens = pretrained.tokenize(data.texts, settings.cap)
        start = rng.standard_normal((len(data.models), pretrained.model.config.hidden_size), np.float32)
        self.network = RouterNetwork(pretrained, tokens, normalize_rows(start), settings, device)
        self._optimizer = torch.optim.AdamW(self.network.module.parameters(), lr=settings.learning_rate)
        self._groups = group_questions(
            data.tasks, lambda: self.network.encode(range(len(tokens))), CLUSTERS, rng
        ).indices

    # --- training

    def train_epoch(self, interrupted: Callable[[], bool]) -> None:
        """Train what is left of the epoch, and measure it.

        Every draw follows from seed, epoch and step, so that a checkpoint need not hold the state of a generator.

        Raises:
            KeyboardInterrupt: `interrupted` returned true; the checkpoint is written.
        """
        batch = self._settings.batch
        order = np.random.default_rng((self._settings.seed, self.epoch)).permutation(self.training)
        while self.step * batch < len(order):
            at = self.step * batch
            self.loss += self._train_batch(order[at : at + batch])
            self.step += 1
            if interrupted():
                self._save(LAST_CHECKPOINT, with_optimizer=True)
                raise KeyboardInterrupt
        figures = self.measure(self.network.encode(self.validation))
        self.history.append({"loss": self.loss / self.step, **figures})
        self.epoch, self.step, self.loss = self.epoch + 1, 0, 0.0
        if self.best_epoch() == self.epoch - 1:
            self._save(BEST_CHECKPOINT, with_optimizer=False)
        self._save(LAST_CHECKPOINT, with_optimizer=True)

    def _train_batch(self, rows: Ints) -> float:
        """Take one step of AdamW on a batch, and return its loss."""
        import torch

        seed = int(np.random.SeedSequence((self._settings.seed, self.epoch, self.step)).generate_state(1)[0])
        torch.manual_seed(seed)  # of the dropout
        generator = torch.Generator().manual_seed(seed)
        loss = self.network.compute_loss(rows, self._scores[rows], self._groups[rows], generator)
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()
        return float(loss.detach())

    # --- validation

    def measure(self, vectors: Floats) -> dict[str, float]:
        """Return accuracy and log-loss on the validation questions, whose vectors these are, calibrated on them."""
        cosines, scores = vectors @ self.network.model_embeddings().T, self._scores[self.validation]
        calibration = fit_cosine_calibration(cosines, scores)
        accuracy = first_choice_accuracy(calibration.slope * cosines + calibration.shift, scores)
        return {"accuracy": accuracy, "log_loss": calibration.loss}

    def best_epoch(self) -> int:
        """Return the epoch with the best first choice on the validation questions; of equals the smaller log-loss."""
        return max(range(len(self.history)), key=lambda i: (self.history[i]["accuracy"], -self.history[i]["log_loss"]))

    def has_stalled(self) -> bool:
        """Return whether `patience` epochs have passed without a better one."""
        return bool(self.history) and self.epoch - 1 - self.best_epoch() >= self._settings.patience

    def describe_epoch(self) -> str:
        """Return a line on the last epoch."""
        last = self.history[-1]
        return (
            f"epoch {self.epoch}: loss {last['loss']:.4f}, validation: first choice {last['accuracy']:.4f}, "
            f"log loss {last['log_loss']:.4f}{', the best so far' if self.best_epoch() == self.epoch - 1 else ''}"
        )

    # --- checkpoints

    def resume(self) -> bool:
        """Continue from the last checkpoint; return False where there is none of the same settings and data."""
        path = self._out / LAST_CHECKPOINT
        if not path.is_file():
            return False
        state, tensors = read_checkpoint(path)
        if state["settings"] != self._checkpoint_key:
            return False
        self.epoch, self.step, self.loss, self.history = (state[k] for k in ("epoch", "step", "loss", "history"))
        self.network.module.load_state_dict({k: v for k, v in tensors.items() if not k.startswith(OPTIMIZER)})
        parameters: dict[int, dict[str, Any]] = {}
        for name, tensor in tensors.items():
            if name.startswith(OPTIMIZER):
                _, number, key = name.split("/")
                parameters.setdefault(int(number), {})[key] = tensor
        groups = self._optimizer.state_dict()["param_groups"]
        self._optimizer.load_state_dict({"state": parameters, "param_groups": groups})
        return True

    def load_best(self) -> int:
        """Load the weights of the best epoch, and return its number, from 1."""
        state, tensors = read_checkpoint(self._out / BEST_CHECKPOINT)
        self.network.module.load_state_dict(tensors)
        epoch: int = state["epoch"]
        return epoch

    def _save(self, name: str, *, with_optimizer: bool) -> None:
        tensors = dict(self.network.module.state_dict())
        if with_optimizer:
            for number, parameter in self._optimizer.state_dict()["state"].items():
                tensors |= {f"{OPTIMIZER}{number}/{key}": tensor for key, tensor in parameter.items()}
        state = {k: getattr(self, k) for k in ("epoch", "step", "loss", "history")}
        state["settings"] = self._checkpoint_key
        write_checkpoint(self._out / name, state, tensors)
