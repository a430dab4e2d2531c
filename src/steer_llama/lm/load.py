"""Loading weights: a folder, a GGUF file, a hub id, or the embedded model."""

import functools
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoTokenizer, GenerationConfig
from transformers.distributed import DistributedConfig

from steer_llama.config import ModelSettings
from steer_llama.errors import ModelError
from steer_llama.lm import embedded
from steer_llama.lm.fingerprint import fingerprint
from steer_llama.lm.gguf import load_gguf
from steer_llama.lm.layers import decoder_blocks
from steer_llama.lm.weights import LOADING_ERRORS, read_weights
from steer_llama.progress import Reporter


@dataclass(frozen=True)
class Origin:
    """Where weights come from."""

    model_type: str = ""
    """What transformers calls the architecture, e.g. ``llama``."""
    revision: str = ""
    """The hub's commit, where they come from there."""


def origin_of(config: Any) -> Origin:
    """What a transformers configuration says of it."""
    model_type = getattr(config.get_text_config(), "model_type", None) or getattr(config, "model_type", None)
    return Origin(str(model_type or ""), str(getattr(config, "_commit_hash", None) or ""))


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

    @property
    def origin(self) -> "Origin":
        """What the configuration says of where the weights come from."""
        return origin_of(self.hf.config)

    @functools.cached_property
    def blocks(self) -> nn.ModuleList:
        """The decoder blocks."""
        return decoder_blocks(self.hf)

    @property
    def decoder(self) -> Any:
        """The model without its vocabulary projection."""
        decoder = self.hf.get_decoder()
        # Llama 4 calls its causal-LM object its decoder.
        return self.hf.model if decoder is self.hf else decoder

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
        length = getattr(self.text_config, "max_position_embeddings", None) or getattr(
            self.text_config, "max_seq_len", None
        )
        return int(length) if length else None

    @property
    def device(self) -> torch.device:
        """Where the input goes."""
        device: torch.device = self.hf.get_input_embeddings().weight.device
        return device

    @property
    def pad_id(self) -> int:
        """Fills up the shorter rows of a batch. Always masked, so any token of the vocabulary will do."""
        return 0

    @property
    def dtype(self) -> str:
        """The weights' type, e.g. ``float32``."""
        return str(self.hf.dtype).removeprefix("torch.")


def load_model(settings: ModelSettings, reporter: Reporter) -> LanguageModel:
    """Load what ``settings`` name; the same settings give the same object within a process.

    Raises:
        ModelError: nothing loadable is there, or the device is not.
    """
    return _load(*_how(settings), _Quiet(reporter))


def load_fresh(settings: ModelSettings, reporter: Reporter) -> LanguageModel:
    """Load what ``settings`` name into an object of its own, for those who change it.

    Raises:
        ModelError: nothing loadable is there, or the device is not.
    """
    return _load.__wrapped__(*_how(settings), _Quiet(reporter))


def _how(settings: ModelSettings) -> tuple[str, str, torch.dtype | str, str, int]:
    device = choose_device(settings.device, settings.n_devices)
    dtype, reason = choose_dtype(settings.dtype, device)
    return settings.where, device, dtype, reason, settings.n_devices


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
    name, path = find_model(where, quiet.reporter)
    how: dict[str, Any] = {"dtype": dtype, "device_map": {"": device}}
    if (processes := int(os.environ.get("WORLD_SIZE", "1"))) > 1:  # torchrun: every process takes a slice
        how = {"dtype": dtype, "distributed_config": DistributedConfig(tp_size=processes)}
    elif n_devices > 1:
        how |= {"device_map": "auto", "max_memory": {gpu: torch.cuda.mem_get_info(gpu)[0] for gpu in range(n_devices)}}
    part = ""
    try:
        if isinstance(path, Path) and path.is_file():
            model, tokenizer = load_gguf(path, **how)
        else:
            part = "its tokenizer "
            tokenizer = AutoTokenizer.from_pretrained(path)
            part = "its weights "
            model = read_weights(path, **how)
    except LOADING_ERRORS as error:
        raise ModelError(f"{where}: {part}cannot be loaded: {_one_line(error)}") from error
    model.eval().requires_grad_(requires_grad=False)
    _forget_sampling(model)
    return LanguageModel(model, tokenizer, name, fingerprint(path, model, tokenizer), reason)


def _forget_sampling(model: Any) -> None:
    """Keep the stop tokens of a generation_config.json and nothing else: what is asked for is what is done."""
    given = model.generation_config
    model.generation_config = GenerationConfig(
        bos_token_id=given.bos_token_id, eos_token_id=given.eos_token_id, pad_token_id=given.pad_token_id
    )


def find_model(where: str, reporter: Reporter) -> tuple[str, Path | str]:
    """What a model is called, and the folder, the GGUF file or the hub id that it is read from.

    Raises:
        ModelError: it is neither, or a folder that holds no model.
    """
    if where == embedded.NAME:
        return embedded.NAME, embedded.embedded_folder(reporter)
    path = Path(where).expanduser()
    if path.is_file() and path.suffix != ".gguf":
        raise ModelError(
            f"{where}: is a file that is no GGUF; name a folder with safetensors, a .gguf file or a hub id."
        )
    if path.exists():
        if path.is_dir() and not (path / "config.json").is_file():
            raise ModelError(f"{where}: holds no config.json. Name the folder that the model's files lie in.")
        return path.resolve().name, path
    if where.startswith((".", "/", "~")) or where.endswith(".gguf") or where.count("/") > 1:
        raise ModelError(f"{where}: no such folder or file. Give a folder, a GGUF file, a hub id, or {embedded.NAME}.")
    return where, where


def choose_device(wanted: str, n_devices: int) -> str:
    """The device that ``wanted`` names.

    Raises:
        ModelError: it is not here, or there are fewer GPUs than ``n_devices``.
    """
    if n_devices > max(1, torch.cuda.device_count()):
        raise ModelError(f"n_devices {n_devices}: there are {torch.cuda.device_count()} usable CUDA GPUs here.")
    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(wanted)
    except RuntimeError as error:
        raise ModelError(
            f"device {wanted!r}: not a device ({_one_line(error)}). Use auto, cpu, cuda, cuda:1 …"
        ) from None
    if device.type not in ("cpu", "cuda", "mps"):
        raise ModelError(f"device {wanted!r}: not supported. Use auto, cpu, cuda, cuda:1 … or mps.")
    n_gpus = torch.cuda.device_count()
    if device.type == "cuda" and (device.index or 0) >= n_gpus:
        found = f"{n_gpus} usable CUDA GPUs, counted from 0" if n_gpus else "no usable CUDA GPU"
        raise ModelError(f"device {wanted!r}: there is no such one: {found}. Use device cpu or auto.")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ModelError(f"device {wanted!r}: there is no Apple GPU here. Use device cpu or auto.")
    return wanted


def choose_dtype(wanted: str, device: str) -> tuple[torch.dtype | str, str]:
    """The type to compute in (``auto``: the weights' own) and why."""
    if wanted != "auto":
        return getattr(torch, wanted), "as asked"
    if device.startswith("cpu"):
        return torch.float32, "float32 because a CPU is exact in it and not every CPU is faster in bfloat16"
    return "auto", "the weights' own type"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
