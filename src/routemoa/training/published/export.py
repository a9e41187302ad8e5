"""Load a Hugging Face encoder, run it, and export it as a folder that `routemoa.scoring.encoder` reads.

encoder.onnx      input_ids and attention_mask (B x T) to the last hidden states (B x T x d); weights in 8 bits
tokenizer.json    as the `tokenizers` library writes it
encoder.json      {"pooling": "mean" or "cls", "cap": tokens}
"""

from __future__ import annotations

import json
import logging
import os
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from routemoa.core.errors import ConfigError, MissingExtra
from routemoa.scoring.encoder import Pooling, truncate_text

__all__ = ["PretrainedEncoder", "export_encoder", "export_frozen", "load_pretrained", "require_libraries"]

CPU_BATCH_SIZE = 16
"""Texts that are run together on a CPU."""
DEFAULT_MAX_TOKENS = 512
"""Tokens of a text, where neither tokenizer nor model has a limit."""


@dataclass(frozen=True)
class PretrainedEncoder:
    """An encoder of transformers with its tokenizer."""

    model: Any
    tokenizer: Any
    max_tokens: int
    """Of one text."""

    def tokenize(self, texts: Sequence[str], cap: int) -> list[list[int]]:
        """Return at most `cap` tokens of each text, at least one, as `routemoa.scoring.encoder` reads them."""
        tokenizer = _copy_tokenizer(self.tokenizer)
        tokenizer.no_padding()
        tokenizer.enable_truncation(cap)
        encodings = tokenizer.encode_batch([truncate_text(t, cap) for t in texts])
        return [e.ids or [self.tokenizer.pad_token_id or 0] for e in encodings]

    def encode(self, tokens: Sequence[Sequence[int]], pooling: Pooling, bf16: bool = False) -> Any:
        """Return the unit vectors of a batch, a tensor B x d with gradients, on the model's device.

        A CPU encodes them in parts of similar length, because padding costs time there; the vectors are the same.
        """
        import torch

        device = next(self.model.parameters()).device
        part = CPU_BATCH_SIZE if device.type == "cpu" else len(tokens)
        order = sorted(range(len(tokens)), key=lambda i: len(tokens[i]))
        parts = [[tokens[i] for i in order[at : at + part]] for at in range(0, len(order), part)]
        pooled = torch.cat([self._encode_batch(p, pooling, device, bf16) for p in parts])
        back = torch.tensor(order, device=device).argsort()
        return torch.nn.functional.normalize(pooled[back], dim=1)

    def _encode_batch(self, tokens: Sequence[Sequence[int]], pooling: Pooling, device: Any, bf16: bool) -> Any:
        import torch

        ids = torch.full((len(tokens), max(map(len, tokens))), self.tokenizer.pad_token_id or 0)
        mask = torch.zeros_like(ids)
        for row, t in enumerate(tokens):
            ids[row, : len(t)] = torch.tensor(t)
            mask[row, : len(t)] = 1
        ids, mask = ids.to(device), mask.to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            states = self.model(input_ids=ids, attention_mask=mask).last_hidden_state.float()
        weights = mask[:, :, None].float()
        return (states * weights).sum(1) / weights.sum(1) if pooling == "mean" else states[:, 0]


def require_libraries(*libraries: str) -> None:
    """Raise MissingExtra unless all these libraries are installed."""
    from importlib.util import find_spec

    missing = [name for name in libraries if find_spec(name) is None]
    if missing:
        raise MissingExtra(f"{', '.join(missing)}, which training needs,", "train")


