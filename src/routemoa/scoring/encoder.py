"""Query text to a unit vector, by an ONNX encoder on the CPU: encoder.onnx, tokenizer.json, encoder.json in a folder.

`routemoa.training.published.export` writes such folders. onnxruntime and tokenizers are asked for only when
a folder is loaded.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from routemoa.core.errors import ConfigError

__all__ = ["Encoder", "Pooling", "truncate_text"]

Floats = NDArray[np.float32]
Pooling = Literal["mean", "cls"]
BATCH_SIZE = 64
MAX_CHARACTERS_PER_TOKEN = 16  # for each token of the cap: what lies beyond can hardly be among the first `cap` tokens


class Encoder:
    """Texts to unit vectors. It keeps no state between calls and may be used from several threads at once."""

    def __init__(self, session: Any, tokenizer: Any, pooling: Pooling, cap: int) -> None:
        self.pooling: Pooling = pooling
        self.cap = cap
        self._session = session
        self._tokenizer = tokenizer
        self._input_names = tuple(i.name for i in session.get_inputs())
        self._padding = int((tokenizer.padding or {}).get("pad_id", 0))
        tokenizer.no_padding()  # done here, within each batch and after sorting by length
        tokenizer.enable_truncation(cap)

    @classmethod
    def load(cls, folder: Path, cap: int | None = None, threads: int = 1) -> Encoder:
        """The encoder in a folder.

        Args:
            cap: tokens read of a text, with the special ones; left out, what the folder says, else 64.
            threads: of the CPU, within one call.

        Raises:
            ConfigError: a file or a library is missing, or a file is damaged.
        """
        runtime, tokenizers = _import_libraries()
        about = _read_settings(folder)
        if not (folder / "encoder.onnx").is_file() or not (folder / "tokenizer.json").is_file():
            raise ConfigError(f"{folder}: no encoder: it needs encoder.onnx and tokenizer.json")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3  # errors only: warnings about the graph are nothing a user can mend
        try:
            model = str(folder / "encoder.onnx")
            session = runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
            tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        except Exception as e:  # both libraries raise their own kinds, without a common base
            raise ConfigError(f"{folder}: the encoder cannot be read: {e}; export it again") from e
        return cls(session, tokenizer, about.get("pooling", "mean"), cap or int(about.get("cap", 64)))

    def encode(self, texts: Sequence[str]) -> Floats:
        """Unit vectors, N x d; a text without any token is encoded as one padding token."""
        if not texts:
            return np.zeros((0, self._dimension()), np.float32)
        found = self._tokenizer.encode_batch([truncate_text(t, self.cap) for t in texts])
        tokens = [e.ids or [self._padding] for e in found]
        order = sorted(range(len(tokens)), key=lambda i: len(tokens[i]))
        parts = [self._encode_batch([tokens[i] for i in order[at : at + BATCH_SIZE]]) for at in range(0, len(order), BATCH_SIZE)]
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
        fed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        states = self._session.run(None, {name: fed[name] for name in self._input_names})[0]
        return _normalize(states[:, 0] if self.pooling == "cls" else _mean_pool(states, mask))

    def _dimension(self) -> int:
        return int(self._session.get_outputs()[0].shape[-1])


def truncate_text(text: str, cap: int) -> str:
    """What of a text can be among the first `cap` tokens; without lone surrogates, which the tokenizer refuses."""
    return text[: MAX_CHARACTERS_PER_TOKEN * cap].encode("utf-8", "replace").decode("utf-8")


def _mean_pool(states: Floats, mask: NDArray[np.int64]) -> Floats:
    """The mean of the states (B x T x d) of real tokens, B x d."""
    weights = mask.astype(np.float32)[:, :, None]
    out: Floats = (states * weights).sum(1) / weights.sum(1)
    return out


def _normalize(vectors: Floats) -> Floats:
    out: Floats = (vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)).astype(np.float32)
    return out


def _read_settings(folder: Path) -> dict[str, Any]:
    try:
        about = json.loads((folder / "encoder.json").read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as e:
        raise ConfigError(f"{folder / 'encoder.json'}: {e}; export the encoder again") from e
    if not isinstance(about, dict) or about.get("pooling", "mean") not in ("mean", "cls"):
        raise ConfigError(f'{folder / "encoder.json"}: pooling must be "mean" or "cls"')
    return about


def _import_libraries() -> tuple[Any, Any]:
    try:
        import onnxruntime
        import tokenizers
    except ImportError as e:
        raise ConfigError(f'an encoder needs a library more ({e.name}): pip install "routemoa[encoder]"') from e
    return onnxruntime, tokenizers
