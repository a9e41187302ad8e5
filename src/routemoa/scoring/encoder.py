"""Encode texts as unit vectors with an ONNX model on the CPU, from a folder that `routemoa.training.published` wrote.

The folder holds encoder.onnx, tokenizer.json and encoder.json. onnxruntime and tokenizers are imported only when a
folder is loaded.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from routemoa.core.errors import ConfigError, MissingExtra

__all__ = ["Encoder", "Pooling", "truncate_text"]

Floats = NDArray[np.float32]
Pooling = Literal["mean", "cls"]
BATCH_SIZE = 64
MAX_CHARACTERS_PER_TOKEN = 16
"""Text beyond this many characters for each token of the cap can hardly be among its first tokens."""


class Encoder:
    """Turns texts into unit vectors. It keeps no state between calls; several threads may use it at once.

    Args:
        session: the onnxruntime session.
        tokenizer: of the `tokenizers` library.
        pooling: the vector is the mean of the tokens' states, or the state of the first token ("cls").
        cap: tokens read of a text, with the special ones.
    """

    def __init__(self, session: Any, tokenizer: Any, pooling: Pooling, cap: int) -> None:
        self.pooling: Pooling = pooling
        self.cap = cap
        self._session = session
        self._tokenizer = tokenizer
        self._input_names = tuple(i.name for i in session.get_inputs())
        self._padding = int((tokenizer.padding or {}).get("pad_id", 0))
        tokenizer.no_padding()  # `_encode_batch` pads: within a batch, after sorting by length
        tokenizer.enable_truncation(cap)

    @classmethod
    def load(cls, folder: Path, cap: int | None = None, threads: int = 1) -> Encoder:
        """Load the encoder of a folder.

        Args:
            cap: tokens read of a text; None takes the folder's own setting, else 64.
            threads: CPU threads of one call.

        Raises:
            ConfigError: a file is missing or damaged.
            MissingExtra: a library is not installed.
        """
        runtime, tokenizers = _import_libraries()
        settings = _read_settings(folder)
        if not (folder / "encoder.onnx").is_file() or not (folder / "tokenizer.json").is_file():
            raise ConfigError(f"{folder}: no encoder: the folder needs encoder.onnx and tokenizer.json")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3  # errors only: a user cannot act on warnings about the graph
        try:
            model = str(folder / "encoder.onnx")
            session = runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
            tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        except Exception as e:  # both libraries raise types of their own, without a common base
            raise ConfigError(f"{folder}: the encoder cannot be read: {e}; export it again") from e
        return cls(session, tokenizer, settings.get("pooling", "mean"), cap or int(settings.get("cap", 64)))

    def encode(self, texts: Sequence[str]) -> Floats:
        """Return unit vectors, N x d; a text without any token is encoded as one padding token."""
        if not texts:
            return np.zeros((0, self._dimension()), np.float32)
        encodings = self._tokenizer.encode_batch([truncate_text(t, self.cap) for t in texts])
        tokens = [e.ids or [self._padding] for e in encodings]
        order = sorted(range(len(tokens)), key=lambda i: len(tokens[i]))
        parts = [
            self._encode_batch([tokens[i] for i in order[at : at + BATCH_SIZE]])
            for at in range(0, len(order), BATCH_SIZE)
        ]
        out = np.empty((len(tokens), parts[0].shape[1]), np.float32)
        out[order] = np.concatenate(parts)
        return out

    def _encode_batch(self, tokens: Sequence[Sequence[int]]) -> Floats:
        longest = max(len(t) for t in tokens)
        ids = np.full((len(tokens), longest), self._padding, np.int64)
        mask = np.zeros_like(ids)
        for row, t in enumerate(tokens):
            ids[row, : len(t)] = t
            mask[row, : len(t)] = 1
        inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        states = self._session.run(None, {name: inputs[name] for name in self._input_names})[0]
        return _normalize(states[:, 0] if self.pooling == "cls" else _mean_pool(states, mask))

    def _dimension(self) -> int:
        return int(self._session.get_outputs()[0].shape[-1])


def truncate_text(text: str, cap: int) -> str:
    """Drop what cannot be among the first `cap` tokens, and lone surrogates, which the tokenizer refuses."""
    return text[: MAX_CHARACTERS_PER_TOKEN * cap].encode("utf-8", "replace").decode("utf-8")


def _mean_pool(states: Floats, mask: NDArray[np.int64]) -> Floats:
    """Average the states (B x T x d) of the tokens that are not padding, B x d."""
    weights = mask.astype(np.float32)[:, :, None]
    out: Floats = (states * weights).sum(1) / weights.sum(1)
    return out


def _normalize(vectors: Floats) -> Floats:
    out: Floats = (vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)).astype(np.float32)
    return out


def _read_settings(folder: Path) -> dict[str, Any]:
    try:
        settings = json.loads((folder / "encoder.json").read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as e:
        raise ConfigError(f"{folder / 'encoder.json'}: {e}; export the encoder again") from e
    if not isinstance(settings, dict) or settings.get("pooling", "mean") not in ("mean", "cls"):
        raise ConfigError(f'{folder / "encoder.json"}: pooling must be "mean" or "cls"')
    return settings


def _import_libraries() -> tuple[Any, Any]:
    try:
        import onnxruntime
        import tokenizers
    except ImportError as e:
        raise MissingExtra(f"{e.name}, which the scorer's encoder needs,", "encoder") from e
    return onnxruntime, tokenizers
