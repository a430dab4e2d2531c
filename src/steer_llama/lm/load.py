"""Loading weights: a folder, a GGUF file, a hub id, or the embedded model."""

import functools
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer

from steer_llama.config import ModelSettings
from steer_llama.errors import ModelError
from steer_llama.lm import embedded
from steer_llama.lm.gguf import load_gguf
from steer_llama.lm.layers import decoder_blocks
from steer_llama.progress import Reporter

_SAMPLE_BYTES = 1 << 20


@dataclass(frozen=True, eq=False)
class LanguageModel:
    """Weights and tokenizer, ready to read and steer."""

    hf: Any
    """The transformers model, in eval mode."""
    tokenizer: Any
    name: str
    """What the user calls it: ``smollm2``, a hub id, or the folder's name."""
    fingerprint: str
    """Tells these weights and this tokenizer from others (SHA-256, hex)."""
    dtype_reason: str

    @functools.cached_property
    def blocks(self) -> nn.ModuleList:
        """The decoder blocks."""
        return decoder_blocks(self.hf)

    @property
    def n_layers(self) -> int:
        """Number of decoder blocks."""
        return len(self.blocks)

    @functools.cached_property
    def text_config(self) -> Any:
        """The language model's own configuration, also where it is a part of a larger one."""
        return self.hf.config.get_text_config()

    @property
    def width(self) -> int:
        """Width of the residual stream."""
        return int(self.text_config.hidden_size)

    @property
    def context_length(self) -> int | None:
        """Tokens that fit, or ``None`` where the model does not say."""
        length = getattr(self.text_config, "max_position_embeddings", None) or getattr(self.text_config, "n_ctx", None)
        return int(length) if length else None

    @property
    def device(self) -> torch.device:
        """Where the input goes."""
        device: torch.device = self.hf.get_input_embeddings().weight.device
        return device

    @property
    def dtype(self) -> str:
        """The weights' type, e.g. ``float32``."""
        return str(self.hf.dtype).removeprefix("torch.")


def load_model(settings: ModelSettings, reporter: Reporter) -> LanguageModel:
    """Load what ``settings`` name; the same settings give the same object within a process.

    Raises:
        ModelError: nothing loadable is there, or the device is not.
    """
    device = _device(settings.device)
    dtype, reason = _dtype(settings.dtype, device)
    return _load(settings.where, device, dtype, reason, settings.n_devices, _Quiet(reporter))


class _Quiet:
    """Keeps the reporter out of the cache key: every reporter is as good as another."""

    def __init__(self, reporter: Reporter) -> None:
        self.reporter = reporter

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Quiet)

    def __hash__(self) -> int:
        return 0


@functools.lru_cache(maxsize=2)
def _load(
    where: str, device: str, dtype: torch.dtype | str, reason: str, n_devices: int, quiet: _Quiet
) -> LanguageModel:
    name, path = _resolve(where, quiet.reporter)
    how: dict[str, Any] = {"device_map": "auto" if n_devices > 1 else {"": device}}
    try:
        if isinstance(path, Path) and path.suffix == ".gguf":
            model, tokenizer = load_gguf(path, dtype, **how)
        else:
            tokenizer = AutoTokenizer.from_pretrained(path)
            model = AutoModelForCausalLM.from_pretrained(path, dtype=dtype, **how)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ModelError(f"{where}: cannot be loaded: {_first_line(error)}") from error
    model.eval().requires_grad_(requires_grad=False)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return LanguageModel(model, tokenizer, name, _fingerprint(path, model, tokenizer), reason)


def _resolve(where: str, reporter: Reporter) -> tuple[str, Path | str]:
    if where == embedded.NAME:
        return embedded.NAME, embedded.embedded_folder(reporter)
    path = Path(where).expanduser()
    if path.is_file() and path.suffix != ".gguf":
        raise ModelError(
            f"{where}: is a file that is no GGUF; name a folder with safetensors, a .gguf file or a hub id."
        )
    if path.exists():
        return path.resolve().name, path
    if where.startswith((".", "/", "~")) or where.endswith(".gguf") or where.count("/") > 1:
        raise ModelError(f"{where}: no such folder or file. Give a folder, a GGUF file, a hub id, or {embedded.NAME}.")
    return where, where


def _device(wanted: str) -> str:
    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(wanted)
    except RuntimeError as error:
        raise ModelError(
            f"device {wanted!r}: not a device ({_first_line(error)}). Use auto, cpu, cuda, cuda:1 …"
        ) from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ModelError(f"device {wanted!r}: there is no usable CUDA GPU here. Use device cpu or auto.")
    return wanted


def _dtype(wanted: str, device: str) -> tuple[torch.dtype | str, str]:
    if wanted != "auto":
        return getattr(torch, wanted), "as asked"
    if device.startswith("cpu"):
        return torch.float32, "float32 because a CPU is exact in it and not every CPU is faster in bfloat16"
    return "auto", "the weights' own type"


def _fingerprint(path: Path | str, model: Any, tokenizer: Any) -> str:
    """A hash of the configuration, the chat template and a sample of every weight file: 70B in a moment."""
    digest = hashlib.sha256()
    config = {
        k: v for k, v in model.config.to_dict().items() if k not in ("_name_or_path", "transformers_version", "dtype")
    }
    digest.update(json.dumps(config, sort_keys=True, default=str).encode())
    digest.update(str(tokenizer.chat_template).encode())
    digest.update(str(len(tokenizer)).encode())
    if isinstance(path, Path):
        files = [path] if path.is_file() else sorted(path.glob("*.safetensors"))
        for file in files:
            size = file.stat().st_size
            digest.update(str(size).encode())
            with file.open("rb") as stream:
                digest.update(stream.read(_SAMPLE_BYTES))
                stream.seek(max(0, size - _SAMPLE_BYTES))
                digest.update(stream.read())
    else:
        digest.update(str(getattr(model.config, "_commit_hash", None) or path).encode())
    return digest.hexdigest()


def _first_line(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
