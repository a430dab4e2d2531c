"""The seed's ``.pt``: a dict of one direction a layer, under TransformerLens' names."""

import re
from pathlib import Path
from typing import Any

import numpy as np

from steer_llama.errors import FileError
from steer_llama.vectors.formats.bare import bare_vector, check_layers, left_out
from steer_llama.vectors.formats.base import Reading, VectorFormat
from steer_llama.vectors.formats.torch_files import StoredTensor, peek, read_torch, write_torch
from steer_llama.vectors.vector import SteeringVector

_KEY = re.compile(r"blocks\.(0|[1-9][0-9]{0,5})\.hook_resid_post")


def _recognises(path: Path) -> bool:
    file = peek(path)
    return file is not None and _fits(file.value)


def _fits(value: Any) -> bool:
    if not isinstance(value, dict) or not value:
        return False
    return all(
        isinstance(key, str) and _KEY.fullmatch(key) and isinstance(row, StoredTensor) for key, row in value.items()
    )


def _read(path: Path) -> Reading:
    file = read_torch(path)
    if not _fits(file.value):
        raise FileError(f"{path}: expected a dict of tensors under keys like 'blocks.12.hook_resid_post'.")
    rows = {int(key.split(".")[1]): file.float32(row) for key, row in file.value.items()}
    return Reading(bare_vector(path, rows), FORMAT.name, tuple(file.notes))


def _write(path: Path, vector: SteeringVector) -> tuple[str, ...]:
    check_layers("the vector", vector.layers)
    rows = {f"blocks.{layer}.hook_resid_post": vector.direction_D(layer) for layer in vector.layers}
    write_torch(path, {key: np.asarray(rows[key], np.float32) for key in sorted(rows)})
    return left_out(vector)


FORMAT = VectorFormat(
    name="seed",
    title="dict of TransformerLens' hook names (.pt)",
    suffix=".pt",
    layer_convention="the key blocks.L.hook_resid_post is layer L",
    recognises=_recognises,
    read=_read,
    write=_write,
)
