"""GGUF files as other tools write them, by the ``gguf`` package."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np


def write_gguf(
    path: Path,
    tensors: Mapping[str, np.ndarray],
    values: Mapping[str, Any] | None = None,
    architecture: str = "controlvector",
) -> Path:
    writer = gguf.GGUFWriter(path, architecture)
    for key, value in ({"controlvector.model_hint": "llama"} if values is None else values).items():
        if isinstance(value, str):
            writer.add_string(key, value)
        elif isinstance(value, list):
            writer.add_array(key, value)
        elif isinstance(value, int):
            writer.add_uint32(key, value)
        else:
            writer.add_float32(key, value)
    for name, tensor in tensors.items():
        writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def rows(*layers: int, width: int = 8, dtype: type = np.float32) -> dict[str, np.ndarray]:
    """A direction for each layer that says which layer it is for."""
    return {f"direction.{layer}": np.full(width, 100 + layer, dtype) for layer in layers}


def read_by_library(path: Path) -> tuple[dict[str, np.ndarray], dict[str, object]]:
    """The tensors and the values, as the ``gguf`` package reads them."""
    reader = gguf.GGUFReader(path)
    tensors = {tensor.name: np.array(tensor.data) for tensor in reader.tensors}
    return tensors, {key: field.contents() for key, field in reader.fields.items()}