def load_pretrained(encoder: str) -> PretrainedEncoder:
    """Load the encoder of a local folder, or of a name on the Hugging Face hub, with weights as 32-bit floats.

    Nothing of it is run as code: no remote code, and torch reads old .bin weights as weights only.

    Raises:
        ConfigError: the encoder cannot be loaded.
        MissingExtra: a library is not installed.
    """
    require_libraries("torch", "transformers", "tokenizers", "safetensors")
    import torch
    import transformers

    where = str(Path(encoder).expanduser()) if Path(encoder).expanduser().is_dir() else encoder
    transformers.logging.disable_progress_bar()
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(where)
        model = transformers.AutoModel.from_pretrained(where, dtype=torch.float32)
    except (OSError, ValueError, ImportError, RuntimeError) as e:
        reason = (str(e).strip() or type(e).__name__).splitlines()[0]
        raise ConfigError(f"encoder '{encoder}' cannot be loaded: {reason}; name a folder or a model of the hub") from e
    if getattr(tokenizer, "backend_tokenizer", None) is None:
        raise ConfigError(f"encoder '{encoder}': its tokenizer has no tokenizer.json form; choose another encoder")
    positions = getattr(model.config, "max_position_embeddings", None) or DEFAULT_MAX_TOKENS
    # A tokenizer without a limit has 1e30. RoBERTa has two positions more than it takes tokens; its tokenizer is right.
    return PretrainedEncoder(model, tokenizer, int(min(tokenizer.model_max_length, positions)))


def export_frozen(encoder: str, folder: Path, pooling: Pooling = "mean", cap: int = 64) -> None:
    """Export an encoder as it is, without training it. Raises ConfigError, MissingExtra."""
    pretrained = load_pretrained(encoder)
    export_encoder(pretrained.model, pretrained.tokenizer, folder, pooling, min(cap, pretrained.max_tokens))


def export_encoder(model: Any, tokenizer: Any, folder: Path, pooling: Pooling, cap: int) -> None:
    """Write an encoder's folder; the model is left on the CPU and in evaluation mode.

    Args:
        model: of transformers, with `last_hidden_state` in its outputs.
        tokenizer: its fast tokenizer.
        folder: where to write.
        pooling: how a text's vector follows from the states of its tokens.
        cap: tokens read of a text, with the special ones.

    Raises:
        MissingExtra: a library is not installed.
    """
    require_libraries("torch", "onnx", "onnxscript", "onnxruntime")
    from onnxruntime.quantization import QuantType, quantize_dynamic

    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as temporary, _suppress_warnings():
        full, quantized = Path(temporary) / "full.onnx", Path(temporary) / "quantized.onnx"
        _export_onnx(model.cpu().eval(), full)
        quantize_dynamic(full, quantized, per_channel=True, weight_type=QuantType.QInt8)
        os.replace(quantized, folder / "encoder.onnx")
    _copy_tokenizer(tokenizer).save(str(folder / "tokenizer.json"))
    (folder / "encoder.json").write_text(json.dumps({"pooling": pooling, "cap": cap}) + "\n", "utf-8")


def _copy_tokenizer(tokenizer: Any) -> Any:
    """Copy the `tokenizers` tokenizer out of one of transformers, without truncation and with its padding token."""
    from tokenizers import Tokenizer

    copy = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    copy.no_truncation()
    copy.enable_padding(pad_id=tokenizer.pad_token_id or 0, pad_token=tokenizer.pad_token or "[PAD]")
    return copy


def _export_onnx(model: Any, path: Path) -> None:
    import torch

    class States(torch.nn.Module):  # type: ignore[misc]  # torch may be absent where types are checked
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            return self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state

    ids = torch.ones(2, 7, dtype=torch.int64)
    batch, tokens = torch.export.Dim("batch"), torch.export.Dim("tokens", max=DEFAULT_MAX_TOKENS)
    free = {0: batch, 1: tokens}
    torch.onnx.export(
        States().eval(),
        (ids, torch.ones_like(ids)),
        str(path),
        input_names=["input_ids", "attention_mask"],
        output_names=["states"],
        dynamic_shapes=(free, free),
        dynamo=True,
        external_data=False,
        verbose=False,
    )


@contextmanager
def _suppress_warnings() -> Iterator[None]:
    """Suppress the exporters' warnings, on their own internals and on a preprocessing step that we do not need."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
