"""Objects of the package steering-vectors, as people keep them with ``torch.save(steering_vector, path)``.

``SteeringVector(layer_activations, layer_type)``: its hooks (0.12.2, ``patch_activations``) add
``layer_activations[k]`` to the output of the k-th module that ``layer_type`` names, counted from 0. So k of a
"decoder_block" is our layer k. https://github.com/steering-vectors/steering-vectors
"""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from steer_llama.errors import ConfigError, FileError, VectorError
from steer_llama.vectors.formats.bare import bare_vector, check_layers, left_out
from steer_llama.vectors.formats.base import Reading, VectorFormat
from steer_llama.vectors.formats.layer_table import described
from steer_llama.vectors.formats.torch_files import (
    STEERING_VECTOR,
    Instance,
    StoredTensor,
    peek,
    read_torch,
    write_torch,
)
from steer_llama.vectors.vector import Floats, SteeringVector

_OURS = "decoder_block"


def to_steering_vectors(vector: SteeringVector) -> Any:
    """The vector as a ``steering_vectors.SteeringVector``, to be applied with that package's hooks.

    Raises:
        ConfigError: the package is not installed.
    """
    try:
        package, torch = importlib.import_module("steering_vectors"), importlib.import_module("torch")
    except ImportError as error:
        raise ConfigError(f"steering-vectors cannot be imported ({error}): pip install steering-vectors") from error
    rows = {layer: torch.tensor(vector.direction_D(layer)) for layer in sorted(vector.layers)}
    return package.SteeringVector(layer_activations=rows, layer_type=_OURS)


def from_steering_vectors(steering_vector: Any) -> Reading:
    """A ``steering_vectors.SteeringVector`` as a vector of ours.

    Raises:
        VectorError: it is for another place than the output of whole blocks, or holds no vector.
    """
    notes: list[str] = []

    def float32(tensor: Any) -> Floats:
        exact = tensor.detach().cpu().double().numpy()
        with np.errstate(over="ignore", invalid="ignore"):
            row: Floats = exact.astype(np.float32)
        if not notes and not np.array_equal(row, exact):
            notes.append("The numbers were rounded to float32.")
        return row

    source = "the SteeringVector"
    rows = _rows(source, steering_vector.layer_activations, steering_vector.layer_type, float32)
    return Reading(bare_vector(source, rows), FORMAT.name, tuple(notes))


def _rows(source: object, activations: Any, layer_type: Any, float32: Callable[[Any], Floats]) -> dict[int, Floats]:
    if layer_type != _OURS:
        raise VectorError(
            f"{source}: its layer_type is {str(layer_type)[:40]!r}; expected {_OURS!r}, the only one that is the "
            "residual stream at a block's output."
        )
    check_layers(source, activations)
    rows = {layer: float32(tensor) for layer, tensor in activations.items()}
    # The package flattens them, so (1, width) is as good.
    return {layer: row.reshape(-1) if row.shape[-1:] == (row.size,) else row for layer, row in rows.items()}


def _recognises(path: Path) -> bool:
    file = peek(path)
    return file is not None and isinstance(file.value, Instance) and file.value.name == STEERING_VECTOR


def _read(path: Path) -> Reading:
    file = read_torch(path)
    if not isinstance(file.value, Instance):
        raise FileError(f"{path}: holds {described(file.value)}; expected a SteeringVector of steering-vectors.")
    activations = file.value.state.get("layer_activations")
    if not isinstance(activations, dict) or not all(
        type(layer) is int and isinstance(tensor, StoredTensor) for layer, tensor in activations.items()
    ):
        raise FileError(f"{path}: its layer_activations are no dict of tensors by layer number.")
    rows = _rows(path, activations, file.value.state.get("layer_type"), file.float32)
    return Reading(bare_vector(path, rows), FORMAT.name, tuple(file.notes))


def _write(path: Path, vector: SteeringVector) -> tuple[str, ...]:
    check_layers("the vector", vector.layers)
    rows = {layer: np.asarray(vector.direction_D(layer), np.float32) for layer in sorted(vector.layers)}
    write_torch(path, Instance(STEERING_VECTOR, {"layer_activations": rows, "layer_type": _OURS}))
    return left_out(vector)


FORMAT = VectorFormat(
    name="steering-vectors",
    title="objects of the package steering-vectors (.pt)",
    suffix=".pt",
    layer_convention="layer_activations[k] of a decoder_block is layer k",
    recognises=_recognises,
    read=_read,
    write=_write,
)
