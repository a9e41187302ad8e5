"""The network that the published recipe trains: an encoder, and one learned vector for each model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from routemoa.scoring.predictor import Floats
from routemoa.training.published.export import PretrainedEncoder
from routemoa.training.published.settings import PublishedSettings
from routemoa.training.published.validation import Ints, normalize_rows

__all__ = ["RouterNetwork"]


class RouterNetwork:
    """Encodes N questions, and holds the vectors of M models beside them.

    Args:
        pretrained: the encoder; it is trained in place.
        tokens: of the N questions.
        model_vectors: M x d, to start from.
        settings: of the training.
        device: of torch.
    """

    def __init__(
        self,
        pretrained: PretrainedEncoder,
        tokens: list[list[int]],
        model_vectors: Floats,
        settings: PublishedSettings,
        device: str,
    ) -> None:
        import torch

        self.pretrained = pretrained
        self._tokens = tokens
        self._settings = settings
        self._device = device
        self._bf16 = device.startswith("cuda") if settings.bf16 is None else settings.bf16
        models = torch.nn.Embedding.from_pretrained(torch.from_numpy(model_vectors), freeze=False)
        # These names stand in checkpoints.
        self.module = torch.nn.ModuleDict({"encoder": pretrained.model, "models": models}).to(device)

    def compute_loss(self, rows: Ints, scores: Floats, groups: Ints, generator: Any) -> Any:
        """Return the loss of a batch of questions, a scalar with gradients.

        Args:
            rows: B, the places of the questions.
            scores: B x M, NaN where not measured.
            groups: B, the group of each question.
            generator: breaks ties and draws negatives.
        """
        import torch

        from routemoa.training.published.losses import sample_llm_loss, sample_sample_loss

        settings = self._settings
        self.module.train()
        vectors = self.pretrained.encode([self._tokens[i] for i in rows], settings.pooling, self._bf16)
        similarity = vectors @ torch.nn.functional.normalize(self.module["models"].weight, dim=1).T
        targets = torch.from_numpy(scores).to(self._device)
        kinds = torch.from_numpy(groups).to(self._device)
        loss = sample_llm_loss(similarity, targets, temperature=settings.temperature, generator=generator)
        contrast = sample_sample_loss(vectors, kinds, generator, temperature=settings.temperature)
        return loss + settings.sample_weight * contrast

    def encode(self, rows: Sequence[int] | Ints) -> Floats:
        """Return the unit vectors of questions, len(rows) x d."""
        import torch

        self.module.eval()
        order = sorted(range(len(rows)), key=lambda i: len(self._tokens[rows[i]]))
        out = np.zeros((len(rows), self.module["models"].embedding_dim), np.float32)
        with torch.no_grad():
            for at in range(0, len(order), self._settings.batch):
                batch = order[at : at + self._settings.batch]
                tokens = [self._tokens[rows[i]] for i in batch]
                out[batch] = self.pretrained.encode(tokens, self._settings.pooling, self._bf16).cpu().numpy()
        return out

    def model_embeddings(self) -> Floats:
        """Return the models' unit vectors, M x d."""
        return normalize_rows(self.module["models"].weight.detach().cpu().numpy())
