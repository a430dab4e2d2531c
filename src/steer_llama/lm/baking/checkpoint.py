"""A folder of safetensors weights: which tensor lies where, without reading any."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from steer_llama.errors import ModelError
from steer_llama.files import read_json

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
"""The names that transformers looks for, in this order."""
CARD = "README.md"

_DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
_WEIGHTS = frozenset(
    {".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".gguf", ".ggml", ".h5", ".msgpack", ".onnx", ".onnx_data"}
    | {".ot", ".tflite", ".npz", ".nemo"}
)
_NOT_COPIED = frozenset({"config.json", SINGLE, INDEX, "steer-llama.json"})
"""Made anew; the last is our list of an embedded model's hashes, which a changed folder makes untrue."""
_SAYS_WHICH_WEIGHTS = ("params.json", "consolidated.safetensors.index.json", "pytorch_model.bin.index.json")
"""An engine that finds them looks for other weights, which are not steered (vLLM prefers Mistral's own layout)."""


@dataclass(frozen=True)
class StoredTensor:
    """Where a tensor lies."""

    shard: str
    dtype: str
    """As safetensors calls it, e.g. ``BF16``."""
    shape: tuple[int, ...]
    begin: int
    """Of its bytes, from the file's beginning."""
    end: int


@dataclass(frozen=True)
class Checkpoint:
    """A model's folder."""

    folder: Path
    config: Mapping[str, Any]
    """``config.json`` as it stands there."""
    shards: tuple[str, ...]
    tensors: Mapping[str, StoredTensor]
    index: Mapping[str, Any] | None
    """``model.safetensors.index.json``; ``None`` where the weights are one file."""
    others: tuple[str, ...]
    """Relative paths of what else belongs to the model: tokenizer, templates, licence."""
    left_out: tuple[str, ...]
    """Relative paths of weights that are not the checkpoint's (other formats), which would not be steered."""

    def dtype_of(self, name: str) -> torch.dtype:
        """A tensor's type.

        Raises:
            ModelError: it is none that a bias can be given in.
        """
        stored = self.tensors[name]
        if stored.dtype not in _DTYPES:
            raise ModelError(
                f"{self.folder / stored.shard}: {name} is {stored.dtype}; only {', '.join(_DTYPES)} weights can be "
                "baked. Take the model as it was before it was quantised."
            )
        return _DTYPES[stored.dtype]

    def read(self, name: str) -> torch.Tensor:
        """One tensor's values."""
        with safe_open(self.folder / self.tensors[name].shard, framework="pt") as file:
            tensor: torch.Tensor = file.get_tensor(name)
        return tensor


def open_checkpoint(folder: Path) -> Checkpoint:
    """Read a folder's configuration and its weights' headers.

    Raises:
        ModelError: there are no whole, unquantised safetensors weights.
        FileError: its JSON files cannot be read.
    """
    if folder.is_file() and folder.suffix == ".gguf":
        raise ModelError(
            f"{folder}: a GGUF file cannot be baked. Name the model's folder with safetensors weights, and convert the "
            "baked folder; or give llama.cpp the vector itself (`steer-llama export --to gguf`)."
        )
    if not (folder / "config.json").is_file():
        raise ModelError(f"{folder}: holds no config.json. Name the folder that the model's files lie in.")
    config = read_json(folder / "config.json", "a model's configuration")
    if not isinstance(config, dict):
        raise ModelError(f"{folder / 'config.json'}: a JSON {type(config).__name__}; expected an object.")
    if config.get("quantization_config") or config.get("compression_config"):
        raise ModelError(
            f"{folder}: its weights are quantised (quantization_config), and a baked bias would be lost or rounded in "
            "them. Bake the unquantised model, and quantise the result."
        )
    if (folder / "adapter_config.json").exists():
        raise ModelError(f"{folder}: holds a LoRA adapter. Merge it into its base model (peft), and bake that.")
    index = None if (folder / SINGLE).exists() else _index(folder)
    shards = (SINGLE,) if index is None else tuple(sorted(set(index["weight_map"].values())))
    tensors = {name: place for shard in shards for name, place in _header(folder, shard).items()}
    for name, shard in () if index is None else index["weight_map"].items():
        if name not in tensors or tensors[name].shard != shard:
            raise ModelError(f"{folder / INDEX}: says that {name} lies in {shard}, where it is not. Get it again.")
    others, left_out = _other_files(folder, shards)
    return Checkpoint(folder, config, shards, tensors, index, others, left_out)


def _index(folder: Path) -> dict[str, Any]:
    if not (folder / INDEX).exists():
        found = "weights in .bin files (pickles) only" if any(folder.glob("*.bin")) else "no weights"
        if any(folder.glob("*.gguf")):
            found = "GGUF weights only"
        raise ModelError(
            f"{folder}: holds {found}; expected {SINGLE} or {INDEX}. Save the model with transformers' "
            "save_pretrained, which writes safetensors."
        )
    index = read_json(folder / INDEX, "an index of weights")
    weight_map = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(weight_map, dict) or not weight_map:
        raise ModelError(f"{folder / INDEX}: has no 'weight_map', which says what lies in which file. Get it again.")
    for shard in weight_map.values():
        if not isinstance(shard, str) or Path(shard).name != shard or not shard.endswith(".safetensors"):
            raise ModelError(f"{folder / INDEX}: names {shard!r}; expected a safetensors file of the same folder.")
        if not (folder / shard).is_file():
            raise ModelError(f"{folder}: {shard} is missing, which {INDEX} names. Get the weights again.")
    result: dict[str, Any] = index
    return result


def _header(folder: Path, shard: str) -> dict[str, StoredTensor]:
    path = folder / shard
    try:
        with safe_open(path, framework="pt"):  # the library checks every size against the file's
            pass
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            header: dict[str, Any] = json.loads(file.read(size))
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(f"{path}: damaged or incomplete ({error}). Get the weights again.") from error
    header.pop("__metadata__", None)
    start = 8 + size
    return {
        name: StoredTensor(
            shard, at["dtype"], tuple(at["shape"]), start + at["data_offsets"][0], start + at["data_offsets"][1]
        )
        for name, at in header.items()
    }


def _other_files(folder: Path, shards: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    others: list[str] = []
    left_out: list[str] = []
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            relative = (Path(place) / name).relative_to(folder).as_posix()
            if name.startswith(".") or relative in _NOT_COPIED or relative in shards:
                continue
            weights = Path(name).suffix in _WEIGHTS or name in _SAYS_WHICH_WEIGHTS
            (left_out if weights else others).append(relative)
    return tuple(others), tuple(left_out)
