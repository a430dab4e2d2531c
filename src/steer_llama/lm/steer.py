"""Adding vectors to the residual stream while the model runs.

Shapes: B batch, T tokens, D width.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from steer_llama.errors import SteeringInactiveError, VectorError
from steer_llama.lm.layers import check_layers, residual_of, with_residual
from steer_llama.lm.load import LanguageModel


@dataclass(frozen=True, eq=False)
class Steering:
    """What is added to one row: ``vector_D`` at the output of block ``layer``, at every token, prompt included.

    That is what llama.cpp's control vectors, repeng and a bias baked into the weights do too.
    """

    layer: int
    vector_D: Tensor
    """Already multiplied by its coefficient."""


@contextmanager
def steering(model: LanguageModel, rows: Sequence[Steering | None]) -> Iterator[None]:
    """Steer every row of a batch in its own way while the context is open; the hooks are gone afterwards.

    Args:
        model: the weights.
        rows: one entry per row of the batch that will run; ``None`` leaves a row alone.

    Raises:
        LayerError: a layer that the model does not have.
        VectorError: a vector that is not the model's width, or not finite.
        SteeringInactiveError: the context ends and a hook that should have steered never ran.
    """
    added = {layer: _added_B1D(model, rows, layer) for layer in sorted({row.layer for row in rows if row})}
    fired: set[int] = set()

    def hook_for(layer: int) -> Callable[[Any, Any, Any], Any]:
        def hook(_module: Any, _inputs: Any, output: Any) -> Any:
            hidden_BTD = residual_of(output)
            if len(hidden_BTD) != len(rows):
                raise SteeringInactiveError(
                    f"{len(rows)} rows were to be steered, but a batch of {len(hidden_BTD)} ran."
                )
            fired.add(layer)
            return with_residual(output, hidden_BTD + added[layer].to(hidden_BTD.device, hidden_BTD.dtype))

        return hook

    handles = [model.blocks[layer].register_forward_hook(hook_for(layer)) for layer in added]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
    if silent := sorted(set(added) - fired):
        raise SteeringInactiveError(f"the hooks of layers {silent} never ran, so the text is not steered.")


def _added_B1D(model: LanguageModel, rows: Sequence[Steering | None], layer: int) -> Tensor:
    check_layers([layer], model.n_layers, model.name)
    vectors = [row.vector_D for row in rows if row is not None]
    dtype = torch.float64 if any(vector_D.dtype == torch.float64 for vector_D in vectors) else torch.float32
    added = torch.zeros(len(rows), 1, model.width, dtype=dtype)
    for index, row in enumerate(rows):
        if row is None or row.layer != layer:
            continue
        if row.vector_D.shape != (model.width,):
            raise VectorError(
                f"the vector has shape {tuple(row.vector_D.shape)}, but {model.name} is {model.width} wide. "
                "Use a vector that was fitted on this model."
            )
        if not bool(torch.isfinite(row.vector_D).all()):
            raise VectorError(f"the vector of layer {layer} holds NaN or infinity.")
        added[index, 0] = row.vector_D
    return added.to(model.device)
