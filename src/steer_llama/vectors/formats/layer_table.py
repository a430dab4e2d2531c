"""Files of torch's that hold one tensor with a row a layer, and do not say which row is which layer.

Shapes: N rows, L layers, D width.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from steer_llama.errors import FileError
from steer_llama.vectors.formats.bare import check_layers
from steer_llama.vectors.formats.torch_files import Instance, StoredTensor, TorchFile, is_torch_file, read_torch
from steer_llama.vectors.vector import Floats, SteeringVector


def table_of(file: TorchFile) -> Floats:
    """The file's tensor, of shape (N, D).

    Raises:
        FileError: it holds anything else, or is damaged.
    """
    if not is_table(file.value):
        raise FileError(f"{file.path}: holds {described(file.value)}; expected one tensor with a row a layer.")
    return file.float32(file.value)


def is_table(value: Any) -> bool:
    """Whether it is one tensor of shape (N, D)."""
    return isinstance(value, StoredTensor) and len(value.shape) == 2 and value.n_numbers > 0


def described(value: Any) -> str:
    """What a file of torch's holds, in words."""
    if isinstance(value, StoredTensor):
        return f"a tensor of shape {value.shape}"
    if isinstance(value, dict):
        keys = ", ".join(repr(key)[:40] for key in list(value)[:4])
        return f"a dict of {keys}{', …' if len(value) > 4 else ''}" if value else "an empty dict"
    if isinstance(value, Instance):
        return f"an object of {value.name}"
    return f"a value of type {type(value).__name__}"


def would_be(reading: Callable[[int, int], str]) -> Callable[[Path], str | None]:
    """What a bare table would be in a format, in words; ``None`` for files that are none of torch's.

    Args:
        reading: says it of a number of rows and a width.

    Raises:
        FileError: by the returned function: the file is one of torch's, but damaged or holds something else.
    """

    def may_be(path: Path) -> str | None:
        if not is_torch_file(path):
            return None
        value = read_torch(path).value
        if not is_table(value):
            raise FileError(
                f"{path}: a file of torch's that holds {described(value)}. Known are a dict of tensors under keys like "
                "'blocks.12.hook_resid_post', one tensor with a row a layer, and a SteeringVector of the package "
                "steering-vectors."
            )
        return reading(*value.shape)

    return may_be


def zero_rows(table_ND: Floats) -> list[int]:
    """Which rows are wholly zero."""
    with np.errstate(invalid="ignore"):  # a signalling NaN
        return [int(row) for row in np.flatnonzero(~table_ND.any(axis=1))]


def filled(vector: SteeringVector, first: int, filling: float) -> tuple[Floats, tuple[str, ...]]:
    """A table with each layer's direction at row ``first + layer``, and notes.

    Args:
        vector: the directions.
        first: the row of layer 0.
        filling: the zero, of either sign, that rows without a direction are made of.

    Raises:
        VectorError: a layer number for which the table would be absurdly long.
    """
    check_layers("the vector", vector.layers)
    last = max(vector.layers)
    table_ND = np.full((first + last + 1, vector.width), filling, np.float32)
    for layer in vector.layers:
        if vector.direction_D(layer).any():
            table_ND[first + layer] = vector.direction_D(layer)
    notes = []
    if missing := sorted({*range(last)} - {*vector.layers}):
        notes.append(f"The vector lacks layers {listed(missing)}; their rows are zero.")
    if zero := [layer for layer in sorted(vector.layers) if not vector.direction_D(layer).any()]:
        notes.append(f"The directions of layers {listed(zero)} are zero, so readers take them for missing.")
    return table_ND, tuple(notes)


def listed(numbers: list[int]) -> str:
    """Ascending whole numbers in words, runs as ranges: ``0 to 3, 7``."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]} to {run[-1]}" for run in runs)
