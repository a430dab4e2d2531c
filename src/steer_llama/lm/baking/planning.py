"""What baking will change: worked out from the headers, so that what cannot be done is refused before a byte is copied.

Shapes: D width.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from steer_llama.errors import ModelError, VectorError
from steer_llama.lm.baking.checkpoint import Checkpoint, open_checkpoint
from steer_llama.lm.baking.families import Place, place_of
from steer_llama.lm.layers import check_layers

_WORTH_SAYING = 1e-4
"""Relative rounding below which a note would only be noise."""


@dataclass(frozen=True, eq=False)
class Baking:
    """A model's folder, and the changes that make it add vectors."""

    source: Checkpoint
    place: Place
    config: Mapping[str, Any]
    """The new ``config.json``."""
    patched: Mapping[str, Tensor]
    """New values of tensors that are there already; same type and shape."""
    added: Mapping[str, Tensor]
    """Tensors that are new."""
    dtype: str
    """Of the biases, e.g. ``bfloat16``."""
    rounding: Mapping[int, float]
    """‖what is added − what was asked for‖ / ‖what was asked for‖, per layer: the biases' type has few digits."""
    notes: tuple[str, ...]
    """What the user should know: a sentence each."""
    width: int
    """Of the residual stream."""


def plan_baking(folder: Path, added_by_layer: Mapping[int, npt.ArrayLike], where: str | None = None) -> Baking:
    """Work out what has to change so that block L adds ``added_by_layer[L]`` (D) at its output, at every token.

    Args:
        folder: the model's.
        added_by_layer: vectors, already multiplied by their coefficient.
        where: what the user calls the model; default: the folder.

    Raises:
        ModelError: the model cannot be baked; the text says why, and what to do instead.
        LayerError: it has no such layer.
        VectorError: a vector has another width, is zero or not finite, or none is given.
    """
    where = where or str(folder)
    source = open_checkpoint(folder)
    place = place_of(source.config, where)
    if not added_by_layer:
        raise VectorError("no layer is given, so there is nothing to bake.")
    check_layers(sorted(added_by_layer), place.n_layers, where)
    prefix = _prefix(source, place)
    width = 0
    patched: dict[str, Tensor] = {}
    added: dict[str, Tensor] = {} if place.exists else _zeros(source, place, prefix)
    rounding: dict[int, float] = {}
    for layer, vector in sorted(added_by_layer.items()):
        name = f"{prefix}.{layer}.{place.module}.bias"
        before_D = source.read(name) if place.exists else added[name]
        width = len(before_D)
        vector_D = _checked(vector, layer, width, where)
        after_D = (before_D.double() + vector_D / place.multiplier).to(before_D.dtype)
        if not bool(torch.isfinite(after_D).all()):
            raise ModelError(
                f"layer {layer}: the bias is too large for the weights' type ({_name(after_D.dtype)}). "
                "Use a smaller strength."
            )
        got_D = (after_D.double() - before_D.double()) * place.multiplier
        rounding[layer] = float((got_D - vector_D).norm() / vector_D.norm())
        (patched if place.exists else added)[name] = after_D
    dtype = _name(after_D.dtype)
    notes = [*place.notes]
    notes += [
        f"layer {layer}: the weights are {dtype}, so the vector is rounded by {error:.1%} of its length"
        for layer, error in rounding.items()
        if error > _WORTH_SAYING
    ]
    if source.left_out:
        named = ", ".join(source.left_out[:5]) + (" …" if len(source.left_out) > 5 else "")
        notes.append(f"not copied, because they would not be steered: {named}")
    return Baking(source, place, place.config or source.config, patched, added, dtype, rounding, tuple(notes), width)


def _checked(vector: npt.ArrayLike, layer: int, width: int, where: str) -> Tensor:
    vector_D = np.asarray(vector, dtype=np.float64)
    if vector_D.shape != (width,):
        raise VectorError(f"the vector of layer {layer} has shape {vector_D.shape}, but {where} is {width} wide.")
    if not np.isfinite(vector_D).all():
        raise VectorError(f"the vector of layer {layer} holds NaN or infinity.")
    if not vector_D.any():
        raise VectorError(f"the vector of layer {layer} is zero, so there is nothing to bake.")
    return torch.from_numpy(vector_D)


def _prefix(source: Checkpoint, place: Place) -> str:
    """The blocks' path in this checkpoint: files of bare models leave out the first part."""
    kind = "bias" if place.exists else "weight"
    paths = (place.blocks, place.blocks.partition(".")[2])
    for path in paths:
        names = [f"{path}.{layer}.{place.module}.{kind}" for layer in range(place.n_layers)]
        if all(name in source.tensors for name in names):
            return path
    raise ModelError(
        f"{source.folder}: its weights hold no {paths[0]}.0.{place.module}.{kind} (or not in all {place.n_layers} "
        "layers), which a model of this configuration has. Get the weights again, or a config.json that fits them."
    )


def _zeros(source: Checkpoint, place: Place, prefix: str) -> dict[str, Tensor]:
    zeros = {}
    for layer in range(place.n_layers):
        for module in (place.module, *place.others):
            name = f"{prefix}.{layer}.{module}"
            weight = source.tensors.get(f"{name}.weight")
            if weight is None or len(weight.shape) != 2:
                raise ModelError(f"{source.folder}: {name}.weight is missing, or no matrix. Get the weights again.")
            zeros[f"{name}.bias"] = torch.zeros(weight.shape[0], dtype=source.dtype_of(f"{name}.weight"))
    return zeros


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
