"""A Hugging Face encoder: had, run, and exported as a folder that routemoa.scoring.encoder reads.

    encoder.onnx      input_ids and attention_mask (B x T) to the last hidden states (B x T x d); weights in 8 bits
    tokenizer.json    as the `tokenizers` library writes it
    encoder.json      {"pooling": "mean" or "cls", "cap": tokens}

`freeze` does it for an encoder as it comes, from the hub or a folder; `export` for one that was trained here.
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

from routemoa.core.errors import ConfigError
from routemoa.scoring.encoder import Pooling, truncate_text

__all__ = ["PretrainedEncoder", "export_encoder", "export_frozen", "require_libraries", "load_pretrained"]

CPU_BATCH_SIZE = 16  # texts that are run together on a CPU
DEFAULT_MAX_TOKENS = 512  # tokens, where neither tokenizer nor model says how many it takes


@dataclass(frozen=True)
class PretrainedEncoder:
    """An encoder with its tokenizer, and the tokens of a text that it takes at most."""

    model: Any
    tokenizer: Any
    max_tokens: int

    def tokenize(self, texts: Sequence[str], cap: int) -> list[list[int]]:
        """As routemoa.scoring.encoder reads them: at most `cap` tokens of each text, at least one."""
        plain = _copy_tokenizer(self.tokenizer)
        plain.no_padding()
        plain.enable_truncation(cap)
        found = plain.encode_batch([truncate_text(t, cap) for t in texts])
        return [e.ids or [self.tokenizer.pad_token_id or 0] for e in found]

    def encode(self, tokens: Sequence[Sequence[int]], pooling: Pooling, bf16: bool = False) -> Any:
        """Unit vectors of a batch, a tensor B x d with gradients, on the model's device.

        On a CPU in parts of similar length, because padding is paid for there; the vectors are the same.
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
    """Raise ConfigError unless all these libraries are installed."""
    from importlib.util import find_spec

    missing = [name for name in libraries if find_spec(name) is None]
    if missing:
        raise ConfigError(f'training needs {", ".join(missing)}: pip install "routemoa[train]"')


def load_pretrained(encoder: str) -> PretrainedEncoder:
    """The encoder of a local folder or of a name on the Hugging Face hub, weights as 32-bit floats.

    Nothing of it is run as code: no remote code, and old .bin weights are read by torch as weights only.

    Raises:
        ConfigError: a library is missing, or the encoder cannot be had.
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
        raise ConfigError(f"encoder '{encoder}' cannot be had: {reason}; name a folder or a model of the hub") from e
    if getattr(tokenizer, "backend_tokenizer", None) is None:
        raise ConfigError(f"encoder '{encoder}': its tokenizer has no tokenizer.json form; choose another encoder")
    places = getattr(model.config, "max_position_embeddings", None) or DEFAULT_MAX_TOKENS
    # A tokenizer that does not know says 1e30. RoBERTa counts two more places than it takes; its tokenizer knows.
    return PretrainedEncoder(model, tokenizer, int(min(tokenizer.model_max_length, places)))


def export_frozen(encoder: str, folder: Path, pooling: Pooling = "mean", cap: int = 64) -> None:
    """Export an encoder as it comes, without training."""
    found = load_pretrained(encoder)
    export_encoder(found.model, found.tokenizer, folder, pooling, min(cap, found.max_tokens))


def export_encoder(model: Any, tokenizer: Any, folder: Path, pooling: Pooling, cap: int) -> None:
    """Write the folder; the model is left on the CPU and in evaluation mode.

    Args:
        model: of transformers, whose outputs have `last_hidden_state`.
        tokenizer: its fast tokenizer.
        cap: tokens that are read of a text, with the special ones.
    """
    require_libraries("torch", "onnx", "onnxscript", "onnxruntime")
    from onnxruntime.quantization import QuantType, quantize_dynamic

    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as temporary, _suppress_warnings():
        _export_onnx(model.cpu().eval(), Path(temporary) / "whole.onnx")
        small = Path(temporary) / "small.onnx"
        quantize_dynamic(Path(temporary) / "whole.onnx", small, per_channel=True, weight_type=QuantType.QInt8)
        os.replace(small, folder / "encoder.onnx")
    _copy_tokenizer(tokenizer).save(str(folder / "tokenizer.json"))
    (folder / "encoder.json").write_text(json.dumps({"pooling": pooling, "cap": cap}) + "\n", "utf-8")


def _copy_tokenizer(tokenizer: Any) -> Any:
    """The `tokenizers` tokenizer in one of transformers: a copy that cuts nothing and knows its padding token."""
    from tokenizers import Tokenizer

    plain = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    plain.no_truncation()
    plain.enable_padding(pad_id=tokenizer.pad_token_id or 0, pad_token=tokenizer.pad_token or "[PAD]")
    return plain


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
    """Without the exporters' warnings: about their own insides, and about a preparation we do not need."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
