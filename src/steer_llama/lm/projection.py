"""How far the residual stream lies along directions, token by token.

Shapes: A axes, T tokens, D width.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from transformers import DynamicCache

from steer_llama.errors import VectorError
from steer_llama.lm.capture import reading, run_blocks
from steer_llama.lm.layers import check_layers
from steer_llama.lm.load import LanguageModel

Floats = npt.NDArray[np.float64]

CHUNK = 2048
"""Most tokens of a forward pass: what is behind them goes on from their keys and values."""


@dataclass(frozen=True, eq=False)
class Axis:
    """A direction at the output of one block."""

    layer: int
    unit_D: Floats
    """Of norm 1."""

    @classmethod
    def along(cls, layer: int, direction_D: npt.ArrayLike) -> "Axis":
        """The axis that a vector lies on.

        Raises:
            VectorError: the vector is zero.
        """
        whole_D = np.asarray(direction_D, dtype=np.float64)
        norm = np.linalg.norm(whole_D)
        if norm == 0:
            raise VectorError(f"the direction of layer {layer} is zero; nothing can be projected onto it.")
        return cls(layer, whole_D / norm)


@dataclass(frozen=True, eq=False)
class Projections:
    """What a text's tokens have along the axes."""

    along_AT: Floats
    """Scalar projection of the residual onto the axis, in units of the residual."""
    norm_AT: Floats
    """‖residual‖ at the axis's layer."""


def project(model: LanguageModel, ids: Sequence[int], axes: Sequence[Axis], chunk: int = CHUNK) -> Projections:
    """Run a text through the blocks, up to the deepest layer that is wanted, and keep nothing but numbers.

    Products are float32 (float64 for a float64 model), on the device of the block. Open `steer.steering` around it to
    see what steering does.

    Raises:
        LayerError: a layer that the model does not have.
        VectorError: an axis of another width.
    """
    check_layers([axis.layer for axis in axes], model.n_layers, model.name)
    for axis in axes:
        if axis.unit_D.shape != (model.width,):
            raise VectorError(f"an axis has shape {axis.unit_D.shape}, but {model.name} is {model.width} wide.")
    layers = sorted({axis.layer for axis in axes})
    at = {layer: [index for index, axis in enumerate(axes) if axis.layer == layer] for layer in layers}
    units = {layer: torch.from_numpy(np.stack([axes[index].unit_D for index in at[layer]])) for layer in layers}
    along_AT, norm_AT = np.empty((len(axes), len(ids))), np.empty((len(axes), len(ids)))
    begin = 0

    def read(layer: int, hidden_BTD: Tensor) -> None:
        hidden_TD = hidden_BTD[0].to(torch.promote_types(hidden_BTD.dtype, torch.float32))
        unit_AD = units[layer] = units[layer].to(hidden_TD.dtype).to(hidden_TD.device)
        place = slice(begin, begin + len(hidden_TD))
        along_AT[at[layer], place] = (unit_AD @ hidden_TD.T).cpu().numpy()
        norm_AT[at[layer], place] = torch.linalg.vector_norm(hidden_TD, dim=-1).cpu().numpy()

    ids_1T = torch.tensor([list(ids)], device=model.device)
    cache = DynamicCache(config=model.hf.config) if len(ids) > chunk else None
    with torch.inference_mode():
        for begin in range(0, len(ids), chunk):
            part_1T = ids_1T[:, begin : begin + chunk]
            attention_1T = torch.ones_like(ids_1T[:, : begin + part_1T.shape[1]])
            with reading(model, read, layers):
                run_blocks(model, part_1T, attention_1T, cache)
    return Projections(along_AT, norm_AT)
