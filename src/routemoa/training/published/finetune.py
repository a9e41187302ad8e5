"""The published recipe: an encoder fine-tuned with RouterDC's two contrastive losses, then calibrated and exported.

    score of model m on query q = sigmoid(slope x cos(E(q), k_m) + shift_m)       (RouteMoA, arXiv 2601.18130)

E: a Hugging Face encoder, its first token (or the mean of all); k_m: a learned vector of the model. The slope and the
shifts are ours: fitted on the validation questions, on the vectors of the int8 encoder that will do the work.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from routemoa.core.errors import ConfigError
from routemoa.scoring.encoder import Encoder, Pooling
from routemoa.scoring.predictor import Floats, sigmoid
from routemoa.training.clusters import group_questions
from routemoa.training.linear import fit_cosine_calibration
from routemoa.training.published.checkpoint import catch_interrupt, read_checkpoint, write_checkpoint
from routemoa.training.published.export import PretrainedEncoder, export_encoder, require_libraries, load_pretrained
from routemoa.training.published.validation import first_choice_accuracy, split_by_task, normalize_rows
from routemoa.training.table import Table, average_scores

__all__ = ["PublishedScorer", "train_published"]

MAX_CLUSTERS = 8  # groups of the sample-sample loss where the records name a single task
MIN_QUESTIONS = 10  # questions
Say = Callable[[str], None]
Ints = NDArray[np.intp]


@dataclass(frozen=True)
class PublishedScorer:
    """What came out. `folder` holds the encoder (see routemoa.scoring.encoder); M models, d dimensions.

    Attributes:
        embeddings: M x d, unit rows.
        slope: of the cosine.
        shift: M.
        validation: figures on the questions kept back, the first choice before and after quantisation among them.
    """

    models: tuple[str, ...]
    folder: Path
    embeddings: Floats
    slope: float
    shift: Floats
    validation: Mapping[str, Any]

    def predict(self, vectors: Floats) -> Floats:
        """P(the model answers well), N x M, of unit vectors N x d that the encoder in `folder` made."""
        return sigmoid(self.slope * (vectors @ self.embeddings.T) + self.shift)


@dataclass(frozen=True)
class _Settings:
    """What a checkpoint must agree with for a run to go on from it."""

    encoder: str
    seed: int
    batch: int
    cap: int
    learning_rate: float
    validation: float
    sample_weight: float
    pooling: Pooling
    temperature: float
    data: str  # digest


def train_published(
    data: Table,
    *,
    encoder: str = "microsoft/mdeberta-v3-base",
    out: Path,
    seed: int = 0,
    epochs: int = 15,
    batch: int = 64,
    cap: int = 512,
    learning_rate: float = 5e-5,
    device: str | None = None,
    validation: float = 0.1,
    patience: int = 4,
    sample_weight: float = 1.0,
    resume: bool = True,
    say: Say = lambda line: None,
    pooling: Pooling = "cls",
    temperature: float = 1.0,
    bf16: bool | None = None,
) -> PublishedScorer:
    """Train on `data`; the split, the order and every draw follow from `seed`.

    Args:
        encoder: a local folder, or a name on the hub.
        out: work folder: last.safetensors (after every epoch and on Ctrl-C; the next run goes on from it),
            best.safetensors, and `encoder`, the folder of the result.
        cap: tokens read of a question; less where the encoder takes less.
        device: of torch; left out, "cuda" where there is one.
        validation: share of the questions of every task kept back for early stopping and calibration.
        patience: epochs without a better first choice on them before training stops.
        sample_weight: of the sample-sample loss beside the sample-LLM loss.
        bf16: autocast; left out, on cuda only.

    Raises:
        ConfigError: a library is missing, the encoder cannot be had, or there are too few questions.
        KeyboardInterrupt: Ctrl-C, once the checkpoint is written; a second one does not wait for it.
    """
    require_libraries("torch", "transformers", "tokenizers", "safetensors", "onnx", "onnxscript", "onnxruntime")
    import torch

    if len(data.texts) < MIN_QUESTIONS:
        raise ConfigError(f"{len(data.texts)} questions are too few to train an encoder on; give at least {MIN_QUESTIONS}")
    found = load_pretrained(encoder)
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    cap = min(cap, found.max_tokens)
    digest = hashlib.sha256(json.dumps([data.texts, data.tasks, data.models]).encode() + data.scores.tobytes())
    settings = _Settings(
        encoder, seed, batch, cap, learning_rate, validation, sample_weight, pooling, temperature, digest.hexdigest()
    )
    out.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng([torch.cuda.current_device()] if device.startswith("cuda") else []):
        run = _Run(data, found, settings, out, device, device.startswith("cuda") if bf16 is None else bf16)
        say(f"{len(run.train)} questions to train on, {len(run.held)} for validation, {len(data.models)} models")
        if resume and run.resume():
            say(f"going on from {out / 'last.safetensors'}: epoch {run.epoch + 1}, step {run.step + 1}")
        with catch_interrupt() as asked:
            while run.epoch < epochs and not run.stalled(patience):
                run.learn(asked)
                say(run.said())
        return run.finish(say, data.models)


class _Run:
    """The model, the optimizer, and how far they have come: `epoch` and `step` within it, both counted from 0."""

    def __init__(  # noqa: PLR0917
        self, data: Table, found: PretrainedEncoder, settings: _Settings, out: Path, device: str, bf16: bool
    ) -> None:
        import torch

        self.settings, self.out, self.device, self.bf16 = settings, out, device, bf16
        self.found, self.scores = found, data.scores
        self.epoch, self.step, self.loss = 0, 0, 0.0
        self.history: list[dict[str, float]] = []
        rng = np.random.default_rng(settings.seed)
        self.train, self.held = split_by_task(data.tasks, settings.validation, rng)
        self.texts = data.texts
        self.tokens = found.tokenize(data.texts, settings.cap)
        start = rng.standard_normal((len(data.models), found.model.config.hidden_size), np.float32)
        models = torch.nn.Embedding.from_pretrained(torch.from_numpy(normalize_rows(start)), freeze=False)
        self.net = torch.nn.ModuleDict({"encoder": found.model, "models": models}).to(device)
        self.optimizer = torch.optim.AdamW(self.net.parameters(), lr=settings.learning_rate)
        self.groups = group_questions(data.tasks, lambda: self.encode(range(len(self.tokens))), MAX_CLUSTERS, rng)[1]

    def learn(self, asked: Callable[[], bool]) -> None:
        """What is left of the epoch. Every draw follows from seed, epoch and step: a checkpoint need not hold any."""
        order = np.random.default_rng((self.settings.seed, self.epoch)).permutation(self.train)
        while self.step * self.settings.batch < len(order):
            at = self.step * self.settings.batch
            self.loss += self._descend(order[at : at + self.settings.batch])
            self.step += 1
            if asked():
                self.save("last.safetensors", whole=True)
                raise KeyboardInterrupt
        self.history.append({"loss": self.loss / self.step, **self.figures(self.encode(self.held))})
        self.epoch, self.step, self.loss = self.epoch + 1, 0, 0.0
        if self.best() == self.epoch - 1:
            self.save("best.safetensors", whole=False)
        self.save("last.safetensors", whole=True)

    def _descend(self, rows: Ints) -> float:
        """One step of AdamW on a batch; its loss."""
        import torch

        from routemoa.training.published.losses import sample_llm_loss, sample_sample_loss

        s = self.settings
        lot = int(np.random.SeedSequence((s.seed, self.epoch, self.step)).generate_state(1)[0])
        torch.manual_seed(lot)  # dropout
        generator = torch.Generator().manual_seed(lot)
        self.net.train()
        vectors = self.found.encode([self.tokens[i] for i in rows], s.pooling, self.bf16)
        similarity = vectors @ torch.nn.functional.normalize(self.net["models"].weight, dim=1).T
        scores = torch.from_numpy(self.scores[rows]).to(self.device)
        groups = torch.from_numpy(self.groups[rows]).to(self.device)
        loss = sample_llm_loss(similarity, scores, temperature=s.temperature, generator=generator)
        loss = loss + s.sample_weight * sample_sample_loss(vectors, groups, generator, temperature=s.temperature)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return float(loss.detach())

    def encode(self, rows: Sequence[int] | Ints) -> Floats:
        """Unit vectors of questions, N x d."""
        import torch

        self.net.eval()
        order = sorted(range(len(rows)), key=lambda i: len(self.tokens[rows[i]]))
        out = np.zeros((len(rows), self.net["models"].embedding_dim), np.float32)
        with torch.no_grad():
            for at in range(0, len(order), self.settings.batch):
                some = order[at : at + self.settings.batch]
                tokens = [self.tokens[rows[i]] for i in some]
                out[some] = self.found.encode(tokens, self.settings.pooling, self.bf16).cpu().numpy()
        return out

    def embeddings(self) -> Floats:
        """The models' unit vectors, M x d."""
        return normalize_rows(self.net["models"].weight.detach().cpu().numpy())

    def best(self) -> int:
        """The epoch with the best first choice on the validation questions; ties: the smaller log loss."""
        return max(range(len(self.history)), key=lambda i: (self.history[i]["accuracy"], -self.history[i]["log_loss"]))

    def stalled(self, patience: int) -> bool:
        """Whether `patience` epochs have passed without a better one."""
        return bool(self.history) and self.epoch - 1 - self.best() >= patience

    def said(self) -> str:
        """The epoch in a line."""
        now = self.history[-1]
        return (
            f"epoch {self.epoch}: loss {now['loss']:.4f}, validation: first choice {now['accuracy']:.4f}, "
            f"log loss {now['log_loss']:.4f}{', the best so far' if self.best() == self.epoch - 1 else ''}"
        )

    def figures(self, vectors: Floats) -> dict[str, float]:
        """Of the first choice and the log loss on the validation questions, calibrated on them."""
        cosines, scores = vectors @ self.embeddings().T, self.scores[self.held]
        fitted = fit_cosine_calibration(cosines, scores)
        return {"accuracy": first_choice_accuracy(fitted.slope * cosines + fitted.shift, scores), "log_loss": fitted.loss}

    def finish(self, say: Say, models: tuple[str, ...]) -> PublishedScorer:
        """The best epoch's weights, exported and calibrated."""
        state, tensors = read_checkpoint(self.out / "best.safetensors")
        self.net.load_state_dict(tensors)
        before = self.figures(self.encode(self.held))
        say(f"best epoch {state['epoch']}; writing the int8 encoder")
        folder = self.out / "encoder"
        export_encoder(self.found.model, self.found.tokenizer, folder, self.settings.pooling, self.settings.cap)
        vectors = Encoder.load(folder, threads=os.cpu_count() or 1).encode([self.texts[i] for i in self.held])
        scores, embeddings = self.scores[self.held], self.embeddings()
        fitted = fit_cosine_calibration(vectors @ embeddings.T, scores)
        after = self.figures(vectors)
        figures = {
            "n": len(self.held),
            "best_epoch": state["epoch"],
            "accuracy_before_quantisation": before["accuracy"],
            "accuracy": after["accuracy"],
            "accuracy_by_cosine_alone": first_choice_accuracy(vectors @ embeddings.T, scores),
            "best_single": first_choice_accuracy(np.tile(average_scores(self.scores[self.train]), (len(scores), 1)), scores),
            "oracle": first_choice_accuracy(np.nan_to_num(scores, nan=-1.0), scores),
            "log_loss_before_quantisation": before["log_loss"],
            "log_loss": after["log_loss"],
            "history": self.history,
        }
        say(f"validation: first choice {before['accuracy']:.4f}, after quantisation {after['accuracy']:.4f}")
        return PublishedScorer(models, folder, embeddings, fitted.slope, fitted.shift, figures)

    def resume(self) -> bool:
        """Go on from the checkpoint, if there is one of the same settings and data."""
        path = self.out / "last.safetensors"
        if not path.is_file():
            return False
        state, tensors = read_checkpoint(path)
        if state["settings"] != asdict(self.settings):
            return False
        self.epoch, self.step, self.loss, self.history = (state[k] for k in ("epoch", "step", "loss", "history"))
        mark = "optimizer/"
        self.net.load_state_dict({k: v for k, v in tensors.items() if not k.startswith(mark)})
        kept: dict[int, dict[str, Any]] = {}
        for name, tensor in tensors.items():
            if name.startswith(mark):
                _, place, key = name.split("/")
                kept.setdefault(int(place), {})[key] = tensor
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": kept, "param_groups": groups})
        return True

    def save(self, name: str, whole: bool) -> None:
        """The weights and where we are, with the optimizer if `whole`: a file that is there in full or not at all."""
        tensors = dict(self.net.state_dict())
        if whole:
            for place, kept in self.optimizer.state_dict()["state"].items():
                tensors |= {f"optimizer/{place}/{key}": tensor for key, tensor in kept.items()}
        state = {k: getattr(self, k) for k in ("epoch", "step", "loss", "history")}
        state["settings"] = asdict(self.settings)
        write_checkpoint(self.out / name, state, tensors)
